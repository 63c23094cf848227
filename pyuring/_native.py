"""Loads libpyuring.so and binds its symbols: the only module that imports ctypes.

Owns the table of symbols and of shared structs, and refuses a library that is missing, made for
another machine, or of another version (F54). Never holds state of a ring or a connection.

`lib` drops the interpreter lock during a call, `pylib` keeps it: functions that touch Python
objects are called through `pylib` only. Hot objects are native types; `pyuring_python_types`
makes them, and they are published here under their names (RingCore, SqeCore …).
"""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from typing import Any

from pyuring.errors import NativeLibraryError

__all__ = ["ABI_VERSION", "LIBRARY_PATH", "check", "lib", "probe", "pylib", "read_metrics"]

ABI_VERSION = 3
LIBRARY_PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "libpyuring.so")

_i32 = ctypes.c_int32
_u32 = ctypes.c_uint32
_text = ctypes.c_char_p


_ANSWERS = (
    "io_uring", "cqsize", "clamp", "r_disabled", "attach_wq", "submit_all", "coop_taskrun",
    "taskrun_flag", "single_issuer", "defer_taskrun", "sqpoll", "sqpoll_single_issuer", "sqe128",
    "cqe32", "cqe_mixed", "iopoll", "hybrid_iopoll", "no_sqarray", "sqpoll_coop_taskrun",
    "sqpoll_defer_taskrun", "defer_taskrun_alone", "ext_arg", "single_shot", "linked",
    "provided_buffers", "buffer_rings", "multishot_accept", "multishot_recv",
    "incremental_buffers", "recv_bundle", "send_bundle", "send_zc", "async_cancel", "cancel_fd",
    "sync_cancel", "registered_ring_fd", "registered_buffers", "direct_descriptors", "msg_ring",
    "operations_known",
)  # fmt: skip


class Profile(ctypes.Structure):
    """What `pyuring_probe` fills: the kernel's answers, named as in zig/probe.zig."""

    _fields_ = (
        *((name, _i32) for name in _ANSWERS),
        ("features", _u32),
        ("operations", ctypes.c_uint8 * 128),
    )


_u8 = ctypes.c_uint8
_u64 = ctypes.c_uint64
_object = ctypes.py_object
_handle = ctypes.c_void_p


class WorkerConfig(ctypes.Structure):
    """What a native worker is told when it is made: zig/worker_config.zig, with its units."""

    _fields_ = (
        *((name, _u32) for name in ("ring_entries", "cq_entries", "setup_flags")),
        *((name, _u32) for name in ("sq_thread_idle_ms", "sq_thread_cpu")),
        *((name, _u8) for name in ("provided_buffers", "multishot_accept", "multishot_recv")),
        ("epoll", _u8),
        *((name, _u32) for name in ("buffer_count", "buffer_size", "max_connections", "_pad2")),
        *((name, _u64) for name in ("idle_timeout_ns", "write_timeout_ns", "linger_timeout_ns")),
        *((name, _u64) for name in ("write_high_water", "write_low_water")),
        *((name, _u64) for name in ("send_queue_pause", "send_queue_limit", "turn_budget_ns")),
    )


_COUNTERS = (
    "accepted connected active closed bytes_received bytes_sent messages_received sends "
    "errors_accept errors_receive errors_send errors_connect errors_handler enobufs cq_overflows "
    "rearms turns completions send_queue_high_water stale_completions unknown_completions "
    "buffers_held refused timeouts ops_in_flight requests requests_active requests_malformed "
    "responses_2xx responses_3xx responses_4xx responses_5xx request_ns"
)


class WorkerMetrics(ctypes.Structure):
    """A native worker's counters: zig/metrics.zig."""

    _fields_ = (
        *((name, _u64) for name in _COUNTERS.split()),
        ("request_us", _u64 * 24),
    )


class HttpLimits(ctypes.Structure):
    """The parser's limits: zig/http1.zig."""

    _fields_ = (
        *((name, _u32) for name in ("request_line", "field_line", "head", "field_count")),
        *((name, _u32) for name in ("chunk_extensions", "trailers")),
        ("body", _u64),
    )


