"""The frames that stomper builds are understood, as they are."""

from __future__ import annotations

import pytest
import stomper
from support.process import Server
from support.wire import Wire

pytestmark = [pytest.mark.live]


def test_a_conversation_in_stompers_words(server: Server) -> None:
    with Wire(server.stomp) as wire:
        wire.send(stomper.connect("guest", "secret", "localhost", (0, 0)))
        connected = stomper.unpack_frame(_text(wire))
        assert connected["cmd"] == "CONNECTED"
        assert connected["headers"]["version"] == "1.1"

        wire.send(stomper.subscribe("/topic/stomper", "s-1", ack="auto"))
        wire.send(stomper.send("/topic/stomper", "Hello Wörld", content_type="text/plain"))
        message = stomper.unpack_frame(_text(wire))
        assert message["cmd"] == "MESSAGE"
        assert message["body"] == "Hello Wörld"
        assert message["headers"]["subscription"] == "s-1"
        assert message["headers"]["destination"] == "/topic/stomper"
        assert message["headers"]["content-type"] == "text/plain"

        wire.send(stomper.unsubscribe("s-1"))
        wire.send(stomper.send("/topic/stomper", "nobody listens now"))
        wire.send(stomper.disconnect(receipt="bye"))
        rest = wire.rest()
    assert [(frame.command, frame.headers) for frame in rest] == [
        ("RECEIPT", {"receipt-id": "bye"})
    ]


def test_stompers_frames_arrive_in_one_piece_or_byte_for_byte(server: Server) -> None:
    conversation = "".join(
        (
            stomper.connect("", "", "localhost"),
            stomper.subscribe("/topic/pieces", 7),
            stomper.send("/topic/pieces", "one\ntwo\n"),
            stomper.disconnect(receipt="bye"),
        )
    )
    for pieces in ([conversation], list(conversation)):
        with Wire(server.stomp) as wire:
            for piece in pieces:
                wire.send(piece)
            frames = wire.rest()
        assert [frame.command for frame in frames] == ["CONNECTED", "MESSAGE", "RECEIPT"]
        assert frames[1].body == b"one\ntwo\n"


def test_an_error_is_one_that_stomper_can_read(server: Server) -> None:
    with Wire(server.stomp) as wire:
        wire.send(stomper.connect("", "", "localhost"))
        assert wire.frame().command == "CONNECTED"
        wire.send(stomper.commit("t-1"))
        error = stomper.unpack_frame(_text(wire))
    assert error["cmd"] == "ERROR"
    assert error["headers"]["message"] == "no such transaction"


def _text(wire: Wire) -> str:
    """Return the next frame as the text that stomper's ``unpack_frame`` takes."""
    frame = wire.frame()
    head = "".join(f"{name}:{value}\n" for name, value in frame.headers.items())
    return f"{frame.command}\n{head}\n{frame.body.decode()}\0\n"
