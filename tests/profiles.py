"""Kernels for tests that ask none: profiles with every capability but those a test takes away."""

from __future__ import annotations

from typing import Any

from pyuring import reasons
from pyuring.capability import CapabilityProfile
from pyuring.constants import SetupFlags
from pyuring.tiers import TierStrategy

COMMON = SetupFlags.SUBMIT_ALL | SetupFlags.CLAMP


def example(**changes: Any) -> CapabilityProfile:
    """Return a profile of a kernel that has everything, with `changes`."""
    return CapabilityProfile(
        os="Linux",
        kernel_release="6.18.0",
        kernel_version=(6, 18, 0),
        cpu_count=1,
        numa_nodes=1,
        **{**dict.fromkeys(reasons.SINCE, True), **changes},
    )


class OnlyAccepts(TierStrategy):
    """A user's own: BASE, but for multishot accepts."""

    @property
    def supports_multishot_accept(self) -> bool:
        return True
