"""What a target's name leads to: looked up once, every address checked, only those connected."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from support.logs import Logs, captured_logs
from support.net import FakeBrowser, FakeSite
from support.websocket import CLOSE
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import (
    IHostnameResolver,
    IHostResolution,
    IReactorPluggableNameResolver,
    IResolutionReceiver,
)
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from zope.interface import alsoProvides, implementer

from rtchat.core.access.rules import AccessList, AccessRule
from rtchat.core.access.ssrf import NamePolicy
from rtchat.net.gateway.relay import ProxyFactory
from rtchat.net.gateway.resolver import ATTEMPT_DELAY_S, checked_endpoints

RULES = (
    "* -> irc.example:6667",
    "* -> localhost:6667",
    "* -> 169.254.169.254:80",
    "* -> [::1]:6667",
    "* -> unix:app = /run/app.sock",
)


@implementer(IHostResolution)
class Resolution:
    """A look-up that cannot be ended, as those in threads cannot."""

    name = "irc.example"

    def cancel(self) -> None:
        """Fail as Twisted's own do."""
        raise NotImplementedError


@implementer(IHostnameResolver)
class Resolver:
    """Returns one answer after the other, or none until it is told to.

    Attributes:
        asked: The names that were looked up.
    """

    def __init__(self, *answers: Sequence[str] | None) -> None:
        self.asked: list[str] = []
        self._answers = list(answers)
        self._late: list[tuple[IResolutionReceiver, int]] = []

    def resolveHostName(  # noqa: N802
        self,
        resolutionReceiver: IResolutionReceiver,  # noqa: N803
        hostName: str,  # noqa: N803
        portNumber: int = 0,  # noqa: N803
        addressTypes: object = None,  # noqa: N803
        transportSemantics: str = "TCP",  # noqa: N803
    ) -> IHostResolution:
        """Answer."""
        self.asked.append(hostName)
        resolution = Resolution()
        resolutionReceiver.resolutionBegan(resolution)
        answer = self._answers.pop(0)
        if answer is None:
            self._late.append((resolutionReceiver, portNumber))
        else:
            self._give(resolutionReceiver, portNumber, answer)
        return resolution

    def answer_late(self, *addresses: str) -> None:
        """Answer the question that waits longest."""
        self._give(*self._late.pop(0), addresses)

    def _give(self, receiver: IResolutionReceiver, port: int, addresses: Sequence[str]) -> None:
        for address in addresses:
            kind = IPv6Address if ":" in address else IPv4Address
            receiver.addressResolved(kind("TCP", address, port))
        receiver.resolutionComplete()


class Names:
    """A site whose targets are looked up by a resolver of the test's."""

    def __init__(self, *answers: Sequence[str] | None, policy: NamePolicy | None = None) -> None:
        self.reactor = MemoryReactorClock()
        alsoProvides(self.reactor, IReactorPluggableNameResolver)  # itself since Twisted 25
        self.resolver = self.reactor.nameResolver = Resolver(*answers)
        access = AccessList(map(AccessRule.parse, RULES))
        endpoints = checked_endpoints(self.reactor, policy or NamePolicy(["box"]), access.rule_for)
        self.site = FakeSite(
            rules=RULES,
            wrap_target=lambda target, clock: ProxyFactory(target, endpoints, clock, 10),
        )

    def open(self, target: str = "irc.example:6667") -> FakeBrowser:
        return self.site.browser().open(f"/tcp/{target}")

    @property
    def tried(self) -> list[tuple[str, int]]:
        """The addresses that were connected to, in order."""
        return [(host, port) for host, port, *_ in self.reactor.tcpClients]

    def refuse(self, number: int) -> None:
        """Let one of the connections fail."""
        factory = self.reactor.tcpClients[number][2]
        factory.clientConnectionFailed(
            self.reactor.connectors[number], Failure(ConnectError(string="nobody there"))
        )

    def accept(self, number: int) -> StringTransport:
        """Let one of the connections be made."""
        protocol = self.reactor.tcpClients[number][2].buildProtocol(None)
        assert protocol is not None
        transport = StringTransport(lenient=True)
        protocol.makeConnection(transport)
        self.site.clock.advance(0)
        return transport


@pytest.fixture
def logs() -> Iterator[Logs]:
    with captured_logs() as logs:
        yield logs


def refusals(logs: Logs) -> list[str]:
    return [line for line in logs.lines("warn") if " -> " in line]


# ---------------------------------------------------------------- once


def test_a_name_is_looked_up_once_and_its_address_connected() -> None:
    names = Names(["192.0.2.7"], ["127.0.0.1"])
    names.open()
    assert names.resolver.asked == ["irc.example"]
    assert names.tried == [("192.0.2.7", 6667)]


def test_a_silent_name_server_is_asked_once_however_many_wait() -> None:
    """Each question would hold one of the reactor's few threads, and other names need them."""
    names = Names(None, ["192.0.2.8"])
    browsers = [names.open() for _ in range(12)]
    assert names.resolver.asked == ["irc.example"]
    browsers[0].socket.end()
    names.resolver.answer_late("192.0.2.7")
    assert names.tried == [("192.0.2.7", 6667)] * 11
    # Nothing of the answer is kept.
    names.open()
    assert names.tried[11:] == [("192.0.2.8", 6667)]


def test_whoever_waits_for_a_name_without_addresses_is_told() -> None:
    names = Names(None)
    browsers = [names.open() for _ in range(3)]
    names.resolver.answer_late()
    assert [browser.expect(CLOSE).code for browser in browsers] == [1011] * 3


