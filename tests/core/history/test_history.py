"""Stored messages: none is delivered before it is written, and none is missed afterwards."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from support.core import Listener, RecordingOutbound, bodies, errors
from support.history import KEPT, Keeper, offsets
from support.stomp import frame_bytes

from rtchat.core.broker.message import Message
from rtchat.core.chat.gate import open_chat
from rtchat.core.chat.limits import ChatPolicy
from rtchat.core.flow.outbound import HIGH_WATER_BYTES, RAW, Cork, Framing
from rtchat.core.flow.turns import TURN_WORK
from rtchat.core.history.rules import HistoryLimits, HistoryRule, HistoryRules
from rtchat.core.history.store import Row, Trim, Trimmed
from rtchat.core.session.connection import CloseReason
from rtchat.core.stomp.frames import Version
from rtchat.net.json_codec import JSON

CHAT = "/topic/chat"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Keeper]:
    server = Keeper(tmp_path / "history.sqlite")
    yield server
    for client in server.clients:
        client.drop()
    server.settle()
    assert server.broker.statistics.subscription_count == server.broker.statistics.topic_count == 0
    assert server.broker.budget.used == 0 or server.broker.statistics.queued_count


# ---------------------------------------------------------------- visible is what is stored


def test_nobody_sees_a_message_before_it_is_written(server: Keeper) -> None:
    reader, publisher = server.client(), server.client()
    reader.subscribe(CHAT)
    publisher.say("SEND", "hello", destination=CHAT, receipt="1")
    assert reader.received() == publisher.received() == []
    server.settle()
    message = reader.message()
    assert message.body == b"hello"
    assert message.headers["x-stream-offset"] == "0"
    assert message.headers["x-stream-epoch"] == server.store.file.snapshot.epoch
    assert publisher.receipts() == ["1"]


def test_a_batch_for_many_subscriptions_is_delivered_in_turns(server: Keeper) -> None:
    reader, publisher = server.client(max_of_destination=1000), server.client()
    for number in range(100):
        reader.subscribe(CHAT, str(number))
    publisher.send(
        b"".join(
            frame_bytes("SEND", b"%d" % number, destination=CHAT, receipt=str(number))
            for number in range(150)
        )
    )
    cork, turns = server.broker.cork, 1
    server.store.fulfil()
    while cork.later:
        assert cork.work <= TURN_WORK + 1000
        cork.flush()
        late = frame_bytes("SEND", b"late", destination=CHAT, receipt="late")
        publisher.session.receive(late)
        cork.flush()
        cork.run_later()
        turns += 1
    assert turns > 10
    cork.flush()
    server.settle()
    assert bodies(reader.messages())[:15_000:100] == list(map(str, range(150)))
    assert publisher.receipts() == [*map(str, range(150)), *["late"] * (turns - 1)]


def test_between_two_turns_of_a_batch_its_streams_stay(server: Keeper) -> None:
    """Also a new one that has nothing more to come, and is sent what is refused."""
    reader, publisher = server.client(max_of_destination=1000), server.client()
    for number in range(1000):
        reader.subscribe(CHAT, str(number))
    first = frame_bytes("SEND", b"first", destination="/topic/chat.new")
    publisher.send(first + frame_bytes("SEND", b"x", destination=CHAT) * 10)
    cork = server.broker.cork
    server.store.fulfil()
    cork.flush()
    assert cork.later
    stream = server.history.known("/topic/chat.new")
    assert stream is not None
    server.history.refused([stream])
    server.end_turn()
    server.settle()
    assert server.listen("/topic/chat.new").message().body == b"first"


def test_all_that_comes_while_a_batch_is_written_is_the_next_one(server: Keeper) -> None:
    reader, publisher = server.client(), server.client()
    reader.subscribe(CHAT)
    for number in range(7):
        publisher.say("SEND", str(number), destination=CHAT)
    server.settle()
    assert server.store.writes == [1, 6]
    assert reader.bodies() == list("0123456")


def test_receipts_stay_in_order(server: Keeper) -> None:
    publisher = server.client()
    publisher.say("SEND", "kept", destination=CHAT, receipt="1")
    publisher.say("SEND", "not kept", destination="/topic/other", receipt="2")
    publisher.say("BEGIN", transaction="t", receipt="3")
    assert publisher.receipts() == []
    server.settle()
    assert publisher.receipts() == ["1", "2", "3"]


def test_a_receipt_waits_for_no_later_message(server: Keeper) -> None:
    publisher = server.client()
    publisher.say("SEND", "a", destination=CHAT, receipt="1")
    publisher.say("SEND", "b", destination=CHAT, receipt="2")
    server.store.step()
    assert publisher.receipts() == ["1"]
    server.store.step()
    assert publisher.receipts() == ["2"]


def test_disconnect_waits_for_what_was_sent(server: Keeper) -> None:
    publisher = server.client()
    publisher.say("SEND", "a", destination=CHAT)
    publisher.say("DISCONNECT", receipt="bye")
    assert publisher.received() == []
    assert publisher.close_reason is None
    server.settle()
    assert publisher.receipts() == ["bye"]
    assert publisher.close_reason is CloseReason.DONE


def test_a_subscription_comes_after_what_its_session_has_sent(server: Keeper) -> None:
    client = server.client()
    client.send(
        frame_bytes("SEND", b"mine", destination=CHAT)
        + frame_bytes("SUBSCRIBE", id="0", destination=CHAT, receipt="s")
        + frame_bytes("SEND", b"mine, too", destination=CHAT)
    )
    assert client.is_waiting
    server.settle()
    receipt, message = client.received()
    assert receipt.headers["x-stream-offset"] == "1"
    assert message.body == b"mine, too"


def test_a_message_that_is_too_fast_waits_for_its_time_and_not_for_the_file(server: Keeper) -> None:
    open_chat(server.broker, ChatPolicy(messages_per_second=1.0, burst=2), JSON)
    client = server.client()
    client.say("SEND", "1", destination=CHAT)
    client.say("SUBSCRIBE", id="0", destination=CHAT)
    assert client.is_waiting, "for the file"
    server.settle()
    client.send(
        frame_bytes("SEND", b"2", destination=CHAT) + frame_bytes("SEND", b"3", destination=CHAT)
    )
    assert client.line.delays_s, "it is too fast"
    server.settle()
    assert client.bodies() == ["2"]
    server.advance(client.line.delays_s[0])
    client.session.resume()
    server.end_turn()
    server.settle()
    assert client.bodies() == ["3"]


def test_an_unsubscribe_comes_after_what_its_session_has_sent(server: Keeper) -> None:
    client = server.client()
    client.subscribe(CHAT)
    client.say("SEND", "mine", destination=CHAT)
    client.say("UNSUBSCRIBE", id="0")
    server.settle()
    assert client.bodies() == ["mine"]
    assert server.broker.statistics.subscription_count == 0


def test_a_message_arrives_though_its_publisher_has_gone(server: Keeper) -> None:
    reader, publisher = server.client(), server.client()
    reader.subscribe(CHAT)
    publisher.say("SEND", "last words", destination=CHAT)
    publisher.drop()
    server.settle()
    assert reader.bodies() == ["last words"]


def test_a_client_that_waits_may_go(server: Keeper) -> None:
    client = server.client()
    client.say("SEND", "a", destination=CHAT)
    client.say("SUBSCRIBE", id="0", destination=CHAT)
    assert client.is_waiting
    client.drop()
    server.settle()
    assert server.broker.statistics.subscription_count == 0


def test_a_publisher_that_is_faster_than_the_file_is_not_read(server: Keeper) -> None:
    publisher = server.client()
    large = "x" * 3_000_000
    publisher.say("SEND", large, destination=CHAT)
    assert not publisher.is_waiting
    publisher.say("SEND", large, destination=CHAT, receipt="2")
    assert publisher.is_waiting
    assert server.broker.budget.used > 6_000_000
    publisher.say("SEND", "later", destination=CHAT, receipt="3")
    assert len(publisher.unread) == 1
    server.settle()
    assert not publisher.is_waiting
    assert publisher.receipts() == ["2", "3"]
    assert server.broker.budget.used == 0


def test_the_message_log_gets_what_was_written(server: Keeper) -> None:
    logged: list[Message] = []
    server.broker.events.add(Listener(logged.append))
    publisher = server.client()
    publisher.say("SEND", "a", destination=CHAT)
    publisher.say("SEND", "b", destination="/topic/other")
    assert [message.body for message in logged] == [b"b"]
    server.settle()
    assert [message.body for message in logged] == [b"b", b"a"]


# ---------------------------------------------------------------- what cannot be written


def test_a_message_that_cannot_be_written_was_never_there(server: Keeper) -> None:
    reader, publisher, next_one = server.client(), server.client(), server.client()
    reader.subscribe(CHAT)
    server.store.broken = "database or disk is full"
    publisher.say("SEND", "lost", destination=CHAT, receipt="1")
    publisher.say("SEND", "lost, too", destination=CHAT, receipt="2")
    server.settle()
    [error] = publisher.received()
    assert errors([error]) == ["history cannot be written"]
    assert error.headers["receipt-id"] == "1"
    assert b"no client has received it" in error.body
    assert publisher.close_reason is CloseReason.STORAGE
    assert reader.received() == []
    assert server.broker.budget.used == server.broker.budget.held

    server.store.broken = ""
    next_one.say("SEND", "kept", destination=CHAT, receipt="3")
    server.settle()
    assert next_one.receipts() == ["3"]
    assert offsets(reader.messages()) == [0]


def test_only_the_publishers_of_the_batch_are_told(server: Keeper) -> None:
    one, other = server.client(), server.client()
    one.say("SEND", "a", destination=CHAT, receipt="1")
    server.store.broken = "disk I/O error"
    server.store.step()
    server.store.broken = ""
    other.say("SEND", "b", destination=CHAT, receipt="2")
    server.settle()
    assert errors(one.received()) == ["history cannot be written"]
    assert other.receipts() == ["2"]


def test_a_subscriber_learns_that_the_file_cannot_be_read(server: Keeper) -> None:
    server.fill(CHAT, 3)
    server = server.stop()
    server.store.broken = "disk I/O error"
    reader = server.listen(CHAT)
    assert errors(reader.received()) == ["history cannot be read"]
    assert reader.close_reason is CloseReason.STORAGE
    server.store.broken = ""
    assert server.listen(CHAT).bodies() == list("012")
    server.stop()


# ---------------------------------------------------------------- what is damaged


def damage(server: Keeper, first: int, end: int, stream: int = 1) -> Keeper:
    """Take messages out of the file behind the server's back, and start it again."""
    server = server.stop()
    server.store.file._db.execute(
        "DELETE FROM message WHERE place - (? << 40) BETWEEN ? AND ?", (stream, first, end - 1)
    )
    return server


