"""Static files: the right bytes, the right verdicts, and never a file outside of the root."""

from __future__ import annotations

import os
import random
from email.utils import formatdate
from pathlib import Path
from typing import Any

import pytest
from fake_core import FakeRequest, FakeWorker, make_gateway

from pyuring import Http, Response, StaticFiles

SECONDS = 1_700_000_000
TEXT = b"0123456789abcdefghij"
TAG = f'"{SECONDS * 10**9:x}-14"'
DATE = formatdate(SECONDS, usegmt=True)
EARLIER, LATER = (formatdate(SECONDS + d, usegmt=True) for d in (-1, 1))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Return a small site, with secrets around it."""
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "site-secret").write_text("secret")
    root = tmp_path / "site"
    (root / "sub" / "deep").mkdir(parents=True)
    (root / ".git").mkdir()
    (root / ".well-known").mkdir()
    for name in (
        "a.txt", "index.html", "sub/index.html", "sub/deep/ü b.txt", ".git/config", ".env",
        ".well-known/x", "..well", "back\\slash", "noending",
    ):  # fmt: skip
        (root / name).write_bytes(TEXT)
        os.utime(root / name, ns=(SECONDS * 10**9, SECONDS * 10**9))
    (root / "inside").symlink_to("a.txt")
    (root / "outside").symlink_to("../secret")
    (root / "absolute").symlink_to(tmp_path / "secret")
    (root / "updir").symlink_to("..")
    (root / "subdir").symlink_to("sub")
    os.mkfifo(root / "fifo")
    return root


def ask(handler: Any, target: str, method: str = "GET", **fields: str) -> Any:
    """Return the request after a reply of `handler` has been sent."""
    pairs = [(name.replace("_", "-"), value) for name, value in fields.items()]
    worker = FakeWorker()
    gateway = make_gateway(handler, worker)
    request = FakeRequest(method, target, pairs, worker=worker)
    try:
        gateway.reply(request, handler(request))
    except Exception as error:
        gateway.failed(request, error)
    assert worker.exceptions == []
    return request


@pytest.mark.usefixtures("descriptors_kept")
def test_a_file_is_sent_by_the_kernel_and_described(root: Path) -> None:
    reply = ask(StaticFiles(root, cache_control="max-age=60"), "/a.txt")
    assert (reply.status, reply.content, reply.length) == (200, TEXT, 20)
    assert type(reply.sent[0]) is tuple
    assert dict(reply.sent_fields) == {
        "Content-Type": "text/plain; charset=utf-8",
        "Cache-Control": "max-age=60",
        "ETag": TAG,
        "Last-Modified": DATE,
        "Accept-Ranges": "bytes",
    }
    reply = ask(StaticFiles(root), "/a.txt", "HEAD")
    assert (reply.status, reply.content, reply.length) == (200, b"", 20)


@pytest.mark.parametrize(
    ("target", "kind"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/?q", "text/html; charset=utf-8"),
        ("/index.html", "text/html; charset=utf-8"),
        ("/sub/", "text/html; charset=utf-8"),
        ("/sub/deep/%C3%BC%20b.txt", "text/plain; charset=utf-8"),
        ("/%61.txt", "text/plain; charset=utf-8"),
        ("/noending", "application/octet-stream"),
        ("/back%5Cslash", "application/octet-stream"),
        ("/.well-known/x", "application/octet-stream"),
    ],
)
def test_what_is_there(root: Path, target: str, kind: str) -> None:
    reply = ask(StaticFiles(root), target)
    assert (reply.status, reply.content, reply.field("content-type")) == (200, TEXT, kind)


@pytest.mark.usefixtures("descriptors_kept")
@pytest.mark.parametrize(
    "target",
    [
        "/../secret", "/..", "/../", "/sub/../../secret", "/sub/../a.txt", "/./a.txt", "/.",
        "/%2e%2e/secret", "/%2E%2e%2fsecret", "/..%2fsecret", "/sub/%2e%2e/%2e%2e/secret",
        "/%252e%252e/secret", "/..%5Csecret", "/\\..\\secret", "//secret", "//etc/passwd",
        "/%2fetc%2fpasswd", "/sub//index.html", "/a.txt%00", "/%00", "/a.txt/", "/a.txt/x",
        "/../site-secret", "/nothing", "/sub/nothing/", "/" + "x" * 300, "/" + "x/" * 3000,
        "/%ff%fe", "/.git/config", "/.env", "/sub/.well-known/x", "/..well", "/fifo",
        "/inside", "/outside", "/absolute", "/updir/secret", "/subdir/index.html", "/subdir",
        "/subdir/", "/updir", "*", "",
    ],
)  # fmt: skip
def test_what_is_not_there_and_what_is_none_of_the_clients_business(
    root: Path, target: str
) -> None:
    reply = ask(StaticFiles(root), target)
    assert reply.status in (404, 301)
    assert b"secret" not in reply.content
    if reply.status == 301:
        assert target == ""


PIECES = (
    "..", ".", "", "%2e%2e", "%2e", "%2f", "%5c", "\\", "%00", "..%2f", "%252e%252e",
    "secret", "a.txt", "%ff",
    "sub", "updir", "outside", "absolute", "inside", "subdir", "site", "site-secret", "%c0%ae",
    "..;", "...", "~", "*", "?", "etc", "passwd",
)  # fmt: skip


@pytest.mark.usefixtures("descriptors_kept")
def test_no_path_leads_out_of_the_root(root: Path, rng: random.Random) -> None:
    files = StaticFiles(root)
    inside = 0
    for _ in range(3000):
        target = "/" + rng.choice(("/", "/", "", "%2f")).join(
            rng.choice(PIECES) for _ in range(rng.randrange(1, 6))
        )
        reply = ask(files, target)
        assert b"secret" not in reply.content, target
        assert reply.status in (200, 301, 404), target
        inside += reply.status == 200
    assert inside > 10


@pytest.mark.parametrize("target", ["/inside", "/subdir/index.html", "/subdir/", "/.well-known/x"])
def test_links_are_followed_when_asked(root: Path, target: str) -> None:
    assert ask(StaticFiles(root, follow_symlinks=True), target).content == TEXT


def test_dotfiles_are_there_when_asked(root: Path) -> None:
    for target in ("/.git/config", "/.env", "/..well"):
        assert ask(StaticFiles(root, dotfiles=True), target).content == TEXT


def test_a_link_as_the_root_is_the_administrators(root: Path) -> None:
    (root.parent / "current").symlink_to("site")
    assert ask(StaticFiles(root.parent / "current"), "/a.txt").content == TEXT


def test_directories_are_sent_on_to_their_slash_and_never_listed(root: Path) -> None:
    reply = ask(StaticFiles(root), "/sub?a=b")
    assert (reply.status, reply.field("location")) == (301, "/sub/?a=b")
    assert ask(StaticFiles(root), "/sub/deep/").status == 404
    assert ask(StaticFiles(root, index=None), "/sub/").status == 404
    assert ask(StaticFiles(root, index=None), "/sub").status == 404
    assert ask(StaticFiles(root, index="a.txt"), "/").content == TEXT


def test_a_redirect_never_leads_to_another_host(root: Path) -> None:
    (root / "evil.example").mkdir()
    for target in ("//evil.example", "///evil.example", "/%2fevil.example"):
        location = ask(StaticFiles(root), target).field("location") or ""
        assert not location.startswith("//")


def test_other_methods_are_405(root: Path) -> None:
    reply = ask(StaticFiles(root), "/a.txt", "POST")
    assert (reply.status, reply.field("allow")) == (405, "GET, HEAD")


@pytest.mark.parametrize(
    ("conditions", "status"),
    [
        ({"If_None_Match": TAG}, 304),
        ({"If_None_Match": "W/" + TAG}, 304),
        ({"If_None_Match": f'"x", {TAG}'}, 304),
        ({"If_None_Match": "*"}, 304),
        ({"If_None_Match": '"x"'}, 200),
        ({"If_None_Match": "x"}, 200),
        ({"If_None_Match": '"x"', "If_Modified_Since": DATE}, 200),
        ({"If_Modified_Since": DATE}, 304),
        ({"If_Modified_Since": LATER}, 304),
        ({"If_Modified_Since": EARLIER}, 200),
        ({"If_Modified_Since": "yesterday"}, 200),
        ({"If_Modified_Since": ""}, 200),
        ({"If_Match": TAG}, 200),
        ({"If_Match": "*"}, 200),
        ({"If_Match": '"x"'}, 412),
        ({"If_Match": "W/" + TAG}, 412),
        ({"If_Match": TAG, "If_Unmodified_Since": EARLIER}, 200),
        ({"If_Unmodified_Since": EARLIER}, 412),
        ({"If_Unmodified_Since": DATE}, 200),
        ({"If_Unmodified_Since": "soon"}, 200),
        ({"If_Match": TAG, "If_None_Match": TAG}, 304),
    ],
)
def test_conditions(root: Path, conditions: dict[str, str], status: int) -> None:
    for method in ("GET", "HEAD"):
        reply = ask(StaticFiles(root), "/a.txt", method, **conditions)
        assert reply.status == status
        assert reply.field("etag") == TAG
        if status == 304:
            assert reply.content == b""
            assert reply.field("content-type") is None


@pytest.mark.parametrize(
    ("wanted", "told", "body"),
    [
        ("bytes=0-0", "bytes 0-0/20", b"0"),
        ("bytes=5-9", "bytes 5-9/20", b"56789"),
        ("bytes=15-", "bytes 15-19/20", b"fghij"),
        ("bytes=15-99", "bytes 15-19/20", b"fghij"),
        ("bytes=-3", "bytes 17-19/20", b"hij"),
        ("bytes=-99", "bytes 0-19/20", TEXT),
        ("BYTES=0-0,", "bytes 0-0/20", b"0"),
        ("bytes=0-0, 50-60", "bytes 0-0/20", b"0"),
        ("bytes=0-9999999999999999999", "bytes 0-19/20", TEXT),
    ],
)
def test_a_range_is_sent_alone(root: Path, wanted: str, told: str, body: bytes) -> None:
    reply = ask(StaticFiles(root), "/a.txt", Range=wanted)
    assert (reply.status, reply.field("content-range"), reply.content) == (206, told, body)
    assert reply.length == len(body)


@pytest.mark.parametrize("wanted", ["bytes=20-", "bytes=20-30", "bytes=-0", "bytes=99-,50-51"])
def test_a_range_beyond_the_end_is_416(root: Path, wanted: str) -> None:
    reply = ask(StaticFiles(root), "/a.txt", Range=wanted)
    assert (reply.status, reply.field("content-range")) == (416, "bytes */20")
    assert reply.content == b""


@pytest.mark.parametrize(
    "wanted",
    [
        "bytes", "bytes=", "bytes=,", "bytes=-", "bytes=a-b", "bytes=5-4", "bytes=1", "lines=0-1",
        "bytes=+1-2", "bytes=1-2-3", "bytes=0x1-2", "bytes=\u00b2-3", "bytes=1-2;3",
        "bytes=99999999999999999999-", "bytes=" + ",".join(["0-0"] * 9), "bytes=0-18,1-19",
    ],
)  # fmt: skip
def test_what_is_no_range_gets_the_whole_file(root: Path, wanted: str) -> None:
    reply = ask(StaticFiles(root), "/a.txt", Range=wanted)
    assert (reply.status, reply.content) == (200, TEXT)


def test_ranges_are_for_get_alone_and_empty_files_have_none(root: Path) -> None:
    assert ask(StaticFiles(root), "/a.txt", "HEAD", Range="bytes=0-0").status == 200
    (root / "empty").write_bytes(b"")
    assert ask(StaticFiles(root), "/empty").content == b""
    assert ask(StaticFiles(root), "/empty", Range="bytes=0-").status == 416


@pytest.mark.parametrize(
    ("condition", "status"),
    [(TAG, 206), (DATE, 206), ('"x"', 200), ("W/" + TAG, 200), (LATER, 200), ("soon", 200)],
)
def test_a_range_has_its_condition(root: Path, condition: str, status: int) -> None:
    assert ask(StaticFiles(root), "/a.txt", Range="bytes=0-0", If_Range=condition).status == status


def test_a_date_of_this_second_is_no_condition(root: Path) -> None:
    os.utime(root / "a.txt")
    date = ask(StaticFiles(root), "/a.txt").field("last-modified")
    assert ask(StaticFiles(root), "/a.txt", Range="bytes=0-0", If_Range=date).status == 200


def test_several_ranges_are_parts(root: Path) -> None:
    reply = ask(StaticFiles(root), "/a.txt", Range="bytes=0-1,-2")
    kind = reply.field("content-type")
    assert reply.status == 206
    assert kind.startswith("multipart/byteranges; boundary=")
    assert reply.field("content-range") is None
    boundary = kind.partition("=")[2]
    parts = "".join(
        f"--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\n"
        f"Content-Range: bytes {where}/20\r\n\r\n{text}\r\n"
        for where, text in (("0-1", "01"), ("18-19", "ij"))
    )
    assert reply.content.decode() == f"{parts}--{boundary}--\r\n"
    assert reply.length == len(reply.content)


def test_a_prefix_is_taken_off(root: Path) -> None:
    files = StaticFiles(root, prefix="/static/")
    assert ask(files, "/static/a.txt").content == TEXT
    assert ask(files, "/static/").content == TEXT
    assert ask(files, "/static").field("location") == "/static/"
    for target in ("/a.txt", "/statical/a.txt", "/static/../secret", "/"):
        assert ask(files, target).status == 404


def test_mounts_choose_by_the_longest_prefix(root: Path) -> None:
    application = Http(
        lambda request: f"app {request.path}",
        mounts={"/s": StaticFiles(root), "/s/sub": lambda request: "sub", "/other": Response},
    )
    handler = application.handler
    assert ask(handler, "/s/a.txt").content == TEXT
    assert ask(handler, "/s/sub").content == ask(handler, "/s/sub/x").content == b"sub"
    assert ask(handler, "/sx").content == b"app /sx"
    assert ask(handler, "/").content == b"app /"


@pytest.mark.parametrize(
    ("mounts", "error"),
    [({"s": print}, ValueError), ({"/s/": print}, ValueError), ({"/s": 1}, TypeError)],
)
def test_wrong_mounts_are_refused(mounts: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="mounts: "):
        Http(print, mounts=mounts)


def test_wrong_arguments_are_refused(root: Path) -> None:
    with pytest.raises(NotADirectoryError, match="is not a directory"):
        StaticFiles(root / "a.txt")
    with pytest.raises(ValueError, match="prefix: "):
        StaticFiles(root, prefix="static")
    for index in ("../secret", "", ".."):
        with pytest.raises(ValueError, match="index: "):
            StaticFiles(root, index=index)
    assert repr(StaticFiles(root)) == f"<StaticFiles {str(root)!r} at '/'>"


def test_a_file_that_the_application_names(root: Path) -> None:
    reply = ask(lambda _: Response.file(root / "inside", headers={"X": "y"}), "/")
    assert (reply.status, reply.content, reply.field("x")) == (200, TEXT, "y")
    assert reply.field("content-type") == "application/octet-stream"  # by the name it gave
    named = ask(lambda _: Response.file(str(root / "a.txt"), content_type="a/b"), "/")
    assert named.field("content-type") == "a/b"
    assert ask(lambda _: root / "a.txt", "/", Range="bytes=0-0").content == b"0"
    assert ask(lambda _: root / "nothing", "/").status == 404
    assert ask(lambda _: root / "sub", "/").status == 404
    made = ask(lambda _: root / "a.txt", "/", "POST", If_None_Match=TAG, Range="bytes=0-0")
    assert (made.status, made.content) == (200, TEXT)


def test_a_fault_of_ours_is_no_404(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_descriptors(*_: Any, **__: Any) -> int:
        raise OSError(24, "Too many open files")

    request = FakeRequest(target="/a.txt")
    files = StaticFiles(root)
    monkeypatch.setattr("pyuring.static.os.open", no_descriptors)
    with pytest.raises(OSError, match="Too many"):
        files(request)
