"""Writes what a run is told by: its page, and after a full run the tables of docs/performance.md.

Owns where they go. Never makes any of their content.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import report_docs
import report_html
from document import RESULTS


def page(found: dict[str, Any], target: str) -> None:
    """The page of this run."""
    Path(target).write_text(report_html.page(found))
    print(f"page: {target}")


def tables(found: dict[str, Any], kept: Path) -> None:
    """docs/performance.md, when the run is a full one and is kept where runs are kept."""
    if found["plan"]["name"] == "full" and kept.parent == RESULTS:
        report_docs.PAGE.write_text(report_docs.page(found, kept.name))
        print(f"tables: {report_docs.PAGE}")
