"""Compare two runs of the suite, cell by cell: `python bench/compare.py OLD NEW`.

Fails (status 1) when a cell of ours became slower beyond the noise of both runs, or is missing, and
with `--ranking` also when two servers have clearly changed places. The peers' versions are pinned:
what all of *them* have changed by is the machine's doing, is told, and is taken out of every cell.
Never measures.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from typing import Any

import document
import figures
import report
from figures import FEW_ROUNDS, LEAST_NOISE, Cell, number
from suite_scenarios import is_ours


@dataclass(frozen=True)
class Change:
    """One cell in both runs: NEW's figure to OLD's, and how far noise alone may move it."""

    old: Cell
    new: Cell
    drift: float

    @property
    def ratio(self) -> float:
        """Above 1: slower, the machine's part taken out."""
        return self.new.value / self.old.value / self.drift

    @property
    def allowed(self) -> float:
        """The noise of both runs together."""
        figure = self.old.figure
        return max(LEAST_NOISE, self.old.noise(figure) + self.new.noise(figure))

    @property
    def verdict(self) -> str:
        """One word."""
        if self.ratio > 1 + self.allowed:
            return "slower"
        return "faster" if self.ratio < 1 / (1 + self.allowed) else "same"


def changes(old: dict[str, list[Cell]], new: dict[str, list[Cell]]) -> list[Change]:
    """Every cell that both have and that has a figure."""
    pairs = []
    for scenario, many in old.items():
        for cell in many:
            other = figures.named(new.get(scenario, []), cell.server)
            if other is not None and cell.value < float("inf") and other.value < float("inf"):
                pairs.append((cell, other))
    peers = [b.value / a.value for a, b in pairs if not is_ours(a.server)]
    drift = report.median(peers) if peers else 1.0
    return [Change(a, b, drift) for a, b in pairs]


def missing(old: dict[str, list[Cell]], new: dict[str, list[Cell]]) -> list[str]:
    """Our cells that OLD has and NEW has not, in the scenarios that NEW has run."""
    return [
        f"{cell.scenario}, {cell.server}"
        for scenario, many in old.items()
        if scenario in new
        for cell in many
        if is_ours(cell.server) and figures.named(new[scenario], cell.server) is None
    ]


def ranking(old: list[Cell], new: list[Cell]) -> tuple[str, list[str]]:
    """`same`, `same but for noise` or `differs`, and the pairs that changed places.

    What a run's own tables mark as noise is noise, in whichever of the two runs it is: a pair is
    ordered by a run only where figures.Cell.clearly_before says so. A pair that is ordered in both
    runs, and not alike, differs. Which of the runs is OLD makes no difference. Of fewer than three
    rounds nothing is ordered.
    """
    other = {cell.server: cell for cell in new}
    common = [cell for cell in old if cell.server in other]
    swapped, real = [], []
    for place, first in enumerate(common):
        for second in common[place + 1 :]:
            a, b = other[first.server], other[second.server]
            if first.value == second.value or a.value <= b.value:
                continue
            swapped.append(f"{first.server} and {second.server}")
            told = min(len(cell.columns[cell.figure]) for cell in (first, second, a, b))
            if told > FEW_ROUNDS and first.clearly_before(second) and b.clearly_before(a):
                real.append(swapped[-1])
    if real:
        return "differs", real
    return ("same but for noise" if swapped else "same"), swapped


def ordered(old: list[Cell], new: list[Cell]) -> tuple[int, int]:
    """How many pairs of servers both runs order, of how many: what a ranking's sameness is of."""
    other = {cell.server: cell for cell in new}
    common = [cell for cell in old if cell.server in other]
    count = 0
    for place, first in enumerate(common):
        for second in common[place + 1 :]:
            a, b = other[first.server], other[second.server]
            before = first.clearly_before(second) or second.clearly_before(first)
            count += before and (a.clearly_before(b) or b.clearly_before(a))
    return count, len(common) * (len(common) - 1) // 2


def only_in_one(old: list[Cell], new: list[Cell]) -> list[str]:
    """The servers that one of the runs has no figure of: they have no place in either ranking."""
    return sorted({cell.server for cell in old} ^ {cell.server for cell in new})


def told(found: list[Change]) -> str:
    """The cells that changed, and all of ours."""
    rows = []
    for one in found:
        if one.verdict == "same" and not is_ours(one.old.server):
            continue
        rows.append(
            (
                f"{one.old.scenario}, {one.old.server}",
                number(one.old.value),
                number(one.new.value),
                f"{(one.ratio - 1) * 100:+.1f}",
                f"{one.allowed * 100:.1f}",
                "" if one.verdict == "same" else one.verdict,
            )
        )
    return report.table(("cell", "old us", "new us", "change %", "noise %", ""), rows)


def compare(old: dict[str, Any], new: dict[str, Any], strict_ranking: bool = False) -> int:
    """Print all of it; the exit status."""
    before, after = figures.cells(old), figures.cells(new)
    found = changes(before, after)
    if not found:
        print("the two runs have no cell in common", file=sys.stderr)
        return 2
    for run in (old, new):
        there = run["environment"]
        print(f"{there['time']}  {there['commit']}  {there['kernel']}  {there['cpu']}")
    print(f"the peers as a whole: {(found[0].drift - 1) * 100:+.1f} %, taken out of every cell\n")
    print(told(found))
    print()
    differ = 0
    for scenario in before:
        if scenario in after:
            both = before[scenario], after[scenario]
            word, pairs = ranking(*both)
            differ += word == "differs"
            line = f"ranking {scenario}: {word}" + (f" ({', '.join(pairs)})" if pairs else "")
            told_of, all_pairs = ordered(*both)
            line += f"; {told_of} of {all_pairs} pairs are clear in both"
            alone = only_in_one(*both)
            print(line + (f"; only in one run: {', '.join(alone)}" if alone else ""))
    slower = [one for one in found if one.verdict == "slower" and is_ours(one.old.server)]
    gone = missing(before, after)
    for one in slower:
        print(f"SLOWER {one.new.scenario}, {one.new.server}: {(one.ratio - 1) * 100:+.1f} %")
    for line in gone:
        print(f"MISSING {line}")
    print(f"\n{len(slower)} slower, {len(gone)} missing, {differ} rankings differ")
    return 1 if slower or gone or (strict_ranking and differ) else 0


def main() -> int:
    """Read the command line and compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("old", metavar="OLD")
    parser.add_argument("new", metavar="NEW")
    parser.add_argument("--ranking", action="store_true", help="fail when a ranking differs")
    options = parser.parse_args()
    return compare(document.load(options.old), document.load(options.new), options.ranking)


if __name__ == "__main__":
    sys.exit(main())
