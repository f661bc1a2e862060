"""A WebSocket as a transport for any Twisted protocol.

txWS is the seam: its factory wraps any Twisted factory, its protocol reads the request and
answers the handshake. Its frames do not work on Python 3 (see docs/dependencies.md), so frames
are :mod:`rtchat.core.websocket.reader`'s; what unmasks them is the C of ``websockets``.
"""

from __future__ import annotations

from contextlib import suppress

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IConsumer,
    IDelayedCall,
    IProducer,
    IProtocolFactory,
    IPushProducer,
    IReactorTime,
)
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import datetimeToString
from txws import FRAMES, RFC6455, WebSocketFactory, WebSocketProtocol, is_websocket
from typing_extensions import override
from websockets.utils import apply_mask
from zope.interface import implementer

from rtchat.core.flow.outbound import Cork, Framing
from rtchat.core.websocket.deflate import agree
from rtchat.core.websocket.framing import (
    PLAIN,
    Opcode,
    close_frame,
    deflating,
    frame_header,
    is_utf8,
)
from rtchat.core.websocket.reader import FrameReader, Piece
from rtchat.net.connection.splice import Pipe, PipedOutbox
from rtchat.net.connection.transport import Stream, peer_name
from rtchat.net.connection.writer import IFramedTransport
from rtchat.net.twisted_internals import set_read_size

with suppress(ImportError):  # PyPy and exotic machines unmask in Python
    from websockets.speedups import apply_mask

__all__ = ["MessageProtocol", "WebSocket", "WebSockets"]

CLOSE_GRACE_S = 5.0
"""How long the other side may take for its part of the close."""

_NO_PONG = 3012
_RESTARTING = 1012
_MAX_BYTES_BEFORE_PONG = 64 * 1024
"""A client that has this much to read already gets its pong later."""

_READ_BYTES = 96 * 1024
"""How much is read at once. Each read costs a send to each subscriber, and a short message is 8
bytes longer in its frame: with Twisted's 64 KiB, fan-out over WebSocket is a tenth dearer."""

_TURN_BYTES = 64 * 1024
"""What is inflated goes up in pieces of about this size, so that back-pressure can act."""


