"""``[broker]`` and ``[pubsub]``: the STOMP broker and its periodic work."""

from __future__ import annotations

import os
from collections.abc import Mapping

from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from typing_extensions import override

from rtchat.config.ini import SourceLine
from rtchat.config.values import (
    GIB,
    KIB,
    MIB,
    URL_SEGMENT,
    Reader,
    filled_text,
    seconds,
    size_in_bytes,
    whole_number,
    yes_no,
)
from rtchat.core.broker.broker import Broker
from rtchat.core.broker.events import BrokerEvents
from rtchat.text import escaped

__all__ = [
    "BROKER_KEYS",
    "SESSION_KEYS",
    "Expiry",
    "LateModules",
    "QueueLog",
    "quarter_of_memory",
    "read_pubsub",
]

_log = Logger(__package__)


def read_pubsub(source_line: SourceLine) -> tuple[str, ...]:
    """Read the queues of a [pubsub] line."""
    if not URL_SEGMENT.fullmatch(source_line.key):
        raise source_line.error(
            "is not a name; write letters, digits, dots, dashes and underscores, such as "
            "orders = /queue/billing, /queue/shipping"
        )
    queues = [name.strip() for name in filled_text(source_line).split(",")]
    for name in queues:
        if not name.startswith("/queue/") or name == "/queue/":
            raise source_line.error(
                f"names {name or 'nothing'} where a queue belongs; write /queue/NAME, several "
                "with commas between them"
            )
    return tuple(dict.fromkeys(queues))


def quarter_of_memory() -> int:
    """Return a quarter of the machine's memory in bytes, or 1 GiB if nobody can tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4
    except (ValueError, OSError):
        return GIB


SESSION_KEYS: Mapping[str, tuple[str, Reader]] = {
    "login.timeout": ("login_timeout_s", seconds(0.1, 3600)),
    "login.max_bytes": ("max_login_bytes", size_in_bytes(KIB, GIB)),
    "frame.max_bytes": ("max_frame_bytes", size_in_bytes(KIB, GIB)),
    "header.max_count": ("max_headers", whole_number(10, 100_000, "headers")),
    "header.max_bytes": ("max_header_bytes", size_in_bytes(256, MIB)),
    "subscription.max_count": ("max_subscriptions", whole_number(1, 1_000_000, "subscriptions")),
    "backlog.max_bytes": ("max_backlog_bytes", size_in_bytes(KIB, GIB)),
    "transaction.max_count": ("max_transactions", whole_number(1, 100_000, "transactions")),
    "transaction.max_actions": ("max_transaction_actions", whole_number(1, 1_000_000, "actions")),
    "prefetch.count": ("prefetch", whole_number(1, 65_535, "messages", or_zero=True)),
    "heartbeat.send_ms": (
        "heartbeat_send_ms",
        whole_number(100, 3_600_000, "milliseconds", or_zero=True),
    ),
    "heartbeat.receive_ms": (
        "heartbeat_receive_ms",
        whole_number(100, 3_600_000, "milliseconds", or_zero=True),
    ),
    "heartbeat.min_ms": ("min_heartbeat_ms", whole_number(100, 3_600_000, "milliseconds")),
    "server_header": ("show_server", yes_no),
}

BROKER_KEYS: Mapping[str, tuple[str, Reader]] = {
    "queue.max_messages": ("max_queue_messages", whole_number(1, 100_000_000, "messages")),
    "queue.max_bytes": ("max_queue_bytes", size_in_bytes(KIB, 1024 * GIB)),
    "redelivery.max_count": (
        "max_deliveries",
        whole_number(1, 1_000_000, "deliveries", or_zero=True),
    ),
    "memory.max_bytes": ("max_bytes", size_in_bytes(MIB, 1024 * GIB)),
}


_EXPIRE_EVERY_S = 1.0


class LateModules(Service):
    """Loads what only some requests need, while the first clients connect.

    Now and not with the first of these requests: the user whom the server becomes may not be
    able to read Python's files, and an update may replace them under a server that runs.
    """

    @override
    def privilegedStartService(self) -> None:
        super().privilegedStartService()
        import rtchat.core.selector.selector  # noqa: F401


class Expiry(Service):
    """Drops messages whose time is over, and says who has left.

    Twisted's TimerService does the same; its module is a twentieth of the whole start.
    """

    def __init__(self, broker: Broker, clock: IReactorTime) -> None:
        self._broker = broker
        self._clock = clock
        self._loop = LoopingCall(self._expire)
        self._loop.clock = clock

    @override
    def startService(self) -> None:
        super().startService()
        self._loop.start(_EXPIRE_EVERY_S).addErrback(
            lambda failure: _log.failure("bug; nothing expires until the next start", failure)
        )

    @override
    def stopService(self) -> None:
        super().stopService()
        if self._loop.running:
            self._loop.stop()

    def _expire(self) -> None:
        with self._broker.turn:
            self._broker.expire()


class QueueLog(BrokerEvents):
    """Tells the log about queues."""

    @override
    def queue_full(self, destination: str, messages: int, size: int) -> None:
        _log.warn(
            "{queue} is full ({messages} messages, {bytes} bytes): its publishers are not read "
            "until a consumer makes room. The limits are queue.max_messages and "
            "queue.max_bytes in [broker]",
            queue=escaped(destination),
            messages=messages,
            bytes=size,
        )

    @override
    def queue_drained(self, destination: str, messages: int, size: int) -> None:
        _log.warn(
            "{queue} has room again ({messages} messages, {bytes} bytes)",
            queue=escaped(destination),
            messages=messages,
            bytes=size,
        )

    @override
    def dead_lettered(self, destination: str, messages: int, size: int) -> None:
        _log.warn(
            "a message was refused or tried too often, it is in {queue} now ({messages} there)",
            queue=escaped(destination),
            messages=messages,
        )
