"""Measurements that need a fresh server: its start, and the cost of idle connections."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.brokers import Nats
from benchmarks.contest import Spread, Verdict, number, say
from benchmarks.generator import Blast, raise_open_files
from benchmarks.servers import Rtchat, Server

__all__ = [
    "HEARTBEAT_TITLE",
    "START_TITLE",
    "measure_heartbeats",
    "measure_memory",
    "measure_start",
]

START_TARGET_S = 0.5
MEMORY_TARGET_KIB = 8.0
HEARTBEAT_MS = 10_000
HEARTBEAT_CONNECTIONS = 20_000
HEARTBEAT_TARGET = 0.15
START_TITLE = "start to listening on both ports"
HEARTBEAT_TITLE = (
    f"{HEARTBEAT_CONNECTIONS:,} connections over WebSocket, heart-beats every "
    f"{HEARTBEAT_MS // 1000} s both ways"
)
# RabbitMQ takes many milliseconds for each connection, and as long to close it.
_PEER_CONNECTIONS = 1000
# Connect this many first: the server then imports what it loads lazily, and that is not counted.
WARM_UP_CONNECTIONS = 50
# An upper bound of the files that a server opens besides its connections.
_OTHER_FILES = 100
# An address has about 28,000 source ports, and earlier runs have just used some of them.
_SOURCES = 4


def measure_start(directory: Path, rounds: int, others: list[Server]) -> Verdict:
    """Start rtchat and its peers several times; report how long the starts took."""
    say("start to listening")
    seconds, cpu = [], []
    for attempt in range(rounds + 1):
        with Rtchat(directory / f"start-{attempt}") as server:
            seconds.append(server.started_s)
            cpu.append(server.started_cpu_s)
    # Skip the first start: it may compile modules, or read them from disk.
    spread = Spread.of(seconds[1:])
    theirs = [f"{server.name} {server.started_s:.2f} s" for server in others]
    if Nats.find():
        with Nats(directory / "start-nats") as nats:
            theirs = [one for one in theirs if not one.startswith("NATS ")]
            theirs.append(f"NATS {nats.started_s:.2f} s")
    return Verdict(
        START_TITLE,
        f"at most {START_TARGET_S:g} s",
        f"{spread.median:.2f} s ({spread.low:.2f} .. {spread.high:.2f})",
        f"{Spread.of(cpu[1:]).median:.2f} s of CPU",
        ", ".join(theirs) or "-",
        spread.median <= START_TARGET_S,
    )


def measure_memory(
    directory: Path, blast: Blast, connections: int, rounds: int, rabbitmq: Server | None
) -> Verdict:
    """Return the memory of a fresh server per idle connection."""
    say(f"memory of {connections} idle connections")

    def of(server: Server, connections: int) -> float:
        settings = {"publishers": 0, "messages": 0}
        blast.run(server, "ws", subscribers=WARM_UP_CONNECTIONS, **settings)
        run = blast.run(server, "ws", subscribers=connections, hold=1, sources=_SOURCES, **settings)
        return (run.rss_connected_kb - run.rss_before_kb) / connections

    kib = []
    for attempt in range(rounds):
        with Rtchat(directory / f"memory-{attempt}") as server:
            kib.append(of(server, connections))
    spread = Spread.of(kib)
    peer = "-"
    if rabbitmq is not None:
        count = min(connections, _PEER_CONNECTIONS)
        peer = f"{number(of(rabbitmq, count))} KiB (RabbitMQ Web STOMP, {count:,})"
    return Verdict(
        f"memory a connection, {connections:,} idle, STOMP over WebSocket, subscribed",
        f"at most {MEMORY_TARGET_KIB:g} KiB",
        f"{spread.median:.2f} KiB ({spread.low:.2f} .. {spread.high:.2f})",
        f"{spread.median:.2f} KiB",
        peer,
        spread.median <= MEMORY_TARGET_KIB,
    )


def measure_heartbeats(
    directory: Path, blast: Blast, connections: int, hold_s: float
) -> Iterator[Verdict]:
    """Hold many WebSocket connections with heart-beats every 10 s in both directions.

    The limit on open files may reduce their number. If it is below 20,000, the report says so,
    and the share of a core is scaled up.
    """
    connections = min(connections, raise_open_files() - _OTHER_FILES)
    say(f"{connections} connections with heart-beats, {hold_s:g} s")
    with Rtchat(directory / "heartbeats") as server:
        settings = {"publishers": 0, "messages": 0, "sources": _SOURCES}
        blast.run(server, "ws", subscribers=WARM_UP_CONNECTIONS, **settings)
        run = blast.run(
            server,
            "ws",
            subscribers=connections,
            hold=hold_s,
            heartbeat=HEARTBEAT_MS,
            **settings,
        )
    share = run.hold_cpu_s / run.hold_s
    scaled = share * HEARTBEAT_CONNECTIONS / connections
    measured = f"{scaled:.1%} of a core"
    if connections != HEARTBEAT_CONNECTIONS:
        measured += f" ({share:.1%} for {connections:,}, times {scaled / share:.2f})"
    generator = run.hold_generator_cpu_s / run.hold_s
    yield Verdict(
        HEARTBEAT_TITLE,
        f"at most {HEARTBEAT_TARGET:.0%} of a core",
        measured,
        f"{share:.1%} (generator {generator:.1%})",
        "-",
        scaled <= HEARTBEAT_TARGET,
    )
    kib = (run.rss_connected_kb - run.rss_before_kb) / connections
    yield Verdict(
        "memory of each of these",
        f"at most {MEMORY_TARGET_KIB:g} KiB",
        f"{kib:.2f} KiB",
        f"{kib:.2f} KiB",
        "-",
        kib <= MEMORY_TARGET_KIB,
    )
