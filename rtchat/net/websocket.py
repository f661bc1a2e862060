"""A WebSocket as a transport for any Twisted protocol.

txWS is the seam: its factory wraps any Twisted factory, its protocol reads the request and
answers the handshake. Its frames do not work on Python 3 (see docs/dependencies.md), so frames
are read by the sans-I/O ``websockets`` library, and written here: an unmasked frame is a header
of two to ten bytes, and a message is packed once for all its receivers.
"""

from __future__ import annotations

import codecs

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IConsumer,
    IDelayedCall,
    IProducer,
    IProtocolFactory,
    IPushProducer,
    IReactorTime,
)
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import datetimeToString
from txws import FRAMES, WebSocketFactory, WebSocketProtocol
from typing_extensions import override
from websockets.frames import Frame as WsFrame
from websockets.frames import Opcode
from websockets.protocol import OPEN, SERVER
from websockets.protocol import Protocol as Framing
from zope.interface import implementer

from rtchat.core.outlet import Cork, Wire
from rtchat.net.outbox import IFramedTransport, Outbox
from rtchat.net.transport import Stream, peer_name

__all__ = ["BINARY", "TEXT", "WebSocket", "WebSockets"]

CLOSE_GRACE_S = 5.0
"""How long the other side may take for its part of the close."""

_NO_PONG = 3012
_RESTARTING = 1012
_MAX_REASON_BYTES = 123  # a control frame holds 125, the code takes two
_MAX_BYTES_BEFORE_PONG = 64 * 1024
"""A client that has this much to read already gets no pong."""


def _header(opcode: int, length: int) -> bytes:
    """Give the header of a final, unmasked frame (RFC 6455, 5.2)."""
    if length < 126:
        return bytes((0x80 | opcode, length))
    if length < 65536:
        return bytes((0x80 | opcode, 126)) + length.to_bytes(2, "big")
    return bytes((0x80 | opcode, 127)) + length.to_bytes(8, "big")


class _BinaryWire:
    """Every frame becomes a binary message."""

    def wrap(self, data: bytes) -> bytes:
        """Give one binary message."""
        return _header(Opcode.BINARY, len(data)) + data


class _TextWire:
    """Every frame that is UTF-8 becomes a text message, any other a binary one."""

    def wrap(self, data: bytes) -> bytes:
        """Give one message."""
        try:
            if not data.isascii():
                data.decode("utf-8")
        except UnicodeDecodeError:
            return BINARY.wrap(data)
        return _header(Opcode.TEXT, len(data)) + data


BINARY: Wire = _BinaryWire()
"""The wire of a client that speaks binary messages, or has not spoken yet."""

TEXT: Wire = _TextWire()
"""The wire of a client whose first message was text."""


