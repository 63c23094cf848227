"""The way down from the tier that was asked for to the one that can really be had.

Owns the order of the attempts, and the words for each that failed. Never sets a ring up itself:
that is the caller's `attempt`.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from pyuring.capability import CapabilityProfile, Tier
from pyuring.tiers import TierStrategy, lower_tiers, strategy_of

__all__ = ["Ladder", "LadderStep", "descend"]

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class LadderStep:
    """A tier that was not taken, and why."""

    tier: Tier
    reason: str


@dataclass(frozen=True, slots=True)
class Ladder:
    """The tier asked for, the tier achieved, and the reason of each step between them."""

    asked: Tier
    achieved: Tier
    steps: tuple[LadderStep, ...] = ()

    def missed(self) -> list[str]:
        """Return a line for people for each reason of a step down, with its tiers."""
        if self.achieved is Tier.NONE and len(self.steps) == 1:
            return [f"epoll serves in place of io_uring: {self.steps[0].reason}"]
        reasons: dict[str, list[str]] = {}  # a reason that several tiers share is said once
        for step in self.steps:
            reasons.setdefault(step.reason, []).append(step.tier.name)
        return [f"not {' or '.join(names)}: {reason}" for reason, names in reasons.items()]

    def __str__(self) -> str:
        return "\n".join([f"tier {self.achieved.name}", *self.missed()])


# Set-up refused for what was asked, so that asking for less may help. With any other errno (no
# descriptors left, say) a lower tier would only hide the cause.
_REFUSALS = frozenset(
    {errno.EINVAL, errno.EPERM, errno.EACCES, errno.ENOMEM, errno.EOPNOTSUPP, errno.ENOSYS}
)


def descend(
    profile: CapabilityProfile,
    asked: TierStrategy | Tier | None,
    attempt: Callable[[TierStrategy], _T],
) -> tuple[_T, TierStrategy, Ladder]:
    """Run `attempt` with the strategy asked for, then with each lower one until one succeeds.

    `asked` is None for the best there is: HIGH, or OPTIONAL when the profile asked for SQPOLL.
    `attempt` sets a ring up and raises OSError when the kernel refuses; a tier the profile
    rules out is not attempted. Returns its result, the strategy achieved, and the ladder. At
    its foot stands epoll (Tier.NONE); an error that it has too is raised.
    """
    if asked is None:
        asked = Tier.OPTIONAL if profile.sqpoll_requested else Tier.HIGH
    first = strategy_of(asked, profile) if isinstance(asked, Tier) else asked
    wanted, below = first.tier, lower_tiers(first)
    steps: list[LadderStep] = []
    if not profile.io_uring and wanted is not Tier.NONE:
        # One reason for all: said once.
        steps.append(LadderStep(wanted, profile.missing.get("io_uring", "io_uring is missing")))
        first, below = below[-1], ()
    for strategy in (first, *below):
        reason = profile.obstacle(strategy.tier)
        if reason is None:
            try:
                result = attempt(strategy)
            except OSError as error:
                if error.errno not in _REFUSALS or strategy.tier is Tier.NONE:
                    raise
                reason = f"its ring was refused: {error}"
            else:
                return result, strategy, Ladder(wanted, strategy.tier, tuple(steps))
        steps.append(LadderStep(strategy.tier, reason))
    raise AssertionError("epoll has no obstacle")
