"""The HTTP servers under test by name: how each is started, and for which groups of scenarios.

Owns their command lines and nginx's configuration. Never decides what is compared (http1.py).
All are one process with one worker (gunicorn, granian and nginx add a parent that does no work),
without an access log, with the settings that their documentation names as fastest.
"""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from harness import (
    BENCH,
    CACHE,
    ROOT,
    Running,
    Server,
    free_port,
    listening,
    native,
    peers_one_by_one,
    peers_python,
    serving,
)

REQUIREMENTS, ROBYN = "requirements-http.txt", "requirements-robyn.txt"
SERVE = str(BENCH / "peers" / "http_serve.py")
APPS = "bench.peers.http_apps"
FILE_BYTES = 100 * 1024 * 1024
WWW = CACHE / "www"
HELLO, BYTES, MIX, FILE, UPLOAD, SLOW = "hello", "bytes", "mix", "file", "upload", "slow"
# Two workers on one core; ten thousand idle connections; a fixed rate, a collector at work.
TWO, IDLE, TAIL = "two", "idle", "tail"
# The WSGI application for each group; the other interfaces have one for all.
WSGI_APPS = {
    HELLO: "wsgi",
    BYTES: "wsgi_bytes",
    MIX: "mix",
    FILE: "wsgi_file",
    UPLOAD: "wsgi_bytes",
    SLOW: "wsgi",
    TWO: "wsgi",
    IDLE: "wsgi",
    TAIL: "wsgi",
}
HANDLERS = {
    HELLO: "handler",
    BYTES: "bytes_handler",
    FILE: "file_handler",
    UPLOAD: "upload_handler",
    SLOW: "handler",
    TWO: "handler",
    IDLE: "handler",
    TAIL: "handler",
}
Command = Callable[[str, str], tuple[str, ...]]


@dataclass(frozen=True)
class Kind:
    """One server: its command for an interpreter and a group, and the groups it takes part in."""

    command: Command
    groups: tuple[str, ...]
    module: str = ""
    note: str = ""


def _pyuring(interface: str, apps: dict[str, str], *more: str) -> Command:
    def command(python: str, group: str) -> tuple[str, ...]:
        app = f"{APPS}:{apps[group]}"
        serve = (python, "-m", "pyuring", "serve", app, "--interface", interface)
        return (*serve, "--bind", "127.0.0.1:0", *more)

    return command


def _module(module: str, *arguments: str, interface: str = "wsgi") -> Command:
    def command(python: str, group: str) -> tuple[str, ...]:
        app = WSGI_APPS[group] if interface == "wsgi" else interface
        return (python, "-m", module, *arguments, f"{APPS}:{app}")

    return command


def _script(name: str, interface: str = "wsgi") -> Command:
    def command(python: str, group: str) -> tuple[str, ...]:
        app = WSGI_APPS[group] if interface == "wsgi" else interface
        return (python, SERVE, name, "{port}", app)

    return command


def _granian(interface: str, workers: int = 1) -> Command:
    arguments = f"--interface {interface} --port {{port}} --workers {workers} --runtime-threads 1"
    arguments += " --runtime-mode st --http 1 --no-ws --log-level error --no-access-log"
    arguments += " --http1-pipeline-flush"
    arguments += " --blocking-threads 1" if interface == "wsgi" else " --loop uvloop"
    few = _module("granian", *arguments.split(), interface=interface)
    # It takes no more connections than this at a time, 1,024 by default.
    room = " --backlog 16384 --backpressure 16384"
    many = _module("granian", *(arguments + room).split(), interface=interface)
    return lambda python, group: (many if group in (SLOW, IDLE) else few)(python, group)


def _gunicorn(worker: str, *more: str, workers: int = 1) -> Command:
    arguments: tuple[str, ...] = ("--worker-class", worker, "--workers", str(workers))
    arguments += ("--bind", "127.0.0.1:{port}")
    # Without a time limit: idle servers are stopped while another is measured.
    quiet = (
        "--timeout",
        "0",
        "--log-level",
        "error",
        "--worker-tmp-dir",
        "/dev/shm",
        "--no-control-socket",
    )
    return _module("gunicorn", *arguments, *quiet, *more)


def _floor(python: str, group: str) -> tuple[str, ...]:
    return (native("floor"), "--http")


