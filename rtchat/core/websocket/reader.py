"""Reading WebSocket frames on the server side (RFC 6455)."""

from __future__ import annotations

from codecs import utf_8_decode
from collections.abc import Callable
from itertools import takewhile
from typing import NamedTuple

from rtchat.core.websocket.deflate import Inflater, most_deflated_bytes
from rtchat.core.websocket.framing import COMPRESSED, FINAL, MAX_CONTROL_BYTES, Opcode, is_utf8

__all__ = ["Failure", "FrameReader", "Piece"]


class Piece(NamedTuple):
    """Part or all of a message, or a whole control frame.

    A frame without payload is a piece, too: so the caller sees how much there is to do.

    Attributes:
        opcode: The message's opcode, TEXT or BINARY; or CLOSE, PING or PONG.
        data: The next bytes, unmasked and inflated. Code and reason of a close are valid.
        is_end: Whether the message or control frame ends here.
    """

    opcode: int
    data: bytes
    is_end: bool


class Failure(NamedTuple):
    """Why the connection has to be closed.

    Attributes:
        code: The close code to send.
        reason: A short text for the close frame and the log.
    """

    code: int
    reason: str


_PROTOCOL = 1002

_NOT_UTF8 = 1007

_TOO_BIG = 1009

_RESERVED = 0x70

_CONTROL = 0x08

_MASKED = 0x80

_WHOLE_TEXT = FINAL | 1

_WHOLE_BINARY = FINAL | 2

_MIN_FRAME_BYTES = 6  # of a masked frame: two header bytes and the key

_MAX_RUN = 64  # frames compared at once; comparing more costs more than it saves on a mismatch

_OPCODES = frozenset(Opcode)


