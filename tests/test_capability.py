"""A profile is what was seen: its answers, its tier, its reasons, and how long it is kept."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from profiles import example

from pyuring import capability, reasons
from pyuring.capability import CapabilityProfile, Tier, probe

RunPython = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def profile() -> CapabilityProfile:
    found = probe()
    if not found.io_uring:
        pytest.skip(f"io_uring is refused here: {found.missing['io_uring']}")
    return found


# --- what the kernel is seen to do (F13, F14) ----------------------------------------------


def test_every_native_answer_has_its_words_and_its_field() -> None:
    from pyuring import _native

    answers = {name for name, kind in _native.Profile._fields_ if kind is _native._i32}
    assert answers == {*reasons.SINCE, *reasons.RULES}
    assert {field.name for field in dataclasses.fields(CapabilityProfile)} >= {*reasons.SINCE}


def test_f13_the_kernel_refuses_what_the_table_of_rules_says(profile: CapabilityProfile) -> None:
    for name, rule in reasons.RULES.items():
        assert profile.answers[name] == -errno.EINVAL, rule


def test_f14_a_capability_is_there_or_has_a_reason(profile: CapabilityProfile) -> None:
    has = profile.capabilities()
    assert {name for name, there in has.items() if not there} == {*profile.missing}
    for name in profile.missing:
        assert profile.answers[name] != 0


def test_f14_the_release_string_decides_nothing(
    profile: CapabilityProfile, monkeypatch: pytest.MonkeyPatch
) -> None:
    fields = ("Linux", "node", "4.4.0-vendor", "#1", "x86_64")
    monkeypatch.setattr(capability.os, "uname", lambda: os.uname_result(fields))
    told = capability._ask()
    assert told.kernel_version == (4, 4, 0)
    assert told.capabilities() == profile.capabilities()
    assert told.tier is profile.tier


def test_f14_operations_and_features_come_from_the_kernel(profile: CapabilityProfile) -> None:
    assert {"NOP", "ACCEPT", "RECV", "SEND", "ASYNC_CANCEL"} <= profile.operations
    assert capability.Features.SINGLE_MMAP in profile.features


# --- the cache -----------------------------------------------------------------------------


def test_the_answer_is_kept_until_asked_again(profile: CapabilityProfile) -> None:
    assert probe() is profile
    again = probe(refresh=True)
    assert again is not profile
    assert probe() is again


def test_asking_for_sqpoll_changes_the_tier_alone(profile: CapabilityProfile) -> None:
    asked = probe(sqpoll=True)
    assert asked.sqpoll_requested
    assert asked is probe(sqpoll=True)
    assert asked.capabilities() == probe().capabilities()
    assert not probe().sqpoll_requested
    assert probe().tier is not Tier.OPTIONAL


def test_a_forked_child_asks_for_itself(profile: CapabilityProfile, run_python: RunPython) -> None:
    code = (
        "import os, warnings; warnings.simplefilter('ignore'); from pyuring import probe\n"
        "mine = probe(); pid = os.fork()\n"
        "if pid == 0: os._exit(0 if probe() is not mine and probe() is probe() else 1)\n"
        "raise SystemExit(os.waitpid(pid, 0)[1])"
    )
    assert run_python(code).returncode == 0


# --- the value -----------------------------------------------------------------------------


def test_a_profile_is_a_frozen_value() -> None:
    one = example()
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.sqpoll = False  # type: ignore[misc]
    assert one == example()
    assert hash(one) == hash(example())
    assert one != example(sqpoll=False)


def test_the_missing_reasons_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        probe().missing["io_uring"] = "no"  # type: ignore[index]


TIERS = [
    ({}, Tier.HIGH),
    ({"sqpoll_requested": True}, Tier.OPTIONAL),
    ({"sqpoll_requested": True, "sqpoll": False}, Tier.HIGH),
    ({"sqpoll_requested": True, "defer_taskrun": False}, Tier.OPTIONAL),
    ({"defer_taskrun": False}, Tier.MID),
    ({"multishot_recv": False, "sqpoll_requested": True}, Tier.MID),
    ({"multishot_accept": False}, Tier.BASE),
    ({"coop_taskrun": False}, Tier.BASE),
    ({"single_shot": False}, Tier.NONE),
    ({"io_uring": False}, Tier.NONE),
    ({"send_zc": False, "incremental_buffers": False, "cqe_mixed": False}, Tier.HIGH),
]


@pytest.mark.parametrize(("changes", "tier"), TIERS)
def test_the_tier_follows_from_the_capabilities(changes: dict[str, bool], tier: Tier) -> None:
    assert example(**changes).tier is tier


def test_an_obstacle_names_capability_and_reason() -> None:
    lacking = example(defer_taskrun=False, missing={"defer_taskrun": "too old"})
    assert lacking.obstacle(Tier.HIGH) == "defer_taskrun: too old"
    assert lacking.obstacle(Tier.MID) is None


def test_tables_and_json_hold_every_capability(profile: CapabilityProfile) -> None:
    told = json.loads(json.dumps(profile.to_dict()))
    assert set(told["capabilities"]) == {*reasons.SINCE}
    assert told["tier"] == profile.tier.name
    text = profile.describe()
    for name in reasons.SINCE:
        assert name in text
    assert profile.kernel_release in text


@pytest.mark.parametrize(
    ("release", "version"),
    [("6.18.44-fc-v669", (6, 18, 44)), ("5.10.0-28-amd64", (5, 10, 0)), ("odd", ()), ("7", (7,))],
)
def test_the_version_is_the_leading_numbers(release: str, version: tuple[int, ...]) -> None:
    assert capability._version(release) == version


@pytest.mark.parametrize(
    ("text", "count"), [("0\n", 1), ("0-3\n", 4), ("0-1,4,6-7\n", 5), ("", 1), ("x", 1)]
)
def test_numa_nodes_are_counted(tmp_path: Path, text: str, count: int) -> None:
    path = tmp_path / "online"
    path.write_text(text)
    assert capability._numa_nodes(str(path)) == count
    assert capability._numa_nodes(str(tmp_path / "none")) == 1


def test_where_io_uring_is_refused_the_table_is_its_reason(profile: CapabilityProfile) -> None:
    missing = dict.fromkeys(reasons.SINCE, "not asked")
    missing["io_uring"] = "refused, for a reason"
    without = dict.fromkeys(reasons.SINCE, False)
    refused = dataclasses.replace(profile, missing=missing, **without)
    first, tier, reason, instead = refused.describe().splitlines()
    assert profile.kernel_release in first
    assert tier == "tier NONE"
    assert reason.endswith("refused, for a reason")
    assert "epoll" in instead
