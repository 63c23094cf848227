"""Which sockets of an SO_REUSEPORT group get new connections: a filter that picks one at random.

Owns the program and its attachment. Never moves a connection that is in a queue already, and
counts sockets as the kernel does: in the order in which they began to listen.
"""

from __future__ import annotations

import array
import socket
import struct
from collections.abc import Sequence

__all__ = ["steer"]

_SO_ATTACH_REUSEPORT_CBPF = 51  # asm-generic/socket.h; not in the socket module
_LOAD_RANDOM = (0x20, 0, 0, 0xFFFFF000 + 56)  # A = SKF_AD_OFF + SKF_AD_RANDOM (linux/filter.h)
_MOST = 2000  # two instructions a socket; BPF_MAXINSNS is 4096


def steer(fd: int, wanted: Sequence[int]) -> bool:
    """Let new connections go to the members `wanted` only, each as likely as the others.

    `fd` is any member's; a number beyond the group's size leaves the choice to the kernel's own
    hash. Returns False where the kernel refuses the filter: then its hash chooses among all.
    """
    if not 1 <= len(wanted) <= _MOST:
        return False
    program = [_LOAD_RANDOM, (0x94, 0, 0, len(wanted))]  # A %= count
    for number, member in enumerate(wanted[:-1]):
        program += [(0x15, 0, 1, number), (0x06, 0, 0, member)]  # if A == number: return member
    program.append((0x06, 0, 0, wanted[-1]))
    code = array.array("B", b"".join(struct.pack("=HBBI", *line) for line in program))
    packed = struct.pack("@HP", len(program), code.buffer_info()[0])
    try:
        with socket.socket(fileno=fd) as sock:
            try:
                sock.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_REUSEPORT_CBPF, packed)
            finally:
                sock.detach()
    except OSError:
        return False
    return True
