"""The rule, for any stream of floods: what a turn does, and what is held, is bounded by the limits.

There is a whole server but for the reactor (:mod:`support.fuzz.arena`): STOMP over TCP, WebSocket
and compressed WebSocket, the web server, a history, presence and private messages. Nothing is
timed. Work is counted twice, in the units of the code itself and in calls of functions; so are
bytes, as the budget has them and as Python's allocator has.
"""

from __future__ import annotations

import gc
import tracemalloc

import pytest
from hypothesis import given, settings
from support.examples import examples
from support.fuzz.arena import KIB, MIB, Arena, Costs
from support.fuzz.floods import GUESTS, STREAMS, Flood

from rtchat.core.broker.limits import BrokerLimits
from rtchat.core.flow.turns import TURN_WORK
from rtchat.core.stomp.limits import Limits

LIMITS = Limits(
    max_backlog_bytes=256 * KIB,
    max_frame_bytes=512 * KIB,  # and so 1.5 MiB may be held
    max_subscriptions=50,
    max_of_destination=50,
)
BUDGET = 3 * MIB
SHARED = BrokerLimits(max_bytes=BUDGET)

LONGEST = 8000
"""The work of the longest frame: the COMMIT of three messages to four names each, of which the
200 subscriptions that there may be get three."""

CALLS = 8
"""A unit of work is so many calls of functions, at the most."""

Stream = list[tuple[int, Flood, int]]


def _all_subscribe(destination: str, **headers: str) -> Stream:
    flood: Flood = ("SUBSCRIBE", {"destination": destination, **headers}, 0)
    return [(who, flood, 50) for who in range(len(GUESTS))]


def _send(destination: str, size: int) -> Flood:
    return "SEND", {"destination": destination, "a": "1"}, size


_NOTHING: dict[str, str] = {}
_WIDE: Flood = "SUBSCRIBE", {"destination": "/topic/n.%" + "\N{PILE OF POO}" * 1500}, 0

KNOWN: dict[str, Stream] = {
    "a batch for many": [*_all_subscribe("/topic/chat"), (0, _send("/topic/chat", 0), 400)],
    "replays": [
        (0, _send("/topic/log.1", 300), 400),
        *_all_subscribe("/topic/log.1", **{"x-stream-offset": "first", "ack": "client"}),
    ],
    "private messages": [
        *_all_subscribe("/user/queue/private"),
        (1, _send("/user/guest0/queue/private", 300), 400),
    ],
    "come and go": [
        *_all_subscribe("/presence/topic/chat"),
        (3, ("UNSUBSCRIBE", _NOTHING, 0), 400),
        (3, ("come and go", {"destination": "/topic/chat"}, 0), 400),
    ],
    "places of people who have gone": [
        (who, flood, 50)
        for _ in range(6)
        for who in range(4)
        for flood in (_WIDE, ("drop", _NOTHING, 0))
    ],
    "inflated": [(3, ("BEGIN and ABORT", _NOTHING, 0), 400)],
    "unread answers": [(4, ("stall", _NOTHING, 0), 1), (4, ("requests", _NOTHING, 0), 400)],
    "incomplete requests": [
        (4, ("half a head", _NOTHING, 0), 400),
        (5, ("half a body", _NOTHING, 0), 400),
    ],
    "incomplete messages": [
        *((who, ("half a frame", _NOTHING, 0), 400) for who in (0, 1)),
        *((who, ("half a message", _NOTHING, 0), 400) for who in (2, 3)),
    ],
    "full queues": [(who, _send("/queue/q", 20_000), 100) for who in range(4)],
    "transactions": [
        (who, ("open transaction", {"destination": "/queue/q", "a": "1"}, 20_000), 100)
        for who in range(4)
    ],
    "slow readers": [
        *_all_subscribe("/topic/a"),
        *((who, ("stall", _NOTHING, 0), 1) for who in (0, 2, 3)),
        (1, _send("/topic/a", 20_000), 100),
    ],
}
"""What random streams seldom come to by themselves."""

# ---------------------------------------------------------------- work


def costs_of(stream: Stream) -> Costs:
    """Return what the longest turn cost in which something happened."""
    costs = Costs(counts_calls=True)
    with costs.taken():
        arena = Arena(costs, LIMITS, SHARED)
        for who, flood, count in stream:
            arena.flood(who, flood, count)
        arena.close()
    return costs


def assert_short(costs: Costs) -> None:
    """Make sure that no turn was long."""
    assert costs.work <= TURN_WORK + LONGEST
    assert costs.calls <= CALLS * (TURN_WORK + LONGEST), costs.longest


@pytest.mark.parametrize("what", list(KNOWN))
def test_no_turn_is_long_in_floods_of_one_kind(what: str) -> None:
    assert_short(costs_of(KNOWN[what]))


@given(STREAMS)
@settings(max_examples=examples(15, 1000))
def test_no_turn_is_long(stream: Stream) -> None:
    assert_short(costs_of(stream))


# ---------------------------------------------------------------- bytes

ONE_READ = MIB
"""What one turn may add before the limits are looked at: the frames of one read."""

FIXED = MIB + MIB // 4
"""What is kept whatever the clients do: caches, and the history's pages."""


class Holdings:
    """Looks at what is held, and by whom."""

    def __init__(self) -> None:
        self._base = 0

    def begin(self) -> None:
        """Count what is held from now on."""
        gc.collect()
        self._base, _ = tracemalloc.get_traced_memory()

    def real_bytes(self, arena: Arena) -> int:
        """Return what has come since, without what lies in the sockets."""
        return tracemalloc.get_traced_memory()[0] - self._base - arena.socket_bytes

    def look(self, arena: Arena) -> None:
        """See that no more is held than the limits say."""
        used = arena.broker.budget.used
        assert used <= BUDGET + ONE_READ
        for protocol in arena.stomp.protocols:
            session = protocol.session
            if not session.is_closed:
                assert session.holding.bytes <= LIMITS.max_held_bytes
                assert (
                    protocol.writer.waiting_bytes
                    <= LIMITS.max_backlog_bytes + LIMITS.max_frame_bytes
                )
        if self._base and self.real_bytes(arena) > used + FIXED:
            gc.collect()
            assert self.real_bytes(arena) <= used + FIXED


def assert_counted(stream: Stream) -> None:
    """Play a stream; see at each turn that no more is held than the limits say."""
    holdings = Holdings()
    tracemalloc.start()
    try:
        arena = Arena(Costs(counts_calls=False), LIMITS, SHARED, holdings.look)
        holdings.begin()
        for who, flood, count in stream:
            arena.flood(who, flood, count)
        arena.close()
        broker = arena.broker
        assert broker.budget.held == 0
        assert broker.budget.used == sum(
            queue.bytes + queue.cost_bytes for queue in broker.queues.values()
        )
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("what", list(KNOWN))
def test_no_more_is_held_in_floods_of_one_kind(what: str) -> None:
    assert_counted(KNOWN[what])


@given(STREAMS)
@settings(max_examples=examples(15, 1000))
def test_no_more_is_held_than_the_limits_say(stream: Stream) -> None:
    assert_counted(stream)
