"""The errors pyuring raises besides OSError and its subclasses, and what to do about each.

Owns the exception tree and the words for a refused io_uring; never raises anything on its own.

    PyuringError
    ├── NativeLibraryError      also ImportError: libpyuring.so is missing or is another build's
    ├── RingError               the ring cannot be used like this
    │   ├── RingClosedError     also ValueError: used after close()
    │   ├── WrongThreadError    also RuntimeError: a ring belongs to one thread
    │   ├── ForkedError         also RuntimeError: a child cannot use its parent's ring
    │   ├── SqeStateError       also RuntimeError: an SQE used after it was submitted
    │   └── RingUnavailableError  also OSError: this kernel, container or limit refuses io_uring
    ├── EngineClosedError       also RuntimeError: an engine or worker used after its end
    ├── ClientDisconnectedError also ConnectionResetError: the client of a request has gone
    ├── HttpError               a handler's way to reply a status and a sentence
    └── BufferGroupError        a buffer group cannot be used like this
        ├── BufferInUseError    also BufferError: a view of the buffer is still alive
        └── BufferNotHeldError  also ValueError: returned twice, or never handed out

Every other failure of a system call is an OSError with the kernel's errno, in the subclass that
Python has for it (BlockingIOError, PermissionError, TimeoutError …).
"""

from __future__ import annotations

import errno
import os

__all__ = [
    "BufferGroupError",
    "BufferInUseError",
    "BufferNotHeldError",
    "ClientDisconnectedError",
    "EngineClosedError",
    "ForkedError",
    "HttpError",
    "NativeLibraryError",
    "PyuringError",
    "RingClosedError",
    "RingError",
    "RingUnavailableError",
    "SqeStateError",
    "WrongThreadError",
]


class PyuringError(Exception):
    """The base of every error that is pyuring's own."""


class NativeLibraryError(PyuringError, ImportError):
    """The native library cannot be loaded, or belongs to another version of pyuring (F54)."""


class RingError(PyuringError):
    """A ring was used in a way that it cannot serve."""


class RingClosedError(RingError, ValueError):
    """The ring was used after close(), as a closed file raises ValueError."""


class WrongThreadError(RingError, RuntimeError):
    """The ring was used by a thread other than the one it belongs to (F9)."""


class ForkedError(RingError, RuntimeError):
    """The ring was made before os.fork(); the child must make its own (F20)."""


class SqeStateError(RingError, RuntimeError):
    """The SQE was submitted, or its ring closed: it no longer belongs to the caller."""


class RingUnavailableError(RingError, OSError):
    """io_uring is refused here. `errno` is the kernel's, `reason` says why, `remedy` what helps."""

    def __init__(self, number: int, reason: str = "", remedy: str = "") -> None:
        # OSError.__new__ keeps (errno, strerror) from the arguments; these are for people.
        text = reason or os.strerror(number)
        super().__init__(number, f"{text}; {remedy}" if remedy else text)
        self.reason = text
        self.remedy = remedy


class EngineClosedError(PyuringError, RuntimeError):
    """The engine or the worker has ended, as a closed event loop raises RuntimeError."""


class ClientDisconnectedError(PyuringError, ConnectionResetError):
    """The client has gone: its body will not come to an end, its reply has no reader."""


class HttpError(PyuringError):
    """Raised in a handler: the reply is `status`, with `message` as its text.

    Nothing is logged. `fields` are further header fields of the reply.
    """

    def __init__(
        self, status: int, message: str = "", fields: list[tuple[str, str]] | None = None
    ) -> None:
        if type(status) is not int or not 400 <= status <= 599:
            raise ValueError(f"an HTTP error's status is 400 to 599, not {status!r}")
        super().__init__(status, message)
        self.status = status
        self.message = message
        self.fields = fields or []

    def __str__(self) -> str:
        """Return the status and the message."""
        return f"{self.status} {self.message}".rstrip()


class BufferGroupError(PyuringError):
    """A buffer group was used in a way that it cannot serve."""


class BufferInUseError(BufferGroupError, BufferError):
    """The buffer cannot go back to the kernel while a view of it is alive (F30)."""


class BufferNotHeldError(BufferGroupError, ValueError):
    """The buffer is not the application's to return: returned twice, or never handed out."""


_DISABLED = "/proc/sys/kernel/io_uring_disabled"
_GROUP = "/proc/sys/kernel/io_uring_group"


def unavailable(number: int) -> RingUnavailableError:
    """Return the error for an io_uring_setup(2) that failed with errno `number`.

    Reads the sysctl to tell a policy from a seccomp filter. Raises nothing.
    """
    if number == errno.EPERM:
        return RingUnavailableError(number, *_permission())
    if number == errno.ENOSYS:
        return RingUnavailableError(
            number,
            "this kernel, or the sandbox around this process, has no io_uring",
            "Linux 5.10 or newer outside of such a sandbox has it",
        )
    if number == errno.ENOMEM:
        return RingUnavailableError(
            number,
            f"no memory for the ring (RLIMIT_MEMLOCK is {_memlock()})",
            "use fewer or smaller rings, or raise the limit (ulimit -l, LimitMEMLOCK= in systemd)",
        )
    if number in (errno.EMFILE, errno.ENFILE):
        return RingUnavailableError(
            number,
            f"no descriptor is left for the ring: {os.strerror(number)}",
            remedy(number),
        )
    return RingUnavailableError(number)


def no_thread() -> BlockingIOError:
    """Return the error for a thread that a limit keeps from starting; Python names none."""
    return BlockingIOError(errno.EAGAIN, "no further thread may be started")


def remedy(number: int | None) -> str:
    """Return what helps against a limit that a system call met, or nothing."""
    if number in (errno.EMFILE, errno.ENFILE):
        return "raise RLIMIT_NOFILE (ulimit -n, LimitNOFILE= in systemd)"
    if number == errno.EAGAIN:  # of fork and of a thread's start
        return "raise RLIMIT_NPROC (ulimit -u) or the cgroup's pids.max (TasksMax= in systemd)"
    return ""


def _permission() -> tuple[str, str]:
    """Return why io_uring is not permitted, and what helps."""
    try:
        with open(_DISABLED, encoding="ascii") as file:
            level = file.read().strip()
    except OSError:
        level = "0"
    if level == "2":
        return (
            "io_uring is disabled on this machine (sysctl kernel.io_uring_disabled = 2)",
            "sysctl -w kernel.io_uring_disabled=0 allows it",
        )
    if level == "1" and not _is_exempt():
        return (
            "io_uring is for privileged processes only (sysctl kernel.io_uring_disabled = 1)",
            "set it to 0, or put the process into the group kernel.io_uring_group",
        )
    return (
        "io_uring is forbidden by a seccomp filter, as containers' default profiles do",
        "run the container with a profile that allows io_uring_setup, io_uring_enter and "
        "io_uring_register",
    )


def _is_exempt() -> bool:
    """Return whether kernel.io_uring_disabled = 1 lets this process through."""
    try:
        with open(_GROUP, encoding="ascii") as file:
            group = int(file.read())
    except (OSError, ValueError):
        group = -1
    return os.geteuid() == 0 or group in (os.getegid(), *os.getgroups())


def _memlock() -> str:
    """Return RLIMIT_MEMLOCK as text."""
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    return "unlimited" if soft == resource.RLIM_INFINITY else f"{soft // 1024} KiB"
