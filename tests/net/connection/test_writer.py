"""The way out of one connection: what is sent at once, what waits, and when it is too much."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.net import FakeSocket, Feeder, PushTransport

from rtchat.core.flow.large_frame import LargeFrame
from rtchat.core.flow.outbound import Cork
from rtchat.net.connection.writer import ConnectionWriter

KIB = 1024
HIGH_BYTES = 64 * KIB
"""From here on Twisted's own transports pause their producers, and so does the writer."""


class Ends:
    """A protocol that takes note of the end."""

    def __init__(self) -> None:
        self.is_lost = False

    def makeConnection(self, transport: object) -> None:  # noqa: N802
        """Do nothing."""

    def connectionLost(self, reason: object) -> None:  # noqa: N802
        """Take note."""
        self.is_lost = True


def writer_on(
    socket: FakeSocket, limit: int | None = None, *, is_busy: bool = False
) -> ConnectionWriter:
    socket.connect(Ends())
    writer = ConnectionWriter(socket, Cork(), is_busy=is_busy)
    writer.max_backlog_bytes = limit
    return writer


def blocked(limit: int | None = None) -> tuple[FakeSocket, ConnectionWriter, list[int]]:
    """Return an writer whose transport holds one byte, and a list of overflows."""
    socket = FakeSocket(room=0)
    writer = writer_on(socket, limit)
    writer.write_now(b"!")
    overflows: list[int] = []
    writer.on_overflow = overflows.append
    return socket, writer, overflows


# ---------------------------------------------------------------- plain sockets


def test_bytes_go_to_the_socket_at_once_while_nothing_waits() -> None:
    socket = FakeSocket()
    writer_on(socket).write_now(b"hello")
    assert (bytes(socket.sent), socket.is_writing) == (b"hello", False)


def test_what_was_gathered_in_a_turn_leaves_in_one_send() -> None:
    socket = FakeSocket()
    writer = writer_on(socket)
    for text in (b"a", b"b", b"c"):
        writer.send(text)
    assert socket.sends == 0
    writer.cork.flush()
    assert (bytes(socket.sent), socket.sends) == (b"abc", 1)


def test_the_rest_of_a_partial_write_is_left_to_the_reactor() -> None:
    socket = FakeSocket(room=3)
    writer = writer_on(socket)
    writer.write_now(b"hello")
    assert (bytes(socket.sent), socket.is_writing, writer.waiting_bytes) == (b"hel", True, 2)
    socket.give_room()
    assert (bytes(socket.sent), socket.is_writing, writer.waiting_bytes) == (b"hello", False, 0)


def test_a_message_of_several_chunks_is_sent_at_once_if_the_socket_has_room() -> None:
    socket = FakeSocket()
    writer_on(socket).write_now(bytes(500 * KIB))
    assert (len(socket.sent), socket.is_writing) == (500 * KIB, False)


def test_what_waits_is_counted_to_the_byte() -> None:
    socket, writer, _ = blocked()
    writer.send(b"12345")
    writer.send(b"678")
    writer.cork.flush()
    writer.write_now(b"9")
    assert writer.waiting_bytes == 1 + 9
    socket.give_room(1)
    # The transport took the first byte; the nine after it are tried at once.
    assert writer.waiting_bytes == 9
    socket.give_room()
    assert writer.waiting_bytes == 0
    assert bytes(socket.sent) == b"!123456789"


def test_a_broken_connection_is_left_to_the_transport_to_find_out() -> None:
    socket = FakeSocket()
    writer = writer_on(socket)
    socket.is_broken = True
    writer.write_now(b"hello")
    assert socket.is_writing
    socket.turn()
    assert socket.protocol.is_lost
    assert writer.waiting_bytes == 0