class FrameReader:
    """Splits a client's bytes into pieces of messages and detects every protocol violation.

    Call :meth:`feed`, then :meth:`next_piece` until it returns None, then check ``failure``.
    Payload is returned as it arrives, so no more than one read is buffered. Pieces are produced
    on demand, so a caller under back-pressure can stop calling.

    Args:
        max_message_bytes: The largest message, after inflating.
        unmask: Returns the bytes XORed with a four-byte key.
        is_deflating: Whether permessage-deflate was negotiated.

    Attributes:
        is_over: Whether reading has ended, by a close frame or a failure.
        failure: Why reading ended, unless a close frame ended it.
        inflated_bytes: How much was inflated since the caller has set this to 0.
    """

    __slots__ = (
        "_at",
        "_buffer",
        "_inflated_left",
        "_inflater",
        "_is_deflating",
        "_is_final",
        "_key",
        "_max_bytes",
        "_opcode",
        "_payload_left",
        "_text_rest",
        "_unmask",
        "_wire_left",
        "failure",
        "inflated_bytes",
        "is_over",
    )

    def __init__(
        self,
        max_message_bytes: int,
        unmask: Callable[[bytes, bytes], bytes],
        *,
        is_deflating: bool = False,
    ) -> None:
        self._max_bytes = max_message_bytes
        self._unmask = unmask
        self._is_deflating = is_deflating
        self._buffer = b""
        self._at = 0
        self.is_over = False
        self.failure: Failure | None = None
        self.inflated_bytes = 0
        # The current frame
        self._payload_left = 0
        self._key = b""
        self._is_final = True
        # The current message
        self._opcode = 0
        self._wire_left = 0  # bytes that it may still take on the wire
        self._inflated_left = 0  # bytes that it may still inflate to
        self._text_rest = b""  # an incomplete UTF-8 character
        self._inflater: Inflater | None = None

    @property
    def has_more(self) -> bool:
        """Whether there is unprocessed data."""
        return bool(self._buffer) or (self._inflater is not None and not self._inflater.needs_input)

    def feed(self, data: bytes) -> None:
        """Take received bytes; bytes after a close or a failure are discarded."""
        if not self.is_over:
            self._buffer = self._buffer[self._at :] + data if self._buffer else data
            self._at = 0

    def plain_messages(self) -> list[bytes]:
        """Return the next messages that are complete, unfragmented and uncompressed.

        A fast path for callers that need the bytes but not the opcodes, at less than half the
        cost (see benchmarks/). Everything else, including invalid frames, is left to
        :meth:`next_piece`.
        """
        messages: list[bytes] = []
        if self._payload_left or self._opcode or self.is_over:
            return messages
        buffer, at, unmask = self._buffer, self._at, self._unmask
        size, most_bytes = len(buffer), self._max_bytes
        while size - at > _MIN_FRAME_BYTES:
            length = buffer[at + 1] - _MASKED
            start = at + _MIN_FRAME_BYTES
            if length == 126:
                length = buffer[at + 2] << 8 | buffer[at + 3]
                start += 2
                if length < 126:
                    break
            elif not 0 < length < 126:
                break
            end = start + length
            if end > size or length > most_bytes:
                break
            kind = buffer[at]
            if kind != _WHOLE_BINARY and kind != _WHOLE_TEXT:
                break
            stride, stop = end - at, end
            if buffer.startswith(buffer[at : start - 4], end):
                # A run of frames whose headers before the key are equal: half the cost of
                # reading them one by one.
                count = min((size - at) // stride, _MAX_RUN)
                for index in range(at, start - 4):
                    column = buffer[index : at + count * stride : stride]
                    count -= len(column.lstrip(column[:1]))
                stop = at + count * stride
            run = [
                unmask(buffer[each : each + length], buffer[each - 4 : each])
                for each in range(start, stop, stride)
            ]
            if kind == _WHOLE_TEXT and not (all(map(bytes.isascii, run)) or all(map(is_utf8, run))):
                run = list(takewhile(is_utf8, run))
                messages += run
                at += len(run) * stride
                break
            messages += run
            at = stop
        if at == size:
            self._buffer, self._at = b"", 0
        else:
            self._at = at
        return messages

    def next_piece(self) -> Piece | None:
        """Return the next piece; None if there is none yet, or if reading has ended."""
        if not self._buffer and self._inflater is None:
            return None
        while not self.is_over:
            if self._inflater is not None and not self._inflater.needs_input:
                return self._inflate(self._inflater)
            if not self._payload_left:
                opcode = self._read_header()
                if opcode < 0:
                    return None
                if opcode & _CONTROL:
                    return self._control(opcode)
            buffer, at, left = self._buffer, self._at, self._payload_left
            end = at + left
            if end > len(buffer):
                end = len(buffer)
                if at == end:
                    self._buffer, self._at = b"", 0
                    return None
            data = self._unmask(buffer[at:end], self._key)
            self._advance(end)
            self._payload_left = left = left - (end - at)
            if left:
                turn = (end - at) & 3
                if turn:
                    self._key = self._key[turn:] + self._key[:turn]
            is_end = self._is_final and not left
            if self._inflater is not None:
                if data or is_end:
                    self._inflater.feed(data, is_last=is_end)
                else:
                    return Piece(self._opcode, b"", False)  # the caller counts empty frames
            else:
                return self._message(data, is_end)
        return None

    def _message(self, data: bytes, is_end: bool) -> Piece | None:
        """Return a piece of a message, or fail if a text message is not UTF-8."""
        opcode = self._opcode
        if (
            opcode == 1
            and (self._text_rest or not data.isascii())
            and not self._is_text(data, is_end)
        ):
            self._fail(_NOT_UTF8, "text message is not UTF-8")
            return None
        if is_end:
            self._opcode = 0
        return Piece(opcode, data, is_end)

    def _is_text(self, data: bytes, is_end: bool) -> bool:
        """Return whether the bytes continue valid UTF-8; an incomplete character is kept."""
        data = self._text_rest + data
        try:
            _, used = utf_8_decode(data, "strict", is_end)
        except UnicodeDecodeError:
            return False
        self._text_rest = rest = data[used:]
        # Python rejects a surrogate only at its third byte.
        return not (len(rest) == 2 and rest[0] == 0xED and rest[1] >= 0xA0)

    def _inflate(self, inflater: Inflater) -> Piece | None:
        """Return the next piece of a compressed message, which may be empty; None on failure."""
        try:
            data = inflater.read(self._inflated_left + 1)
        except ValueError as error:
            self._fail(_PROTOCOL, f"compressed message is broken: {error}")
            return None
        self.inflated_bytes += len(data)
        self._inflated_left -= len(data)
        if self._inflated_left < 0:
            self._fail_too_big()
            return None
        is_end = inflater.is_done
        if is_end:
            self._inflater = None
        return self._message(data, is_end)

    def _read_header(self) -> int:
        """Read a frame's header and return its opcode; -1 if it is incomplete or invalid.

        Afterwards the buffer continues with the payload. The payload of a control frame is
        complete.
        """
        buffer, at = self._buffer, self._at
        size = len(buffer)
        if size - at < 2:
            return self._keep_partial_header()
        first, second = buffer[at], buffer[at + 1]
        opcode = first & 0x0F
        if (error := self._header_error(first, second, opcode)) is not None:
            self._fail(_PROTOCOL, error)
            return -1
        length = second & 0x7F
        at += 2
        if length >= 126:
            # "the minimal number of bytes MUST be used to encode the length"
            least, width = (126, 2) if length == 126 else (65536, 8)
            if size - at < width:
                return self._keep_partial_header()
            length = int.from_bytes(buffer[at : at + width], "big")
            at += width
            if length < least:
                self._fail(_PROTOCOL, "length is not written in the shortest way")
                return -1
            if length >> 63:
                self._fail(_PROTOCOL, "length has its highest bit set")
                return -1
        if opcode & _CONTROL:
            if size - at < 4 + length:
                return self._keep_partial_header()
        else:
            is_compressed = bool(first & COMPRESSED)
            wire_left = self._max_wire_bytes(is_compressed) if opcode else self._wire_left
            if length > wire_left:
                # Refused before the first payload byte arrives.
                self._fail_too_big()
                return -1
            if size - at < 4:
                return self._keep_partial_header()
            if opcode:
                self._opcode = opcode
                self._inflated_left = self._max_bytes
                self._inflater = Inflater() if is_compressed else None
            self._wire_left = wire_left - length
            self._is_final = first >= FINAL
        self._key = buffer[at : at + 4]
        self._at = at + 4
        self._payload_left = length
        return opcode

    def _header_error(self, first: int, second: int, opcode: int) -> str | None:
        """Return which rule the first two bytes of a frame violate, or None."""
        reserved = first & _RESERVED
        if reserved and not (reserved == COMPRESSED and self._is_deflating and 0 < opcode < 8):
            return "reserved bits are set"
        if opcode not in _OPCODES:
            return f"invalid opcode {opcode}"
        if second < _MASKED:
            return "frame is not masked"
        if opcode & _CONTROL:
            if first < FINAL:
                return "control frame is fragmented"
            if second > _MASKED + MAX_CONTROL_BYTES:
                return "control frame is too long"
        elif opcode:
            if self._opcode:
                return "new message inside a fragmented one"
        elif not self._opcode:
            return "continuation of no message"
        return None

    def _max_wire_bytes(self, is_compressed: bool) -> int:
        """Return the most bytes that a new message may take on the wire."""
        return most_deflated_bytes(self._max_bytes) if is_compressed else self._max_bytes

    def _control(self, opcode: int) -> Piece | None:
        """Return a control frame; a close frame ends reading."""
        at, length = self._at, self._payload_left
        end = at + length
        data = self._unmask(self._buffer[at:end], self._key)
        self._advance(end)
        self._payload_left = 0
        if opcode == Opcode.CLOSE:
            if (error := _close_error(data)) is not None:
                self._fail(*error)
                return None
            self._stop()
        return Piece(opcode, data, True)

    def _advance(self, at: int) -> None:
        """Advance, and release the buffer once all of it has been processed."""
        if at == len(self._buffer):
            self._buffer, self._at = b"", 0
        else:
            self._at = at

    def _keep_partial_header(self) -> int:
        """Keep only the incomplete header, not the whole read that it came in; return -1."""
        self._buffer = self._buffer[self._at :]
        self._at = 0
        return -1

    def refuse(self, code: int, reason: str) -> None:
        """End reading for a reason of the caller's."""
        if not self.is_over:
            self._fail(code, reason)

    def _fail_too_big(self) -> None:
        self._fail(_TOO_BIG, f"message is larger than {self._max_bytes} bytes")

    def _fail(self, code: int, reason: str) -> None:
        self.failure = Failure(code, reason)
        self._stop()

    def _stop(self) -> None:
        self.is_over = True
        self._buffer = self._text_rest = b""
        self._inflater = None


def _close_error(data: bytes) -> Failure | None:
    """Return what is wrong with a close frame, or None."""
    if not data:
        return None
    if len(data) == 1:
        return Failure(_PROTOCOL, "close frame with one byte")
    code = int.from_bytes(data[:2], "big")
    # RFC 6455, 7.4, and codes that IANA registered since.
    if not (1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999):
        return Failure(_PROTOCOL, f"invalid close code {code}")
    try:
        data[2:].decode("utf-8")
    except UnicodeDecodeError:
        return Failure(_NOT_UTF8, "reason of the close is not UTF-8")
    return None
