"""WebSocket to TCP with a fake target: bytes both ways, ends, time-outs and back-pressure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.logs import Logs, captured_logs
from support.net import FakeBrowser, FakeEndpoint, FakeSite, FakeSocket
from support.websocket import BINARY, CLOSE, PING, TEXT, upgrade_request, ws_frame
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.error import (
    ConnectBindError,
    ConnectError,
    ConnectingCancelledError,
    ConnectionDone,
    ConnectionLost,
    DNSLookupError,
)
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IReactorPluggableNameResolver,
    IResolutionReceiver,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.protocols.haproxy import proxyEndpoint
from twisted.python.failure import Failure
from typing_extensions import override
from zope.interface import alsoProvides, implementer

from rtchat.core.access.hosts import Target
from rtchat.core.access.proxy_protocol import ProxyHeader, read_header
from rtchat.core.access.rules import AccessList
from rtchat.core.access.ssrf import NamePolicy
from rtchat.net.connection.limits import ConnectionLimiter
from rtchat.net.connection.relayed import Relayed
from rtchat.net.connection.transport import address_name
from rtchat.net.gateway.relay import ProxyFactory
from rtchat.net.gateway.resolver import checked_endpoints

GRACE_S = 5
LINGER_S = 30
HIGH_BYTES = 64 * 1024
PATH = "/tcp/irc.example:6667"
WAY = "192.0.2.1:54321 (no Origin) -> irc.example:6667"


class TargetSocket(FakeSocket):
    """The connection to a target, which may close its direction alone."""

    def finish(self) -> None:
        """Let the target send no more; it still reads."""
        assert self.is_reading, "the server does not read now"
        self.stopReading()
        self.protocol.readConnectionLost()
        self.turn()

    @override
    def connectionLost(self, reason: Failure) -> None:
        self.end(reason.value)


class Between:
    """A browser on one side of the proxy and a target on the other."""

    def __init__(
        self, ping_interval_s: float = 0, peer: IAddress | None = None, **options: Any
    ) -> None:
        self.endpoint = FakeEndpoint()
        self.target = TargetSocket()
        self.asked: list[Target] = []
        self.options = options
        self.site = FakeSite(wrap_target=self._factory, ping_interval_s=ping_interval_s)
        self.clock = self.site.clock
        self.browser: FakeBrowser = self.site.browser(peer)

    def _factory(self, target: Target, clock: Clock) -> ProxyFactory:
        return ProxyFactory(target, self._endpoint, clock, 10, **self.options)

    def _endpoint(self, target: Target) -> FakeEndpoint:
        self.asked.append(target)
        return self.endpoint

    def open(self, early: bytes = b"") -> Between:
        """Open the WebSocket; frames may come in the same read."""
        answer = self.browser.ask(upgrade_request(PATH) + early)
        assert answer.status == 101
        return self

    def connect(self, early: bytes = b"") -> Between:
        """Open the WebSocket and let the target answer."""
        self.open(early)
        self.endpoint.succeed(self.target)
        self.clock.advance(0)
        return self

    def advance(self, seconds: float) -> None:
        for _ in range(round(seconds * 10)):
            self.clock.advance(0.1)
            self.browser.socket.turn()
            self.target.turn()

    def expect_close(self, code: int, reason: str) -> None:
        """The browser's next frame is this close."""
        frame = self.browser.expect(CLOSE)
        assert (frame.code, frame.reason) == (code, reason)


def ways(logs: Logs) -> list[str]:
    """Return the lines that name a browser and a target."""
    return [line for line in logs.lines() if " -> " in line]


@pytest.fixture
def pair() -> Between:
    return Between().connect()


@pytest.fixture
def logs() -> Iterator[Logs]:
    with captured_logs() as logs:
        yield logs


# ---------------------------------------------------------------- bytes


def test_bytes_of_any_message_go_to_the_target(pair: Between) -> None:
    pair.browser.send(TEXT, b"NICK a\r\n")
    pair.browser.send(BINARY, b"\x00\xff")
    assert pair.target.taken() == b"NICK a\r\n\x00\xff"


def test_bytes_from_the_target_come_back(pair: Between) -> None:
    pair.target.receive(b"\x00\xff")
    assert pair.browser.expect(BINARY).payload == b"\x00\xff"


def test_a_browser_that_speaks_text_is_answered_in_text(pair: Between) -> None:
    pair.browser.send(TEXT, b"NICK a\r\n")
    pair.target.receive(b"PING :x\r\n")
    assert pair.browser.expect(TEXT).payload == b"PING :x\r\n"


def test_a_target_that_speaks_first_is_heard(pair: Between) -> None:
    pair.target.receive(b"220 welcome\r\n")
    assert pair.browser.expect(BINARY).payload == b"220 welcome\r\n"


def test_a_message_in_fragments_goes_on_as_its_bytes_come(pair: Between) -> None:
    pair.browser.send(TEXT, b"NI", is_final=False)
    assert pair.target.taken() == b"NI"
    pair.browser.send(0, b"CK")
    assert pair.target.taken() == b"CK"


def test_the_target_is_the_one_that_was_asked_for(pair: Between) -> None:
    assert pair.asked == [Target("irc.example", 6667)]
    assert pair.target.no_delay