class HttpConfig(ctypes.Structure):
    """What a worker is told about HTTP: zig/http_config.zig, with its units."""

    _fields_ = (
        ("limits", HttpLimits),
        *((name, _u64) for name in ("buffered_body", "drain_unread", "requests_per_connection")),
        *((name, _u64) for name in ("head_timeout_ns", "body_timeout_ns")),
        ("keep_alive_timeout_ns", _u64),
        *((name, _u8) for name in ("inline", "log", "timed", "proxy_protocol")),
        ("_pad", _u8 * 4),
    )


# Called through `lib`: symbol -> (result, arguments).
SYMBOLS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "pyuring_abi_version": (_u32, ()),
    "pyuring_layouts": (_text, ()),
    "pyuring_probe": (_i32, (ctypes.POINTER(Profile),)),
}

# Called through `pylib`, with the interpreter lock held.
OBJECT_SYMBOLS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "pyuring_python_types": (_object, ()),
    "pyuring_worker_create": (_handle, (ctypes.POINTER(WorkerConfig), _object, _object)),
    "pyuring_worker_listen": (_i32, (_handle, _i32, _object)),
    "pyuring_worker_serve_http": (_i32, (_handle, ctypes.POINTER(HttpConfig), _object)),
    "pyuring_request_alone": (_object, (_object, ctypes.POINTER(HttpConfig), _object, _object)),
    "pyuring_worker_unlisten": (None, (_handle,)),
    "pyuring_worker_turn": (_i32, (_handle, ctypes.c_int64)),
    "pyuring_worker_stay_awake": (None, (_handle,)),
    "pyuring_worker_wake": (None, (_handle,)),
    "pyuring_worker_pause_accept": (None, (_handle,)),
    "pyuring_worker_resume_accept": (None, (_handle,)),
    "pyuring_worker_drain": (None, (_handle, _u64)),
    "pyuring_worker_abort_all": (None, (_handle,)),
    "pyuring_worker_connect": (_i32, (_handle, _object, _object, _i32, _object, _u64)),
    "pyuring_worker_metrics": (None, (_handle, ctypes.POINTER(WorkerMetrics))),
    "pyuring_worker_achieved": (None, (_handle, ctypes.POINTER(_u32))),
    "pyuring_worker_destroy": (_i32, (_handle,)),
}

# Structs that cross the border by pointer: the name in abi.zig's `shared_structs` -> ours.
STRUCTS: dict[str, type[ctypes.Structure]] = {
    "Profile": Profile,
    "WorkerConfig": WorkerConfig,
    "WorkerMetrics": WorkerMetrics,
    "HttpConfig": HttpConfig,
}

# The machine numbers of elf(5) that wheels exist for.
_MACHINES = {62: "x86_64", 183: "aarch64"}
_REINSTALL = "install pyuring-engine again; in a source checkout, build the library again"


def check(result: int, what: str) -> int:
    """Return `result`, or raise the OSError subclass for a -errno, naming `what` failed."""
    if result >= 0:
        return result
    raise OSError(-result, f"{what}: {os.strerror(-result)}")


def _refuse(reason: str, remedy: str = _REINSTALL) -> NativeLibraryError:
    return NativeLibraryError(f"{reason}; {remedy}", name="pyuring", path=LIBRARY_PATH)


def _examine(path: str) -> None:
    """Raise unless `path` is an ELF library for this machine, in words better than dlopen's."""
    try:
        with open(path, "rb") as file:
            head = file.read(20)
    except OSError as error:
        raise _refuse(f"{path} cannot be read ({error.strerror})") from None
    if len(head) < 20 or head[:4] != b"\x7fELF":
        raise _refuse(f"{path} is not a library")
    number = int.from_bytes(head[18:20], "little")
    machine = _MACHINES.get(number, f"ELF machine {number}")
    if machine != platform.machine():
        raise _refuse(f"{path} is for {machine}, this machine is {platform.machine()}")


