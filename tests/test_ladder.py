"""The way down from the tier that was asked for: each step has its reason, epoll is the last."""

from __future__ import annotations

import dataclasses
import errno

import pytest
from profiles import COMMON, OnlyAccepts, example

from pyuring.capability import Tier
from pyuring.constants import SetupFlags
from pyuring.ladder import Ladder, LadderStep, descend
from pyuring.tiers import EpollTier, HighTier, MidTier, TierStrategy


class Kernel:
    """Refuses rings with any of `refused`, as a kernel that says yes to the probe and lies."""

    def __init__(self, refused: int = 0, number: int = errno.EINVAL) -> None:
        self.refused = refused
        self.number = number
        self.asked: list[Tier] = []

    def __call__(self, strategy: TierStrategy) -> str:
        self.asked.append(strategy.tier)
        if strategy.setup_flags & self.refused:
            raise OSError(self.number, "io_uring_setup")
        return f"ring of {strategy.tier.name}"


def test_f13_the_first_tier_that_works_is_reported_without_steps() -> None:
    ring, strategy, ladder = descend(example(), None, Kernel())
    assert ring == "ring of HIGH"
    assert type(strategy) is HighTier
    assert ladder == Ladder(Tier.HIGH, Tier.HIGH)


def test_f13_each_step_down_has_its_reason() -> None:
    profile = example(sqpoll=False, sqpoll_requested=True, missing={"sqpoll": "EPERM it said"})
    kernel = Kernel(SetupFlags.DEFER_TASKRUN)
    ring, strategy, ladder = descend(profile, None, kernel)
    assert ring == "ring of MID"
    assert type(strategy) is MidTier
    assert (ladder.asked, ladder.achieved) == (Tier.OPTIONAL, Tier.MID)
    assert [step.tier for step in ladder.steps] == [Tier.OPTIONAL, Tier.HIGH]
    assert "sqpoll: EPERM it said" in ladder.steps[0].reason
    assert "Errno 22" in ladder.steps[1].reason
    assert kernel.asked == [Tier.HIGH, Tier.MID]  # what the probe ruled out is not attempted
    assert str(ladder).startswith("tier MID\nnot OPTIONAL: sqpoll")


@pytest.mark.parametrize("tier", list(Tier))
def test_f13_an_asked_tier_is_taken_although_a_higher_one_works(tier: Tier) -> None:
    assert descend(example(), tier, Kernel())[2] == Ladder(tier, tier)


def test_f13_a_users_strategy_stands_first_on_the_ladder() -> None:
    mine = OnlyAccepts(example())
    assert descend(example(), mine, Kernel())[1] is mine


def test_f16_where_no_ring_finds_memory_epoll_is_left() -> None:
    _, strategy, ladder = descend(example(), None, Kernel(COMMON, errno.ENOMEM))
    assert type(strategy) is EpollTier
    assert [step.tier for step in ladder.steps] == [Tier.HIGH, Tier.MID, Tier.BASE]
    assert all("its ring was refused" in line for line in ladder.missed())


def test_what_epoll_cannot_cure_either_is_raised() -> None:
    def refuse(strategy: TierStrategy) -> None:
        raise OSError(errno.ENOMEM, f"no memory for {strategy.tier.name}")

    with pytest.raises(OSError, match="no memory for NONE"):
        descend(example(), None, refuse)


def test_f13_an_error_that_no_lower_tier_would_cure_is_raised_at_once() -> None:
    kernel = Kernel(COMMON, errno.EMFILE)
    with pytest.raises(OSError, match="io_uring_setup"):
        descend(example(), None, kernel)
    assert kernel.asked == [Tier.HIGH]


def test_f13_epoll_at_the_foot_says_why_once_for_all_tiers() -> None:
    profile = example(single_shot=False, missing={"single_shot": "too old"})
    ladder = descend(profile, None, Kernel())[2]
    assert ladder.achieved is Tier.NONE
    assert [step.tier for step in ladder.steps] == [Tier.HIGH, Tier.MID, Tier.BASE]
    assert ladder.missed() == ["not HIGH or MID or BASE: single_shot: too old"]


def test_f16_a_limit_behind_several_refusals_is_told_once() -> None:
    cause = "no memory (RLIMIT_MEMLOCK is 8 KiB); raise the limit"
    missing = {
        "coop_taskrun": f"the kernel answered ENOMEM to A: {cause}",
        "taskrun_flag": "mainline has it since Linux 5.19",
        "buffer_rings": f"the kernel answered ENOMEM to B: {cause}",
    }
    profile = example(coop_taskrun=False, taskrun_flag=False, buffer_rings=False, missing=missing)
    ladder = descend(profile, None, Kernel())[2]
    assert ladder.achieved is Tier.BASE
    assert ladder.missed() == [
        "not HIGH or MID: coop_taskrun: the kernel answered ENOMEM to A; taskrun_flag: mainline "
        f"has it since Linux 5.19; buffer_rings: the kernel answered ENOMEM to B: {cause}"
    ]


@pytest.mark.parametrize("asked", [None, Tier.BASE, Tier.OPTIONAL])
def test_f15_where_io_uring_is_refused_one_line_says_why(asked: Tier | None) -> None:
    profile = example(io_uring=False, missing={"io_uring": "forbidden; allow it"})
    kernel = Kernel()
    _, strategy, ladder = descend(profile, asked, kernel)
    assert type(strategy) is EpollTier
    assert kernel.asked == [Tier.NONE]
    assert (ladder.asked, ladder.achieved) == (asked or Tier.HIGH, Tier.NONE)
    assert ladder.missed() == ["epoll serves in place of io_uring: forbidden; allow it"]


def test_a_ladder_is_a_value() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        LadderStep(Tier.MID, "why").reason = "other"  # type: ignore[misc]