# ---------------------------------------------------------------- before the target answers


def test_what_the_browser_sends_early_is_kept_in_order() -> None:
    pair = Between().connect(ws_frame(TEXT, b"1") + ws_frame(TEXT, b"2"))
    pair.browser.send(TEXT, b"3")
    assert pair.target.taken() == b"123"


def test_nothing_more_is_read_from_the_browser_until_the_target_answers() -> None:
    pair = Between().open()
    assert not pair.browser.socket.is_reading
    pair.endpoint.succeed(pair.target)
    assert pair.browser.socket.is_reading


def test_a_target_that_does_not_answer_in_time_is_unreachable(logs: Logs) -> None:
    pair = Between().open()
    pair.advance(9.8)
    assert pair.browser.received() == []
    pair.advance(0.4)
    pair.expect_close(1011, "target unreachable")
    assert pair.endpoint.was_cancelled
    assert logs.lines("warn") == [f"{WAY}: cannot connect: no connection within 10 s"]


@pytest.mark.parametrize(
    "error",
    [
        ConnectingCancelledError(None),  # what Twisted's endpoints say while they connect
        DNSLookupError("cancelled"),  # and while they look up a name
    ],
)
def test_a_time_out_is_told_however_the_endpoint_calls_it(logs: Logs, error: BaseException) -> None:
    pair = Between().open()
    pair.endpoint.error_on_cancel = error
    pair.advance(10.2)
    pair.expect_close(1011, "target unreachable")
    assert "no connection within 10 s" in logs.text("warn")


@pytest.mark.parametrize(
    "error, words",
    [
        (ConnectError(string="refused"), "refused"),
        (DNSLookupError("Couldn't find the hostname"), "Couldn't find the hostname"),
        (ConnectBindError(), "bind"),
    ],
)
def test_a_target_that_refuses_is_unreachable_and_the_log_says_why(
    logs: Logs, error: BaseException, words: str
) -> None:
    pair = Between().open()
    pair.endpoint.fail(error)
    # The browser learns no more than that: it might be scanning.
    pair.expect_close(1011, "target unreachable")
    (line,) = logs.lines("warn")
    assert line.startswith(f"{WAY}: cannot connect: ")
    assert words in line


def test_an_unreachable_target_leaves_nothing_behind() -> None:
    pair = Between().open()
    pair.endpoint.fail(ConnectError())
    pair.browser.expect(CLOSE)
    pair.browser.send(CLOSE)
    assert pair.browser.socket.is_closed
    assert pair.clock.getDelayedCalls() == []


@pytest.mark.parametrize("error", [None, ConnectingCancelledError(None), DNSLookupError("x")])
def test_a_browser_that_leaves_while_connecting_cancels_the_connection(
    logs: Logs, error: BaseException | None
) -> None:
    pair = Between().open()
    pair.endpoint.error_on_cancel = error
    pair.browser.socket.end()
    assert pair.endpoint.was_cancelled
    assert pair.clock.getDelayedCalls() == []
    assert logs.lines("warn") == []


def test_an_endpoint_that_fails_before_the_handshake_is_told_after_it() -> None:
    pair = Between()
    pair.site.wrap_target = lambda target, clock: ProxyFactory(
        target, lambda target: FailsAtOnce(), clock, 10
    )
    pair.open()
    pair.expect_close(1011, "target unreachable")


class FailsAtOnce(FakeEndpoint):
    """An endpoint that knows better than to try."""

    def connect(self, protocolFactory: object) -> Deferred[object]:  # type: ignore[override]  # noqa: N803
        failed: Deferred[object] = Deferred()
        failed.errback(ValueError("invalid hostname"))
        return failed


def test_a_bug_while_connecting_is_logged_and_told_as_such(logs: Logs) -> None:
    pair = Between().open()
    pair.endpoint._factory = Factory.forProtocol(Protocol)  # not the proxy's own
    pair.endpoint.succeed(pair.target)
    pair.expect_close(1011, "internal error")
    assert f"{WAY}: bug while connecting" in logs.text("critical")


def test_a_target_that_is_gone_again_before_it_was_paired_is_told_as_closed() -> None:
    pair = Between().open()
    pair.endpoint.succeed(pair.target, ends_at_once=True)
    pair.expect_close(1000, "target closed the connection")
    assert pair.clock.getDelayedCalls() != []  # the browser has its time for an answer
    pair.browser.send(CLOSE)
    assert pair.clock.getDelayedCalls() == []


# ---------------------------------------------------------------- the target ends


def test_when_the_target_closes_the_browser_gets_1000(pair: Between) -> None:
    pair.target.end()
    pair.expect_close(1000, "target closed the connection")


def test_when_the_target_closes_the_browser_first_gets_all_its_bytes(pair: Between) -> None:
    pair.browser.socket.room = 0
    pair.target.receive(b"x" * 100_000)
    pair.target.end()
    pair.browser.socket.give_room()
    assert pair.browser.expect(BINARY).payload == b"x" * 100_000
    pair.expect_close(1000, "target closed the connection")


