"""Our parser beside h11 and llhttp: every class of difference is in http_differences.py.

PYURING_FUZZ_SECONDS=600 goes on for that long; PYURING_SEED replays.
"""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("ziglang", reason="the parser's check program is compiled with ziglang")
pytest.importorskip("h11", reason="h11 is not installed")
pytest.importorskip("httptools", reason="httptools is not installed")

from http1_native import WHOLE, ask
from http_differences import LAXER, STRICTER, explanation
from http_mutants import mutant
from http_peers import PEERS, Opinion

ROOT = Path(__file__).resolve().parent.parent
BATCH = 5000


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """As in conftest.py, which cannot be had where pyuring is not installed."""
    value = int(os.environ.get("PYURING_SEED") or random.SystemRandom().randrange(2**32))
    print(f"PYURING_SEED={value}  (replays {request.node.name})")
    return value


def difference(peer: str, request: bytes, ours: str, body_len: int) -> tuple[str, str, str] | None:
    """Return (peer, ours, theirs) when they differ and the list does not say why."""
    theirs = PEERS[peer](request)
    if same(ours, body_len, theirs):
        return None
    why = explanation(peer, ours, theirs.kind, theirs.words, request)
    return None if why else (peer, ours, f"{theirs.kind} {theirs.words}".strip())


def same(ours: str, body_len: int, theirs: Opinion) -> bool:
    if ours == "accepted":
        return theirs.kind == "accepted" and len(theirs.body) == body_len
    return theirs.kind == ("incomplete" if ours == "incomplete" else "refused")


def unexplained(requests: list[bytes]) -> tuple[dict[tuple[str, str, str], bytes], Counter[str]]:
    """Put all requests to everyone; return the shortest of each unexplained class, and counts."""
    found: dict[tuple[str, str, str], bytes] = {}
    kinds: Counter[str] = Counter()
    verdicts = ask((request, WHOLE) for request in requests)
    for request, verdict in zip(requests, verdicts, strict=True):
        ours = {0: "accepted", 1: "incomplete"}.get(verdict.status, verdict.reason)
        kinds[ours if verdict.status < 2 else "refused"] += 1
        for peer in PEERS:
            key = difference(peer, request, ours, verdict.body_len)
            if key and len(request) < len(found.get(key, request + b" ")):
                found[key] = request
    return found, kinds


def test_every_difference_is_explained(seed: int) -> None:
    rng = random.Random(seed)
    end = time.monotonic() + float(os.environ.get("PYURING_FUZZ_SECONDS") or 3)
    kinds: Counter[str] = Counter()
    while True:
        found, counted = unexplained([mutant(rng) for _ in range(BATCH)])
        kinds += counted
        assert not found, "\n".join(f"{key}: {request!r}" for key, request in found.items())
        if time.monotonic() > end:
            break
    print(dict(kinds))
    assert min(kinds[kind] for kind in ("accepted", "refused", "incomplete")) > BATCH // 100


def test_an_unexplained_difference_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    request = b"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n"
    assert unexplained([request])[0] == {}
    monkeypatch.delitem(STRICTER, "host_invalid")
    found, _ = unexplained([request])
    assert set(found) == {
        ("h11", "host_invalid", "accepted"),
        ("llhttp", "host_invalid", "accepted"),
    }


def test_the_list_is_in_the_documentation() -> None:
    text = (ROOT / "docs" / "http-differences.md").read_text(encoding="utf-8")
    missing = [reason for reason in STRICTER if f"`{reason}`" not in text]
    missing += [beginning for _, beginning, _ in LAXER if beginning not in text]
    assert not missing
