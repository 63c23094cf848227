"""io_uring's own names as enums: opcodes, and the bits of set-up, SQEs and features.

Owns numbers only, as include/uapi/linux/io_uring.h of Linux 6.18 gives them. Imports nothing of
pyuring.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

__all__ = [
    "FILE_INDEX_ALLOC",
    "NOTIF_USAGE_ZC_COPIED",
    "AcceptFlags",
    "CancelFlags",
    "CqeFlags",
    "Features",
    "Op",
    "PollFlags",
    "RecvSendFlags",
    "SetupFlags",
    "SqeFlags",
    "TimeoutFlags",
]

_OPS = """NOP READV WRITEV FSYNC READ_FIXED WRITE_FIXED POLL_ADD POLL_REMOVE SYNC_FILE_RANGE SENDMSG
RECVMSG TIMEOUT TIMEOUT_REMOVE ACCEPT ASYNC_CANCEL LINK_TIMEOUT CONNECT FALLOCATE OPENAT CLOSE
FILES_UPDATE STATX READ WRITE FADVISE MADVISE SEND RECV OPENAT2 EPOLL_CTL SPLICE PROVIDE_BUFFERS
REMOVE_BUFFERS TEE SHUTDOWN RENAMEAT UNLINKAT MKDIRAT SYMLINKAT LINKAT MSG_RING FSETXATTR SETXATTR
FGETXATTR GETXATTR SOCKET URING_CMD SEND_ZC SENDMSG_ZC READ_MULTISHOT WAITID FUTEX_WAIT FUTEX_WAKE
FUTEX_WAITV FIXED_FD_INSTALL FTRUNCATE BIND LISTEN RECV_ZC EPOLL_WAIT READV_FIXED WRITEV_FIXED
PIPE"""
Op = IntEnum("Op", {name: number for number, name in enumerate(_OPS.split())})  # type: ignore[misc]


class SetupFlags(IntFlag):
    """IORING_SETUP_*: io_uring_setup(2)."""

    IOPOLL = 1 << 0
    SQPOLL = 1 << 1
    SQ_AFF = 1 << 2
    CQSIZE = 1 << 3
    CLAMP = 1 << 4
    ATTACH_WQ = 1 << 5
    R_DISABLED = 1 << 6
    SUBMIT_ALL = 1 << 7
    COOP_TASKRUN = 1 << 8
    TASKRUN_FLAG = 1 << 9
    SQE128 = 1 << 10
    CQE32 = 1 << 11
    SINGLE_ISSUER = 1 << 12
    DEFER_TASKRUN = 1 << 13
    NO_MMAP = 1 << 14
    REGISTERED_FD_ONLY = 1 << 15
    NO_SQARRAY = 1 << 16
    HYBRID_IOPOLL = 1 << 17
    CQE_MIXED = 1 << 18


class SqeFlags(IntFlag):
    """IOSQE_*: io_uring_enter(2)."""

    FIXED_FILE = 1 << 0
    IO_DRAIN = 1 << 1
    IO_LINK = 1 << 2
    IO_HARDLINK = 1 << 3
    ASYNC = 1 << 4
    BUFFER_SELECT = 1 << 5
    CQE_SKIP_SUCCESS = 1 << 6


class Features(IntFlag):
    """IORING_FEAT_*: io_uring_setup(2)."""

    SINGLE_MMAP = 1 << 0
    NODROP = 1 << 1
    SUBMIT_STABLE = 1 << 2
    RW_CUR_POS = 1 << 3
    CUR_PERSONALITY = 1 << 4
    FAST_POLL = 1 << 5
    POLL_32BITS = 1 << 6
    SQPOLL_NONFIXED = 1 << 7
    EXT_ARG = 1 << 8
    NATIVE_WORKERS = 1 << 9
    RSRC_TAGS = 1 << 10
    CQE_SKIP = 1 << 11
    LINKED_FILE = 1 << 12
    REG_REG_RING = 1 << 13
    RECVSEND_BUNDLE = 1 << 14
    MIN_TIMEOUT = 1 << 15
    RW_ATTR = 1 << 16
    NO_IOWAIT = 1 << 17


class CqeFlags(IntFlag):
    """IORING_CQE_F_*; the upper 16 bits of a CQE's flags are a buffer's id."""

    BUFFER = 1 << 0
    MORE = 1 << 1
    SOCK_NONEMPTY = 1 << 2
    NOTIF = 1 << 3
    BUF_MORE = 1 << 4


class TimeoutFlags(IntFlag):
    """IORING_TIMEOUT_*: prep_timeout and its neighbours."""

    ABS = 1 << 0
    UPDATE = 1 << 1
    BOOTTIME = 1 << 2
    REALTIME = 1 << 3
    LINK_UPDATE = 1 << 4
    ETIME_SUCCESS = 1 << 5
    MULTISHOT = 1 << 6


class CancelFlags(IntFlag):
    """IORING_ASYNC_CANCEL_*: prep_cancel."""

    ALL = 1 << 0
    FD = 1 << 1
    ANY = 1 << 2
    FD_FIXED = 1 << 3
    USERDATA = 1 << 4
    OP = 1 << 5


class PollFlags(IntFlag):
    """IORING_POLL_*: prep_poll_update."""

    ADD_MULTI = 1 << 0
    UPDATE_EVENTS = 1 << 1
    UPDATE_USER_DATA = 1 << 2
    ADD_LEVEL = 1 << 3


class RecvSendFlags(IntFlag):
    """IORING_RECVSEND_* and its neighbours: the ioprio of a send or a receive."""

    POLL_FIRST = 1 << 0
    RECV_MULTISHOT = 1 << 1
    FIXED_BUF = 1 << 2
    SEND_ZC_REPORT_USAGE = 1 << 3
    BUNDLE = 1 << 4


class AcceptFlags(IntFlag):
    """IORING_ACCEPT_*: the ioprio of an accept."""

    MULTISHOT = 1 << 0
    DONTWAIT = 1 << 1
    POLL_FIRST = 1 << 2


class RegisterOp(IntEnum):
    """IORING_REGISTER_*: io_uring_register(2)."""

    REGISTER_BUFFERS = 0
    UNREGISTER_BUFFERS = 1
    REGISTER_FILES = 2
    UNREGISTER_FILES = 3
    REGISTER_EVENTFD = 4
    UNREGISTER_EVENTFD = 5
    REGISTER_FILES_UPDATE = 6
    REGISTER_EVENTFD_ASYNC = 7
    REGISTER_PROBE = 8
    REGISTER_PERSONALITY = 9
    UNREGISTER_PERSONALITY = 10
    REGISTER_ENABLE_RINGS = 12
    REGISTER_FILES2 = 13
    REGISTER_BUFFERS2 = 15
    REGISTER_BUFFERS_UPDATE = 16
    REGISTER_IOWQ_MAX_WORKERS = 19
    REGISTER_FILE_ALLOC_RANGE = 25


FILE_INDEX_ALLOC = 0xFFFFFFFF
"""The file_index that lets the kernel pick a free slot of the fixed files."""

NOTIF_USAGE_ZC_COPIED = 1 << 31
"""In a notification's res (modulo 2**32): the zero-copy send was copied after all."""
