"""One page that shows a run, without any other file: `python bench/report_html.py JSON [HTML]`.

Owns the page's words and order; svg.py draws, figures.py counts. Never measures.
"""

from __future__ import annotations

import html
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import document
import figures
import report_docs
import svg
from figures import Cell, number
from harness import BENCH
from suite_scenarios import (
    BODIES,
    ECHO,
    HELLO,
    LIVES,
    NO_PEERS,
    RING,
    SCENARIOS,
    SECTIONS,
    STREAMS,
    TAIL,
    Entry,
    command,
    is_ours,
)

# A bar that is this many times ours is cut off, so that the others can be told apart.
CUT = 8.0
_SHORT = {
    HELLO: "hello",
    BODIES: "bodies",
    LIVES: "connections",
    TAIL: "p99.9",
    ECHO: "echo",
    STREAMS: "streams",
    RING: "ring",
}
STYLE = BENCH / "report_html.css"
_HATCH = (
    '<svg width="0" height="0" style="position:absolute"><defs><pattern id="hatch" width="6" '
    'height="6" patternTransform="rotate(45)" patternUnits="userSpaceOnUse"><rect width="2.4" '
    'height="6" fill="var(--back)"/></pattern></defs></svg>'
)
_KEY = (
    '<p class="soft"><span class="key ours" style="margin-left:0"></span>pyuring'
    '<span class="key peer"></span>Python servers'
    '<span class="key native"></span>native, no Python'
    '<span class="key raw"></span>Python that does not parse'
    '<span class="key dash"></span>the floor: our ring and worker without Python'
    '<span class="key striped"></span>limited by the load, not by the server, in the tables ⚠</p>'
)
_HOW = (
    "Bars are the CPU time that the server's processes spend for one unit of work, the median of "
    "interleaved rounds: <b>shorter is better</b>. The thin line on a bar reaches from the least "
    "to the most of its rounds; where two such lines overlap, or the bars are less than 3 % apart, "
    "the order is noise (≈ in the tables). Behind each bar: the figure, its ratio to pyuring's, "
    "and the rate. An arrow (▸): longer than "
    f"{CUT:g} times ours, cut off."
)
_MATRIX = (
    "CPU time for a unit, by scenario, as a multiple of pyuring's: above 1 (blue) the server needs "
    "more than pyuring, below (orange) less; grey is within the noise of both; – was not measured. "
    "For the tail it is the 99.9th percentile of the latency."
)
_TAIL_KEY = (
    '<p class="soft"><span class="key p50" style="margin-left:0"></span>half of the requests are '
    'faster than this<span class="key p99"></span>99 %<span class="key p999"></span>99.9 %</p>'
)


def page(found: dict[str, Any]) -> str:
    """The whole page."""
    by_scenario = figures.cells(found)
    there = found["environment"]
    title = f"pyuring: a {found['plan']['name']} run of {there['time'][:10]}"
    parts = [f"<h1>{title}</h1>", _summary(found, by_scenario), _contents(by_scenario)]
    parts += ["<h2 id='bars'>Bars</h2>", _bars(found["bars"])]
    parts += ["<h2 id='overview'>Overview</h2>", f"<p>{_MATRIX}</p>", *_matrices(by_scenario)]
    parts += [f"<p>{_HOW}</p>", _KEY]
    for section, words in SECTIONS.items():
        entries = [one for one in SCENARIOS if one.section == section and one.key in by_scenario]
        if not entries:
            continue
        parts.append(f"<h2 id='{_anchor(section)}'>{html.escape(section)}</h2><p>{words}</p>")
        parts += [_TAIL_KEY] if section == TAIL else []
        parts += [_scenario(entry, by_scenario[entry.key]) for entry in entries]
    parts += ["<h2 id='ground'>What it was measured on, and what was left out</h2>", _ground(found)]
    body = "\n".join(parts)
    head = f"<meta charset='utf-8'><title>{title}</title><style>{STYLE.read_text()}</style>"
    start = f"<!doctype html>\n<html lang='en'>\n<head>{head}</head>\n<body>{_HATCH}\n"
    return f"{start}{body}\n</body></html>\n"


