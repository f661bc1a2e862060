"""A WebSocket as a transport for any Twisted protocol.

txWS answers the handshake (:mod:`rtchat.net.websocket.txws_adapter`). Frames are read by
:mod:`rtchat.core.websocket.reader`; the C code of ``websockets`` unmasks them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from types import MappingProxyType

from twisted.internet.interfaces import IConsumer, IProducer, IPushProducer
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from typing_extensions import override
from websockets.utils import apply_mask
from zope.interface import implementer

from rtchat.core.flow.outbound import Framing
from rtchat.core.flow.token_bucket import TokenBucket
from rtchat.core.websocket.deflate import Deflate
from rtchat.core.websocket.framing import (
    PLAIN,
    Opcode,
    close_frame,
    deflating,
    frame_header,
    is_utf8,
)
from rtchat.core.websocket.reader import FrameReader, Piece
from rtchat.net.connection.framed_transport import IFramedTransport
from rtchat.net.connection.liveness import Taken, taken_by_peer
from rtchat.net.connection.splice import Pipe, SplicingWriter
from rtchat.net.connection.transport import (
    SLOW_UNSENT_BYTES,
    PauseForwarder,
    StreamTransport,
    limit_unsent,
    peer_name,
)
from rtchat.net.twisted_internals import set_read_size, socket_of
from rtchat.net.websocket.closing import ClosingConnection
from rtchat.net.websocket.keepalive import KeepAlive
from rtchat.net.websocket.messages import MessageProtocol
from rtchat.net.websocket.settings import WebSocketSettings

with suppress(ImportError):  # PyPy and exotic machines unmask in Python
    from websockets.speedups import apply_mask

__all__ = ["WebSocket"]

_log = Logger(__package__)

_POLICY = 1008
_NO_PONG = 3012

_READ_BYTES = 96 * 1024
"""Bytes per read. Each read costs a send to each subscriber, and a frame makes a short message 8
bytes longer: with Twisted's 64 KiB, fan-out over WebSocket costs a tenth more."""

_TURN_BYTES = 32 * 1024
"""Once so much was inflated, the turn ends, with at most another piece of this size. The rest waits
compressed for the next one, so that others have theirs, and back-pressure can act."""

_TURN_PIECES = 256
"""So many pieces of messages, of those that are not read in runs, are handled in a turn."""

_TURN_WORK = 500
"""What that is in the units of ``core.flow.turns``, without the work of the protocol above."""

_EMPTY_PER_S = 100
_MOST_EMPTY = 1000
"""How many frames a client may send that carry nothing, in a second and at once: pings, pongs, and
empty messages or parts of them. No client needs so many, and each costs as much as a message."""


