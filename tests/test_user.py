"""`--user`: whom root becomes, in which order, what is bound before, and what still works after."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from command import ROOT
from http_client import Client
from supervised import Supervised, alive

from pyuring import identity, supervised
from pyuring.identity import Identity, become, find
from pyuring.options import Options
from pyuring.usage import UsageError

NOBODY = 65534  # of Linux itself: an id that has none where it is looked at is shown as this one
PRIVILEGED = "/proc/sys/net/ipv4/ip_unprivileged_port_start"

WHO = """
import os

def app(request):
    return f"{os.getresuid()} {os.getresgid()} {os.getgroups()} {os.environ.get('HOME')}"
"""

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")


# --- who that is --------------------------------------------------------------------------------


def test_names_and_numbers_are_looked_up() -> None:
    assert find("nobody").uid == find(str(find("nobody").uid)).uid
    root_group = find("nobody:root")
    assert (root_group.uid, root_group.gid) == (find("nobody").uid, 0)
    assert find("4242:77") == Identity("4242:77", 4242, 77, None, None)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "must be USER or USER:GROUP"),
        ("nobody:", "must be USER or USER:GROUP"),
        (":nogroup", "must be USER or USER:GROUP"),
        ("no-such-user", "there is no user 'no-such-user'"),
        ("nobody:no-such-group", "there is no group 'no-such-group'"),
        ("4242", "user 4242 is in no list, so say the group too: 4242:GROUP"),
        ("root", "that is root, who gives nothing up"),
        ("0:4242", "that is root, who gives nothing up"),
        ("4294967295:1", "4294967295 is no user or group id"),
        ("-1:1", "there is no user '-1'"),
    ],
)
def test_a_user_that_makes_no_sense_is_refused(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=f"^{words}$"):
        find(text)


def test_groups_go_before_the_group_and_that_before_the_user(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[tuple[Any, ...]] = []
    whom = Identity("app", 7, 8, "app", None)

    def refuse_root(*ids: int) -> None:
        calls.append(("setresuid", *ids))
        if ids[0] == 0:
            raise PermissionError

    for name in ("initgroups", "setgroups", "setresgid"):
        monkeypatch.setattr(identity.os, name, lambda *told, name=name: calls.append((name, *told)))
    monkeypatch.setattr(identity.os, "setresuid", refuse_root)
    monkeypatch.setattr(identity.os, "getresuid", lambda: (7, 7, 7))
    monkeypatch.setattr(identity.os, "getresgid", lambda: (8, 8, 8))
    monkeypatch.setenv("USER", "root")
    monkeypatch.setenv("LOGNAME", "root")
    become(whom)
    order = [("initgroups", "app", 8), ("setresgid", 8, 8, 8), ("setresuid", 7, 7, 7)]
    assert calls == [*order, ("setresuid", 0, 0, 0)]
    assert (os.environ["USER"], os.environ["LOGNAME"]) == ("app", "app")
    # Where capabilities are kept, root comes back.
    monkeypatch.setattr(identity.os, "setresuid", lambda *_: None)
    with pytest.raises(PermissionError, match="root's rights are not given up"):
        become(whom)


def test_who_is_not_root_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(UsageError, match="only root can become another user, this is uid 1000"):
        supervised.serve(Options(app="examples.echo:Echo", user="nobody"), [])


# --- as root ------------------------------------------------------------------------------------


@pytest.fixture
def place() -> Iterator[Path]:
    """Return a directory that everybody may enter, with an application, and one of nobody's."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        path = Path(name)
        (path / "who.py").write_text(WHO)
        (path / "run").mkdir()
        os.chown(path / "run", NOBODY, NOBODY)
        yield path


# In a mount namespace of its own a directory that is closed, root's home with an interpreter in
# it say, is replaced by one that is open and has what we need of it.
OPEN_UP = """
set -e
open=$1 closed=$2 inner=$3
shift 3
mount --make-rprivate /
mkdir -p "$open/$inner"
chmod 755 "$open"
mount --rbind "$closed/$inner" "$open/$inner"
mount --rbind "$open" "$closed"
exec "$@"
"""


def closed_on_the_way(path: str) -> tuple[str, str] | None:
    """Return the directory that not everybody may pass, and the name below it that we need."""
    parts = Path(path).parts
    for count in range(1, len(parts)):
        directory = Path(*parts[:count])
        if not directory.stat().st_mode & stat.S_IXOTH:
            return str(directory), parts[count]
    return None


