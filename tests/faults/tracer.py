"""Alters another process's system calls on their way into the kernel and out of it, by ptrace.

Run as `python tracer.py PID NAME CHANCE SEED`: attaches to every thread of PID, says `attached`,
and prints what it did as JSON once PID has ended or SIGTERM has come. It owns no process, and
changes no file: what is altered is the process's own memory. One ring a process, please: it
cannot tell which of several an io_uring_enter is for.

How SQEs are altered. At the entry of io_uring_enter the entries from the queue's head on, as many
as the call submits, lie in a mapping of the ring's that /proc/PID/mem writes to; the kernel reads
them when the tracer lets the call go on. So it is the library as shipped that runs, and the
kernel itself that does what the altered entry says.
Source: ptrace(2), io_uring_enter(2), io_uring_setup(2), include/uapi/linux/io_uring.h.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import random
import signal
import struct
import sys
from collections import Counter

_SEIZE, _INTERRUPT, _SYSCALL, _DETACH = 0x4206, 0x4207, 24, 17
_LISTEN, _GET_SYSCALL_INFO = 0x4208, 0x420E
_OPTIONS = 1 | 8 | 16  # TRACESYSGOOD, TRACECLONE, TRACEEXEC
_WALL = 0x40000000
_ENTRY, _EXIT = 1, 2
_EVENT_EXEC, _EVENT_STOP = 4, 128

SETUP, ENTER = 425, 426
SQES_OFFSET = 0x10000000  # IORING_OFF_SQES
REFUSED = 200  # an opcode that no kernel has: -EINVAL in its completion

# IORING_OP_*
OPCODES = {
    "POLL_ADD": 6, "SENDMSG": 9, "ACCEPT": 13, "ASYNC_CANCEL": 14, "CONNECT": 16, "CLOSE": 19,
    "READ": 22, "SEND": 26, "RECV": 27, "SHUTDOWN": 34,
}  # fmt: skip
ASYNC = 1 << 4  # IOSQE_ASYNC
BUFFER_SELECT = 1 << 5  # IOSQE_BUFFER_SELECT
SQE = struct.Struct("=BBHiQQIIQH")  # to buf_group; the rest stays as it is

libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p)
libc.ptrace.restype = ctypes.c_long


def ptrace(request: int, tid: int, address: int = 0, data: object = 0) -> int:
    """Call ptrace; -1 when the thread is gone."""
    result = libc.ptrace(request, tid, address, data)
    if result == -1 and ctypes.get_errno() != errno.ESRCH:
        raise OSError(ctypes.get_errno(), f"ptrace {request:#x}")
    return int(result)


class Entry:
    """One SQE as it lies in the ring, with the fields that are altered."""

    def __init__(self, raw: bytes) -> None:
        (self.opcode, self.flags, self.ioprio, self.fd, self.offset, self.address, self.length,
         self.op_flags, self.user_data, self.group) = SQE.unpack(raw)  # fmt: skip

    def pack(self) -> bytes:
        return SQE.pack(
            self.opcode, self.flags, self.ioprio, self.fd, self.offset, self.address, self.length,
            self.op_flags, self.user_data, self.group,
        )  # fmt: skip


class Alteration:
    """What is done to an entry: `alter` returns whether it has changed it."""

    def __init__(self, name: str, chance: float, seed: int, memory: Memory) -> None:
        self.chance = chance
        self.rng = random.Random(seed)
        self.memory = memory
        kind, _, operation = name.partition(":")
        self.opcode = OPCODES[operation] if operation else 0
        self.change = getattr(self, kind)

    def alter(self, entry: Entry) -> bool:
        return self.rng.random() < self.chance and self.change(entry)

    def short_sends(self, entry: Entry) -> bool:
        if entry.opcode == OPCODES["SEND"] and entry.length > 1:
            entry.length = self.rng.randint(1, min(entry.length - 1, 5000))
            return True
        if entry.opcode == OPCODES["SENDMSG"]:
            # msg_iov, msg_iovlen of struct msghdr: only its first vectors go out.
            count = self.memory.word(entry.address + 24)
            self.memory.put_word(entry.address + 24, self.rng.randint(1, count))
            return count > 1
        return False

    def single_shot(self, entry: Entry) -> bool:
        """Take the multishot bit away: each completion comes without F_MORE."""
        multishot = {OPCODES["RECV"]: 2, OPCODES["ACCEPT"]: 1}.get(entry.opcode, 0)
        had = bool(entry.ioprio & multishot)
        entry.ioprio &= ~multishot
        return had

    def no_buffer(self, entry: Entry) -> bool:
        """Name a group that there is not: -ENOBUFS."""
        if entry.flags & BUFFER_SELECT:
            entry.group = 0x7777
            return True
        return False

    def asynchronous(self, entry: Entry) -> bool:
        """Let a kernel thread carry it out."""
        entry.flags |= ASYNC
        return True

    def missed_cancels(self, entry: Entry) -> bool:
        """Name an operation that there is not: -ENOENT."""
        if entry.opcode == OPCODES["ASYNC_CANCEL"]:
            entry.address ^= 0x5A5A << 32
            return True
        return False

    def refuse(self, entry: Entry) -> bool:
        """Ask for an operation that there is not: -EINVAL."""
        if entry.opcode == self.opcode:
            entry.opcode = REFUSED
            return True
        return False


class Memory:
    """Another process's memory, where its rings are mapped in it included."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.fd = os.open(f"/proc/{pid}/mem", os.O_RDWR)

    def read(self, address: int, size: int) -> bytes:
        return os.pread(self.fd, size, address)

    def write(self, address: int, data: bytes) -> None:
        assert os.pwrite(self.fd, data, address) == len(data)

    def word(self, address: int) -> int:
        return int.from_bytes(self.read(address, 8), sys.byteorder)

    def put_word(self, address: int, value: int) -> None:
        self.write(address, value.to_bytes(8, sys.byteorder))

    def number(self, address: int) -> int:
        return int.from_bytes(self.read(address, 4), sys.byteorder)

    def rings(self) -> list[tuple[int, int]]:
        """Return the addresses of each ring's queues and of its SQEs, in the order of mapping."""
        queues, entries = [], []
        with open(f"/proc/{self.pid}/maps", encoding="ascii") as lines:
            for line in lines:
                if not line.rstrip().endswith("anon_inode:[io_uring]"):
                    continue
                place, _, offset = line.split()[:3]
                start = int(place.partition("-")[0], 16)
                (entries if int(offset, 16) == SQES_OFFSET else queues).append(start)
        return list(zip(queues, entries, strict=True))


