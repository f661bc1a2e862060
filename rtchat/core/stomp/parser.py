"""Bytes in any chunking become frames; every size limit is kept here.

A parser is fed bytes and asked for frames, one at a time, so that the caller may change the
version and the limits between two frames of the same chunk (the frame after CONNECT is read
with the terms that CONNECT agreed on).
"""

from __future__ import annotations

import re

from rtchat.core.stomp.frames import NEVER_ESCAPED, Frame, Head, Version, unescape
from rtchat.core.stomp.head_cache import HeadCache
from rtchat.core.stomp.limits import Limits
from rtchat.errors import LimitExceeded, ProtocolError

__all__ = ["FrameParser", "parse_head"]


_END_OF_HEAD = re.compile(rb"\n(?:\r?\n|\0)|\0")

_NOT_AN_END_OF_LINE = re.compile(rb"[^\r\n]")

_CR, _LF = b"\r\n"

_ACK_BEGIN, _ACK_ID, _ACK_END = "ACK\nid:", "[-+@./0-9A-Za-z_]{1,64}", "\n\n\0"

_SHORT_ACK = re.compile(f"{_ACK_BEGIN}({_ACK_ID}){_ACK_END}".encode())
"""The ACK of a consumer that says nothing else; a new head each time, so no cache knows it."""

_SHORT_ACKS = re.compile(f"(?:{_ACK_BEGIN}{_ACK_ID}{_ACK_END})+".encode())

_SMALL_BYTES = 4096
"""The beginning of a frame up to this size is copied with every read until the frame is whole;
one that is larger than that, and than what was read, is appended to instead."""

_NOTHING: tuple[bytes, Head | None] = (b"\0", None)  # no frame begins like this


