"""[broker] and [pubsub]: the limits of sessions and of the broker."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import pytest
from support.chat_ini import LISTEN, read, refused
from support.in_memory import InMemory, Log

from rtchat.config.keys import keys_of
from rtchat.core.broker.broker import Broker
from rtchat.core.broker.events import HeldByQueue
from rtchat.core.broker.limits import BrokerLimits
from rtchat.core.stomp.limits import Limits
from rtchat.server.stomp import BrokerPart, quarter_of_memory

QUARTER_OF_MEMORY = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4


def with_broker(ini: Path, line: str) -> Limits:
    return read(ini, f"{LISTEN}[broker]\n{line}\n").of(BrokerPart).session


@pytest.mark.parametrize(
    "line, changed",
    [
        ("login.timeout = 2.5", {"login_timeout_s": 2.5}),
        ("login.max_bytes = 2048", {"max_login_bytes": 2048}),
        ("frame.max_bytes = 1 MiB", {"max_frame_bytes": 1024 * 1024}),
        ("header.max_count = 50", {"max_headers": 50}),
        ("header.max_bytes = 4 KiB", {"max_header_bytes": 4096}),
        ("subscription.max_count = 7", {"max_subscriptions": 7}),
        ("selector.max_steps = 700", {"max_selector_steps": 700}),
        ("backlog.max_bytes = 1 GiB", {"max_backlog_bytes": 1024**3}),
        ("heartbeat.send_ms = 0", {"heartbeat_send_ms": 0}),
        ("heartbeat.receive_ms = 5000", {"heartbeat_receive_ms": 5000}),
        ("heartbeat.min_ms = 100", {"min_heartbeat_ms": 100}),
        ("server_header = no", {"show_server": False}),
        ("transaction.max_count = 2", {"max_transactions": 2}),
        ("transaction.max_actions = 3", {"max_transaction_actions": 3}),
        ("prefetch.count = 0", {"prefetch": 0}),
        ("prefetch.count = 65535", {"prefetch": 65535}),
    ],
)
def test_a_key_of_broker_changes_its_limit_and_no_other(
    ini: Path, line: str, changed: dict[str, float]
) -> None:
    assert with_broker(ini, line) == dataclasses.replace(Limits(), **changed)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "line,changed",
    [
        ("queue.max_messages = 5", {"max_queue_messages": 5}),
        ("queue.max_bytes = 1 KiB", {"max_queue_bytes": 1024}),
        ("redelivery.max_count = 0", {"max_deliveries": 0}),
        ("redelivery.max_count = 7", {"max_deliveries": 7}),
        ("memory.max_bytes = 2 MiB", {"max_bytes": 2 * 1024 * 1024}),
    ],
)
def test_a_key_of_broker_changes_what_all_sessions_share(
    ini: Path, line: str, changed: dict[str, int]
) -> None:
    limits = read(ini, f"{LISTEN}[broker]\n{line}\n").of(BrokerPart).shared
    assert limits == dataclasses.replace(BrokerLimits(max_bytes=QUARTER_OF_MEMORY), **changed)


@pytest.mark.parametrize("kind", [Limits, BrokerLimits])
def test_every_limit_has_a_key(kind: type[Limits] | type[BrokerLimits]) -> None:
    assert list(keys_of(kind)) == [field.name for field in dataclasses.fields(kind)]


def test_pubsub_names_the_queues_and_topics_that_get_copies(ini: Path) -> None:
    lines = "orders = /queue/a, b,/queue/a\nnews=/queue/c\nall=/topic/x, /queue/a, y\n"
    assert read(ini, f"{LISTEN}[pubsub]\n{lines}").of(BrokerPart).pubsub == {
        "orders": ("/queue/a", "/queue/b"),
        "news": ("/queue/c",),
        "all": ("/topic/x", "/queue/a", "/topic/y"),
    }


@pytest.mark.parametrize(
    "line,error",
    [
        (
            "orders = /queue/a, /user/b",
            "names /user/b where a queue or topic belongs; write /queue/NAME or /topic/NAME, "
            "several with commas between them",
        ),
        (
            "orders = a",
            "names a where a queue or topic belongs; write /queue/NAME or /topic/NAME, "
            "several with commas between them",
        ),
        (
            "orders = /topic/, /queue/a",
            "names /topic/ where a queue or topic belongs; write /queue/NAME or /topic/NAME, "
            "several with commas between them",
        ),
        (
            "orders = /queue/a,,/queue/b",
            "names nothing where a queue or topic belongs; write /queue/NAME or /topic/NAME, "
            "several with commas between them",
        ),
        (
            "a/b = /queue/a",
            "is not a name; write letters, digits, dots, dashes and underscores, such as "
            "orders = /queue/billing, /queue/shipping",
        ),
    ],
)
def test_a_pubsub_line_that_cannot_be_used_is_named(ini: Path, line: str, error: str) -> None:
    text = f"{LISTEN}[pubsub]\n{line}\n"
    assert refused(ini, text) == f"chat.ini:4: [pubsub] {line} {error}"


# ---------------------------------------------------------------- the running server


def test_a_flood_of_dead_letters_leaves_a_limited_number_of_lines(
    in_memory: InMemory, log: Log
) -> None:
    server = in_memory.start(LISTEN)
    [tell] = server.part(BrokerPart).broker.events.dead_lettered
    for number in range(500):
        tell(f"/queue/DLQ.{number}", 1, 600)
    assert len(log.lines("a message was refused")) == 100
    in_memory.reactor.turn(61)
    assert log.lines("queues: ") == ["queues: left out of the log within 60 s: 400 lines"]


def test_the_numbers_of_clients_are_keys(ini: Path) -> None:
    text = f"{LISTEN}[broker]\nconnections.total = 7\nconnections.per_source = 0\n"
    settings = read(ini, text).of(BrokerPart)
    assert (settings.max_connections, settings.max_connections_per_source) == (7, 0)


@pytest.mark.parametrize(
    "event, text",
    [
        (
            "queue_full",
            "/queue/a\\n is full (2 messages, 30 bytes): its publishers are not read until a "
            "consumer makes room. The limits are queue.max_messages and queue.max_bytes in "
            "[broker]",
        ),
        ("queue_drained", "/queue/a\\n has room again (2 messages, 30 bytes)"),
        (
            "dead_lettered",
            "a message was refused or tried too often, it is in /queue/a\\n now (2 there)",
        ),
    ],
)
def test_what_happens_to_a_queue_is_one_line_of_the_log(
    in_memory: InMemory, log: Log, event: str, text: str
) -> None:
    server = in_memory.start(LISTEN)
    events = server.part(BrokerPart).broker.events
    for heard in getattr(events, event):
        heard("/queue/a\n", 2, 30)
    assert log.lines()[-1] == text


def test_memory_that_is_nearly_used_up_is_one_line_of_the_log(
    in_memory: InMemory, log: Log
) -> None:
    server = in_memory.start(LISTEN)
    [heard] = server.part(BrokerPart).broker.events.memory_short
    heard(58, 64, [HeldByQueue("/queue/a\n", 2, 50, 0), HeldByQueue("/queue/b", 1, 8, 3)])
    assert log.lines()[-1] == (
        "memory is nearly used up: 58 of 64 bytes, the limit is memory.max_bytes in [broker]. The "
        "largest queues: /queue/a\\n (50 bytes in 2 messages, 0 consumers), /queue/b (8 bytes in "
        "1 messages, 3 consumers). Publishers to queues that fill it are slowed down, others are "
        "not"
    )
    heard(58, 64, [])
    assert "The largest queues: none, it is what clients have yet to read." in log.lines()[-1]


def test_lost_dead_letters_are_a_line_a_minute(in_memory: InMemory, log: Log) -> None:
    server = in_memory.start(LISTEN)
    [heard] = server.part(BrokerPart).broker.events.dead_letters_dropped
    for _ in range(5):
        heard("/queue/DLQ.a\n", 2, 7, 100)
    in_memory.reactor.advance(60)
    in_memory.reactor.advance(60)
    heard("/queue/DLQ.b", 1, 7, 100)
    words = (
        " (7 messages, 100 bytes) is full: dead letters removed to make room, the oldest first: "
    )
    lines = [line for line in log.lines() if "dead letters removed" in line]
    assert [line.partition(". The limits")[0] for line in lines] == [
        f"/queue/DLQ.a\\n{words}2",
        f"/queue/DLQ.a\\n{words}8",
        f"/queue/DLQ.b{words}1",
    ]


def test_dead_letters_that_were_lost_last_are_said_at_the_end(
    in_memory: InMemory, log: Log
) -> None:
    server = in_memory.start(LISTEN)
    [heard] = server.part(BrokerPart).broker.events.dead_letters_dropped
    heard("/queue/DLQ.a", 1, 7, 100)
    heard("/queue/DLQ.a", 3, 7, 100)
    server.service.stopService()
    in_memory.reactor.turn()
    lines = [line for line in log.lines() if "dead letters removed" in line]
    assert [line.partition(". The limits")[0][-2:] for line in lines] == [" 1", " 3"]
    in_memory.reactor.turn(61)
    assert not in_memory.reactor.getDelayedCalls()


def test_the_broker_expires_once_a_second_until_the_end(
    in_memory: InMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    times: list[float] = []
    monkeypatch.setattr(Broker, "expire", lambda broker: times.append(broker.now))
    server = in_memory.start(LISTEN)
    in_memory.reactor.pump([0.5] * 5)
    assert len(times) == 3
    server.service.stopService()
    in_memory.reactor.pump([0.5] * 5)
    assert len(times) == 3


def test_a_bug_in_the_expiry_is_logged(
    in_memory: InMemory, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    def expire(broker: Broker) -> None:
        raise ValueError("a bug")

    monkeypatch.setattr(Broker, "expire", expire)
    server = in_memory.start(LISTEN)
    assert log.lines("bug") == ["bug; nothing expires until the next start"]
    server.service.stopService()


def test_a_machine_that_does_not_tell_its_memory_has_a_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(name: str) -> int:
        raise ValueError("unrecognized configuration name")

    monkeypatch.setattr(os, "sysconf", refuse)
    assert quarter_of_memory() == 1024**3
