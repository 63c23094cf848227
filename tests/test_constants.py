"""The numbers of pyuring.constants are the kernel header's."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pyuring import constants


def header() -> str:
    """Return the newest io_uring.h at hand: the compiler's, else the system's."""
    places = [Path("/usr/include/linux/io_uring.h")]
    try:
        import ziglang
    except ImportError:
        pass
    else:
        root = Path(ziglang.__file__).parent
        places.insert(0, root / "lib/libc/include/any-linux-any/linux/io_uring.h")
    for place in places:
        if place.exists():
            return place.read_text("utf-8")
    pytest.skip("no linux/io_uring.h here")


PREFIXES = {
    "SetupFlags": "IORING_SETUP_",
    "Features": "IORING_FEAT_",
    "CqeFlags": "IORING_CQE_F_",
    "TimeoutFlags": "IORING_TIMEOUT_",
    "CancelFlags": "IORING_ASYNC_CANCEL_",
    "PollFlags": "IORING_POLL_",
    "AcceptFlags": "IORING_ACCEPT_",
}


@pytest.mark.parametrize("name", PREFIXES)
def test_flags_are_the_headers(name: str) -> None:
    text = header()
    older = "IORING_OP_PIPE" not in text  # than 6.16: a distribution's, which lacks newer flags
    for member in getattr(constants, name):
        full = PREFIXES[name] + member.name
        full = full.replace("IORING_TIMEOUT_LINK_UPDATE", "IORING_LINK_TIMEOUT_UPDATE")
        match = re.search(rf"#define {full}\s+\(1U << (\d+)\)", text)
        if match is None and (older or name in ("SetupFlags", "Features", "TimeoutFlags")):
            continue
        assert match is not None, full
        assert member == 1 << int(match[1])


def test_operations_are_the_headers_in_order() -> None:
    body = header().split("enum io_uring_op {")[1].split("};")[0]
    names = [name for name in re.findall(r"IORING_OP_(\w+)", body) if name != "LAST"]
    ours = [op.name for op in constants.Op]
    shorter = min(len(names), len(ours))
    assert ours[:shorter] == names[:shorter]
    assert len(ours) == 63


def test_registrations_are_the_headers() -> None:
    text = header()
    for op in constants.RegisterOp:
        assert re.search(rf"IORING_{op.name}\s*=\s*{op.value},", text), op
