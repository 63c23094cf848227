"""What the rounds of a document say: medians, spreads, ratios, whom the load has limited.

Owns every number that a report or a comparison shows. Reads documents (document.py), never writes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import report
from document import COLUMNS
from suite_scenarios import BY_KEY, SCENARIOS, Entry

# A load whose core is this full, while the server's is not, was the limit.
FULL_CORE = 0.95
# The least that two runs on one machine may differ by, whatever their own rounds say: a server that
# is started anew has another layout of its memory, and its rounds know nothing of that.
LEAST_NOISE = 0.03
# Of so few rounds a spread cannot be told, and this much is assumed in its place.
FEW_ROUNDS, FEW_NOISE = 2, 0.15


@dataclass(frozen=True)
class Cell:
    """One server in one scenario: every round, by column."""

    scenario: str
    server: str
    columns: dict[str, list[float]]
    rss: int | None
    syscalls: float | None

    def median(self, column: str) -> float | None:
        """The median of the rounds; None for what was not measured."""
        values = self.columns[column]
        return report.median(values) if values else None

    def span(self, column: str) -> tuple[float, float]:
        """The least and the most of the rounds."""
        values = self.columns[column]
        return (min(values), max(values)) if values else (0.0, 0.0)

    def noise(self, column: str) -> float:
        """Half the distance between the extremes, as a share of the median."""
        values = self.columns[column]
        seen = report.spread(values) if values else 0.0
        return max(seen, FEW_NOISE) if len(values) <= FEW_ROUNDS else seen

    @property
    def figure(self) -> str:
        """The column that ranks this scenario."""
        return BY_KEY[self.scenario].figure

    @property
    def value(self) -> float:
        """The median of that column; infinite when it was not measured."""
        found = self.median(self.figure)
        return float("inf") if found is None else found

    @property
    def client_bound(self) -> bool:
        """Whether the load was the limit: its core full, the server's not."""
        load, server = self.median("load_busy") or 0.0, self.median("busy") or 0.0
        return load >= FULL_CORE > server

    def clearly_before(self, other: Cell) -> bool:
        """Whether its place before the other is more than noise.

        Every round of this one was better than every round of the other, and the medians lie
        further apart than two runs may: rounds of one run agree better than runs do.
        """
        apart = other.value > (1 + LEAST_NOISE) * self.value  # never without a figure: infinite
        return apart and self.span(self.figure)[1] < other.span(other.figure)[0]


def cells(document: dict[str, Any]) -> dict[str, list[Cell]]:
    """The document's cells by scenario, in the report's order, the best server first."""
    found: dict[str, list[Cell]] = {}
    for one in document["cells"]:
        if one["scenario"] not in BY_KEY:
            continue
        columns = {
            name: [row[index] for row in one["rounds"] if row[index] is not None]
            for index, name in enumerate(COLUMNS)
        }
        cell = Cell(one["scenario"], one["server"], columns, one.get("rss"), one.get("syscalls"))
        found.setdefault(cell.scenario, []).append(cell)
    for many in found.values():
        many.sort(key=lambda cell: cell.value)
    return {entry.key: found[entry.key] for entry in SCENARIOS if found.get(entry.key)}


def named(many: list[Cell], server: str) -> Cell | None:
    """The cell of that server, if it is there."""
    return next((cell for cell in many if cell.server == server), None)


def ours(many: list[Cell]) -> Cell | None:
    """Pyuring as it is when nothing is chosen; else the best of its variants."""
    plain = named(many, "pyuring") or named(many, "pyuring-wsgi") or named(many, "pyuring-gc")
    if plain is not None:
        return plain
    return next((cell for cell in many if cell.server.startswith("pyuring")), None)


def floor(many: list[Cell]) -> Cell | None:
    """The native floor: our ring without Python."""
    return named(many, "floor")


def ratio(cell: Cell, other: Cell | None) -> float | None:
    """The median over the rounds of one server's figure to another's in the same round."""
    if other is None:
        return None
    mine, theirs = cell.columns[cell.figure], other.columns[cell.figure]
    if not mine or not theirs:
        return None
    if len(mine) != len(theirs):
        return report.median(mine) / report.median(theirs)
    return report.median([a / b for a, b in zip(mine, theirs, strict=True)])


def entry(key: str) -> Entry:
    """How the report tells of a scenario."""
    return BY_KEY[key]


def number(value: float | None) -> str:
    """Three digits that matter, thousands apart."""
    if value is None or value != value or value == float("inf"):
        return "–"
    if value >= 1000:
        return f"{value:,.0f}"
    if value >= 100:
        return f"{value:.0f}"
    if value >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"
