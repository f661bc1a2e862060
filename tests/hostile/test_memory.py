"""Everything that is held for a client is counted: memory ends where the limits say."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from support.hostile import KIB, MIB, NO_END, GuardedServer, attack, times
from support.stomp import frame_bytes, message_bytes
from support.websocket import http_request

pytestmark = [pytest.mark.live, pytest.mark.soak]

Serve = Callable[..., GuardedServer]

BACKLOG = 16 * MIB
BUDGET = 32 * MIB
MANY = "destination.max_subscriptions = 1000\n"
"""What an operator may allow: the bounds behind it hold as well."""
SMALL = f"[broker]\nmemory.max_bytes = {BUDGET}\n"


def subscribe(number: int, destination: str, **headers: str) -> bytes:
    return frame_bytes("SUBSCRIBE", id=str(number), destination=destination, **headers)


# ---------------------------------------------------------------- the output of a turn


def test_a_large_message_to_a_thousand_subscriptions_of_ones_own(serve: Serve) -> None:
    server = serve(f"[broker]\n{MANY}")
    with attack(server, "bytes wait to be read", holds=2 * BACKLOG) as scene:
        eve = scene.stranger()
        eve.pour(b"".join(subscribe(number, "/topic/hostile") for number in range(1000)))
        eve.until_done()
        eve.pour(scene.message(b"x" * MIB), reads=False)
        scene.ended(eve, "too slow")


def test_a_composite_of_very_many_names(serve: Serve) -> None:
    server = serve("[broker]\nmemory.max_bytes = 64 MiB\n")
    with attack(server, "more than 16 destinations in one SEND", holds=2 * BACKLOG) as scene:
        eve = scene.stranger()
        eve.pour(subscribe(0, "#"))
        names = ",".join(f"{number}" for number in range(1500))
        eve.pour(scene.message(b"x" * (MIB + 1), names), reads=False)
        scene.ended(eve, "16")
        assert "destination.max_names" in eve.error().body.decode()


def test_many_large_messages_to_a_few_subscriptions_in_one_read(serve: Serve) -> None:
    server = serve(f"[broker]\nmemory.max_bytes = 64 MiB\n{MANY}")
    with attack(server, "bytes wait to be read", holds=64 * MIB) as scene:
        eve = scene.stranger()
        eve.pour(b"".join(subscribe(number, "/topic/#") for number in range(100)))
        eve.until_done()
        names = ",".join(f"/topic/{number}" for number in range(16))
        eve.pour(scene.message(b"x" * 60 * KIB, names) * times(20, 200), reads=False)


def test_requests_without_reading_the_answers(server: GuardedServer) -> None:
    with attack(server, NO_END, holds=4 * MIB) as scene:
        eve = scene.raw()
        host = {"Host": f"localhost:{server.http}"}
        request = http_request("GET", "/health", host) + http_request("GET", "/nothing", host)
        eve.pour(request * 200_000, times(3, 20), reads=False)


# ---------------------------------------------------------------- what waits for acknowledgements


def test_deliveries_of_a_topic_that_are_never_acknowledged(serve: Serve) -> None:
    server = serve()
    with attack(server, NO_END, holds=2 * BACKLOG) as scene:
        eve, publisher = scene.stranger(), scene.stranger()
        eve.pour(b"".join(subscribe(n, "/topic/hostile", ack="client") for n in range(4)))
        eve.until_done()
        for _ in range(times(60, 400)):
            if not publisher.pour(scene.message(b"x" * MIB), 1):
                break
            eve.swallow(0.1)


def test_replays_that_are_never_acknowledged(serve: Serve) -> None:
    server = serve(
        "[history]\n/topic/chat* = 1000\nfile = :memory:\n[broker]\nmemory.max_bytes = 64 MiB\n"
        + MANY
    )
    with attack(server, NO_END, holds=64 * MIB + 16 * MIB, destination="/topic/honest") as scene:
        publisher = scene.stranger()
        publisher.pour(scene.message(b"x" * 4 * KIB, "/topic/chat.big") * 500)
        publisher.until_done()
        for _ in range(5):
            eve = scene.stranger()
            more = {"ack": "client", "x-stream-offset": "first"}
            burst = [subscribe(number, "/topic/chat.big", **more) for number in range(200)]
            eve.pour(b"".join(burst), reads=False)
        time.sleep(1)


# ---------------------------------------------------------------- what subscriptions hold


def test_a_thousand_long_selectors(serve: Serve) -> None:
    server = serve()
    with attack(server, "1024 values and operators at most", holds=2 * BACKLOG) as scene:
        eve = scene.stranger()
        for number in range(1000):
            selector = " OR ".join(f"a{number}={n}" for n in range(550))
            if not eve.pour(subscribe(number, "/topic/hostile", selector=selector)):
                break
        eve.until_done()


def test_places_of_people_with_long_names(serve: Serve) -> None:
    server = serve(SMALL)
    with attack(server, "the server's memory limit", holds=BUDGET) as scene:
        for person in range(times(10, 40)):
            eve = scene.stranger(nick=f"eve{person}", x_presence_token=f"secret {person}")
            for number in range(1000):
                if not eve.pour(subscribe(number, f"/topic/{person}-{number}-{'x' * 8000}")):
                    break
            eve.until_done()


# ---------------------------------------------------------------- what has not come yet


def test_frames_that_never_end(serve: Serve) -> None:
    server = serve(SMALL)
    with attack(server, "the server's memory limit", holds=BUDGET) as scene:
        for _ in range(times(60, 200)):
            eve = scene.stranger()
            begin = f"SEND\ndestination:/topic/hostile\ncontent-length:{4 * MIB}\n\n".encode()
            eve.pour(begin + b"x" * (4 * MIB - 10), 5)


def test_frames_that_never_end_in_websocket_messages_that_never_end(serve: Serve) -> None:
    server = serve(SMALL)
    with attack(server, "the server's memory limit", holds=BUDGET) as scene:
        for _ in range(times(60, 200)):
            eve = scene.stranger("WebSocket")
            begin = f"SEND\ndestination:/topic/hostile\ncontent-length:{4 * MIB}\n\n".encode()
            eve.pour(eve.stream.packed(begin + b"x" * (4 * MIB - 10)), 5)


# ---------------------------------------------------------------- queues


def test_queues_of_one_empty_message(serve: Serve) -> None:
    server = serve(SMALL)
    # Publishers are slowed down before memory is used up, which may not be enough for so many.
    ends = (NO_END, "the server's memory limit")
    with attack(server, ends, holds=BUDGET) as scene:
        for client in range(times(8, 20)):
            eve = scene.stranger()
            burst = [message_bytes(f"/queue/{client}.{number}", b"") for number in range(10_000)]
            eve.pour(b"".join(burst), 5)


def test_headers_of_wide_characters(serve: Serve) -> None:
    server = serve(SMALL)
    with attack(server, "the server's memory limit", holds=BUDGET) as scene:
        eve = scene.stranger()
        wide = {f"h{number}": "\N{PILE OF POO}" * 1900 for number in range(90)}
        for number in range(times(300, 1000)):
            if not eve.pour(scene.message(b"", f"/queue/wide{number}", **wide), 5):
                break
        eve.until_done()


def test_transactions_that_never_end(serve: Serve) -> None:
    server = serve(SMALL)
    with attack(server, "more than 16 transactions open", holds=BUDGET) as scene:
        for _ in range(times(4, 8)):
            eve = scene.stranger()
            for name in range(16):
                eve.pour(frame_bytes("BEGIN", transaction=str(name)))
                burst = [
                    scene.message(b"", f"/queue/t{n}", transaction=str(name)) for n in range(1000)
                ]
                eve.pour(b"".join(burst), 5)
            eve.until_done(5)
