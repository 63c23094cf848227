"""`pyuring serve` with applications of HTTP: what each option does."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest
from command import ROOT, Served, run
from peers import connect, read_to_end

from pyuring.top import look

SITE = """
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    names = ("SCRIPT_NAME", "PATH_INFO", "REMOTE_ADDR", "wsgi.url_scheme")
    return [" ".join(str(environ[name]) for name in names).encode("latin-1")]

def handler(request):
    return f"{request.client} {request.scheme} {request.path}"

def create_app():
    return application

async def asgi(scope, receive, send): ...
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "command_site.py").write_text(SITE)
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.txt").write_text("of a file")
    return tmp_path


def serve(site: Path, target: str, *arguments: str) -> Served:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return Served(target, "--bind", "127.0.0.1:0", *arguments, cwd=site, env=environment)


def ask(served: Served, path: str = "/", before: str = "", **fields: str) -> tuple[int, str]:
    """Send a request, and return the status and the body."""
    lines = [f"GET {path} HTTP/1.1", "Host: x", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    with connect(served.address) as peer:
        peer.sendall((before + "\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
        head, _, body = read_to_end(peer).partition(b"\r\n\r\n")
    return int(head.split(b" ")[1]), body.decode("latin-1")


def end(served: Served) -> None:
    served.signal(signal.SIGTERM)
    assert served.wait() == 0


@pytest.mark.parametrize(
    ("target", "body"),
    [
        ("command_site", " /a 127.0.0.1 http"),
        ("command_site:create_app()", " /a 127.0.0.1 http"),
        ("command_site:handler", "127.0.0.1 http /a"),
    ],
)
def test_finds_out_what_it_serves(site: Path, target: str, body: str) -> None:
    with serve(site, target) as served:
        assert ask(served, "/a") == (200, body)


def test_an_asgi_application_is_recognised(site: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = run("serve", "command_site:asgi", cwd=site, env=environment)
    assert done.returncode == 2
    assert "command_site:asgi is an ASGI application, which pyuring does not" in done.stderr


def test_believes_the_proxy_that_it_is_told_of(site: Path) -> None:
    said = {"X_Forwarded_For": "6.6.6.6, 192.0.2.9", "X_Forwarded_Proto": "https"}
    with serve(site, "command_site") as served:
        assert ask(served, **said)[1] == " / 127.0.0.1 http"
    with serve(site, "command_site", "--forwarded-allow-ips", "127.0.0.1") as served:
        assert ask(served, **said)[1] == " / 192.0.2.9 https"
        assert ask(served, Forwarded="for=6.6.6.6")[1] == " / 127.0.0.1 http"


def test_takes_the_client_from_the_proxy_protocol(site: Path) -> None:
    header = "PROXY TCP4 192.0.2.1 198.51.100.7 4711 80\r\n"
    with serve(site, "command_site:handler", "--proxy-protocol") as served:
        assert ask(served, before=header)[1] == "192.0.2.1 http /"
        with connect(served.address) as peer:
            peer.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"200" not in read_to_end(peer)


def test_mounts_the_application_and_a_directory(site: Path) -> None:
    arguments = ("--root-path", "/mounted", "--static", "files", "--static-path", "/files")
    with serve(site, "command_site", *arguments) as served:
        assert ask(served, "/a")[1] == "/mounted /a 127.0.0.1 http"
        assert ask(served, "/files/a.txt") == (200, "of a file")
        assert ask(served, "/files/none")[0] == 404


def test_limits_hold(site: Path) -> None:
    arguments = ("--limit-request-line", "100", "--limit-request-fields", "5")
    with serve(site, "command_site", *arguments) as served:
        assert ask(served, "/" + "x" * 200)[0] == 414
        assert ask(served, **{f"A{number}": "x" for number in range(5)})[0] == 431
        assert ask(served)[0] == 200


def test_writes_an_access_log(site: Path) -> None:
    arguments = ("--access-log", "log", "--forwarded-allow-ips", "127.0.0.1", "--workers", "2")
    with serve(site, "command_site", *arguments) as served:
        ask(served, '/"\x1b', User_Agent="x", X_Forwarded_For="192.0.2.9")
        ask(served, '/a"', User_Agent='quo"te', X_Forwarded_For="192.0.2.9")
        end(served)
    lines = (site / "log").read_text().splitlines()
    assert lines[-1].startswith("192.0.2.9 - - [")
    assert lines[-1].endswith(r'"GET /a\x22 HTTP/1.1" 200 19 "-" "quo\x22te"')
    assert "\x1b" not in (site / "log").read_text()


def test_writes_json_with_the_duration(site: Path) -> None:
    arguments = ("--access-log", "log", "--access-log-format", "json")
    with serve(site, "command_site:handler", *arguments) as served:
        ask(served, "/a")
        end(served)
    found: dict[str, Any] = json.loads((site / "log").read_text())
    assert (found["target"], found["status"], found["bytes"]) == ("/a", 200, 17)
    assert 0 < found["duration_us"] < 10_000_000


def test_counts_requests_and_their_times(site: Path) -> None:
    metrics = f"unix:{site}/metrics"
    with serve(site, "command_site", "--metrics", metrics) as served:
        assert ask(served)[0] == 200
        for _ in range(100):  # the reply is counted once the kernel has taken it
            (worker,) = look(metrics).workers
            if sum(worker["request_us"]):
                break
        assert worker["requests"] == worker["responses_2xx"] == sum(worker["request_us"]) == 1
        frame = run("top", metrics, "--once", "--interval", "0.05").stdout
        assert re.search(r"^ +0 ", frame, re.M)


def test_files_are_served_without_an_application(site: Path) -> None:
    with serve(site, "--static=files") as served:
        assert ask(served, "/a.txt") == (200, "of a file")
        assert ask(served, "/b.txt")[0] == 404


def test_a_module_that_serves_by_itself_is_told_how_not_to(site: Path) -> None:
    (site / "serves.py").write_text("import pyuring\napp = lambda r: b''\npyuring.serve(app)\n")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = run("serve", "serves:app", cwd=site, env=environment)
    assert done.returncode == 2
    assert "put it under if __name__ ==" in done.stderr