def test_what_can_be_read_comes_and_the_gap_is_told(server: Keeper) -> None:
    server.fill(CHAT, 20)
    server = damage(server, 5, 9)
    reader = server.listen(CHAT)
    found = reader.messages()
    assert offsets(found) == [*range(5), *range(9, 20)]
    told = {
        frame.headers["x-stream-offset"]: frame.headers.get("x-stream-unreadable")
        for frame in found
    }
    assert {offset: count for offset, count in told.items() if count} == {"9": "4"}
    server.fill(CHAT, 1, 20)
    [live] = reader.messages()
    assert (live.body, live.headers["x-stream-offset"]) == (b"20", "20")
    assert server.history.damaged_names == [CHAT]


def test_what_is_known_to_be_lost_is_not_asked_for_again(tmp_path: Path) -> None:
    server = Keeper(tmp_path / "x.sqlite", [HistoryRule("/topic/chat*", 2000)])
    server.fill(CHAT, 600)
    server = damage(server, 100, 400)
    server = damage(server, 500, 501)
    first = server.listen(CHAT).messages()
    reads: list[tuple[int, int, int]] = []
    read = server.store.file.read

    def counted(stream: int, first: int, end: int) -> list[Row]:
        reads.append((stream, first, end))
        return read(stream, first, end)

    server.store.file._salvage._read = counted
    again = server.listen(CHAT).messages()
    assert [(m.body, m.headers.get("x-stream-unreadable")) for m in again] == [
        (m.body, m.headers.get("x-stream-unreadable")) for m in first
    ]
    assert reads == []


