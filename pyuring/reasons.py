"""Why a capability is missing, in words that say what helps.

Owns the table of the questions that zig/probe.zig asks, each with the Linux version that brought
the capability (for people only: what there is, the kernel was asked). Asks nothing itself.
"""

from __future__ import annotations

import errno
import os

from pyuring.errors import unavailable

__all__ = ["RULES", "SINCE", "TRANSIENT", "reason"]

# Capability -> (what the kernel was asked for, the Linux version that brought it).
SINCE: dict[str, tuple[str, str]] = {
    "io_uring": ("io_uring_setup and a NOP", "5.1"),
    "cqsize": ("IORING_SETUP_CQSIZE", "5.5"),
    "clamp": ("IORING_SETUP_CLAMP", "5.6"),
    "r_disabled": ("IORING_SETUP_R_DISABLED and enabling the ring later", "5.10"),
    "attach_wq": ("IORING_SETUP_ATTACH_WQ", "5.6"),
    "submit_all": ("IORING_SETUP_SUBMIT_ALL", "5.18"),
    "coop_taskrun": ("IORING_SETUP_COOP_TASKRUN", "5.19"),
    "taskrun_flag": ("IORING_SETUP_TASKRUN_FLAG", "5.19"),
    "single_issuer": ("IORING_SETUP_SINGLE_ISSUER", "6.0"),
    "defer_taskrun": ("IORING_SETUP_DEFER_TASKRUN and a receive", "6.1"),
    "sqpoll": ("IORING_SETUP_SQPOLL and NOPs without a system call", "5.11"),
    "sqpoll_single_issuer": ("IORING_SETUP_SQPOLL with SINGLE_ISSUER", "6.0"),
    "sqe128": ("IORING_SETUP_SQE128", "5.19"),
    "cqe32": ("IORING_SETUP_CQE32", "5.19"),
    "cqe_mixed": ("IORING_SETUP_CQE_MIXED", "6.18"),
    "iopoll": ("IORING_SETUP_IOPOLL", "5.1"),
    "hybrid_iopoll": ("IORING_SETUP_HYBRID_IOPOLL", "6.13"),
    "no_sqarray": ("IORING_SETUP_NO_SQARRAY and NOPs", "6.6"),
    "ext_arg": ("a wait with its time limit in the call (EXT_ARG)", "5.11"),
    "single_shot": ("an accept, a receive that waits, and a send", "5.7"),
    "linked": ("two linked operations", "5.3"),
    "provided_buffers": ("buffers given with PROVIDE_BUFFERS", "5.7"),
    "buffer_rings": ("a receive into ring-mapped buffers", "5.19"),
    "multishot_accept": ("two connections from one accept", "5.19"),
    "multishot_recv": ("two messages from one receive", "6.0"),
    "incremental_buffers": ("two messages in one incremental buffer", "6.12"),
    "recv_bundle": ("one receive into several buffers", "6.10"),
    "send_bundle": ("one send from several buffers", "6.10"),
    "send_zc": ("a zero-copy send with its notification", "6.0"),
    "async_cancel": ("cancelling a receive", "5.5"),
    "cancel_fd": ("cancelling all of a descriptor's operations", "5.19"),
    "sync_cancel": ("cancelling with IORING_REGISTER_SYNC_CANCEL", "6.0"),
    "registered_ring_fd": ("entering the ring by a registered index", "5.18"),
    "registered_buffers": ("a write from registered memory", "5.1"),
    "direct_descriptors": ("an accept into the ring's own file table", "5.19"),
    "msg_ring": ("a message to another ring", "5.18"),
    "operations_known": ("IORING_REGISTER_PROBE", "5.6"),
}

# Flags that io_uring_setup(2) forbids together: the kernel is to answer EINVAL (F13).
RULES: dict[str, str] = {
    "sqpoll_coop_taskrun": "SQPOLL excludes COOP_TASKRUN",
    "sqpoll_defer_taskrun": "SQPOLL excludes DEFER_TASKRUN",
    "defer_taskrun_alone": "DEFER_TASKRUN needs SINGLE_ISSUER",
}

# Answers that speak of this moment, not of the kernel: such a probe is not kept.
TRANSIENT = frozenset(
    -number for number in (errno.ENOMEM, errno.EMFILE, errno.ENFILE, errno.EAGAIN, errno.ENOBUFS)
)

# The codes of zig/probe_trial.zig, which no errno can be.
_ODD = {
    1: "the kernel took {asked} and did something else",
    2: "the kernel took {asked} and no completion came within a second",
    3: "{asked}: not asked, for io_uring itself is missing",
    4: "{asked}: could not be tried, for the loopback interface is down",
}


def reason(name: str, answer: int) -> str:
    """Return why capability `name` is missing, given the probe's `answer` (not 0)."""
    asked, since = SINCE[name]
    if answer > 0:
        return f"{_ODD[answer].format(asked=asked)}{_version(since) if answer < 3 else ''}"
    number = -answer
    refused = f"the kernel answered {errno.errorcode.get(number, number)} to {asked}"
    if number in (errno.EMFILE, errno.ENFILE):
        return f"{refused}: {os.strerror(number)}; raise RLIMIT_NOFILE (ulimit -n)"
    if name == "io_uring" or number == errno.ENOMEM:
        error = unavailable(number)
        return f"{refused}: {error.reason}" + (f"; {error.remedy}" if error.remedy else "")
    return f"{refused}{_version(since)}"


def _version(since: str) -> str:
    return f"; mainline has it since Linux {since}"
