"""HttpConfig: wrong values name their field, right ones become native code's numbers."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from pyuring import HttpConfig

WRONG: list[tuple[str, Any, type[Exception]]] = [
    ("request_line", 63, ValueError),
    ("request_line", "8192", TypeError),
    ("request_line", True, TypeError),
    ("field_count", 257, ValueError),
    ("field_count", 0, ValueError),
    ("body", -1, ValueError),
    ("body", 1.5, TypeError),
    ("requests_per_connection", 0, ValueError),
    ("head_timeout", 0, ValueError),
    ("body_timeout", "30", TypeError),
    ("keep_alive_timeout", float("nan"), ValueError),
    ("threads", -1, ValueError),
    ("stream_threads", 0, ValueError),
    ("access_log", "log", TypeError),
    ("proxy_protocol", 1, TypeError),
    ("trust", "10.0.0.1", TypeError),
    ("trust", ("10.0.0.1/8",), ValueError),
    ("trust", ("proxy.example",), ValueError),
    ("root_path", "app", ValueError),
    ("root_path", "/app/", ValueError),
    ("root_path", None, TypeError),
    ("scheme", "ftp", ValueError),
]


@pytest.mark.parametrize(("name", "value", "error"), WRONG)
def test_a_wrong_value_names_its_field(name: str, value: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match=f"^{name}: "):
        HttpConfig(**{name: value})


def test_a_head_cannot_be_shorter_than_its_parts() -> None:
    with pytest.raises(ValueError, match=r"^head: "):
        HttpConfig(head=1000)
    HttpConfig(head=1000, request_line=500, field_line=1000)


def test_it_is_frozen_and_copied_with_changes() -> None:
    config = HttpConfig(trust=("10.0.0.0/8", "::1", "unix", "*"), root_path="/app")
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.body = 1  # type: ignore[misc]
    assert dataclasses.replace(config, body=1).body == 1
    with pytest.raises(ValueError, match=r"^body: "):
        dataclasses.replace(config, body=-1)


def test_native_code_gets_numbers() -> None:
    assert HttpConfig().native_settings() == {
        "request_line": 8192,
        "field_line": 16384,
        "field_count": 100,
        "head": 65536,
        "body": 2**64 - 1,
        "buffered_body": 65536,
        "chunk_extensions": 4096,
        "trailers": 8192,
        "drain_unread": 65536,
        "requests_per_connection": 0,
        "head_timeout_ns": 10_000_000_000,
        "body_timeout_ns": 30_000_000_000,
        "keep_alive_timeout_ns": 75_000_000_000,
        "inline": 1,
        "log": 0,
        "timed": 0,
        "proxy_protocol": 0,
    }


def test_none_is_no_limit_and_no_time() -> None:
    settings = HttpConfig(
        body=5,
        requests_per_connection=7,
        head_timeout=None,
        body_timeout=None,
        keep_alive_timeout=0.25,
        threads=3,
        access_log=print,
        proxy_protocol=True,
    ).native_settings()
    assert settings["body"] == 5
    assert settings["requests_per_connection"] == 7
    assert settings["head_timeout_ns"] == settings["body_timeout_ns"] == 0
    assert settings["keep_alive_timeout_ns"] == 250_000_000
    assert settings["inline"] == 0
    assert settings["log"] == settings["proxy_protocol"] == 1
