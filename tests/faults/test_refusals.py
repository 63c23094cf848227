"""Where io_uring or a resource is refused: the command serves all the same, or says what to do.

Each server is a process of its own under the refusal: a seccomp filter, a limit, a mount or a
control group, all of which end with it. The real kernel.io_uring_disabled is the whole machine's,
and switched for the start of a server only where PYURING_TEST_SYSCTL=1 says that nobody minds.
"""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import READY, ROOT
from peers import echoes

SERVE = ["serve", "examples.echo:Echo", "--bind", "127.0.0.1:0"]

PROGRAM = """
import sys
sys.path[0:1] = ["tests"]  # not where we are: what is installed is to be tested
import kernel_filter
from pyuring.__main__ import main
sys.path.append(".")  # for the examples
if int(sys.argv[1]):
    kernel_filter.refuse(kernel_filter.SETUP, int(sys.argv[1]))
sys.argv = ["pyuring", *sys.argv[2:]]
sys.exit(main())
"""
# Nobody, but for reading: the interpreter may lie in a folder that is root's.
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
          "--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search")  # fmt: skip


class Outcome:
    """What became of a server: its lines, and the tier where it ran and echoed."""

    def __init__(self, command: list[str]) -> None:
        environment = {name: value for name, value in os.environ.items() if name != "PYURING_TIER"}
        with subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment
        ) as server:
            try:
                self._watch(server)
            finally:
                server.kill()

    def _watch(self, server: subprocess.Popen[str]) -> None:
        assert server.stderr is not None
        self.lines: list[str] = []
        self.tier = ""
        for line in server.stderr:
            if not line.startswith("pyuring: stopping"):
                self.lines.append(line)
            found = READY.fullmatch(line)
            if found is not None:
                self.tier = found[2]
                assert echoes(found[1])
                server.send_signal(signal.SIGTERM)
        self.status = server.wait(20)
        self.text = "".join(self.lines)


def serve(*arguments: str, prefix: tuple[str, ...] = (), number: int = 0) -> Outcome:
    """Run the command to its end, which we bring about once it serves; it asks for no tier."""
    command = [*prefix, sys.executable, "-c", PROGRAM, str(number), *SERVE, *arguments]
    outcome = Outcome(command)
    assert "Traceback" not in outcome.text, outcome.text
    return outcome


def check_refused(outcome: Outcome, *words: str) -> None:
    """The server runs on epoll, and one line has the reason and the remedy."""
    assert (outcome.status, outcome.tier) == (0, "NONE"), outcome.text
    said = [line for line in outcome.lines if READY.fullmatch(line) is None]
    assert len(said) == 1, outcome.text
    for word in words:
        assert word in said[0]


def need_root(*programs: str) -> None:
    if os.geteuid() != 0:
        pytest.skip("this refusal needs root to be set up")
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"this machine has no {program}")


# --- io_uring itself (F15) -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EPERM, ("seccomp filter", "profile that allows io_uring_setup")),
        (errno.ENOSYS, ("has no io_uring", "5.10")),
    ],
)
def test_f15_a_seccomp_filter_is_named_with_its_remedy(number: int, words: tuple[str]) -> None:
    check_refused(serve(number=number), *words)


@pytest.mark.parametrize(("level", "user"), [(1, NOBODY), (2, ())])
def test_f15_a_sysctl_that_says_no_is_named_with_its_remedy(
    level: int, user: tuple[str, ...], tmp_path: Path
) -> None:
    need_root("unshare", "mount", "setpriv")
    told = tmp_path / "io_uring_disabled"
    told.write_text(f"{level}\n")
    tmp_path.chmod(0o755)
    script = f'mount --bind {told} /proc/sys/kernel/io_uring_disabled && exec "$@"'
    prefix = ("unshare", "--mount", "sh", "-c", script, "sh")
    outcome = serve(prefix=prefix + user, number=errno.EPERM)
    check_refused(outcome, f"kernel.io_uring_disabled = {level}", "0")


