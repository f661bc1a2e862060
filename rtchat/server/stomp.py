"""``[broker]`` and ``[pubsub]``: the STOMP broker, over TCP and at ``/ws``."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from secrets import token_hex
from types import MappingProxyType
from typing import Any

from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from typing_extensions import override

from rtchat.config.ini import SourceLine
from rtchat.config.keys import GIB, key, lines
from rtchat.config.schema import ChatIni
from rtchat.config.values import URL_SEGMENT, filled_text
from rtchat.core.broker.broker import Broker
from rtchat.core.broker.destinations import DestinationKind, split_composite
from rtchat.core.broker.events import BrokerEvents, HeldByQueue
from rtchat.core.broker.limits import BrokerLimits
from rtchat.core.stomp.limits import Limits
from rtchat.net.connection.client_log import ClientLog
from rtchat.net.connection.limits import SourceLimiter
from rtchat.net.connection.relayed import Relayed
from rtchat.net.stomp.door import StompDoor
from rtchat.net.stomp.resource import StompSocket
from rtchat.net.stomp.server import StompFactory
from rtchat.server.access import AccessPart
from rtchat.server.front_proxy import FrontProxyPart
from rtchat.server.part import Check, Checks, Gauges, Part, Server
from rtchat.server.web import WebPart
from rtchat.server.websocket import WebSocketPart
from rtchat.text import escaped

__all__ = ["BrokerPart", "BrokerSettings", "StompWebSocketPart"]

_log = Logger(__package__)

_EXPIRE_EVERY_S = 1.0

_QUIET_S = 60.0
"""After a line about dead letters that were removed, those that follow within this time share the
next one."""
_QUEUES = "queues"
"""Lines about queues count as lines about one client: their names are the clients' words."""


_COPIED_TO = (DestinationKind.QUEUE, DestinationKind.TOPIC)


def _read_pubsub(source_lines: Mapping[str, SourceLine]) -> Mapping[str, tuple[str, ...]]:
    return MappingProxyType({name: _read_names(line) for name, line in source_lines.items()})


def _read_names(source_line: SourceLine) -> tuple[str, ...]:
    """Read the queues and topics of one line of ``[pubsub]``."""
    if not URL_SEGMENT.fullmatch(source_line.key):
        raise source_line.error(
            "is not a name; write letters, digits, dots, dashes and underscores, such as "
            "orders = /queue/billing, /queue/shipping"
        )
    text = filled_text(source_line)
    names = [] if "" in map(str.strip, text.split(",")) else split_composite(text)
    for name in names or [""]:
        if not any(name.startswith(kind.value) and name != kind.value for kind in _COPIED_TO):
            raise source_line.error(
                f"names {name or 'nothing'} where a queue or topic belongs; write /queue/NAME or "
                "/topic/NAME, several with commas between them"
            )
    return tuple(names)


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """The limits of the broker and of its sessions.

    Attributes:
        session: The limits of one STOMP session.
        shared: What all STOMP sessions share.
        pubsub: The queues and topics that get a copy of what is sent to ``/pubsub/NAME``.
        max_connections: How many STOMP clients there may be at once, over TCP and WebSocket
            together; 0 is no limit.
        max_connections_per_source: How many from one address; 0 is no limit.
        max_connections_per_user: How many of one user; 0 is no limit, and then users count to
            their addresses.
    """

    session: Limits = field(default_factory=Limits)
    shared: BrokerLimits = field(default_factory=BrokerLimits)
    pubsub: Mapping[str, tuple[str, ...]] = lines("[pubsub]", _read_pubsub)
    max_connections: int = key(
        "[broker] connections.total",
        10_000,
        unit="connections",
        low=1,
        high=1_000_000,
        or_zero=True,
    )
    max_connections_per_source: int = key(
        "[broker] connections.per_source",
        256,
        unit="connections",
        low=1,
        high=1_000_000,
        or_zero=True,
    )
    max_connections_per_user: int = key(
        "[broker] connections.per_user",
        256,
        unit="connections",
        low=1,
        high=1_000_000,
        or_zero=True,
    )


