"""The machinery of `nox -s kernels` without a machine: what it packs, judges and writes.

The smoke set itself runs on the kernel at hand. Booting others takes minutes and is a session.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import stat
import subprocess
import sys
import zipfile
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from kernels import __main__ as session, debian, initramfs, machine, outcome, table
from kernels.debian import Kernel, Wanted
from kernels.guest import checks, init
from kernels.machine import Console
from peers import Echo

from pyuring import probe

ROOT = Path(__file__).resolve().parent.parent


# --- the smoke set -------------------------------------------------------------------------


def test_the_smoke_set_holds_on_this_kernel(tmp_path: Path) -> None:
    place = tmp_path / "answers"
    command = [sys.executable, "-m", "kernels.guest.smoke", "--quick", "--json", str(place)]
    paths = os.pathsep.join([str(ROOT / "tests"), *sys.path])
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(place.read_text())
    asked = {name.split()[0] for name in found["checks"]}
    assert found["tier"] == probe().tier.name
    if probe().io_uring:
        assert asked == {"probe", "echo", "http", "shutdown", "restart", "workers", "buffers"}
        tiers = [name.split()[1] for name in found["checks"] if name.startswith("echo ")]
        assert found["tier"].lower() in tiers
        assert "base" in tiers


class OneBitOff(Echo):
    """Sends everything back, but for one bit of the first byte."""

    def data_received(self, data: bytes) -> None:
        self.transport.write(bytes([data[0] ^ 1]) + data[1:])


def test_one_wrong_bit_is_noticed() -> None:
    if not probe().io_uring:
        pytest.skip(f"io_uring is refused here: {probe().missing['io_uring']}")
    with pytest.raises(AssertionError, match="SHA-256"):
        checks.echo("base", (2, 16), OneBitOff)


# --- the archive that a kernel starts from -------------------------------------------------


def unpacked(packed: bytes) -> dict[str, tuple[int, int, bytes]]:
    """Read an archive as the kernel does: name -> mode, time, content."""
    found: dict[str, tuple[int, int, bytes]] = {}
    at = 0
    while True:
        assert packed[at : at + 6] == b"070701"
        fields = [int(packed[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        name = packed[at + 110 : at + 110 + fields[11] - 1].decode()
        start = at + (110 + fields[11] + 3) // 4 * 4
        at = start + (fields[6] + 3) // 4 * 4
        if name == "TRAILER!!!":
            assert at == len(packed)
            return found
        assert fields[2:4] == [0, 0], "owned by root"
        found[name] = (fields[1], fields[5], packed[start : start + fields[6]])


def test_an_archive_depends_on_nothing_but_its_files(tmp_path: Path) -> None:
    (tmp_path / "program").write_bytes(b"\x7fELF")
    os.chmod(tmp_path / "program", 0o755)
    os.utime(tmp_path / "program", (1_700_000_000, 1_700_000_000))

    def pack(order: list[str]) -> bytes:
        archive = initramfs.Archive()
        for name in order:
            archive.add(name, name.encode())
        archive.add_file(tmp_path / "program", "/bin/program")
        archive.add_directory("/tmp")
        return archive.pack()

    names = ["/a/b/c.py", "/a/b.py", "/init"]
    assert len({pack(list(order)) for order in itertools.permutations(names)}) == 1
    found = unpacked(pack(names))
    assert found["bin/program"] == (stat.S_IFREG | 0o755, 1_700_000_000, b"\x7fELF")
    assert found["a/b/c.py"][2] == b"/a/b/c.py"
    assert {name for name, (mode, _, _) in found.items() if stat.S_ISDIR(mode)} == {
        "a", "a/b", "bin", "tmp",
    }  # fmt: skip
    assert list(found) == sorted(found), "a directory comes before what it holds"


def test_a_machine_gets_this_python_the_wheel_and_the_checks(tmp_path: Path) -> None:
    wheel = tmp_path / "some.whl"
    with zipfile.ZipFile(wheel, "w") as packed:
        packed.writestr("pyuring/__init__.py", "from the wheel")
    found = unpacked(initramfs.build(wheel))
    assert found["wheel/pyuring/__init__.py"][2] == b"from the wheel"
    assert stat.S_IMODE(found["init"][0]) == 0o755
    program = found["init"][2].split()[0].removeprefix(b"#!/").decode()
    assert found[program][2].startswith(b"\x7fELF")
    for name in ("guest/kernels/guest/checks.py", "guest/peers.py", "proc", "sys", "dev", "tmp"):
        assert name in found
    assert any(name.endswith("/subprocess.py") for name in found)
    assert any("/ld-linux" in name or "/ld-musl" in name for name in found)


# --- the judge -----------------------------------------------------------------------------


def answers(**changes: Any) -> dict[str, Any]:
    profile = probe().to_dict()
    profile["capabilities"] = dict.fromkeys(profile["capabilities"], True)
    profile["kernel_version"], profile["missing"] = [99, 0, 0], {}
    run = {"tier": "HIGH", "probe": profile, "checks": {"echo": {"ok": True, "detail": ""}}}
    return {"release": "99.0", "root": run, "nobody": run, "complaints": [], **changes}


def console(*lines: str, ended_by_limit: bool = False) -> Console:
    return Console("\r\n".join(lines) + "\r\n", ended_by_limit, 3.0)


def judged(**changes: Any) -> outcome.Outcome:
    line = f"{init.BEGIN} {json.dumps(answers(**changes))} {init.END}"
    return outcome.judge(console(init.STARTED, line, "reboot: Restarting system"), "HIGH")


def test_right_answers_are_fine() -> None:
    found = judged()
    assert (found.kind, found.problems, found.failed) == ("fine", (), False)


def test_a_wrong_checksum_is_told_with_its_check() -> None:
    wrong = {"ok": False, "detail": "got 3 bytes"}
    found = judged(nobody={**answers()["nobody"], "checks": {"http high": wrong}})
    assert (found.kind, found.failed) == ("wrong", True)
    assert found.problems == ("nobody: http high: got 3 bytes",)


def test_another_tier_a_crash_and_a_complaint_are_wrong() -> None:
    base = {**answers()["root"], "tier": "BASE"}
    assert "tier BASE, expected HIGH" in judged(root=base).problems[0]
    assert "signal" in judged(nobody={"crash": "signal 11"}).problems[0]
    assert judged(crash="Traceback").kind == "wrong"
    assert judged(complaints=["WARNING: CPU: 0"]).kind == "wrong"


def test_f14_capabilities_must_agree_with_the_versions_that_are_told() -> None:
    run = answers()["root"]
    run["probe"]["kernel_version"] = [6, 1, 0]
    problems = judged(root=run).problems
    assert "cqe_mixed is there, before Linux 6.18" in problems
    assert not any(text.startswith("defer_taskrun") for text in problems)
    run = answers()["root"]
    run["probe"]["capabilities"]["send_zc"] = False
    run["probe"]["missing"]["send_zc"] = "EINVAL"
    assert judged(root=run).problems == ("send_zc is missing: EINVAL",)


PANIC = "Kernel panic - not syncing: Attempted to kill init!"
CUT = init.BEGIN + ' {"release": "6.1", "ro'
ENDS = [
    (console(init.STARTED, PANIC), "panic", "Attempted to kill init"),
    (console(PANIC), "not booted", "before our first process"),
    (console(init.STARTED, "ok probe", ended_by_limit=True), "hang", "ok probe"),
    (console("booting", ended_by_limit=True), "not booted", "booting"),
    (console(init.STARTED, "ok probe"), "silent", "no line of answers; the last: 'ok probe'"),
    (console(init.STARTED, "bye", "[ 1.5] reboot: Restarting system"), "silent", "'bye'"),
    (console(init.STARTED, CUT), "silent", "no line of answers"),
    (console(init.STARTED, f"{CUT} {init.END}"), "silent", "garbled"),
    (Console("", False, 0.1, 1), "not booted", "status 1"),
]


@pytest.mark.parametrize(("text", "kind", "why"), ENDS)
def test_ends_without_answers_are_told_apart(text: Console, kind: str, why: str) -> None:
    found = outcome.judge(text, "HIGH")
    assert found.kind == kind
    assert why in found.problems[0]
    assert found.failed == (kind != "not booted")


# --- machines ------------------------------------------------------------------------------


@pytest.fixture
def fake_qemu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / machine.QEMU
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    return program


def write_program(path: Path, text: str) -> None:
    path.write_text(f"#!{sys.executable}\nimport sys\n{text}\n")
    path.chmod(0o755)


LOG = "open([a for a in sys.argv if a.startswith('file:')][0][5:], 'a')"


def test_a_machine_that_does_not_end_is_ended(fake_qemu: Path) -> None:
    write_program(
        fake_qemu, f"print('so far', file={LOG}, flush=True)\nimport signal; signal.pause()"
    )
    found = machine.boot(Path("kernel"), None, "tcg", 1.5)
    assert found.ended_by_limit
    assert "so far" in found.text


def test_what_qemu_says_is_part_of_the_console(fake_qemu: Path) -> None:
    write_program(fake_qemu, "sys.exit('no such machine')")
    found = machine.boot(Path("kernel"), Path("initramfs"), "kvm", 30)
    assert not found.ended_by_limit
    assert "no such machine" in found.text
    assert outcome.judge(found, "HIGH").kind == "not booted"


def test_without_a_machine_every_kernel_is_named_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    assert session.main(["--wheel", "none"]) == 0
    told = capsys.readouterr().out
    for wanted in session.KERNELS:
        assert f"{wanted.series:8} absent" in told
    assert "not installed" in told or "this machine is" in told


# --- Debian's archive, and the page --------------------------------------------------------


def test_the_newest_version_of_a_series_is_taken() -> None:
    madison = (
        "linux-image-6.12.95+deb13-cloud-amd64 | 6.12.95-1 | http://x trixie/main amd64 Packages\n"
        "linux-image-6.12.118+deb13-cloud-amd64 | 6.12.118-1 | http://x sid/main amd64 Packages\n"
        "linux-image-6.12.107+deb12-cloud-amd64 | 6.12.107-1~bpo12+1 | http://x a amd64 Packages\n"
    )
    newest = debian.newest(madison.splitlines())
    assert newest == ("linux-image-6.12.118+deb13-cloud-amd64", "6.12.118-1")
    assert debian.newest([]) is None


def test_the_page_has_a_row_for_every_kernel_and_keeps_its_words() -> None:
    page = session.PAGE.read_text("utf-8")
    had = Kernel("linux-image-6.1", "6.1.192-2", Path())
    rows = [
        table.Row(Wanted("6.1", "HIGH"), had, outcome.Outcome("fine", (), answers(), 30.0)),
        table.Row(Wanted("4.19", "NONE"), None, outcome.Outcome("absent", ("it is gone",))),
    ]
    for run in ("root", "nobody"):
        rows[0].outcome.answers[run]["checks"]["echo"]["seconds"] = 1.25
    written = table.put_into(page, table.render(rows, "A sentence."))
    assert "| 4.19 | – | – | – | – | – | – | absent; it is gone |" in written
    assert (
        "| 99.0 | linux-image-6.1 6.1.192-2 | HIGH | 1 of 1 | 1 of 1 | – | 30 | fine |" in written
    )
    assert "| echo | 1.2 |" in written
    assert table.put_into(written, "").split(table.FROM)[0] == page.split(table.FROM)[0]
    with pytest.raises(ValueError, match="lacks"):
        table.put_into("a page", "")


def test_the_page_tells_of_the_kernels_that_are_asked() -> None:
    results = session.PAGE.read_text("utf-8").split(table.FROM)[1]
    named = [line.split(" | ")[0].lstrip("| ") for line in results.splitlines() if " | " in line]
    for wanted in session.KERNELS:
        assert wanted.series in named or wanted.series == debian.NEWEST


def test_the_page_says_when_it_was_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (day,) = re.findall(r" Measured on (\S+)\.$", session.PAGE.read_text("utf-8"), re.M)
    assert date(2026, 11, 24) <= date.fromisoformat(day)
    page = tmp_path / "kernels.md"
    page.write_text(session.PAGE.read_text("utf-8").replace(day, "2001-02-03"), "utf-8")
    monkeypatch.setattr(session, "ROOT", tmp_path)
    monkeypatch.setattr(session, "PAGE", page)
    found = {"release": "6.1.0", "crash": "none"}
    row = table.Row(Wanted("6.1", "HIGH"), None, outcome.Outcome("panicked", (), found, 30.0))
    monkeypatch.setattr(session, "session", lambda wanted, options: [row])
    days = {datetime.now(timezone.utc).date()}
    assert session.main(["--wheel", "none", "--accel", "tcg"]) in (0, 1)
    days.add(datetime.now(timezone.utc).date())  # midnight may have come
    (written,) = re.findall(r" Measured on (\S+)\.$", page.read_text("utf-8"), re.M)
    assert date.fromisoformat(written) in days
