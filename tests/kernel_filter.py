"""Makes this kernel refuse system calls to one process: a seccomp filter, for a test's subprocess.

It owns the filter program. A filter can never be taken off again, so `refuse` is for a process
that ends with the test, never for the one that runs the tests.
"""

from __future__ import annotations

import ctypes
import struct

SETUP, ENTER, REGISTER = 425, 426, 427  # the same numbers on every machine

_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06  # BPF_LD|W|ABS, BPF_JMP|JEQ|K, BPF_RET|K
_NUMBER, _SECOND_ARGUMENT = 0, 24  # offsets in struct seccomp_data, the low half of the argument
_ALLOW, _ERRNO = 0x7FFF_0000, 0x0005_0000
_NO_NEW_PRIVILEGES, _SECCOMP, _FILTER = 38, 22, 2


def refuse(call: int, number: int, second: int | None = None) -> None:
    """Let system call `call` fail with errno `number`, or only where its 2nd argument is `second`.

    Source: seccomp(2), struct sock_filter.
    """
    checks = [(_LOAD, 0, 0, _NUMBER), (_EQUAL, 0, 1 if second is None else 3, call)]
    if second is not None:
        checks += [(_LOAD, 0, 0, _SECOND_ARGUMENT), (_EQUAL, 0, 1, second)]
    program = [*checks, (_RETURN, 0, 0, _ERRNO | number), (_RETURN, 0, 0, _ALLOW)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in program))
    header = struct.pack("@HxxxxxxP", len(program), ctypes.addressof(code))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl.argtypes = (ctypes.c_int, ctypes.c_ulong, ctypes.c_char_p, *[ctypes.c_ulong] * 2)
    for option, value, data in ((_NO_NEW_PRIVILEGES, 1, None), (_SECCOMP, _FILTER, header)):
        if libc.prctl(option, value, data, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl")