@implementer(IFramedTransport, IConsumer, IPushProducer)
class WebSocket(WebSocketProtocol):  # type: ignore[misc]  # txws has no types
    """One WebSocket: a protocol below, a transport for the wrapped protocol above.

    The stream above knows no message boundaries: it receives the bytes of every text or binary
    message, and each of its writes is one message.
    """

    log = Logger()
    factory: WebSockets
    transport: Stream
    disconnecting: bool
    buf: bytes
    pending_frames: list[bytes]

    @override
    def makeConnection(self, transport: Stream) -> None:
        self.peer = peer_name(transport)
        self.outbox = Outbox(transport, self.factory.cork, BINARY, is_busy=True)
        self._framing = Framing(SERVER, max_size=self.factory.max_message_bytes)
        self._utf8: codecs.IncrementalDecoder | None = None  # while a text message lasts
        self._has_spoken = False
        self._is_reading = True
        self._is_lost = False
        self._cut_timer: IDelayedCall | None = None
        self._ping_timer: IDelayedCall | None = None
        self._pong_timer: IDelayedCall | None = None
        self._early_close: tuple[int, str, float] | None = None  # asked for before the handshake
        self._heard_s = 0.0
        super().makeConnection(transport)

    def accept(self, request: bytes, subprotocol: str | None) -> None:
        """Answer the handshake; frames flow from now on.

        Args:
            request: A clean upgrade request, header names as RFC 6455 writes them and
                without sub-protocols, which txWS would refuse.
            subprotocol: The one that was chosen; txWS names it in its answer.
        """
        self.codec = subprotocol
        super().dataReceived(request)
        self._heard_s = self.factory.clock.seconds()
        if self.state != FRAMES:
            self._end()
        elif self._early_close is not None:
            self._say_close(*self._early_close)
        else:
            self._schedule_ping()

    @override
    def sendCommonPreamble(self) -> None:
        """Begin the answer to the handshake; txWS writes ``Date: b'…'`` on Python 3."""
        self.writeEncodedSequence(
            [
                "HTTP/1.1 101 Switching Protocols\r\n",
                f"Date: {datetimeToString().decode('ascii')}\r\n",
                "Upgrade: websocket\r\n",
                "Connection: Upgrade\r\n",
            ]
        )

    # Bytes from below

    @override
    def dataReceived(self, data: bytes) -> None:
        if self.state != FRAMES:
            super().dataReceived(data)
        else:
            self._receive(data)

    @override
    def parseFrames(self) -> None:
        """Called by txWS with what followed the request in ``buf``."""
        data, self.buf = self.buf, b""
        if data:
            self._receive(data)

    @override
    def sendFrames(self) -> None:
        """Called by txWS for what was written before the handshake was answered."""
        if self.state == FRAMES:
            frames, self.pending_frames = self.pending_frames, []
            for data in frames:
                self.outbox.write_now(self.outbox.wire.wrap(data))

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._is_lost = True
        for timer in (self._cut_timer, self._ping_timer, self._pong_timer):
            if timer is not None and timer.active():
                timer.cancel()
        super().connectionLost(reason)

    def _receive(self, data: bytes) -> None:
        framing = self._framing
        self._heard_s = self.factory.clock.seconds()
        was_open = framing.state is OPEN
        framing.receive_data(data)
        # The messages of one read go up as one piece of the stream: what they cause is one
        # turn, with one write to each receiver (see rtchat.core.outlet).
        payloads: list[bytes] = []
        for event in framing.events_received():
            if isinstance(event, WsFrame) and not self._take(event, payloads):
                break
        # What came before a close, or before a broken frame, in the same read still counts.
        if payloads and was_open:
            self.wrappedProtocol.dataReceived(b"".join(payloads))
            if self._is_lost:
                return
        if framing.parser_exc is not None:
            self.log.warn(
                "{peer}: broken WebSocket: {error}", peer=self.peer, error=framing.parser_exc
            )
        self._answer()

    def _take(self, frame: WsFrame, payloads: list[bytes]) -> bool:
        """Add a frame's payload to what goes up; False if the connection failed."""
        opcode = frame.opcode
        if opcode is Opcode.TEXT or opcode is Opcode.BINARY:
            if not self._has_spoken:
                # "The server answers with text messages when the client spoke text."
                self._has_spoken = True
                if opcode is Opcode.TEXT:
                    self.outbox.wire = TEXT
            self._utf8 = _utf8_decoder() if opcode is Opcode.TEXT else None
        elif opcode is not Opcode.CONT:
            return True
        if self._utf8 is not None:
            try:
                self._utf8.decode(frame.data, frame.fin)
            except UnicodeDecodeError:
                self._fail(1007, "text message is not UTF-8")
                return False
        payloads.append(bytes(frame.data))
        return True

    def _fail(self, code: int, reason: str) -> None:
        """Close with an error of the other side's; it is not asked for an answer."""
        self.log.warn("{peer}: broken WebSocket: {error}", peer=self.peer, error=reason)
        if self._framing.state is OPEN:
            self._framing.fail(code, reason)
            self._answer()

    def _answer(self) -> None:
        """Send what the framing layer wants sent: pongs, and its part of a close."""
        # While the WebSocket is open these are pongs. A client that pings and does not read has
        # no use for them: "If an endpoint receives a Ping frame and has not yet sent Pong
        # frame(s) in response to previous Ping frame(s), the endpoint MAY elect to send a Pong
        # frame for only the most recently processed Ping frame" (RFC 6455, 5.5.3).
        is_open = self._framing.state is OPEN
        for data in self._framing.data_to_send():
            if data:
                if not is_open or self.outbox.waiting_bytes <= _MAX_BYTES_BEFORE_PONG:
                    self.outbox.write_now(data)
            else:
                # The close handshake is done: "the server MUST close the connection
                # immediately" (RFC 6455, 7.1.1), so TCP ends here.
                self._end()

    # Bytes from above

    @override
    def write(self, data: bytes) -> None:
        """Send one message."""
        if self.disconnecting or not data:
            return
        if self.state != FRAMES:
            self.pending_frames.append(data)
        elif self._framing.state is OPEN:
            self.outbox.write_now(self.outbox.wire.wrap(data))

    @override
    def writeSequence(self, data: list[bytes]) -> None:
        """Send one message made of several pieces."""
        self.write(b"".join(data))

    @override
    def loseConnection(self) -> None:
        """Close as one who is done."""
        self.close_with(1000, "")

    def close_with(self, code: int, reason: str, grace_s: float = CLOSE_GRACE_S) -> None:
        """Send what was written, then a close frame; cut if the other side does not answer.

        Args:
            code: A close code of RFC 6455 or of this server.
            reason: For people.
            grace_s: Seconds that the other side may take to read all and to answer. Of several
                calls the first one's words are sent, and the shortest time holds.
        """
        if self._is_lost:
            return
        if self.disconnecting:
            self._cut_later(grace_s)
            return
        self.disconnecting = True
        if self.state == FRAMES:
            self._say_close(code, reason, grace_s)
        else:
            self._early_close = (code, reason, grace_s)

    def _say_close(self, code: int, reason: str, grace_s: float) -> None:
        if self._framing.state is OPEN:
            text = reason.encode()[:_MAX_REASON_BYTES].decode(errors="ignore")
            self._framing.send_close(code, text)
            self._answer()
        self._listen_again()
        self._cut_later(grace_s)

    def abortConnection(self) -> None:
        """Close TCP at once."""
        self.transport.abortConnection()

    def _end(self) -> None:
        """Close TCP once everything is sent; cut if the other side does not read."""
        self._listen_again()
        self._cut_later(CLOSE_GRACE_S)
        self.outbox.close(linger=self._framing.close_rcvd is None)

    def _listen_again(self) -> None:
        """Read on while closing, to hear the other side's close, whoever asked for a pause."""
        if not self._is_reading:
            self.resumeProducing()

    def _cut_later(self, grace_s: float) -> None:
        clock, timer = self.factory.clock, self._cut_timer
        if timer is None:
            self._cut_timer = clock.callLater(grace_s, self.abortConnection)
        elif timer.active() and timer.getTime() > clock.seconds() + grace_s:
            timer.reset(grace_s)

    # Back-pressure

    @override
    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Pause the producer while the other side does not read."""
        if not streaming:
            raise ValueError("a WebSocket takes push producers only")
        self.outbox.register_producer(IPushProducer(producer))

    @override
    def unregisterProducer(self) -> None:
        """Leave the producer alone from now on."""
        self.outbox.unregister_producer()

    def pauseProducing(self) -> None:
        """Stop reading from the other side."""
        if not self.disconnecting:
            self._is_reading = False
            self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """Read again."""
        self._is_reading = True
        self._heard_s = self.factory.clock.seconds()
        if not self._is_lost:
            self.transport.resumeProducing()

    def stopProducing(self) -> None:
        """Whoever was fed is gone."""
        self.loseConnection()

    # Pings

    def _schedule_ping(self) -> None:
        interval_s = self.factory.ping_interval_s
        if interval_s > 0:
            self._ping_timer = self.factory.clock.callLater(interval_s, self._ping)

    def _ping(self) -> None:
        if self._framing.state is not OPEN:
            return
        self.outbox.write_now(_header(Opcode.PING, 0))
        self._schedule_ping()
        clock, timeout_s = self.factory.clock, self.factory.ping_timeout_s
        is_asked = self._pong_timer is not None and self._pong_timer.active()
        if timeout_s > 0 and not is_asked:
            self._pong_timer = clock.callLater(timeout_s, self._expect_pong, clock.seconds())

    def _expect_pong(self, asked_s: float) -> None:
        # Any byte is life. While we do not read ourselves, nothing can be heard.
        if self._heard_s >= asked_s or not self._is_reading or self.disconnecting:
            return
        timeout_s = self.factory.ping_timeout_s
        self.log.warn(
            "{peer}: no answer to a WebSocket ping within {seconds:g} s, closed",
            peer=self.peer,
            seconds=timeout_s,
        )
        self.close_with(_NO_PONG, f"no pong within {timeout_s:g} s")


class WebSockets(WebSocketFactory):  # type: ignore[misc]  # txws has no types
    """Puts the protocols of a factory behind WebSockets.

    Args:
        wrapped: The factory whose protocols speak over the WebSockets.
        clock: Where timers run.
        cork: Shared with the wrapped protocols if they gather frames.
        ping_interval_s: Seconds between pings; 0 turns them off.
        ping_timeout_s: Seconds to wait for any sign of life after a ping; 0 waits for ever.
        max_message_bytes: The largest message taken from a client.

    Attributes:
        is_stopping: Whether the server stops; then no new WebSocket should begin.
    """

    protocol = WebSocket
    noisy = False

    def __init__(
        self,
        wrapped: IProtocolFactory,
        clock: IReactorTime,
        cork: Cork,
        *,
        ping_interval_s: float,
        ping_timeout_s: float,
        max_message_bytes: int,
    ) -> None:
        super().__init__(wrapped)
        self.clock = clock
        self.cork = cork
        self.ping_interval_s = ping_interval_s
        self.ping_timeout_s = ping_timeout_s
        self.max_message_bytes = max_message_bytes
        self.is_stopping = False
        self._all_gone: Deferred[None] | None = None

    def shut_down(self) -> Deferred[None]:
        """Close every WebSocket because the server stops; fires when all are gone."""
        gone: Deferred[None] = Deferred()
        self.is_stopping = True
        self._all_gone = gone
        for websocket in list(self.protocols):
            websocket.close_with(_RESTARTING, "server shutting down")
        self._one_less()
        return gone

    @override
    def unregisterProtocol(self, p: WebSocket) -> None:
        super().unregisterProtocol(p)
        self._one_less()

    def _one_less(self) -> None:
        if self._all_gone is not None and not self.protocols:
            gone, self._all_gone = self._all_gone, None
            gone.callback(None)


def _utf8_decoder() -> codecs.IncrementalDecoder:
    return codecs.getincrementaldecoder("utf-8")()
