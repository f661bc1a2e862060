"""A server without a reactor whose clients may do anything, and what each of its turns costs."""

from __future__ import annotations

import re
import sys
import zlib
from collections.abc import Callable
from functools import partial
from types import FrameType
from typing import Any
from unittest import mock

from support.fuzz.floods import GUESTS, Flood, bytes_of
from support.history import SteppedStore
from support.net import FakeBrowser, FakeSocket
from support.stomp import frame_bytes
from support.websocket import BINARY, CONT, PING, http_request, ws_frame
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.web.resource import Resource
from typing_extensions import override

from rtchat.core.access.hosts import HostList, Target
from rtchat.core.access.rules import AccessList, AccessRule
from rtchat.core.broker.broker import Broker
from rtchat.core.broker.limits import BrokerLimits
from rtchat.core.chat.gate import open_chat
from rtchat.core.chat.limits import ChatPolicy
from rtchat.core.flow.outbound import Cork
from rtchat.core.history.rules import HistoryLimits, HistoryRule, HistoryRules
from rtchat.core.history.topics import HistoryTopics
from rtchat.core.stomp.limits import Limits
from rtchat.net.history.sqlite_file import HistoryFile
from rtchat.net.json_codec import JSON
from rtchat.net.stomp.resource import StompSocket
from rtchat.net.stomp.server import StompFactory
from rtchat.net.web.site import PageSite
from rtchat.net.websocket.factory import WebSockets

__all__ = ["KIB", "MIB", "Arena", "Costs"]

KIB, MIB = 1024, 1024 * 1024

_READ_BYTES = {"tcp": 64 * KIB, "web": 64 * KIB, "websocket": 96 * KIB, "deflate": 96 * KIB}
_RULES = (HistoryRule("/topic/chat*", 100, 60.0), HistoryRule("/topic/log*", 500))
_TARGET = "localhost:61613"
_START_S = 1_000_000
_ACK = re.compile(rb"\nack:([^\n]+)\n")
_MOST_ACKS = 2000


class Costs:
    """What turns cost: the most that one took.

    Attributes:
        calls: Calls of functions, Python's and C's, from one read or timer.
        work: What the code itself has counted.
        longest: What took most calls.
    """

    def __init__(self, *, counts_calls: bool) -> None:
        self.calls = self.work = 0
        self.longest = ""
        self._counts_calls = counts_calls

    def of(self, what: str, work: Callable[[], object]) -> None:
        """Do the work of one read, or of one timer, and note what it cost."""
        if not self._counts_calls:
            work()
            return
        count = 0

        def seen(_frame: FrameType, event: str, _argument: object) -> None:
            nonlocal count
            count += event in ("call", "c_call")

        before = sys.getprofile()
        sys.setprofile(seen)
        try:
            work()
        finally:
            sys.setprofile(before)
        if count > self.calls:
            self.calls, self.longest = count, what

    def taken(self) -> Any:
        """Let each turn be looked at when it ends, as long as this context lasts."""
        real = Cork.__exit__

        def ended(cork: Cork, *error: object) -> None:
            self.work = max(self.work, cork.work)
            real(cork, *error)

        return mock.patch.object(Cork, "__exit__", ended)


class _CostlyClock(Clock):
    """A clock each of whose timers is a turn."""

    def __init__(self, costs: Costs) -> None:
        super().__init__()
        self._costs = costs

    @override
    def advance(self, amount: float) -> None:
        self.rightNow += amount
        self._sortCalls()
        while self.calls and self.calls[0].getTime() <= self.rightNow:
            call = self.calls.pop(0)
            call.called = 1
            self._costs.of(f"timer {call.func}", partial(call.func, *call.args, **call.kw))


