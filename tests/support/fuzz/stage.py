"""A server in memory that plays a script in one of the ways; every client's frames are noted.

The protocols are those of the real server, with sockets, clock and the history's thread replaced:
bytes go in at ``dataReceived`` and come out at the socket's ``send``, and the file is written when
all clients have been read.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Sequence
from itertools import groupby
from random import Random

from support.fuzz.script import GROUPS, USERS, Change, Drop, Rights, Say, Script, Settle, Wait
from support.fuzz.ways import Way, forget, pieces_of
from support.history import SteppedStore
from support.house import Known, open_login
from support.net import FakeBrowser, FakeSocket
from support.stomp import Frame, StompReader, frame_bytes
from support.websocket import BINARY, CLOSE, CONT, TEXT, WebSocketReader, ws_frame
from twisted.internet.task import Clock
from twisted.web.resource import Resource

from rtchat.core.access.hosts import HostList, Target
from rtchat.core.access.rules import AccessList, AccessRule
from rtchat.core.auth.permissions import Permissions
from rtchat.core.broker.broker import Broker
from rtchat.core.broker.limits import BrokerLimits
from rtchat.core.chat.gate import open_chat
from rtchat.core.chat.limits import ChatPolicy
from rtchat.core.history.rules import HistoryLimits, HistoryRule, HistoryRules
from rtchat.core.history.topics import HistoryTopics
from rtchat.core.stomp.limits import Limits
from rtchat.net.auth.login import Login
from rtchat.net.history.sqlite_file import HistoryFile
from rtchat.net.json_codec import JSON
from rtchat.net.stomp.resource import StompSocket
from rtchat.net.stomp.server import StompFactory
from rtchat.net.web.site import PageSite
from rtchat.net.websocket.factory import WebSockets

__all__ = ["Stage", "Transcript", "play"]

Transcript = list[list[str]]
"""For each step, a line for all that a client received."""

_RULES = (HistoryRule("/topic/chat*", 5, 4.0), HistoryRule("/topic/log*", 3))
_TARGET = "localhost:61613"
_START_S = 1_000_000
_TAKES = (1, 10, 100, 1 << 17)


def play(script: Script, way: Way) -> Transcript:
    """Play a script; return what every client received."""
    with way.taken():
        stage = Stage(script, way)
        try:
            return stage.play()
        finally:
            stage.close()


class _Guest:
    """One connection of a client.

    Attributes:
        name: The client's, and how often it has connected.
        socket: The server's end.
        unread: Pieces that the server has not read.
        held: The messages that it can acknowledge.
        has_ended: Whether the server has ended the session.
    """

    def __init__(self, name: str, version: str, way: Way, random: Random) -> None:
        self.name = name
        self.version = version
        self.unread: deque[bytes] = deque()
        self.held: list[Frame] = []
        self.has_ended = False
        self._way = way
        self._random = random
        self._stomp = StompReader(version)
        self._websocket = WebSocketReader(is_strict=False)
        self.socket: FakeSocket

    def open(self, stomp: StompFactory, site: PageSite) -> None:
        """Connect."""
        if self._way.wire == "tcp":
            self.socket = FakeSocket()
            self.socket.connect(stomp.buildProtocol(None))
        else:
            offer = {"sec_websocket_extensions": "permessage-deflate"}
            browser = FakeBrowser(site).open(**offer if self._way.wire == "deflate" else {})
            self.socket = browser.socket
        if self._way.cuts == "random":
            self.socket.take = self._take

    def say(self, data: bytes) -> None:
        """Send bytes."""
        way, random = self._way, self._random
        if way.wire == "tcp":
            self.unread += pieces_of(data, way.cuts, random)
            return
        if way.cuts == "random":
            packed = b"".join(self._packed(piece) for piece in pieces_of(data, "random", random))
            self.unread += pieces_of(packed, "random", random)
        else:
            self.unread += [self._packed(piece) for piece in pieces_of(data, way.cuts, random)]

    def received(self) -> list[Frame]:
        """Return the frames that have come since the last look."""
        data = self.socket.taken()
        if self._way.wire != "tcp":
            payloads = []
            for message in self._websocket.feed(data):
                if message.opcode == CLOSE:
                    self.has_ended = True
                elif message.opcode in (TEXT, BINARY, CONT):
                    payloads.append(_inflated(message.payload, message.is_compressed))
            data = b"".join(payloads)
        elif self.socket.is_half_closed or self.socket.is_closed:
            self.has_ended = True
        frames = _in_one_order(self._stomp.read(data))
        self.held += [frame for frame in frames if frame.command == "MESSAGE"]
        return frames

    def settling(self, settle: Settle) -> bytes:
        """Return the ACK or NACK of a message that has come."""
        headers = dict(settle.headers)
        if not self.held:
            return b""
        message = self.held.pop(min(len(self.held) - 1, int(settle.choice * len(self.held))))
        if self.version == "1.2" and "ack" in message:
            headers["id"] = message["ack"]
        else:
            headers["message-id"] = message["message-id"]
            if self.version != "1.0":
                headers["subscription"] = message["subscription"]
        return frame_bytes(settle.command, b"", **headers)

    def _take(self, size: int) -> int:
        return min(size, self._random.choice(_TAKES))

    def _packed(self, payload: bytes) -> bytes:
        """Return one message, in one frame or several, compressed or not."""
        random, reserved = self._random, 0
        opcode = TEXT if random.random() < 0.5 and _is_text(payload) else BINARY
        if self._way.wire == "deflate" and random.random() < min(0.8, len(payload) / 20):
            packer = zlib.compressobj(1, zlib.DEFLATED, -10, 1)
            payload = (packer.compress(payload) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]
            reserved = 4
        if self._way.cuts != "random" or random.random() < 0.7 or len(payload) < 2:
            return ws_frame(opcode, payload, reserved=reserved)
        at = random.randrange(1, len(payload))
        begin = ws_frame(opcode, payload[:at], is_final=False, reserved=reserved)
        return begin + ws_frame(CONT, payload[at:])


class Stage:
    """One server with its clients."""

    def __init__(self, script: Script, way: Way) -> None:
        self._script = script
        self._way = way
        self._random = Random(script.seed)
        self._clock = Clock()
        self._clock.advance(_START_S)
        limits, policy = BrokerLimits(), ChatPolicy()
        if script.is_tight:
            limits = BrokerLimits(max_queue_messages=3, max_deliveries=2)
            policy = ChatPolicy(messages_per_second=4, burst=3)
        self._broker = broker = Broker("run", limits)
        broker.now = self._clock.seconds()
        open_chat(broker, policy, JSON)
        self._file = HistoryFile(None, is_power_safe=False, max_bytes=1 << 24)
        self._store = SteppedStore(self._file, broker.cork.flush)
        history_limits = HistoryLimits()
        rules = HistoryRules(_RULES)
        HistoryTopics(broker, rules, history_limits, self._store, self._file.snapshot)
        self._login: Login | None = None
        if script.rights is not None:
            permissions = Permissions(script.rights, GROUPS)
            self._login = open_login(broker, self._clock, permissions, Known(USERS))
        self._stomp = StompFactory(broker, Limits(), self._clock)
        websockets = WebSockets(
            self._stomp, self._clock, broker.cork, ping_interval_s=0, ping_timeout_s=0
        )
        access = AccessList([AccessRule.parse(f"* -> {_TARGET}")])
        root = Resource()
        root.putChild(b"ws", StompSocket(websockets, access, [Target.parse(_TARGET)]))
        self._site = PageSite(root, HostList(()), self._clock)
        self._guests: dict[str, _Guest] = {}
        self._all: list[_Guest] = []
        self._epochs: dict[str, str] = {}

    def play(self) -> Transcript:
        """Play the whole script."""
        transcript: Transcript = []
        for step in self._script.steps:
            if isinstance(step, Wait):
                for _ in range(step.seconds):
                    self._second()
            elif isinstance(step, Drop):
                guest = self._guests.pop(step.client, None)
                if guest is not None:
                    guest.unread.clear()
                    guest.socket.end()
                    guest.has_ended = True  # by itself
            elif isinstance(step, Change):
                self._change(step.rights)
            else:
                self._say(step)
            self._settle()
            transcript.append(self._look())
        return transcript

    def close(self) -> None:
        """Leave nothing open."""
        self._file.close()

    def _say(self, step: Say) -> None:
        guest = self._guests.get(step.client)
        if guest is None:
            guest = self._connect(step.client)
        data = b"".join(
            piece if isinstance(piece, bytes) else guest.settling(piece) for piece in step.pieces
        )
        guest.say(data)

    def _change(self, rights: Rights) -> None:
        assert self._login is not None  # a script without rights has no such step
        permissions = Permissions(rights, GROUPS, self._login.permissions)
        self._login.use_permissions(permissions)

    def _connect(self, name: str) -> _Guest:
        count = sum(guest.name.startswith(name) for guest in self._all)
        version = self._script.versions[name]
        guest = _Guest(f"{name}{count}", version, self._way, self._random)
        self._all.append(guest)
        guest.open(self._stomp, self._site)
        guest.say(self._script.hello[name])
        self._settle()
        self._guests[name] = guest
        return guest

    def _second(self) -> None:
        self._clock.advance(1)
        self._settle()
        with self._broker.turn:
            self._broker.expire()
        self._settle()

    def _settle(self) -> None:
        """Let the reactor turn until nothing happens any more."""
        while self._read() or self._store.step():
            self._clock.advance(0)
            self._broker.cork.flush()

    def _read(self) -> bool:
        """Read all that clients have sent, as far as they are read; say whether there was any."""
        has_read = False
        for guest in self._all:
            socket, unread = guest.socket, guest.unread
            self._clock.advance(0)
            while unread and socket.is_reading and not socket.is_closed:
                has_read = True
                if not self._way.has_short_ways:
                    forget(self._broker)
                socket.receive(unread.popleft())
                self._clock.advance(0)
            if socket.is_closed:
                unread.clear()
            socket.turn()
        return has_read

    def _look(self) -> list[str]:
        lines = []
        for guest in self._all:
            had_ended = guest.has_ended
            lines += [f"{guest.name} {self._line(frame)}" for frame in guest.received()]
            if guest.has_ended and not had_ended:
                lines.append(f"{guest.name} ended")
                guest.unread.clear()
                guest.socket.end()
                if self._guests.get(guest.name[0]) is guest:
                    del self._guests[guest.name[0]]
        return lines

    def _line(self, frame: Frame) -> str:
        pairs = dict(frame.pairs)
        epoch = pairs.get("x-stream-epoch")
        if epoch is not None:  # no two servers have the same
            pairs["x-stream-epoch"] = self._epochs.setdefault(epoch, f"epoch {len(self._epochs)}")
        return f"{frame.command} {pairs} {frame.body!r}"


def _in_one_order(frames: Sequence[Frame]) -> list[Frame]:
    """Return frames with successive deliveries of one topic in the order of their subscriptions.

    Which of a client's own subscriptions gets messages first is not promised: subscriptions are
    served in groups with those of others, a run of messages at a time, and groups differ by wire.
    Each subscription's own order is promised, and stays.
    """
    ordered: list[Frame] = []
    for destination, some in groupby(frames, _topic_of):
        if destination:
            ordered += sorted(some, key=lambda frame: frame.headers.get("subscription", ""))
        else:
            ordered += some
    return ordered


def _topic_of(frame: Frame) -> str:
    return frame.headers.get("destination", "") if frame.command == "MESSAGE" else ""


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _inflated(payload: bytes, is_compressed: bool) -> bytes:
    if not is_compressed:
        return payload
    return zlib.decompressobj(-15).decompress(payload + b"\0\0\xff\xff")