@implementer(IFramedTransport, IConsumer, IPushProducer)
class WebSocket(ClosingConnection):
    """One WebSocket: a protocol on a connection, and the transport of the wrapped protocol.

    A wrapped protocol of a byte stream receives the payload of every message, text or binary,
    without message boundaries; each of its writes is one message. A
    :class:`~rtchat.net.websocket.messages.MessageProtocol` receives and sends whole messages, and
    chooses text or binary for each.
    """

    factory: WebSocketSettings
    writer: SplicingWriter

    is_end_logged = False
    """Whether the end of this connection is in the log already, which has one line about it."""

    request_headers: Mapping[str, str] = MappingProxyType({})
    """The credentials of its request, where the factory wants them."""

    on_gone: Callable[[bool], None] | None = None
    """Called with whether the connection broke, if the other side goes while reading is paused;
    by default, the connection is aborted."""

    _is_processing = False
    _has_received = False
    _is_in_line = False  # for its next turn
    _empty_rate: TokenBucket | None = None  # None before the first frame that carries nothing
    _early_messages: list[tuple[Framing, bytes]] | None = None  # written before the handshake

    @override
    def makeConnection(self, transport: StreamTransport) -> None:
        factory = self.factory
        self.peer = peer_name(transport)
        self._framings = PLAIN
        set_read_size(transport, _READ_BYTES)
        factory.liveness.keep_alive(transport)
        self.writer = SplicingWriter(transport, factory.cork, PLAIN.binary, is_busy=True)
        self._keep_alive = KeepAlive(
            self, factory.clock, factory.ping_interval_s, factory.ping_timeout_s
        )
        self._reader = FrameReader(factory.max_message_bytes, apply_mask)
        self._messages: MessageProtocol | None = None
        if isinstance(self.wrappedProtocol, MessageProtocol):
            self._messages = self.wrappedProtocol
            self._message: list[bytes] = []
            self.writer.register_producer(PauseForwarder(self))
        super().makeConnection(transport)

    def accept(
        self, request: bytes, subprotocol: str | None, agreed: Deflate | None = None
    ) -> None:
        """Answer the handshake; frames flow from now on.

        Args:
            request: What :func:`~rtchat.net.websocket.txws_adapter.clean_request` returns.
            subprotocol: The one that was chosen, to be named in the answer.
            agreed: The compression that the client offers and that can be met, if any.
        """
        factory, extensions = self.factory, ""
        if agreed is not None and factory.deflate:
            extensions = agreed.answer
            self._framings = deflating(agreed.window_bits)
            self.writer.framing = self._framings.binary
            self._reader = FrameReader(factory.max_message_bytes, apply_mask, is_deflating=True)
        self.answer_handshake(request, subprotocol, extensions)
        self._keep_alive.heard_s = factory.clock.seconds()
        if not self._is_answered:
            self._close_transport(linger=True)
        elif self._early_close is not None:
            self._send_close(*self._early_close)
        elif self.is_open:
            self._keep_alive.start()

    @override
    def handshake_answered(self, data: bytes) -> None:
        self._is_answered = self.is_open = True
        for framing, message in self._early_messages or ():
            self.writer.write_now(framing.wrap(message))
        self._early_messages = None
        if data:
            self.dataReceived(data)

    # Bytes from below

    @override
    def dataReceived(self, data: bytes) -> None:
        if not self._is_answered:
            super().dataReceived(data)  # without a site in front, txWS reads the request
            return
        self._keep_alive.heard_s = self.factory.clock.seconds()
        self._reader.feed(data)
        if not self._is_processing and not self._reader.is_over:
            self._is_processing = True
            try:
                self._process_input()
            finally:
                self._is_processing = False

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._is_lost = True
        self.is_open = False
        self.writer.stopProducing()
        self._keep_alive.stop()
        self.factory.liveness.windows.forget(self.transport)
        self.factory.liveness.pauses.lost(self.transport)
        if self._linger is not None:
            self._linger.stop()
        self.factory.cork.turns.leave(self._go_on)
        super().connectionLost(reason)

    def _process_input(self) -> None:
        """Process the frames that the reader holds, as far as a turn goes.

        It ends earlier if the protocol above pauses reading.
        """
        reader = self._reader
        # What one read holds is passed up as one piece, and so in one turn (core.flow.outbound).
        stream: list[bytes] = []
        pieces = empty = reader.inflated_bytes = 0
        pongs: list[bytes] = []
        close: bytes | None = None
        while self._is_reading and not self._is_lost:
            if reader.inflated_bytes >= _TURN_BYTES or pieces == _TURN_PIECES:
                self._end_turn()
                break
            if (
                self._has_received
                and self._messages is None
                and (self.is_open or self.receives_after_close)
                and not pongs
            ):
                # Most reads begin and end within a message; those between are complete.
                stream += reader.plain_messages()
            piece = reader.next_piece()
            if piece is None:
                break
            opcode, data, _ = piece
            pieces += 1
            if not data or opcode > Opcode.CLOSE:
                empty += 1
            if opcode == 1 or opcode == 2:  # TEXT, BINARY
                if pongs:
                    self._keep_alive.answer(pongs)
                    pongs = []
                if not self.is_open and not self.receives_after_close:
                    continue  # we have sent a close frame
                if not self._has_received:
                    self._has_received = True
                    if opcode == 1:  # who speaks text is answered in text
                        self.writer.framing = self._framings.text
                if self._messages is not None:
                    self._collect(self._messages, piece)
                elif data:
                    stream.append(data)
            elif opcode == Opcode.PING:
                # The pong comes between the answers to the data before the ping and behind it.
                if stream:
                    self.wrappedProtocol.dataReceived(b"".join(stream))
                    stream.clear()
                pongs.append(frame_header(Opcode.PONG, len(data)) + data)
            elif opcode == Opcode.CLOSE:
                close = data
        # What came before a close frame, or a malformed one, in the same read is still processed.
        if stream and not self._is_lost:
            self.wrappedProtocol.dataReceived(b"".join(stream))
        if pongs or empty or close is not None or reader.failure is not None:
            self._take_control(pongs, empty, close)

    def _take_control(self, pongs: list[bytes], empty: int, close: bytes | None) -> None:
        """Act on what was no data: answer pings, count what carries nothing, close."""
        if self._is_lost:
            return
        if pongs:
            self._keep_alive.answer(pongs)
        if empty:
            self._count_empty(empty)
        if close is not None:
            self._close_received(close)
        elif self._reader.failure is not None:
            self._protocol_failed(*self._reader.failure)

    def _count_empty(self, count: int) -> None:
        """Let reading fail if too many frames carry nothing."""
        now_s = self.factory.clock.seconds()
        if self._empty_rate is None:
            self._empty_rate = TokenBucket(_EMPTY_PER_S, _MOST_EMPTY, now_s)
        if self._empty_rate.wait_s(now_s):
            self._reader.refuse(
                _POLICY, f"more than {_EMPTY_PER_S} pings, pongs or empty messages a second"
            )
        self._empty_rate.take(count)

    def _collect(self, messages: MessageProtocol, piece: Piece) -> None:
        """Pass a message up once it is complete."""
        opcode, data, is_end = piece
        if not is_end:
            if data:
                self._message.append(data)
            return
        if self._message:
            self._message.append(data)
            data = b"".join(self._message)
            self._message.clear()
        messages.message_received(data, opcode == Opcode.TEXT)

    def _close_received(self, payload: bytes) -> None:
        """Take the other side's close frame: echo it if we have sent none, then close TCP."""
        self.has_closed = True
        if self.is_open:
            self.is_open = False
            self.writer.write_now(frame_header(Opcode.CLOSE, len(payload)) + payload)
        # The closing handshake is done: "the server MUST close the connection immediately"
        # (RFC 6455, 7.1.1).
        self._close_transport(linger=False)

    def _protocol_failed(self, code: int, reason: str) -> None:
        """Close because the other side broke the protocol; no close frame is expected of it."""
        self.has_closed = True
        if self.is_open:  # an error after our own close frame is not logged
            self.is_end_logged = True
            self.factory.client_log.warn(
                _log, "{peer}: broken WebSocket: {error}", peer=self.peer, error=reason
            )
            self.is_open = False
            self.writer.write_now(close_frame(code, reason))
        self._close_transport(linger=True)

    # Bytes from above

    @override
    def write(self, data: bytes) -> None:
        """Send one message."""
        writer = self.writer
        if data and self.is_open:  # the same as _send(), inlined: it is called for every piece
            writer.write_now(writer.framing.wrap(data))
        elif data:
            self._send(writer.framing, data)

    @property
    def splice_capacity_bytes(self) -> int:
        """How many bytes :meth:`write_spliced` accepts; 0 if the payload must be looked at."""
        if self.is_open and self.writer.framing is PLAIN.binary:
            return self.writer.splice_capacity_bytes
        return 0

    def write_spliced(self, pipe: Pipe, size: int) -> None:
        """Send the content of a pipe as one message, then release the pipe."""
        self.writer.write_spliced(frame_header(Opcode.BINARY, size), pipe, size)

    @override
    def writeSequence(self, data: list[bytes]) -> None:
        """Send one message made of several pieces."""
        self.write(b"".join(data))

    def send_message(self, data: bytes, is_text: bool) -> None:
        """Send one message, which may be empty, as text or as binary.

        Raises:
            ValueError: ``is_text`` is set and the data is not UTF-8.
        """
        if is_text and not is_utf8(data):
            raise ValueError("a text message has to be UTF-8")
        self._send(self._framings.text if is_text else self._framings.binary, data)

    def _send(self, framing: Framing, data: bytes) -> None:
        if self.is_open:
            self.writer.write_now(framing.wrap(data))
        elif not self._is_answered and not self.disconnecting:
            if self._early_messages is None:
                self._early_messages = []
            self._early_messages.append((framing, data))

    # Back-pressure

    @override
    def registerProducer(self, producer: IProducer, streaming: bool) -> None:
        """Pause this producer while the other side does not read."""
        if not streaming:
            raise ValueError("a WebSocket takes push producers only")
        self.writer.register_producer(IPushProducer(producer))

    @override
    def unregisterProducer(self) -> None:
        """Stop pausing and resuming the producer."""
        self.writer.unregister_producer()

    def pauseProducing(self) -> None:
        """Stop reading."""
        if not self._is_lost and (not self.disconnecting or self.receives_after_close):
            self._is_reading = False
            self.factory.liveness.pauses.watch(self.transport, self._peer_gone)
            self.transport.pauseProducing()

    def resumeProducing(self) -> None:
        """Resume reading."""
        self._is_reading = True
        self.factory.liveness.pauses.forget(self.transport)
        self._keep_alive.heard_s = self.factory.clock.seconds()
        if self._is_lost:
            return
        if self._reader.has_more:
            # What was read already comes first; but not now: the caller may be in the middle of
            # something.
            self._join_line()
        else:
            self.transport.resumeProducing()

    def _end_turn(self) -> None:
        """Read no more until what was read is processed, in the next turns."""
        if self._reader.has_more:
            self.transport.pauseProducing()
            self._join_line()

    def _join_line(self) -> None:
        self._is_in_line = True
        self.factory.cork.turns.join(self._go_on)

    def _go_on(self) -> int:
        """Continue where processing stopped; return the work."""
        self._is_in_line = False
        if self._is_reading:
            self.dataReceived(b"")
        if self._is_reading and not self._is_lost and not self._is_in_line:
            self.transport.resumeProducing()
        return _TURN_WORK + self.factory.cork.work

    def stopProducing(self) -> None:
        """Close, because the consumer of our data is gone."""
        self.loseConnection()

    def _peer_gone(self, is_broken: bool) -> None:
        if self.on_gone is not None:
            self.on_gone(is_broken)
        else:
            self.abortConnection()

    # Keep-alive

    @property
    def can_hear(self) -> bool:
        """Whether an answer to a ping would be heard now."""
        return self._is_reading and not (self._is_in_line or self.disconnecting)

    def taken(self) -> Taken | None:
        """Return what the other side has taken, or None where the system does not say."""
        writer = self.writer
        return taken_by_peer(self.transport, writer.waiting_bytes, writer.drained_bytes)

    def note_slow_line(self) -> None:
        """Let the system hold little for the other side, so that pings do not come late."""
        limit_unsent(socket_of(self.transport), SLOW_UNSENT_BYTES)

    def suspend_pings(self, send_s: float, hear_s: float) -> None:
        """Send no pings from now on if the protocol above has heart-beats that are as frequent.

        Args:
            send_s: It sends something at least once in so many seconds.
            hear_s: It hears something as often, or closes the connection.
        """
        self._keep_alive.suspend(send_s, hear_s)

    def ping_unanswered(self, timeout_s: float) -> None:
        """Close with the code 3012: the other side is gone."""
        self.is_end_logged = True
        self.factory.client_log.warn(
            _log,
            "{peer}: no answer to a WebSocket ping within {seconds:g} s, closed",
            peer=self.peer,
            seconds=timeout_s,
        )
        self.close_with(_NO_PONG, f"no pong within {timeout_s:g} s")
