"""What docs/wsgi.md shows runs as it stands, and its keys are those that an application gets."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from http_client import Client

from pyuring import Wsgi
from pyuring.testing import serve

ROOT = Path(__file__).resolve().parent.parent
GUIDE = (ROOT / "docs/wsgi.md").read_text("utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", GUIDE, re.M | re.S)


def test_the_first_block_serves_and_the_second_mounts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "public").mkdir()
    monkeypatch.chdir(tmp_path)
    first, second = BLOCKS
    names: dict[str, Any] = {}
    exec(first.replace("Engine(Wsgi", "engine = Engine(Wsgi").replace(".listen()", ""), names)
    assert names["engine"].config.workers == 2
    exec(second, names)
    with serve(names["site"]) as engine, Client(engine.address) as client:
        assert client.get().body == b"Hello, World!\n"
        assert client.get("/static/nothing").status == 404


def test_every_key_is_told() -> None:
    seen: dict[str, Any] = {}

    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        seen.update(environ)
        start_response("200 OK", [])
        return []

    with serve(Wsgi(app)) as engine, Client(engine.address) as client:
        client.post("/", b"", b"Content-Type: text/plain\r\n")
    table = GUIDE.split("## What an application gets")[1].split("## ")[0]
    told = {
        key
        for row in re.findall(r"^\| (`.*?) \|", table, re.M)
        for key in re.findall(r"`([A-Za-z_.]+)`", row)
    }
    had = {key for key in seen if not key.startswith("HTTP_")}
    assert told == had