def test_a_transport_that_holds_bytes_of_somebody_else_is_not_overtaken() -> None:
    socket = FakeSocket(room=0)
    writer = writer_on(socket, is_busy=True)
    socket.write(b"HTTP/1.1 101\r\n\r\n")
    writer.write_now(b"frame")
    socket.give_room()
    assert bytes(socket.sent) == b"HTTP/1.1 101\r\n\r\nframe"


# ---------------------------------------------------------------- the limit


@pytest.mark.parametrize("excess, is_cut", [(-1, False), (0, False), (1, True)])
def test_a_backlog_may_be_as_large_as_the_limit_and_no_byte_larger(
    excess: int, is_cut: bool
) -> None:
    _, writer, overflows = blocked(limit=1000)
    writer.write_now(bytes(499))
    writer.write_now(bytes(500 + excess))  # one more byte waits in the transport
    assert overflows == ([1000 + excess] if is_cut else [])


def test_the_limit_is_looked_at_once_per_turn() -> None:
    _, writer, overflows = blocked(limit=10)
    for _ in range(5):
        writer.send(b"12345")
    writer.cork.flush()
    assert overflows == [26]


def test_an_overflow_is_told_once() -> None:
    _, writer, overflows = blocked(limit=10)
    for _ in range(5):
        writer.write_now(b"123456")
    assert len(overflows) == 1


def test_a_single_message_larger_than_the_limit_may_wait_behind_others() -> None:
    socket, writer, overflows = blocked(limit=1000)
    writer.write_now(bytes(5000))
    assert overflows == []
    socket.give_room()
    assert len(socket.sent) == 5001


def test_a_single_message_larger_than_the_limit_may_wait_in_the_transport() -> None:
    socket = FakeSocket(room=10)
    writer = writer_on(socket, 1000)
    overflows: list[int] = []
    writer.on_overflow = overflows.append
    writer.write_now(bytes(5000))
    writer.write_now(bytes(600))
    writer.write_now(bytes(400))
    assert overflows == []
    writer.write_now(b"1")
    assert overflows == [4990 + 1001]


def test_small_messages_behind_a_large_one_have_the_whole_limit_for_themselves() -> None:
    _, writer, overflows = blocked(limit=1000)
    writer.write_now(bytes(5000))
    writer.write_now(bytes(999))
    assert overflows == []
    writer.write_now(b"1")
    assert overflows == [6001]


def test_of_two_messages_larger_than_the_limit_one_is_too_many() -> None:
    _, writer, overflows = blocked(limit=1000)
    writer.write_now(bytes(5000))
    writer.write_now(bytes(5000))
    assert len(overflows) == 1


def test_a_large_message_may_follow_the_end_of_another() -> None:
    socket = FakeSocket(room=4500)
    writer = writer_on(socket, 1000)
    overflows: list[int] = []
    writer.on_overflow = overflows.append
    writer.write_now(bytes(5000))
    assert writer.waiting_bytes == 500
    writer.write_now(bytes(5000))
    writer.write_now(bytes(500))
    assert overflows == []
    writer.write_now(b"1")
    assert overflows == [6001]


