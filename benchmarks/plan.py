"""The plan of the comparison: loads, contestants, and the targets of rtchat."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

__all__ = [
    "ACTIVEMQ",
    "COILMQ",
    "MOSQUITTO",
    "NATS",
    "OURS",
    "OURS_WS",
    "PLAN",
    "RABBITMQ",
    "RABBITMQ_WS",
    "Contestant",
    "Measure",
    "Target",
    "Work",
]

Measure = Literal["per_cpu_s", "p50_ms", "p99_ms"]


@dataclass(frozen=True)
class Contestant:
    """A server with one of its wires.

    Attributes:
        label: Its name in tables and pictures.
        server: The server's name.
        wire: The wire's name.
    """

    label: str
    server: str
    wire: str


OURS = Contestant("rtchat", "rtchat", "tcp")
OURS_WS = Contestant("rtchat /ws", "rtchat", "ws")
NATS = Contestant("NATS", "NATS", "nats")
MOSQUITTO = Contestant("Mosquitto", "Mosquitto", "mqtt")
RABBITMQ = Contestant("RabbitMQ STOMP", "RabbitMQ", "tcp")
RABBITMQ_WS = Contestant("RabbitMQ Web STOMP", "RabbitMQ", "ws")
ACTIVEMQ = Contestant("ActiveMQ STOMP", "ActiveMQ", "tcp")
COILMQ = Contestant("CoilMQ", "CoilMQ", "tcp")

_STOMP = (RABBITMQ, ACTIVEMQ, COILMQ)


@dataclass(frozen=True)
class Target:
    """A target: the ratio of a figure of rtchat to that of its peers.

    Attributes:
        ours: The label of the contestant of rtchat.
        peers: The labels of the peers; the best one counts.
        ratio: Ours divided by theirs: the minimum, or the maximum for milliseconds.
        text: The peers in words.
        measure: The figure that is compared.
    """

    ours: Contestant
    peers: tuple[Contestant, ...]
    ratio: float
    text: str
    measure: Measure = "per_cpu_s"

    @property
    def is_time(self) -> bool:
        """Whether smaller figures are better."""
        return self.measure != "per_cpu_s"

    def __str__(self) -> str:
        what = {"per_cpu_s": "", "p50_ms": "p50 ", "p99_ms": "p99 "}[self.measure]
        return f"{what}{'at most ' if self.is_time else ''}{self.ratio:g} x {self.text}"


@dataclass(frozen=True, eq=False)
class Work:
    """One kind of load.

    Attributes:
        title: The row's title.
        contestants: The contestants.
        targets: The targets.
        settings: ``blast``'s arguments.
        rate: Messages per second, or 0 for as many as the server accepts. For a server that
            cannot sustain the rate, it is halved until it can.
    """

    title: str
    contestants: tuple[Contestant, ...]
    targets: tuple[Target, ...]
    settings: Mapping[str, float] = field(default_factory=dict)
    rate: float = 0.0


def _against_stomp(ratio: float) -> Target:
    return Target(OURS, _STOMP, ratio, "the best STOMP broker")


def _fan_out(subscribers: int) -> Work:
    return Work(
        f"1 → {subscribers} over TCP, flat out",
        (OURS, NATS, MOSQUITTO, *_STOMP),
        (Target(OURS, (NATS,), 1.7, "NATS"), _against_stomp(40)),
        {"subscribers": subscribers},
    )


def _fan_out_ws(subscribers: int) -> Work:
    return Work(
        f"1 → {subscribers} over WebSocket, flat out",
        (OURS_WS, OURS, RABBITMQ_WS),
        (
            Target(OURS_WS, (OURS,), 0.9, "our own over TCP"),
            Target(OURS_WS, (RABBITMQ_WS,), 200, "RabbitMQ Web STOMP"),
        ),
        {"subscribers": subscribers},
    )


PLAN: tuple[Work, ...] = (
    _fan_out(100),
    _fan_out(1000),
    _fan_out_ws(100),
    _fan_out_ws(1000),
    Work(
        "1 → 100 over TCP, 300 messages/s",
        (OURS, NATS, MOSQUITTO, *_STOMP),
        (
            Target(OURS, (NATS,), 1.3, "NATS"),
            Target(OURS, (NATS,), 1.3, "NATS", "p99_ms"),
            _against_stomp(3),
        ),
        {"subscribers": 100},
        rate=300,
    ),
    Work(
        "1 → 1 over TCP, flat out",
        (OURS, NATS, MOSQUITTO, *_STOMP),
        (_against_stomp(8), Target(OURS, (NATS,), 0.4, "NATS")),
        {"subscribers": 1},
    ),
    Work(
        "queue, 4 → 4, each message acknowledged, prefetch 100",
        (OURS, RABBITMQ, ACTIVEMQ),
        (Target(OURS, (RABBITMQ,), 5, "RabbitMQ STOMP"),),
        {"subscribers": 4, "publishers": 4, "prefetch": 100},
    ),
    Work(
        "1 → 1 through an idle server, 100 messages/s",
        (OURS, NATS, MOSQUITTO, *_STOMP),
        (Target(OURS, (NATS,), 1.5, "NATS", "p50_ms"),),
        {"subscribers": 1},
        rate=100,
    ),
)
"""The loads, in the order of the table."""