def _nginx(python: str, group: str) -> tuple[str, ...]:
    folder = str(WWW.parent)
    return ("nginx", "-p", folder, "-e", "stderr", "-c", f"{folder}/nginx-{group}.conf")


NATIVE = ("floor", "nginx", "nginx-2", "raw-asyncio")  # nothing to install from PyPI
_WSGI_GROUPS = (HELLO, BYTES, MIX, UPLOAD)
_UVICORN = "--port {port} --loop uvloop --http httptools --no-access-log --log-level error"
_UVICORN += " --lifespan off --ws none --workers"
SERVERS = {
    "floor": Kind(_floor, (HELLO, IDLE, TAIL)),
    "pyuring": Kind(
        _pyuring("handler", HANDLERS),
        (HELLO, BYTES, FILE, UPLOAD, SLOW, TWO, IDLE, TAIL),
        "pyuring.http",
    ),
    "pyuring-gc": Kind(_pyuring("handler", {TAIL: "gc_handler"}), (TAIL,), "pyuring.http"),
    "pyuring-2": Kind(_pyuring("handler", HANDLERS, "--workers", "2"), (TWO,), "pyuring.http"),
    "pyuring-wsgi-2": Kind(_pyuring("wsgi", WSGI_APPS, "--workers", "2"), (TWO,), "pyuring.wsgi"),
    "pyuring-epoll": Kind(
        _pyuring("handler", HANDLERS, "--tier", "none"),
        (HELLO, BYTES, FILE, UPLOAD),
        "pyuring.http",
    ),
    "pyuring-wsgi-epoll": Kind(
        _pyuring("wsgi", WSGI_APPS, "--tier", "none"), _WSGI_GROUPS, "pyuring.wsgi"
    ),
    "pyuring-wsgi": Kind(_pyuring("wsgi", WSGI_APPS), (*_WSGI_GROUPS, FILE, SLOW), "pyuring.wsgi"),
    "fastwsgi": Kind(_script("fastwsgi"), (*_WSGI_GROUPS, TAIL), "fastwsgi"),
    "fastpysgi": Kind(_script("fastpysgi"), _WSGI_GROUPS, "fastpysgi"),
    "fastpysgi-asgi": Kind(_script("fastpysgi", "asgi"), (HELLO, BYTES, UPLOAD), "fastpysgi"),
    "bjoern": Kind(_script("bjoern"), _WSGI_GROUPS, "bjoern"),
    "granian-wsgi": Kind(_granian("wsgi"), _WSGI_GROUPS, "granian"),
    "granian-rsgi": Kind(_granian("rsgi"), (HELLO, BYTES, UPLOAD, SLOW, IDLE, TAIL), "granian"),
    "granian-wsgi-2": Kind(_granian("wsgi", 2), (TWO,), "granian"),
    "granian-rsgi-2": Kind(_granian("rsgi", 2), (TWO,), "granian"),
    "uvicorn": Kind(
        _module("uvicorn", *_UVICORN.split(), "1", interface="asgi"),
        (HELLO, BYTES, UPLOAD, SLOW, IDLE, TAIL),
        "uvicorn",
    ),
    "uvicorn-2": Kind(
        _module("uvicorn", *_UVICORN.split(), "2", interface="asgi"), (TWO,), "uvicorn"
    ),
    "gunicorn-sync": Kind(
        _gunicorn("sync"),
        (*_WSGI_GROUPS, FILE),
        "gunicorn",
        "closes after each reply: no keep-alive, no pipelining",
    ),
    "gunicorn-gthread": Kind(
        _gunicorn("gthread", "--threads", "4", "--keep-alive", "75"),
        (*_WSGI_GROUPS, FILE),
        "gunicorn",
    ),
    "gunicorn-gthread-2": Kind(
        _gunicorn("gthread", "--threads", "4", "--keep-alive", "75", workers=2),
        (TWO,),
        "gunicorn",
    ),
    "aiohttp": Kind(_script("aiohttp", "own"), (HELLO, BYTES, FILE, UPLOAD, IDLE, TAIL), "aiohttp"),
    "socketify": Kind(_script("socketify", "own"), (HELLO, BYTES, UPLOAD), "socketify"),
    "robyn": Kind(_script("robyn", "own"), (HELLO, BYTES, UPLOAD), "robyn"),
    "nginx": Kind(
        _nginx,
        (HELLO, BYTES, FILE, UPLOAD, SLOW, IDLE, TAIL),
        note="replies of N bytes are files there, the upload is a PUT into one",
    ),
    "nginx-2": Kind(_nginx, (TWO,)),
    "raw-uvloop": Kind(_script("raw-uvloop", "own"), (HELLO,), "uvloop", "parses nothing"),
    "raw-asyncio": Kind(_script("raw-asyncio", "own"), (HELLO,), "", "parses nothing"),
}

