"""The configuration's limits: defaults that agree with each other, wrong values that are named."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from pyuring import Engine, EngineConfig
from pyuring.config import nanoseconds


def test_every_field_has_a_default_and_a_reason() -> None:
    config = EngineConfig()
    assert config.ring_entries == 1024
    assert config.completion_entries == 4096
    assert config.write_low_water < config.write_high_water < config.send_queue_pause
    assert config.send_queue_pause < config.send_queue_limit
    assert config.tier == "auto"


def test_is_a_frozen_value() -> None:
    config = EngineConfig(workers=2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.workers = 3  # type: ignore[misc]
    assert dataclasses.replace(config, backlog=7) == EngineConfig(workers=2, backlog=7)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("workers", 0),
        ("ring_entries", 1000),
        ("ring_entries", 65536),
        ("cq_entries", 512),
        ("buffer_count", 100),
        ("buffer_count", 65536),
        ("buffer_size", 0),
        ("max_connections", 0),
        ("backlog", -1),
        ("idle_timeout", 0),
        ("write_timeout", -1.0),
        ("linger_timeout", -0.1),
        ("connect_timeout", float("nan")),
        ("turn_budget", float("inf")),
        ("write_low_water", 1 << 30),
        ("send_queue_limit", 1),
        ("tier", "highest"),
    ],
)
def test_a_value_out_of_range_raises_and_names_its_field(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=field):
        EngineConfig(**{field: value})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("workers", 1.0),
        ("workers", True),
        ("buffer_size", "16K"),
        ("idle_timeout", "1"),
        ("drain_quiet", None),
        ("reuse_port", 1),
        ("exception_hook", "print"),
        ("tier", 3),
    ],
)
def test_a_value_of_the_wrong_type_raises_and_names_its_field(field: str, value: Any) -> None:
    with pytest.raises(TypeError, match=field):
        EngineConfig(**{field: value})


def test_an_unknown_field_raises() -> None:
    with pytest.raises(TypeError, match="buffers"):
        EngineConfig(buffers=1)  # type: ignore[call-arg]


def test_overrides_are_laid_over_a_configuration() -> None:
    engine = Engine(object, "127.0.0.1:0", EngineConfig(workers=2, backlog=9), workers=3)
    assert (engine.config.workers, engine.config.backlog) == (3, 9)


def test_no_time_is_zero_nanoseconds() -> None:
    assert nanoseconds(None) == 0
    assert nanoseconds(0.25) == 250_000_000


@pytest.mark.parametrize("config", [{"workers": 2}, 9000])
def test_an_engine_takes_nothing_else_for_its_configuration(config: Any) -> None:
    with pytest.raises(TypeError, match="config: must be an EngineConfig"):
        Engine(object, "127.0.0.1:0", config)