def test_a_search_in_a_long_history_goes_on_in_later_turns(tmp_path: Path) -> None:
    server = Keeper(tmp_path / "x.sqlite", [HistoryRule("/topic/chat*", 5000)])
    server.fill(CHAT, 4000)
    server.listen(CHAT).drop()
    work: list[int] = []
    cork = server.broker.cork
    run_later = type(cork).run_later

    class Noting(type(cork)):  # type: ignore[misc]
        def run_later(self) -> None:
            run_later(self)
            work.append(self.work)

        __slots__ = ()

    cork.__class__ = Noting
    reader = server.listen(CHAT, selector="n = 'none'")
    assert len(work) >= 5
    assert max(work) < TURN_WORK + 1000
    server.client().publish(CHAT, "live", n="none")
    server.settle()
    assert reader.bodies() == ["live"]


def test_damage_over_many_pages_and_to_the_end_ends_in_live_messages(tmp_path: Path) -> None:
    server = Keeper(tmp_path / "x.sqlite", [HistoryRule("/topic/chat*", 2000)])
    server.fill(CHAT, 1000)
    server = damage(server, 100, 1000)
    reader = server.listen(CHAT)
    assert offsets(reader.messages()) == list(range(100))
    server.fill(CHAT, 2, 1000)
    first, second = reader.messages()
    assert offsets([first, second]) == [1000, 1001]
    assert first.headers["x-stream-unreadable"] == "900"
    assert "x-stream-unreadable" not in second.headers


@pytest.mark.parametrize("offset, answer", [(3, "false"), (7, "false"), (9, "true"), (12, "true")])
def test_who_comes_back_learns_of_damage_as_soon_as_it_is_known(
    server: Keeper, offset: int, answer: str
) -> None:
    server.fill(CHAT, 20)
    epoch = server.listen(CHAT).messages()[0].headers["x-stream-epoch"]
    server = damage(server, 5, 9)
    for is_known in (False, True):
        reader = server.listen(CHAT, f"offset={offset}", x_stream_epoch=epoch, receipt="r")
        frames = reader.received()
        [receipt] = [frame for frame in frames if frame.command == "RECEIPT"]
        found = [frame for frame in frames if frame.command == "MESSAGE"]
        assert offsets(found) == [n for n in range(offset, 20) if not 5 <= n < 9]
        if is_known:
            # The page of 256 offsets is what the server knows to be damaged.
            assert receipt.headers["x-stream-recovered"] == "false"
            assert receipt.headers["x-stream-damaged"] == "true"
        else:
            assert receipt.headers["x-stream-recovered"] == "true"
            gaps = [frame for frame in found if "x-stream-unreadable" in frame.headers]
            assert len(gaps) == (offset < 9)
        if offset == 7 and not is_known:
            assert found[0].headers["x-stream-recovered"] == "false"


@pytest.mark.parametrize("start, expected", [(0.0, 16), (1e12, 0)])
def test_a_time_that_cannot_be_looked_up_is_looked_for(
    server: Keeper, start: float, expected: int
) -> None:
    server.fill(CHAT, 20)
    server = damage(server, 5, 9)
    find = server.store.file.find

    def broken(stream: int, since_s: float) -> int | None:
        raise sqlite3.DatabaseError("database disk image is malformed")

    server.store.file.find = broken  # type: ignore[method-assign]
    reader = server.listen(CHAT, f"timestamp={start:.0f}")
    assert len(reader.messages()) == expected
    server.store.file.find = find  # type: ignore[method-assign]
    server.fill(CHAT, 1, 20)


def test_a_disk_that_cannot_be_read_refuses_subscribers_for_a_moment_only(
    tmp_path: Path,
) -> None:
    server = Keeper(tmp_path / "x.sqlite")
    server.fill(CHAT, 300)
    server = server.stop()
    server.store.broken = "disk I/O error"
    for seconds in (0, 5):
        server.advance(seconds)
        assert errors(server.listen(CHAT).received()) == ["history cannot be read"]
    server.advance(6)
    # The second page failed for the first time only now.
    assert errors(server.listen(CHAT).received()) == ["history cannot be read"]
    server.advance(11)
    reader = server.listen(CHAT)
    assert reader.received() == []
    server.store.broken = ""
    server.fill(CHAT, 1, 300)
    [live] = reader.messages()
    assert (live.body, live.headers["x-stream-unreadable"]) == (b"300", "300")
    # What can be read again is read again.
    assert len(server.listen(CHAT).messages()) == 301
    assert server.history.damaged_names == []


@pytest.mark.parametrize("max_bytes", [5_000, 5_000_000])
def test_a_stream_that_cannot_be_trimmed_is_not_tried_with_every_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, max_bytes: int
) -> None:
    limits = HistoryLimits(max_destination_bytes=max_bytes)
    server = Keeper(tmp_path / "x.sqlite", [HistoryRule("/topic/chat*", 10)], limits)
    server.store.file._damaged.add(1)
    trims = 0
    trim = server.store.file.trim

    def counted(some: Sequence[Trim]) -> tuple[list[Trimmed], str]:
        nonlocal trims
        trims += 1
        return trim(some)

    monkeypatch.setattr(server.store.file, "trim", counted)
    for number in range(50):
        server.fill(CHAT, 1, start=number)
    assert trims <= 10
    assert server.listen(CHAT).bodies() == [str(number) for number in range(40, 50)]


def test_damage_that_is_gone_is_forgotten(tmp_path: Path) -> None:
    server = Keeper(tmp_path / "x.sqlite", [HistoryRule("/topic/chat*", 600, 60.0)])
    server.fill(CHAT, 300)
    server = damage(server, 5, 9)
    server.listen(CHAT)
    assert server.history.damaged_names == [CHAT]
    server.advance(50)
    server.fill(CHAT, 1)
    server.advance(20)
    server.expire()
    server.settle()
    assert server.history.damaged_names == []


# ---------------------------------------------------------------- where a subscription begins


@pytest.mark.parametrize("is_restarted", [False, True], ids=["in memory", "after a restart"])
@pytest.mark.parametrize(
    "start, expected",
    [
        ("first", [0, 1, 2, 3, 4, 5]),
        ("last", [4, 5]),
        ("next", [5]),
        ("offset=0", [0, 1, 2, 3, 4, 5]),
        ("offset=3", [3, 4, 5]),
        ("offset=5", [5]),
        ("offset=999999", [5]),
        ("timestamp=0", [0, 1, 2, 3, 4, 5]),
        ("timestamp=1000002", [2, 3, 4, 5]),
        ("timestamp=1000002.5", [3, 4, 5]),
        ("timestamp=2000000", [5]),
    ],
)
def test_a_subscription_begins_where_it_says(
    server: Keeper, start: str, expected: list[int], is_restarted: bool
) -> None:
    for number in range(5):
        server.fill(CHAT, 1, number)
        server.advance(1)
    if is_restarted:
        server = server.stop()
    reader = server.listen(CHAT, start)
    server.fill(CHAT, 1, 5)
    messages = reader.messages()
    assert offsets(messages) == expected
    assert bodies(messages) == [str(offset) for offset in expected]
    if is_restarted:
        server.stop()


