"""WebSocket to TCP with a fake target: bytes both ways, ends, time-outs and back-pressure."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from netfakes import (
    BINARY,
    CLOSE,
    PING,
    TEXT,
    FakeBrowser,
    FakeEndpoint,
    FakeSite,
    FakeSocket,
    Logs,
    captured_logs,
    upgrade_request,
    ws_frame,
)
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import (
    ConnectBindError,
    ConnectError,
    ConnectingCancelledError,
    ConnectionLost,
    DNSLookupError,
)
from twisted.internet.interfaces import (
    IHostnameResolver,
    IHostResolution,
    IReactorPluggableNameResolver,
    IResolutionReceiver,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from zope.interface import alsoProvides, implementer

from rtchat.core.access import Target
from rtchat.net.proxy import ProxyFactory, tcp_endpoints

GRACE_S = 5
LINGER_S = 30
HIGH_BYTES = 64 * 1024
PATH = "/tcp/irc.example:6667"


class Between:
    """A browser on one side of the proxy and a target on the other."""

    def __init__(self, ping_interval_s: float = 0) -> None:
        self.endpoint = FakeEndpoint()
        self.target = FakeSocket()
        self.asked: list[Target] = []
        self.site = FakeSite(wrap_target=self._factory, ping_interval_s=ping_interval_s)
        self.clock = self.site.clock
        self.browser: FakeBrowser = self.site.browser()

    def _factory(self, target: Target, clock: Clock) -> ProxyFactory:
        return ProxyFactory(target, self._endpoint, clock, 10)

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
    assert logs.lines("warn") == [
        "192.0.2.1:54321: cannot reach irc.example:6667: no connection within 10 s"
    ]


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
    assert line.startswith("192.0.2.1:54321: cannot reach irc.example:6667: ")
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
    assert "bug while connecting to irc.example:6667" in logs.text("critical")


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
    assert "192.0.2.1:54321: target irc.example:6667 broke off: " in logs.text("info")


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
    pair.browser.send(CLOSE)
    assert pair.browser.socket.is_closed


# ---------------------------------------------------------------- the browser ends


def test_when_the_browser_closes_the_target_is_closed(pair: Between) -> None:
    pair.browser.send_raw(ws_frame(TEXT, b"QUIT\r\n") + ws_frame(CLOSE))
    assert pair.target.taken() == b"QUIT\r\n"
    assert pair.target.is_closed
    assert not pair.target.was_cut
    assert pair.clock.getDelayedCalls() == []


def test_when_the_browser_vanishes_the_target_is_closed(pair: Between) -> None:
    pair.browser.socket.end(ConnectionLost())
    pair.target.turn()
    assert pair.target.is_closed


def test_a_target_that_reads_slowly_gets_all_of_a_browser_that_has_gone(pair: Between) -> None:
    pair.target.room = 0
    pair.browser.send(BINARY, b"x" * 100_000)
    pair.browser.socket.end()
    pair.advance(LINGER_S - 1)
    assert not pair.target.is_closed
    pair.target.give_room()
    assert pair.target.taken() == b"x" * 100_000
    assert pair.target.is_closed
    assert pair.clock.getDelayedCalls() == []


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
    assert pair.target.is_closed


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
        wrap_target=lambda target, clock: ProxyFactory(target, tcp_endpoints(reactor), clock, 10),
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
