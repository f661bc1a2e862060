"""Numbers and rates: connections, destinations, joins; rooms and topics of others go on."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress

import pytest
from support.hostile import MIB, NO_END, GuardedServer, Scene, Stranger, attack, times
from support.process import until
from support.stomp import frame_bytes, message_bytes
from support.websocket import upgrade_request
from support.wire import Wire

pytestmark = [pytest.mark.live, pytest.mark.soak]

Serve = Callable[..., GuardedServer]

ROOMS = "[history]\n/topic/chat* = 1000, 7 days\nfile = :memory:\n"


def subscribe(number: int, destination: str, **headers: str) -> bytes:
    return frame_bytes("SUBSCRIBE", id=str(number), destination=destination, **headers)


def is_served(stranger: Stranger) -> bool:
    """Return whether a connection gets an answer to its CONNECT."""
    with suppress(OSError):
        stranger.send(frame_bytes("CONNECT", accept_version="1.2", host="test"))
    frames = stranger.frames_until(lambda frame: True, 3)
    return [frame.command for frame in frames] == ["CONNECTED"]


# ---------------------------------------------------------------- connections


def test_one_source_has_so_many_sessions(serve: Serve) -> None:
    server = serve()
    with attack(server, "[broker] connections.per_source", holds=64 * MIB) as scene:
        served = [scene.stranger(logs_in=False) for _ in range(256)]
        assert all(map(is_served, served))
        assert not is_served(scene.stranger(logs_in=False))
        scene.until_logged("connections.per_source")
        assert is_served(scene.stranger(logs_in=False, source="127.0.0.77"))
        assert len(scene.lines("connections.per_source")) == 1


FRONT = """
[front]
trusted = 127.0.0.0/8
protocol = x-forwarded-for
"""


def is_served_as(scene: Scene, address: str) -> bool:
    """Return whether a WebSocket opens for a browser that a front proxy says has this address."""
    upgrade = upgrade_request(
        "/ws",
        host=f"localhost:{scene.server.http}",
        subprotocols="v12.stomp",
        x_forwarded_for=address,
    )
    status = scene.raw(upgrade).socket.recv(12).removeprefix(b"HTTP/1.1 ")
    assert status in (b"101", b"503")
    return status == b"101"


def test_an_ipv6_network_is_one_source(serve: Serve) -> None:
    """The machine itself has one IPv6 address, ::1; of the others in its network a front tells."""
    listen = "http://127.0.0.1:{http}\nstomp://[::1]:{stomp}"
    server = serve(FRONT, listen)
    scene = Scene(server)
    try:
        with ExitStack() as stack:
            own = [stack.enter_context(Wire(("::1", server.stomp))) for _ in range(40)]
            assert {wire.connect().command for wire in own} == {"CONNECTED"}
            served = [is_served_as(scene, f"::{number:x}") for number in range(2, 262)]
            assert served == [True] * 216 + [False] * 44
            late = stack.enter_context(Wire(("::1", server.stomp)))
            late.send(frame_bytes("CONNECT", accept_version="1.2", host="test"))
            assert late.frame().command == "ERROR"
            assert is_served_as(scene, "0:0:0:1::1")
        [line] = scene.lines("connections.per_source")
        assert "::da" in line, "the first that was refused"
    finally:
        scene.close()


def test_sessions_over_websockets_count_as_well(serve: Serve) -> None:
    server = serve("[broker]\nconnections.per_source = 8\n")
    with attack(server, "[broker] connections.per_source", holds=64 * MIB) as scene:
        for _ in range(4):
            scene.stranger()
            scene.stranger("WebSocket")
        with pytest.raises((AssertionError, OSError)):
            scene.stranger("WebSocket")
        scene.until_logged("connections.per_source")


def test_all_sessions_together_have_a_limit(serve: Serve) -> None:
    server = serve("[broker]\nconnections.total = 20\n")
    with attack(server, "[broker] connections.total") as scene:
        served = [
            is_served(scene.stranger(logs_in=False, source=f"127.0.1.{n}")) for n in range(25)
        ]
        assert served == [True] * 19 + [False] * 6  # the honest client is the twentieth
        scene.until_logged("connections.total")


# ---------------------------------------------------------------- destinations


def test_a_session_makes_so_many_queues(server: GuardedServer) -> None:
    with attack(server, "more than 10000 queues created", holds=64 * MIB) as scene:
        eve = scene.stranger()
        burst = [message_bytes(f"/queue/{number}", b"x") for number in range(40_000)]
        eve.pour(b"".join(burst), 20)
        eve.until_done()
        scene.ended(eve, "queues")


def test_a_queue_has_so_many_consumers(serve: Serve) -> None:
    server = serve("[broker]\ndestination.max_subscriptions = 1000\n")
    with attack(server, "more than 1000 consumers of a queue", holds=64 * MIB) as scene:
        eve, count = scene.stranger(), 0
        for _ in range(times(12, 40)):
            eve = scene.stranger()
            eve.pour(b"".join(subscribe(number, "/queue/hostile") for number in range(1000)))
            frames = eve.until_done()
            if frames and frames[-1].command == "ERROR":
                scene.ended(eve, "consumers")
                return
            count += 1000
        pytest.fail(f"{count} consumers of one queue")


# ---------------------------------------------------------------- history


def test_a_full_history_does_not_close_rooms(serve: Serve) -> None:
    server = serve(f"{ROOMS}file.max_bytes = 16 MiB\n")
    with attack(server, NO_END, holds=64 * MIB, destination="/topic/chat.honest") as scene:
        for client in range(6):
            eve = scene.stranger()
            burst = [scene.message(b"x" * 900_000, f"/topic/chat.{client}.{n}") for n in range(8)]
            eve.pour(b"".join(burst), 5)
            eve.until_done(5)


def test_very_many_new_rooms_do_not_close_those_that_exist(serve: Serve) -> None:
    server = serve(f"{ROOMS}destinations.max_count = 100\n")
    with attack(server, NO_END, holds=64 * MIB, destination="/topic/chat.honest") as scene:
        anna = scene.stranger(source="127.0.0.1")
        anna.send(message_bytes("/topic/chat.anna", b"I was here", receipt="r"))
        assert anna.frame().command == "RECEIPT"
        for client in range(4):
            eve = scene.stranger()
            burst = [scene.message(b"x", f"/topic/chat.{client}.{n}") for n in range(500)]
            eve.pour(b"".join(burst))
            eve.until_done()
        anna.send(subscribe(0, "/topic/chat.anna", x_stream_offset="first"))
        assert anna.frame().body == b"I was here"


def test_a_composite_that_is_refused_leaves_nothing_behind(serve: Serve) -> None:
    server = serve(ROOMS)
    with attack(server, "nobody can send there") as scene:
        eve = scene.stranger()
        eve.send(scene.message(b"x", "/topic/chat.one,/topic/chat.two,/user/nobody/queue/private"))
        eve.send(scene.message(b"x" * 5000, "/queue/left,/topic/chat.three", nick="x"))
        eve.send(
            scene.message(json.dumps({"text": "x" * 5000}).encode(), "/queue/left,/topic/chat")
        )
        eve.until_done()
        assert server.health()["queues"] == 0


# ---------------------------------------------------------------- rates


def test_a_rate_holds_over_reconnects(serve: Serve) -> None:
    server = serve("[rate]\nmessages_per_second = 10\nburst = 20\n")
    scene = Scene(server)  # without the honest client, which is faster than that
    listener = scene.stranger(source="127.0.0.5")
    listener.subscribe("/topic/hostile")
    begun_s = time.monotonic()
    for _ in range(20):
        eve = scene.stranger()
        eve.pour(scene.message(b"x") * 20, 1)
        eve.pour(frame_bytes("DISCONNECT"), 0.2)
    came = 0
    until_s = time.monotonic() + times(2, 60)  # of what was sent, the most has to wait for longer
    with suppress(AssertionError):
        while time.monotonic() < until_s:
            listener.frame(0.5)
            came += 1
    passed_s = time.monotonic() - begun_s
    assert came < 20 + 10 * passed_s + 20, f"{came} messages came in {passed_s:.1f} s"
    scene.close()


@pytest.mark.parametrize("watchers", [times(20, 100)])
def test_joining_and_leaving_has_a_rate(server: GuardedServer, watchers: int) -> None:
    with attack(server, NO_END, holds=64 * MIB) as scene:
        watching: list[Wire] = []
        for number in range(watchers):
            watcher = scene.stranger(source=f"127.0.2.{number + 1}")
            watcher.subscribe("/presence/topic/chat")
            watching.append(watcher)
        eve = scene.stranger(nick="eve")
        pair = subscribe(0, "/topic/chat") + frame_bytes("UNSUBSCRIBE", id="0")
        eve.pour(pair * times(8_000, 50_000), 2)
        first = watching[0]
        events = 0
        with suppress(AssertionError):
            while True:
                first.frame(0.5)
                events += 1
        assert events < 400, f"{events} events for each watcher"


# ---------------------------------------------------------------- queues that no one empties


def test_queues_that_no_one_empties_slow_those_down_who_fill_them(serve: Serve) -> None:
    server = serve("[broker]\nmemory.max_bytes = 64 MiB\n")
    with attack(server, NO_END, holds=64 * MIB) as scene:
        eve = scene.stranger()
        eve.pour(scene.message(b"x" * MIB, "/queue/idle") * 58, 10)
        eve.until_done(3)
        scene.until_logged("/queue/idle")


def test_dead_letters_obey_the_limits_of_queues(serve: Serve) -> None:
    server = serve("[broker]\nqueue.max_messages = 50\n")
    with attack(server, NO_END) as scene:
        eve = scene.stranger()
        eve.send(subscribe(0, "/queue/hostile", ack="client-individual", receipt="s"))
        eve.frame()
        for _ in range(times(200, 1000)):
            eve.send(message_bytes("/queue/hostile", b"x"))
            frames = eve.frames_until(lambda frame: frame.command == "MESSAGE", 3)
            if not frames or "ack" not in frames[-1]:
                break
            eve.send(frame_bytes("NACK", id=frames[-1]["ack"], requeue="false"))
        until("the last NACK", lambda: server.health()["queued_messages"] > 0)
        assert server.health()["queued_messages"] <= 51


def test_a_source_is_not_a_name(serve: Serve) -> None:
    """What one source uses up is its own: another is served as before."""
    server = serve("[broker]\nconnections.per_source = 4\n")
    with attack(server, "[broker] connections.per_source") as scene:
        for _ in range(8):
            with suppress(AssertionError, OSError):
                scene.stranger()
        anna = scene.stranger(source="127.0.0.9")
        anna.ask("BEGIN", transaction="t")
        assert anna.socket.family == socket.AF_INET
