"""The STOMP client against our own server, both in memory, and against a server's bad days."""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from rtchat.core.broker.broker import Broker
from rtchat.core.stomp.frames import Frame
from rtchat.core.stomp.limits import Limits
from rtchat.errors import ServerRefused
from rtchat.net.stomp.client import StompClient, StompClientFactory
from rtchat.net.stomp.server import StompFactory


class Pair:
    """A client and a server whose transports are each other's input."""

    def __init__(self, client: StompClient, broker: Broker | None = None) -> None:
        self.clock = Clock()
        self.client = client
        self.factory = StompFactory(broker or Broker("test"), Limits(), self.clock)
        self.server = self.factory.buildProtocol(None)
        self.up, self.down = StringTransport(), StringTransport()
        self.server.makeConnection(self.down)
        self.client.makeConnection(self.up)
        self.pump()

    def pump(self) -> None:
        """Carry bytes until both sides are silent."""
        while self.up.value() or self.down.value():
            up, down = self.up.value(), self.down.value()
            self.up.clear()
            self.down.clear()
            if up:
                self.server.dataReceived(up)
            if down:
                self.client.dataReceived(down)

    def close(self) -> None:
        """End the connection on both sides."""
        self.client.connectionLost(Failure(ConnectionDone()))
        self.server.connectionLost(Failure(ConnectionDone()))


def outcome(deferred: Deferred[Any]) -> object:
    """Return what a fired Deferred holds."""
    results: list[object] = []
    deferred.addBoth(results.append)
    assert results, "it has not fired"
    return results[0]


def refusal(deferred: Deferred[Any]) -> str:
    """Return the text of the refusal that a Deferred failed with."""
    result = outcome(deferred)
    assert isinstance(result, Failure)
    assert isinstance(result.value, ServerRefused)
    return str(result.value)


@pytest.fixture
def pair() -> Pair:
    return Pair(StompClient())


def test_opened_fires_with_the_client_once_connected(pair: Pair) -> None:
    assert outcome(pair.client.opened) is pair.client
    assert pair.client.session == pair.server.session.id


def test_a_message_reaches_the_subscriber_with_body_and_headers(pair: Pair) -> None:
    seen: list[Frame] = []
    subscribed = pair.client.subscribe("/topic/a", seen.append)
    pair.pump()
    assert outcome(subscribed) == "sub-1"
    sent = pair.client.send("/topic/a", b"\0bytes\xff", {"colour": "a:b\\c\nd"})
    pair.pump()
    assert outcome(sent) is None
    assert [frame.body for frame in seen] == [b"\0bytes\xff"]
    assert seen[0].headers["colour"] == "a:b\\c\nd"


def test_text_is_sent_as_utf8_and_marked_so(pair: Pair) -> None:
    seen: list[Frame] = []
    pair.client.subscribe("/topic/a", seen.append)
    pair.client.send("/topic/a", "grüße")
    pair.pump()
    assert seen[0].body == "grüße".encode()
    assert seen[0].headers["content-type"] == "text/plain;charset=utf-8"


def test_an_unsubscribed_callback_is_not_called_again(pair: Pair) -> None:
    seen: list[Frame] = []
    subscribed = pair.client.subscribe("/topic/a", seen.append)
    pair.pump()
    name = outcome(subscribed)
    assert isinstance(name, str)
    pair.client.unsubscribe(name)
    pair.client.send("/topic/a", b"x")
    pair.pump()
    assert seen == []


def test_names_with_special_characters_are_escaped(pair: Pair) -> None:
    seen: list[Frame] = []
    pair.client.subscribe("/topic/a:b\\c", seen.append)
    pair.client.send("/topic/a:b\\c", b"x")
    pair.pump()
    assert len(seen) == 1


def test_disconnect_is_confirmed_and_ends_well(pair: Pair) -> None:
    done = pair.client.disconnect()
    pair.pump()
    assert outcome(done) is None
    pair.close()
    assert outcome(pair.client.lost) is None


def test_an_error_fails_what_waits_with_the_servers_reason(pair: Pair) -> None:
    sent = pair.client.send("", b"x")
    pair.pump()
    pair.close()
    assert refusal(sent) == "the server answered ERROR: SEND without destination"
    assert refusal(pair.client.lost) == "the server answered ERROR: SEND without destination"


def test_a_connection_that_breaks_fails_what_waits(pair: Pair) -> None:
    sent = pair.client.send("/topic/a", b"x")
    pair.close()
    assert refusal(sent).startswith("the server closed the connection")
    assert refusal(pair.client.lost).startswith("the server closed the connection")


def test_a_server_that_speaks_something_else_is_told_apart() -> None:
    client = StompClient()
    transport = StringTransport()
    client.makeConnection(transport)
    client.dataReceived(b"HTTP/1.1 400 Bad Request\r\n\r\n\0")
    assert transport.disconnecting or transport.disconnected
    client.connectionLost(Failure(ConnectionDone()))
    assert refusal(client.opened) == (
        "the server does not speak STOMP: a frame with the command HTTP/1.1 400 Bad Request"
    )


def test_login_and_passcode_cannot_forge_headers() -> None:
    client = StompClient("eve\nhost:other", "secret\r\nx:y")
    transport = StringTransport()
    client.makeConnection(transport)
    lines = transport.value().split(b"\n")
    assert b"login:eve host:other" in lines
    assert b"passcode:secret  x:y" in lines


def test_the_factory_gives_every_client_its_terms() -> None:
    client = StompClientFactory("ann", "secret", "vhost").buildProtocol(None)
    transport = StringTransport()
    client.makeConnection(transport)
    assert b"login:ann\npasscode:secret\n" in transport.value()
    assert b"host:vhost\n" in transport.value()