def test_without_the_header_it_begins_with_the_next_one(server: Keeper) -> None:
    server.fill(CHAT, 3)
    reader = server.client()
    reader.subscribe(CHAT)
    server.fill(CHAT, 1, 3)
    assert offsets(reader.messages()) == [3]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "FIRST",
        "offset",
        "offset=",
        "offset=-1",
        "offset=x",
        "offset=1.5",
        "timestamp=",
        "timestamp=now",
        "timestamp=1.",
        "offset=" + "9" * 16,
        "first ",
    ],
)
def test_an_offset_that_cannot_be_read_is_an_error(server: Keeper, text: str) -> None:
    reader = server.listen(CHAT, text)
    assert errors(reader.received()) == ["unknown x-stream-offset"]


@pytest.mark.parametrize(
    "destination", ["/topic/other", "/topic/chat.*", "/topic/#", "/queue/chat", "/temp-queue/x"]
)
def test_only_a_topic_with_a_history_can_be_replayed(server: Keeper, destination: str) -> None:
    reader = server.listen(destination, "first")
    [error] = reader.received()
    assert errors([error]) == ["no history here"]
    assert b"[history]" in error.body
    assert server.broker.statistics.subscription_count == 0


@pytest.mark.parametrize(
    "destination", ["/topic/other", "/topic/chat.*", "/topic/#", "/queue/chat", "/temp-queue/x"]
)
def test_next_is_possible_everywhere(server: Keeper, destination: str) -> None:
    assert server.listen(destination, "next", receipt="ok").receipts() == ["ok"]


def test_a_server_without_history_says_so(tmp_path: Path) -> None:
    server = Keeper(tmp_path / "x.sqlite", rules=())
    assert errors(server.listen(CHAT).received()) == ["no history here"]
    client = server.client()
    client.subscribe(CHAT)
    client.say("SEND", "a", destination=CHAT)
    assert "x-stream-offset" not in client.message().headers


# ---------------------------------------------------------------- coming back


@pytest.mark.parametrize(
    "offset, is_all, expected",
    [
        (0, False, [2, 3, 4]),
        (1, False, [2, 3, 4]),
        (2, True, [2, 3, 4]),
        (4, True, [4]),
        (5, True, []),
        (6, False, [2, 3, 4]),
    ],
)
def test_who_comes_back_learns_whether_anything_is_missing(
    tmp_path: Path, offset: int, is_all: bool, expected: list[int]
) -> None:
    server = Keeper(tmp_path / "x.sqlite", [HistoryRule(CHAT, 3)])
    server.fill(CHAT, 5)
    epoch = server.store.file.snapshot.epoch
    text = "true" if is_all else "false"
    reader = server.listen(CHAT, f"offset={offset}", x_stream_epoch=epoch, receipt="back")
    server.fill(CHAT, 2, 5)
    receipt, *messages = sorted(reader.received(), key=lambda frame: frame.command == "MESSAGE")
    assert receipt.headers == {
        "receipt-id": "back",
        "x-stream-epoch": epoch,
        "x-stream-offset": "5",
        "x-stream-recovered": text,
    }
    assert offsets(messages) == [*expected, 5, 6]
    marks = [message.headers.get("x-stream-recovered") for message in messages]
    assert marks == [text, *[None] * (len(messages) - 1)]
    # From its second message on it takes part like all other subscribers.
    assert not server.history._replays


def test_another_epoch_is_never_recovered(server: Keeper) -> None:
    server.fill(CHAT, 3)
    reader = server.listen(CHAT, "offset=3", x_stream_epoch="older")
    messages = reader.messages()
    assert offsets(messages) == [0, 1, 2]
    assert messages[0].headers["x-stream-recovered"] == "false"


def test_without_an_epoch_nothing_is_said(server: Keeper) -> None:
    server.fill(CHAT, 3)
    messages = server.listen(CHAT, "offset=1").messages()
    assert all("x-stream-recovered" not in message.headers for message in messages)


def test_an_epoch_beside_another_start_says_nothing(server: Keeper) -> None:
    server.fill(CHAT, 1)
    epoch = server.store.file.snapshot.epoch
    [message] = server.listen(CHAT, "first", x_stream_epoch=epoch).messages()
    assert "x-stream-recovered" not in message.headers


def test_who_waits_for_its_first_message_can_leave(server: Keeper) -> None:
    epoch = server.store.file.snapshot.epoch
    reader = server.listen(CHAT, "offset=0", x_stream_epoch=epoch)
    reader.unsubscribe()
    server.fill(CHAT, 1)
    assert reader.received() == []


def test_an_epoch_survives_a_restart_and_offsets_go_on(server: Keeper, tmp_path: Path) -> None:
    server.fill(CHAT, 2)
    epoch = server.store.file.snapshot.epoch
    server = server.stop()
    server.fill(CHAT, 2, 2)
    server = server.kill(tmp_path)
    messages = server.listen(CHAT).messages()
    assert offsets(messages) == [0, 1, 2, 3]
    assert {message.headers["x-stream-epoch"] for message in messages} == {epoch}
    server.stop()


def test_a_destination_whose_messages_have_gone_goes_on_counting(server: Keeper) -> None:
    server.fill(CHAT, 3)
    server.advance(8 * 86400)
    server.expire()
    server.settle()
    assert server.history.names() == []
    server = server.stop()
    server.fill(CHAT, 1, 3)
    messages = server.listen(CHAT).messages()
    assert offsets(messages) == [3]
    server.stop()


# ---------------------------------------------------------------- while a replay goes on


def test_a_reader_that_does_not_read_is_paused_not_cut(server: Keeper) -> None:
    server.fill(CHAT, 50)
    reader = server.client()
    reader.stall()
    reader.say("SUBSCRIBE", id="0", destination=CHAT, x_stream_offset="first")
    server.settle()
    assert reader.received() == []
    server.fill(CHAT, 50, 50)
    assert reader.received() == []
    reader.read_on()
    server.settle()
    assert offsets(reader.messages()) == list(range(100))
    server.fill(CHAT, 1, 100)
    assert offsets(reader.messages()) == [100]
    assert reader.close_reason is None


