"""What docs/engine.md lists is what the code has: every limit with its default, every metric."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

from pyuring import EngineConfig, EngineMetrics

ENGINE = (Path(__file__).parent.parent / "docs/engine.md").read_text("utf-8")


def test_every_limit_is_told_with_its_default() -> None:
    table = ENGINE.split("## Limits")[1].split("## ")[0]
    told = dict(re.findall(r"^\| `(\w+)` \| (\S+) \|", table, re.M))
    fields = dataclasses.fields(EngineConfig)
    wanted = {f.name: f'"{f.default}"' if f.name == "tier" else str(f.default) for f in fields}
    assert told == wanted


def test_every_metric_is_told() -> None:
    table = ENGINE.split("## Metrics")[1].split("## ")[0]
    told = {name for row in re.findall(r"^\| (`.*?) \|", table, re.M) for name in row.split(", ")}
    assert told == {f"`{field.name}`" for field in dataclasses.fields(EngineMetrics)}
