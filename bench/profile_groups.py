"""Whose work a sample is: the groups of bench/profile_request.py, and the rules that fill them.

Tables and the functions that apply them. Never runs a program and never counts.

A sample in the kernel belongs to the innermost function of its call chain that a rule knows: what
an allocator or a lock costs is its caller's. A sample in pyuring's library belongs to the source
file of the innermost line of ours, inlined ones included. In CPython, which keeps no frame
pointers, the function's own name decides.
"""

from __future__ import annotations

import re
from fnmatch import fnmatchcase

NETWORK, RING, SYSTEM = "kernel: networking", "kernel: io_uring, epoll", "kernel: calls, scheduling"
WORKER, PARSING, OBJECTS = "worker", "parsing", "objects"
HANDLER, REPLY, INTERPRETER = "handler", "reply", "interpreter"
COPYING, UNKNOWN = "copying", "unclassified"

# Group -> what a reader should know of it, in the order of the tables.
GROUPS = {
    NETWORK: "sockets, TCP, IP, the loopback device; both directions of it, as loopback has the "
    "sender deliver",
    RING: "io_uring's own work, or epoll's: submissions, completions, task work, readiness",
    SYSTEM: "the way into a system call and back, waiting and waking, timers, interrupts",
    WORKER: "the worker's turn: completions, connections, deadlines, queues of both directions, "
    "the exchange's state",
    PARSING: "the request's head and body (zig/http1*.zig)",
    OBJECTS: "making and freeing Python objects: request, str, bytes, dict, the WSGI environ",
    HANDLER: "calling the application and running it, its start_response included",
    REPLY: "checking and writing the reply's head, and gathering replies",
    INTERPRETER: "the interpreter lock, signals, thread state, what no rule below CPython names",
    COPYING: "memcpy and memset, of whoever",
    UNKNOWN: "what no rule knows",
}

_KERNEL = (
    (RING, r"(__)?(io_|ep_|epoll|do_epoll|eventpoll)|.*io_uring"),
    (
        SYSTEM,
        r"(__)?(schedule|sched|pick_|put_prev|enqueue_(task|ent)|dequeue_|ttwu|try_to_wake|wake_|wakeup|"
        r"finish_task|switch_|__switch|update_|prepare_to|finish_wait|futex|hrtimer|timer|tick_|"
        r"select_|autoremove|default_wake|do_nanosleep|clockevents|sysvec|asm_sysvec|irq_exit|"
        r"entry_|do_syscall|syscall|x64_sys_(?!send|recv|io)|exit_to_user|irqentry|ret_from|"
        r"ksys|vfs_|eventfd|signal|task_work|native_write|pv_|kvm|reschedule|perf_trace_sys)",
    ),
    (
        NETWORK,
        r"(__)?(tcp|ip|ipv4|inet|sock|sk_|skb|net|netif|dev_|napi|loopback|nf_|qdisc|process_backlog|"
        r"validate_xmit|fib|dst|neigh|eth_|rt_|kfree_skb|alloc_skb|csum|sys_send|sys_recv|fdget|fget|fput|x64_sys_send|"
        r"x64_sys_recv|do_softirq|handle_softirqs|local_bh|bpf|security_sock|page_frag|"
        r"consume_skb|sendmsg|recvmsg|import_|copy_msghdr|udp|mod_timer|enqueue_to_backlog)",
    ),
)
KERNEL_RULES = tuple((group, re.compile(pattern)) for group, pattern in _KERNEL)

# Files of zig/, the first match counts.
FILE_RULES = (
    ("http1_writer.zig", REPLY),
    ("http1*.zig", PARSING),
    ("http_reply.zig", REPLY),
    ("http_output.zig", REPLY),
    ("http_stream.zig", REPLY),
    ("request_*.zig", OBJECTS),
    ("python.zig", OBJECTS),
    ("python_type.zig", OBJECTS),
    ("guard.zig", OBJECTS),
    ("peer_name.zig", OBJECTS),
    ("wsgi_*.zig", HANDLER),
    ("protocol_handler.zig", HANDLER),
    ("transport_*.zig", HANDLER),
    ("*.zig", WORKER),
)

_PYTHON = (
    (
        INTERPRETER,
        r".*(gil|tstate|threadstate|savethread|restorethread|checksignals|pymutex|pendingcalls|"
        r"pythread|eval_breaker|parking)",
    ),
    (
        HANDLER,
        r".*(pyeval|vectorcall|vacall|_call|call_|pyframe|pyfunction|makeTpCall|maketpcall|getmethod|"
        r"callmethod|callfunction|builtin_|pyobject_call|clear_frame|cfunction)",
    ),
    (
        OBJECTS,
        r".*(alloc|free|dealloc|dict|unicode|bytes|tuple|list|set|long|gc|ref|insert|clone|type|"
        r"resize|hash|intern|attr|object|utf8|string|latin|buffer|mro|member|descr|weak|ascii|obj)",
    ),
    (INTERPRETER, r".*"),
)
PYTHON_RULES = tuple((group, re.compile(pattern, re.I)) for group, pattern in _PYTHON)

_LIBC = (
    (COPYING, r".*(memcpy|memmove|memset|memcmp|bcmp)"),
    (OBJECTS, r".*(malloc|free|calloc|realloc|_int_)"),
    (WORKER, r".*(clock_gettime|vdso|gettime)"),
    (HANDLER, r"ffi_.*"),
    (INTERPRETER, r".*(pthread|sem_|lll_|tls_get_addr|futex)"),
)
LIBC_RULES = tuple((group, re.compile(pattern)) for group, pattern in _LIBC)

# Zig's own routines, which no file of ours inlines.
ZIG_RULES = ((COPYING, re.compile(r"mem(cpy|set|move|cmp)|.*memcpy|.*memset")),)


def first(rules: tuple[tuple[str, re.Pattern[str]], ...], name: str) -> str | None:
    """The group of the first rule that matches, or None."""
    return next((group for group, pattern in rules if pattern.match(name)), None)


def of_kernel(chain: list[str]) -> str:
    """The group of a chain of kernel functions, the innermost one first."""
    return next((group for name in chain if (group := first(KERNEL_RULES, name))), UNKNOWN)


def of_file(path: str) -> str:
    """The group of one of the library's source files."""
    name = path.rpartition("/")[2]
    return next((group for pattern, group in FILE_RULES if fnmatchcase(name, pattern)), UNKNOWN)


def of_user(library: str, symbol: str) -> str:
    """The group of a function outside of our library and the kernel."""
    name = library.rpartition("/")[2]
    if name.startswith(("libpython", "python3")):
        return first(PYTHON_RULES, symbol) or UNKNOWN
    if name.startswith(("_ctypes", "libffi")):
        return HANDLER
    return first(LIBC_RULES, symbol) or (WORKER if "vdso" in name else UNKNOWN)