@pytest.mark.parametrize("limit", [1024, 64 * KIB, 1024 * KIB])
@pytest.mark.parametrize("part", [0.5, 0.93, 0.94, 0.99, 1, 1.01])
def test_while_there_is_room_one_more_message_is_no_overflow(limit: int, part: float) -> None:
    socket = FakeSocket(room=0)
    writer = writer_on(socket, limit)
    overflows: list[int] = []
    writer.on_overflow = overflows.append
    while writer.is_writable:
        writer.write_now(b"x" * (limit // 100))
    socket.give_room(limit // 100 + 1)
    socket.room = 0
    assert writer.is_writable
    writer.write_now(bytes(int(limit * part)))
    assert overflows == []
    assert not writer.is_writable


def test_a_client_that_caught_up_may_be_sent_a_large_message_again() -> None:
    socket, writer, overflows = blocked(limit=1000)
    for _ in range(3):
        writer.write_now(bytes(5000))
        socket.give_room(6000)
        socket.room = 0
        writer.write_now(b"1")
    assert overflows == []


def test_a_client_that_caught_up_has_the_plain_limit_again() -> None:
    socket, writer, overflows = blocked(limit=1000)
    writer.write_now(bytes(5000))
    socket.give_room(5001)
    socket.room = 0
    writer.write_now(bytes(600))
    writer.write_now(bytes(401))
    assert overflows == [1001]


def test_a_turn_that_makes_more_than_the_limit_for_one_client_is_an_overflow() -> None:
    socket = FakeSocket(room=300 * KIB)
    writer = writer_on(socket, 1024 * KIB)
    overflows: list[int] = []
    writer.on_overflow = lambda _: overflows.append(writer.discard_backlog())
    for _ in range(2000):
        writer.send(bytes(KIB))
    writer.cork.flush()
    assert len(overflows) == 1
    # The transport was handed a chunk at most; all else could be dropped.
    assert writer.waiting_bytes <= 128 * KIB


def test_a_turn_that_makes_more_than_the_limit_is_fine_if_the_socket_takes_it() -> None:
    socket = FakeSocket()
    writer = writer_on(socket, 1024 * KIB)
    overflows: list[int] = []
    writer.on_overflow = overflows.append
    for _ in range(2000):
        writer.send(bytes(KIB))
    writer.cork.flush()
    assert (len(socket.sent), overflows) == (2000 * KIB, [])


def test_a_discarded_backlog_is_never_sent_and_no_longer_counted() -> None:
    socket, writer, _ = blocked()
    writer.write_now(b"12345")
    assert writer.discard_backlog() == 5
    assert writer.waiting_bytes == 1
    writer.write_now(b"last words")
    socket.give_room()
    assert bytes(socket.sent) == b"!last words"


def test_without_a_limit_any_amount_may_wait() -> None:
    _, writer, overflows = blocked()
    for _ in range(100):
        writer.write_now(bytes(100 * KIB))
    assert (overflows, writer.waiting_bytes) == ([], 1 + 10000 * KIB)


# ---------------------------------------------------------------- producers


def test_a_producer_is_paused_when_more_than_64_kib_wait() -> None:
    _, writer, _ = blocked()
    feeder = Feeder()
    writer.register_producer(feeder)
    writer.write_now(bytes(HIGH_BYTES - 1))
    assert feeder.calls == []
    writer.write_now(b"1")
    assert feeder.calls == ["pause"]


def test_a_producer_is_paused_once_and_resumed_when_all_is_sent() -> None:
    socket, writer, _ = blocked()
    feeder = Feeder()
    writer.register_producer(feeder)
    writer.write_now(bytes(HIGH_BYTES))
    writer.write_now(bytes(HIGH_BYTES))
    assert feeder.calls == ["pause"]
    socket.give_room()
    assert feeder.calls == ["pause", "resume"]


def test_a_producer_is_paused_when_one_write_leaves_more_than_64_kib() -> None:
    writer = writer_on(FakeSocket(room=100))
    feeder = Feeder()
    writer.register_producer(feeder)
    writer.write_now(bytes(HIGH_BYTES + 101))
    assert feeder.calls == ["pause"]


def test_a_producer_is_not_resumed_while_the_transport_holds_more_than_64_kib() -> None:
    socket, writer, _ = blocked()
    feeder = Feeder()
    writer.register_producer(feeder)
    for _ in range(4):
        writer.write_now(bytes(30 * KIB))
    # The first byte is sent; the 120 KiB behind it become the transport's, in one piece.
    socket.give_room(1 + 10 * KIB)
    assert (feeder.calls, writer.waiting_bytes) == (["pause"], 110 * KIB)
    socket.give_room()
    assert feeder.calls == ["pause", "resume"]


def test_a_producer_that_comes_late_is_paused_at_once() -> None:
    _, writer, _ = blocked()
    writer.write_now(bytes(HIGH_BYTES))
    feeder = Feeder()
    writer.register_producer(feeder)
    assert feeder.calls == ["pause"]


def test_a_producer_that_left_is_told_nothing_more() -> None:
    socket, writer, _ = blocked()
    feeder = Feeder()
    writer.register_producer(feeder)
    writer.unregister_producer()
    writer.write_now(bytes(HIGH_BYTES))
    socket.give_room()
    socket.end()
    assert feeder.calls == []


def test_a_producer_is_stopped_when_the_connection_is_lost() -> None:
    socket, writer, _ = blocked()
    feeder = Feeder()
    writer.register_producer(feeder)
    socket.end()
    assert feeder.calls == ["stop"]


def test_a_producer_of_a_closed_writer_is_stopped() -> None:
    writer = writer_on(FakeSocket())
    writer.close()
    feeder = Feeder()
    writer.register_producer(feeder)
    assert feeder.calls == ["stop"]


# ---------------------------------------------------------------- the end


def test_closing_sends_what_waits_first() -> None:
    socket, writer, _ = blocked()
    writer.write_now(b"12345")
    writer.send(b"678")
    writer.close()
    assert not socket.is_closed
    socket.give_room()
    assert bytes(socket.sent) == b"!12345678"
    assert socket.is_closed


def test_closing_a_writer_with_nothing_to_send_closes_at_once() -> None:
    socket = FakeSocket()
    writer = writer_on(socket)
    writer.send(b"bye")
    writer.close()
    socket.turn()
    assert (bytes(socket.sent), socket.is_closed) == (b"bye", True)


def test_a_lingering_close_ends_our_direction_and_reads_on() -> None:
    socket = FakeSocket()
    writer = writer_on(socket)
    writer.send(b"bye")
    writer.close(linger=True)
    socket.turn()
    assert bytes(socket.sent) == b"bye"
    assert socket.is_half_closed
    assert socket.is_reading
    assert not socket.is_closed


def test_after_the_close_nothing_is_sent_any_more() -> None:
    socket = FakeSocket()
    writer = writer_on(socket)
    writer.close(linger=True)
    writer.close()
    writer.write_now(b"too late")
    socket.turn()
    assert (bytes(socket.sent), writer.pending, socket.is_closed) == (b"", [], False)


def test_a_lost_connection_leaves_nothing_behind() -> None:
    socket, writer, _ = blocked()
    writer.write_now(b"12345")
    writer.send(b"678")
    socket.end()
    writer.write_now(b"9")
    assert (writer.waiting_bytes, writer.pending) == (0, [])


# ---------------------------------------------------------------- TLS and other push transports


def on_push_transport(limit: int | None = None) -> tuple[PushTransport, ConnectionWriter]:
    transport = PushTransport()
    writer = ConnectionWriter(transport, Cork())
    writer.max_backlog_bytes = limit
    return transport, writer


def test_a_push_transport_is_written_to_until_it_says_stop() -> None:
    transport, writer = on_push_transport()
    writer.write_now(bytes(HIGH_BYTES))
    writer.write_now(b"1")  # with this it says stop
    writer.write_now(b"2")
    assert len(transport.held) == HIGH_BYTES + 1
    assert writer.waiting_bytes == HIGH_BYTES + 1
    assert len(transport.drain()) == HIGH_BYTES + 1
    assert (transport.drain(), writer.waiting_bytes) == (b"2", 0)


def test_the_limit_holds_behind_a_push_transport() -> None:
    _, writer = on_push_transport(limit=100 * KIB)
    overflows: list[int] = []
    writer.on_overflow = overflows.append
    writer.write_now(bytes(HIGH_BYTES + 1))
    writer.write_now(bytes(20 * KIB))
    assert overflows == []
    writer.write_now(bytes(20 * KIB))
    assert overflows == [HIGH_BYTES + 40 * KIB]


def test_a_producer_behind_a_push_transport_is_paused_and_resumed() -> None:
    transport, writer = on_push_transport()
    feeder = Feeder()
    writer.register_producer(feeder)
    writer.write_now(bytes(HIGH_BYTES + 1))
    writer.write_now(b"1")
    assert feeder.calls == ["pause"]
    transport.drain()
    assert feeder.calls == ["pause", "resume"]


def test_a_push_transport_is_closed_whole() -> None:
    transport, writer = on_push_transport()
    writer.send(b"bye")
    writer.close(linger=True)
    assert (transport.drain(), transport.disconnecting) == (b"bye", True)


# ---------------------------------------------------------------- large frames


def test_a_large_frame_waits_without_a_copy() -> None:
    socket, writer, _ = blocked()
    body = bytes(4096 * KIB)
    writer.send_large(LargeFrame(b"head", body, b"end"))
    writer.cork.flush()
    assert writer.waiting_bytes == 1 + 7 + len(body)
    socket.give_room(500 * KIB)
    while socket.is_writing:
        assert len(socket.sent) + writer.waiting_bytes == 1 + 7 + len(body)
        socket.give_room(500 * KIB)
    assert bytes(socket.sent) == b"!head" + body + b"end"


def test_what_is_dropped_begins_behind_a_large_frame_that_is_on_its_way() -> None:
    socket, writer, _ = blocked()
    first, second = LargeFrame(b"1", bytes(600 * KIB)), LargeFrame(b"2", bytes(600 * KIB))
    writer.send_large(first)
    writer.send_large(second)
    writer.cork.flush()
    socket.give_room(300 * KIB)
    assert writer.discard_backlog() == len(second)
    writer.send(b"ERROR")
    writer.cork.flush()
    while socket.is_writing:
        socket.give_room(300 * KIB)
    assert bytes(socket.sent) == b"!" + bytes(first) + b"ERROR"
    assert writer.waiting_bytes == writer.cork.budget.used == 0


@pytest.mark.parametrize("data", [LargeFrame(bytes(900 * KIB)), bytes(900 * KIB)])
def test_closing_sends_the_rest_of_a_large_frame(data: LargeFrame | bytes) -> None:
    socket = FakeSocket(room=300 * KIB)
    writer = writer_on(socket)
    writer.send_large(data)
    writer.cork.flush()
    writer.send(b"bye")
    writer.close(linger=True)
    while socket.is_writing:
        socket.give_room(300 * KIB)
    assert bytes(socket.sent) == bytes(900 * KIB) + b"bye"


def test_one_large_message_may_be_larger_than_the_limit() -> None:
    socket, writer, overflows = blocked(100 * KIB)
    socket.give_room()
    socket.take = lambda size: 0
    writer.send_large(LargeFrame(b"head", bytes(400 * KIB)))
    writer.cork.flush()
    assert overflows == []
    writer.send(bytes(110 * KIB))
    writer.cork.flush()
    assert len(overflows) == 1


# ---------------------------------------------------------------- any order of events


@st.composite
def steps(draw: st.DrawFn) -> list[tuple[str, int]]:
    kinds = st.sampled_from(["write", "gather", "large", "flush", "room"])
    sizes = st.one_of(st.integers(0, 40), st.integers(0, 300 * KIB))
    return draw(st.lists(st.tuples(kinds, sizes), max_size=40))


@given(steps(), st.randoms(use_true_random=False))
def test_every_byte_is_sent_once_and_in_order_however_the_socket_takes_them(
    script: list[tuple[str, int]], random: object
) -> None:
    socket = FakeSocket(room=0)
    randint: Callable[[int, int], int] = random.randint  # type: ignore[attr-defined]
    socket.take = lambda size: randint(0, size)
    writer = writer_on(socket)
    written = bytearray()
    for kind, size in script:
        data = bytes((len(written) + each) * 31 % 251 for each in range(min(size, 40)))
        data += bytes(size - len(data))
        if kind == "write":
            writer.write_now(data)
            written += data
        elif kind == "gather":
            writer.send(data)
            written += data
        elif kind == "large":
            writer.send_large(LargeFrame(data[: size // 3], data[size // 3 :]))
            written += data
        elif kind == "flush":
            writer.cork.flush()
        else:
            socket.give_room(size)
        sent = len(socket.sent)
        assert bytes(socket.sent) == bytes(written[:sent])
        gathered = sum(map(len, writer.pending))
        # What the transport holds counts as long as any of it is there.
        assert writer.waiting_bytes >= len(written) - gathered - sent
    writer.cork.flush()
    socket.take = lambda size: size
    socket.give_room()
    assert bytes(socket.sent) == bytes(written)
    assert writer.waiting_bytes == 0


SIZES = st.sampled_from([1, 7, 100, 3000, 20 * KIB, 150 * KIB, 250 * KIB])
DELIVERIES = st.lists(
    st.tuples(
        st.lists(SIZES, min_size=1, max_size=1) | st.lists(SIZES, min_size=1, max_size=4),
        st.sampled_from([0, 0, 0, 1, 5000, 1 << 60]),
    )
    | st.sampled_from(["break", "close"]),
    min_size=2,
    max_size=8,
)


@example([([3000], 0), ([1], 0)], 100, Random(4))
@given(
    DELIVERIES, st.sampled_from([None, 100, 10 * KIB, 400 * KIB]), st.randoms(use_true_random=False)
)
def test_what_is_shared_goes_out_as_what_is_gathered(
    deliveries: list[tuple[list[int], int] | str], limit: int | None, random: Random
) -> None:
    """``flush_shared`` writes the send attempt out; it must do what ``flush`` does."""
    room = random.choice([0, 1000])
    sockets = [FakeSocket(room), FakeSocket(room)]
    writers = [writer_on(socket, limit) for socket in sockets]
    overflows: list[list[int]] = [[], []]
    for writer, told in zip(writers, overflows, strict=True):
        writer.on_overflow = told.append

    def moody(seed: int) -> Callable[[int], int]:
        """Take a part, all, or refuse; the same for both sockets."""
        own = Random(seed)

        def take(size: int) -> int:
            if own.random() < 0.2:
                raise BlockingIOError
            return own.choice([0, 1, size // 2, size, size])

        return take

    for number, step in enumerate(deliveries):
        if isinstance(step, str):
            for socket, writer in zip(sockets, writers, strict=True):
                if step == "break":
                    socket.is_broken = True
                else:
                    writer.close()
        else:
            sizes, room = step
            batch = [bytes([number]) * size for size in sizes]
            seed = random.getrandbits(32)
            for socket in sockets:
                socket.take = moody(seed)
            writers[0].flush_shared(b"".join(batch), list(batch))
            writers[1].pending += batch
            writers[1].flush()
            for socket in sockets:
                socket.take = lambda size: size  # the reactor's own sends never raise
                socket.give_room(room)
        shared, gathered = (
            (bytes(socket.sent), socket.is_writing, socket.is_closed) for socket in sockets
        )
        assert shared == gathered
        assert writers[0].waiting_bytes == writers[1].waiting_bytes
        assert writers[0].is_writable == writers[1].is_writable
        assert writers[0].cork.budget.used == writers[1].cork.budget.used
        assert overflows[0] == overflows[1]


@given(st.lists(st.integers(0, 100 * KIB), max_size=30), st.integers(1, 300 * KIB))
def test_every_byte_passes_a_push_transport_once_and_in_order(
    sizes: list[int], high_bytes: int
) -> None:
    transport = PushTransport(high_bytes)
    writer = ConnectionWriter(transport, Cork())
    written = b"".join(bytes([index]) * size for index, size in enumerate(sizes))
    received = b""
    for index, size in enumerate(sizes):
        writer.write_now(bytes([index]) * size)
        if size % 3 == 0:
            received += transport.drain()
    writer.close()
    while data := transport.drain():
        received += data
    assert received == written