def test_a_browser_that_reads_slowly_has_30_seconds_for_the_last_bytes(pair: Between) -> None:
    pair.browser.socket.room = 0
    pair.target.receive(b"x" * 100_000)
    pair.target.end()
    pair.advance(LINGER_S - 1)
    assert not pair.browser.socket.is_closed
    pair.browser.socket.give_room()
    assert pair.browser.expect(BINARY).payload == b"x" * 100_000
    pair.browser.expect(CLOSE)


def test_a_browser_that_reads_on_gets_the_last_bytes_however_long_that_takes(
    pair: Between,
) -> None:
    pair.browser.socket.room = 0
    pair.target.receive(b"x" * 100_000)
    pair.target.end()
    for _ in range(10):
        pair.advance(LINGER_S - 10)
        pair.browser.socket.give_room(10_000)
        assert not pair.browser.socket.is_closed
    pair.browser.socket.give_room()
    assert pair.browser.expect(BINARY).payload == b"x" * 100_000
    pair.expect_close(1000, "target closed the connection")


def test_a_browser_that_stops_reading_the_last_bytes_is_cut(pair: Between) -> None:
    pair.browser.socket.room = 0
    pair.target.receive(b"x" * 100_000)
    pair.target.end()
    pair.advance(LINGER_S - 10)
    pair.browser.socket.give_room(10_000)
    pair.advance(LINGER_S - 1)
    assert not pair.browser.socket.was_cut
    pair.advance(8)
    assert pair.browser.socket.was_cut


def test_a_browser_that_does_not_read_the_last_bytes_is_cut(pair: Between) -> None:
    pair.browser.socket.room = 0
    pair.target.receive(b"x" * 100_000)
    pair.target.end()
    pair.advance(LINGER_S + 0.5)
    assert pair.browser.socket.was_cut
    assert pair.clock.getDelayedCalls() == []


def test_a_target_that_breaks_off_is_logged_with_the_reason(pair: Between, logs: Logs) -> None:
    pair.target.end(ConnectionLost())
    pair.expect_close(1000, "target closed the connection")
    (broken,) = logs.lines()
    assert broken.startswith(f"{WAY}: target broke off: ")


def test_after_the_target_has_gone_what_the_browser_sends_is_dropped(pair: Between) -> None:
    pair.target.end()
    pair.browser.send(TEXT, b"too late")
    assert pair.target.taken() == b""
    pair.expect_close(1000, "target closed the connection")


def test_when_the_target_closes_while_the_browser_was_paused_its_answer_is_heard(
    pair: Between,
) -> None:
    pair.target.room = 0
    pair.browser.send(BINARY, bytes(HIGH_BYTES + 1))
    assert not pair.browser.socket.is_reading
    pair.target.end(ConnectionLost())
    pair.browser.expect(CLOSE)
    pair.advance(0.1)
    pair.browser.send(CLOSE)
    assert pair.browser.socket.is_closed


# ---------------------------------------------------------------- the browser ends


def test_when_the_browser_closes_the_target_is_closed(pair: Between) -> None:
    pair.browser.send_raw(ws_frame(TEXT, b"QUIT\r\n") + ws_frame(CLOSE))
    assert pair.target.taken() == b"QUIT\r\n"
    # A full close would reset the connection if the target still sends, and take QUIT with it.
    assert pair.target.is_half_closed
    assert not pair.target.is_closed
    pair.target.finish()
    assert pair.target.is_closed
    assert not pair.target.was_cut
    assert pair.clock.getDelayedCalls() == []


def test_when_the_browser_vanishes_the_target_hears_of_it(pair: Between) -> None:
    pair.browser.socket.end(ConnectionLost())
    pair.target.turn()
    assert pair.target.is_half_closed
    pair.target.finish()
    assert pair.target.is_closed


def test_what_the_target_sends_to_a_browser_that_has_gone_is_read_and_dropped(
    pair: Between,
) -> None:
    pair.browser.send(CLOSE)
    pair.target.turn()
    pair.target.receive(b"x" * 1_000_000)
    pair.target.receive(b"and more")
    pair.target.finish()
    assert pair.target.is_closed
    assert pair.clock.getDelayedCalls() == []


def test_a_target_that_does_not_end_after_the_browser_is_cut_and_told_of(
    pair: Between, logs: Logs
) -> None:
    pair.browser.send(CLOSE)
    pair.advance(LINGER_S - 1)
    assert not pair.target.is_closed
    pair.advance(1.5)
    assert pair.target.was_cut
    assert logs.lines() == [f"{WAY}: target cut: it did not end within 30 s after the browser"]


def test_a_target_that_reads_slowly_gets_all_of_a_browser_that_has_gone(pair: Between) -> None:
    pair.target.room = 0
    pair.browser.send(BINARY, b"x" * 100_000)
    pair.browser.socket.end()
    pair.advance(LINGER_S - 1)
    assert not pair.target.is_closed
    pair.target.give_room()
    assert pair.target.taken() == b"x" * 100_000
    assert pair.target.is_half_closed
    pair.target.finish()
    assert pair.target.is_closed
    assert pair.clock.getDelayedCalls() == []


