"""MODULE:NAME: what it names is looked at, and what it is not gets a line that helps."""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pyuring import Protocol
from pyuring.loading import detect, load
from pyuring.usage import UsageError


class Echo(Protocol):
    pass


class Buffered:
    def connection_made(self, transport: Any) -> None: ...
    def get_buffer(self, hint: int) -> Any: ...


class WsgiClass:
    def __init__(self, environ: Any, start_response: Any) -> None: ...
    def __iter__(self) -> Any: ...


class WsgiObject:
    def __call__(self, environ: Any, start_response: Any) -> Any: ...


class Handlers:
    def handle(self, request: Any) -> Any: ...
    def __call__(self, request: Any) -> Any: ...


class AsgiObject:
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


class Ready:
    def for_worker(self, worker: Any) -> Any: ...


def wsgi(environ: Any, start_response: Any) -> Any: ...
def wsgi_more(environ: Any, start_response: Any, *, debug: bool = False) -> Any: ...
def wsgi_default(environ: Any, start_response: Any = None) -> Any: ...
def handler(request: Any) -> Any: ...
def handler_more(request: Any, limit: int = 5) -> Any: ...
def factory() -> Any: ...
async def asgi(scope: Any, receive: Any, send: Any) -> None: ...
def old_asgi(scope: Any) -> Any: ...
def plain_asgi(scope: Any, receive: Any, send: Any) -> Any: ...


@functools.wraps(wsgi)
def decorated(*args: Any, **kwargs: Any) -> Any: ...


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        (Echo, "protocol"),
        (Buffered, "protocol"),
        (factory, "protocol"),
        (functools.partial(handler, None), "protocol"),
        (lambda: None, "protocol"),
        (WsgiClass, "wsgi"),
        (WsgiObject(), "wsgi"),
        (wsgi, "wsgi"),
        (wsgi_more, "wsgi"),
        (wsgi_default, "wsgi"),
        (decorated, "wsgi"),
        (handler, "handler"),
        (handler_more, "handler"),
        (Handlers(), "handler"),
        (Handlers().handle, "handler"),
        (functools.partial(wsgi, {}), "handler"),
        (lambda request: b"", "handler"),
        (AsgiObject(), "asgi"),
        (asgi, "asgi"),
        (old_asgi, "asgi"),
        (plain_asgi, "asgi"),
        (Ready(), "ready"),
    ],
)
def test_tells_what_an_object_is(found: Any, kind: str) -> None:
    assert detect(found) == kind


def any_number(*args: Any) -> Any: ...
def too_many(a: Any, b: Any, c: Any, d: Any) -> Any: ...
def keyword(request: Any, *, needed: int) -> Any: ...
def create_app() -> Any: ...
async def async_handler(request: Any) -> Any: ...


@pytest.mark.parametrize(
    ("found", "line"),
    [
        (any_number, "tells nothing: say which with --interface protocol, handler or wsgi"),
        (too_many, "takes 4 arguments: neither a handler (1) nor WSGI (2)"),
        (keyword, "needs the keyword argument 'needed'"),
        (create_app, "add --factory if it makes the application, or --interface protocol"),
        (async_handler, "is a coroutine function"),
        (Handlers, "is a class whose instances are called: give one, or add --factory"),
        (AsgiObject, "is a class whose instances are called"),
        (type("Nothing", (), {}), "neither data_received nor get_buffer"),
        (Echo(), "is Echo, not a protocol class or a factory, nor an application: give the class"),
        (5, "is int, not a protocol class or a factory"),
        (type, "does not tell what it is called with"),
    ],
)
def test_says_why_it_cannot_tell(found: Any, line: str) -> None:
    with pytest.raises(UsageError) as caught:
        detect(found)
    assert line in str(caught.value)


def test_knows_the_frameworks(tmp_path: Path) -> None:
    flask, bottle = pytest.importorskip("flask"), pytest.importorskip("bottle")
    falcon, _ = pytest.importorskip("falcon"), pytest.importorskip("django")
    from falcon import asgi as falcon_asgi
    from wsgi_apps.django_app import make_app  # Django is configured once a process

    for app in (flask.Flask("x"), bottle.Bottle(), falcon.App(), make_app(tmp_path)):
        assert detect(app) == "wsgi", type(app)
    assert detect(falcon_asgi.App()) == "asgi"


# --- MODULE:NAME -----------------------------------------------------------------------------

SITE = """
import types
def application(environ, start_response): ...
def make(): return application
def wrong(): return 1 / 0
def needs(x): ...
def handle(*args): ...
async def later(): ...
class Holder:
    inner = make
holder = Holder
part = types.ModuleType("part")
def asgi(scope, receive, send): ...
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "loading_site.py").write_text(SITE)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    yield tmp_path / "deep"
    sys.modules.pop("loading_site", None)


def test_finds_the_usual_name_by_itself(site: Path) -> None:
    found = load("loading_site", directory="deep")
    assert (found.kind, found.target.__name__) == ("wsgi", "application")
    sys.modules["loading_site"].app = handler  # type: ignore[attr-defined]
    assert load("loading_site", directory="deep").kind == "handler"


def test_calls_a_factory_once_when_told(site: Path) -> None:
    for found in (
        load("loading_site:make", factory=True, directory="deep"),
        load("loading_site:make()", directory="deep"),
        load("loading_site:holder.inner()", directory="deep"),
    ):
        assert (found.kind, found.target.__name__) == ("wsgi", "application")


def test_an_interface_that_is_insisted_on_counts(site: Path) -> None:
    for interface in ("protocol", "handler", "wsgi"):
        assert load("loading_site:handle", interface, directory="deep").kind == interface


@pytest.mark.parametrize(
    ("target", "interface", "factory", "line"),
    [
        ("loading_site:wrong", "auto", True, "loading_site:wrong() raised ZeroDivisionError("),
        ("loading_site:needs", "auto", True, "needs cannot be called without arguments"),
        ("loading_site:later", "auto", True, "is a coroutine function; a factory must be"),
        ("loading_site:part", "auto", False, "is a module; write loading_site.part:NAME"),
        ("loading_site:asgi", "auto", False, "is an ASGI application, which pyuring does not"),
        ("loading_site:needs", "wsgi", False, "cannot be called with environ and start_response"),
        ("loading_site:make", "handler", False, "cannot be called with a request"),
        ("loading_site:later", "protocol", False, "is a coroutine function"),
        ("loading_site:SITE", "wsgi", False, "module 'loading_site' has no 'SITE'"),
        ("loading_site:make(1)", "auto", False, "is not MODULE:NAME"),
        ("loading_site:", "auto", False, "is not MODULE:NAME"),
        ("./deep/loading_site.py", "auto", False, "write the module: deep.loading_site"),
    ],
)
def test_a_mistake_is_one_line(
    site: Path, target: str, interface: str, factory: bool, line: str
) -> None:
    with pytest.raises(UsageError) as caught:
        load(target, interface, factory=factory, directory="deep")
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_directory_that_is_not_there_is_told(site: Path) -> None:
    with pytest.raises(UsageError, match=r"--app-dir: .*nowhere is no directory"):
        load("loading_site", directory="nowhere")