@pytest.fixture
def switch() -> Iterator[Path]:
    """Hand out the machine's switch, and put it back, also when this process is killed."""
    if os.environ.get("PYURING_TEST_SYSCTL") != "1":
        pytest.skip("switches io_uring off machine-wide for a moment: set PYURING_TEST_SYSCTL=1")
    path = Path("/proc/sys/kernel/io_uring_disabled")
    if os.geteuid() != 0 or not os.access(path, os.W_OK):
        pytest.skip("only root may write kernel.io_uring_disabled (Linux 6.6)")
    before = path.read_text().strip()
    restore = f"cat >/dev/null; echo {before} >{path}"
    with subprocess.Popen(["setsid", "sh", "-c", restore], stdin=subprocess.PIPE):
        yield path
    assert path.read_text().strip() == before


@pytest.mark.parametrize(("level", "user"), [(1, NOBODY), (2, ())])
def test_f15_the_kernels_own_switch_is_obeyed(
    switch: Path, level: int, user: tuple[str, ...]
) -> None:
    switch.write_text(str(level))
    check_refused(serve(prefix=user), f"kernel.io_uring_disabled = {level}")


# --- limits (F16, F21) ---------------------------------------------------------------------


def test_f16_little_locked_memory_means_less_of_a_tier_or_none_with_the_limit_named() -> None:
    need_root("prlimit", "setpriv")  # root itself is not held to it
    outcome = serve("--workers", "2", prefix=("prlimit", "--memlock=65536:65536", *NOBODY))
    # The kernel counts a user's memory, not a process's, so what is left is not ours to say.
    if outcome.tier != "HIGH":
        assert "RLIMIT_MEMLOCK is 64 KiB" in outcome.text
        assert "ulimit -l" in outcome.text
    assert outcome.status == (0 if outcome.tier else 2)


@pytest.mark.parametrize(("limit", "workers", "runs"), [(64, 1, True), (64, 16, False)])
def test_few_descriptors_are_enough_or_the_limit_is_named(
    limit: int, workers: int, runs: bool
) -> None:
    need_root("prlimit")
    outcome = serve("--workers", str(workers), prefix=("prlimit", f"--nofile={limit}:{limit}"))
    if runs:
        assert (outcome.status, len(outcome.lines)) == (0, 1), outcome.text
    else:
        assert (outcome.status, len(outcome.lines)) == (2, 1), outcome.text
        assert "RLIMIT_NOFILE (ulimit -n" in outcome.text


@pytest.mark.parametrize("mount", ["mount -o remount,ro,bind /proc", "mount -t tmpfs none /proc"])
def test_a_proc_that_cannot_be_written_or_is_not_there_is_no_hindrance(mount: str) -> None:
    need_root("unshare", "mount")
    prefix = ("unshare", "--mount", "sh", "-c", f'{mount} && exec "$@"', "sh")
    outcome = serve(prefix=prefix)
    assert (outcome.status, len(outcome.lines)) == (0, 1), outcome.text


def test_one_cpu_is_enough() -> None:
    need_root("taskset")
    outcome = serve("--workers", "2", prefix=("taskset", "--cpu-list", "0"))
    assert (outcome.status, len(outcome.lines)) == (0, 1), outcome.text


@pytest.fixture
def tasks() -> Iterator[Path]:
    """Return a control group of its own that counts tasks, version 1 or 2; it goes away again."""
    need_root()
    for top in ("/sys/fs/cgroup/pids", "/sys/fs/cgroup"):
        group = Path(top) / f"pyuring-test-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        if (group / "pids.max").exists():
            yield group
            group.rmdir()
            return
        group.rmdir()
    pytest.skip("no control group that limits tasks can be made here")


@pytest.mark.parametrize(("most", "runs"), [(2, False), (16, True)])
def test_a_control_group_that_allows_too_few_threads_is_named(
    tasks: Path, most: int, runs: bool
) -> None:
    (tasks / "pids.max").write_text(str(most))
    prefix = ("sh", "-c", f'echo $$ >{tasks}/cgroup.procs && exec "$@"', "sh")
    outcome = serve("--workers", "4", prefix=prefix)
    if runs:
        assert (outcome.status, len(outcome.lines)) == (0, 1), outcome.text
    else:
        assert (outcome.status, len(outcome.lines)) == (2, 1), outcome.text
        assert "pids.max" in outcome.text
