"""Writes what the kernels answered into docs/kernels.md, between two marks; the rest is people's.

It owns the tables' form. A kernel that was not run has a row with the reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kernels.debian import Kernel, Wanted
from kernels.outcome import Outcome

__all__ = ["Row", "put_into", "render"]

FROM, TO = "<!-- written by nox -s kernels: from here -->", "<!-- to here -->"


@dataclass(frozen=True, slots=True)
class Row:
    """One kernel: what was wanted, what was had, how it went."""

    wanted: Wanted
    kernel: Kernel | None
    outcome: Outcome

    @property
    def name(self) -> str:
        """The kernel's name for people: its series, or what "newest" turned out to be."""
        release = str(self.outcome.answers.get("release", ""))
        return ".".join(release.split(".")[:2]) if release else self.wanted.series


def put_into(text: str, tables: str) -> str:
    """Return the page with the part between the marks replaced."""
    before, found, rest = text.partition(FROM)
    _, also, after = rest.partition(TO)
    if not found or not also:
        raise ValueError(f"the page lacks {FROM!r} and {TO!r}")
    return f"{before}{FROM}\n\n{tables.strip()}\n\n{TO}{after}"


def render(rows: Sequence[Row], how: str) -> str:
    """Return the three tables; `how` says what the machines were."""
    ran = [row for row in rows if "root" in row.outcome.answers]
    head = f"{how}\n"
    parts = [head, _summary(rows), *(_details(ran) if ran else ())]
    return "\n".join(parts)


def _summary(rows: Iterable[Row]) -> str:
    lines = [
        ["kernel", "package", "tier", "as root", "as nobody", "switched off", "seconds", "result"]
    ]
    for row in rows:
        package = f"{row.kernel.package} {row.kernel.version}" if row.kernel else "–"
        runs = [row.outcome.answers.get(who, {}) for who in ("root", "nobody", "refused")]
        counts = [_count(run) for run in runs]
        result = "; ".join([row.outcome.kind, *row.outcome.problems]).replace("|", "/")
        seconds = f"{row.outcome.seconds:.0f}" if row.outcome.seconds else "–"
        lines.append([row.name, package, runs[0].get("tier", "–"), *counts, seconds, result])
    return _markdown(lines)


def _count(run: Mapping[str, Any]) -> str:
    checks = run.get("checks")
    if checks is None:
        return str(run.get("crash", "–"))
    return f"{sum(result['ok'] for result in checks.values())} of {len(checks)}"


def _details(rows: Sequence[Row]) -> Iterable[str]:
    names = [row.name for row in rows]
    runs = [row.outcome.answers["root"] for row in rows]
    # In the order of the run that had the most.
    longest = sorted(runs, key=lambda run: -len(run.get("checks", {})))
    checks = list(dict.fromkeys(name for run in longest for name in run.get("checks", {})))
    yield "Each check as root, in seconds:\n"
    yield _markdown(
        [["check", *names], *([name, *(_time(run, name) for run in runs)] for name in checks)]
    )
    profiles = [run.get("probe", {"capabilities": {}}) for run in runs]
    capabilities = list(profiles[-1]["capabilities"])
    yield "What the probe saw each kernel do:\n"
    yield _markdown(
        [["capability", *names]]
        + [
            [f"`{name}`", *("yes" if p["capabilities"].get(name) else "–" for p in profiles)]
            for name in capabilities
        ]
    )


def _time(run: Mapping[str, Any], name: str) -> str:
    result = run.get("checks", {}).get(name)
    if result is None:
        return "–"
    return (
        f"{result['seconds']:.1f}" if result["ok"] else f"**wrong** after {result['seconds']:.1f}"
    )


def _markdown(lines: Sequence[Sequence[str]]) -> str:
    head, *rest = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join([head, "|" + "---|" * len(lines[0]), *rest, ""])
