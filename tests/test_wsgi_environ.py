"""What a WSGI application finds in its environ, on a fake core."""

from __future__ import annotations

import socket
from types import SimpleNamespace
from typing import Any

import pytest
from wsgi_fakes import TEXT, Request, Served, answering

from pyuring import Wsgi
from pyuring.proxy import Trust

# --- the environ -------------------------------------------------------------------------


def test_the_body_is_the_input() -> None:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        body = environ["wsgi.input"]
        start_response("200 OK", list(TEXT))
        return [b"|".join([body.readline(), body.read(3), *body, body.read(1)])]

    body = Served(app).ask("POST", b"one\ntwo-three\nfour").content
    assert body == b"one\n|two|-three\n|four|"


def test_environs_are_separate() -> None:
    seen: list[dict[str, Any]] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        environ["app.mine"] = len(seen)
        seen.append(environ)
        start_response("200 OK", list(TEXT))
        return []

    handler = Served(app, valid=False).gateway.handler
    handler(Request())
    handler(Request())
    assert [environ["app.mine"] for environ in seen] == [0, 1]
    assert seen[0]["wsgi.multithread"] is True
    assert seen[0]["wsgi.errors"] is seen[1]["wsgi.errors"]


def environ_of(served: Served, seen: list[dict[str, Any]], **options: Any) -> dict[str, Any]:
    served.ask(**options)
    return seen[-1]


def test_the_configuration_is_in_the_environ() -> None:
    seen: list[dict[str, Any]] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append(environ)
        start_response("200 OK", list(TEXT))
        return []

    plain = environ_of(Served(app), seen)
    assert plain["SCRIPT_NAME"] == ""
    assert plain["wsgi.url_scheme"] == "http"
    assert plain["wsgi.multiprocess"] is False
    assert plain["wsgi.input_terminated"] is True
    assert (plain["SERVER_NAME"], plain["SERVER_PORT"]) == ("localhost", "80")
    told = environ_of(Served(app, root_path="/ä", scheme="https", multiprocess=True), seen)
    assert told["SCRIPT_NAME"] == "/\xc3\xa4"
    assert told["wsgi.url_scheme"] == "https"
    assert told["wsgi.multiprocess"] is True


def test_the_listener_is_the_server() -> None:
    seen: list[dict[str, Any]] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append(environ)
        start_response("200 OK", list(TEXT))
        return []

    def server(family: int, name: Any) -> tuple[str, str]:
        listener = SimpleNamespace(family=family, name=name)
        environ = environ_of(Served(app, listeners=[listener]), seen)
        return environ["SERVER_NAME"], environ["SERVER_PORT"]

    assert server(socket.AF_INET, ("127.0.0.1", 8000)) == ("127.0.0.1", "8000")
    assert server(socket.AF_INET6, ("::1", 8000, 0, 0)) == ("::1", "8000")
    assert server(socket.AF_INET, ("0.0.0.0", 8000)) == (socket.gethostname(), "8000")
    assert server(socket.AF_UNIX, "/run/x") == ("localhost", "80")


def test_only_a_trusted_proxy_is_believed() -> None:
    seen: list[dict[str, Any]] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append(environ)
        start_response("200 OK", list(TEXT))
        return []

    fields = [("X-Forwarded-For", "192.0.2.1"), ("X-Forwarded-Proto", "https")]

    def told(trust: tuple[str, ...]) -> tuple[Any, ...]:
        environ = environ_of(Served(app, trust=trust), seen, fields=fields)
        return environ["REMOTE_ADDR"], environ.get("REMOTE_PORT"), environ["wsgi.url_scheme"]

    assert told(()) == ("127.0.0.1", "4711", "http")
    assert told(("10.0.0.0/8",)) == ("127.0.0.1", "4711", "http")
    assert told(("127.0.0.1",)) == ("192.0.2.1", None, "https")


def test_a_proxy_tells_host_and_port_where_these_are_believed() -> None:
    seen: list[dict[str, Any]] = []

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.append(environ)
        start_response("200 OK", list(TEXT))
        return []

    fields = [("Forwarded", 'for="192.0.2.1:99";host=example.org;proto=https')]
    trust = Trust(("unix",), ("forwarded",))
    environ = environ_of(Served(app, trust=trust), seen, fields=fields, peer=None)
    assert (environ["REMOTE_ADDR"], environ["REMOTE_PORT"]) == ("192.0.2.1", "99")
    assert (environ["HTTP_HOST"], environ["wsgi.url_scheme"]) == ("example.org", "https")


def test_mounts_stand_beside_the_application() -> None:
    served = Served(answering([b"app"]), mounts={"/static": lambda request: b"mounted"})
    assert served.ask(target="/static/x").content == b"mounted"
    assert served.ask(target="/x").content == b"app"


def test_what_is_no_application_is_refused() -> None:
    with pytest.raises(TypeError, match="not a WSGI application"):
        Wsgi("app")  # type: ignore[arg-type]