def _refuse_subinterpreters() -> None:
    """Raise unless this is the main interpreter: native types belong to one, and so do threads.

    Both functions are of the stable ABI (3.9); the main interpreter's number is 0.
    """
    own = ctypes.PyDLL(None)  # nobody else has set the types of its functions
    try:
        current, number = own.PyInterpreterState_Get, own.PyInterpreterState_GetID
    except AttributeError:
        return  # no CPython: _make_types says so
    current.restype, current.argtypes = ctypes.c_void_p, ()
    number.restype, number.argtypes = ctypes.c_int64, (ctypes.c_void_p,)
    if number(current()) != 0:
        raise _refuse(
            "pyuring does not run in a subinterpreter",
            "import it in the main interpreter (mod_wsgi: WSGIApplicationGroup %{GLOBAL})",
        )


def _load() -> tuple[ctypes.CDLL, ctypes.PyDLL]:
    """Load the library in both manners and compare its version and layouts with ours."""
    if not sys.platform.startswith("linux"):
        raise _refuse("pyuring runs on Linux only", "use it on Linux 5.10 or newer")
    _refuse_subinterpreters()
    _examine(LIBRARY_PATH)
    try:
        dropping, keeping = ctypes.CDLL(LIBRARY_PATH), ctypes.PyDLL(LIBRARY_PATH)
        # The version first: with another one, any other symbol may be missing.
        found = _bind(dropping, "pyuring_abi_version", SYMBOLS)()
    except (OSError, AttributeError) as error:
        raise _refuse(f"{LIBRARY_PATH} cannot be loaded ({error})") from None
    if found != ABI_VERSION:
        raise _refuse(f"{LIBRARY_PATH} has ABI version {found}, this Python code {ABI_VERSION}")
    try:
        for library, table in ((dropping, SYMBOLS), (keeping, OBJECT_SYMBOLS)):
            for symbol in table:
                _bind(library, symbol, table)
    except AttributeError as error:
        raise _refuse(f"{LIBRARY_PATH} lacks a symbol ({error})") from None
    theirs, ours = dropping.pyuring_layouts().decode("ascii"), layouts()
    if theirs != ours:
        raise _refuse(
            f"{LIBRARY_PATH} lays structs out as {theirs!r}, this Python code as {ours!r}"
        )
    return dropping, keeping


def _bind(library: ctypes.CDLL, symbol: str, table: dict[str, tuple[Any, tuple[Any, ...]]]) -> Any:
    """Give a foreign function its types, once."""
    function = getattr(library, symbol)
    function.restype, function.argtypes = table[symbol]
    return function


def layouts() -> str:
    """Return `STRUCTS` in the words of the library: `Name:size field@offset+size …;` each."""
    return "".join(_layout(name, struct) for name, struct in STRUCTS.items())


def _layout(name: str, struct: type[ctypes.Structure]) -> str:
    fields = (entry[0] for entry in struct._fields_)
    places = (f" {f}@{getattr(struct, f).offset}+{getattr(struct, f).size}" for f in fields)
    return f"{name}:{ctypes.sizeof(struct)}{''.join(places)};"


def _make_types(library: ctypes.PyDLL) -> dict[str, Any]:
    """Let the library make its native types with this interpreter."""
    try:
        return dict(library.pyuring_python_types())
    except ValueError:  # ctypes: "PyObject is NULL", without an exception of CPython's own
        version = platform.python_version()
        raise _refuse(
            f"{platform.python_implementation()} {version} lacks a function that pyuring calls",
            "CPython 3.10 or newer has them all",
        ) from None


lib, pylib = _load()
globals().update(_make_types(pylib))


def probe() -> Profile:
    """Ask the kernel what it does; blocks for milliseconds, with the interpreter lock released."""
    profile = Profile()
    lib.pyuring_probe(ctypes.byref(profile))
    return profile


def http_config(settings: dict[str, int]) -> HttpConfig:
    """Return the struct for `HttpConfig.native_settings`."""
    rest = dict(settings)
    limits = {name: rest.pop(name) for name, *_ in HttpLimits._fields_}
    return HttpConfig(limits=HttpLimits(**limits), **rest)


def read_metrics(handle: int) -> dict[str, Any]:
    """Return the counters of a worker that lives, by name; any thread."""
    found = WorkerMetrics()
    pylib.pyuring_worker_metrics(handle, found)
    named = {name: getattr(found, name) for name, *_ in found._fields_}
    named["request_us"] = tuple(named["request_us"])
    return named
