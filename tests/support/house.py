"""A server in memory whose users have passwords and rights, with all its doors.

The parts are those of the real server: protocols, broker, people, history, log-in. Sockets, clock,
password file and the history's thread are replaced.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence

from support.history import SteppedStore
from support.net import FakeBrowser, FakeSocket
from support.stomp import Frame, StompReader, frame_bytes
from support.websocket import BINARY, CLOSE, WebSocketReader, ws_frame
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.web.resource import Resource

from rtchat.core.access.hosts import HostList, Target
from rtchat.core.access.rules import AccessList, AccessRule
from rtchat.core.auth.permissions import Permissions, RightsLine
from rtchat.core.broker.broker import Broker
from rtchat.core.broker.limits import BrokerLimits
from rtchat.core.chat.gate import open_chat
from rtchat.core.chat.limits import ChatPolicy
from rtchat.core.history.rules import HistoryLimits, HistoryRule, HistoryRules
from rtchat.core.history.topics import HistoryTopics
from rtchat.core.stomp.limits import Limits
from rtchat.net.auth.login import Login, Passwords
from rtchat.net.auth.renewal import open_renewal
from rtchat.net.connection.client_log import ClientLog
from rtchat.net.history.sqlite_file import HistoryFile
from rtchat.net.json_codec import JSON
from rtchat.net.stomp.resource import StompSocket
from rtchat.net.stomp.server import StompFactory
from rtchat.net.web.site import PageSite
from rtchat.net.websocket.factory import WebSockets

__all__ = ["WIRES", "Guest", "House", "Known", "open_login", "password_of"]

WIRES = ("tcp", "websocket")

_TARGET = "localhost:61613"
_START_S = 1_000_000.0
_KEPT = (HistoryRule("/topic/chat*", 1000, 86400.0), HistoryRule("/topic/log*", 1000))


def password_of(user: str) -> str:
    """Return the password of a user in these tests."""
    return f"the secret of {user}"


class Known:
    """Users whose passwords are known at once.

    Args:
        users: Their names.
    """

    def __init__(self, users: Iterable[str]) -> None:
        self.users = set(users)

    def check(self, name: str, password: str, source: str) -> Deferred[bool]:
        """Return whether a password is right."""
        return succeed(name in self.users and password == password_of(name))

    def stamp_of(self, name: str) -> str | None:
        """Return a text that changes with a password; None if there is no such user."""
        return "" if name in self.users else None


def open_login(
    broker: Broker, clock: Clock, permissions: Permissions, passwords: Passwords
) -> Login:
    """Let a broker ask for names and passwords."""
    login = Login(
        broker, clock, clock.seconds, ClientLog(clock, 0), permissions, passwords=passwords
    )
    broker.authenticator = login
    open_renewal(broker, login)
    return login


class Guest:
    """One connection.

    Attributes:
        user: Whose it is; "" is anonymous.
        close_code: The code with which its WebSocket was closed, or None.
        has_ended: Whether the server has ended it.
        unread: What it has sent and the server has not read.
    """

    def __init__(
        self, house: House, user: str, wire: str, version: str, peer: IPv4Address | None = None
    ) -> None:
        self.user = user
        self.version = version
        self.close_code: int | None = None
        self.has_ended = False
        self.unread: deque[bytes] = deque()
        self._house = house
        self._early: list[Frame] = []
        self._stomp = StompReader(version)
        self._websocket = WebSocketReader() if wire == "websocket" else None
        self.socket: FakeSocket
        if self._websocket is None:
            self.socket = FakeSocket(peer=peer)
            self.socket.connect(house.stomp.buildProtocol(peer))
        else:
            self.socket = FakeBrowser(house.site, peer).open().socket

    def hello(self, **headers: str) -> bytes:
        """Return its CONNECT."""
        version = {} if self.version == "1.0" else {"accept_version": self.version}
        login = {"login": self.user, "passcode": password_of(self.user)} if self.user else {}
        return frame_bytes("CONNECT", **version, host="test", **login, **headers)

    def send(self, data: bytes) -> None:
        """Send bytes, which the server gets in one read, and let it do what they cause."""
        if data and not self.has_ended:
            self.unread.append(data if self._websocket is None else ws_frame(BINARY, data))
        self._house.settle()

    def ask(self, data: bytes) -> list[Frame]:
        """Send bytes; return the frames that have come since the last look."""
        self.send(data)
        return self.received()

    def received(self) -> list[Frame]:
        """Return the frames that have come since the last look."""
        data = self.socket.taken()
        if self._websocket is not None:
            messages = self._websocket.feed(data)
            for message in messages:
                if message.opcode == CLOSE:
                    self.has_ended, self.close_code = True, message.code
            data = b"".join(one.payload for one in messages if one.opcode < CLOSE)
        self.has_ended |= self.socket.is_half_closed or self.socket.is_closed
        early, self._early = self._early, []
        return early + self._stomp.read(data)

    def messages(self) -> list[Frame]:
        """Return the messages that have come; anything but RECEIPTs beside them is an error."""
        frames = [frame for frame in self.received() if frame.command != "RECEIPT"]
        assert all(frame.command == "MESSAGE" for frame in frames), frames
        return frames

    def subscribe(self, destination: str, name: str = "0", **headers: str) -> None:
        """Subscribe, which has to be allowed; messages wait for the next look."""
        data = frame_bytes("SUBSCRIBE", id=name, destination=destination, receipt="s", **headers)
        frames = self.ask(data)
        assert any(frame.command == "RECEIPT" for frame in frames), frames
        self._early = [frame for frame in frames if frame.command == "MESSAGE"]

    def leave(self) -> None:
        """End the connection."""
        self.unread.clear()
        self.socket.end()
        self.has_ended = True
        self._house.settle()


class House:
    """One server.

    Args:
        lines: The section ``[rights]``.
        groups: The section ``[groups]``.
        users: Who has a password.
        pubsub: The section ``[pubsub]``.
        limits: What clients share.
        policy: What holds for people.
        passwords: Returns what knows the passwords, in place of ``users``.
    """

    def __init__(
        self,
        lines: Sequence[RightsLine],
        groups: Mapping[str, Iterable[str]] | None = None,
        *,
        users: Iterable[str] = (),
        pubsub: Mapping[str, tuple[str, ...]] | None = None,
        limits: BrokerLimits | None = None,
        policy: ChatPolicy | None = None,
        passwords: Callable[[Clock], Passwords] | None = None,
    ) -> None:
        self.groups = groups or {}
        self.clock = Clock()
        self.clock.advance(_START_S)
        self.broker = broker = Broker("run", limits, pubsub=pubsub)
        broker.now = _START_S
        open_chat(broker, policy or ChatPolicy(), JSON)
        self._file = HistoryFile(None, is_power_safe=False, max_bytes=1 << 24)
        self._store = SteppedStore(self._file, broker.cork.flush)
        rules = HistoryRules(_KEPT)
        HistoryTopics(broker, rules, HistoryLimits(), self._store, self._file.snapshot)
        known = Known(users) if passwords is None else passwords(self.clock)
        self.login = open_login(broker, self.clock, Permissions(lines, self.groups), known)
        self.stomp = StompFactory(broker, Limits(), self.clock)
        websockets = WebSockets(
            self.stomp, self.clock, broker.cork, ping_interval_s=0, ping_timeout_s=0
        )
        access = AccessList([AccessRule.parse(f"* -> {_TARGET}")])
        root = Resource()
        root.putChild(b"ws", StompSocket(websockets, access, [Target.parse(_TARGET)]))
        self.site = PageSite(root, HostList(()), self.clock)
        self.guests: list[Guest] = []

    def guest(
        self, user: str = "", wire: str = "tcp", version: str = "1.2", **headers: str
    ) -> Guest:
        """Connect and log in, which has to be allowed."""
        guest = self.stranger(user, wire, version)
        frames = guest.ask(guest.hello(**headers))
        assert [frame.command for frame in frames] == ["CONNECTED"], frames
        return guest

    def stranger(
        self, user: str = "", wire: str = "tcp", version: str = "1.2", source: str = ""
    ) -> Guest:
        """Connect, from an address of its own if one is given, and say nothing."""
        peer = IPv4Address("TCP", source, 40_000) if source else None
        guest = Guest(self, user, wire, version, peer)
        self.guests.append(guest)
        return guest

    def change(self, lines: Sequence[RightsLine]) -> None:
        """Use other rights, as after SIGHUP."""
        self.login.use_permissions(Permissions(lines, self.groups, self.login.permissions))
        self.settle()

    def wait(self, seconds: int) -> None:
        """Let time pass."""
        for _ in range(seconds):
            self.clock.advance(1)
            with self.broker.turn:
                self.broker.expire()
            self.settle()

    def settle(self) -> None:
        """Let the reactor turn until nothing happens any more."""
        while self._read() or self._store.step():
            self.clock.advance(0)
            self.broker.cork.flush()

    def close(self) -> None:
        """Let all go, and see that nothing is left of them."""
        for guest in self.guests:
            if not guest.has_ended:
                guest.leave()
        self.settle()
        assert self.broker.statistics.subscription_count == 0
        self._file.close()

    def _read(self) -> bool:
        has_read = False
        for guest in self.guests:
            socket = guest.socket
            self.clock.advance(0)
            while guest.unread and socket.is_reading and not socket.is_closed:
                has_read = True
                socket.receive(guest.unread.popleft())
                self.clock.advance(0)
            if socket.is_closed:
                guest.unread.clear()
            socket.turn()
        self.guests = [one for one in self.guests if not (one.has_ended and one.socket.is_closed)]
        return has_read