def _summary(found: dict[str, Any], by_scenario: dict[str, list[Cell]]) -> str:
    there, bars = found["environment"], found["bars"]
    met = sum(bar["met"] for bar in bars)
    count = sum(len(many) for many in by_scenario.values())
    bound = sum(cell.client_bound for many in by_scenario.values() for cell in many)
    words = (
        f"{count} cells (scenario × server), {found['plan']['rounds']} rounds each, in "
        f"{found['took_seconds'] / 60:.0f} minutes; {met} of {len(bars)} bars met; {bound} cells "
        f"were limited by the load. Commit {there['commit']}, {there['cpu']}, "
        f"Linux {there['kernel']}, CPython {there['versions'].get('python', '?')}."
    )
    return f"<p class='soft'>{html.escape(words)}</p>"


def _contents(by_scenario: dict[str, list[Cell]]) -> str:
    there = {figures.entry(key).section for key in by_scenario}
    links = [("bars", "Bars"), ("overview", "Overview")]
    links += [(_anchor(section), section) for section in SECTIONS if section in there]
    links += [("ground", "Ground")]
    return "<nav>" + "".join(f"<a href='#{a}'>{html.escape(t)}</a>" for a, t in links) + "</nav>"


def _bars(bars: list[dict[str, Any]]) -> str:
    if not bars:
        return "<p>None of the bars' scenarios were measured.</p>"
    missed = [bar for bar in bars if not bar["met"]]
    parts = [_bar_table(f"{len(missed)} missed", missed, " open")] if missed else []
    met = [bar for bar in bars if bar["met"]]
    return "".join([*parts, _bar_table(f"{len(met)} met", met, "")])


def _bar_table(heading: str, bars: list[dict[str, Any]], opened: str) -> str:
    rows = []
    for bar in bars:
        sign = "≤" if bar["at_most"] else "≥"
        mark = "<span class='met'>met</span>"
        if not bar["met"]:
            mark = "<span class='missed'>missed</span>"
        figure = f"{bar['value']:.3f}"
        rows.append((html.escape(bar["bar"]), figure, f"{sign} {bar['limit']:g}", mark))
    table = _table(("bar", "figure", "limit", ""), rows)
    return f"<details{opened}><summary>{heading}</summary>{table}</details>"


def _matrices(by_scenario: dict[str, list[Cell]]) -> list[str]:
    """One for HTTP, one for the rest: their servers are not the same."""
    kinds = [[], []]  # type: list[list[str]]
    for key in by_scenario:
        section = figures.entry(key).section
        if not section.startswith("The ring"):
            kinds[0 if section.startswith("HTTP") else 1].append(key)
    return [_matrix({key: by_scenario[key] for key in keys}) for keys in kinds if keys]


def _matrix(by_scenario: dict[str, list[Cell]]) -> str:
    often: dict[str, int] = {}
    for many in by_scenario.values():
        for cell in many:
            often[cell.server] = often.get(cell.server, 0) + 1
    seldom = min(2, len(by_scenario))  # a column for a single figure says nothing
    columns = sorted(often, key=lambda one: (not is_ours(one), one in NO_PEERS, -often[one], one))
    columns = [name for name in columns if name != "pyuring" and often[name] >= seldom]
    head = "".join(f"<th class='turned'><span>{name}</span></th>" for name in columns)
    rows = []
    for key, many in by_scenario.items():
        reference = figures.ours(many)
        there = [figures.named(many, name) for name in columns]
        if not any(there):
            continue
        cells = [_matrix_cell(cell, reference) for cell in there]
        entry = figures.entry(key)
        title = f"<a href='#{key}'>{html.escape(f'{_SHORT[entry.section]}: {entry.title}')}</a>"
        rows.append(f"<tr><td>{title}</td>{''.join(cells)}</tr>")
    body = "".join(rows)
    return (
        f"<div class='wide'><table class='matrix'><tr><th></th>{head}</tr>{body}</table></div><br>"
    )


