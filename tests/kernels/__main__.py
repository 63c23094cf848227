"""The session: boots each wanted kernel, says how it went, and writes the page when all were asked.

`python -m kernels --wheel FILE [--cache DIR] [--accel kvm|tcg] [--jobs N] [SERIES …]`. Ends with 1
when a kernel that booted gave a wrong answer, and with 0 when one merely could not be had.
"""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date, datetime, timezone
from pathlib import Path

from kernels import initramfs, machine, outcome, table
from kernels.debian import Archive, Kernel, UnavailableError, Wanted

ROOT = Path(__file__).resolve().parent.parent.parent
PAGE = ROOT / "docs" / "kernels.md"
# 4.19 has an io_uring too old to be used. Debian has no kernel between 5.10 and 6.1, where MID
# would be the highest tier; MID itself is run on the later ones.
KERNELS = (
    Wanted("4.19", "NONE"),
    Wanted("5.10", "BASE"),
    Wanted("6.1", "HIGH"),
    Wanted("6.12", "HIGH"),
    Wanted("7.2", "HIGH"),
    Wanted("newest", "HIGH"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the session."""
    parser = argparse.ArgumentParser(prog="kernels", description=__doc__)
    parser.add_argument("series", nargs="*", help="some kernels only: 6.1, 6.18, newest")
    parser.add_argument("--wheel", type=Path, required=True)
    parser.add_argument("--cache", type=Path, default=ROOT / ".nox" / "debian")
    parser.add_argument("--accel", choices=["kvm", "tcg"], help="unasked, kvm where it works")
    parser.add_argument("--limit", type=float, help="seconds for a machine")
    parser.add_argument("--jobs", type=int, choices=[1, 2], default=1, help="machines at a time")
    options = parser.parse_args(arguments)
    known = {wanted.series: wanted for wanted in KERNELS}
    wanted = [known.get(series, Wanted(series, "HIGH")) for series in options.series] or KERNELS
    rows = session(wanted, options)
    if not options.series and any(row.outcome.answers for row in rows):
        how = told(options.accel, datetime.now(timezone.utc).date())
        page = table.put_into(PAGE.read_text("utf-8"), table.render(rows, how))
        PAGE.write_text(page, "utf-8")
        print(f"wrote {PAGE.relative_to(ROOT)}", flush=True)
    for row in rows:
        print(f"{row.wanted.series:8} {row.outcome.kind}")
    return 1 if any(row.outcome.failed for row in rows) else 0


def session(wanted: Sequence[Wanted], options: argparse.Namespace) -> list[table.Row]:
    """Fetch and boot every kernel; a row for each."""
    reason = machine.obstacle()
    if reason is not None:
        return [
            report(table.Row(each, None, outcome.Outcome("absent", (reason,)))) for each in wanted
        ]
    options.cache.mkdir(parents=True, exist_ok=True)
    packed = options.cache / "initramfs"
    packed.write_bytes(initramfs.build(options.wheel))
    archive = Archive(options.cache)
    had = fetch(archive, wanted)
    found = next((kernel for kernel in had if isinstance(kernel, Kernel)), None)
    if found is not None and options.accel is None:
        options.accel = machine.accelerator(found.image)
    print(
        f"{packed.stat().st_size >> 20} MiB to start from; machines run with {options.accel}",
        flush=True,
    )

    def run(each: Wanted, kernel: Kernel | str) -> table.Row:
        if isinstance(kernel, str):
            return report(table.Row(each, None, outcome.Outcome("absent", (kernel,))))
        limit = options.limit or machine.LIMITS[options.accel]
        console = machine.boot(kernel.image, packed, options.accel, limit)
        (options.cache / f"console-{each.series}").write_text(console.text, "utf-8")
        return report(table.Row(each, kernel, outcome.judge(console, each.tier)))

    with ThreadPoolExecutor(options.jobs) as pool:
        return list(pool.map(run, wanted, had))


def fetch(archive: Archive, wanted: Sequence[Wanted]) -> list[Kernel | str]:
    """Return each kernel, or why it cannot be had."""
    had: list[Kernel | str] = []
    try:
        archive.update()
    except UnavailableError as error:
        return [str(error)] * len(wanted)
    for each in wanted:
        try:
            had.append(archive.fetch(each))
        except UnavailableError as error:
            had.append(str(error))
    return had


def report(row: table.Row) -> table.Row:
    """Say at once how a kernel went."""
    release = row.outcome.answers.get("release", "")
    print(
        f"{row.wanted.series:8} {row.outcome.kind:10} {row.outcome.seconds:5.0f} s  {release}",
        flush=True,
    )
    for problem in row.outcome.problems:
        print(f"         {problem}", flush=True)
    return row


def told(accel: str, day: date) -> str:
    """Return a sentence about the machines, and when they ran."""
    how = "on KVM" if accel == "kvm" else "emulated (TCG)"
    return (
        f"Machines of two processors and {machine.MEMORY_MIB} MiB, {how};"
        f" CPython {platform.python_version()}. Measured on {day.isoformat()}."
    )


if __name__ == "__main__":
    sys.exit(main())