def test_a_target_that_reads_on_gets_the_last_bytes_however_long_that_takes(
    pair: Between,
) -> None:
    pair.target.room = 0
    pair.browser.send(BINARY, b"x" * 100_000)
    pair.browser.socket.end()
    for _ in range(9):
        pair.advance(LINGER_S - 10)
        pair.target.give_room(10_000)
        assert not pair.target.is_closed
    pair.target.give_room()
    assert pair.target.taken() == b"x" * 100_000
    # From here on, it has as long to end.
    pair.advance(LINGER_S - 1)
    assert not pair.target.is_closed
    pair.advance(7)
    assert pair.target.was_cut


def test_after_the_target_half_closed_an_upload_lasts_as_long_as_it_is_taken(
    pair: Between,
) -> None:
    pair.target.room = 0
    pair.browser.send(BINARY, b"x" * 60_000)
    pair.target.finish()
    pair.expect_close(1000, "target closed the connection")
    for _ in range(5):
        pair.advance(LINGER_S - 10)
        pair.target.give_room(10_000)
        assert not pair.browser.socket.is_closed
    pair.browser.send_raw(ws_frame(BINARY, b"end") + ws_frame(CLOSE))
    pair.target.give_room()
    assert pair.target.taken() == b"x" * 60_000 + b"end"
    assert pair.browser.socket.is_closed


def test_a_target_that_breaks_off_before_it_took_all_is_not_told_as_done(
    pair: Between, logs: Logs
) -> None:
    pair.target.room = 0
    pair.browser.send(BINARY, b"x" * 100_000)
    pair.target.end(ConnectionLost())
    pair.expect_close(1011, "target broke off, bytes for it are lost")
    (line,) = logs.lines()
    assert line.startswith(f"{WAY}: target broke off: ")


def test_a_browser_that_goes_while_it_is_not_read_has_a_target_that_takes_its_bytes(
    pair: Between,
) -> None:
    pair.target.room = 0
    pair.browser.send(BINARY, bytes(HIGH_BYTES + 1))
    assert not pair.browser.socket.is_reading
    websocket = pair.browser.socket.protocol
    websocket.on_gone(False)
    for _ in range(3):
        pair.advance(LINGER_S - 10)
        pair.target.give_room(1000)
        assert not pair.browser.socket.is_closed
    pair.target.give_room()
    # Now the rest is read, and the end.
    assert pair.browser.socket.is_reading
    pair.browser.send_raw(ws_frame(BINARY, b"end") + ws_frame(CLOSE))
    assert pair.target.taken()[-3:] == b"end"
    assert pair.target.is_half_closed


def test_a_browser_that_goes_while_it_is_not_read_is_cut_with_a_stalled_target(
    pair: Between, logs: Logs
) -> None:
    pair.target.room = 0
    pair.browser.send(BINARY, bytes(HIGH_BYTES + 1))
    pair.browser.socket.protocol.on_gone(False)
    pair.advance(LINGER_S + 0.5)
    assert pair.target.was_cut
    assert pair.browser.socket.was_cut
    assert logs.lines() == [f"{WAY}: target cut: it did not end within 30 s after the browser"]
    assert pair.clock.getDelayedCalls() == []


@pytest.mark.parametrize("is_broken", [False, True])
def test_a_browser_that_goes_while_its_target_is_connected(is_broken: bool) -> None:
    pair = Between().open()
    pair.browser.socket.protocol.on_gone(is_broken)
    # What it has sent before its FIN is for the target.
    assert pair.browser.socket.was_cut is is_broken
    assert pair.endpoint.was_cancelled is is_broken


def test_a_target_that_does_not_read_the_last_bytes_is_cut(pair: Between) -> None:
    pair.target.room = 0
    pair.browser.send(BINARY, b"x" * 100_000)
    pair.browser.socket.end()
    pair.advance(LINGER_S + 0.5)
    assert pair.target.was_cut


def test_a_server_that_stops_cuts_after_five_seconds_even_who_had_more_time(
    pair: Between,
) -> None:
    pair.browser.socket.room = 0
    pair.target.receive(b"x" * 100_000)
    pair.target.end()
    (websockets,) = pair.site.proxied.values()
    done: list[None] = []
    websockets.shut_down().addCallback(done.append)
    pair.advance(GRACE_S + 0.5)
    assert pair.browser.socket.was_cut
    assert done == [None]


def test_a_server_that_stops_tells_the_browser_and_closes_the_target(pair: Between) -> None:
    (websockets,) = pair.site.proxied.values()
    websockets.shut_down()
    pair.expect_close(1012, "server shutting down")
    pair.browser.send(CLOSE, (1012).to_bytes(2, "big"))
    pair.target.turn()
    assert pair.target.is_half_closed


# ---------------------------------------------------------------- back-pressure


def test_a_browser_that_does_not_read_stops_the_targets_reading(pair: Between) -> None:
    pair.browser.socket.room = 0
    pair.target.receive(bytes(HIGH_BYTES + 1))
    assert not pair.target.is_reading
    pair.browser.socket.give_room()
    assert pair.target.is_reading


def test_a_target_that_does_not_read_stops_the_browsers_reading(pair: Between) -> None:
    pair.target.room = 0
    pair.browser.send(BINARY, bytes(HIGH_BYTES + 1))
    assert not pair.browser.socket.is_reading
    pair.target.give_room()
    pair.advance(0.1)
    assert pair.browser.socket.is_reading


