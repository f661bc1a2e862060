"""A file that is nearly full: some messages go before their time, and no room is closed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from support.core import errors
from support.history import Keeper
from support.stomp import frame_bytes

from rtchat.core.history.retention import Retention
from rtchat.core.history.rules import HistoryLimits, HistoryRule
from rtchat.core.history.store import Trim, Trimmed
from rtchat.core.history.stream import Stream

RULES = [HistoryRule("/topic/chat*", 1000, 7 * 86400.0)]
MIB = 1 << 20
ATTACKER = "198.51.100.7"


@pytest.fixture
def server(tmp_path: Path) -> Keeper:
    limits = HistoryLimits(max_destination_bytes=64 * MIB, max_memory_bytes=MIB)
    return Keeper(tmp_path / "x.sqlite", RULES, limits, max_file_bytes=4 * MIB)


def talk(server: Keeper, rooms: int, count: int) -> None:
    """Let people say something in each of some rooms."""
    for room in range(rooms):
        server.fill(f"/topic/chat.room{room}", count, source=f"192.0.2.{room}")


def send(
    server: Keeper, destination: str, body: bytes, source: str = ATTACKER, **headers: str
) -> list[str]:
    """Publish a message by a new client; return the errors."""
    client = server.client_from(source)
    client.publish(destination, body, **headers)
    server.settle()
    told = errors(client.received())
    client.drop()
    server.settle()
    return told


def kept(server: Keeper, room: int) -> int:
    """Return how many messages of a room can be replayed."""
    return len(server.listen(f"/topic/chat.room{room}").bodies())


def test_large_messages_push_out_each_other_and_no_room_is_closed(server: Keeper) -> None:
    talk(server, 5, 20)
    for number in range(60):
        assert send(server, f"/topic/chat.{number % 7}", b"x" * 200_000) == []
        assert server.store.used_bytes < server.max_file_bytes
    talk(server, 1, 5)
    assert [kept(server, room) for room in range(5)] == [25, 20, 20, 20, 20]
    assert server.history.retention.removed > 40


def test_many_short_streams_of_one_client_do_not_push_out_the_rooms(server: Keeper) -> None:
    talk(server, 5, 200)
    # Messages as small as those in the rooms, in more streams than there are rooms.
    for number in range(300):
        server.fill(f"/topic/chat.{number}", 30, source=ATTACKER)
        assert server.store.used_bytes < server.max_file_bytes
    assert [kept(server, room) for room in range(5)] == [200] * 5
    owner = server.history._places._owners[ATTACKER]
    assert owner.bytes == sum(stream.bytes for stream in owner.streams)


def test_without_a_culprit_the_largest_messages_go_first(server: Keeper) -> None:
    talk(server, 3, 50)
    for number in range(40):
        told = send(server, f"/topic/chat.{number}", b"x" * 100_000, f"203.0.113.{number}")
        assert told == []
    assert [kept(server, room) for room in range(3)] == [50] * 3
    assert len(server.listen("/topic/chat.39").bodies()) == 1
    assert len(server.listen("/topic/chat.0").bodies()) == 0


def test_who_reads_a_room_that_is_cut_is_told(server: Keeper) -> None:
    for _ in range(10):
        send(server, "/topic/chat.pictures", b"x" * 200_000)
    [first, *_] = server.listen("/topic/chat.pictures").messages()
    epoch = first.headers["x-stream-epoch"]
    for _ in range(10):
        send(server, "/topic/chat.pictures", b"x" * 200_000)
    reader = server.listen("/topic/chat.pictures", "offset=1", x_stream_epoch=epoch, receipt="r")
    receipt, *messages = reader.received()
    assert receipt.headers["x-stream-recovered"] == "false"
    assert 0 < len(messages) < 20


def test_what_is_too_large_for_one_write_is_refused_and_leaves_nothing(server: Keeper) -> None:
    talk(server, 2, 5)
    before = server.history.names()
    names = ",".join(f"/topic/chat.{number}" for number in range(8))
    [error] = send(server, names, b"x" * 100_000)
    assert error == f"more than {server.max_file_bytes // 8} bytes to be kept at once"
    client = server.client_from(ATTACKER)
    client.say("BEGIN", transaction="t")
    for number in range(8):
        client.publish(f"/topic/chat.{number}", b"x" * 100_000, transaction="t")
    client.say("COMMIT", transaction="t")
    server.settle()
    assert len(errors(client.received())) == 1
    assert server.history.names() == before
    assert server.history._places.count == len(server.history._streams) == 2
    assert not any(stream.is_new for stream in server.history._streams.values())
    assert server.history._places._owners.keys() == {"192.0.2.0", "192.0.2.1"}
    assert server.broker.budget.used == 0
    talk(server, 2, 5)


@pytest.mark.parametrize("how", ["abort", "expired", "broken"])
def test_a_frame_without_effect_takes_no_place(tmp_path: Path, how: str) -> None:
    limits = HistoryLimits(max_destinations=3)
    server = Keeper(tmp_path / "x.sqlite", RULES, limits)
    talk(server, 3, 2)
    client = server.client_from(ATTACKER)
    names = [f"/topic/chat.{number}" for number in range(16)]
    if how == "abort":
        client.say("BEGIN", transaction="t")
        for name in names:
            client.publish(name, "x", transaction="t")
        client.say("ABORT", transaction="t")
    elif how == "expired":
        client.publish(",".join(names), "x", expires="1000")
    else:
        server.store.broken = "disk I/O error"
        client.publish(",".join(names), "x")
    server.settle()
    server.store.broken = ""
    server.expire()
    server.settle()
    assert sorted(server.history.names()) == [f"/topic/chat.room{n}" for n in range(3)]
    assert server.history._places.count == len(server.history._streams) == 3
    assert [kept(server, room) for room in range(3)] == [2, 2, 2]


def test_a_file_that_was_full_before_takes_messages_after_a_second(tmp_path: Path) -> None:
    limits = HistoryLimits(max_destination_bytes=64 * MIB)
    server = Keeper(tmp_path / "x.sqlite", RULES, limits, max_file_bytes=8 * MIB)
    for _ in range(25):
        send(server, "/topic/chat.a", b"x" * 200_000)
    server.max_file_bytes = 2 * MIB
    server = server.stop()
    server.expire()
    server.settle()
    assert send(server, "/topic/chat.b", b"x" * 1000) == []
    assert server.store.used_bytes < 2 * MIB


def test_a_batch_is_small_enough_for_what_is_left(server: Keeper) -> None:
    clients = [server.client_from(f"203.0.113.{number}") for number in range(40)]
    for number, client in enumerate(clients):
        client.publish(f"/topic/chat.{number}", b"x" * 90_000, receipt="r")
    server.settle()
    assert [client.receipts() for client in clients] == [["r"]] * 40
    assert max(server.store.writes) <= 4
    assert server.store.used_bytes < server.max_file_bytes


# ---------------------------------------------------------------- in parts


def many_rooms(tmp_path: Path, count: int) -> Keeper:
    server = Keeper(tmp_path / "x.sqlite", [HistoryRule("/topic/chat*", 5, 60.0)])
    sends = [frame_bytes("SEND", b"x", destination=f"/topic/chat.{n}") for n in range(count)]
    server.client().send(b"".join(sends))
    server.settle()
    assert len(server.history.names()) == count
    return server


class Looks:
    """Counts the streams that retention looks at."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        is_due = Retention._is_due

        def counted(retention: Retention, stream: Stream, trim: Trim) -> bool:
            self.count += 1
            return is_due(retention, stream, trim)

        monkeypatch.setattr(Retention, "_is_due", counted)

    def take(self) -> int:
        count, self.count = self.count, 0
        return count