_NGINX = """
daemon off; worker_processes {workers}; pid nginx-{group}.pid; worker_rlimit_nofile 20000;
events {{ worker_connections 16384; }}
http {{
  access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; server_tokens off;
  keepalive_timeout 75; keepalive_requests 1000000000; client_header_timeout {patience};
  open_file_cache max=100; default_type text/plain; charset utf-8;
  client_max_body_size 0; client_body_buffer_size 256k; client_body_temp_path temp;
  proxy_temp_path temp; fastcgi_temp_path temp; uwsgi_temp_path temp; scgi_temp_path temp;
  server {{
    listen 127.0.0.1:{port} backlog=1024; root {www};
    location = / {{ return 200 "Hello, world!"; }}
    location /upload/ {{ dav_methods PUT; create_full_put_path on; }}
    location / {{ }}
  }}
}}
"""


def interpreter(name: str, base: str, group: str = HELLO) -> str:
    """The interpreter that has what the server and its application need."""
    if group != MIX and (name.startswith("pyuring") or name in NATIVE):
        return base
    if name == "robyn":
        return peers_python(base, ROBYN)
    return peers_one_by_one(base, REQUIREMENTS)


def unavailable(name: str, python: str) -> str:
    """Why the server cannot be started here, or an empty string."""
    if name.startswith("nginx"):
        with contextlib.suppress(FileNotFoundError):
            subprocess.run(["nginx", "-v"], capture_output=True, check=False)
            return ""
        return "nginx is not installed"
    module = SERVERS[name].module
    done = subprocess.run(
        [python, "-c", f"import {module or 'sys'}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stderr.strip().rpartition("\n")[2] if done.returncode else ""


def prepare_files() -> Path:
    """Write the static files once: 100 MiB, and those that nginx serves as /bytes/N."""
    folder = WWW / "bytes"
    folder.mkdir(parents=True, exist_ok=True)
    (WWW / "upload").mkdir(exist_ok=True)
    (CACHE / "temp").mkdir(exist_ok=True)
    period = bytes(range(251))
    for count in (1024, 16 * 1024, 64 * 1024, 1024 * 1024, FILE_BYTES):
        path = folder / str(count)
        if not path.exists() or path.stat().st_size != count:
            path.write_bytes((period * (count // 251 + 1))[:count])
    for entry in (CACHE, WWW, folder, WWW / "upload", CACHE / "temp"):
        entry.chmod(0o777)  # nginx's worker is another user when we are root
    return folder / str(FILE_BYTES)


@contextlib.contextmanager
def start(name: str, group: str, python: str, nice: int) -> Iterator[Running]:
    """Run the server for the length of the block; it accepts connections when the block begins."""
    command = SERVERS[name].command(python, group)
    server = Server(name, command, _environment(), note=SERVERS[name].note)
    if name == "floor" or name.startswith("pyuring"):
        with serving(server, nice) as running:
            yield running
        return
    port = free_port()
    if name.startswith("nginx"):
        workers = 2 if name == "nginx-2" else 1
        patience = 10 if group == SLOW else 75  # what every server has for a head when it is slow
        configuration = _NGINX.format(
            port=port, group=group, www=WWW, workers=workers, patience=patience
        )
        (CACHE / f"nginx-{group}.conf").write_text(configuration)
    server = replace(server, command=tuple(word.replace("{port}", str(port)) for word in command))
    with listening(server, port, nice) as running:
        yield running


def _environment() -> dict[str, str]:
    return {"PYTHONPATH": str(ROOT), "BENCH_FILE": str(WWW / "bytes" / str(FILE_BYTES))}