def test_one_direction_that_is_stopped_does_not_stop_the_other(pair: Between) -> None:
    pair.target.room = 0
    pair.browser.send(BINARY, bytes(HIGH_BYTES + 1))
    pair.target.receive(b"hello")
    assert pair.browser.expect(BINARY).payload == b"hello"


def test_pings_go_on_while_the_target_does_not_read() -> None:
    pair = Between(ping_interval_s=5).connect()
    pair.target.room = 0
    pair.browser.send(BINARY, bytes(HIGH_BYTES + 1))
    pair.advance(11)
    assert [frame.opcode for frame in pair.browser.received()] == [PING, PING]


def test_bytes_of_a_paused_pair_are_all_there_in_the_end(pair: Between) -> None:
    pair.browser.socket.room = 0
    sent = b""
    for number in range(200):
        if pair.target.is_reading:
            chunk = b"%d," % number * 1000
            pair.target.receive(chunk)
            sent += chunk
        pair.browser.socket.give_room(1000)
    pair.browser.socket.give_room()
    assert b"".join(frame.payload for frame in pair.browser.received()) == sent


# ---------------------------------------------------------------- one direction ends


def test_when_the_target_sends_no_more_the_browser_gets_1000(pair: Between) -> None:
    pair.target.receive(b"the end")
    pair.target.finish()
    assert pair.browser.expect(BINARY).payload == b"the end"
    pair.expect_close(1000, "target closed the connection")


def test_what_the_browser_sent_before_it_knew_still_goes_to_the_target(pair: Between) -> None:
    pair.target.finish()
    pair.browser.send(TEXT, b"in flight")
    pair.browser.send_raw(ws_frame(BINARY, b" and more") + ws_frame(CLOSE))
    assert pair.target.taken() == b"in flight and more"
    assert pair.target.is_closed
    assert not pair.target.was_cut
    assert pair.browser.socket.is_closed
    assert pair.clock.getDelayedCalls() == []


def test_a_target_that_only_reads_still_stops_the_browsers_reading(pair: Between) -> None:
    pair.target.room = 0
    pair.browser.send(BINARY, b"x" * (HIGH_BYTES + 1))
    assert not pair.browser.socket.is_reading
    pair.target.finish()
    assert not pair.browser.socket.is_reading
    pair.target.give_room()
    pair.advance(0.1)
    pair.browser.send_raw(ws_frame(BINARY, b"last") + ws_frame(CLOSE))
    assert pair.target.taken() == b"x" * (HIGH_BYTES + 1) + b"last"
    assert pair.target.is_closed


def test_a_target_that_has_finished_and_breaks_then_is_not_told_of_twice(
    pair: Between, logs: Logs
) -> None:
    # A target that closed altogether answers late bytes with a reset: that is no fault.
    pair.target.finish()
    pair.browser.send(TEXT, b"in flight")
    pair.target.end(ConnectionLost())
    pair.expect_close(1000, "target closed the connection")
    pair.browser.send(CLOSE)
    assert logs.lines() == []
    assert pair.clock.getDelayedCalls() == []


def test_a_target_that_is_read_no_more_is_not_read_again_when_the_browser_reads(
    pair: Between,
) -> None:
    pair.browser.socket.room = 0
    pair.target.receive(b"x" * 100_000)
    pair.target.startReading()  # the end stands right behind
    pair.target.finish()
    pair.browser.socket.give_room()
    assert not pair.target.is_reading
    assert pair.browser.expect(BINARY).payload == b"x" * 100_000


def test_a_target_that_finished_before_it_was_paired_gets_what_the_browser_sent_early() -> None:
    pair = Between().open(ws_frame(TEXT, b"QUIT"))
    factory = pair.endpoint._factory
    assert factory is not None
    protocol = factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
    assert protocol is not None
    pair.target.connect(protocol)
    pair.target.finish()
    assert pair.endpoint._waiting is not None
    pair.endpoint._waiting.callback(protocol)
    pair.advance(0.1)
    pair.expect_close(1000, "target closed the connection")
    assert pair.target.taken() == b"QUIT"


# ---------------------------------------------------------------- each broken one has its line


@pytest.mark.parametrize("error", [ConnectionDone(), ConnectionLost()])
def test_a_browser_that_vanishes_leaves_one_line(
    pair: Between, logs: Logs, error: BaseException
) -> None:
    pair.browser.socket.end(error)
    pair.target.finish()
    (line,) = logs.lines()
    assert line.startswith(f"{WAY}: browser broke off: no close frame (")


def test_a_browser_that_closes_as_it_should_leaves_none(pair: Between, logs: Logs) -> None:
    pair.browser.send(CLOSE)
    pair.target.finish()
    assert logs.lines() == []


def test_a_broken_websocket_leaves_one_line_that_names_the_target(
    pair: Between, logs: Logs
) -> None:
    pair.browser.send(TEXT, b"\xff")
    pair.browser.expect(CLOSE)
    pair.advance(LINGER_S)
    (line,) = logs.lines("warn")
    assert line.startswith(f"{WAY}: broken WebSocket: ")
    pair.target.finish()


