"""What a run of the suite has found so far: plain data, for who judges it and who keeps it.

Owns the document's form as far as it is the suite's own. Never measures, never judges.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import document
from http_slow import Slow
from lowlevel import Rates
from rounds import Rounds
from suite_plan import Plan


@dataclass
class Results:
    """One run's; `rounds` has every scenario's samples, the rest is what does not fit there."""

    plan: Plan
    rounds: Rounds
    environment: dict[str, Any] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    slow: dict[str, list[Slow]] = field(default_factory=dict)
    idle_bytes: dict[str, list[float]] = field(default_factory=dict)
    ring: Rates = field(default_factory=dict)
    starts: tuple[list[float], list[float]] = ([], [])
    rates: dict[str, int] = field(default_factory=dict)  # of the tail
    collections: list[int] = field(default_factory=list)
    alone_us: list[float] = field(default_factory=list)

    def document(
        self, bars: list[dict[str, Any]], took_seconds: float, partial: bool = False
    ) -> dict[str, Any]:
        """All of it as it is kept; `partial` when there is more to come, or would have been."""
        return {
            "form": document.FORM,
            **({"partial": True} if partial else {}),
            "plan": document.plain(self.plan),
            "environment": self.environment,
            "took_seconds": round(took_seconds),
            "left_out": self.left_out,
            "wrong": self.rounds.failed,
            "notes": self.notes,
            "no_syscalls": self.rounds.no_syscalls,
            "rates": self.rates,
            "collections": self.collections,
            "idle_bytes": {
                name: [round(one) for one in all] for name, all in self.idle_bytes.items()
            },
            "alone_us": [round(one, 2) for one in self.alone_us],
            "bars": bars,
            "cells": document.cells(self.rounds),
        }
