"""Make sqes.json anew from liburing's header: python tests/golden/make.py INCLUDE_DIRECTORY.

INCLUDE_DIRECTORY holds liburing.h (2.15 or newer: an older one lacks builders), as Debian's
liburing-dev or liburing's source installs it. The C program is compiled with the `ziglang` package.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
if __package__ in (None, ""):
    sys.path.insert(0, str(HERE.parent))

from golden.cases import CASES, SYMBOL  # noqa: E402

BLOCK_HEADER = """
#include <sys/ioctl.h>
#define BLOCK_URING_CMD_DISCARD _IO(0x12, 0)
"""

PROGRAM = """
#define _GNU_SOURCE
#include <sys/wait.h>
#include <liburing.h>
#include <stdio.h>
#include <string.h>
#define P(k) ((void *)(%#xull + (k) * 0x1000ull))
static void show(struct io_uring_sqe *s) {
    for (int i = 0; i < 64; i++) printf("%%02x", ((unsigned char *)s)[i]);
    printf("\\n");
}
int main(void) {
    struct io_uring_sqe sqe, *s = &sqe;
%s
    return 0;
}
"""


def generate(include: Path) -> list[str]:
    """Return the SQE of each case, in order, as liburing's builders fill it."""
    calls = "\n".join(
        f"    memset(s, 0, sizeof *s); io_uring_prep_{call}; show(s);" for _, call, _ in CASES
    )
    text = PROGRAM % (SYMBOL, calls)
    with tempfile.TemporaryDirectory() as directory:
        # A header of Linux 6.14 that liburing.h wants and the compiler's own lack.
        block = Path(directory, "linux", "blkdev.h")
        block.parent.mkdir()
        block.write_text(BLOCK_HEADER, encoding="utf-8")
        source, program = Path(directory, "golden.c"), Path(directory, "golden")
        source.write_text(text, encoding="utf-8")
        command = [sys.executable, "-m", "ziglang", "cc", "-w", "-fno-sanitize=undefined"]
        subprocess.run(
            [*command, "-I", include, "-idirafter", directory, source, "-o", program], check=True
        )
        output = subprocess.run([program], check=True, capture_output=True, text=True).stdout
    return output.split()


def main() -> None:
    table = [
        {"call": call, "sqe": sqe}
        for (_, call, _), sqe in zip(CASES, generate(Path(sys.argv[1])), strict=True)
    ]
    text = ",\n".join(json.dumps(entry) for entry in table)
    (HERE / "sqes.json").write_text(f"[\n{text}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