def test_a_browser_that_breaks_the_rules_while_it_is_refused_leaves_one_line(logs: Logs) -> None:
    pair = Between(limiter=ConnectionLimiter(total=1))
    pair.site.browser().open(PATH)
    pair.open()
    pair.expect_close(1013, "too many connections, try later")
    pair.browser.send(TEXT, b"\xff")
    (line,) = ways(logs)
    assert line.endswith("connections.total = 1 is reached")


def test_a_browser_that_does_not_answer_a_ping_leaves_one_line(logs: Logs) -> None:
    pair = Between(ping_interval_s=2, idle_timeout_s=8)
    pair.site.ping_timeout_s = 5
    pair.connect()
    # Neither that it was idle as well, nor that the target stays, is worth a second one.
    pair.advance(7 + 5 + LINGER_S + 1)
    assert ways(logs) == [f"{WAY}: no answer to a WebSocket ping within 5 s, closed"]
    assert pair.target.was_cut


def test_a_browser_that_does_not_take_the_last_bytes_leaves_one_line(
    pair: Between, logs: Logs
) -> None:
    pair.browser.socket.room = 0
    pair.target.receive(b"x" * 100_000)
    pair.target.end()
    pair.advance(LINGER_S + 0.5)
    assert logs.lines() == [f"{WAY}: browser cut: it did not take the last bytes in time"]


def test_the_page_stands_in_the_line_and_cannot_forge_one(logs: Logs) -> None:
    pair = Between()
    answer = pair.browser.ask(upgrade_request(PATH, origin="http://a\x85\xff.example"))
    assert answer.status == 101
    pair.endpoint.fail(ConnectError())
    (line,) = logs.lines("warn")
    assert line.startswith(
        "192.0.2.1:54321 (http://a\\x85\\xff.example) -> irc.example:6667: cannot connect: "
    )


# ---------------------------------------------------------------- idle


def test_a_connection_without_a_byte_is_closed_on_both_sides(logs: Logs) -> None:
    pair = Between(idle_timeout_s=60).connect()
    pair.advance(59)
    assert pair.browser.received() == []
    pair.advance(1.5)
    pair.expect_close(1001, "idle for 60 s")
    pair.browser.send(CLOSE)
    pair.target.turn()
    assert pair.target.is_half_closed
    pair.target.finish()
    assert ways(logs) == [f"{WAY}: idle: no byte in either direction for 60 s"]
    assert pair.clock.getDelayedCalls() == []


def test_a_byte_in_either_direction_keeps_a_connection_open() -> None:
    pair = Between(idle_timeout_s=60).connect()
    for _ in range(3):
        pair.advance(50)
        pair.browser.send(BINARY, b"x")
        pair.advance(50)
        pair.target.receive(b"y")
    assert [frame.opcode for frame in pair.browser.received()] == [BINARY] * 3
    pair.advance(60.5)
    pair.expect_close(1001, "idle for 60 s")


def test_pings_are_no_bytes() -> None:
    pair = Between(idle_timeout_s=60, ping_interval_s=20).connect()
    pair.browser.send(PING, b"x")
    pair.advance(61)
    assert pair.browser.received()[-1].opcode == CLOSE


def test_without_a_time_out_a_silent_connection_stays(pair: Between) -> None:
    pair.advance(3600)
    assert pair.browser.received() == []
    pair.browser.send(CLOSE)
    pair.target.finish()
    assert pair.clock.getDelayedCalls() == []


# ---------------------------------------------------------------- how many


class Many:
    """Many browsers of one site."""

    def __init__(self, limiter: ConnectionLimiter) -> None:
        self.limiter = limiter
        self.endpoints: list[FakeEndpoint] = []
        self.site = FakeSite(wrap_target=self._factory)

    def _factory(self, target: Target, clock: Clock) -> ProxyFactory:
        return ProxyFactory(target, self._endpoint, clock, 10, limiter=self.limiter)

    def _endpoint(self, target: Target) -> FakeEndpoint:
        self.endpoints.append(FakeEndpoint())
        return self.endpoints[-1]

    def open(self, host: str, target: str = "irc.example:6667") -> FakeBrowser:
        kind = IPv6Address if ":" in host else IPv4Address
        return self.site.browser(kind("TCP", host, 40000)).open(f"/tcp/{target}")


def test_one_address_has_its_number_of_connections(logs: Logs) -> None:
    many = Many(ConnectionLimiter(per_source=2))
    many.open("192.0.2.1")
    many.open("192.0.2.1")
    frame = many.open("192.0.2.1").expect(CLOSE)
    assert (frame.code, frame.reason) == (1008, "too many connections")
    assert many.open("192.0.2.2").received() == []
    assert ways(logs) == [
        "192.0.2.1:40000 (no Origin) -> irc.example:6667: refused: "
        "[proxy] connections.per_source = 2 is reached"
    ]
    assert len(many.endpoints) == 3


def test_one_ipv6_network_of_a_client_is_one_address() -> None:
    many = Many(ConnectionLimiter(per_source=1))
    many.open("2001:db8::1")
    assert many.open("2001:db8::2").expect(CLOSE).code == 1008
    assert many.open("2001:db8:0:1::1").received() == []


