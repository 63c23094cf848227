"""Bars with spreads and dots on a logarithm, as inline SVG: the little that the report draws.

Owns sizes and classes; colours are the page's style sheet's. Knows nothing of servers or scenarios.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

LABEL, PLOT, TEXT = 176, 450, 250
WIDTH = LABEL + PLOT + TEXT
ROW, HEAD, FOOT = 22, 20, 22


@dataclass(frozen=True)
class Bar:
    """One row: its value with the least and the most, words behind it, a class for its colour."""

    label: str
    value: float
    low: float
    high: float
    text: Sequence[str]  # in columns
    kind: str
    hatched: bool = False


@dataclass(frozen=True)
class Dots:
    """One row of points on a common logarithmic axis, each with a class."""

    label: str
    points: Sequence[tuple[float, str]]
    text: Sequence[str]
    kind: str


def bars(rows: Sequence[Bar], unit: str, line: float | None, line_name: str, cap: float) -> str:
    """Horizontal bars from zero. A bar over `cap` is cut off there, which an arrow tells."""
    most = max((min(row.high, cap) for row in rows), default=1.0)
    top = max(most, line or 0.0) * 1.02
    scale = PLOT / top
    parts = _grid(top, scale, unit, len(rows))
    for number, row in enumerate(rows):
        y = HEAD + number * ROW
        cut = row.value > cap
        width = max(1.0, min(row.value, cap) * scale)
        parts.append(_label(row.label, row.kind, y))
        parts.append(_rect(LABEL, y + 4, width, ROW - 8, f"bar {row.kind}"))
        if row.hatched:
            parts.append(_rect(LABEL, y + 4, width, ROW - 8, "hatch"))
        if not cut:
            parts.append(_whisker(LABEL + row.low * scale, LABEL + min(row.high, cap) * scale, y))
        if cut:
            parts.append(_text(LABEL + PLOT + 1, y + 15, "▸", "value"))
        parts += _columns(row.text, y)
    if line is not None:
        x = LABEL + line * scale
        bottom = HEAD + len(rows) * ROW
        parts.append(f'<line class="floor" x1="{x:.1f}" x2="{x:.1f}" y1="{HEAD}" y2="{bottom}"/>')
        anchor = "floor-name" if x < LABEL + PLOT - 60 else "floor-name left"
        parts.append(_text(x, HEAD - 6, line_name, anchor))
    return _svg(parts, len(rows))


def dots(rows: Sequence[Dots], unit: str) -> str:
    """Points on a logarithmic axis, from a power of ten to another."""
    values = [value for row in rows for value, _ in row.points if value > 0]
    if not values:
        return ""
    first, last = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
    last = max(last, first + 1)
    parts = []
    bottom = HEAD + len(rows) * ROW

    def place(value: float) -> float:
        return LABEL + (math.log10(value) - first) / (last - first) * PLOT

    for power in range(first, last + 1):
        x = place(10.0**power)
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{HEAD}" y2="{bottom}"/>')
        parts.append(_text(x, bottom + 15, f"{10.0**power:g} {unit}", "tick"))
    for number, row in enumerate(rows):
        y = HEAD + number * ROW
        parts.append(_label(row.label, row.kind, y))
        there = [(place(value), kind) for value, kind in row.points if value > 0]
        middle = y + ROW / 2
        if there:
            parts.append(
                f'<line class="span" x1="{there[0][0]:.1f}" x2="{there[-1][0]:.1f}" '
                f'y1="{middle}" y2="{middle}"/>'
            )
        for x, kind in there:
            parts.append(f'<circle class="dot {kind}" cx="{x:.1f}" cy="{middle}" r="5"/>')
        parts += _columns(row.text, y)
    return _svg(parts, len(rows))


def _grid(top: float, scale: float, unit: str, rows: int) -> list[str]:
    parts = []
    bottom = HEAD + rows * ROW
    step = _step(top)
    for index in range(int(top / step) + 1):
        x = LABEL + index * step * scale
        parts.append(f'<line class="grid" x1="{x:.1f}" x2="{x:.1f}" y1="{HEAD}" y2="{bottom}"/>')
        if x < LABEL + PLOT - 12:  # there the unit follows
            parts.append(_text(x, bottom + 15, f"{index * step:,g}", "tick"))
    parts.append(_text(LABEL + PLOT + 14, bottom + 15, unit, "unit"))
    return parts


def _step(top: float) -> float:
    """A round distance between grid lines, so that there are three to seven."""
    power = 10.0 ** math.floor(math.log10(top))
    return next(power * part for part in (0.2, 0.5, 1.0, 2.0) if top / (power * part) <= 6.5)


def _columns(words: Sequence[str], y: float) -> list[str]:
    """Words behind a row: several stand under those of other rows, to the right."""
    left = LABEL + PLOT + 14
    if len(words) == 1:
        return [_text(left, y + 15, words[0], "value")]
    ends = (left + 66, left + 128, left + TEXT - 20)
    return [_text(x, y + 15, word, "value right") for x, word in zip(ends, words, strict=True)]


def _svg(parts: list[str], rows: int) -> str:
    height = HEAD + rows * ROW + FOOT
    inside = "\n".join(parts)
    return f'<svg viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" role="img">\n{inside}\n</svg>'


def _rect(x: float, y: float, width: float, height: float, kind: str) -> str:
    place = f'x="{x:.1f}" y="{y}" width="{width:.1f}" height="{height}"'
    return f'<rect class="{kind}" {place} rx="2"/>'


def _whisker(low: float, high: float, y: float) -> str:
    middle = y + ROW / 2
    return (
        f'<path class="whisker" d="M{low:.1f} {middle - 4}V{middle + 4}M{low:.1f} {middle}'
        f'H{high:.1f}M{high:.1f} {middle - 4}V{middle + 4}"/>'
    )


def _label(text: str, kind: str, y: float) -> str:
    return _text(LABEL - 8, y + 15, text, f"label {kind}")


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{html.escape(text)}</text>'
