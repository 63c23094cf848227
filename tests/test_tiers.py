"""Each tier's strategy decides what its name says, and its operations work on a real ring."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from collections.abc import Iterator

import pytest
from profiles import COMMON, OnlyAccepts, example

from pyuring.buffers import BufferGroup
from pyuring.capability import Tier, probe
from pyuring.constants import CqeFlags, SetupFlags
from pyuring.ring import Cqe, Ring
from pyuring.tiers import (
    BaseTier,
    EpollTier,
    HighTier,
    MidTier,
    OptionalTier,
    TierDecisions,
    TierStrategy,
    decisions,
    lower_tiers,
    select_tier,
)

TIERS = [BaseTier, MidTier, HighTier, OptionalTier]
TEXT = b"0123456789" * 10


# --- decisions -----------------------------------------------------------------------------

MODEL = [
    (BaseTier, Tier.BASE, SetupFlags(0), (False, False, False)),
    (MidTier, Tier.MID, SetupFlags.COOP_TASKRUN | SetupFlags.TASKRUN_FLAG, (True, True, False)),
    (HighTier, Tier.HIGH, SetupFlags.SINGLE_ISSUER | SetupFlags.DEFER_TASKRUN, (True, True, True)),
    (OptionalTier, Tier.OPTIONAL, SetupFlags.SINGLE_ISSUER | SetupFlags.SQPOLL, (True, True, True)),
]


@pytest.mark.parametrize(("kind", "tier", "flags", "supports"), MODEL)
def test_a_tier_decides_as_the_model_does(
    kind: type[TierStrategy], tier: Tier, flags: SetupFlags, supports: tuple[bool, bool, bool]
) -> None:
    strategy = kind(example())
    assert strategy.tier is tier
    assert strategy.setup_flags == flags | COMMON
    assert (strategy.sqpoll_idle > 0) == (tier is Tier.OPTIONAL)
    assert supports == (
        strategy.supports_provided_buffers,
        strategy.supports_multishot_accept,
        strategy.supports_multishot_recv,
    )
    assert decisions(strategy) == TierDecisions(
        tier, int(flags | COMMON), round(strategy.sqpoll_idle * 1000), *supports, epoll=False
    )


def test_tier_none_takes_highs_operations_and_asks_io_uring_for_nothing() -> None:
    decided = decisions(EpollTier(example(io_uring=False)))
    assert decided == TierDecisions(Tier.NONE, 0, 0, True, True, True, epoll=True)


@pytest.mark.parametrize("kind", TIERS)
def test_f1_submit_all_is_asked_for_where_the_kernel_has_it(kind: type[TierStrategy]) -> None:
    assert kind(example()).setup_flags & COMMON == COMMON
    assert not kind(example(submit_all=False, clamp=False)).setup_flags & COMMON


def test_f13_sqpoll_is_never_asked_for_beside_taskrun_flags() -> None:
    for kind in TIERS:
        flags = kind(example()).setup_flags
        if flags & SetupFlags.SQPOLL:
            assert not flags & (SetupFlags.COOP_TASKRUN | SetupFlags.DEFER_TASKRUN)
        if flags & SetupFlags.DEFER_TASKRUN:
            assert flags & SetupFlags.SINGLE_ISSUER


def test_the_strategy_of_the_profiles_tier_is_selected() -> None:
    assert isinstance(select_tier(example(sqpoll_requested=True)), OptionalTier)
    assert type(select_tier(example())) is HighTier
    assert type(select_tier(example(defer_taskrun=False))) is MidTier
    assert type(select_tier(example(buffer_rings=False))) is BaseTier
    assert select_tier(example(io_uring=False)) is None


def test_lower_tiers_come_in_order_on_the_same_profile() -> None:
    profile = example()
    lower = lower_tiers(OptionalTier(profile))
    assert [type(strategy) for strategy in lower] == [HighTier, MidTier, BaseTier, EpollTier]
    assert all(strategy.profile is profile for strategy in lower)
    assert [type(strategy) for strategy in lower_tiers(BaseTier(profile))] == [EpollTier]
    assert lower_tiers(EpollTier(profile)) == ()


def test_a_strategy_without_a_profile_takes_this_processs() -> None:
    assert HighTier().profile is probe()


class Confused(TierStrategy):
    @property
    def supports_multishot_recv(self) -> bool:
        return True


class Slow(OptionalTier):
    @property
    def sqpoll_idle(self) -> float:
        return -1.0


def test_a_users_strategy_decides_what_it_overrides() -> None:
    decided = decisions(OnlyAccepts(example()))
    assert decided.multishot_accept
    assert not decided.provided_buffers
    assert decided.tier is Tier.BASE


def test_impossible_decisions_raise() -> None:
    with pytest.raises(ValueError, match="need provided buffers"):
        decisions(Confused(example()))
    with pytest.raises(ValueError, match="sqpoll_idle is 0 to 3600"):
        decisions(Slow(example()))


# --- the operations, on a real ring --------------------------------------------------------


@pytest.fixture(params=TIERS)
def strategy(request: pytest.FixtureRequest) -> TierStrategy:
    """Return each strategy that this kernel allows."""
    made: TierStrategy = request.param(probe())
    lacking = made.profile.obstacle(made.tier)
    if lacking:
        pytest.skip(f"this kernel lacks {lacking}")
    return made


@pytest.fixture
def ring(strategy: TierStrategy) -> Iterator[Ring]:
    idle = {"sq_thread_idle": strategy.sqpoll_idle} if strategy.sqpoll_idle else {}
    with Ring(16, flags=strategy.setup_flags, **idle) as made:
        yield made


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = socket.socketpair()
    theirs.settimeout(10)
    with ours, theirs:
        yield ours, theirs


def completion(ring: Ring) -> Cqe:
    """Wait for the next completion and take it."""
    ring.submit()
    cqe = ring.wait_cqe()
    ring.advance_cq()
    return cqe


def test_f13_the_ring_has_the_flags_that_the_strategy_asked_for(
    strategy: TierStrategy, ring: Ring
) -> None:
    assert ring.flags & strategy.setup_flags == strategy.setup_flags


def test_an_accept_completes(strategy: TierStrategy, ring: Ring) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        strategy.prepare_accept(ring, listener.fileno())
        for _ in range(2 if strategy.supports_multishot_accept else 1):
            with socket.create_connection(listener.getsockname()[:2]):
                cqe = completion(ring)
                with socket.socket(fileno=cqe.res) as accepted:
                    assert not accepted.get_inheritable()
                    assert is_non_blocking(accepted)
            more = bool(cqe.flags & CqeFlags.MORE)
            assert more == strategy.supports_multishot_accept


def is_non_blocking(sock: socket.socket) -> bool:
    return bool(fcntl.fcntl(sock, fcntl.F_GETFL) & os.O_NONBLOCK)


def test_a_receive_into_memory_completes(
    strategy: TierStrategy, ring: Ring, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    memory = bytearray(256)
    strategy.prepare_recv(ring, ours.fileno(), memory)
    theirs.sendall(TEXT)
    assert completion(ring).res == len(TEXT)
    assert memory.startswith(TEXT)


def test_a_single_receive_names_the_buffers_size_and_a_multishot_one_none(
    strategy: TierStrategy, ring: Ring, pair: tuple[socket.socket, socket.socket]
) -> None:
    """Linux 5.10 takes no length for a receive of no bytes, which looks like the peer's end."""
    if not strategy.supports_provided_buffers:
        pytest.skip(f"tier {strategy.tier.name} receives into memory")
    with BufferGroup(ring, 3, 4, 256) as group:
        sqe = strategy.prepare_recv(ring, pair[0].fileno(), group)
        assert sqe.length == (0 if strategy.supports_multishot_recv else 256)
        pair[1].close()
        completion(ring)


