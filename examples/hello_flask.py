"""Serve a Flask application: `pyuring serve examples.hello_flask:app`.

Needs Flask: `pip install flask`.
"""

from __future__ import annotations

from flask import Flask

app = Flask(__name__)


@app.get("/")
def hello() -> str:
    return "Hello, world!\n"