class MeasuringOutbound(RecordingOutbound):
    """Remembers how much left at once."""

    __slots__ = ("most",)

    def __init__(self, cork: Cork, framing: Framing = RAW) -> None:
        super().__init__(cork, framing)
        self.most = 0

    def flush(self) -> None:
        self.most = max(self.most, sum(map(len, self.pending)))
        super().flush()


class MeasuringKeeper(Keeper):
    outbound_type = MeasuringOutbound


def test_no_more_than_there_is_room_for_is_handed_out_at_once(tmp_path: Path) -> None:
    server = MeasuringKeeper(tmp_path / "x.sqlite")
    publisher = server.client()
    for _ in range(40):
        publisher.say("SEND", "x" * 10_000, destination=CHAT)
    server.settle()
    reader = server.listen(CHAT)
    assert len(reader.messages()) == 40
    assert isinstance(reader.outbound, MeasuringOutbound)
    assert HIGH_WATER_BYTES < reader.outbound.most < HIGH_WATER_BYTES + 11_000


@pytest.mark.parametrize("version", list(Version))
def test_acknowledgements_and_prefetch_hold_for_what_is_replayed(
    server: Keeper, version: Version
) -> None:
    server.fill(CHAT, 5)
    reader = server.listen(CHAT, "first", version, ack="client-individual", prefetch_count="2")
    first = reader.messages()
    assert offsets(first) == [0, 1]
    server.fill(CHAT, 1, 5)
    seen = [0, 1]
    while first:
        reader.ack(first.pop(0))
        more = reader.messages()
        seen += offsets(more)
        first += more
    assert seen == [0, 1, 2, 3, 4, 5]
    server.fill(CHAT, 1, 6)
    assert offsets(reader.messages()) == [6]


def test_a_cumulative_ack_reaches_from_the_replay_into_live_messages(server: Keeper) -> None:
    server.fill(CHAT, 2)
    reader = server.listen(CHAT, "first", ack="client", prefetch_count="4")
    server.fill(CHAT, 3, 2)
    messages = reader.messages()
    assert offsets(messages) == [0, 1, 2, 3]
    reader.ack(messages[2])
    assert offsets(reader.messages()) == [4]


def test_a_selector_holds_for_what_is_replayed(server: Keeper) -> None:
    publisher = server.client()
    for number in range(10):
        publisher.say("SEND", str(number), destination=CHAT, even=str(number % 2 == 0))
    server.settle()
    assert server.listen(CHAT, "offset=3", selector="even = 'True'").bodies() == ["4", "6", "8"]
    server = server.stop()
    assert server.listen(CHAT, "offset=3", selector="even = 'True'").bodies() == ["4", "6", "8"]
    server.stop()


def test_what_has_expired_is_not_replayed(server: Keeper) -> None:
    publisher = server.client()
    publisher.say("SEND", "short", destination=CHAT, expiration="1000")
    publisher.say("SEND", "long", destination=CHAT, expiration="100000")
    publisher.say("SEND", "over", destination=CHAT, expires="1")
    server.settle()
    server.advance(2)
    messages = server.listen(CHAT).messages()
    assert bodies(messages) == ["long"]
    assert offsets(messages) == [1]


@pytest.mark.parametrize("slow, is_cut", [("close", True), ("drop-oldest", False)])
def test_a_replay_that_is_overtaken_by_the_limit_says_so(
    tmp_path: Path, slow: str, is_cut: bool
) -> None:
    server = Keeper(tmp_path / "x.sqlite", [HistoryRule(CHAT, 10)])
    server.fill(CHAT, 10)
    reader = server.client()
    more = {"ack": "client", "prefetch_count": "3", "x_slow": slow}
    reader.say("SUBSCRIBE", id="0", destination=CHAT, x_stream_offset="first", **more)
    messages = reader.messages()
    assert offsets(messages) == [0, 1, 2]
    server.fill(CHAT, 10, 10)
    reader.ack(messages[-1])
    frames = reader.received()
    if is_cut:
        assert errors(frames) == ["too slow: 7 messages are no longer kept that were to come next"]
        assert reader.close_reason is CloseReason.SLOW
    else:
        assert offsets(frames) == [10, 11, 12]
        assert [frame.headers.get("x-dropped") for frame in frames] == ["7", None, None]


def test_ten_thousand_messages_come_page_by_page(tmp_path: Path) -> None:
    limits = HistoryLimits(max_memory_bytes=200_000)
    server = Keeper(tmp_path / "x.sqlite", [HistoryRule(CHAT, 10_000)], limits)
    server.fill(CHAT, 10_000)
    assert offsets(server.listen(CHAT).messages()) == list(range(10_000))
    server = server.stop()
    assert offsets(server.listen(CHAT).messages()) == list(range(10_000))
    assert server.history._reader.pages.bytes < 400_000


# ---------------------------------------------------------------- with everything else


def test_a_message_comes_back_from_the_file_as_it_was_sent(server: Keeper) -> None:
    live = server.client()
    live.subscribe(CHAT)
    publisher = server.client()
    headers = {"subject": r"a\cb\\c\nd é", "content-type": "text/plain", "reply-to": "/queue/x"}
    body = bytes(range(256))
    head = {name.replace("-", "_"): value for name, value in headers.items()}
    publisher.say("SEND", body, destination=CHAT, content_length="256", **head)
    publisher.say("SEND", destination=CHAT)
    server.settle()
    seen = live.messages()
    assert server.listen(CHAT).messages() == seen
    server = server.stop()
    assert server.listen(CHAT).messages() == seen
    assert seen[0].body == body
    assert seen[0].headers["subject"] == "a:b\\c\nd é"
    server.stop()


def test_nobody_can_forge_a_place(server: Keeper) -> None:
    client = server.client()
    client.subscribe(CHAT)
    client.say("SEND", "a", destination=CHAT, x_stream_offset="77", x_stream_recovered="true")
    server.settle()
    message = client.message()
    assert message.headers["x-stream-offset"] == "0"
    assert "x-stream-recovered" not in message.headers