class MessageProtocol(Protocol):
    """Receives and sends whole messages; a factory of these goes into :class:`WebSockets`.

    A client that does not read what it is sent is not read either, once 64 KiB wait for it.
    """

    transport: WebSocket

    def message_received(self, data: bytes, is_text: bool) -> None:
        """Take a message.

        Args:
            data: All of it, at most ``max_message_bytes``; for a text message valid UTF-8.
            is_text: Whether it came as text, or as binary.
        """

    def send_message(self, data: bytes, is_text: bool) -> None:
        """Send a message, which may be empty; once the close has begun nothing is sent.

        Raises:
            ValueError: It should be text and is not UTF-8.
        """
        self.transport.send_message(data, is_text)

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Send what was sent so far, then close with a code of RFC 6455 or of your own."""
        self.transport.close_with(code, reason)

    @override
    def dataReceived(self, data: bytes) -> None:
        """Nothing comes here."""


@implementer(IFramedTransport, IConsumer, IPushProducer)
class WebSocket(WebSocketProtocol):  # type: ignore[misc]  # txws has no types
    """One WebSocket: a protocol below, a transport for the wrapped protocol above.

    The stream above knows no message boundaries: it receives the bytes of every text or binary
    message, and each of its writes is one message. A :class:`MessageProtocol` above receives
    whole messages and says what each of its own is to be.
    """

    log = Logger(__package__)
    factory: WebSockets
    transport: Stream
    disconnecting: bool
    buf: bytes
    headers: dict[str, str]
    pending_frames: list[tuple[Framing, bytes]]

    delivers_late = False
    """Whether what comes after our close, and before the other side's, still goes up, and may be
    paused: for one who closes its own direction only."""

    has_closed = False
    """Whether either side has begun to close; without that the other side just vanished."""

    is_told = False
    """Whether the log has its one line about how this connection ended."""

    _is_open = False
    """The handshake is done and no close was sent."""

    _is_lost = False
    _is_reading = True
    _is_taking = False
    _has_spoken = False
    _extensions = ""
    _late_pong = b""
    _heard_s = 0.0
    _cut_timer: IDelayedCall | None = None
    _ping_timer: IDelayedCall | None = None
    _pong_timer: IDelayedCall | None = None
    _take_timer: IDelayedCall | None = None
    _early_close: tuple[int, str, float] | None = None  # asked for before the handshake

    @override
    def makeConnection(self, transport: Stream) -> None:
        factory = self.factory
        self.peer = peer_name(transport)
        self._framings = PLAIN
        set_read_size(transport, _READ_BYTES)
        self.writer = PipedOutbox(transport, factory.cork, PLAIN.binary, is_busy=True)
        self._reader = FrameReader(factory.max_message_bytes, apply_mask)
        self._messages: MessageProtocol | None = None
        if isinstance(self.wrappedProtocol, MessageProtocol):
            self._messages = self.wrappedProtocol
            self._message: list[bytes] = []
            self.writer.register_producer(_OwnReading(self))
        super().makeConnection(transport)

    def accept(self, request: bytes, subprotocol: str | None, extensions: str = "") -> None:
        """Answer the handshake; frames flow from now on.

        Args:
            request: A clean upgrade request, header names as RFC 6455 writes them and
                without sub-protocols, which txWS would refuse.
            subprotocol: The one that was chosen; txWS names it in its answer.
            extensions: What the client offers in ``Sec-WebSocket-Extensions``.

        Raises:
            ValueError: The extensions are not what RFC 6455 calls a list of them.
        """
        agreed = agree(extensions) if self.factory.deflate else None
        if agreed is not None:
            self._extensions = agreed.answer
            self._framings = deflating(agreed.window_bits)
            self.writer.framing = self._framings.binary
            self._reader = FrameReader(
                self.factory.max_message_bytes, apply_mask, is_deflating=True
            )
        self.codec = subprotocol
        super().dataReceived(request)
        self._heard_s = self.factory.clock.seconds()
        if self.state != FRAMES:
            self._end(linger=True)
        elif self._early_close is not None:
            self._say_close(*self._early_close)
        elif self._is_open:
            self._schedule_ping()

    @override
    def validateHeaders(self) -> bool:
        """Answer the handshake as txWS does, but for its line in the log: that costs more."""
        headers = self.headers
        if not is_websocket(headers) or headers.get("Sec-WebSocket-Version") != "13":
            is_valid: bool = super().validateHeaders()
            return is_valid
        self.sendHyBi07Preamble()
        self.flavor = RFC6455
        self.state = FRAMES
        return True

    @override
    def sendCommonPreamble(self) -> None:
        """Begin the answer to the handshake; txWS writes ``Date: b'…'`` on Python 3."""
        lines = [
            "HTTP/1.1 101 Switching Protocols",
            f"Date: {datetimeToString().decode('ascii')}",
            "Upgrade: websocket",
            "Connection: Upgrade",
        ]
        if self._extensions:
            lines.append(f"Sec-WebSocket-Extensions: {self._extensions}")
        self.writeEncodedSequence([f"{line}\r\n" for line in lines])

    # Bytes from below

    @override
    def dataReceived(self, data: bytes) -> None:
        if self.state != FRAMES:
            super().dataReceived(data)
            return
        self._heard_s = self.factory.clock.seconds()
        self._reader.feed(data)
        if not self._is_taking and not self._reader.is_over:
            self._is_taking = True
            try:
                self._take()
            finally:
                self._is_taking = False

    @override
    def parseFrames(self) -> None:
        """Called by txWS after its answer, with what followed the request in ``buf``."""
        self._is_open = True
        self.headers = {}
        data, self.buf = self.buf, b""
        if data:
            self.dataReceived(data)

    @override
    def sendFrames(self) -> None:
        """Called by txWS for what was written before the handshake was answered."""
        if self.state == FRAMES:
            frames, self.pending_frames = self.pending_frames, []
            for framing, data in frames:
                self.writer.write_now(framing.wrap(data))

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._is_lost = True
        self._is_open = False
        self.writer.stopProducing()
        for timer in (self._cut_timer, self._ping_timer, self._pong_timer, self._take_timer):
            if timer is not None and timer.active():
                timer.cancel()
        super().connectionLost(reason)

    def _take(self) -> None:
        """Take what the reader has, until somebody above asks for a pause."""
        reader = self._reader
        # The messages of one read go up as one piece of the stream: what they cause is one
        # turn, with one write to each receiver (see rtchat.core.flow.outbound).
        stream: list[bytes] = []
        size = 0
        pongs: list[bytes] = []
        close: bytes | None = None
        while self._is_reading and not self._is_lost:
            if (
                self._has_spoken
                and self._messages is None
                and (self._is_open or self.delivers_late)
            ):
                # Most reads begin and end in the middle of a message; those between are whole.
                stream += reader.plain_messages()
            piece = reader.next_piece()
            if piece is None:
                break
            opcode, data, _ = piece
            if opcode == 1 or opcode == 2:  # TEXT, BINARY
                if not self._is_open and not self.delivers_late:
                    continue  # we have sent a close
                if not self._has_spoken:
                    # "The server answers with text messages when the client spoke text."
                    self._has_spoken = True
                    if opcode == 1:
                        self.writer.framing = self._framings.text
                if self._messages is not None:
                    self._gather(self._messages, piece)
                elif data:
                    stream.append(data)
                    size += len(data)
                    if size >= _TURN_BYTES:
                        self.wrappedProtocol.dataReceived(b"".join(stream))
                        stream.clear()
                        size = 0
            elif opcode == Opcode.PING:
                pongs.append(frame_header(Opcode.PONG, len(data)) + data)
            elif opcode == Opcode.CLOSE:
                close = data
        # What came before a close, or before a broken frame, in the same read still counts.
        if stream and not self._is_lost:
            self.wrappedProtocol.dataReceived(b"".join(stream))
        if self._is_lost:
            return
        if pongs:
            self._answer(pongs)
        if close is not None:
            self._closed(close)
        elif reader.failure is not None:
            self._fail(*reader.failure)

    def _gather(self, messages: MessageProtocol, piece: Piece) -> None:
        """Hand a message up when it is whole."""
        opcode, data, is_end = piece
        if not is_end:
            self._message.append(data)
            return
        if self._message:
            self._message.append(data)
            data = b"".join(self._message)
            self._message.clear()
        messages.message_received(data, opcode == Opcode.TEXT)

    def _answer(self, pongs: list[bytes]) -> None:
        # A client that pings and does not read has no use for pongs: "If an endpoint receives
        # a Ping frame and has not yet sent Pong frame(s) in response to previous Ping frame(s),
        # the endpoint MAY elect to send a Pong frame for only the most recently processed Ping
        # frame" (RFC 6455, 5.5.3). That one is sent as soon as the client has read.
        if not self._is_open:
            return
        if self.writer.waiting_bytes > _MAX_BYTES_BEFORE_PONG:
            self._late_pong = pongs[-1]
            self.writer.paused_sources[self] = None
        else:
            self._late_pong = b""
            self.writer.write_now(b"".join(pongs))

    def on_drain(self) -> None:
        """Send the pong that is owed: there is room for it now."""
        pong, self._late_pong = self._late_pong, b""
        if pong and self._is_open:
            self.writer.write_now(pong)

    def _closed(self, payload: bytes) -> None:
        """The other side's close: say the same if it was the first, then end."""
        self.has_closed = True
        if self._is_open:
            self._is_open = False
            self.writer.write_now(frame_header(Opcode.CLOSE, len(payload)) + payload)
        # The close handshake is done: "the server MUST close the connection immediately"
        # (RFC 6455, 7.1.1), so TCP ends here.
        self._end(linger=False)

    def _fail(self, code: int, reason: str) -> None:
        """Close with an error of the other side's; it is not asked for an answer."""
        self.has_closed = True
        if self._is_open:  # what comes after our own close is no second event
            self.is_told = True
            self.log.warn("{peer}: broken WebSocket: {error}", peer=self.peer, error=reason)
            self._is_open = False
            self.writer.write_now(close_frame(code, reason))
        self._end(linger=True)

    # Bytes from above

    @override
    def write(self, data: bytes) -> None:
        """Send one message."""
        writer = self.writer
        if data and self._is_open:  # what _send does, once more: it is called for every piece
            writer.write_now(writer.framing.wrap(data))
        elif data:
            self._send(writer.framing, data)

    @property
    def splice_capacity_bytes(self) -> int:
        """How much :meth:`write_spliced` may be given; 0 when somebody has to look at the bytes."""
        if self._is_open and self.writer.framing is PLAIN.binary:
            return self.writer.splice_capacity_bytes
        return 0

    def write_spliced(self, pipe: Pipe, size: int) -> None:
        """Send one message that is all that a pipe holds; the pipe is given back."""
        self.writer.write_spliced(frame_header(Opcode.BINARY, size), pipe, size)

    @override
    def writeSequence(self, data: list[bytes]) -> None:
        """Send one message made of several pieces."""
        self.write(b"".join(data))

    def send_message(self, data: bytes, is_text: bool) -> None:
        """Send one message, which may be empty, as text or as binary.

        Raises:
            ValueError: It should be text and is not UTF-8.
        """
        if is_text and not is_utf8(data):
            raise ValueError("a text message has to be UTF-8")
        self._send(self._framings.text if is_text else self._framings.binary, data)

    def _send(self, framing: Framing, data: bytes) -> None:
        if self._is_open:
            self.writer.write_now(framing.wrap(data))
        elif self.state != FRAMES and not self.disconnecting:
            self.pending_frames.append((framing, data))

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
        self.has_closed = True
        if self._is_open:
            self._is_open = False
            self.writer.write_now(close_frame(code, reason))
        if not self.delivers_late:
            self._listen_again()
        self._cut_later(grace_s)

    def abortConnection(self) -> None:
        """Close TCP at once."""
        self.transport.abortConnection()

    def _end(self, *, linger: bool) -> None:
        """Close TCP once everything is sent; cut if the other side does not read."""
        self._listen_again()
        self._cut_later(CLOSE_GRACE_S)
        self.writer.close(linger=linger)

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
        self.writer.register_producer(IPushProducer(producer))

    @override
    def unregisterProducer(self) -> None:
        """Leave the producer alone from now on."""
        self.writer.unregister_producer()

    def pauseProducing(self) -> None:
        """Stop reading from the other side."""
        if not self.disconnecting or self.delivers_late:
            self._is_reading = False
            self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """Read again."""
        self._is_reading = True
        clock = self.factory.clock
        self._heard_s = clock.seconds()
        if self._is_lost:
            return
        if not self._reader.has_more:
            self.transport.resumeProducing()
        elif self._take_timer is None:
            # What was read already comes first; not now, whoever asks may be in the middle of
            # something.
            self._take_timer = clock.callLater(0, self._take_rest)

    def _take_rest(self) -> None:
        """Go on after a pause where the reader stopped."""
        self._take_timer = None
        if self._is_reading:
            self.dataReceived(b"")
        if self._is_reading and not self._is_lost:
            self.transport.resumeProducing()

    def stopProducing(self) -> None:
        """Whoever was fed is gone."""
        self.loseConnection()

    # Pings

    def rest_pings(self, send_s: float, hear_s: float) -> None:
        """Send none from now on, if the bytes of whoever is above do the same as often.

        Args:
            send_s: Something is sent at least once in so many seconds.
            hear_s: Something is heard as often, or the connection is closed.
        """
        if max(send_s, hear_s) > self.factory.ping_interval_s:
            return
        for timer in (self._ping_timer, self._pong_timer):
            if timer is not None and timer.active():
                timer.cancel()
        self._ping_timer = self._pong_timer = None

    def _schedule_ping(self) -> None:
        interval_s = self.factory.ping_interval_s
        if interval_s > 0:
            self._ping_timer = self.factory.clock.callLater(interval_s, self._ping)

    def _ping(self) -> None:
        if not self._is_open:
            return
        self.writer.write_now(frame_header(Opcode.PING, 0))
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
        self.is_told = True
        self.log.warn(
            "{peer}: no answer to a WebSocket ping within {seconds:g} s, closed",
            peer=self.peer,
            seconds=timeout_s,
        )
        self.close_with(_NO_PONG, f"no pong within {timeout_s:g} s")