def test_ipv4_over_an_ipv6_port_is_the_same_address() -> None:
    many = Many(ConnectionLimiter(per_source=1))
    many.open("::ffff:192.0.2.1")
    assert many.open("192.0.2.1").expect(CLOSE).code == 1008


def test_who_comes_over_a_unix_socket_is_not_counted_as_one_address() -> None:
    many = Many(ConnectionLimiter(per_source=1))
    for _ in range(3):
        browser = many.site.browser(UNIXAddress(None)).open(PATH)
        assert browser.received() == []


def test_one_target_has_its_number_of_connections(logs: Logs) -> None:
    many = Many(ConnectionLimiter(per_target=1))
    many.open("192.0.2.1")
    frame = many.open("192.0.2.2").expect(CLOSE)
    assert (frame.code, frame.reason) == (1013, "too many connections, try later")
    assert many.open("192.0.2.2", "localhost:61613").received() == []
    (line,) = ways(logs)
    assert line.endswith("refused: [proxy] connections.per_target = 1 is reached")


def test_all_together_have_their_number_of_connections(logs: Logs) -> None:
    many = Many(ConnectionLimiter(total=2))
    many.open("192.0.2.1")
    many.open("192.0.2.2", "localhost:61613")
    assert many.open("192.0.2.3").expect(CLOSE).code == 1013
    (line,) = ways(logs)
    assert line.endswith("refused: [proxy] connections.total = 2 is reached")


def test_a_place_is_free_again_when_both_sides_are_gone() -> None:
    many = Many(ConnectionLimiter(1, 1, 1))
    for _ in range(3):  # the target refuses
        browser = many.open("192.0.2.1")
        many.endpoints[-1].fail(ConnectError())
        assert browser.expect(CLOSE).code == 1011
        browser.send(CLOSE)
    for _ in range(3):  # the browser leaves while the target is being connected
        many.open("192.0.2.1").socket.end()
    for _ in range(3):  # all goes well
        browser, target = many.open("192.0.2.1"), TargetSocket()
        many.endpoints[-1].succeed(target)
        many.site.clock.advance(0)
        browser.send(CLOSE)
        target.turn()
        assert many.limiter.count == 1  # the target still has its socket
        target.finish()
        assert many.limiter.count == 0
    refused = Many(ConnectionLimiter(1, 1, 1))
    refused.open("192.0.2.1")
    for _ in range(3):  # who was refused has no place to give back
        browser = refused.open("192.0.2.1")
        assert browser.expect(CLOSE).code == 1013
        browser.send(CLOSE)
    assert refused.limiter.count == 1


# ---------------------------------------------------------------- the PROXY protocol


def test_a_target_that_wants_to_know_is_told_the_browsers_address_first() -> None:
    pair = Between(has_proxy_header=True).connect(ws_frame(TEXT, b"NICK a\r\n"))
    data = pair.target.taken()
    header = read_header(data)
    assert header is not None
    assert header.source == ("192.0.2.1", 54321)
    assert data[header.length :] == b"NICK a\r\n"


def test_twisted_reads_that_header_as_well() -> None:
    pair = Between(has_proxy_header=True).connect(ws_frame(TEXT, b"NICK a\r\n"))
    seen: list[object] = []

    class Told(Protocol):
        def dataReceived(self, data: bytes) -> None:  # noqa: N802
            assert self.transport is not None
            seen.extend([self.transport.getPeer(), self.transport.getHost(), data])

    class Caught:
        def listen(self, factory: Factory) -> None:
            self.factory = factory

    caught = Caught()
    proxyEndpoint(caught).listen(Factory.forProtocol(Told))  # type: ignore[arg-type]
    protocol = caught.factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
    assert protocol is not None
    protocol.makeConnection(StringTransport())
    protocol.dataReceived(pair.target.taken())
    assert seen == [
        IPv4Address("TCP", "192.0.2.1", 54321),
        IPv4Address("TCP", "192.0.2.2", 9000),
        b"NICK a\r\n",
    ]


def test_a_browser_over_a_unix_socket_has_no_address_to_tell() -> None:
    pair = Between(has_proxy_header=True, peer=UNIXAddress(None)).connect()
    assert read_header(pair.target.taken()) == ProxyHeader(None, 16)


def test_other_targets_are_told_nothing(pair: Between) -> None:
    assert pair.target.taken() == b""


# ---------------------------------------------------------------- memory

CAP_BYTES = 256 * 1024


def held_for_browser(pair: Between) -> int:
    """Return what waits in this process for the browser."""
    (websockets,) = pair.site.proxied.values()
    (websocket,) = websockets.protocols
    writer: int = websocket.writer.waiting_bytes
    # What the writer has handed over is in its count while it is there, but count it anyhow.
    return max(writer, pair.browser.socket._waits())


@pytest.mark.parametrize("chunk_bytes", [1, 100, 4096, 65536])
def test_a_browser_that_stalls_holds_no_more_than_256_kib(chunk_bytes: int) -> None:
    pair = Between().connect()
    pair.browser.socket.room = 0
    sent = 0
    while pair.target.is_reading and sent < 4 * CAP_BYTES:
        pair.target.receive(b"x" * chunk_bytes)
        sent += chunk_bytes
        assert held_for_browser(pair) <= CAP_BYTES
    assert not pair.target.is_reading
    pair.browser.socket.give_room()
    got = b"".join(frame.payload for frame in pair.browser.received())
    assert got == b"x" * sent


