"""Publishing from a program that waits, over real sockets: to a server, and to what is none."""

from __future__ import annotations

import json
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest

from rtchat.blocking import publish
from rtchat.core.stomp.frames import Frame, Version, encode
from rtchat.core.stomp.limits import Limits
from rtchat.core.stomp.parser import FrameParser
from rtchat.errors import ProtocolError, ServerRefused
from rtchat.pytest_plugin import Server

Answer = Callable[[Frame], bytes]

CONNECTED = encode("CONNECTED", {"version": "1.1", "session": "s"}, version=Version.V11)


def receipt(frame: Frame) -> bytes:
    return encode("RECEIPT", {"receipt-id": frame.headers["receipt"]}, version=Version.V11)


class Broker:
    """A STOMP server that answers as a test wants; it serves one client after the other.

    Attributes:
        frames: What it was sent.
        answers: What it answers to each command; a command without an answer gets none, and b""
            closes the connection.
    """

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.answers: dict[str, Answer] = {
            "CONNECT": lambda _: CONNECTED,
            "SEND": receipt,
            "DISCONNECT": receipt,
        }
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._socket.accept()
            except OSError:
                return
            # The client may be gone, or speak something else.
            with client, suppress(OSError, ProtocolError):
                self._talk(client)

    def _talk(self, client: socket.socket) -> None:
        parser = FrameParser(Limits())
        while data := client.recv(65536):
            parser.feed(data)
            while (frame := parser.next_frame()) is not None:
                self.frames.append(frame)
                answer = self.answers.get(frame.command)
                if answer is None:
                    continue
                reply = answer(frame)
                if not reply:
                    return
                # Byte for byte: nothing may hang on where a read ends.
                for index in range(len(reply)):
                    client.sendall(reply[index : index + 1])


@pytest.fixture
def broker() -> Iterator[Broker]:
    broker = Broker()
    yield broker
    broker.close()


def test_a_message_is_published_and_the_connection_given_back(broker: Broker) -> None:
    before_ms = time.time() * 1000
    publish("/topic/chat", "Grüße", {"priority": "7"}, port=broker.port, login="a", passcode="b")
    connect, send, disconnect = broker.frames
    assert connect.headers["login"] == "a"
    assert connect.headers["passcode"] == "b"
    assert send.headers["destination"] == "/topic/chat"
    assert send.headers["content-type"] == "text/plain;charset=utf-8"
    assert send.headers["priority"] == "7"
    assert before_ms - 1 <= int(send.headers["timestamp"]) <= time.time() * 1000
    assert send.body == "Grüße".encode()
    assert disconnect.command == "DISCONNECT"


def test_a_mapping_goes_out_as_json_and_bytes_as_they_are(broker: Broker) -> None:
    publish("/topic/chat", {"nick": "shop", "text": "3 äpples"}, port=broker.port)
    publish("/queue/raw", b"\x00\xff", {"timestamp": "1"}, port=broker.port)
    chat, raw = (frame for frame in broker.frames if frame.command == "SEND")
    assert chat.headers["content-type"] == "application/json"
    assert json.loads(chat.body) == {"nick": "shop", "text": "3 äpples"}
    assert raw.body == b"\x00\xff"
    assert raw.headers["timestamp"] == "1"
    assert "content-type" not in raw.headers


@pytest.mark.parametrize("command", ["CONNECT", "SEND", "DISCONNECT"])
def test_an_error_is_raised_with_the_servers_reason(broker: Broker, command: str) -> None:
    error = encode("ERROR", {"message": "not today"}, version=Version.V11)
    broker.answers[command] = lambda _: error
    with pytest.raises(ServerRefused, match="answered ERROR: not today"):
        publish("/topic/chat", "x", port=broker.port)


@pytest.mark.parametrize("command", ["CONNECT", "SEND", "DISCONNECT"])
def test_a_server_that_goes_is_told_of(broker: Broker, command: str) -> None:
    broker.answers[command] = lambda _: b""
    with pytest.raises(ServerRefused, match="closed the connection"):
        publish("/topic/chat", "x", port=broker.port)


@pytest.mark.parametrize("command", ["CONNECT", "SEND", "DISCONNECT"])
def test_a_server_that_is_silent_is_waited_for_as_long_as_agreed(
    broker: Broker, command: str
) -> None:
    del broker.answers[command]
    started = time.monotonic()
    with pytest.raises(ServerRefused, match=f"127.0.0.1:{broker.port}: took too long"):
        publish("/topic/chat", "x", port=broker.port, timeout_s=0.2)
    assert 0.2 <= time.monotonic() - started < 5


def test_a_server_that_speaks_but_says_nothing_does_not_stretch_the_time(broker: Broker) -> None:
    broker.answers["SEND"] = lambda _: b"\n" * 30_000_000
    started = time.monotonic()
    with pytest.raises(ServerRefused, match="took too long"):
        publish("/topic/chat", "x", port=broker.port, timeout_s=0.3)
    assert time.monotonic() - started < 3