def test_a_name_that_answers_differently_the_next_time_is_checked_the_next_time(
    logs: Logs,
) -> None:
    names = Names(["192.0.2.7"], ["127.0.0.1"])
    names.open()
    names.accept(0)
    assert names.open().expect(CLOSE).code == 1011
    assert names.tried == [("192.0.2.7", 6667)]
    assert refusals(logs) == [
        "192.0.2.1:54321 (no Origin) -> irc.example:6667: refused: irc.example resolves to "
        "127.0.0.1, which is this machine itself; name localhost in the rule, or add the name to "
        "[global] hosts"
    ]


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "::1",
        "169.254.169.254",
        "169.254.0.1",
        "fe80::1",
        "fd00:ec2::254",
        "100.100.100.200",
        "224.0.0.1",
        "255.255.255.255",
        "0.0.0.0",
        "::",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::127.0.0.1",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::1",
        "2002:a9fe:a9fe::1",
    ],
)
@pytest.mark.parametrize("others", [[], ["192.0.2.7"]])
def test_a_name_that_means_what_it_may_not_is_refused_with_all_its_addresses(
    logs: Logs, address: str, others: list[str]
) -> None:
    for answer in ([address, *others], [*others, address]):
        names = Names(answer)
        frame = names.open().expect(CLOSE)
        # No word of why: the page would learn what the name means inside this network.
        assert (frame.code, frame.reason) == (1011, "target unreachable")
        assert names.tried == []
    assert len(refusals(logs)) == 2
    assert all(f"resolves to {address}, which is " in line for line in refusals(logs))


def test_localhost_means_this_machine() -> None:
    names = Names(["::1", "127.0.0.1"])
    names.open("localhost:6667")
    assert names.tried == [("::1", 6667)]


def test_private_addresses_are_reached_unless_that_is_turned_off() -> None:
    names = Names(["10.0.0.5"])
    names.open()
    assert names.tried == [("10.0.0.5", 6667)]
    strict = Names(["10.0.0.5"], policy=NamePolicy(private_names=False))
    assert strict.open().expect(CLOSE).code == 1011
    assert strict.tried == []


def test_a_rule_that_names_an_address_reaches_it_and_nothing_is_looked_up() -> None:
    names = Names()
    names.open("169.254.169.254:80")
    names.open("[::1]:6667")
    assert names.tried == [("169.254.169.254", 80), ("::1", 6667)]
    assert names.resolver.asked == []


def test_a_name_without_an_address_is_unreachable(logs: Logs) -> None:
    assert Names([]).open().expect(CLOSE).code == 1011
    (line,) = refusals(logs)
    assert line.endswith("cannot connect: DNS lookup failed: the name irc.example has no address.")


def test_an_answer_that_comes_too_late_is_not_followed() -> None:
    names = Names(None)
    browser = names.open()
    names.site.clock.advance(10.1)
    assert browser.expect(CLOSE).code == 1011
    names.resolver.answer_late("192.0.2.7")
    assert names.tried == []


def test_an_answer_for_a_browser_that_has_left_is_not_followed() -> None:
    names = Names(None)
    names.open().socket.end()
    names.resolver.answer_late("192.0.2.7")
    assert names.tried == []


# ---------------------------------------------------------------- several addresses


def test_the_next_address_is_tried_when_one_refuses() -> None:
    names = Names(["192.0.2.7", "2001:db8::7"])
    browser = names.open()
    names.refuse(0)
    assert names.tried == [("192.0.2.7", 6667), ("2001:db8::7", 6667)]
    names.accept(1)
    assert browser.received() == []


def test_the_next_address_is_tried_beside_one_that_does_not_answer() -> None:
    names = Names(["192.0.2.7", "192.0.2.8", "192.0.2.9"])
    names.open()
    assert len(names.tried) == 1
    names.reactor.advance(ATTEMPT_DELAY_S)
    assert len(names.tried) == 2
    names.reactor.advance(ATTEMPT_DELAY_S)
    assert names.tried == [(f"192.0.2.{number}", 6667) for number in (7, 8, 9)]


def test_the_first_that_connects_wins_and_the_others_are_given_up() -> None:
    names = Names(["192.0.2.7", "192.0.2.8", "192.0.2.9"])
    names.open()
    names.reactor.advance(ATTEMPT_DELAY_S)
    names.accept(1)
    assert names.reactor.connectors[0].stoppedConnecting
    names.reactor.advance(60)
    assert len(names.tried) == 2


def test_when_none_connects_the_last_failure_is_told(logs: Logs) -> None:
    names = Names(["192.0.2.7", "192.0.2.8"])
    browser = names.open()
    names.refuse(0)
    assert browser.received() == []
    names.refuse(1)
    assert browser.expect(CLOSE).code == 1011
    (line,) = refusals(logs)
    assert "cannot connect: An error occurred while connecting: nobody there" in line


def test_all_addresses_have_the_time_of_one() -> None:
    names = Names([f"192.0.2.{number}" for number in range(1, 5)])
    browser = names.open()
    names.reactor.advance(5)
    names.site.clock.advance(10.1)
    assert browser.expect(CLOSE).code == 1011
    assert all(connector.stoppedConnecting for connector in names.reactor.connectors)
    assert names.reactor.getDelayedCalls() == []


def test_no_more_than_16_addresses_are_tried_and_each_once() -> None:
    names = Names([f"192.0.2.{number % 100}" for number in range(1, 200)])
    names.open()
    for number in range(16):
        names.refuse(number)
    assert names.tried == [(f"192.0.2.{number}", 6667) for number in range(1, 17)]


# ---------------------------------------------------------------- Unix sockets


def test_a_unix_socket_is_where_the_rule_says() -> None:
    names = Names()
    names.open("unix:APP")
    assert [path for path, *_ in names.reactor.unixClients] == ["/run/app.sock"]
    assert names.tried == []