def test_a_receive_into_provided_buffers_completes(
    strategy: TierStrategy, ring: Ring, pair: tuple[socket.socket, socket.socket]
) -> None:
    ours, theirs = pair
    with BufferGroup(ring, 3, 4, 256) as group:
        if not strategy.supports_provided_buffers:
            with pytest.raises(TypeError, match="not a BufferGroup"):
                strategy.prepare_recv(ring, ours.fileno(), group)
            return
        strategy.prepare_recv(ring, ours.fileno(), group)
        for _ in range(2 if strategy.supports_multishot_recv else 1):
            theirs.sendall(TEXT)
            cqe = completion(ring)
            assert cqe.res == len(TEXT)
            assert cqe.flags & CqeFlags.BUFFER
            assert bool(cqe.flags & CqeFlags.MORE) == strategy.supports_multishot_recv
            with group.get_buffer(cqe.flags >> 16, cqe.res) as view:
                assert view == TEXT
            group.return_buffer(cqe.flags >> 16)
        theirs.close()  # ends a multishot receive: nothing is armed when the group goes
        if strategy.supports_multishot_recv:
            assert completion(ring).res == 0


@pytest.mark.parametrize("linked", [False, True])
def test_a_send_completes_before_what_is_linked_to_it(
    strategy: TierStrategy, ring: Ring, pair: tuple[socket.socket, socket.socket], linked: bool
) -> None:
    ours, theirs = pair
    strategy.prepare_send(ring, ours.fileno(), TEXT, linked).user_data = 1
    if linked:
        following = ring.get_sqe()
        assert following is not None
        following.prep_nop()
        following.user_data = 2
    assert [completion(ring).res for _ in range(2 if linked else 1)] == [len(TEXT), 0][: 1 + linked]
    assert theirs.recv(256) == TEXT


def test_f36_a_failed_send_cancels_what_is_linked_to_it(strategy: TierStrategy, ring: Ring) -> None:
    ours, theirs = socket.socketpair()
    theirs.close()
    with ours:
        strategy.prepare_send(ring, ours.fileno(), TEXT, True).user_data = 1
        following = ring.get_sqe()
        assert following is not None
        following.prep_nop()
        following.user_data = 2
        results = {cqe.user_data: cqe.res for cqe in (completion(ring), completion(ring))}
    assert results == {1: -errno.EPIPE, 2: -errno.ECANCELED}


def test_f2_a_full_submission_queue_drops_nothing(strategy: TierStrategy, ring: Ring) -> None:
    pairs = [socket.socketpair() for _ in range(40)]  # more than the queue has entries
    for ours, theirs in pairs:
        strategy.prepare_send(ring, ours.fileno(), b"x", False)
        theirs.settimeout(10)
    ring.submit()
    for ours, theirs in pairs:
        assert theirs.recv(2) == b"x"
        ours.close()
        theirs.close()
    for _ in pairs:
        assert completion(ring).res == 1