def _matrix_cell(cell: Cell | None, reference: Cell | None) -> str:
    ratio = figures.ratio(cell, reference) if cell else None
    if cell is None or ratio is None or reference is None:
        return "<td class='soft'>–</td>"
    if not (cell.clearly_before(reference) or reference.clearly_before(cell)):
        kind = "even"
    elif ratio > 1:
        kind = "better" if ratio > 2 else "good"
    else:
        kind = "worse" if ratio < 0.8 else "bad"
    return f"<td class='{kind}'>{number(ratio)}</td>"


def _scenario(entry: Entry, many: list[Cell]) -> str:
    words = f"{html.escape(entry.gist)} · " if entry.gist else ""
    gist = f"<p class='gist'>{words}<code>{html.escape(command(entry.key))}</code></p>"
    plot = _dots(many) if entry.section == TAIL else _plot(entry, many)
    title = html.escape(entry.title[0].upper() + entry.title[1:])
    headers, rows = report_docs.rows(many)
    cells = [[html.escape(cell.replace("*", "")) for cell in row] for row in rows]
    table = f"<details><summary>all figures</summary>{_table(headers, cells)}</details>"
    return f"<h3 id='{entry.key}'>{title}</h3>{gist}{plot}{table}"


def kind_of(server: str) -> str:
    """The class of a server's colour."""
    if is_ours(server):
        return "ours"
    if server.startswith("raw-"):
        return "raw"
    return "native" if server in NO_PEERS else "peer"


def _plot(entry: Entry, many: list[Cell]) -> str:
    reference, floor = figures.ours(many), figures.floor(many)
    cap = CUT * reference.value if reference else float("inf")
    rows = []
    for cell in many:
        ratio = figures.ratio(cell, reference)
        text = (
            f"{number(cell.value)} µs",
            f"× {number(ratio)}" if ratio is not None else "",
            f"{number(cell.median('rate'))}/s",
        )
        low, high = cell.span(cell.figure)
        kind = kind_of(cell.server)
        rows.append(svg.Bar(cell.server, cell.value, low, high, text, kind, cell.client_bound))
    unit = f"µs of CPU per {entry.unit}"
    return svg.bars(rows, unit, floor.value if floor else None, "floor", cap)


def _dots(many: list[Cell]) -> str:
    rows = []
    for cell in many:
        points = [
            (cell.median(column) or 0.0, column.removesuffix("_us"))
            for column in ("p50_us", "p99_us", "p999_us")
        ]
        words = " / ".join(number(value) for value, _ in points)
        text = (f"{words} µs at {number(cell.median('rate'))}/s",)
        rows.append(svg.Dots(cell.server, points, text, kind_of(cell.server)))
    return svg.dots(rows, "µs")


def _ground(found: dict[str, Any]) -> str:
    rows = [
        (html.escape(name), f"<td class='words'>{html.escape(text)}</td>")
        for name, text in report_docs.ground(found)
    ]
    body = "".join(f"<tr><td>{name}</td>{cell}</tr>" for name, cell in rows)
    lines = "".join(f"<li>{html.escape(line)}</li>" for line in report_docs.omissions(found))
    return f"<table>{body}</table><ul>{lines}</ul>"


def _table(headers: Iterable[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{html.escape(text)}</th>" for text in headers)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<div class='wide'><table><tr>{head}</tr>{body}</table></div>"


def _anchor(section: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in section.lower())


def main() -> None:
    """Make the page of a document."""
    source = Path(sys.argv[1])
    target = Path(sys.argv[2]) if len(sys.argv) > 2 else source.with_suffix(".html")
    target.write_text(page(document.load(source)))
    print(target)


if __name__ == "__main__":
    main()
