"""SENDs that repeat a head take a fast path together, which has no visible effect."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.core import connected, cut
from support.stomp import frame_bytes

from rtchat.core.broker.broker import Broker
from rtchat.core.stomp.frames import Version
from rtchat.core.stomp.head_cache import HeadCache
from rtchat.core.stomp.limits import Limits
from rtchat.core.stomp.parser import FrameParser

__all__: list[str] = []

V12 = Version.V12
HEADS: tuple[dict[str, str], ...] = (
    {"destination": "/topic/a"},
    {"destination": "/topic/a", "x": "1"},
    {"destination": "/topic/b"},
    {"destination": "/topic/nobody"},
    {"destination": "/queue/q"},
    {"destination": "/topic/a", "receipt": "r"},
    {"destination": "/topic/a,/topic/b"},
    {"destination": "/topic/a", "expires": "1"},
)
SUBSCRIPTIONS: tuple[tuple[str, dict[str, str]], ...] = (
    ("/topic/a", {}),
    ("/topic/a", {"selector": "x = 1"}),
    ("/topic/a", {"ack": "client"}),
    ("/topic/b", {}),
    ("/topic/*", {}),
    ("/queue/q", {}),
)

sends = st.lists(
    st.tuples(
        st.sampled_from(HEADS),
        st.sampled_from([b"", b"x", b"y", b"\0", b"SEND\n", b"\n\n"]),
        st.integers(1, 5),
        st.booleans(),
    ),
    max_size=8,
)


def stream_of(frames: list[tuple[dict[str, str], bytes, int, bool]]) -> list[bytes]:
    """Return the frames' bytes, each repeated as often as it says."""
    stream = []
    for headers, body, times, has_length in frames:
        length = {"content-length": str(len(body))} if has_length or b"\0" in body else {}
        stream += [frame_bytes("SEND", body, **headers, **length)] * times
    return stream


def received(pieces: list[bytes], subscriptions: list[int]) -> tuple[list[bytes], bytes]:
    """Return what each subscriber and the publisher get; each piece is a read of the publisher."""
    broker = Broker("epoch")
    broker.now = 10.0
    publisher, *readers = connected(broker, *[V12] * (len(subscriptions) + 1))
    for reader, which in zip(readers, subscriptions, strict=True):
        destination, headers = SUBSCRIPTIONS[which]
        reader.say("SUBSCRIBE", id="0", destination=destination, **headers)
    before = [len(reader.outbound.data) for reader in readers]
    begun = len(publisher.outbound.data)
    for piece in pieces:
        publisher.send(piece)
    got = [reader.outbound.data[start:] for reader, start in zip(readers, before, strict=True)]
    return got, publisher.outbound.data[begun:]


@given(frames=sends, subscriptions=st.lists(st.integers(0, len(SUBSCRIPTIONS) - 1), max_size=4))
def test_a_whole_read_gives_what_its_frames_give_one_by_one(
    frames: list[tuple[dict[str, str], bytes, int, bool]], subscriptions: list[int]
) -> None:
    stream = stream_of(frames)
    together = received([b"".join(stream)], subscriptions)
    assert together == received(stream, subscriptions)


@given(
    frames=sends,
    subscriptions=st.lists(st.integers(0, len(SUBSCRIPTIONS) - 1), max_size=3),
    places=st.lists(st.integers(0, 2000), max_size=6),
)
def test_wherever_a_read_ends_nothing_changes(
    frames: list[tuple[dict[str, str], bytes, int, bool]],
    subscriptions: list[int],
    places: list[int],
) -> None:
    stream = stream_of(frames)
    data = b"".join(stream)
    chunks = cut(data, *sorted({place for place in places if 0 < place < len(data)}))
    assert received(chunks, subscriptions) == received(stream, subscriptions)


def test_messages_of_a_run_keep_their_order_and_their_ids(broker: Broker) -> None:
    publisher, reader = connected(broker, V12, V12)
    reader.subscribe("/topic/a")
    headers = {"destination": "/topic/a", "content-length": "1"}
    publisher.send(b"".join(frame_bytes("SEND", b"%d" % n, **headers) for n in range(10)))
    messages = reader.received()
    assert [message.body for message in messages] == [b"%d" % n for n in range(10)]
    assert [message.headers["message-id"] for message in messages] == [
        f"epoch-{n}" for n in range(1, 11)
    ]
    assert broker.publishing.message_count == 10


def test_a_broken_frame_after_a_run_is_refused_and_the_run_delivered(broker: Broker) -> None:
    publisher, reader = connected(broker, V12, V12)
    reader.subscribe("/topic/a")
    good = frame_bytes("SEND", b"1", destination="/topic/a", **{"content-length": "1"})
    publisher.send(good * 3 + good[:-1] + b"!")
    assert [message.body for message in reader.received()] == [b"1"] * 3
    assert publisher.line.closed


@pytest.fixture
def broker() -> Broker:
    """Return a broker whose ids begin with ``epoch``."""
    return Broker("epoch")


def parser_after(data: bytes, frames: int) -> tuple[FrameParser, list[bytes]]:
    """Return a parser that has given so many frames, and what it then says is like the last."""
    parser = FrameParser(Limits(), HeadCache())
    parser.log_in(V12)
    parser.feed(data)
    *_, last = (parser.next_frame() for _ in range(frames))
    assert last is not None
    return parser, parser.same_head_bodies(last, 100)


def test_only_frames_that_begin_with_the_very_head_are_like_the_last() -> None:
    one = frame_bytes("SEND", b"1", destination="/topic/a", **{"content-length": "1"})
    other = frame_bytes("SEND", b"2", destination="/topic/b", **{"content-length": "1"})
    # The first time a head is read, it is only learned; the second time it is known.
    parser, more = parser_after(one * 4 + other + one, 2)
    assert more == [b"1", b"1"]
    frame = parser.next_frame()
    assert frame is not None
    assert frame.body == b"2"
    assert parser.same_head_bodies(frame, 100) == []


def test_a_frame_that_is_not_whole_yet_is_left_for_later() -> None:
    one = frame_bytes("SEND", b"1", destination="/topic/a", **{"content-length": "1"})
    parser, more = parser_after(one * 3 + one[:-2], 2)
    assert more == [b"1"]
    assert parser.next_frame() is None
    parser.feed(one[-2:])
    frame = parser.next_frame()
    assert frame is not None
    assert frame.body == b"1"


def test_a_run_of_one_client_does_not_end_in_another_s(broker: Broker) -> None:
    first, second, reader = connected(broker, V12, V12, V12)
    reader.subscribe("/topic/a")
    one = frame_bytes("SEND", b"1", destination="/topic/a", **{"content-length": "1"})
    first.send(one * 2 + one[:20])
    second.send(one * 2)
    first.send(one[20:])
    assert len(reader.received()) == 5