@implementer(IPushProducer)
class _OwnReading:
    """Lets a client be read only while it reads, too."""

    def __init__(self, websocket: WebSocket) -> None:
        self._websocket = websocket

    def pauseProducing(self) -> None:
        """Stop reading."""
        self._websocket.pauseProducing()

    def resumeProducing(self) -> None:
        """Read again."""
        self._websocket.resumeProducing()

    def stopProducing(self) -> None:
        """Do nothing: the connection is gone."""


class WebSockets(WebSocketFactory):  # type: ignore[misc]  # txws has no types
    """Puts the protocols of a factory behind WebSockets.

    Args:
        wrapped: The factory whose protocols speak over the WebSockets: protocols of a stream
            of bytes, or each a :class:`MessageProtocol`.
        clock: Where timers run.
        cork: Shared with the wrapped protocols if they gather frames.
        ping_interval_s: Seconds between pings; 0 turns them off.
        ping_timeout_s: Seconds to wait for any sign of life after a ping; 0 waits for ever.
        max_message_bytes: The largest message taken from a client, once inflated.
        deflate: Whether messages are compressed for clients that offer it. Turn it off where
            most bytes are compressed or encrypted already, where each message has but one
            receiver that is near, or where secrets and a stranger's words may meet in one
            message: its length would tell of both.

    Attributes:
        is_stopping: Whether the server stops; then no new WebSocket should begin.
    """

    protocol = WebSocket
    noisy = False

    def __init__(
        self,
        wrapped: IProtocolFactory,
        clock: IReactorTime,
        cork: Cork | None = None,
        *,
        ping_interval_s: float = 20,
        ping_timeout_s: float = 20,
        max_message_bytes: int = 16 * 1024 * 1024,
        deflate: bool = True,
    ) -> None:
        super().__init__(wrapped)
        self.clock = clock
        self.cork = Cork() if cork is None else cork
        self.ping_interval_s = ping_interval_s
        self.ping_timeout_s = ping_timeout_s
        self.max_message_bytes = max_message_bytes
        self.deflate = deflate
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