class BrokerPart(Part[BrokerSettings], Service):
    """The broker, its STOMP clients and its work once a second.

    Attributes:
        broker: The broker.
        factory: Serves STOMP clients, whatever they come over.
        door: Lets them in to the factory, or refuses them.
    """

    reads = (Limits, BrokerLimits, BrokerSettings)

    def __init__(self, settings: BrokerSettings, server: Server) -> None:
        super().__init__(settings, server)
        self.broker = Broker(token_hex(4), settings.shared, lambda: token_hex(16), settings.pubsub)
        self._queue_log = QueueLog(server.client_log, server.clock)
        self.broker.events.add(self._queue_log)
        fronts = server.part(FrontProxyPart).settings.trusted
        self.factory = StompFactory(
            self.broker, settings.session, server.clock, server.client_log, fronts
        )
        self._clock, self._wall_s = server.clock, server.wall_s
        self._look_at_time()
        limiter = SourceLimiter(
            "[broker] connections",
            server.client_log,
            settings.max_connections,
            settings.max_connections_per_source,
            fronts,
            is_for_guests=settings.max_connections_per_user > 0,
        )
        self.door = StompDoor(self.factory, limiter, Relayed())
        # Twisted's TimerService does the same; its module is a twentieth of the whole start.
        self._loop = LoopingCall(self._expire)
        self._loop.clock = server.clock

    @override
    @classmethod
    def read(cls, ini: ChatIni) -> BrokerSettings:
        shared = ini.read(BrokerLimits, max_bytes=quarter_of_memory())
        return ini.read(BrokerSettings, session=ini.read(Limits), shared=shared)

    @override
    def service(self) -> IService:
        return self

    @override
    def load_late(self) -> None:
        import rtchat.core.selector.selector  # noqa: F401  # for SUBSCRIBE with a selector

    @override
    def gauges(self) -> Gauges:
        broker = self.broker
        return {
            "stomp_sessions": lambda: len(self.factory.protocols),
            "subscriptions": lambda: broker.statistics.subscription_count,
            "topics": lambda: broker.statistics.topic_count,
            "queues": lambda: broker.statistics.queue_count,
            "queued_messages": lambda: broker.statistics.queued_count,
            "held_bytes": lambda: broker.budget.used,
            "dead_letters_dropped": lambda: broker.dead_letters.dropped,
            "messages": lambda: broker.publishing.message_count,
        }

    @override
    def checks(self) -> Checks:
        budget = self.broker.budget
        words = "memory.max_bytes is reached: clients are closed to make room"
        return {"memory": Check(lambda: words if budget.is_over else "")}

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

    def _look_at_time(self) -> None:
        """Note the time of day, which may be set while the server runs."""
        self.broker.turn.wall_offset_s = self._wall_s() - self._clock.seconds()

    def _expire(self) -> None:
        """Drop messages that have expired, and people who have not come back."""
        self._look_at_time()
        with self.broker.turn:
            self.broker.expire()

    @override
    def drain(self) -> Deferred[Any]:
        return self.factory.shut_down()

    @override
    def close(self) -> None:
        self._queue_log.close()