def test_a_turn_looks_at_a_part_of_all_streams(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = many_rooms(tmp_path, 2500)
    server.advance(30)
    looks, cork = Looks(monkeypatch), server.broker.cork
    seen = []
    with cork:
        server.history.expire()
    seen.append(looks.take())
    while cork.later:
        with cork:
            cork.run_later()
        seen.append(looks.take())
    assert seen == [1000, 1000, 500]
    with cork:
        server.history.expire()
    assert looks.take() == 0, "they are looked at every ten seconds"


def test_the_store_trims_a_few_streams_at_once(tmp_path: Path) -> None:
    server = many_rooms(tmp_path, 100)
    trimmed: list[int] = []
    trim = server.store.trim

    def noted(trims: Sequence[Trim], done: Callable[[Sequence[Trimmed], str], None]) -> None:
        trimmed.append(len(trims))
        assert server.store.waiting == 0
        trim(trims, done)

    server.store.trim = noted  # type: ignore[method-assign]
    server.advance(100)
    server.expire()
    server.settle()
    assert trimmed == [16] * 6 + [4]
    assert server.history.names() == []


def test_only_the_stream_that_is_too_long_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = many_rooms(tmp_path, 500)
    server.advance(30)
    server.expire()
    looks = Looks(monkeypatch)
    server.fill("/topic/chat.7", 50)
    assert looks.take() < 30
    assert server.listen("/topic/chat.7").bodies() == ["45", "46", "47", "48", "49"]
    assert len(server.store.file.read(8, 0, 99)) < 20


def test_a_very_long_stream_is_trimmed_in_parts_until_nothing_is_left(tmp_path: Path) -> None:
    server = Keeper(tmp_path / "x.sqlite", [HistoryRule("/topic/chat*", 100_000, 60.0)])
    server.client().send(frame_bytes("SEND", b"x", destination="/topic/chat.a") * 3500)
    server.settle()
    server.advance(100)
    server.expire()
    left = [3500]
    while server.store.step():
        [stream] = server.history._streams.values()
        left.append(stream.next - stream.stored_first)
    assert left == [3500, 2500, 1500, 500, 0]
    assert server.history.names() == []


def test_a_sweep_that_fails_goes_on_later(tmp_path: Path) -> None:
    server = many_rooms(tmp_path, 40)
    server.advance(100)
    server.store.broken = "disk I/O error"
    for _ in range(5):
        server.expire()
        server.settle()
        server.advance(1)
    server.store.broken = ""
    for _ in range(3):
        server.advance(10)
        server.expire()
        server.settle()
    assert server.history.names() == []