class FrameParser:
    """Cuts a client's bytes into frames.

    Args:
        limits: The sizes allowed. Until :meth:`log_in` a whole frame has to fit into
            ``max_login_bytes``; afterwards the head's lines and the body have limits of
            their own.
        cache: Where parsed heads are remembered; one for all parsers of a server.

    Attributes:
        has_more: Whether :meth:`next_frame` may have a frame. If not, none has begun either.
    """

    __slots__ = (
        "_buffer",
        "_cache",
        "_head",
        "_heads",
        "_limits",
        "_line_start",
        "_lines",
        "_max_body_bytes",
        "_max_cached_bytes",
        "_position",
        "_reads_short_acks",
        "_repeated",
        "_scanned",
        "_version",
        "has_more",
    )

    def __init__(self, limits: Limits, cache: HeadCache | None = None) -> None:
        self._limits = limits
        self._cache = HeadCache() if cache is None else cache
        self._max_cached_bytes = self._cache.max_head_bytes + 2
        self._version = Version.V12
        # CONNECT may carry a passcode, so nothing is remembered before login.
        self._heads: dict[bytes, Head] | None = None
        self._max_body_bytes = limits.max_login_bytes
        self._buffer: bytes | bytearray = b""
        self.has_more = False
        self._position = 0  # where the frame, or its body once the head is known, begins
        self._scanned = 0  # up to where its end has been looked for in vain
        self._line_start = 0  # where the last line of an unfinished head begins
        self._lines = 0  # how many of its lines came before
        self._head: Head | None = None
        self._reads_short_acks = False
        self._repeated: tuple[bytes, Head | None] = _NOTHING  # the last head of the usual way

    def log_in(self, version: Version) -> None:
        """Read what follows with the version agreed on and the limits of a known client."""
        self._version = version
        self._heads = self._cache.of(version)
        self._max_body_bytes = self._limits.max_frame_bytes
        self._reads_short_acks = version is Version.V12 and self._limits.max_header_bytes > 67

    @property
    def buffered_bytes(self) -> int:
        """How many bytes wait for the rest of their frame."""
        return len(self._buffer) - self._position

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the stream; then ask :meth:`next_frame` until it has none."""
        self.has_more = True
        rest = len(self._buffer) - self._position
        if rest <= 0:
            self._buffer = data
            self._position = self._scanned = self._line_start = 0
        elif rest <= _SMALL_BYTES or rest <= len(data):
            # Most reads end in the middle of a frame, and bytes are faster to cut than a
            # bytearray; the copy is linear because the rest is no larger than what is new.
            self._scanned -= self._position
            self._line_start -= self._position
            self._buffer = bytes(self._buffer[self._position :]) + data
            self._position = 0
        else:
            if self._position or not isinstance(self._buffer, bytearray):
                self._scanned -= self._position
                self._line_start -= self._position
                self._buffer = bytearray(memoryview(self._buffer)[self._position :])
                self._position = 0
            self._buffer += data

    def next_frame(self) -> Frame | None:
        """Give the next whole frame, or None when more bytes are needed.

        Raises:
            ProtocolError: The bytes are not STOMP. The stream cannot be read any further.
            LimitExceeded: The frame is, or is announced to be, over a limit.
        """
        head = self._head
        if head is None:
            buffer, start = self._buffer, self._position
            # The usual frame, whole and with a head that came before, takes a few look-ups;
            # whatever is unusual about it is left to the careful way below.
            if type(buffer) is bytes:
                block, known = self._repeated
                if buffer.startswith(block, start):
                    begins = start + len(block)
                elif self._heads is not None:
                    end = buffer.find(b"\n\n", start, start + self._max_cached_bytes)
                    known = self._heads.get(buffer[start:end]) if end > 0 else None
                    begins = end + 2
                    if known is not None and known.content_length is not None:
                        self._repeated = (buffer[start:begins], known)
                else:
                    known = None
                if known is not None and known.content_length is not None:
                    end = begins + known.content_length
                    size = len(buffer)
                    if end < size and buffer[end] == 0:
                        self._position = self._scanned = end + 1
                        if end + 1 == size:
                            self.has_more = False
                            self._buffer = b""  # an idle connection must not hold what it sent
                            self._position = self._scanned = 0
                        return Frame(known.command, known.headers, buffer[begins:end], known)
                elif self._reads_short_acks:
                    ack = _SHORT_ACK.match(buffer, start)
                    if ack is not None:
                        self._position = self._scanned = ack.end()
                        return Frame("ACK", {"id": ack[1].decode("ascii")})
            # "The frame ... may be followed by multiple EOLs": heart-beats, too.
            if start < len(buffer) and buffer[start] in (_LF, _CR):
                begin = _NOT_AN_END_OF_LINE.search(buffer, start)
                self._position = start = len(buffer) if begin is None else begin.start()
            if start >= len(buffer):
                # An idle connection must not hold the last large frame that it sent.
                self._buffer = b""
                self._position = self._scanned = 0
                self.has_more = False
                return None
            head = self._next_head(start)
            if head is None:
                return None
        body = self._next_body(head.content_length)
        if body is None:
            self._head = head
            return None
        self._head = None
        return Frame(head.command, head.headers, body, head)

    def whole(self, data: bytes) -> Frame | None:
        """Give the frame that the next bytes of the stream are, instead of feeding them.

        None if they are anything but one frame with the head of the one before: then feed them.
        """
        block, known = self._repeated
        if known is None or self.has_more or not data.startswith(block):
            return None
        start, end = len(block), len(data) - 1
        if end - start != known.content_length or data[end]:
            return None
        return Frame(known.command, known.headers, data[start:end], known)

    def more_acks(self) -> list[str]:
        """Give the ids of those whole ACKs that come next and say nothing else."""
        buffer, start = self._buffer, self._position
        if not self._reads_short_acks or not isinstance(buffer, bytes):
            return []
        acks = _SHORT_ACKS.match(buffer, start)
        if acks is None:
            return []
        self._position = self._scanned = end = acks.end()
        ids = buffer[start + len(_ACK_BEGIN) : end - len(_ACK_END)].decode("ascii")
        return ids.split(_ACK_END + _ACK_BEGIN)

    def more_like(self, frame: Frame, most: int) -> list[bytes]:
        """Give the bodies of those whole frames that follow and repeat the last one's head.

        The head says how long each of them is.

        Args:
            frame: The last one.
            most: Of no more than so many.
        """
        block, known = self._repeated
        buffer, at = self._buffer, self._position
        bodies: list[bytes] = []
        if known is None or known.content_length is None or known is not frame.head:
            return bodies
        if not isinstance(buffer, bytes):
            return bodies
        length, size = known.content_length, len(buffer)
        for _ in range(most):
            if not buffer.startswith(block, at):
                break
            start = at + len(block)
            end = start + length
            if end >= size or buffer[end]:
                break
            bodies.append(buffer[start:end])
            at = end + 1
        self._position = self._scanned = at
        return bodies

    def _next_head(self, start: int) -> Head | None:
        buffer = self._buffer
        if self._heads is not None:
            end = buffer.find(b"\n\n", start, start + self._cache.max_head_bytes + 2)
            if end >= 0:
                known = self._heads.get(bytes(buffer[start:end]))
                if known is not None:
                    self._position = self._scanned = end + 2
                    return known
        match = _END_OF_HEAD.search(buffer, max(start, self._scanned))
        if match is None:
            self._check_unfinished_head(start)
            # The end itself may have come in part: "\n\r" of "\n\r\n".
            self._scanned = max(start, len(buffer) - 2)
            return None
        end = match.start()
        if buffer[end] == 0:
            raise ProtocolError(
                "a NUL byte inside the headers",
                "A blank line ends the headers; a NUL byte ends the frame after its body.",
            )
        block = bytes(buffer[start:end])
        self._check_head(block)
        if self._heads is None:
            self._max_body_bytes = self._limits.max_login_bytes - len(block)
        command, headers = parse_head(block, self._version)
        head = Head(command, headers, self._content_length(headers), len(block))
        heads = self._heads
        if heads is not None and command == "SEND" and len(block) <= self._cache.max_head_bytes:
            if len(heads) >= self._cache.max_heads:
                heads.clear()
            heads[block] = head
        # A NUL where a header would begin ends a frame whose blank line was forgotten, as
        # stomper's DISCONNECT does: leave the NUL for the (empty) body to end with.
        ends_without_blank_line = buffer[match.end() - 1] == 0
        self._position = self._scanned = match.end() - ends_without_blank_line
        return head

    def _next_body(self, length: int | None) -> bytes | None:
        buffer, start = self._buffer, self._position
        if length is None:
            end = buffer.find(0, self._scanned)
            if end < 0:
                self._scanned = len(buffer)
                self._check_body(len(buffer) - start)
                return None
            self._check_body(end - start)
        else:
            end = start + length
            if end >= len(buffer):
                return None
            # "If a content-length header is present, this number of octets MUST be read,
            # regardless of whether or not there are NULL octets in the body. The frame still
            # needs to be terminated with a NULL octet."
            if buffer[end] != 0:
                raise ProtocolError(
                    "content-length does not fit the body",
                    f"content-length says {length} bytes, but no NUL byte follows them.",
                )
        self._position = self._scanned = end + 1
        if isinstance(buffer, bytes):
            return buffer[start:end]
        return bytes(memoryview(buffer)[start:end])

    def _content_length(self, headers: dict[str, str]) -> int | None:
        text = headers.get("content-length")
        if text is None:
            return None
        if not (text.isascii() and text.isdigit()) or len(text) > 18:
            raise ProtocolError(
                "content-length is not a number", "Give the body's length in bytes, as digits."
            )
        length = int(text)
        self._check_body(length)
        return length

    def _check_body(self, length: int) -> None:
        if length > self._max_body_bytes:
            raise self._too_large(length)

    def _too_large(self, length: int) -> LimitExceeded:
        if self._heads is None:
            return LimitExceeded(
                f"frame over the limit of {self._limits.max_login_bytes} bytes before login",
                "Send CONNECT first, and nothing large before its CONNECTED.",
            )
        return LimitExceeded(
            f"frame over the limit of {self._max_body_bytes} bytes",
            f"The body has {length} bytes or more. The limit is frame.max_bytes of the server.",
        )

    def _check_head(self, block: bytes) -> None:
        limits = self._limits
        if self._heads is None and len(block) > limits.max_login_bytes:
            raise self._too_large(len(block))
        headers = block.count(b"\n")
        if headers > limits.max_headers:
            raise self._too_many_headers(headers)
        if len(block) > limits.max_header_bytes:
            self._check_lines(block.split(b"\n"))

    def _check_unfinished_head(self, start: int) -> None:
        """Refuse a head while it arrives, not after: strangers may never end it."""
        buffer, limits = self._buffer, self._limits
        length = len(buffer) - start
        # Two bytes more may be a part of the head's end, "\n\r" of "\n\r\n".
        if self._heads is None and length > limits.max_login_bytes + 2:
            raise self._too_large(length)
        if self._line_start <= start:
            self._line_start = start
            self._lines = 0
        end = buffer.rfind(b"\n", self._line_start)
        if end >= 0:
            lines = bytes(buffer[self._line_start : end]).split(b"\n")
            self._lines += len(lines)
            self._line_start = end + 1
            # The first of the lines is the command.
            if self._lines - 1 > limits.max_headers:
                raise self._too_many_headers(self._lines - 1)
            self._check_lines(lines)
        # One byte more may be the "\r" of the line's end.
        if len(buffer) - self._line_start > limits.max_header_bytes + 1:
            raise self._header_too_long()

    def _check_lines(self, lines: list[bytes]) -> None:
        if max(len(line.removesuffix(b"\r")) for line in lines) > self._limits.max_header_bytes:
            raise self._header_too_long()

    def _too_many_headers(self, count: int) -> LimitExceeded:
        return LimitExceeded(
            f"more than {self._limits.max_headers} headers",
            f"The frame has {count} or more. The limit is header.max_count of the server.",
        )

    def _header_too_long(self) -> LimitExceeded:
        return LimitExceeded(
            f"header over the limit of {self._limits.max_header_bytes} bytes",
            "The limit is header.max_bytes of the server.",
        )


def parse_head(block: bytes, version: Version) -> tuple[str, dict[str, str]]:
    """Read a frame's command and headers.

    Args:
        block: Everything before the blank line, without the last end of line.
        version: The version the client speaks; CONNECT frames are never unescaped.

    Returns:
        The command and the unescaped headers; the first of repeated headers wins.

    Raises:
        ProtocolError: For bytes that are not UTF-8, a line without a colon, or an undefined
            escape.
    """
    try:
        text = block.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ProtocolError(
            "headers are not UTF-8", f"Byte {error.start} of the frame is not valid UTF-8."
        ) from None
    lines = text.split("\n")
    command = lines[0].removesuffix("\r")
    escapes = "\\" in text and command not in NEVER_ESCAPED
    trims = version is Version.V10
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.removesuffix("\r").partition(":")
        if trims:
            # STOMP 1.0 writes "login: <username>" in its own examples.
            name, value = name.strip(), value.strip()
        if not colon or not name:
            raise ProtocolError(
                "a header line without a name and a colon",
                "Every header is one line, NAME:VALUE; a blank line ends the headers.",
            )
        if escapes:
            name, value = unescape(name, version), unescape(value, version)
        # "If a client or a server receives repeated frame header entries, only the first
        # header entry SHOULD be used as the value of header entry."
        headers.setdefault(name, value)
    return command, headers
