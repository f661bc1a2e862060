"""The seam for how deliveries are written: a topic with STOMP clients and with another kind."""

from __future__ import annotations

from collections.abc import Hashable

import pytest
from support.core import RecordingOutbound, Server, bodies
from support.stomp import frame_bytes

from rtchat.core.broker.message import Message
from rtchat.core.broker.subscription import SlowPolicy, SubscribeOptions, Subscription
from rtchat.core.stomp.frames import Version


class Lines:
    """Writes a body as a line; it counts how often."""

    def __init__(self, name: str) -> None:
        self.key: Hashable = name
        self.encoded = 0

    def encode(self, message: Message, extra: bytes = b"", mark: bytes = b"") -> bytes:
        self.encoded += 1
        return message.body + b"\n"

    def around(self, message: Message, stem: str) -> None:
        return None


@pytest.fixture
def server() -> Server:
    return Server()


def listen(
    server: Server, encoder: Lines, options: SubscribeOptions | None = None
) -> RecordingOutbound:
    outbound = RecordingOutbound(server.broker.cork)
    subscription = Subscription(
        "", 1, "/topic/a", Version.V12, outbound, options or SubscribeOptions(), encoder
    )
    server.broker.subscribe(subscription, 1024)
    return outbound


def test_each_kind_gets_its_own_bytes(server: Server) -> None:
    client = server.client()
    client.subscribe("/topic/a")
    outbound = listen(server, Lines("lines"))
    client.publish("/topic/a", "x")
    assert (bytes(outbound.sent), client.bodies()) == (b"x\n", ["x"])


def test_a_message_is_written_once_for_all_with_the_same_key(server: Server) -> None:
    encoders = [Lines("a"), Lines("a"), Lines("b")]
    outbounds = [listen(server, encoder) for encoder in encoders]
    server.client().publish("/topic/a", "x")
    assert [encoder.encoded for encoder in encoders] == [1, 0, 1]
    assert [bytes(outbound.sent) for outbound in outbounds] == [b"x\n"] * 3


def test_messages_together_are_written_one_by_one_for_it(server: Server) -> None:
    client = server.client()
    client.subscribe("/topic/a")
    outbound = listen(server, Lines("lines"))
    headers = {"destination": "/topic/a", "content_length": "1"}
    client.send(b"".join(frame_bytes("SEND", text.encode(), **headers) for text in "abcde"))
    assert bytes(outbound.sent) == b"a\nb\nc\nd\ne\n"
    assert bodies(client.messages()) == list("abcde")


def test_one_that_may_lag_is_written_to_as_well(server: Server) -> None:
    outbound = listen(server, Lines("lines"), SubscribeOptions(slow=SlowPolicy.LATEST))
    server.client().publish("/topic/a", "x")
    assert bytes(outbound.sent) == b"x\n"
