"""What txWS and stomper get wrong, and what of them can be relied on.

docs/dependencies.md says what rtchat replaces in each package. Here every such break is shown.
**When one of the tests under "breaks" fails, a release has mended it**: look at what rtchat does
instead, and whether the package can do it now.
"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Callable

import pytest
import stomper
import txws
from support.core import Client
from support.parsing import feed_all
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import StringTransport
from websockets.frames import Frame as WsFrame
from websockets.frames import Opcode

from rtchat.core.broker.broker import Broker
from rtchat.core.session.connection import CloseReason
from rtchat.core.stomp.frames import Frame, Version, escape
from rtchat.errors import ProtocolError

V11 = Version.V11


# ================================================================ txWS


class Taking(Protocol):
    """Takes note of each piece of data."""

    def __init__(self) -> None:
        self.taken: list[bytes] = []

    def dataReceived(self, data: bytes) -> None:  # noqa: N802
        """Take note."""
        self.taken.append(data)


class Handshake:
    """One txWS connection, from its request on."""

    def __init__(self, *headers: str) -> None:
        self.taking = Taking()
        factory = Factory.forProtocol(lambda: self.taking)
        self.protocol = txws.WebSocketFactory(factory).buildProtocol(None)
        self.transport = StringTransport()
        self.protocol.makeConnection(self.transport)
        lines = [
            "GET /ws HTTP/1.1",
            "Host: localhost",
            "Upgrade: websocket",
            "Connection: keep-alive, Upgrade",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version: 13",
            *headers,
        ]
        self.protocol.dataReceived("\r\n".join([*lines, "", ""]).encode())

    @property
    def answer(self) -> bytes:
        """What the server said, frames included."""
        data: bytes = self.transport.value()
        return data


def unmasked(opcode: int, payload: bytes, *, fin: bool = True) -> bytes:
    """Write a short frame as no client may: unmasked, for the sake of txWS."""
    return bytes([(0x80 if fin else 0) | opcode, len(payload)]) + payload


class TestWhatTxwsBreaks:
    def test_mask_calls_a_method_that_went_away_in_python_3_9(self) -> None:
        with pytest.raises(AttributeError, match="tostring"):
            txws.mask(b"hello", b"\1\2\3\4")

    def test_so_every_frame_of_a_client_fails(self) -> None:
        handshake = Handshake()
        masked = WsFrame(Opcode.TEXT, b"hello").serialize(mask=True)
        with pytest.raises(AttributeError, match="tostring"):
            handshake.protocol.dataReceived(masked)

    @pytest.mark.parametrize("length", [126, 65535, 65536])
    def test_frames_over_125_bytes_go_out_corrupted(self, length: int) -> None:
        payload = b"x" * length
        right = WsFrame(Opcode.BINARY, payload).serialize(mask=False)
        made: bytes = txws.make_hybi07_frame(payload, opcode=0x2)
        assert made != right
        assert made[:2] == right[:2]
        assert made[2:5] == b"b'\\"  # the text of a bytes object where the length belongs
        assert made[-length:] == payload

    def test_fragments_are_taken_for_messages_of_their_own(self) -> None:
        data = unmasked(0x1, b"hel", fin=False) + unmasked(0x0, b"lo")
        frames, _ = txws.parse_hybi07_frames(data)
        assert [payload for _, payload in frames] == [b"hel", b"lo"]

    def test_pings_are_not_answered(self) -> None:
        handshake = Handshake()
        handshake.transport.clear()
        handshake.protocol.dataReceived(unmasked(0x9, b"ping"))
        assert handshake.answer == b""

    def test_the_size_of_a_frame_has_no_limit(self) -> None:
        handshake = Handshake()
        handshake.protocol.dataReceived(b"\x82\x7f" + (2**60).to_bytes(8, "big") + b"x" * 100_000)
        assert not handshake.transport.disconnecting

    def test_unmasked_frames_are_taken_from_clients(self) -> None:
        handshake = Handshake()
        handshake.protocol.dataReceived(unmasked(0x2, b"hello"))
        assert handshake.taking.taken == [b"hello"]

    def test_close_puts_the_reason_where_the_code_belongs(self) -> None:
        handshake = Handshake()
        handshake.transport.clear()
        handshake.protocol.close("no more")
        assert handshake.answer == unmasked(0x8, b"no more")

    @pytest.mark.parametrize("offered", ["v12.stomp", "v12.stomp, v11.stomp", "binary"])
    def test_sub_protocols_other_than_base64_close_the_connection(self, offered: str) -> None:
        handshake = Handshake(f"Sec-WebSocket-Protocol: {offered}")
        assert handshake.transport.disconnecting
        assert handshake.answer == b""

    def test_the_date_of_the_handshake_is_the_text_of_a_bytes_object(self) -> None:
        assert b"\r\nDate: b'" in Handshake().answer

    def test_header_names_are_not_compared_as_http_does(self) -> None:
        assert not txws.is_websocket({"connection": "Upgrade", "upgrade": "websocket"})

    def test_six_is_needed_and_not_declared(self) -> None:
        assert txws.six.__name__ == "six"
        required = importlib.metadata.requires("txWS") or []
        assert not any(re.match(r"six\b", requirement, re.IGNORECASE) for requirement in required)


class TestWhatTxwsDoesWell:
    def test_the_answer_to_the_handshake_is_that_of_rfc_6455(self) -> None:
        head = Handshake().answer.decode()
        assert head.startswith("HTTP/1.1 101 ")
        assert head.endswith("\r\n\r\n")
        assert "\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in head

    def test_the_connection_stays_open_after_the_handshake(self) -> None:
        handshake = Handshake()
        assert handshake.protocol.state == txws.FRAMES
        assert not handshake.transport.disconnecting

    def test_a_sub_protocol_chosen_beforehand_is_named_in_the_answer(self) -> None:
        handshake = Handshake()
        handshake.transport.clear()
        handshake.protocol.codec = "v12.stomp"
        handshake.protocol.sendHyBi07Preamble()
        assert b"\r\nSec-WebSocket-Protocol: v12.stomp\r\n" in handshake.answer

    def test_a_request_may_come_in_pieces(self) -> None:
        whole = Handshake()
        factory = Factory.forProtocol(Taking)
        protocol = txws.WebSocketFactory(factory).buildProtocol(None)
        transport = StringTransport()
        protocol.makeConnection(transport)
        request = (
            b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        for place in range(len(request)):
            protocol.dataReceived(request[place : place + 1])
        accept = re.compile(rb"Sec-WebSocket-Accept: (.*)\r\n")
        assert accept.findall(transport.value()) == accept.findall(whole.answer) != []

    @pytest.mark.parametrize("missing", ["Upgrade", "Connection"])
    def test_a_request_that_is_no_upgrade_is_refused(self, missing: str) -> None:
        headers = {"Upgrade": "websocket", "Connection": "Upgrade"}
        headers[missing] = "something else"
        assert not txws.is_websocket(headers)


# ================================================================ stomper


class TestWhatStomperBreaks:
    def test_unpack_frame_joins_the_lines_of_a_body(self) -> None:
        assert stomper.unpack_frame("MESSAGE\n\none\ntwo\n\nthree\0")["body"] == "onetwothree"

    def test_unpack_frame_strips_the_lines_of_a_body(self) -> None:
        assert stomper.unpack_frame("MESSAGE\n\n  one  \n\ttwo\0")["body"] == "onetwo"

    def test_unpack_frame_drops_nul_bytes_from_a_body(self) -> None:
        data = "MESSAGE\ncontent-length:3\n\na\0b\0"
        assert stomper.unpack_frame(data)["body"] == "ab"

    def test_unpack_frame_does_not_unescape(self) -> None:
        assert stomper.unpack_frame("MESSAGE\na:b\\cc\n\n\0")["headers"] == {"a": "b\\cc"}

    def test_unpack_frame_lets_the_last_of_repeated_headers_win(self) -> None:
        assert stomper.unpack_frame("MESSAGE\na:1\na:2\n\n\0")["headers"] == {"a": "2"}

    def test_unpack_frame_cannot_read_bytes(self) -> None:
        with pytest.raises(TypeError):
            stomper.unpack_frame(b"MESSAGE\n\n\0")

    def test_pack_lets_a_line_end_in_a_value_make_a_new_header(self) -> None:
        frame = stomper.Frame()
        frame.cmd = "SEND"
        frame.headers = {"destination": "/topic/a", "x": "y\nforged:z"}
        [read] = feed_all([frame.pack().encode()], version=V11).frames
        assert read.headers == {"destination": "/topic/a", "x": "y", "forged": "z"}

    def test_pack_does_not_escape_colons_and_backslashes(self) -> None:
        frame = stomper.Frame()
        frame.cmd = "SEND"
        frame.headers = {"a": "b:\\n"}
        assert frame.pack() == "SEND\na:b:\\n\n\n\0\n"

    @pytest.mark.parametrize(
        "build",
        [
            lambda value: stomper.subscribe(value, "1"),
            lambda value: stomper.unsubscribe(value),
            lambda value: stomper.begin(value),
            lambda value: stomper.send(value, "body"),
        ],
    )
    def test_the_builders_do_not_escape_either(self, build: Callable[[str], str]) -> None:
        [read] = feed_all([build("a\nforged:b").encode()], version=V11).frames
        assert read.headers["forged"] == "b"

    def test_send_writes_bytes_as_their_python_text(self) -> None:
        assert "\n\nb'hello'\0" in stomper.send("/topic/a", b"hello")

    def test_send_lets_a_nul_in_the_body_end_the_frame(self) -> None:
        reading = feed_all([stomper.send("/topic/a", "one\0two").encode()], version=V11)
        assert [frame.body for frame in reading.frames] == [b"one"]
        assert isinstance(reading.error, ProtocolError)

    def test_send_gives_no_content_length(self) -> None:
        assert "content-length" not in stomper.send("/topic/a", "hello")

    def test_disconnect_lacks_the_blank_line(self) -> None:
        assert stomper.disconnect("r") == "DISCONNECT\nreceipt:r\n\0\n"

    def test_stomp_is_no_command(self) -> None:
        frame = stomper.Frame()
        with pytest.raises(stomper.FrameError, match="STOMP"):
            frame.cmd = "STOMP"

    def test_connect_knows_no_version_but_1_1(self) -> None:
        assert "\naccept-version:1.1\n" in stomper.connect("", "", "localhost")

    def test_it_needs_future_for_what_python_3_has(self) -> None:
        required = importlib.metadata.requires("stomper") or []
        assert any(re.match(r"future\b", requirement) for requirement in required)


AWKWARD = ["plain", "with space", "grüße 世界", "a:b", "a\\b", "a\nforged:b", "\\c", ":", "\n"]


class TestWhatStomperDoesWell:
    """Its builders, given escaped values, and what of it understands our server."""

    def read(self, text: str) -> Frame:
        """Read what a builder made, byte by byte, as the server does."""
        data = text.encode()
        reading = feed_all([data[at : at + 1] for at in range(len(data))], version=V11)
        assert (reading.error, reading.buffered_bytes) == (None, 0)
        [frame] = reading.frames
        assert frame.body == b""
        return frame

    @pytest.mark.parametrize("value", AWKWARD)
    def test_subscribe(self, value: str) -> None:
        made = stomper.subscribe(escape(value, V11), escape(value, V11), "client")
        headers = {"id": value, "destination": value, "ack": "client"}
        assert self.read(made) == Frame("SUBSCRIBE", headers)

    def test_subscribe_asks_for_no_acknowledgements_unless_told(self) -> None:
        assert self.read(stomper.subscribe("/topic/a", "1")).headers["ack"] == "auto"

    @pytest.mark.parametrize("value", AWKWARD)
    def test_unsubscribe(self, value: str) -> None:
        made = stomper.unsubscribe(escape(value, V11))
        assert self.read(made) == Frame("UNSUBSCRIBE", {"id": value})

    @pytest.mark.parametrize("command", ["begin", "commit", "abort"])
    @pytest.mark.parametrize("value", AWKWARD)
    def test_begin_commit_abort(self, command: str, value: str) -> None:
        made = getattr(stomper, command)(escape(value, V11))
        assert self.read(made) == Frame(command.upper(), {"transaction": value})

    def test_begin_finds_a_name_of_its_own(self) -> None:
        names = {self.read(stomper.begin()).headers["transaction"] for _ in range(10)}
        assert len(names) == 10

    @pytest.mark.parametrize("command", ["ack", "nack"])
    @pytest.mark.parametrize("value", AWKWARD)
    def test_ack_and_nack(self, command: str, value: str) -> None:
        escaped = escape(value, V11)
        plain = {"subscription": value, "message-id": value}
        build = getattr(stomper, command)
        assert self.read(build(escaped, escaped)) == Frame(command.upper(), plain)
        with_transaction = Frame(command.upper(), plain | {"transaction": value})
        assert self.read(build(escaped, escaped, escaped)) == with_transaction

    @pytest.mark.parametrize("heartbeats", [(0, 0), (5000, 10000)])
    def test_connect(self, heartbeats: tuple[int, int]) -> None:
        made = stomper.connect("ada:l", "back\\slash\\n", "localhost", heartbeats)
        [frame] = feed_all([made.encode()], version=None).frames
        assert frame == Frame(
            "CONNECT",
            {
                "accept-version": "1.1",
                "host": "localhost",
                "heart-beat": "{},{}".format(*heartbeats),
                "login": "ada:l",
                "passcode": "back\\slash\\n",
            },
        )

    def test_send_of_plain_text(self) -> None:
        made = stomper.send("/topic/a", "grüße\n\n ☃ ")
        [frame] = feed_all([made.encode()], version=V11).frames
        assert frame.headers == {"destination": "/topic/a", "content-type": "text/plain"}
        assert frame.body == "grüße\n\n ☃ ".encode()

    def test_disconnect_is_understood_all_the_same(self) -> None:
        assert self.read(stomper.disconnect("r")) == Frame("DISCONNECT", {"receipt": "r"})

    def test_its_commands_are_those_of_stomp_1_1(self) -> None:
        assert set(stomper.VALID_COMMANDS) == {
            *("ABORT", "ACK", "BEGIN", "COMMIT", "CONNECT", "CONNECTED", "DISCONNECT", "ERROR"),
            *("MESSAGE", "NACK", "RECEIPT", "SEND", "SUBSCRIBE", "UNSUBSCRIBE"),
        }

    def test_a_frame_refuses_other_commands(self) -> None:
        with pytest.raises(stomper.FrameError, match="NONSENSE"):
            stomper.Frame().cmd = "nonsense"

    def test_the_engine_learns_the_session_from_our_connected(self) -> None:
        client = Client(Broker("epoch"), None)
        client.send(stomper.connect("", "", "localhost").encode())
        engine = stomper.Engine()
        assert engine.react(client.received_bytes().decode()) == stomper.NO_RESPONSE_NEEDED
        assert engine.sessionId == client.session.id

    def test_the_engine_acknowledges_a_message_that_another_parser_read(self) -> None:
        message = {
            "cmd": "MESSAGE",
            "headers": {"message-id": "m-1", "subscription": "s"},
            "body": b"\0\xff",
        }
        made = stomper.Engine().react(message)
        assert self.read(made) == Frame("ACK", {"subscription": "s", "message-id": "m-1"})

    @pytest.mark.parametrize("command", ["RECEIPT", "ERROR"])
    def test_the_engine_answers_receipts_and_errors_with_nothing(self, command: str) -> None:
        message = {"cmd": command, "headers": {"receipt-id": "r", "message": "m"}, "body": ""}
        assert stomper.Engine().react(message) == stomper.NO_RESPONSE_NEEDED

    def test_the_engine_refuses_what_is_neither_text_nor_read(self) -> None:
        with pytest.raises(stomper.FrameError):
            stomper.Engine().react(b"MESSAGE\n\n\0")


def test_a_conversation_in_stomper_s_frames_works_from_login_to_goodbye() -> None:
    broker = Broker("epoch")
    client, friend = Client(broker, None), Client(broker)
    friend.subscribe("/topic/chat")
    client.send(stomper.connect("ada", "secret", "localhost", (0, 10000)).encode())
    client.send(stomper.subscribe("/topic/chat", "s-1").encode())
    client.send(stomper.send("/topic/chat", "hello").encode())
    client.send(stomper.unsubscribe("s-1").encode())
    client.send(stomper.disconnect("bye").encode())
    assert [frame.command for frame in client.received()] == ["CONNECTED", "MESSAGE", "RECEIPT"]
    assert [frame.body for frame in friend.received()] == [b"hello"]
    assert client.session.login == "ada"
    assert client.close_reason is CloseReason.DONE
