"""The broker in memory."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping
from pathlib import Path

from twisted.internet.task import Clock
from typing_extensions import Self

from rtchat.config.keys import GIB
from rtchat.core.auth.identity import Identity
from rtchat.core.auth.permissions import Permissions
from rtchat.core.broker.broker import Broker as CoreBroker
from rtchat.core.broker.limits import BrokerLimits
from rtchat.core.broker.notices import Notice, Notices
from rtchat.core.chat.gate import open_chat
from rtchat.core.chat.limits import ChatPolicy
from rtchat.core.history.history import History
from rtchat.core.history.rules import HistoryLimits, HistoryRule, HistoryRules
from rtchat.core.history.topics import HistoryTopics
from rtchat.core.stomp.frames import HeaderValue
from rtchat.core.stomp.limits import Limits
from rtchat.net.history.sqlite_file import HistoryFile
from rtchat.net.json_codec import JSON
from rtchat.net.stomp.server import StompFactory
from rtchat.testing.auth import MemoryLogin
from rtchat.testing.client import Client
from rtchat.testing.disk import Disk, FileStore
from rtchat.testing.errors import NotRunning, ServerFailed
from rtchat.testing.settings import MemorySettings, read_permissions, read_settings

__all__ = ["Broker"]

_DAY_S = 86_400.0
_START_S = 1_700_000_000.0


class Broker:
    """A STOMP broker without sockets.

    Args:
        limits: The limits of each session; by default those of a server without settings.
        broker_limits: The limits that all sessions share; the default has no memory budget.
        pubsub: For each ``NAME``, the queues and topics that get a copy of messages to
            ``/pubsub/NAME``.
        chat: The rules for people and rooms, and the rates of clients.
        history: Which topics keep their messages. Kept messages are stored at once, unless
            :attr:`disk` says otherwise.
        history_limits: How much is kept.
        history_file: The SQLite file of kept messages, which outlive the broker then. Without
            one, they are in memory.
        history_bytes: How large that file may become.
        users: The passwords by user. With users, rights or hooks, clients are asked who they are.
        rights: The lines of ``[rights]``, by who they are about: ``{"@staff": "all /queue/#"}``.
        groups: The users in each group.
        hooks: An object with the methods of a hook; see :mod:`rtchat.hooks`.
        permissions: What :meth:`from_settings` has read in place of rights and groups.
        start_s: The initial time of the clock, in seconds since 1970.

    Attributes:
        clock: The simulated clock; :meth:`advance` moves it.
        disk: How the disk of the history behaves.
        is_running: Whether the server runs; :meth:`stop` and :meth:`kill` end it.
        notices: Events of queues that the server would have logged, in order.
    """

    def __init__(
        self,
        limits: Limits | None = None,
        broker_limits: BrokerLimits | None = None,
        *,
        pubsub: Mapping[str, tuple[str, ...]] | None = None,
        chat: ChatPolicy | None = None,
        history: Iterable[HistoryRule] = (),
        history_limits: HistoryLimits | None = None,
        history_file: Path | None = None,
        history_bytes: int = GIB,
        users: Mapping[str, str] | None = None,
        rights: Mapping[str, str] | None = None,
        groups: Mapping[str, Iterable[str]] | None = None,
        hooks: object | None = None,
        permissions: Permissions | None = None,
        start_s: float = _START_S,
    ) -> None:
        self.clock = Clock()
        self.clock.rightNow = start_s
        self.disk = Disk()
        self.is_running = False
        self.notices: list[Notice] = []
        self._settings = MemorySettings(
            limits=limits or Limits(),
            broker_limits=broker_limits or BrokerLimits(),
            pubsub=pubsub or {},
            chat=chat or ChatPolicy(),
            history=tuple(history),
            history_limits=history_limits or HistoryLimits(),
            history_bytes=history_bytes,
        )
        self._login: MemoryLogin | None = None
        if not (users is None and rights is None and hooks is None and permissions is None):
            permissions = permissions or read_permissions(rights, groups)
            self._login = MemoryLogin(self.clock, users, permissions, hooks)
        self._history_file = history_file
        self._clients = 0
        self._lives = 0
        self._begin_life()

    @classmethod
    def from_settings(
        cls,
        settings: str | Path,
        *,
        history_file: Path | None = None,
        start_s: float = _START_S,
    ) -> Self:
        """Return a broker with the settings of a chat.ini.

        It heeds ``[broker]`` (but not the limits on connections), ``[pubsub]``, ``[chat]``,
        ``[presence]``, ``[rate]`` (but not the rate of CONNECTs), ``[history]`` (but not the path
        and ``sync``), ``[rights]`` and ``[groups]``. With ``[users]``, ``[tokens]`` or ``[hooks]``
        clients are asked who they are; the files, keys and hooks of these sections are not used.
        The names in other sections are checked, and have no effect.

        Args:
            settings: The text of the chat.ini, or its path.
            history_file: The file of kept messages; without one, they are in memory.
            start_s: The initial time of the clock, in seconds since 1970.

        Raises:
            ConfigError: The settings are not valid; the text says what to change.
            OSError: The file of the settings cannot be read.
        """
        return cls(**vars(read_settings(settings)), history_file=history_file, start_s=start_s)

    def _begin_life(self) -> None:
        settings = self._settings
        self._lives += 1
        epoch = "test" if self._lives == 1 else f"test{self._lives}"
        core = self._core = CoreBroker(epoch, settings.broker_limits, pubsub=settings.pubsub)
        core.events.add(Notices(self.notices))
        if self._login is not None:
            self._login.open(core)
        self._people = open_chat(core, settings.chat, JSON).people
        self._reserve_nicks()
        self._factory = StompFactory(core, settings.limits, self.clock)
        self._store: FileStore | None = None
        self._history: History | None = None
        if settings.history:
            file = HistoryFile(
                self._history_file, is_power_safe=False, max_bytes=settings.history_bytes
            )
            store = self._store = FileStore(file, self.disk)
            weakref.finalize(self, store.close)
            self._history = HistoryTopics(
                core, HistoryRules(settings.history), settings.history_limits, store, file.snapshot
            ).history
        self.is_running = True

    def connect(
        self,
        version: str = "1.2",
        *,
        heartbeat: tuple[int, int] = (0, 0),
        headers: Mapping[str, HeaderValue] | None = None,
        address: str = "127.0.0.1",
        user: str | None = None,
        token: str = "",
    ) -> Client:
        """Connect a client and log it in.

        Args:
            version: The client's STOMP version.
            heartbeat: The two intervals that the client offers and wants, in milliseconds. The
                client sends no heart-beats by itself: call :meth:`Client.beat`.
            headers: Additional headers for CONNECT.
            address: The address that the client comes from. Clients without a user share the
                rates of their address.
            user: The user whom the client is taken for, without a password. To try passwords, give
                ``login`` and ``passcode`` in ``headers``.
            token: What :meth:`token` has returned, for a user with more than a name.

        Raises:
            NotRunning: The server is stopped.
            ValueError: A user is given, and the broker has no users, rights or hooks.
            Refused: The server answered ERROR.
        """
        client = self.connect_raw(address)
        more = dict(headers or {})
        if user is not None:
            token = self.token(user)
        if token:
            more |= {"login": "token", "passcode": token}
        client.log_in(version, heartbeat, more)
        return client

    def token(
        self,
        user: str,
        *,
        groups: Iterable[str] = (),
        nick: str = "",
        read: Iterable[str] = (),
        write: Iterable[str] = (),
        expires_in_s: float = _DAY_S,
    ) -> str:
        """Return a token as the user's site would sign it.

        It is good for :meth:`connect`, and as the body of a SEND to ``/session/token``.

        Args:
            user: The user.
            groups: The user's groups, besides those of the broker.
            nick: The user's nickname, "" for none besides the name.
            read: What the user may read besides the broker's rights.
            write: The same for sending.
            expires_in_s: For how long it is good, in seconds from now.

        Raises:
            ValueError: The broker has no users, rights or hooks.
        """
        return self._asking().token(
            Identity(
                user,
                frozenset(groups),
                nick,
                tuple(read),
                tuple(write),
                expires_s=self.clock.seconds() + expires_in_s,
            )
        )

    def set_users(self, users: Mapping[str, str]) -> None:
        """Have other users; the sessions of those who are gone, or have other passwords, end."""
        self._asking().set_users(users)
        self._reserve_nicks()
        self._settle()

    def set_rights(
        self,
        rights: Mapping[str, str] | None,
        groups: Mapping[str, Iterable[str]] | None = None,
    ) -> None:
        """Have other rights; they hold for the sessions that are open, too."""
        self._asking().set_permissions(read_permissions(rights, groups))
        self._settle()

    def _asking(self) -> MemoryLogin:
        if self._login is None:
            raise ValueError("clients are not asked who they are; give Broker users or rights")
        return self._login

    def _reserve_nicks(self) -> None:
        if self._login is not None:
            self._people.reserve(self._login.names())

    def connect_raw(self, address: str = "127.0.0.1") -> Client:
        """Connect a client from an address without sending CONNECT.

        Raises:
            NotRunning: The server is stopped.
        """
        if not self.is_running:
            raise NotRunning
        self._clients += 1
        return Client(self._factory, self._clients, address, self._settle)

    def advance(self, seconds: float) -> None:
        """Advance the clock, running each timer at the time at which it is due.

        What waits for a slow disk is stored first.
        """
        self._settle(is_waiting_for_disk=True)
        end = self.clock.seconds() + seconds
        while True:
            due = [call.getTime() for call in self.clock.getDelayedCalls()]
            following = min((time for time in due if time <= end), default=end)
            self.clock.advance(max(0.0, following - self.clock.seconds()))
            self._settle(is_waiting_for_disk=True)
            if not any(call.getTime() <= end for call in self.clock.getDelayedCalls()):
                break
        self.clock.advance(max(0.0, end - self.clock.seconds()))
        if self.is_running:
            with self._core.turn:
                self._core.expire()
            self._settle(is_waiting_for_disk=True)

    def stop(self) -> None:
        """Stop the server: all is stored, and clients lose their connections.

        Do nothing if it is stopped.
        """
        if not self.is_running:
            return
        self.is_running = False
        self._factory.shut_down()
        self._settle(is_waiting_for_disk=True)
        if self._store is not None:
            self._store.close()

    def kill(self) -> None:
        """End the server as ``kill -9`` does: what a slow disk has not stored is lost.

        Do nothing if it is stopped.
        """
        if not self.is_running:
            return
        self.is_running = False
        if self._store is not None:
            self._store.close()
        for protocol in list(self._factory.protocols):
            protocol.abort()

    def start(self) -> None:
        """Start the server again, with nothing but what its history has in a file.

        Messages of queues are gone. Kept messages are there if they have a ``history_file``; in
        memory they are gone, too, and numbering begins anew with another epoch.

        Raises:
            ServerFailed: It is running.
            StoreUnusable: The history's file cannot be opened; the text says why.
        """
        if self.is_running:
            raise ServerFailed("the server is running; stop() or kill() it first")
        self._begin_life()

    def restart(self) -> None:
        """Stop the server, and start it again at the same time of the clock."""
        self.stop()
        self.start()

    @property
    def held_messages(self) -> int:
        """The number of messages in all queues, unacknowledged ones included."""
        return self._core.statistics.queued_count

    @property
    def kept_messages(self) -> int:
        """The number of messages in the history of all topics."""
        return 0 if self._history is None else self._history.message_count

    @property
    def subscriptions(self) -> int:
        """The number of subscriptions."""
        return self._core.statistics.subscription_count

    @property
    def clients(self) -> int:
        """The number of connected clients."""
        return len(self._factory.protocols)

    def _settle(self, *, is_waiting_for_disk: bool = False) -> None:
        """Let those go on that have more to do than one turn allows, and the disk its work."""
        turns = self._core.turn.turns
        while True:
            while turns:
                turns.begin_round()
            if self._store is None or (self.disk.is_slow and not is_waiting_for_disk):
                return
            if not self._store.carry_out(self._core.turn):
                return
