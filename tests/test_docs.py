"""What the guides list is what the code has: every limit with its default, every metric."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from pyuring import EngineConfig, EngineMetrics, HttpConfig

DOCS = Path(__file__).parent.parent / "docs"
ENGINE = (DOCS / "engine.md").read_text("utf-8")
HTTP = (DOCS / "http.md").read_text("utf-8")


@pytest.mark.parametrize(("guide", "config"), [(ENGINE, EngineConfig), (HTTP, HttpConfig)])
def test_every_limit_is_told_with_its_default(guide: str, config: Any) -> None:
    table = guide.split("## Limits")[1].split("## ")[0]
    told = dict(re.findall(r"^\| `(\w+)` \| (\S+) \|", table, re.M))
    fields = {field.name: field.default for field in dataclasses.fields(config)}
    assert told == {k: f'"{v}"' if isinstance(v, str) else str(v) for k, v in fields.items()}


def test_every_metric_is_told() -> None:
    table = ENGINE.split("## Metrics")[1].split("## ")[0]
    told = {name for row in re.findall(r"^\| (`.*?) \|", table, re.M) for name in row.split(", ")}
    assert told == {f"`{field.name}`" for field in dataclasses.fields(EngineMetrics)}


def test_the_compiler_that_contributors_install_is_the_one_that_builds() -> None:
    root = DOCS.parent
    told = re.findall(r"ziglang==([\d.]+)", (root / "CONTRIBUTING.md").read_text("utf-8"))
    pinned = re.findall(r"ziglang==([\d.]+)", (root / "pyproject.toml").read_text("utf-8"))
    assert told
    assert set(told) == set(pinned)