def test_a_pattern_gets_live_messages_with_their_places(server: Keeper) -> None:
    reader = server.client()
    reader.subscribe("/topic/chat.*")
    server.fill("/topic/chat.a", 2)
    server.fill("/topic/other", 1)
    assert offsets(reader.messages()) == [0, 1]


def test_subscribers_of_the_name_and_of_a_pattern_get_one_copy_each(server: Keeper) -> None:
    one, other = server.client(), server.client()
    one.subscribe("/topic/chat.a")
    other.subscribe("/topic/#")
    server.fill("/topic/chat.a", 1)
    assert one.message().headers == {**other.message().headers, "message-id": "run1-1"}


@pytest.mark.parametrize("pattern", ["/topic/chat.*", "/topic/chat.#"])
def test_a_message_to_the_text_of_a_pattern_reaches_it_once(server: Keeper, pattern: str) -> None:
    reader, other = server.client(), server.client()
    reader.subscribe(pattern)
    other.subscribe("/topic/#")
    server.fill(pattern, 1)
    assert reader.bodies() == other.bodies() == ["0"]


def test_headers_that_are_not_stored_count_while_they_are_held(server: Keeper) -> None:
    publisher = server.client()
    publisher.say("SEND", "x", destination=CHAT, receipt="r" * 4000)
    assert server.broker.budget.used > 4000
    server.settle()
    assert server.history._reader.pages.bytes > 4000
    stream = server.history.known(CHAT)
    assert stream is not None
    assert stream.bytes < 1000


def test_a_composite_destination_is_all_or_nothing(server: Keeper) -> None:
    reader, worker, publisher = server.client(), server.client(), server.client()
    reader.subscribe(CHAT)
    worker.subscribe("/queue/jobs")
    publisher.say("SEND", "a", destination=f"/queue/jobs,{CHAT},/topic/x", receipt="1")
    publisher.say("SEND", "b", destination="/queue/jobs", receipt="2")
    assert worker.received() == reader.received() == publisher.received() == []
    server.settle()
    assert reader.bodies() == ["a"]
    assert worker.bodies() == ["a", "b"]
    assert publisher.receipts() == ["1", "2"]

    server.store.broken = "disk I/O error"
    publisher.say("SEND", "c", destination=f"/queue/jobs,{CHAT}", receipt="3")
    server.settle()
    assert reader.received() == worker.received() == []
    assert errors(publisher.received()) == ["history cannot be written"]


def test_a_transaction_takes_effect_when_it_is_written_all_of_it(server: Keeper) -> None:
    reader, worker, client = server.client(), server.client(), server.client()
    reader.subscribe(CHAT)
    worker.subscribe("/queue/done")
    client.subscribe("/queue/jobs", ack="client-individual")
    worker.say("SEND", "job", destination="/queue/jobs")
    job = client.message()
    client.say("BEGIN", transaction="t")
    client.say("SEND", "1", destination=CHAT, transaction="t")
    client.ack(job, transaction="t")
    client.say("SEND", "2", destination="/queue/done", transaction="t")
    client.say("SEND", "3", destination=CHAT, transaction="t")
    client.say("COMMIT", transaction="t", receipt="c")
    client.say("SEND", "4", destination="/queue/done", receipt="after")
    assert reader.received() == worker.received() == client.received() == []
    assert server.size_of("/queue/jobs") == 1
    server.settle()
    assert server.store.writes == [2]
    assert reader.bodies() == ["1", "3"]
    assert worker.bodies() == ["2", "4"]
    assert client.receipts() == ["c", "after"]
    assert server.broker.statistics.queued_count == 0


@pytest.mark.parametrize("is_gone", [False, True], ids=["connected", "gone meanwhile"])
def test_a_transaction_that_cannot_be_written_has_no_effect(server: Keeper, is_gone: bool) -> None:
    client, worker = server.client(), server.client()
    client.subscribe("/queue/jobs", ack="client-individual")
    worker.say("SEND", "job", destination="/queue/jobs")
    job = client.message()
    client.say("BEGIN", transaction="t")
    client.say("SEND", "1", destination=CHAT, transaction="t")
    client.say("SEND", "2", destination="/queue/done", transaction="t")
    client.ack(job, transaction="t")
    client.say("COMMIT", transaction="t", receipt="c")
    server.store.broken = "disk I/O error"
    if is_gone:
        client.drop()
    server.settle()
    expected = [] if is_gone else ["history cannot be written"]
    assert errors(client.received()) == expected
    assert server.drain("/queue/done") == []
    [again] = server.drain("/queue/jobs")
    assert again.headers["redelivered"] == "true"
    server.store.broken = ""


def test_a_transaction_whose_client_goes_while_it_is_written_takes_effect(server: Keeper) -> None:
    client, worker, reader = server.client(), server.client(), server.client()
    reader.subscribe(CHAT)
    client.subscribe("/queue/jobs", ack="client-individual")
    worker.say("SEND", "job", destination="/queue/jobs")
    job = client.message()
    client.say("BEGIN", transaction="t")
    client.say("SEND", "1", destination=CHAT, transaction="t")
    client.ack(job, transaction="t")
    client.say("COMMIT", transaction="t")
    client.drop()
    server.settle()
    assert reader.bodies() == ["1"]
    assert server.broker.statistics.queued_count == 0


@pytest.mark.parametrize("headers", [{}, {"ack": "client"}, {"x_slow": "latest"}])
@pytest.mark.parametrize("start", ["first", "last", "offset=1", "timestamp=0"])
@pytest.mark.parametrize("is_cached", [True, False])
def test_a_subscription_s_receipt_comes_before_its_replay(
    server: Keeper, start: str, headers: dict[str, str], is_cached: bool
) -> None:
    publisher = server.client()
    for text in "abc":
        publisher.publish(CHAT, text)
    server.settle()
    if not is_cached:
        server.history._reader.pages._pages.clear()
    reader = server.client()
    reader.say("SUBSCRIBE", id="0", destination=CHAT, receipt="r", x_stream_offset=start, **headers)
    server.settle()
    receipt, *messages = reader.received()
    assert (receipt.command, receipt.headers["x-stream-offset"]) == ("RECEIPT", "3")
    assert {message.command for message in messages} == {"MESSAGE"}