def test_what_is_no_stomp_server_is_told_of(broker: Broker) -> None:
    broker.answers["CONNECT"] = lambda _: b"HTTP/1.1 400 Bad Request\r\n\r\n\0"
    with pytest.raises(ServerRefused, match="does not speak STOMP"):
        publish("/topic/chat", "x", port=broker.port)


def test_a_port_where_nobody_listens_is_told_of() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(ServerRefused, match=rf"127\.0\.0\.1:{port}: .*refused"):
        publish("/topic/chat", "x", port=port)


def test_a_server_without_tls_is_no_stomps_server(broker: Broker) -> None:
    with pytest.raises(ServerRefused, match=f"127.0.0.1:{broker.port}"):
        publish("/topic/chat", "x", port=broker.port, tls=ssl.create_default_context(), timeout_s=1)


@pytest.mark.parametrize(
    "argument, value, said",
    [
        ("tls", "yes", "tls is of type str; give True or an ssl.SSLContext"),
        ("port", "61613", "port is '61613', of type str; give an int"),
        ("port", True, "port is True, of type bool; give an int"),
        ("timeout_s", None, "timeout_s is of type NoneType; give seconds"),
        ("host", None, "host is None, of type NoneType; give a str"),
        ("host", b"localhost", "host is b'localhost', of type bytes; give a str"),
        ("headers", {"priority": 4.5}, "the header priority has the value 4.5 (float); give a str"),
        ("headers", {"reply-to": None}, "the header reply-to has the value None (NoneType); give"),
        ("headers", {7: "x"}, "the header 7 has a name that is no str"),
        ("destination", b"/topic/a", "the header destination has the value b'/topic/a' (bytes)"),
        ("login", 1.5, "the header login has the value 1.5 (float)"),
        ("body", None, "the body is of type NoneType; give bytes or a str"),
    ],
)
def test_an_argument_of_a_wrong_type_is_named(
    broker: Broker, argument: str, value: object, said: str
) -> None:
    arguments: Any = {"destination": "/topic/a", "body": "x", "port": broker.port}
    with pytest.raises(TypeError, match=f"^{re.escape(said)}"):
        publish(**{**arguments, argument: value})
    assert broker.frames == []


@pytest.mark.parametrize("port", [0, -1, 65536, 86537])
def test_a_port_that_does_not_exist_is_named(port: int) -> None:
    with pytest.raises(ValueError, match=f"^port is {port}; give a number from 1 to 65535$"):
        publish("/topic/a", "x", port=port)


def test_a_time_limit_that_has_passed_already_is_named() -> None:
    for timeout_s in (0, float("inf"), float("nan")):
        said = f"timeout_s is {timeout_s}; give a number of seconds above 0, up to 86400"
        with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
            publish("/topic/a", "x", timeout_s=timeout_s)


def test_numbers_and_truths_may_be_headers(broker: Broker) -> None:
    publish("/queue/a", b"x", {"priority": 4, "persistent": True}, port=broker.port)
    send = broker.frames[1]
    assert send.headers["priority"] == "4"
    assert send.headers["persistent"] == "true"


@pytest.mark.parametrize("tls", [True, ssl.create_default_context()])
def test_tls_is_asked_for_by_true_or_with_a_context(
    broker: Broker, tls: bool | ssl.SSLContext
) -> None:
    with pytest.raises(ServerRefused, match=f"127.0.0.1:{broker.port}"):  # it speaks no TLS
        publish("/topic/a", "x", port=broker.port, tls=tls, timeout_s=2)
    publish("/topic/a", "x", port=broker.port, tls=False)


def test_a_host_that_cannot_be_one_is_told_of() -> None:
    with pytest.raises(ServerRefused, match=r"cannot publish .* at a\.\.b:61613: "):
        publish("/topic/a", "x", host="a..b")


def test_no_reactor_comes_with_it() -> None:
    """A program with a reactor of its own choice must still be able to install it."""
    code = "import sys, rtchat.blocking; sys.exit('twisted.internet.reactor' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.live
def test_many_threads_publish_to_a_real_server(rtchat_server: Server) -> None:
    threads = [
        threading.Thread(
            target=publish,
            args=("/queue/blocking", f"job {number}"),
            kwargs={"port": rtchat_server.stomp_port},
        )
        for number in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    with socket.create_connection(("127.0.0.1", rtchat_server.stomp_port), 5) as reader:
        reader.sendall(b"CONNECT\naccept-version:1.1\nhost:/\n\n\0")
        reader.sendall(b"SUBSCRIBE\nid:1\ndestination:/queue/blocking\n\n\0")
        parser, jobs = FrameParser(Limits()), set[bytes]()
        while len(jobs) < 20:
            parser.feed(reader.recv(65536))
            while (frame := parser.next_frame()) is not None:
                if frame.command == "CONNECTED":
                    parser.log_in(Version.V11)
                elif frame.command == "MESSAGE":
                    jobs.add(frame.body)
    assert jobs == {f"job {number}".encode() for number in range(20)}
