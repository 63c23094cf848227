"""The probe carries things out, puts refusals into words, and leaves nothing behind."""

from __future__ import annotations

import errno
import json
import os
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pyuring import reasons
from pyuring.capability import CapabilityProfile, Tier, probe

FILTER = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import kernel_filter; "
SHOW = "; from pyuring import probe; import json; print(json.dumps(probe().to_dict()))"
RunPython = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def profile() -> CapabilityProfile:
    found = probe()
    if not found.io_uring:
        pytest.skip(f"io_uring is refused here: {found.missing['io_uring']}")
    return found


# --- what a refused registration leaves (F14) ----------------------------------------------

# What a kernel without a feature answers, produced by refusing one registration: opcode of
# io_uring_register, what is missing then, the tier that is left.
OLDER = [
    (22, {"buffer_rings", "multishot_recv", "incremental_buffers"}, Tier.BASE),
    (24, {"sync_cancel"}, Tier.HIGH),
    (20, {"registered_ring_fd"}, Tier.HIGH),
    (8, {"operations_known"}, Tier.HIGH),
    (13, {"direct_descriptors"}, Tier.HIGH),
]


@pytest.mark.parametrize(("opcode", "gone", "tier"), OLDER)
def test_f14_what_the_kernel_does_not_do_is_missing(
    profile: CapabilityProfile, run_python: RunPython, opcode: int, gone: set[str], tier: Tier
) -> None:
    if not gone <= {name for name, has in profile.capabilities().items() if has}:
        pytest.skip(f"this kernel lacks one of {gone} anyway")
    refuse = f"kernel_filter.refuse(kernel_filter.REGISTER, {errno.EINVAL}, {opcode})"
    told = shown(run_python(FILTER + refuse + SHOW))
    assert gone <= {*told["missing"]}
    assert "EINVAL" in told["missing"][min(gone)]
    assert told["tier"] == min(tier, profile.tier).name


# --- refusals, in words (F15, F16) ---------------------------------------------------------


def shown(result: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EPERM, ("EPERM", "seccomp", "profile")),
        (errno.ENOSYS, ("ENOSYS", "5.10")),
        (errno.ENOMEM, ("ENOMEM", "RLIMIT_MEMLOCK", "ulimit -l")),
        (errno.EMFILE, ("EMFILE", "RLIMIT_NOFILE")),
    ],
)
def test_f15_a_refused_set_up_is_tier_none_with_the_reason(
    run_python: RunPython, number: int, words: tuple[str, ...]
) -> None:
    told = shown(run_python(FILTER + f"kernel_filter.refuse(425, {number})" + SHOW))
    assert told["tier"] == "NONE"
    assert not any(told["capabilities"].values())
    for word in words:
        assert word in told["missing"]["io_uring"]
    assert "not asked" in told["missing"]["multishot_recv"]


def test_f15_a_filter_that_forbids_only_enter_is_found(run_python: RunPython) -> None:
    refuse = f"kernel_filter.refuse(kernel_filter.ENTER, {errno.EPERM})"
    told = shown(run_python(FILTER + refuse + SHOW))
    assert told["tier"] == "NONE"
    assert "EPERM" in told["missing"]["io_uring"]


def test_f15_the_table_for_people_says_why(run_python: RunPython) -> None:
    code = "; from pyuring import probe; print(probe().describe())"
    result = run_python(FILTER + f"kernel_filter.refuse(425, {errno.EPERM})" + code)
    assert "tier NONE" in result.stdout
    assert result.stdout.count("seccomp") == 1


@pytest.fixture
def io_uring_disabled() -> Iterator[Path]:
    """Hand out the switch, and put it back. It is the whole machine's, so only where asked."""
    switch = Path("/proc/sys/kernel/io_uring_disabled")
    if os.environ.get("PYURING_TEST_SYSCTL") != "1":
        pytest.skip("switches io_uring off machine-wide for a moment: set PYURING_TEST_SYSCTL=1")
    if os.geteuid() != 0 or not os.access(switch, os.W_OK):
        pytest.skip("only root may write kernel.io_uring_disabled (Linux 6.6)")
    before = switch.read_text()
    yield switch
    switch.write_text(before)


@pytest.mark.parametrize("level", [1, 2])
def test_f15_the_sysctl_is_named(
    io_uring_disabled: Path, run_python: RunPython, level: int
) -> None:
    told = shown(run_python(WHILE_SWITCHED, str(level), str(io_uring_disabled)))
    assert told["tier"] == "NONE"
    assert f"kernel.io_uring_disabled = {level}" in told["missing"]["io_uring"]


# A child that is ready to ask, so that the switch is thrown for an instant only: it closes its
# end of the pipe when it dies, and the wait for it is bounded. Level 1 lets root through, so the
# child is nobody, and has imported everything before it becomes that.
WHILE_SWITCHED = """
import json, os, select, sys, resource, warnings
from pyuring import probe
warnings.simplefilter("ignore")
json.dumps(probe().to_dict())
go, answer = os.pipe(), os.pipe()
if os.fork() == 0:
    os.close(answer[0])
    os.setgroups([]); os.setgid(65534); os.setuid(65534)
    os.write(answer[1], b"ready")
    os.read(go[0], 1)
    os.write(answer[1], json.dumps(probe().to_dict()).encode())
    os._exit(0)
os.close(answer[1])
assert os.read(answer[0], 5) == b"ready"
switch = os.open(sys.argv[2], os.O_RDWR)
before = os.read(switch, 16)
try:
    os.pwrite(switch, sys.argv[1].encode(), 0)
    os.write(go[1], b"!")
    select.select([answer[0]], [], [], 1)
finally:
    os.pwrite(switch, before, 0)
print(os.read(answer[0], 1 << 20).decode())
"""