class Params(ctypes.Structure):
    """struct io_uring_params, as far as the offsets of the submission queue."""

    _fields_ = (
        ("head", ctypes.c_uint32 * 10),
        ("sq_off", ctypes.c_uint32 * 10),
        ("cq_off", ctypes.c_uint32 * 10),
    )


def queue_offsets() -> tuple[int, int, int]:
    """Return where this kernel keeps a submission queue's head, tail and mask."""
    params = Params()
    fd = libc.syscall(SETUP, 1, ctypes.byref(params))
    if fd < 0:
        raise OSError(ctypes.get_errno(), "io_uring_setup")
    os.close(fd)
    return params.sq_off[0], params.sq_off[1], params.sq_off[2]


class Enough(Exception):
    """The tracer is to end, and what it traces to go on."""


def _enough(*_: object) -> None:
    raise Enough


class Tracer:
    """Every thread of one process, stopped at each system call."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.memory = Memory(pid)
        self.counts: Counter[str] = Counter()
        self.threads: set[int] = set()

    def attach(self) -> None:
        for name in os.listdir(f"/proc/{self.pid}/task"):
            if ptrace(_SEIZE, int(name), 0, _OPTIONS) == 0:
                self.threads.add(int(name))
                ptrace(_INTERRUPT, int(name))

    def run(self) -> None:
        """Let it go on until it ends, or SIGTERM says that it is enough."""
        signal.signal(signal.SIGTERM, _enough)
        try:
            while self.threads:
                self.stopped(*os.waitpid(-1, _WALL))
        except Enough:
            for tid in self.threads:
                self.let_go(tid)

    def stopped(self, tid: int, status: int) -> None:
        if not os.WIFSTOPPED(status):
            self.threads.discard(tid)
            return
        self.threads.add(tid)
        number, event = os.WSTOPSIG(status), status >> 16
        if number == signal.SIGTRAP | 0x80:
            self.call(tid)
            ptrace(_SYSCALL, tid)
        elif event == _EVENT_STOP and number != signal.SIGTRAP:
            ptrace(_LISTEN, tid)  # stopped by a signal, until SIGCONT
        else:
            if event == _EVENT_EXEC:
                self.executed(tid)
            ptrace(_SYSCALL, tid, 0, 0 if event else number)

    def let_go(self, tid: int) -> None:
        """Detach from a thread, which must stand still for that."""
        while ptrace(_DETACH, tid) != 0 and ptrace(_INTERRUPT, tid) == 0:
            _, status = os.waitpid(tid, _WALL)
            if not os.WIFSTOPPED(status):
                return

    def call(self, tid: int) -> None:
        info = (ctypes.c_uint64 * 11)()
        ptrace(_GET_SYSCALL_INFO, tid, ctypes.sizeof(info), ctypes.byref(info))
        # struct ptrace_syscall_info: op, arch, two pointers, then nr and args or the result.
        if info[0] & 0xFF == _ENTRY:
            self.entered(tid, info[3], list(info[4:10]))
        elif info[0] & 0xFF == _EXIT:
            self.left(tid)

    def entered(self, tid: int, number: int, arguments: list[int]) -> None:
        """Called at the entry of a system call."""

    def left(self, tid: int) -> None:
        """Called at the exit of a system call."""

    def executed(self, tid: int) -> None:
        """Called when the process has become another program."""


class SubmissionTracer(Tracer):
    """Alters what the rings of a process submit."""

    def __init__(self, pid: int, name: str, chance: float, seed: int) -> None:
        super().__init__(pid)
        self.alteration = Alteration(name, chance, seed, self.memory)
        self.offsets = queue_offsets()
        self.ring: tuple[int, int] | None = None

    def entered(self, tid: int, number: int, arguments: list[int]) -> None:
        if number != ENTER or not arguments[1]:
            return
        if self.ring is None:
            (self.ring,) = self.memory.rings()
        self.counts["enters"] += 1
        queue, entries = self.ring
        head, tail, mask = (self.memory.number(queue + offset) for offset in self.offsets)
        for position in range(head, head + min(arguments[1], (tail - head) & 0xFFFFFFFF)):
            self.submitted(entries + (position & mask) * 64)

    def submitted(self, address: int) -> None:
        entry = Entry(self.memory.read(address, SQE.size))
        self.counts["entries"] += 1
        if self.alteration.alter(entry):
            self.counts["altered"] += 1
            self.memory.write(address, entry.pack())


def main(pid: str, name: str, chance: str, seed: str) -> None:
    tracer = SubmissionTracer(int(pid), name, float(chance), int(seed))
    tracer.attach()
    print("attached", flush=True)
    tracer.run()
    print(json.dumps(tracer.counts), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
