"""Floods: what single clients may send at once, as much of it as they like, over every wire.

Unlike the scripts (:mod:`support.fuzz.script`) they are not about what comes out, but about what
they cost: each is one kind of frames, many times.
"""

from __future__ import annotations

from hypothesis import strategies as st
from support.stomp import frame_bytes

__all__ = ["FLOODS", "GUESTS", "STREAMS", "WEB_FLOODS", "Flood", "bytes_of"]

Flood = tuple[str, dict[str, str], int]
"""The kind of a flood, the headers of its frames, and how large a body is."""

GUESTS = ("tcp", "tcp", "websocket", "deflate")
"""The wires of the clients; two more speak HTTP."""

_DESTINATIONS = (
    "/topic/a",
    "/topic/a.b",
    "/topic/n.%",
    "/topic/chat",  # a room that is kept
    "/topic/chat.%",
    "/topic/log.1",  # kept, and no room
    "/queue/q",
    "/queue/%",
    "/topic/a,/queue/q,/topic/chat,/topic/n.%",
    "/user/guest0/queue/private",
)
_SOURCES = (
    "/topic/a",
    "/topic/#",
    "/topic/*.#.%.#",
    "/topic/n.%",
    "/topic/chat",
    "/topic/chat.%",
    "/queue/q",
    "/queue/%",
    "/temp-queue/%",
    "/presence/topic/chat",
    "/presence/rooms",
    "/user/queue/private",
)
_MORE: tuple[dict[str, str], ...] = (
    {},
    {"ack": "client"},
    {"ack": "client-individual", "prefetch-count": "5"},
    {"selector": "a > 1 OR b LIKE 'x%y'"},
    {"x-slow": "drop-oldest"},
    {"ack": "client", "x-slow": "latest"},
)
_STARTS = ("first", "last", "offset=3", "timestamp=1000001")


def _sends(kinds: tuple[str, ...], sizes: tuple[int, ...]) -> st.SearchStrategy[Flood]:
    headers = st.builds(
        lambda destination, a: {"destination": destination, "a": a},
        st.sampled_from(_DESTINATIONS),
        st.sampled_from(["1", "2", "%"]),
    )
    return st.tuples(st.sampled_from(kinds), headers, st.sampled_from(sizes))


def _subscriptions(kinds: tuple[str, ...]) -> st.SearchStrategy[Flood]:
    headers = st.builds(
        lambda destination, more: {"destination": destination, **more},
        st.sampled_from(_SOURCES),
        st.sampled_from(_MORE),
    )
    replays = st.builds(
        lambda destination, start, more: {
            "destination": destination,
            "x-stream-offset": start,
            **more,
        },
        st.sampled_from(["/topic/chat", "/topic/log.1"]),
        st.sampled_from(_STARTS),
        st.sampled_from([{}, {"ack": "client"}]),
    )
    return st.tuples(st.sampled_from(kinds), headers | replays, st.just(0))


FLOODS: st.SearchStrategy[Flood] = st.one_of(
    _sends(("SEND", "open transaction"), (0, 1, 300, 20_000)),
    _sends(("COMMIT", "ABORT"), (0, 300)),
    _subscriptions(("SUBSCRIBE", "SUBSCRIBE", "come and go")),
    st.tuples(
        st.sampled_from(
            [
                "UNSUBSCRIBE",
                "ACK",
                "NACK",
                "ACK in a transaction",
                "BEGIN and ABORT",
                "line ends",
                "half a frame",
                "half a message",
                "pings",
                "empty fragments",
                "stall",
                "read on",
                "drop",
                "seconds",
            ]
        ),
        st.just({}),
        st.sampled_from([0, 500, 5000]),
    ),
)
"""What a client of the broker may do."""

WEB_FLOODS: st.SearchStrategy[Flood] = st.tuples(
    st.sampled_from(["requests", "half a head", "half a body", "stall", "read on", "drop"]),
    st.just({}),
    st.just(0),
)
"""What a client of the page may do."""

STREAMS = st.lists(
    st.tuples(st.integers(0, len(GUESTS) - 1), FLOODS, st.integers(1, 400))
    | st.tuples(st.integers(len(GUESTS), len(GUESTS) + 1), WEB_FLOODS, st.integers(1, 400)),
    min_size=1,
    max_size=8,
)
"""Who does what, and how often."""


def bytes_of(flood: Flood, number: int, acks: list[str]) -> bytes:
    """Return the bytes of one act of a flood on STOMP.

    Args:
        flood: Which.
        number: The number of the act, another for each.
        acks: What the client can acknowledge; what it does is taken from here.
    """
    kind, given, size = flood
    headers = {name: value.replace("%", str(number)) for name, value in given.items()}
    body = b"x" * size
    begin = frame_bytes("BEGIN", transaction="t")
    if kind == "SEND":
        return frame_bytes("SEND", body, **headers)
    if kind == "open transaction":
        return frame_bytes("SEND", body, transaction="open", **headers)
    if kind in ("COMMIT", "ABORT"):
        send = frame_bytes("SEND", body, transaction="t", **headers)
        return begin + send * 3 + frame_bytes(kind, transaction="t")
    if kind == "SUBSCRIBE":
        return frame_bytes("SUBSCRIBE", id=f"s{number}", **headers)
    if kind == "come and go":
        subscribe = frame_bytes("SUBSCRIBE", id=f"s{number}", **headers)
        return subscribe + frame_bytes("UNSUBSCRIBE", id=f"s{number}")
    if kind in ("ACK", "NACK"):
        return frame_bytes(kind, id=acks.pop()) if acks else b"\n"
    if kind == "ACK in a transaction" and acks:
        ack = frame_bytes("ACK", id=acks.pop(), transaction="t")
        return begin + ack + frame_bytes("ABORT", transaction="t")
    if kind == "BEGIN and ABORT":
        return (begin + frame_bytes("ABORT", transaction="t")) * 10
    return b"\n" * size
