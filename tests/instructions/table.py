"""What a request may take, in instructions: measured values, for test_instructions.py to compare.

Owns the table; `python tests/instructions/counts.py` prints its rows. Whoever makes a path dearer
on purpose writes the new value here and says why in the commit; whoever makes it cheaper as well,
so that it stays cheap. Never measures.
"""

from __future__ import annotations

import sys
import sysconfig
from typing import NamedTuple

# Two runs differ by up to 0.8 %: whoever sees the second change pays for a new Date field.
HEAD_ROOM = 1.05


class Budget(NamedTuple):
    """Instructions a request in our library, in the interpreter; calls from ours into its code.

    Those in the interpreter hold for the one build that BUILD names, the others for any.
    """

    ours: float
    python: float
    calls: float


# Version, shared library, --enable-optimizations.
BUILD = ((3, 13), True, False)

BUDGETS = {
    ("hello", "io_uring"): Budget(2550, 615, 3.8),
    ("headers", "io_uring"): Budget(4502, 615, 3.8),
    ("pipelined", "io_uring"): Budget(1513, 544, 3.0),
    ("post", "io_uring"): Budget(3054, 3128, 6.8),
    ("wsgi", "io_uring"): Budget(4108, 3914, 60.8),
    ("echo", "io_uring"): Budget(1089, 1372, 13.8),
    ("hello", "epoll"): Budget(2793, 615, 3.8),
    ("headers", "epoll"): Budget(4772, 615, 3.8),
    ("pipelined", "epoll"): Budget(1528, 544, 3.0),
    ("post", "epoll"): Budget(3297, 3217, 6.8),
    ("wsgi", "epoll"): Budget(4323, 3914, 60.8),
    ("echo", "epoll"): Budget(1334, 1371, 13.8),
}


def build() -> tuple[tuple[int, int], bool, bool]:
    """Return what this interpreter is, for the comparison with BUILD."""
    arguments = sysconfig.get_config_var("CONFIG_ARGS") or ""
    shared = bool(sysconfig.get_config_var("Py_ENABLE_SHARED"))
    return sys.version_info[:2], shared, "--enable-optimizations" in arguments