# Asks as a user whose locked memory is limited: root is not held to RLIMIT_MEMLOCK.
AS_NOBODY = """
import json, os, resource, sys
from pyuring import probe
probe().describe()
resource.setrlimit(resource.RLIMIT_MEMLOCK, (int(sys.argv[1]), int(sys.argv[1])))
os.setgroups([]); os.setgid(65534); os.setuid(65534)
profile = probe(refresh=True)
assert profile.io_uring or probe() is not profile, "an answer of the moment was kept"
print(json.dumps(profile.to_dict()))
"""


def with_memory_limit(run_python: RunPython, size: int) -> dict[str, Any]:
    if os.geteuid() != 0:
        pytest.skip("only root can become a user without CAP_IPC_LOCK")
    return shown(run_python(AS_NOBODY, str(size)))


def test_f16_a_memory_limit_is_named_with_its_remedy(run_python: RunPython) -> None:
    missing = with_memory_limit(run_python, 0)["missing"]
    limited = [why for why in missing.values() if "ENOMEM" in why]
    if not limited:
        pytest.skip("this kernel charges no memory of rings or buffers to RLIMIT_MEMLOCK")
    for why in limited:
        assert "RLIMIT_MEMLOCK is 0 KiB" in why
        assert "ulimit -l" in why


def test_f16_a_small_memory_limit_does_not_change_the_answers(
    profile: CapabilityProfile, run_python: RunPython
) -> None:
    told = with_memory_limit(run_python, 64 * 1024)
    assert told["missing"] == dict(profile.missing)
    assert told["tier"] == profile.tier.name


@pytest.mark.parametrize("answer", [1, 2, 3, 4, -errno.EINVAL, -errno.ENOMEM, -errno.EMFILE, -4095])
def test_f15_every_answer_has_words(answer: int) -> None:
    for name in reasons.SINCE:
        words = reasons.reason(name, answer)
        assert len(words) > 20
        assert "{" not in words


# --- nothing left behind (F17) -------------------------------------------------------------


def state() -> dict[str, object]:
    """Return what a probe might leave changed in this process."""
    names = [name for name in dir(resource) if name.startswith("RLIMIT_")]
    return {
        "descriptors": {fd: readlink(fd) for fd in os.listdir("/proc/self/fd")},
        "limits": {name: resource.getrlimit(getattr(resource, name)) for name in names},
        "priority": os.getpriority(os.PRIO_PROCESS, 0),
        "scheduler": (os.sched_getscheduler(0), os.sched_getparam(0).sched_priority),
        "affinity": os.sched_getaffinity(0),
        "signals": signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        "umask": [line for line in status() if line.startswith(("Umask", "Cap", "SigIgn"))],
        "rings mapped": [line for line in maps() if "io_uring" in line],
        "locked": [line for line in status() if line.startswith(("VmLck", "VmPin"))],
    }


def readlink(fd: str) -> str | None:
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except FileNotFoundError:  # the directory's own, while it was listed
        return None


def status() -> list[str]:
    return Path("/proc/self/status").read_text().splitlines()


def maps() -> list[str]:
    return Path("/proc/self/maps").read_text().splitlines()


def test_f17_a_probe_leaves_the_process_as_it_was() -> None:
    probe(sqpoll=True, refresh=True)  # imports and first allocations
    settle(lambda: count_ring_threads() == 0)
    before = state()
    for _ in range(20):
        probe(sqpoll=True, refresh=True)
    assert {**state(), "locked": 0} == {**before, "locked": 0}
    settle(lambda: state() == before)  # what closed rings were charged for comes back late


def test_f17_a_probe_leaves_no_memory_and_no_thread() -> None:
    from pyuring import _native

    probe(refresh=True)
    settle(lambda: count_ring_threads() == 0)
    mappings = len(maps())
    for _ in range(50):
        _native.probe()
    settle(lambda: count_ring_threads() == 0)
    assert len(maps()) <= mappings + 2  # the interpreter's own arenas come and go


def settle(condition: Callable[[], bool], seconds: float = 10) -> None:
    """Wait for what the kernel does after a ring's close, and tells nobody: this polls."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, state()
        time.sleep(0.001)


def count_ring_threads() -> int:
    """Return how many of the kernel's threads serve rings of this process."""
    count = 0
    for task in os.listdir("/proc/self/task"):
        try:
            count += Path(f"/proc/self/task/{task}/comm").read_text().startswith("iou-")
        except (FileNotFoundError, ProcessLookupError):  # ended meanwhile
            pass
    return count


def test_f17_a_probe_takes_well_under_a_tenth_of_a_second() -> None:
    probe(refresh=True)

    def cost() -> float:
        before = time.thread_time()
        probe(refresh=True)
        return time.thread_time() - before

    assert min(cost() for _ in range(5)) < 0.05


def test_the_filter_of_these_tests_works(run_python: RunPython) -> None:
    code = f"{FILTER}kernel_filter.refuse(kernel_filter.SETUP, 5); from pyuring import probe; "
    assert "EIO" in run_python(code + "print(probe().missing['io_uring'])").stdout


def test_a_tier_is_printed_by_its_name_on_every_python() -> None:
    assert str(Tier.HIGH) == f"{Tier.HIGH}" == "HIGH"
    assert int(Tier.HIGH) == 3