@pytest.mark.parametrize("before", ["SEND", "COMMIT"])
def test_a_subscription_s_receipt_waits_for_what_was_sent_before(
    server: Keeper, before: str
) -> None:
    client = server.client()
    named = {"transaction": "t"} if before == "COMMIT" else {"receipt": "1"}
    send = frame_bytes("SEND", b"a", destination=CHAT, **named)
    if before == "COMMIT":
        begin, end = (frame_bytes(one, transaction="t") for one in ("BEGIN", "COMMIT"))
        send = begin + send + end.replace(b"\n\n", b"\nreceipt:1\n\n")
    client.send(
        send
        + frame_bytes("SUBSCRIBE", id="0", destination=CHAT, receipt="2", x_stream_offset="first")
    )
    assert client.received() == []
    server.settle()
    got = [frame.headers.get("receipt-id", frame.command) for frame in client.received()]
    assert got == ["1", "2", "MESSAGE"]


def test_a_transaction_without_kept_messages_waits_for_nothing(server: Keeper) -> None:
    client = server.client()
    client.subscribe("/topic/other")
    client.say("BEGIN", transaction="t")
    client.say("SEND", "1", destination="/topic/other", transaction="t")
    client.say("COMMIT", transaction="t", receipt="c")
    assert [frame.command for frame in client.received()] == ["MESSAGE", "RECEIPT"]


# ---------------------------------------------------------------- how much is kept


def rows(server: Keeper) -> int:
    """Count the messages in the file."""
    count: int = server.store.file._db.execute("SELECT count(*) FROM message").fetchone()[0]
    return count


def test_the_first_rule_that_matches_holds() -> None:
    rules = HistoryRules(
        [
            HistoryRule("/topic/chat.big", 9),
            HistoryRule("/topic/*.x", 5),
            HistoryRule("/topic/c*t*", 3),
        ]
    )
    names = ["chat.big", "a.x", "chat.x", "chat", "ct", "c", "chat.bigger"]
    found = [rules.rule_for(f"/topic/{name}") for name in names]
    assert [rule and rule.max_count for rule in found] == [9, 5, 5, 3, 3, None, 3]
    assert rules.rule_for("/queue/chat") is rules.rule_for("x/topic/chat") is None


def test_no_more_than_the_count_is_kept_also_on_disk(tmp_path: Path) -> None:
    server = Keeper(tmp_path / "x.sqlite", [HistoryRule(CHAT, 10)])
    server.fill(CHAT, 35)
    assert offsets(server.listen(CHAT).messages()) == list(range(25, 35))
    server.advance(11)
    server.expire()
    server.settle()
    assert rows(server) == 10
    server.fill(CHAT, 500, 35)
    assert rows(server) <= 21, "a stream that grows fast is cleaned up at once"
    server = server.stop()
    assert offsets(server.listen(CHAT).messages()) == list(range(525, 535))


def test_what_is_too_old_goes_also_from_destinations_nobody_touches(tmp_path: Path) -> None:
    server = Keeper(tmp_path / "x.sqlite", [HistoryRule("/topic/chat*", 100, 60.0)])
    for room in ("/topic/chat.a", "/topic/chat.b"):
        server.fill(room, 3)
    server.advance(50)
    server.fill("/topic/chat.a", 2, 3)
    now = server.broker.now
    server = server.stop()
    server.broker.now = now + 20
    server.expire()
    server.settle()
    assert rows(server) == 2
    assert server.history.names() == ["/topic/chat.a"]
    assert server.history.message_count == 2
    assert offsets(server.listen("/topic/chat.a").messages()) == [3, 4]


def test_no_more_bytes_than_the_limit_are_kept(tmp_path: Path) -> None:
    limits = HistoryLimits(max_destination_bytes=100_000)
    server = Keeper(tmp_path / "x.sqlite", [HistoryRule(CHAT, 100)], limits)
    publisher = server.client()
    for _ in range(40):
        publisher.say("SEND", "x" * 9_500, destination=CHAT)
        server.settle()
    server.advance(11)
    server.expire()
    server.settle()
    assert rows(server) == 9  # of 10,012 bytes each
    assert offsets(server.listen(CHAT).messages()) == list(range(31, 40))
    [stream] = server.stop().store.file.snapshot.streams
    assert stream.bytes == 9 * 10_012


def test_a_single_message_over_the_limit_of_bytes_is_delivered_and_not_kept(tmp_path: Path) -> None:
    limits = HistoryLimits(max_destination_bytes=100_000)
    server = Keeper(tmp_path / "x.sqlite", [HistoryRule(CHAT, 100)], limits)
    reader = server.client()
    reader.subscribe(CHAT)
    server.client().say("SEND", "x" * 300_000, destination=CHAT)
    server.settle()
    assert len(reader.message().body) == 300_000
    assert rows(server) == 0
    server.fill(CHAT, 1)
    assert offsets(server.listen(CHAT).messages()) == [1]


def test_a_bug_while_one_message_is_delivered_stops_no_other(server: Keeper) -> None:
    def fail(message: Message) -> None:
        if message.body == b"1":
            raise ZeroDivisionError

    listener = Listener(fail)
    server.broker.events.add(listener)
    reader, publisher, idle = server.client(), server.client(), list[int]()
    reader.subscribe(CHAT)
    for number in range(4):
        publisher.say("SEND", str(number), destination=CHAT, receipt=str(number))
    assert server.store.step()  # the batch of the first message
    with pytest.raises(ZeroDivisionError):
        server.store.step()
    server.end_turn()
    publisher.say("SEND", "4", destination=CHAT, receipt="4")
    server.history.group_commit.when_idle(lambda: idle.append(1))
    server.settle()
    assert reader.bodies() == list("0234")
    assert publisher.receipts() == list("01234")  # all are stored, as a later reader sees
    assert idle == [1]
    assert server.listen(CHAT).bodies() == list("01234")


def test_a_destination_that_never_had_a_message_is_forgotten(server: Keeper) -> None:
    reader = server.listen("/topic/chat.nowhere", "first")
    assert server.history.known("/topic/chat.nowhere") is not None
    reader.unsubscribe()
    assert server.history.known("/topic/chat.nowhere") is None


def test_what_no_rule_names_any_longer_stays_in_the_file(tmp_path: Path) -> None:
    server = Keeper(tmp_path / "x.sqlite", KEPT)
    server.fill(CHAT, 3)
    server.rules = [HistoryRule("/topic/other", 5)]
    server = server.stop()
    assert server.history.names() == []
    server.fill("/topic/other", 1)
    server.rules = KEPT
    server = server.stop()
    assert server.history.names() == [CHAT]
    assert offsets(server.listen(CHAT).messages()) == [0, 1, 2]