class _Guest:
    """One client, which connects again when it was cut.

    Attributes:
        unread: What it has sent and the server has not read.
        acks: What it can acknowledge.
    """

    def __init__(self, arena: Arena, number: int, wire: str) -> None:
        self.name = f"guest{number}"
        self.wire = wire
        self.unread: list[bytes] = []
        self.acks: list[str] = []
        self.is_stalled = False
        self.is_in_message = False
        self.connects = 0
        self._arena = arena
        self._peer = IPv4Address("TCP", f"192.0.2.{number + 1}", 40_000)
        self._acts = 0
        self._begun = False
        self.socket: FakeSocket
        self.connect()

    def connect(self) -> None:
        """Connect, and log in."""
        self.unread.clear()
        self.acks.clear()
        self.is_stalled = self.is_in_message = self._begun = False
        self.connects += 1
        if self.wire in ("websocket", "deflate"):
            offer = {"sec_websocket_extensions": "permessage-deflate"}
            browser = FakeBrowser(self._arena.site, self._peer)
            browser.open(**offer if self.wire == "deflate" else {})
            self.socket = browser.socket
        else:
            self.socket = FakeSocket(peer=self._peer)
            factory = self._arena.site if self.wire == "web" else self._arena.stomp
            self.socket.connect(factory.buildProtocol(self._peer))
        if self.wire != "web":
            hello = {"accept-version": "1.2", "host": "test", "nick": self.name}
            token = {"x-presence-token": f"secret of {self.name}"}
            self._say(frame_bytes("CONNECT", **hello, **token))

    def flood(self, flood: Flood, count: int) -> None:
        """Do something, so many times."""
        kind = flood[0]
        if kind == "stall":
            self.is_stalled, self.socket.room = True, 0
        elif kind == "read on":
            self.is_stalled = False
            self.socket.give_room()
        elif kind == "drop":
            self.unread.clear()
            self.socket.end()
        elif kind == "seconds":
            self._arena.wait(1 + count // 100)
        elif self.wire == "web":
            self._ask(kind, count)
        elif kind in ("half a message", "pings", "empty fragments"):
            self._frame(kind, count)
        elif kind == "half a frame":
            self._say(
                b"SEND\ndestination:/topic/a\ncontent-length:500000\n\n" + bytes(count * 1200)
            )
        else:
            begin = b""
            if kind == "open transaction" and not self._begun:
                self._begun, begin = True, frame_bytes("BEGIN", transaction="open")
            numbers = range(self._acts, self._acts + count)
            self._acts += count
            self._say(begin + b"".join(bytes_of(flood, n, self.acks) for n in numbers))

    def look(self) -> None:
        """Take what has come."""
        data = self.socket.taken()
        if self.wire in ("tcp", "websocket"):
            self.acks += [ack.decode() for ack in _ACK.findall(data)]
            del self.acks[:-_MOST_ACKS]
        if self.socket.is_half_closed and not self.socket.is_closed:
            self.socket.end()

    def _ask(self, kind: str, count: int) -> None:
        host = {"Host": "localhost:9000"}
        if kind == "requests":
            pair = http_request("GET", "/large", host) + http_request("GET", "/large?more", host)
            self.unread += _pieces(pair * count, self.wire)
        elif kind == "half a head":
            lines = b"".join(b"h%d: %b\r\n" % (n, b"y" * 60) for n in range(count // 5))
            self.unread += _pieces(b"GET / HTTP/1.1\r\n" + lines, self.wire)
        else:
            head = http_request("POST", "/large", {**host, "Content-Length": "65000"})
            self.unread += _pieces(head + b"x" * (count * 100), self.wire)

    def _frame(self, kind: str, count: int) -> None:
        if self.wire == "tcp":
            return
        if kind == "pings":
            self.unread += _pieces(ws_frame(PING, b"x" * 100) * count, self.wire)
            return
        payload = b"x" * 1200 if kind == "half a message" else b""
        opcode = CONT if self.is_in_message else BINARY
        begin = ws_frame(opcode, b"SEND\nx:" + payload, is_final=False)
        self.is_in_message = True
        more = ws_frame(CONT, payload, is_final=False)
        self.unread += _pieces(begin + more * count, self.wire)

    def _say(self, data: bytes) -> None:
        if self.wire in ("websocket", "deflate"):
            reserved = 0
            if self.wire == "deflate" and not self.is_in_message:
                packer = zlib.compressobj(9, zlib.DEFLATED, -15)
                data = (packer.compress(data) + packer.flush(zlib.Z_SYNC_FLUSH))[:-4]
                reserved = 4
            opcode = CONT if self.is_in_message else BINARY
            data = ws_frame(opcode, data, reserved=reserved)
            self.is_in_message = False
        self.unread += _pieces(data, self.wire)


class Arena:
    """One server, and its clients.

    Args:
        costs: Where it is noted what turns cost.
        limits: What one client may have.
        broker_limits: What all may have together.
        looks: Called after each read and each step of the file.
    """

    def __init__(
        self,
        costs: Costs,
        limits: Limits,
        broker_limits: BrokerLimits,
        looks: Callable[[Arena], None] = lambda _: None,
    ) -> None:
        self.costs = costs
        self.clock = _CostlyClock(costs)
        self.clock.rightNow = _START_S
        self._looks = looks
        self.broker = broker = Broker("run", broker_limits)
        broker.now = self.clock.seconds()
        open_chat(broker, ChatPolicy(), JSON)
        self.file = HistoryFile(None, is_power_safe=False, max_bytes=1 << 24)
        self.store = SteppedStore(self.file, broker.cork.flush)
        history_limits = HistoryLimits(max_destinations=200, max_memory_bytes=64 * KIB)
        rules = HistoryRules(_RULES)
        HistoryTopics(broker, rules, history_limits, self.store, self.file.snapshot)
        self.stomp = StompFactory(broker, limits, self.clock)
        websockets = WebSockets(
            self.stomp, self.clock, broker.cork, ping_interval_s=0, ping_timeout_s=0
        )
        access = AccessList([AccessRule.parse(f"* -> {_TARGET}")])
        root = Resource()
        root.putChild(b"ws", StompSocket(websockets, access, [Target.parse(_TARGET)]))
        root.putChild(b"large", _Large())
        self.site = PageSite(root, HostList(()), self.clock)
        self.site.backlogs.count_in(broker.budget)
        wires = [*GUESTS, "web", "web"]
        self.guests = [_Guest(self, number, wire) for number, wire in enumerate(wires)]
        self.settle()

    def flood(self, who: int, flood: Flood, count: int) -> None:
        """Let a client do something, so many times, and the server deal with it."""
        guest = self.guests[who]
        if guest.socket.is_closed:
            guest.connect()
            self.settle()
        guest.flood(flood, count)
        self.settle()

    def wait(self, seconds: int) -> None:
        """Let time pass."""
        for _ in range(seconds):
            self.clock.advance(1)
            self.costs.of("second", self._expire)
            self.settle()

    def settle(self) -> None:
        """Let the reactor turn until nothing happens any more."""
        while self._read() or self.store.waiting:
            self.costs.of("answer of the file", self.store.step)
            self.clock.advance(0)
            self._looks(self)

    def close(self) -> None:
        """Let all go; see that nothing is held for them."""
        for guest in self.guests:
            guest.socket.end()
        self.settle()
        self.wait(10)

    @property
    def socket_bytes(self) -> int:
        """How many bytes lie in the sockets, on their way to either side."""
        unread = sum(len(piece) for guest in self.guests for piece in guest.unread)
        return unread + sum(len(guest.socket.sent) for guest in self.guests)

    def _expire(self) -> None:
        with self.broker.turn:
            self.broker.expire()

    def _read(self) -> bool:
        has_read = False
        for guest in self.guests:
            self.clock.advance(0)
            if guest.unread and guest.socket.is_reading and not guest.socket.is_closed:
                has_read = True
                piece = guest.unread.pop(0)
                what = f"read of {guest.wire}: {piece[:100]!r}"
                self.costs.of(what, partial(guest.socket.receive, piece))
                self.clock.advance(0)
                self._looks(self)
            if guest.socket.is_closed:
                guest.unread.clear()
            elif not guest.is_stalled:
                guest.look()
        return has_read


class _Large(Resource):
    """A page that is larger than its request."""

    isLeaf = True

    @override
    def render(self, request: Any) -> bytes:
        return b"x" * 5000


def _pieces(data: bytes, wire: str) -> list[bytes]:
    """Return bytes as they are read."""
    size = _READ_BYTES[wire]
    return [data[start : start + size] for start in range(0, len(data), size)]
