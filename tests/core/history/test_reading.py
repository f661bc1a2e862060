"""What replays ask of the store: a few questions at a time, for one client after the other."""

from __future__ import annotations

from pathlib import Path

from support.core import Client
from support.history import Keeper, offsets
from support.stomp import frame_bytes

from rtchat.core.history.rules import HistoryLimits, HistoryRule
from rtchat.core.history.stream import PAGE_MESSAGES

MIB = 1024 * 1024
RULES = [HistoryRule("/topic/chat*", 5000, 600.0)]
ROOM = "/topic/chat.big"
MOST_AT_ONCE = 2


def keeper(tmp_path: Path, messages: int = 10) -> Keeper:
    server = Keeper(tmp_path / "x.sqlite", RULES, HistoryLimits(max_memory_bytes=MIB))
    server.fill(ROOM, messages)
    return server


def ask(number: int, at: str = "timestamp=0", slow: str = "close") -> bytes:
    headers = {"id": str(number), "x-stream-offset": at, "x-slow": slow}
    return frame_bytes("SUBSCRIBE", destination=ROOM, **headers)


def leave(number: int) -> bytes:
    return frame_bytes("UNSUBSCRIBE", id=str(number))


def forget_pages(server: Keeper) -> None:
    """Empty the page cache, as after a restart."""
    server.history._reader.pages._pages.clear()
    server.history._reader.pages.bytes = 0


def test_what_is_written_waits_for_two_questions_at_the_most(tmp_path: Path) -> None:
    server = keeper(tmp_path)
    eve, anna = server.client(max_of_destination=500), server.client()
    eve.send(b"".join(map(ask, range(500))))
    assert server.store.waiting == MOST_AT_ONCE
    anna.say("SEND", "hello", destination="/topic/chat.anna", receipt="r")
    for _ in range(MOST_AT_ONCE + 1):
        server.store.step()
    assert anna.receipts() == ["r"]
    server.settle()
    assert len(eve.messages()) == 500 * 10


def test_questions_of_those_who_have_left_are_not_asked(tmp_path: Path) -> None:
    server = keeper(tmp_path)
    eve = server.client(max_of_destination=500)
    for _ in range(100):
        eve.send(b"".join(ask(n) + leave(n) for n in range(100)))
    assert server.store.waiting <= MOST_AT_ONCE
    reader = server.history._reader
    assert not reader._waiting
    eve.send(ask(1))
    answers = 0
    while server.store.step():
        answers += 1
    assert answers <= MOST_AT_ONCE + 1
    assert len(eve.messages()) == 10


def test_questions_of_a_session_that_has_ended_are_not_asked(tmp_path: Path) -> None:
    server = keeper(tmp_path)
    eve = server.client(max_of_destination=500)
    eve.send(b"".join(map(ask, range(300))))
    eve.drop()
    answers = 0
    while server.store.step():
        answers += 1
    assert answers == MOST_AT_ONCE
    assert not server.history._reader._waiting
    assert server.listen(ROOM).bodies() == [str(n) for n in range(10)]


def test_clients_take_turns(tmp_path: Path) -> None:
    server = keeper(tmp_path)
    eve = server.client(max_of_destination=500)
    eve.send(b"".join(map(ask, range(500))))
    others = [server.client() for _ in range(5)]
    for other in others:
        other.send(ask(0))
    for _ in range(MOST_AT_ONCE + 2 * len(others) + 1):
        server.store.step()
    assert [len(other.messages()) for other in others] == [10] * 5


def test_a_page_is_read_once_for_all_who_wait_for_it(tmp_path: Path) -> None:
    server = keeper(tmp_path, 2 * PAGE_MESSAGES)
    forget_pages(server)
    clients = [server.client() for _ in range(8)]
    for client in clients:
        client.send(ask(0, "first") + ask(1, "offset=300"))
    answers = 0
    while server.store.step():
        answers += 1
    assert answers == 2
    for client in clients:
        assert sorted(offsets(client.messages())) == sorted([*range(512), *range(300, 512)])


def test_who_leaves_while_a_page_is_read_is_forgotten_at_once(tmp_path: Path) -> None:
    server = keeper(tmp_path)
    forget_pages(server)
    eve, anna = server.client(), server.client()
    anna.send(ask(0, "first"))
    for _ in range(200):
        eve.send(ask(1, "first") + leave(1))
    [page] = server.history._reader._reading.values()
    assert len(page.readers) == 1
    server.settle()
    assert eve.messages() == []
    assert len(anna.messages()) == 10


def wait_behind(server: Keeper, client: Client, start: str) -> None:
    """Let a client ask while the store has as many questions as it may have."""
    other = server.client()
    other.send(b"".join(map(ask, range(MOST_AT_ONCE))))
    assert server.store.waiting == MOST_AT_ONCE
    client.send(ask(0, start, "drop-oldest"))
    assert server.store.waiting == MOST_AT_ONCE


def test_what_was_trimmed_while_a_question_waited_is_passed_over(tmp_path: Path) -> None:
    server = keeper(tmp_path, 10)
    forget_pages(server)
    anna = server.client()
    wait_behind(server, anna, "first")
    server.history.find(ROOM).first = 4  # type: ignore[union-attr]
    server.settle()
    assert offsets(anna.messages()) == list(range(4, 10))


def test_a_stream_that_was_evicted_while_a_question_waited_begins_anew(tmp_path: Path) -> None:
    server = keeper(tmp_path, 300)
    forget_pages(server)
    anna = server.client()
    wait_behind(server, anna, "offset=290")
    stream = server.history.known(ROOM)
    assert stream is not None
    server.history._evict(stream)
    server.settle()
    server.fill(ROOM, 2)
    assert anna.bodies() == ["0", "1"]


def test_what_is_read_is_work(tmp_path: Path) -> None:
    server = keeper(tmp_path, PAGE_MESSAGES)
    forget_pages(server)
    server.client().send(ask(0, "first"))
    cork = server.broker.cork
    works: list[int] = []
    end_turn = server.store._end_turn

    def note() -> None:
        works.append(cork.work)
        end_turn()

    server.store._end_turn = note
    server.store.step()
    assert works[0] > 10 * PAGE_MESSAGES