# ---------------------------------------------------------------- rooms


def test_a_room_with_kept_messages_is_listed_until_the_last_is_gone(tmp_path: Path) -> None:
    server = Keeper(tmp_path / "history.sqlite", [HistoryRule("/topic/chat*", 10, 60)])
    open_chat(server.broker, ChatPolicy(), JSON)

    def rooms() -> list[object]:
        """What is told of rooms, a second later."""
        server.broker.now += 1
        server.broker.expire()
        server.settle()
        server.broker.cork.flush()
        told = [JSON.read(message.body) for message in watcher.received()]
        return [room for each in told if isinstance(each, dict) for room in each["rooms"]]

    watcher, publisher = server.client(), server.client()
    watcher.say("SUBSCRIBE", id="r", destination="/presence/rooms")
    assert rooms() == []
    publisher.publish("/topic/chat.old", b"1")
    server.settle()
    publisher.publish("/topic/chat.old", b"2")
    server.settle()
    assert rooms() == [{"destination": "/topic/chat.old", "people": 0}]
    late = server.client()
    late.say("SUBSCRIBE", id="r", destination="/presence/rooms")
    [here] = late.received()
    assert JSON.read(here.body) == {
        "event": "here",
        "rooms": [{"destination": "/topic/chat.old", "people": 0}],
    }
    server.broker.now += 300
    assert [rooms(), rooms(), rooms()].count([]) == 2
    later = server.client()
    later.say("SUBSCRIBE", id="r", destination="/presence/rooms")
    assert JSON.read(later.received()[0].body) == {"event": "here", "rooms": []}


def test_a_page_is_read_once_for_all_who_wait_for_it(server: Keeper) -> None:
    server.fill(CHAT, 20)
    server = server.stop()
    readers = [server.client() for _ in range(5)]
    for reader in readers:
        for number in range(4):
            reader.subscribe(CHAT, str(number), x_stream_offset="first")
    assert server.store.waiting == 1
    server.settle()
    for reader in readers:
        messages = reader.messages()
        for number in range(4):
            own = [one for one in messages if one.headers["subscription"] == str(number)]
            assert bodies(own) == list(map(str, range(20)))
    server.stop()


def test_a_replay_keeps_no_message_that_waits_for_ack(server: Keeper) -> None:
    publisher, reader = server.client(), server.client()
    for _ in range(30):
        publisher.publish(CHAT, b"x" * 20_000)
        server.settle()
    reader.subscribe(CHAT, ack="client", x_stream_offset="first")
    server.settle()
    messages = reader.messages()
    assert len(messages) == 30
    assert 30 * 64 < reader.session.holding.bytes < 30 * 512 + 4096
    reader.ack(messages[-1])
    assert reader.session.holding.bytes < 4096


# ---------------------------------------------------------------- much at once


def begin_to_deliver(server: Keeper) -> None:
    """Let the file write one batch, of which one turn is delivered."""
    server.store._end_turn = server.broker.cork.flush
    assert server.store.step()
    assert server.broker.cork.later


def go_on(server: Keeper) -> list[int]:
    """Let the turns go on; return the work of each of them."""
    cork = server.broker.cork
    work = []
    while cork.later:
        cork.run_later()
        work.append(cork.work)
        cork.flush()
    server.store._end_turn = server.end_turn
    return work


def test_a_stored_commit_takes_its_turns_and_nothing_passes_it(server: Keeper) -> None:
    listener, client = server.client(max_of_destination=50), server.client()
    other = server.client()
    for number in range(50):
        listener.subscribe(CHAT, str(number))
    numbers = list(map(str, range(300)))
    client.send(
        frame_bytes("BEGIN", transaction="t")
        + b"".join(
            frame_bytes("SEND", number.encode(), destination=CHAT, transaction="t")
            for number in numbers
        )
        + frame_bytes("SEND", b"job", destination="/queue/jobs", transaction="t")
        + frame_bytes("COMMIT", transaction="t", receipt="c")
    )
    other.publish(CHAT, "after", receipt="o")
    late = server.client()
    begin_to_deliver(server)
    first = {"id": "0", "destination": CHAT, "x_stream_offset": "first"}
    late.session.receive(frame_bytes("SUBSCRIBE", **first))
    other.session.receive(frame_bytes("SEND", b"next batch", destination=CHAT))
    server.broker.cork.flush()
    assert server.store.writes == [300]
    assert client.received() == other.received() == []
    assert server.size_of("/queue/jobs") == 0
    work = go_on(server)
    assert len(work) > 5
    assert max(work) <= TURN_WORK + 1000 + 1024, "or a MiB more, which is sent"
    assert client.receipts() == ["c"]
    server.settle()
    assert other.receipts() == ["o"]
    assert listener.bodies()[::50] == late.bodies() == [*numbers, "after", "next batch"]
    assert server.size_of("/queue/jobs") == 1


def test_a_batch_of_many_clients_takes_its_turns(server: Keeper) -> None:
    reader, clients = server.client(), [server.client() for _ in range(3)]
    for number in range(3):
        reader.subscribe(CHAT, str(number))
    for number in range(400):
        for client in clients:
            client.say("SEND", str(number), destination=CHAT)
    server.store.step()
    assert server.store.writes == [1]
    begin_to_deliver(server)
    assert server.store.writes == [1, 500], "so many are prepared in one turn"
    assert server.broker.budget.used > 699 * 640
    assert max(go_on(server)) <= TURN_WORK + 100
    server.settle()
    assert reader.bodies()[::3] == [str(number) for number in range(400) for _ in clients]


def test_the_end_of_the_server_waits_for_what_is_delivered_in_turns(server: Keeper) -> None:
    reader, client = server.client(), server.client()
    for number in range(3):
        reader.subscribe(CHAT, str(number))
    client.send(b"".join(frame_bytes("SEND", b"x", destination=CHAT, n=str(n)) for n in range(900)))
    for _ in range(5):
        client.say("SEND", "x", destination=CHAT)
    server.store.step()
    begin_to_deliver(server)
    ended: list[bool] = []
    server.history.group_commit.when_idle(lambda: ended.append(True))
    assert not ended
    go_on(server)
    server.settle()
    assert ended
    assert len(reader.messages()) == 3 * 905
