"""A turn ends: what one stranger sends does not make others wait."""

from __future__ import annotations

import signal
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from support.hostile import MIB, NO_END, GuardedServer, Scene, attack, times
from support.process import until
from support.stomp import frame_bytes, message_bytes
from support.websocket import BINARY, ws_frame

pytestmark = [pytest.mark.live, pytest.mark.soak]

Serve = Callable[..., GuardedServer]


SELECTORS = "selectors over the limit of 30000 steps"
SHARED = "selectors over the limit of 60000 steps for one user or address"
SAME = "more than 16 subscriptions of one destination"


def subscribe(number: int | str, destination: str, **headers: str) -> bytes:
    return frame_bytes("SUBSCRIBE", id=str(number), destination=destination, **headers)


# ---------------------------------------------------------------- costly subscriptions


def test_patterns_of_many_words(server: GuardedServer) -> None:
    with attack(server, NO_END) as scene:
        eve = scene.stranger()
        for number in range(500):  # more are over the limit of steps
            # no two are equal, and each may match in very many ways
            words = ["*" if number >> bit & 1 else "#" for bit in range(10)] * 6
            eve.pour(subscribe(number, "/topic/" + ".".join(["#", *words, "end"])))
        for number in range(times(3, 30)):
            eve.pour(scene.message(b"x", "/topic/" + ".".join([f"w{number}"] * 64)))
        eve.until_done()


@pytest.mark.parametrize(
    "selector, header",
    [
        (" OR ".join(f"note LIKE '%{'a%' * 40}{n}b'" for n in range(50)), "a" * 4000),
        (" + ".join(["note"] * 500) + " = 1", "9" * 8000),
        (" * ".join(["note"] * 60) + " = 1", "9" * 8000),
    ],
    ids=["LIKE", "sum", "product"],
)
def test_a_thousand_selectors(server: GuardedServer, selector: str, header: str) -> None:
    with attack(server, (SELECTORS, SAME)) as scene:
        eve = scene.stranger()
        for number in range(1000):
            eve.pour(subscribe(number, "/topic/hostile", selector=selector))
        for _ in range(times(2, 20)):
            eve.pour(scene.message(b"x", note=header))
        eve.until_done()


def test_a_thousand_selectors_on_what_others_send(server: GuardedServer) -> None:
    with attack(server, (SELECTORS, SAME)) as scene:
        eve = scene.stranger()
        for number in range(1000):
            selector = f"note LIKE '%{'a%' * 20}{number}b' OR note LIKE '{'%a' * 20}c{number}'"
            eve.pour(subscribe(number, "/topic/honest", selector=selector))
        eve.until_done()


def test_selectors_of_many_sessions_on_what_others_send(server: GuardedServer) -> None:
    with attack(server, (SHARED, SELECTORS)) as scene:
        refused = 0
        for number in range(times(30, 200)):
            eve = scene.stranger()
            selector = " OR ".join(
                f"destination LIKE '%{'a%' * 20}{number}b{n}'" for n in range(25)
            )
            some = [
                subscribe(n, "/topic/honest", selector=f"{selector} OR n = {n}") for n in range(16)
            ]
            eve.pour(b"".join(some))
            frames = eve.until_done()
            refused += bool(frames) and frames[-1].command == "ERROR"
        assert refused >= times(26, 196), "the selectors of an address have a limit together"


@pytest.mark.parametrize("ack", ["auto", "client"])
def test_many_sessions_with_many_subscriptions_of_one_topic(
    server: GuardedServer, ack: str
) -> None:
    with attack(server, NO_END) as scene:
        eves = [scene.stranger() for _ in range(times(60, 200))]
        for number, eve in enumerate(eves):
            some = [subscribe(f"{number}.{n}", f"/topic/hostile.{ack}", ack=ack) for n in range(16)]
            eve.pour(b"".join(some))
            eve.until_done()
        for _ in range(times(30, 300)):
            eves[0].pour(scene.message(b"x", f"/topic/hostile.{ack}"))
        eves[0].until_done(30)


def test_many_subscriptions_of_one_topic_are_refused(server: GuardedServer) -> None:
    with attack(server, SAME) as scene:
        eve = scene.stranger()
        eve.pour(b"".join(subscribe(number, "/topic/hostile") for number in range(1000)))
        assert "destination.max_subscriptions" in eve.error().body.decode()
        scene.ended(eve, "16 subscriptions")


# ---------------------------------------------------------------- acknowledgements and transactions


@pytest.mark.parametrize("mode", ["client", "client-individual"])
@pytest.mark.parametrize("header", ["ack", "message-id"])
def test_acknowledgements_in_transactions_that_are_aborted(
    server: GuardedServer, mode: str, header: str
) -> None:
    with attack(server, NO_END) as scene:
        eve = scene.stranger()
        queue = f"/queue/{mode}.{header}"
        eve.send(subscribe(0, queue, ack=mode, receipt="s"))
        eve.frame()
        count = 9_900
        eve.pour(b"".join(message_bytes(queue, b"%d" % number) for number in range(count)))
        frames = eve.frames_until(lambda frame: frame.body == b"%d" % (count - 1))
        acks = [frame[header] for frame in frames if header in frame][-2048:]
        if mode == "client-individual":
            acks.reverse()
        for _ in range(times(1, 5)):
            for name, part in (("t1", acks[:1024]), ("t2", acks[1024:])):
                burst = [frame_bytes("ACK", id=ack, transaction=name) for ack in part]
                eve.pour(frame_bytes("BEGIN", transaction=name) + b"".join(burst))
            eve.pour(b"".join(frame_bytes("ABORT", transaction=name) for name in ("t1", "t2")))
        eve.until_done(30)


