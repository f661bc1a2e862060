"""CONNECTs that come too fast wait for their turn, and those that would wait too long end."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.logs import Logs, captured_logs
from support.net import FakeSite, FakeSocket
from support.stomp import StompReader, frame_bytes
from twisted.internet.address import IPv4Address, IPv6Address

from rtchat.core.broker.authenticator import Authenticator, Identified, Visitor
from rtchat.core.broker.principal import Principal
from rtchat.core.broker.questions import Question
from rtchat.core.broker.rights import Rights
from rtchat.core.flow.token_bucket import TokenBuckets
from rtchat.errors import AccessRefused
from rtchat.net.stomp.connect_rate import MAX_WAIT_S, PacedConnects

EVERYTHING = Rights(lambda name: True, lambda name: True)


class ByLogin(Authenticator):
    """Lets in everyone as who they say they are, but mallory; slow ones are answered by a test."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.slow: list[Question[Identified]] = []
        self.seen = 0
        self.gone = 0
        self.dropped = 0

    def identify(self, principal: Principal, visitor: Visitor) -> Question[Identified]:
        login = visitor.headers.get("login", "")
        self.asked.append(login)
        question: Question[Identified] = Question()
        question.on_dropped = self._drop
        if login == "mallory":
            question.refuse(AccessRefused("wrong"))
        elif login == "slow":
            self.slow.append(question)
        else:
            question.answer(Identified(login, EVERYTHING))
        return question

    def opened(self, principal: Principal) -> None:
        self.seen += 1

    def left(self, principal: Principal) -> None:
        self.gone += 1

    def _drop(self) -> None:
        self.dropped += 1


class Place:
    """A broker whose CONNECTs have a rate."""

    def __init__(
        self,
        *,
        users: TokenBuckets | None = None,
        guests: TokenBuckets | None = None,
        inner: Authenticator | None = None,
    ) -> None:
        self.site = FakeSite()
        self.clock = self.site.clock
        self.site.broker.authenticator = PacedConnects(
            self.site.broker, self.clock, inner, users=users, guests=guests, login_timeout_s=10
        )

    def connect(self, login: str = "", host: str = "192.0.2.1") -> Client:
        kind = IPv6Address if ":" in host else IPv4Address
        socket = FakeSocket(peer=kind("TCP", host, 40000))
        socket.connect(self.site.stomp.buildProtocol(socket.peer))
        headers = {"login": login} if login else {}
        socket.receive(frame_bytes("CONNECT", accept_version="1.2", **headers))
        return Client(socket)


class Client:
    """A client that has sent CONNECT."""

    def __init__(self, socket: FakeSocket) -> None:
        self.socket = socket
        self._reader = StompReader()

    def answer(self) -> str:
        """Return what came: "", CONNECTED, or the message of an ERROR."""
        frames = self._reader.read(self.socket.taken())
        return " ".join(frame.headers.get("message", frame.command) for frame in frames)


def per_second(rate: float = 1.0, burst: int = 2) -> TokenBuckets:
    return TokenBuckets(rate, burst)


@pytest.fixture
def logs() -> Iterator[Logs]:
    with captured_logs() as logs:
        yield logs


def test_the_connects_of_an_address_wait_for_their_turn() -> None:
    place = Place(guests=per_second())
    clients = [place.connect() for _ in range(4)]
    assert [client.answer() for client in clients] == ["CONNECTED", "CONNECTED", "", ""]
    assert place.connect(host="192.0.2.2").answer() == "CONNECTED"
    place.clock.advance(0.9)
    assert clients[2].answer() == ""
    place.clock.advance(0.1)
    assert clients[2].answer() == "CONNECTED"
    assert clients[3].answer() == ""
    place.clock.advance(1)
    assert clients[3].answer() == "CONNECTED"


def test_a_network_of_ipv6_is_one_address() -> None:
    place = Place(guests=per_second(burst=1))
    assert place.connect(host="2001:db8::1").answer() == "CONNECTED"
    assert place.connect(host="2001:db8::2").answer() == ""
    assert place.connect(host="2001:db8:0:1::1").answer() == "CONNECTED"