class StompWebSocketPart(Part[None]):
    """``/ws``, also known as ``/stomp``: STOMP over WebSocket, straight into the broker."""

    def __init__(self, settings: None, server: Server) -> None:
        super().__init__(settings, server)
        stomp, access = server.part(BrokerPart), server.part(AccessPart)
        limits = stomp.settings.session
        head_bytes = (limits.max_headers + 1) * (limits.max_header_bytes + 2)
        self._websockets = server.part(WebSocketPart).wrap(
            stomp.door,
            stomp.broker.cork,
            max_message_bytes=limits.max_frame_bytes + head_bytes,
        )
        self._websockets.wants_credentials = stomp.broker.authenticator is not None
        resource = StompSocket(
            self._websockets,
            access.access_list,
            access.stomp_targets,
            stomp.door.limiter,
            access.visitors,
        )
        server.part(WebPart).site.backlogs.count_in(stomp.broker.budget)
        for path in ("ws", "stomp"):
            server.part(WebPart).serve(path, resource)

    @override
    def gauges(self) -> Gauges:
        return {"stomp_websockets": lambda: len(self._websockets.protocols)}

    @override
    def drain(self) -> Deferred[Any]:
        gone: Deferred[None] = self._websockets.shut_down()
        return gone


def quarter_of_memory() -> int:
    """Return a quarter of the machine's memory in bytes, or 1 GiB if the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4
    except (ValueError, OSError):
        return GIB


class QueueLog(BrokerEvents):
    """Logs what the operator should know about queues, as much of it as about one client.

    Args:
        lines: Where it is written.
        clock: Where the time between two lines about lost dead letters runs.
    """

    def __init__(self, lines: ClientLog, clock: IReactorTime) -> None:
        self._lines = lines
        self._clock = clock
        self._quiet: IDelayedCall | None = None
        self._dropped = 0  # dead letters that were removed since the last line about that
        self._fullest = ""

    @override
    def queue_full(self, destination: str, messages: int, size: int) -> None:
        self._lines.warn(
            _log,
            "{queue} is full ({messages} messages, {bytes} bytes): its publishers are not read "
            "until a consumer makes room. The limits are queue.max_messages and "
            "queue.max_bytes in [broker]",
            peer=_QUEUES,
            queue=escaped(destination),
            messages=messages,
            bytes=size,
        )

    @override
    def queue_drained(self, destination: str, messages: int, size: int) -> None:
        self._lines.warn(
            _log,
            "{queue} has room again ({messages} messages, {bytes} bytes)",
            peer=_QUEUES,
            queue=escaped(destination),
            messages=messages,
            bytes=size,
        )

    @override
    def memory_short(self, used: int, max_bytes: int, largest: Sequence[HeldByQueue]) -> None:
        queues = ", ".join(
            f"{escaped(queue.destination)} ({queue.bytes} bytes in {queue.messages} messages, "
            f"{queue.consumers} consumers)"
            for queue in largest
        )
        _log.warn(
            "memory is nearly used up: {used} of {max_bytes} bytes, the limit is "
            "memory.max_bytes in [broker]. The largest queues: {queues}. Publishers to queues that "
            "fill it are slowed down, others are not",
            used=used,
            max_bytes=max_bytes,
            queues=queues or "none, it is what clients have yet to read",
        )

    @override
    def dead_letters_dropped(self, destination: str, count: int, messages: int, size: int) -> None:
        self._dropped += count
        self._fullest = f"{escaped(destination)} ({messages} messages, {size} bytes)"
        if self._quiet is None:
            self._end_quiet()

    def close(self) -> None:
        """Say what was not said yet: the server stops."""
        if self._quiet is not None:
            self._quiet.cancel()
            self._quiet = None
            self._say_dropped()

    def _end_quiet(self) -> None:
        self._quiet = None
        if self._dropped:
            self._say_dropped()
            self._quiet = self._clock.callLater(_QUIET_S, self._end_quiet)

    def _say_dropped(self) -> None:
        if self._dropped:
            _log.warn(
                "{queue} is full: dead letters removed to make room, the oldest first: {count}. "
                "The limits are queue.max_messages and queue.max_bytes in [broker]",
                queue=self._fullest,
                count=self._dropped,
            )
            self._dropped = 0

    @override
    def dead_lettered(self, destination: str, messages: int, size: int) -> None:
        self._lines.warn(
            _log,
            "a message was refused or tried too often, it is in {queue} now ({messages} there)",
            peer=_QUEUES,
            queue=escaped(destination),
            messages=messages,
        )
