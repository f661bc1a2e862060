"""What one client may take from all others: memory, rates, presence, places in the history."""

from __future__ import annotations

import json
import time
from collections.abc import Callable

import pytest
from support.process import Server, until
from support.publisher import Publisher
from support.stomp import message_bytes
from support.wire import WIRES, open_wire, wire_to

pytestmark = [pytest.mark.live]

Serve = Callable[..., Server]

_KIB, _MIB = 1024, 1024 * 1024

over_both = pytest.mark.parametrize("kind", WIRES)


@over_both
def test_a_queue_that_nothing_empties_slows_no_other_publisher(serve: Serve, kind: str) -> None:
    server = serve(more=f"[broker]\nmemory.max_bytes = 16 MiB\nqueue.max_bytes = {15 * _MIB}\n")
    with (
        open_wire(server, kind) as filler,
        open_wire(server, kind) as talker,
        open_wire(server, kind) as worker,
    ):
        publisher = Publisher(filler, "/queue/dead", "x", 32 * _KIB)
        publisher.publish(450)
        until("memory", lambda: server.health()["held_bytes"] > 0.85 * 16 * _MIB)
        server.until_logged("memory is nearly used up")
        worker.ask("SUBSCRIBE", id="0", destination="/queue/live")
        worker.ask("SUBSCRIBE", id="1", destination="/topic/live")
        begun_s = time.monotonic()
        for _ in range(30):
            talker.ask("SEND", destination="/topic/live")
            assert worker.frame().command == "MESSAGE"
            talker.ask("SEND", destination="/queue/live")
            assert worker.frame().command == "MESSAGE"
        # Slowed down, each of the 60 would take 100 ms.
        assert time.monotonic() - begun_s < 3
    lines = [line for line in server.log().splitlines() if "memory is nearly used up" in line]
    assert len(lines) == 1
    assert "The largest queues: /queue/dead (" in lines[0]


def test_to_connect_again_gives_no_new_burst(serve: Serve) -> None:
    server = serve(more="[rate]\nmessages_per_second = 1\nburst = 20\n")
    data = message_bytes("/topic/room", b"x")
    with open_wire(server, "TCP") as listener:
        listener.ask("SUBSCRIBE", id="0", destination="/topic/room")
        begun_s = time.monotonic()
        for _ in range(30):
            with open_wire(server, "TCP") as sender:
                sender.send(data * 20)
        until("senders that are gone", lambda: server.health()["stomp_sessions"] == 1)
        with open_wire(server, "TCP") as last:
            last.ask("SEND", destination="/topic/room")
        took_s = time.monotonic() - begun_s
        assert len(listener.take()) <= 20 + took_s + 1


def test_joins_and_leaves_of_one_client_do_not_drown_the_watchers(serve: Serve) -> None:
    server = serve()
    with open_wire(server, "TCP") as watcher, wire_to(server, "TCP") as busy:
        busy.connect(nick="anna")
        watcher.ask("SUBSCRIBE", id="p", destination="/presence/topic/chat")
        begun_s = time.monotonic()
        churn = b"SUBSCRIBE\nid:0\ndestination:/topic/chat\n\n\0UNSUBSCRIBE\nid:0\n\n\0"
        busy.send(churn * 4000)
        busy.ask("SEND", destination="/topic/other")
        watcher.send("SEND\ndestination:/topic/other\nreceipt:r\n\n\0")
        events = []
        while (frame := watcher.frame()).command == "MESSAGE":
            events.append(json.loads(frame.body)["event"])
        seconds = time.monotonic() - begun_s + 1
        assert events[0] == "here"
        assert 2 <= len(events) <= 1 + seconds * 17


def test_a_flood_of_large_messages_closes_no_room(serve: Serve) -> None:
    server = serve(
        more="[history]\nfile = :memory:\nfile.max_bytes = 8 MiB\n/topic/chat* = 1000, 7 days\n"
    )
    with open_wire(server, "TCP") as person, open_wire(server, "TCP") as flood:
        for _ in range(5):
            person.ask("SEND", destination="/topic/chat")
        for number in range(100):
            flood.send(message_bytes(f"/topic/chat.{number}", b"x" * 300_000))
        flood.ask("SEND", destination="/topic/chat.end")
        person.ask("SEND", destination="/topic/chat")
        person.send("SUBSCRIBE\nid:0\ndestination:/topic/chat\nx-stream-offset:first\n\n\0")
        assert [person.frame().headers["x-stream-offset"] for _ in range(6)] == list("012345")
    assert server.health()["checks"]["history_writable"] == "ok"
    until("a line in the log", lambda: "removed from the history" in server.log())
