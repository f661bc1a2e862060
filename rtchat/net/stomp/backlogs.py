"""Clients that do not take what waits for them: who is waited for, and who is closed."""

from __future__ import annotations

from typing import Protocol
from weakref import WeakSet

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from rtchat.core.broker.broker import Broker
from rtchat.core.session.session import Session
from rtchat.core.stomp.limits import Limits
from rtchat.errors import LimitExceeded
from rtchat.net.connection.client_log import ClientLog
from rtchat.net.connection.writer import ConnectionWriter

__all__ = ["BacklogWatch", "Client", "too_much_waits"]

_log = Logger(__package__)

_TICK_S = 1.0

_SMALL_LIMIT_BYTES = 1024 * 1024
"""With a smaller ``backlog.max_bytes`` no publisher is slowed: a few reads of publishers that are
on their way already are more than that."""


class Client(Protocol):
    """A client, as the watch sees it."""

    session: Session

    @property
    def writer(self) -> ConnectionWriter:
        """The send side of its connection."""

    @property
    def peer(self) -> str:
        """The name of its address."""

    @property
    def is_held_up(self) -> bool:
        """Whether the server does not read from it, so that it may not come to read itself."""

    def taken_bytes(self) -> int | None:
        """Return what grows as the client takes bytes, or None where the system does not say."""

    def close_as_slow(self, problem: LimitExceeded) -> None:
        """Drop the backlog, and end the session."""


class _Progress:
    """When a client has last taken something.

    Attributes:
        since_s: The time. It does not run while the client is not read.
        has_stalled: Whether it had taken nothing between the last two looks.
    """

    __slots__ = ("_next_piece", "_taken", "has_stalled", "since_s")

    def __init__(self, client: Client, now_s: float) -> None:
        self.since_s = now_s
        self.has_stalled = False
        self._taken = client.taken_bytes()
        self._next_piece = client.writer.next_piece

    def note(self, client: Client, now_s: float) -> None:
        """Look at the client again."""
        taken, next_piece = client.taken_bytes(), client.writer.next_piece
        self.has_stalled = taken == self._taken and next_piece == self._next_piece
        if client.is_held_up or not self.has_stalled:
            self.since_s = now_s
        self._taken, self._next_piece = taken, next_piece


class BacklogWatch:
    """Watches clients with large backlogs.

    At half of ``backlog.max_bytes`` the publishers of a client's topics are slowed down until it
    has read. A client that reads nothing at all for some time is closed.

    Args:
        broker: The broker.
        limits: The limits of each client.
        clock: Runs the timer, while there are such clients.
        client_log: Where lines about them are written; by default a log of its own.

    Attributes:
        watched_bytes: Clients with larger backlogs are watched.
    """

    def __init__(
        self,
        broker: Broker,
        limits: Limits,
        clock: IReactorTime,
        client_log: ClientLog | None = None,
    ) -> None:
        self._broker = broker
        self._limits = limits
        self._clock = clock
        self._lines = client_log or ClientLog(clock)
        self._watched: dict[Client, _Progress] = {}
        self._logged: WeakSet[Client] = WeakSet()
        self._timer: IDelayedCall | None = None
        self._room_bytes: int | None = None
        self.watched_bytes = limits.stalled_backlog_bytes
        if limits.max_backlog_bytes >= _SMALL_LIMIT_BYTES:
            self._room_bytes = limits.max_backlog_bytes // 2
            self.watched_bytes = min(self._room_bytes, self.watched_bytes)

    def note(self, client: Client) -> None:
        """Look at a client, because its backlog is large, or none of its messages waits."""
        session, writer = client.session, client.writer
        if session.is_closed:
            return
        waiting_bytes = writer.waiting_bytes + session.unacknowledged_backlog_bytes
        congestion = self._broker.congestion
        if self._room_bytes is not None and waiting_bytes > self._room_bytes:
            if congestion.begin(session, writer, self._room_bytes):
                self._log_lag(client, waiting_bytes)
        elif congestion.readers:
            congestion.review(session)
        if client not in self._watched and writer.waiting_bytes > self.watched_bytes:
            self._watched[client] = _Progress(client, self._clock.seconds())
            if self._timer is None:
                self._timer = self._clock.callLater(_TICK_S, self._look)

    def forget(self, client: Client) -> None:
        """Stop watching: the connection is gone. Do nothing if it is not watched."""
        self._watched.pop(client, None)
        if not self._watched and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _log_lag(self, client: Client, waiting_bytes: int) -> None:
        if client not in self._logged:
            self._logged.add(client)
            self._lines.info(
                _log,
                "{peer}: session {id} reads more slowly than others publish, {bytes} bytes wait "
                "for it; they are slowed down, to backlog.min_rate at the least",
                peer=client.peer,
                id=client.session.id,
                bytes=waiting_bytes,
            )

    def _look(self) -> None:
        self._timer = self._clock.callLater(_TICK_S, self._look)
        limits, now_s = self._limits, self._clock.seconds()
        with self._broker.turn:
            for client, progress in list(self._watched.items()):
                waiting_bytes = client.writer.waiting_bytes
                if client.session.is_closed or waiting_bytes <= self.watched_bytes:
                    self._broker.congestion.note_stalled(client.session, is_stalled=False)
                    self.forget(client)
                    continue
                progress.note(client, now_s)
                self._broker.congestion.note_stalled(
                    client.session, is_stalled=progress.has_stalled
                )
                is_over = now_s - progress.since_s >= limits.stall_timeout_s
                if is_over and waiting_bytes > limits.stalled_backlog_bytes:
                    client.close_as_slow(_nothing_read(waiting_bytes, limits.stall_timeout_s))


def too_much_waits(waiting_bytes: int, unacknowledged: int, limit: int) -> LimitExceeded:
    """Return the error for a client with a backlog over the limit.

    Args:
        waiting_bytes: The size of its backlog.
        unacknowledged: The number of messages that it has to acknowledge first; 0 if the backlog
            waits for it to read.
        limit: The limit in bytes.
    """
    if unacknowledged:
        return LimitExceeded(
            f"too slow: {unacknowledged} messages wait for your ACK, and more than {limit} bytes "
            "behind them",
            f"{waiting_bytes} bytes were waiting. Send ACK for what you have got, raise "
            "prefetch-count, or let x-slow drop messages. The limit is backlog.max_bytes of the "
            "server.",
        )
    return LimitExceeded(
        f"too slow: more than {limit} bytes wait to be read",
        f"{waiting_bytes} bytes were waiting. The limit is backlog.max_bytes of the server.",
    )


def _nothing_read(waiting_bytes: int, seconds: float) -> LimitExceeded:
    return LimitExceeded(
        f"too slow: {waiting_bytes} bytes wait, and nothing was read for {seconds:g} seconds",
        "The limits are backlog.stalled_bytes and backlog.stalled_timeout of the server.",
    )