@pytest.mark.parametrize("size", [1, 125, 4096, 65536])
def test_a_target_that_stalls_holds_no_more_than_256_kib(size: int) -> None:
    pair = Between().connect()
    pair.target.room = 0
    frame = ws_frame(BINARY, b"x" * size)
    stream, sent = frame * (4 * CAP_BYTES // len(frame) + 1), 0
    while pair.browser.socket.is_reading and sent < len(stream):
        read = stream[sent : sent + 65536]  # Twisted reads this much at a time
        pair.browser.send_raw(read)
        sent += len(read)
        # What was read is in the target's buffer, or still in the WebSocket's, but for the
        # heads of the frames: the last read is all that may be in both.
        assert sent // len(frame) * size <= CAP_BYTES
        assert pair.target._waits() + len(read) <= CAP_BYTES
    assert not pair.browser.socket.is_reading


def test_a_target_that_never_answers_holds_one_read_of_the_browsers_at_most() -> None:
    pair = Between().open(ws_frame(BINARY, b"x" * 60_000))
    assert not pair.browser.socket.is_reading


# ---------------------------------------------------------------- real endpoints, fake reactor


@implementer(IHostResolution)
class Resolution:
    """A look-up."""

    name = "irc.example"

    def cancel(self) -> None:
        """Do nothing."""


@implementer(IHostnameResolver)
class Resolver:
    """Takes note of the names; it finds those that it was given an address for.

    Attributes:
        asked: The names that were looked up.
    """

    def __init__(self, address: str | None = None) -> None:
        self.asked: list[str] = []
        self._address = address

    def resolveHostName(  # noqa: N802
        self,
        resolutionReceiver: IResolutionReceiver,  # noqa: N803
        hostName: str,  # noqa: N803
        portNumber: int = 0,  # noqa: N803
        addressTypes: object = None,  # noqa: N803
        transportSemantics: str = "TCP",  # noqa: N803
    ) -> IHostResolution:
        """Take note."""
        self.asked.append(hostName)
        resolution = Resolution()
        resolutionReceiver.resolutionBegan(resolution)
        if self._address is not None:
            resolutionReceiver.addressResolved(IPv4Address("TCP", self._address, portNumber))
            resolutionReceiver.resolutionComplete()
        return resolution


def with_real_endpoints() -> tuple[FakeSite, MemoryReactorClock]:
    reactor = MemoryReactorClock()
    alsoProvides(reactor, IReactorPluggableNameResolver)  # it does so itself since Twisted 25
    site = FakeSite(
        rules=["* -> 127.0.0.1:6667", "* -> irc.example:6667", "* -> my_db:5432"],
        wrap_target=lambda target, clock: ProxyFactory(
            target, checked_endpoints(reactor, NamePolicy(), AccessList([]).rule_for), clock, 10
        ),
    )
    return site, reactor


def test_a_name_is_looked_up_within_the_time_for_connecting() -> None:
    site, reactor = with_real_endpoints()
    resolver = Resolver()
    reactor.nameResolver = resolver
    browser = site.browser().open("/tcp/irc.example:6667")
    assert resolver.asked == ["irc.example"]
    site.clock.advance(10.1)
    assert browser.expect(CLOSE).code == 1011


@pytest.mark.parametrize("name, port", [("irc.example", 6667), ("my_db", 5432)])
def test_names_are_looked_up_as_they_stand_with_underscores_too(name: str, port: int) -> None:
    site, reactor = with_real_endpoints()
    resolver = Resolver()
    reactor.nameResolver = resolver
    browser = site.browser().open(f"/tcp/{name}:{port}")
    assert resolver.asked == [name]
    assert browser.received() == []


def test_a_real_endpoint_that_hangs_while_it_connects_is_given_up_in_time() -> None:
    site, reactor = with_real_endpoints()
    reactor.nameResolver = Resolver("127.0.0.1")
    browser = site.browser().open("/tcp/127.0.0.1:6667")
    assert len(reactor.tcpClients) == 1
    site.clock.advance(10.1)
    assert browser.expect(CLOSE).code == 1011


# ---------------------------------------------------------------- ports of this server


def test_it_is_noted_for_whom_a_port_of_this_server_is_connected() -> None:
    relayed = Relayed()
    pair = Between(relayed=relayed).open()
    assert relayed.connecting == 1
    pair.endpoint.succeed(pair.target)
    pair.clock.advance(0)
    assert relayed.connecting == 0
    client = relayed.take(pair.target.getHost())
    assert client is not None
    assert address_name(client) == "192.0.2.1:54321"


@pytest.mark.parametrize("who", ["browser", "target", "nobody answers"])
def test_what_never_arrives_is_not_noted_for_ever(who: str) -> None:
    relayed = Relayed()
    pair = Between(relayed=relayed)
    if who == "nobody answers":
        pair.open()
        pair.advance(11)
    else:
        pair.connect()
        (pair.browser.socket if who == "browser" else pair.target).end()
        pair.advance(LINGER_S + 1)
    assert relayed.connecting == 0
    assert not relayed.clients
