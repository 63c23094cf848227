"""The JSON document of one run: cells with every round, and what they were measured on.

Owns bench/results and the document's form. Never measures, never judges; figures.py reads it.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import subprocess
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import report
from generator import Sample
from harness import BENCH, ROOT
from rounds import Rounds

RESULTS = BENCH / "results"
FORM = 1
COLUMNS = ("rate", "cpu_us", "load_us", "busy", "load_busy", "p50_us", "p99_us", "p999_us")
_DIGITS = 5


def row(sample: Sample) -> list[float | None]:
    """One round, in the order of COLUMNS."""
    latencies = (sample.p50_ns / 1e3, sample.p99_ns / 1e3, sample.p999_ns / 1e3)
    values = (sample.rate, sample.cpu_us, sample.load_us, sample.busy, sample.load_busy, *latencies)
    return [rounded(value) for value in values]


def rounded(value: float) -> float | None:
    """Five digits are more than any figure here is good for; nothing for what was not measured."""
    if not value or math.isnan(value):
        return None
    return round(value, _DIGITS - 1 - math.floor(math.log10(abs(value))))


def cells(rounds: Rounds) -> list[dict[str, Any]]:
    """All that was found, one entry for each scenario and server."""
    found = []
    for scenario, servers in rounds.found.items():
        for server, samples in servers.items():
            cell: dict[str, Any] = {"scenario": scenario, "server": server}
            cell["rounds"] = [row(sample) for sample in samples]
            extras = rounds.extras.get(scenario, {}).get(server)
            if extras is not None:
                cell["rss"] = extras.rss
                calls = extras.syscalls
                cell["syscalls"] = None if calls is None else round(calls, 4)
            found.append(cell)
    return found


def environment(pythons: Iterable[str], tools: dict[str, str]) -> dict[str, Any]:
    """The machine, the commit, and the versions of everything that was started."""
    versions: dict[str, str] = dict(tools)
    for python in dict.fromkeys(pythons):
        versions |= _installed(python)
    return report.machine() | {
        "commit": _git("rev-parse", "HEAD")[:12],
        "dirty": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "governor": _governor(),
        "versions": versions,
    }


def _installed(python: str) -> dict[str, str]:
    code = (
        "import importlib.metadata as m, json, platform\n"
        "print(json.dumps({'python': platform.python_version()}"
        " | {d.metadata['Name'].lower(): d.version for d in m.distributions()}))"
    )
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    found: dict[str, str] = json.loads(done.stdout) if done.returncode == 0 else {}
    found.pop("pip", None)
    return found


def _git(*arguments: str) -> str:
    with contextlib.suppress(OSError):
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
        )
        return done.stdout.strip()
    return ""


def _governor() -> str:
    with contextlib.suppress(OSError):
        return Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").read_text().strip()
    return "unknown"


def path_for(environment: dict[str, Any], plan: str, path: str | None = None) -> Path:
    """Where a run's document goes: where it is wanted, or into bench/results by when it began."""
    if path is not None:
        return Path(path)
    RESULTS.mkdir(exist_ok=True)
    when = environment["time"].replace(":", "").removesuffix("Z")
    return RESULTS / f"{when}-{plan}-{_git('rev-parse', 'HEAD')[:8] or 'unknown'}.json"


def save(document: dict[str, Any], path: str | os.PathLike[str]) -> Path:
    """Write the document."""
    target = Path(path)
    lines = [f"{json.dumps(key)}: {_value(value)}" for key, value in document.items()]
    target.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    return target


def _value(value: Any) -> str:
    """A list has a line for each of its elements: small, and a difference can be read."""
    if isinstance(value, list) and value:
        return "[\n " + ",\n ".join(json.dumps(one) for one in value) + "\n]"
    return json.dumps(value)


def load(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a document; ValueError when it is not one that we know."""
    document: dict[str, Any] = json.loads(Path(path).read_text())
    if document.get("form") != FORM:
        raise ValueError(f"{path}: form {document.get('form')}, {FORM} is known here")
    return document


def newest(plan: str = "full") -> Path | None:
    """The newest run that is kept; their names begin with the time."""
    kept = sorted(RESULTS.glob(f"*-{plan}-*.json"))
    return kept[-1] if kept else None


def plain(plan: Any) -> dict[str, Any]:
    """A plan as the document has it."""
    fields = asdict(plan)
    return {key: fields[key] for key in ("name", "rounds", "seconds", "counting", "tail_seconds")}
