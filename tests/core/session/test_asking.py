"""A session that asks who it is waits for the answer, keeps to its rights and names its user."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from support.core import Client, Server
from support.stomp import frame_bytes

from rtchat.core.broker.authenticator import Authenticator, Identified, Visitor
from rtchat.core.broker.broker import Broker
from rtchat.core.broker.destinations import Glob
from rtchat.core.broker.gate import Check, Gate
from rtchat.core.broker.message import Message, user_mark, user_of
from rtchat.core.broker.principal import Principal
from rtchat.core.broker.questions import Question
from rtchat.core.broker.rights import Rights
from rtchat.core.session.connection import CloseReason
from rtchat.core.stomp.frames import Frame, Version, escape
from rtchat.errors import AccessRefused


class Asked(Authenticator):
    """Keeps the questions, for a test to answer."""

    def __init__(self) -> None:
        self.questions: list[Question[Identified]] = []
        self.visitors: list[Visitor] = []
        self.gone: list[str] = []
        self.dropped = 0

    def identify(self, principal: Principal, visitor: Visitor) -> Question[Identified]:
        question: Question[Identified] = Question()
        question.on_dropped = self._drop
        self.questions.append(question)
        self.visitors.append(visitor)
        return question

    def left(self, principal: Principal) -> None:
        self.gone.append(principal.id)

    def _drop(self) -> None:
        self.dropped += 1


def rights(*, read: str = "", write: str = "") -> Rights:
    """Return rights for names that begin with a text."""
    return Rights(lambda name: name.startswith(read), lambda name: name.startswith(write))


@pytest.fixture
def asked() -> Asked:
    return Asked()


@pytest.fixture
def server(asked: Asked) -> Server:
    broker = Broker("epoch")
    broker.authenticator = asked
    return Server(broker)


@pytest.fixture
def log_in(server: Server, asked: Asked) -> Callable[..., Client]:
    """Return what logs a client in as a user."""

    def as_user(user: str = "", what: Rights | None = None) -> Client:
        client = Client(server, None)
        client.say("CONNECT", accept_version="1.2")
        answer(server, asked, Identified(user, what or rights()))
        assert [frame.command for frame in client.received()] == ["CONNECTED"]
        return client

    return as_user


def answer(server: Server, asked: Asked, found: Identified) -> None:
    """Answer the latest question, in a turn of its own."""
    with server.broker.turn:
        asked.questions[-1].answer(found)
    server.end_turn()


# ---------------------------------------------------------------- waiting


def test_nothing_is_answered_before_it_is_known_who_it_is(server: Server, asked: Asked) -> None:
    client = Client(server, None)
    data = frame_bytes("CONNECT", accept_version="1.2", login="ada", passcode="secret")
    client.send(data + frame_bytes("SEND", b"early", destination="/topic/a", receipt="r"))
    assert client.received() == []
    assert client.is_waiting
    assert len(asked.questions) == 1
    answer(server, asked, Identified("ada", rights()))
    assert [frame.command for frame in client.received()] == ["CONNECTED", "RECEIPT"]
    assert len(asked.questions) == 1
    assert client.session.user == "ada"
    assert not client.is_waiting


def test_the_visitor_is_all_that_it_shows(server: Server, asked: Asked) -> None:
    client = Client(server, None)
    client.line.source = "192.0.2.1"
    client.line.request_headers = {"cookie": "rtchat_session=x"}
    client.say("CONNECT", accept_version="1.2", login="ada")
    [visitor] = asked.visitors
    assert visitor.headers["login"] == "ada"
    assert visitor.request == {"cookie": "rtchat_session=x"}
    assert visitor.source == "192.0.2.1"


def test_an_answer_at_once_does_not_wait(server: Server, asked: Asked) -> None:
    class Knows(Asked):
        def identify(self, principal: Principal, visitor: Visitor) -> Question[Identified]:
            question = super().identify(principal, visitor)
            question.answer(Identified("ada", rights()))
            return question

    server.broker.authenticator = Knows()
    client = Client(server)
    assert client.session.user == "ada"
    assert client.line.pauses == 0


def test_wrong_credentials_get_one_error_and_a_code_of_their_own(
    server: Server, asked: Asked
) -> None:
    client = Client(server, None)
    client.say("CONNECT", accept_version="1.2", login="ada", passcode="wrong")
    with server.broker.turn:
        asked.questions[0].refuse(AccessRefused("wrong password"))
    [error] = client.received()
    assert error.headers["message"] == "access refused"
    assert b"wrong" not in error.body
    assert client.line.closed == [(CloseReason.ACCESS, "access refused")]
    assert asked.gone == [client.session.id]


def test_a_client_that_goes_drops_its_question(server: Server, asked: Asked) -> None:
    client = Client(server, None)
    client.say("CONNECT", accept_version="1.2")
    client.drop()
    assert asked.dropped == 1
    assert asked.gone == [client.session.id]
    answer(server, asked, Identified("ada", rights()))  # too late
    assert client.received() == []


def test_other_sessions_do_not_wait(server: Server, asked: Asked) -> None:
    slow = Client(server, None)
    slow.say("CONNECT", accept_version="1.2")
    quick = Client(server, None)
    quick.say("CONNECT", accept_version="1.2")
    answer(server, asked, Identified("bob", rights()))
    assert [frame.command for frame in quick.received()] == ["CONNECTED"]
    assert slow.received() == []


Login = Callable[..., Client]


class Asks(Gate):
    """Asks about each SEND; a test answers."""

    concerns = Glob(("*",))

    def __init__(self) -> None:
        self.questions: list[Question[None]] = []
        self.dropped = 0

    def check_for(self, destinations: Sequence[str]) -> Check:
        return self._check

    def _check(self, principal: Principal, frame: Frame) -> None:
        principal.answer_to(self._ask)

    def _ask(self) -> Question[None]:
        question: Question[None] = Question()
        question.on_dropped = self._drop
        self.questions.append(question)
        return question

    def _drop(self) -> None:
        self.dropped += 1


def _shut_down(client: Client) -> None:
    with client.broker.turn:
        client.session.shut_down()


def _refuse(client: Client) -> None:
    with client.broker.turn:
        client.session.fail(AccessRefused("the user was removed"))


@pytest.mark.parametrize("end", [Client.drop, _shut_down, _refuse])
def test_a_session_that_ends_while_it_asks_about_a_frame_leaves_nothing(
    server: Server, log_in: Login, end: Callable[[Client], None]
) -> None:
    gate = Asks()
    server.broker.add_gate(gate)
    reader = log_in("eve")
    reader.subscribe("/topic/a")
    before = server.broker.budget.used
    client = log_in("ada")
    for _ in range(3):
        client.publish("/topic/a", b"x" * 50_000)
    assert len(gate.questions) == 1
    assert client.is_waiting
    assert client.session.holding.bytes > 50_000
    end(client)
    assert gate.dropped == 1
    assert client.session.holding.bytes == 0
    assert server.broker.budget.used == before
    assert not server.broker.waiting._places
    with server.broker.turn:
        gate.questions[0].answer(None)  # too late
    server.end_turn()
    assert len(gate.questions) == 1
    assert reader.messages() == []


def test_rights_that_change_while_a_frame_is_asked_about_hold_for_it(
    server: Server, log_in: Login
) -> None:
    gate = Asks()
    server.broker.add_gate(gate)
    reader = log_in("eve")
    reader.subscribe("/topic/a")
    client = log_in("ada")
    client.publish("/topic/a", b"x")
    with server.broker.turn:
        client.session.change_rights(rights(write="/topic/b"))
    assert client.received() == []
    with server.broker.turn:
        gate.questions[0].answer(None)
    [error] = client.received()
    assert error.headers["message"] == "not allowed: write /topic/a"
    assert reader.messages() == []


# ---------------------------------------------------------------- rights


@pytest.mark.parametrize("destination", ["/topic/b", "/queue/b", "/topic/a,/topic/b", "/queue/a,b"])
def test_what_may_not_be_written_is_refused_whole(log_in: Login, destination: str) -> None:
    reader = log_in("eve")
    reader.subscribe("/topic/a")
    client = log_in("ada", Rights(lambda _: True, lambda name: name.endswith("a")))
    client.say("SEND", b"x", destination=destination, receipt="r")
    [error] = client.received()
    assert error.headers["message"].startswith("not allowed: write ")
    assert error.headers["receipt-id"] == "r"
    assert client.close_reason is CloseReason.NO_RIGHT
    assert reader.received() == []


@pytest.mark.parametrize("destination", ["/topic/b", "/topic/#", "#", "/queue/b"])
def test_what_may_not_be_read_is_refused(log_in: Login, destination: str) -> None:
    client = log_in("ada", rights(read="/topic/a"))
    client.subscribe("/topic/a.x")
    client.say("SUBSCRIBE", id="1", destination=destination)
    [error] = client.received()
    assert error.headers["message"] == f"not allowed: read {destination}"
    assert client.close_reason is CloseReason.NO_RIGHT


@pytest.mark.parametrize("count", [1, 2, 3, 20])
def test_what_a_head_remembers_is_no_right_of_another_session(log_in: Login, count: int) -> None:
    """Sessions share heads, and so the fast path; their rights they do not share."""
    reader = log_in("eve")
    reader.subscribe("/topic/a")
    ada, bob = log_in("ada"), log_in("bob", rights(write="/topic/b"))
    data = frame_bytes("SEND", b"hello", destination="/topic/a", content_length="5")
    for _ in range(3):
        ada.send(data)
    ada.send(data * 20)
    assert len(reader.messages()) == 23
    bob.send(data * count)
    [error] = bob.received()
    assert error.headers["message"] == "not allowed: write /topic/a"
    assert reader.received() == []


def test_a_line_of_pubsub_needs_the_right_for_each_target(asked: Asked) -> None:
    broker = Broker("epoch", pubsub={"orders": ("/queue/billing", "/queue/shipping")})
    broker.authenticator = asked
    server = Server(broker)
    client = Client(server, None)
    client.say("CONNECT", accept_version="1.2")
    answer(server, asked, Identified("ada", rights(write="/queue/b")))
    client.received()
    client.say("SEND", b"x", destination="/pubsub/orders")
    [error] = client.received()
    # The client did not write the name of the queue, and does not learn it.
    assert error.headers["message"] == "not allowed: write /pubsub/orders"
    assert broker.queues == {}


def test_a_transaction_is_checked_at_send_and_again_at_commit(log_in: Login) -> None:
    reader = log_in("eve")
    reader.subscribe("/topic/a")
    client = log_in("ada")
    client.say("BEGIN", transaction="t")
    client.say("SEND", b"x", destination="/topic/a", transaction="t")
    client.session.change_rights(rights(write="/topic/b"))
    client.say("COMMIT", transaction="t")
    [error] = client.received()
    assert error.headers["message"] == "not allowed: write /topic/a"
    assert reader.received() == []


def test_fewer_rights_end_a_session_that_reads_more(server: Server, log_in: Login) -> None:
    client = log_in("ada")
    client.subscribe("/topic/a")
    with server.broker.turn:
        client.session.change_rights(rights(read="/topic/a"))
    assert client.received() == []
    with server.broker.turn:
        client.session.change_rights(rights(read="/topic/b"))
    [error] = client.received()
    assert error.headers["message"] == "not allowed: read /topic/a"
    assert server.broker.statistics.subscription_count == 0


def test_fewer_rights_hold_for_what_was_written_before(server: Server, log_in: Login) -> None:
    client = log_in("ada")
    data = frame_bytes("SEND", b"hello", destination="/topic/a", content_length="5")
    for _ in range(4):
        client.send(data)
    client.session.change_rights(rights(write="/topic/b"))
    client.send(data)
    [error] = client.received()
    assert error.headers["message"] == "not allowed: write /topic/a"


# ---------------------------------------------------------------- whose messages


@pytest.mark.parametrize("destination", ["/topic/a", "/queue/a"])
@pytest.mark.parametrize("version", list(Version))
def test_messages_name_the_user_who_sent_them(
    log_in: Login, server: Server, asked: Asked, destination: str, version: Version
) -> None:
    reader = Client(server, None)
    reader.say("CONNECT", accept_version=version.value)
    answer(server, asked, Identified("eve", rights()))
    reader.received()
    reader.subscribe(destination)
    data = frame_bytes(
        "SEND", b"hello", destination=destination, content_length="5", x_user="boss", timestamp="7"
    )
    for user, count in (("ada", 1), ("ada", 1), ("ada", 5), ("", 1), ("bob", 5)):
        log_in(user).send(data * count)
        messages = reader.messages()
        assert len(messages) == count
        for message in messages:
            assert message.headers.get("x-user") == (user or None)
            assert message.headers["timestamp"] == "7"
            assert message.body == b"hello"


def test_a_selector_may_ask_for_the_user(log_in: Login) -> None:
    reader = log_in("eve")
    reader.subscribe("/topic/a", selector="\"x-user\" = 'ada'")
    data = frame_bytes("SEND", b"hello", destination="/topic/a", content_length="5")
    log_in("ada").send(data)
    log_in("bob").send(data)
    assert len(reader.messages()) == 1


@pytest.mark.parametrize("user", ["a:b", "a\\b", "世界"])
def test_a_user_may_have_any_name(log_in: Login, user: str) -> None:
    reader = log_in("eve")
    reader.subscribe("/topic/a", selector=f"\"x-user\" = '{escape(user, Version.V12)}'")
    log_in(user).publish("/topic/a", b"x")
    assert reader.message().headers["x-user"] == user
    assert user_of(Message("1", "/topic/a", Frame("SEND"), "", user_mark(user))) == user


def test_a_dead_letter_names_its_user(log_in: Login) -> None:
    reader = log_in("eve")
    reader.subscribe("/queue/a", ack="client-individual")
    log_in("ada").publish("/queue/a", b"x")
    reader.nack(reader.message(), requeue="false")
    reader.subscribe("/queue/DLQ.a", "1")
    assert reader.message().headers["x-user"] == "ada"
