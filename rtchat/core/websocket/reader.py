"""WebSocket frames, the server's side (RFC 6455): bytes to messages, messages to bytes."""

from __future__ import annotations

from codecs import utf_8_decode
from collections.abc import Callable
from itertools import takewhile
from typing import NamedTuple

from rtchat.core.websocket.deflate import Inflater, most_deflated_bytes
from rtchat.core.websocket.framing import COMPRESSED, FINAL, MAX_CONTROL_BYTES, Opcode, is_utf8

__all__ = ["Failure", "FrameReader", "Piece"]


class Piece(NamedTuple):
    """What came: some or all of a message, or a whole control frame.

    Attributes:
        opcode: TEXT or BINARY, that of the message; or CLOSE, PING, PONG.
        data: Its next bytes, unmasked and inflated. A close's code and reason are valid.
        is_end: Whether that is all of it.
    """

    opcode: int
    data: bytes
    is_end: bool


class Failure(NamedTuple):
    """Why the other side cannot be listened to any more.

    Attributes:
        code: The close code to send.
        reason: For people.
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

_LEAST_BYTES = 6  # of a masked frame: two and the key

_MOST_ALIKE = 64  # looked for at once: looking further in vain would cost more than it saves

_OPCODES = frozenset(Opcode)


class FrameReader:
    """Cuts a client's bytes into pieces of messages, and finds every break of the rules.

    Feed it, then ask for the next piece until there is none; then see whether it failed. The
    payload of a frame is given as it arrives, so no more of a message waits here than was fed;
    and pieces are made when they are asked for, so a caller that cannot take more now need not.

    Args:
        max_message_bytes: The largest message, once inflated.
        unmask: Gives the bytes XORed with a key of four bytes.
        is_deflating: Whether permessage-deflate was agreed upon.

    Attributes:
        is_over: Whether it will give nothing any more, after a close or a failure.
        failure: Why, if it was no close.
    """

    __slots__ = (
        "_at",
        "_buffer",
        "_inflater",
        "_is_deflating",
        "_is_final",
        "_key",
        "_left",
        "_max_bytes",
        "_opcode",
        "_room",
        "_text_rest",
        "_unmask",
        "_wire_room",
        "failure",
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
        # The frame whose payload is being read
        self._left = 0
        self._key = b""
        self._is_final = True
        # The message that it is part of
        self._opcode = 0
        self._wire_room = 0  # what may still come of it, compressed or not
        self._room = 0  # what may still be inflated
        self._text_rest = b""  # the beginning of a character
        self._inflater: Inflater | None = None

    @property
    def has_more(self) -> bool:
        """Whether there are bytes to be looked at."""
        return bool(self._buffer) or (self._inflater is not None and not self._inflater.is_hungry)

    def feed(self, data: bytes) -> None:
        """Take bytes in; what follows a close or a failure is forgotten."""
        if not self.is_over:
            self._buffer = self._buffer[self._at :] + data if self._buffer else data
            self._at = 0

    def plain_messages(self) -> list[bytes]:
        """Give the messages that come next and are whole, unfragmented and uncompressed.

        For those who care for the bytes and not for the messages. Whatever is anything else is
        left for :meth:`next_piece`, broken frames too: this is only the short way for what
        comes most, at less than half the cost (see benchmarks/).
        """
        messages: list[bytes] = []
        if self._left or self._opcode or self.is_over:
            return messages
        buffer, at, unmask = self._buffer, self._at, self._unmask
        size, most_bytes = len(buffer), self._max_bytes
        while size - at > _LEAST_BYTES:
            length = buffer[at + 1] - _MASKED
            start = at + _LEAST_BYTES
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
                # Those with the same header, before the key, that follow one another: half the
                # cost of one by one.
                count = min((size - at) // stride, _MOST_ALIKE)
                for place in range(at, start - 4):
                    column = buffer[place : at + count * stride : stride]
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
        """Give the next piece; None when there is none yet, or never again."""
        if not self._buffer and self._inflater is None:
            return None
        while not self.is_over:
            if self._inflater is not None and not self._inflater.is_hungry:
                piece = self._inflate(self._inflater)
                if piece is not None or self.is_over:
                    return piece
                continue
            if not self._left:
                opcode = self._read_header()
                if opcode < 0:
                    return None
                if opcode & _CONTROL:
                    return self._control(opcode)
            buffer, at, left = self._buffer, self._at, self._left
            end = at + left
            if end > len(buffer):
                end = len(buffer)
                if at == end:
                    self._buffer, self._at = b"", 0
                    return None
            data = self._unmask(buffer[at:end], self._key)
            self._advance(end)
            self._left = left = left - (end - at)
            if left:
                turn = (end - at) & 3
                if turn:
                    self._key = self._key[turn:] + self._key[:turn]
            is_end = self._is_final and not left
            if self._inflater is not None:
                if data or is_end:
                    self._inflater.feed(data, is_last=is_end)
            elif data or is_end:
                return self._message(data, is_end)
        return None

    def _message(self, data: bytes, is_end: bool) -> Piece | None:
        """Give a piece of a message, if its text is text."""
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
        """Whether the bytes go on as UTF-8; what they begin and do not end is remembered."""
        data = self._text_rest + data
        try:
            _, used = utf_8_decode(data, "strict", is_end)
        except UnicodeDecodeError:
            return False
        self._text_rest = rest = data[used:]
        # Python waits for the third byte of a surrogate before it says no.
        return not (len(rest) == 2 and rest[0] == 0xED and rest[1] >= 0xA0)

    def _inflate(self, inflater: Inflater) -> Piece | None:
        """Give the next piece of a compressed message."""
        try:
            data = inflater.read(self._room + 1)
        except ValueError as error:
            self._fail(_PROTOCOL, f"compressed message is broken: {error}")
            return None
        self._room -= len(data)
        if self._room < 0:
            self._too_big()
            return None
        is_end = inflater.is_done
        if is_end:
            self._inflater = None
        return self._message(data, is_end) if data or is_end else None

    def _read_header(self) -> int:
        """Read a frame's header and give its opcode; -1 if it is not all there, or broken.

        After a data frame's header its payload is next, after a control frame's as well, and
        that is here as a whole.
        """
        buffer, at = self._buffer, self._at
        size = len(buffer)
        if size - at < 2:
            return self._not_yet()
        first, second = buffer[at], buffer[at + 1]
        opcode = first & 0x0F
        if (broken := self._look_at(first, second, opcode)) is not None:
            self._fail(_PROTOCOL, broken)
            return -1
        length = second & 0x7F
        at += 2
        if length >= 126:
            # "the minimal number of bytes MUST be used to encode the length"
            least, width = (126, 2) if length == 126 else (65536, 8)
            if size - at < width:
                return self._not_yet()
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
                return self._not_yet()
        else:
            is_compressed = bool(first & COMPRESSED)
            room = self._room_of_new(is_compressed) if opcode else self._wire_room
            if length > room:
                # Refused before its first byte has come.
                self._too_big()
                return -1
            if size - at < 4:
                return self._not_yet()
            if opcode:
                self._opcode = opcode
                self._room = self._max_bytes
                self._inflater = Inflater() if is_compressed else None
            self._wire_room = room - length
            self._is_final = first >= FINAL
        self._key = buffer[at : at + 4]
        self._at = at + 4
        self._left = length
        return opcode

    def _look_at(self, first: int, second: int, opcode: int) -> str | None:
        """Say what the first two bytes of a frame break, if they do."""
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

    def _room_of_new(self, is_compressed: bool) -> int:
        """Give how many bytes a new message may have on the wire."""
        return most_deflated_bytes(self._max_bytes) if is_compressed else self._max_bytes

    def _control(self, opcode: int) -> Piece | None:
        """Give a control frame; after a close there is nothing more."""
        at, length = self._at, self._left
        end = at + length
        data = self._unmask(self._buffer[at:end], self._key)
        self._advance(end)
        self._left = 0
        if opcode == Opcode.CLOSE:
            if (broken := _broken_close(data)) is not None:
                self._fail(*broken)
                return None
            self._stop()
        return Piece(opcode, data, True)

    def _advance(self, at: int) -> None:
        """Go on, and forget a read that has been looked at as a whole."""
        if at == len(self._buffer):
            self._buffer, self._at = b"", 0
        else:
            self._at = at

    def _not_yet(self) -> int:
        """Keep the beginning of a header, not the whole read it came in."""
        self._buffer = self._buffer[self._at :]
        self._at = 0
        return -1

    def _too_big(self) -> None:
        self._fail(_TOO_BIG, f"message is larger than {self._max_bytes} bytes")

    def _fail(self, code: int, reason: str) -> None:
        self.failure = Failure(code, reason)
        self._stop()

    def _stop(self) -> None:
        self.is_over = True
        self._buffer = self._text_rest = b""
        self._inflater = None


def _broken_close(data: bytes) -> Failure | None:
    """Say what is wrong with a close frame, if anything is."""
    if not data:
        return None
    if len(data) == 1:
        return Failure(_PROTOCOL, "close frame with one byte")
    code = int.from_bytes(data[:2], "big")
    # RFC 6455, 7.4, and what IANA has registered since.
    if not (1000 <= code <= 1003 or 1007 <= code <= 1014 or 3000 <= code <= 4999):
        return Failure(_PROTOCOL, f"invalid close code {code}")
    try:
        data[2:].decode("utf-8")
    except UnicodeDecodeError:
        return Failure(_NOT_UTF8, "reason of the close is not UTF-8")
    return None
