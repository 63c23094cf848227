"""Serve a Flask application: `pyuring serve examples.hello_flask:app --wsgi`.

Needs Flask: `pip install flask`.
"""

from __future__ import annotations

from flask import Flask

app = Flask(__name__)


@app.get("/")
def hello() -> str:
    return "Hello, world!\n"


if __name__ == "__main__":
    from pyuring import serve
    from pyuring.wsgi import Wsgi

    serve(Wsgi(app), "127.0.0.1:8000")