def test_a_few_kilobytes_that_inflate_to_millions_of_frames(server: GuardedServer) -> None:
    frames = frame_bytes("BEGIN", transaction="t") + frame_bytes("ABORT", transaction="t")
    data = frames * (4 * MIB // len(frames))
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = (packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]
    assert len(packed) < 52 * 1024
    with attack(server, NO_END) as scene:
        eve = scene.websocket(deflates=True)
        eve.pour(ws_frame(BINARY, packed, reserved=4) * times(1, 10))
        eve.until_pong(15)


# ---------------------------------------------------------------- names


def test_temporary_queues_with_long_names(server: GuardedServer) -> None:
    with attack(server, NO_END, holds=16 * MIB) as scene:
        eve = scene.stranger()
        name = "/temp-queue/" + "\\c" * 3900
        burst = [scene.message(b"", reply_to=f"{name}{number}") for number in range(998)]
        eve.pour(b"".join(burst))
        pair = subscribe(1, "/topic/hostile") + frame_bytes("UNSUBSCRIBE", id="1")
        eve.pour(pair * times(100, 1000))
        eve.until_done(20)


def test_very_many_queues(serve: Serve) -> None:
    server = serve()
    with attack(server, "more than 10000 queues created", holds=200 * MIB, looks_on_s=2.5) as scene:
        eve = scene.stranger()
        for start in range(0, times(50_000, 400_000), 1000):
            burst = [message_bytes(f"/queue/h{start + n}", b"x") for n in range(1000)]
            if not eve.pour(b"".join(burst), 30):
                break
        eve.until_done(30)


def test_questions_for_a_time_hold_the_file(keeper: GuardedServer) -> None:
    # A look-up that read all of these would take milliseconds, and what the rate of subscriptions
    # lets through at once must not lie before what others store.
    scene = Scene(keeper)
    scene.stranger().pour(b"".join([scene.message(b"x", "/topic/chat.big")] * 20_000), 30)
    scene.close()
    with attack(keeper, NO_END, holds=16 * MIB, destination="/topic/chat.honest") as scene:
        eve = scene.stranger()
        ask = subscribe(1, "/topic/chat.big", x_stream_offset="timestamp=9999999999")
        again = ask + frame_bytes("UNSUBSCRIBE", id="1")
        eve.pour(again * times(5_000, 60_000), 20)
        eve.until_done(20)


# ---------------------------------------------------------------- time


@pytest.mark.parametrize("kind", ["TCP", "WebSocket"])
def test_after_a_stall_of_the_server_nobody_is_cut(server: GuardedServer, kind: str) -> None:
    scene = Scene(server)
    clients = [scene.stranger(kind, logs_in=False) for _ in range(5)]
    for client in clients:
        client.connect(heart_beat="1000,1000")
    server.send_signal(signal.SIGSTOP)
    try:
        for _ in range(8):
            for client in clients:
                client.send(b"\n")
            time.sleep(0.4)
    finally:
        server.send_signal(signal.SIGCONT)
    for client in clients:
        client.send(frame_bytes("BEGIN", transaction="t", receipt="alive"))
    for client in clients:
        assert client.frame().headers.get("receipt-id") == "alive"
    scene.close()


CLOCK = """\
import os, time
_real, _file = time.time, {file!r}
time.time = lambda: _real() - (3600 if os.path.exists(_file) else 0)
"""


def test_a_wall_clock_that_is_set_back_stops_no_heart_beats(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "set-back"
    (tmp_path / "sitecustomize.py").write_text(CLOCK.format(file=str(path)), encoding="utf-8")
    server = serve(modules=tmp_path)
    scene = Scene(server)
    client = scene.stranger(logs_in=False)
    client.connect(heart_beat="0,1000")
    path.touch()
    deadline_s = time.monotonic() + 6
    while client.heart_beats < 3:
        client.look()
        assert time.monotonic() < deadline_s, "no heart-beats any more"
        time.sleep(0.05)
    scene.close()


@pytest.mark.parametrize("heart_beat", ["0,0", "99999999999999,99999999999999", "1,1"])
def test_whatever_heart_beats_are_wanted_the_system_looks_after_the_connection(
    server: GuardedServer, heart_beat: str
) -> None:
    scene = Scene(server)
    client = scene.stranger(logs_in=False)
    client.send(frame_bytes("CONNECT", accept_version="1.2", host="test", heart_beat=heart_beat))
    assert client.frame().command == "CONNECTED"
    client.ask("BEGIN", transaction="t")
    mine = f":{client.port:04X} "

    def keeps_alive() -> bool:
        [line] = [line for line in server.connections() if mine in f"{line.split()[2]} "]
        return line.split()[5].startswith("02:")  # proc_net_tcp: tr

    until("keep-alive timer", keeps_alive, 3)
    scene.close()