def server_says(client: StompClient, *frames: bytes) -> StringTransport:
    """Log the client in and let the server say something; give what the client wrote then."""
    transport = StringTransport()
    client.makeConnection(transport)
    client.dataReceived(b"CONNECTED\nversion:1.1\nsession:s1\n\n\0")
    transport.clear()
    for frame in frames:
        client.dataReceived(frame)
    return transport


def test_messages_are_acknowledged_after_the_callback_unless_auto() -> None:
    client = StompClient()
    transport = server_says(client)
    client.subscribe("/queue/a", lambda frame: None, ack="client-individual")
    client.subscribe("/topic/a", lambda frame: None)
    transport.clear()
    client.dataReceived(b"MESSAGE\nsubscription:sub-1\nmessage-id:m\\c1\n\nx\0")
    assert transport.value() == b"ACK\nsubscription:sub-1\nmessage-id:m\\c1\n\n\0\n"
    transport.clear()
    client.dataReceived(b"MESSAGE\nsubscription:sub-3\nmessage-id:m2\n\nx\0")
    assert transport.value() == b""


def test_a_message_is_not_acknowledged_when_the_callback_raises() -> None:
    client = StompClient()
    transport = server_says(client)

    def fail(frame: Frame) -> None:
        raise ZeroDivisionError

    client.subscribe("/queue/a", fail, ack="client")
    transport.clear()
    with pytest.raises(ZeroDivisionError):
        client.dataReceived(b"MESSAGE\nsubscription:sub-1\nmessage-id:m1\n\nx\0")
    assert transport.value() == b""


@pytest.mark.parametrize("verb", ["begin", "commit", "abort"])
def test_transactions_are_named_and_confirmed(verb: str) -> None:
    client = StompClient()
    transport = server_says(client)
    done = getattr(client, verb)("t:1")
    command = verb.upper().encode()
    assert transport.value() == command + b"\nreceipt:receipt-1\ntransaction:t\\c1\n\n\0\n"
    client.dataReceived(b"RECEIPT\nreceipt-id:receipt-1\n\n\0")
    assert outcome(done) is None


@pytest.mark.parametrize("verb", ["ack", "nack"])
def test_ack_and_nack_name_message_subscription_and_transaction(verb: str) -> None:
    client = StompClient()
    transport = server_says(client)
    message = Frame("MESSAGE", {"message-id": "m1", "subscription": "sub-1"})
    getattr(client, verb)(message, "t1")
    assert transport.value() == (
        verb.upper().encode()
        + b"\nreceipt:receipt-1\nsubscription:sub-1\nmessage-id:m1\ntransaction:t1\n\n\0\n"
    )


def test_a_message_sent_in_a_transaction_says_so() -> None:
    client = StompClient()
    transport = server_says(client)
    client.send("/queue/a", b"x", transaction="t1")
    assert b"\ntransaction:t1\n" in transport.value()


def test_numbers_and_truths_may_be_headers_here_too(pair: Pair) -> None:
    seen: list[Frame] = []
    pair.client.subscribe("/queue/a", seen.append, ack="client", headers={"prefetch-count": 1})
    pair.client.send("/queue/a", b"x", {"priority": 4, "persistent": True})
    pair.pump()
    assert (seen[0].headers["priority"], seen[0].headers["persistent"]) == ("4", "true")
    wrong: Any = {"prefetch-count": 1.5}
    with pytest.raises(TypeError, match="the header prefetch-count has the value"):
        pair.client.subscribe("/queue/a", seen.append, headers=wrong)
    with pytest.raises(TypeError, match="the header prefetch-count has the value"):
        pair.client.send("/queue/a", b"x", wrong)


def test_messages_may_be_acknowledged_by_the_caller(pair: Pair) -> None:
    seen: list[Frame] = []
    one_by_one = {"prefetch-count": 1}
    pair.client.subscribe(
        "/queue/a", seen.append, ack="client-individual", acknowledge=False, headers=one_by_one
    )
    pair.client.send("/queue/a", b"1")
    pair.client.send("/queue/a", b"2")
    pair.pump()
    assert [frame.body for frame in seen] == [b"1"]
    pair.client.ack(seen[0])
    pair.pump()
    assert [frame.body for frame in seen] == [b"1", b"2"]


def test_a_server_that_is_silent_is_left() -> None:
    clock = Clock()
    pair = Pair(StompClient(clock=clock, silence_s=4))
    for _ in range(20):
        clock.advance(1)
        pair.clock.advance(1)  # the server sends its heart-beats
        pair.pump()
    assert not pair.up.disconnecting
    for _ in range(5):
        clock.advance(1)
    assert pair.up.disconnecting
    pair.client.connectionLost(Failure(ConnectionDone()))
    assert refusal(pair.client.lost) == "the server has sent nothing for 4 seconds"
    assert clock.getDelayedCalls() == []


def test_a_server_without_session_id_is_fine() -> None:
    client = StompClient()
    client.makeConnection(StringTransport())
    client.dataReceived(b"CONNECTED\nversion:1.1\n\n\0")
    assert outcome(client.opened) is client
    assert client.session == ""


def test_a_message_that_cannot_be_acknowledged_is_told_of() -> None:
    client = StompClient()
    client.makeConnection(StringTransport())
    client.dataReceived(b"CONNECTED\nversion:1.1\n\n\0")
    client.subscribe("/queue/a", lambda _: None, ack="client")
    client.dataReceived(b"MESSAGE\nsubscription:sub-1\ndestination:/queue/a\n\n\0")
    client.connectionLost(Failure(ConnectionDone()))
    expected = "the server does not speak STOMP: a MESSAGE without message-id"
    assert refusal(client.lost) == expected
