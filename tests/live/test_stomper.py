"""The frames that stomper builds are understood, as they are; ours are what its buffer reads."""

from __future__ import annotations

import socket
from typing import Any

import pytest
import stomper
from stomper.stompbuffer import StompBuffer
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


class _Buffered:
    """stomper's own buffer on a socket: a frame ends in NUL and a line feed, or has not ended."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), 10)
        self._buffer = StompBuffer()

    def say(self, text: str) -> None:
        self._socket.sendall(text.encode())

    def next(self) -> dict[str, Any]:
        while True:
            message: dict[str, Any] | None = self._buffer.getOneMessage()
            if message is not None:
                return message
            data = self._socket.recv(4096)
            assert data, "closed"
            self._buffer.appendData(data.decode())

    def close(self) -> None:
        assert self._buffer.bufferIsEmpty(), self._buffer.buffer
        self._socket.close()


def test_stompers_buffer_ends_each_frame_when_it_has_come(server: Server) -> None:
    client = _Buffered(server.stomp)
    client.say(stomper.connect("", "", "localhost", (0, 0)))
    assert client.next()["cmd"] == "CONNECTED"
    for destination in ("/topic/buffered", "/queue/buffered"):
        client.say(stomper.subscribe(destination, destination))
        for body in ("one", "", "two\n", "three\n\n"):
            client.say(stomper.send(destination, body))
            message = client.next()
            assert (message["cmd"], message["body"]) == ("MESSAGE", body)
        # Messages that arrive in one read.
        client.say("".join(stomper.send(destination, f"{count}") for count in range(50)))
        assert [client.next()["body"] for _ in range(50)] == [f"{count}" for count in range(50)]
    client.say("BEGIN\ntransaction:t\nreceipt:r\n\n\0\n")
    assert client.next() == {"cmd": "RECEIPT", "headers": {"receipt-id": "r"}, "body": ""}
    client.say(stomper.commit("another"))
    assert client.next()["cmd"] == "ERROR"
    client.close()


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