def test_one_that_would_wait_too_long_is_refused_and_makes_no_one_wait_longer(logs: Logs) -> None:
    place = Place(guests=per_second(burst=1))
    waiting = [place.connect() for _ in range(1 + int(MAX_WAIT_S))]
    for _ in range(10):
        assert place.connect().answer() == "too many connects of one address"
    assert "too many connects of one address" in logs.text()
    place.clock.advance(MAX_WAIT_S)
    assert [client.answer() for client in waiting] == ["CONNECTED"] * len(waiting)
    place.clock.advance(1)
    assert place.connect().answer() == "CONNECTED"


def test_a_client_that_goes_gives_its_turn_to_the_next() -> None:
    place = Place(guests=per_second(burst=1))
    place.connect()
    place.connect().socket.end()
    last = place.connect()
    place.clock.advance(1)
    assert last.answer() == "CONNECTED"


def test_a_client_without_an_address_has_no_rate() -> None:
    place = Place(guests=per_second(burst=1))
    for _ in range(3):
        socket = FakeSocket()
        socket.peer = None  # type: ignore[assignment]
        socket.connect(place.site.stomp.buildProtocol(None))
        socket.receive(frame_bytes("CONNECT", accept_version="1.2"))
        assert Client(socket).answer() == "CONNECTED"


def test_a_user_pays_and_not_the_address() -> None:
    place = Place(users=per_second(), guests=per_second(burst=1), inner=ByLogin())
    for name in ("ada", "bob", "eve"):
        assert place.connect(name).answer() == "CONNECTED"
    assert place.connect("ada", "192.0.2.9").answer() == "CONNECTED"
    third = place.connect("ada", "192.0.2.8")
    assert third.answer() == ""
    place.clock.advance(1)
    assert third.answer() == "CONNECTED"


def test_who_cannot_log_in_pays_with_the_address() -> None:
    inner = ByLogin()
    place = Place(guests=per_second(burst=2), inner=inner)
    assert place.connect("mallory").answer() == "access refused"
    assert place.connect("mallory").answer() == "access refused"
    assert place.connect("mallory").answer() == ""
    assert len(inner.asked) == 2  # what is slow and costly has not begun
    assert place.connect("ada", "192.0.2.2").answer() == "CONNECTED"


def test_a_user_of_whom_too_many_come_is_refused() -> None:
    inner = ByLogin()
    place = Place(users=per_second(0.1, 1), inner=inner)
    assert place.connect("ada").answer() == "CONNECTED"
    assert place.connect("ada").answer() == "too many connects of one user"
    assert place.connect("bob").answer() == "CONNECTED"
    assert inner.gone == 1
    assert inner.seen == 2


def test_an_answer_that_comes_late_counts_when_it_comes() -> None:
    inner = ByLogin()
    place = Place(users=per_second(burst=1), guests=per_second(burst=5), inner=inner)
    first, second = place.connect("slow"), place.connect("slow")
    for question in inner.slow:
        with place.site.broker.turn:
            question.answer(Identified("ada", EVERYTHING))
    assert (first.answer(), second.answer()) == ("CONNECTED", "")
    place.clock.advance(1)
    assert second.answer() == "CONNECTED"


def test_a_client_that_goes_while_it_is_asked_about_is_asked_about_no_more() -> None:
    inner = ByLogin()
    place = Place(guests=per_second(), inner=inner)
    place.connect("slow").socket.end()
    assert (inner.dropped, inner.gone) == (1, 1)
    assert place.clock.getDelayedCalls() == []


def test_a_user_who_goes_while_waiting_leaves_no_timer_and_gives_the_token_back() -> None:
    place = Place(users=per_second(burst=1), inner=ByLogin())
    place.connect("ada")
    place.connect("ada").socket.end()
    last = place.connect("ada")
    place.clock.advance(1)
    assert last.answer() == "CONNECTED"


def test_without_a_log_in_everybody_may_do_everything() -> None:
    place = Place(guests=per_second())
    client = place.connect()
    client.socket.receive(frame_bytes("SUBSCRIBE", id="1", destination="/topic/a", receipt="r"))
    client.socket.receive(frame_bytes("SEND", b"x", destination="/topic/a"))
    assert client.answer() == "CONNECTED RECEIPT MESSAGE"