class ServedAs(Supervised):
    """`pyuring serve --user` from a place where that user may run the interpreter."""

    def __init__(self, place: Path, *arguments: str, user: str = "nobody", **told: Any) -> None:
        closed = closed_on_the_way(os.path.realpath(sys.executable))
        self.wrapped: list[str] = []
        if closed is not None:
            if shutil.which("unshare") is None:
                pytest.skip(f"{closed[0]} is closed to others, and unshare is not installed")
            self.wrapped = [
                "unshare",
                "--mount",
                "--propagation",
                "private",
                "sh",
                "-c",
                OPEN_UP,
                "sh",
            ]
            self.wrapped += [f"{place}/open", *closed]
        probe = [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r});"
                 "import os; os.setresuid(65534, 65534, 65534); import pyuring; os.execv("
                 "sys.executable, [sys.executable, '-c', ''])"]  # fmt: skip
        done = subprocess.run([*self.wrapped, *probe], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            pytest.skip(f"nobody cannot run {sys.executable}: {done.stderr}")
        super().__init__("who:app", *arguments, "--user", user, cwd=place, **told)

    def command(self) -> list[str]:
        """Return the words that start the command."""
        return [*self.wrapped, *super().command()]


def ids_of(pid: int) -> dict[str, str]:
    """Return what /proc says of a process's ids and rights."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    found = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    return {name: found[name].strip() for name in ("Uid", "Gid", "Groups", "CapPrm", "CapEff")}


@as_root
def test_ports_are_bound_as_root_and_all_else_is_done_as_the_user(place: Path) -> None:
    first_free = int(Path(PRIVILEGED).read_text())
    with socket.socket() as chosen:  # a port that nobody but root may bind, and that is free
        for port in range(first_free - 1, 0, -1):
            try:
                chosen.bind(("127.0.0.1", port))
                break
            except OSError:
                continue
        else:
            pytest.skip("this machine has no privileged ports")
    address, path = f"127.0.0.1:{port}", f"{place}/run/socket"
    told = ("--bind", address, "--bind", f"unix:{path}", "--pid", f"{place}/run/pid")
    with ServedAs(place, *told, "--processes", "2", ready=False) as served:
        served.expect(rf"{address} and unix:\S+ \(.*2 processes, 1 worker each, user nobody\)")
        parent = int((place / "run" / "pid").read_text())
        children = served.children()
        assert len(children) == 2
        for pid in (parent, *children):
            ids = ids_of(pid)
            assert ids["Uid"] == "\t".join(["65534"] * 4)
            assert ids["Gid"] == "\t".join(["65534"] * 4)
            assert ids["Groups"].split() == ["65534"]
            assert {int(ids["CapPrm"], 16), int(ids["CapEff"], 16)} == {0}
        assert os.stat(path).st_uid == NOBODY
        three = "(65534, 65534, 65534)"
        with Client(address) as client:
            assert client.get("/").body.decode().startswith(f"{three} {three} [65534] /")
        served.signal(signal.SIGHUP)  # the sockets are there still
        served.expect("reloaded")
        with Client(address) as client:
            assert client.get("/").body.decode().startswith(three)
        served.signal(signal.SIGTTIN)  # one more would have to be bound
        served.expect("no further process: .*; ports are bound before root's rights are given up")
        served.stop()
    assert os.listdir(place / "run") == []


@as_root
def test_one_process_has_a_parent_then(place: Path) -> None:
    with ServedAs(place, "--bind", "127.0.0.1:0", user=f"{NOBODY}:1") as served:
        assert f"1 process, 1 worker, user {NOBODY}:1)" in served.seen[-1]
        (child,) = served.children()
        assert alive(child)
        assert ids_of(child)["Gid"] == "\t".join(["1"] * 4)
        served.stop()


@as_root
def test_a_path_is_not_followed_as_root(place: Path) -> None:
    """What the directory's owner links to is not root's to bind, to open up or to write."""
    (place / "secret").mkdir(mode=0o700)
    for told in ("--bind", f"unix:{place}/secret/socket"), ("--pid", f"{place}/secret/pid"):
        with ServedAs(place, "--bind", "127.0.0.1:0", *told, ready=False) as served:
            assert served.wait() == 2
            (line,) = served.rest()
            assert "secret" in line
            assert "Permission denied" in line
    assert os.listdir(place / "secret") == []


@as_root
@pytest.mark.parametrize(
    ("user", "words"),
    [("no-such-user", "there is no user 'no-such-user'"), ("root", "that is root")],
)
def test_a_wrong_user_is_one_line_and_status_2(place: Path, user: str, words: str) -> None:
    told = ("who:app", "--bind", "127.0.0.1:0", "--user", user)
    with Supervised(*told, cwd=place, ready=False) as served:
        assert served.wait() == 2
        (line,) = served.rest()
        assert line.startswith(f"pyuring: --user {user}: {words}")


@as_root
def test_an_interpreter_that_the_user_may_not_run_is_one_line_and_status_2(place: Path) -> None:
    closed = place / "closed"
    closed.mkdir(mode=0o700)
    os.symlink(sys.executable, closed / "python")
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); sys.executable = {str(closed)!r} "
        "+ '/python'; from pyuring.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    told = ["serve", "who:app", "--bind", "127.0.0.1:0", "--user", "nobody"]
    command = [sys.executable, "-c", code, *told]
    done = subprocess.run(command, capture_output=True, text=True, cwd=place, check=False)
    assert done.returncode == 2, done.stderr
    first = f"pyuring: cannot start a process: {closed}/python: Permission denied\n"
    assert done.stderr == first
