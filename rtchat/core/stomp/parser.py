"""An incremental parser: chunks of bytes in, STOMP frames out. Enforces all size limits.

The caller feeds bytes and pulls frames one at a time, so that it can change version and limits
between two frames of one chunk: the frame after CONNECT is parsed with what CONNECT negotiated.
"""

from __future__ import annotations

import re

from rtchat.core.stomp.frames import BODIES, NEVER_ESCAPED, Frame, Head, Version, parse_head
from rtchat.core.stomp.head_cache import HeadCache
from rtchat.core.stomp.limits import (
    Account,
    Limits,
    frame_too_large,
    header_too_long,
    too_many_headers,
)
from rtchat.errors import ProtocolError

__all__ = ["FrameParser"]

_END_OF_HEAD = re.compile(rb"\n(?:\r?\n|\0)|\0")

_FRAME = re.compile(rb"[^\r\n\0]")

_LF = ord("\n")

_GAP = b"\r\n\0"
"""What may stand between frames; some clients write a NUL too many."""

_ACK_BEGIN, _ACK_ID, _ACK_END = "ACK\nid:", "[-+@./0-9A-Za-z_]{1,64}", "\n\n\0"

_SHORT_ACK = re.compile(f"{_ACK_BEGIN}({_ACK_ID}){_ACK_END}".encode())
"""An ACK with an ``id`` header only. Every id is new, so the head cache never has its head."""

_SHORT_ACKS = re.compile(f"(?:{_ACK_BEGIN}{_ACK_ID}{_ACK_END}){{1,256}}".encode())
"""Several of them, but not so many that they take a turn for themselves."""

_SMALL_BYTES = 4096
"""An incomplete frame of up to this size, or no larger than the new chunk, is copied and joined
with the chunk; a larger one is moved to a bytearray, which grows in place."""

_NO_HEAD: tuple[bytes, Head | None] = (b"\0", None)  # matches no frame: none begins with NUL


class FrameParser:
    """Parses the byte stream of one client into frames.

    Args:
        limits: The size limits. Before :meth:`log_in` an entire frame has to fit into
            ``max_login_bytes``; afterwards header lines and body have separate limits.
        cache: The cache of parsed heads, shared by all parsers of a server.
        bodies: The commands whose ``content-length`` counts.
        account: Counts the bytes of an incomplete frame, if they are many.

    Attributes:
        held_bytes: The number of bytes of an incomplete frame, if they are many.
        held_frames: The number of such frames that have come to their end.
        has_more: Whether :meth:`next_frame` may return a frame. If false, the buffer does not
            contain the beginning of a frame either.
    """

    __slots__ = (
        "_account",
        "_bodies",
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
        "held_bytes",
        "held_frames",
    )

    def __init__(
        self,
        limits: Limits,
        cache: HeadCache | None = None,
        bodies: frozenset[str] = BODIES,
        account: Account | None = None,
    ) -> None:
        self._limits = limits
        self._bodies = bodies
        self._account = account
        self.held_bytes = self.held_frames = 0
        self._cache = HeadCache() if cache is None else cache
        self._max_cached_bytes = self._cache.max_head_bytes + 2
        self._version = Version.V12
        # CONNECT may carry a passcode, so no head is cached before login.
        self._heads: dict[bytes, Head] | None = None
        self._max_body_bytes = limits.max_login_bytes
        self._buffer: bytes | bytearray = b""
        self.has_more = False
        self._position = 0  # start of the frame, or of its body once the head is parsed
        self._scanned = 0  # no end of the frame was found before this position
        self._line_start = 0  # start of the last line of an incomplete head
        self._lines = 0  # number of complete lines before it
        self._head: Head | None = None
        self._reads_short_acks = False
        self._repeated: tuple[bytes, Head | None] = _NO_HEAD  # the last cached block and head

    def log_in(self, version: Version) -> None:
        """Parse the following frames with the negotiated version and the limits after login."""
        self._version = version
        self._heads = self._cache.of(version)
        self._max_body_bytes = self._limits.max_frame_bytes
        self._reads_short_acks = version is Version.V12 and self._limits.max_header_bytes > 67

    @property
    def buffered_bytes(self) -> int:
        """The number of buffered bytes that no frame has been made of yet."""
        return len(self._buffer) - self._position

    def rest(self, most: int) -> bytes:
        """Return the end of those bytes, at most so many."""
        return bytes(self._buffer[max(self._position, len(self._buffer) - most) :])

    def feed(self, data: bytes) -> None:
        """Buffer the next chunk of the stream; then call :meth:`next_frame` until it is None."""
        self.has_more = True
        rest = len(self._buffer) - self._position
        if rest <= 0:
            self._buffer = data
            self._position = self._scanned = self._line_start = 0
        elif rest <= _SMALL_BYTES or rest <= len(data):
            # Most reads end within a frame, and bytes are faster to slice than a bytearray. The
            # total cost stays linear: the rest is small, or no larger than the chunk.
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
        """Return the next complete frame, or None if more bytes are needed.

        Raises:
            ProtocolError: The bytes are not STOMP. The rest of the stream cannot be parsed.
            LimitExceeded: The frame exceeds a limit, or its ``content-length`` does.
        """
        head = self._head
        if head is None:
            buffer, start = self._buffer, self._position
            # Fast path: a complete frame with a cached head takes a few look-ups.
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
                            self._buffer = b""  # free the memory of an idle connection
                            self._position = self._scanned = 0
                        return Frame(known.command, known.headers, buffer[begins:end], known)
                elif self._reads_short_acks:
                    ack = _SHORT_ACK.match(buffer, start)
                    if ack is not None:
                        self._position = self._scanned = ack.end()
                        return Frame("ACK", {"id": ack[1].decode("ascii")})
            # "The frame ... may be followed by multiple EOLs". Heart-beats are EOLs as well.
            if start < len(buffer) and buffer[start] in _GAP:
                begin = _FRAME.search(buffer, start)
                end = len(buffer) if begin is None else begin.start()
                is_lf = end - start == 1 and buffer[start] == _LF  # as many clients write
                self._position = start = end if is_lf else self._end_of_gap(start, end)
            if start >= len(buffer):
                self._buffer = b""  # free the memory, as above
                self._position = self._scanned = 0
                self.has_more = False
                return None
            head = self._next_head(start)
            if head is None:
                return None
        body = self._next_body(head)
        if body is None:
            self._head = head
            return None
        self._head = None
        if self.held_bytes:
            self._hold(0)
        return Frame(head.command, head.headers, body, head)

    def discard(self) -> None:
        """Drop what is buffered: the session has ended."""
        self._buffer = b""
        self._position = self._scanned = 0
        self._head = None
        self.has_more = False
        if self.held_bytes:
            self._hold(0)

    def next_if_same_head(self, data: bytes) -> Frame | None:
        """Return the next chunk as a frame, without buffering it.

        Args:
            data: The next chunk of the stream.

        Returns:
            The frame, if the chunk is exactly one frame with the cached head of the previous one.
            Otherwise None, and the chunk has to be passed to :meth:`feed`.
        """
        block, known = self._repeated
        if known is None or self.has_more or not data.startswith(block):
            return None
        start, end = len(block), len(data) - 1
        if end - start != known.content_length or data[end]:
            return None
        return Frame(known.command, known.headers, data[start:end], known)

    def short_acks(self) -> list[str]:
        """Consume complete ACKs that come next and have an ``id`` only; return their ids.

        There may be more of them.
        """
        buffer, start = self._buffer, self._position
        if not self._reads_short_acks or not isinstance(buffer, bytes):
            return []
        acks = _SHORT_ACKS.match(buffer, start)
        if acks is None:
            return []
        self._position = self._scanned = end = acks.end()
        ids = buffer[start + len(_ACK_BEGIN) : end - len(_ACK_END)].decode("ascii")
        return ids.split(_ACK_END + _ACK_BEGIN)

    def return_short_acks(self, ack_ids: list[str]) -> None:
        """Leave the last of the ACKs that :meth:`short_acks` has consumed to its next call."""
        size = sum(map(len, ack_ids)) + len(ack_ids) * len(_ACK_BEGIN + _ACK_END)
        self._position = self._scanned = self._position - size

    def same_head_bodies(self, frame: Frame, most: int) -> list[bytes]:
        """Consume the complete frames that come next and repeat the last frame's head.

        Args:
            frame: The last frame that :meth:`next_frame` returned.
            most: The largest number of frames to consume.

        Returns:
            Their bodies, all of the same length. Empty if the head has no ``content-length``.
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

    def _end_of_gap(self, start: int, end: int) -> int:
        """Return where the frame after a gap begins, or the end of a line that is incomplete."""
        if self._heads is None or self._version is not Version.V12:
            return end
        gap = bytes(self._buffer[start:end])
        if end == len(self._buffer):
            gap = gap.removesuffix(b"\r")  # the line feed may come with the next chunk
        if b"\r" in gap.replace(b"\r\n", b""):
            raise ProtocolError(
                "a carriage return between frames", "In STOMP 1.2 a line feed has to follow it."
            )
        return start + len(gap)

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
            # The last two bytes may be the beginning of the end: "\n\r" of "\n\r\n".
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
        if b"\r" in block and self._version is Version.V12:
            # CONNECT is parsed before the version is known; in older ones this may be a value.
            is_1_2 = command not in NEVER_ESCAPED or "1.2" in headers.get("accept-version", "")
            if is_1_2 and b"\r" in (block + b"\n").replace(b"\r\n", b""):
                raise ProtocolError(
                    "a carriage return inside a header", "In STOMP 1.2 headers, write it as \\r."
                )
        length = self._content_length(headers) if command in self._bodies else None
        head = Head(command, headers, length, len(block))
        heads = self._heads
        if heads is not None and command == "SEND" and len(block) <= self._cache.max_head_bytes:
            if len(heads) >= self._cache.max_heads:
                heads.clear()
            heads[block] = head
        # A NUL in place of a header line ends a frame that lacks the blank line, such as
        # stomper's DISCONNECT. Leave the NUL in the buffer: it ends the (empty) body.
        ends_without_blank_line = buffer[match.end() - 1] == 0
        self._position = self._scanned = match.end() - ends_without_blank_line
        return head

    def _next_body(self, head: Head) -> bytes | None:
        buffer, start, length = self._buffer, self._position, head.content_length
        if length is None:
            end = buffer.find(0, self._scanned)
            if end < 0:
                self._scanned = size = len(buffer)
                self._check_body(size - start)
                if size - start + head.size > _SMALL_BYTES:
                    self._hold(size - start + head.size)
                return None
            self._check_body(end - start)
        else:
            end = start + length
            size = len(buffer)
            if end >= size:
                if size - start + head.size > _SMALL_BYTES:
                    self._hold(size - start + head.size)
                return None
            # "If a content-length header is present, this number of octets MUST be read,
            # regardless of whether or not there are NULL octets in the body. The frame still
            # needs to be terminated with a NULL octet."
            if buffer[end] != 0:
                raise ProtocolError(
                    "content-length does not fit the body",
                    f"content-length is {length} bytes, but no NUL byte follows them.",
                )
        self._position = self._scanned = end + 1
        if isinstance(buffer, bytes):
            return buffer[start:end]
        return bytes(memoryview(buffer)[start:end])

    def _hold(self, size: int) -> None:
        """Count so many bytes as those of an incomplete frame; 0 if it has come to its end."""
        self.held_frames += not size
        is_first = not self.held_bytes
        added, self.held_bytes = size - self.held_bytes, size
        if self._account is not None:
            self._account.add(added)
            if is_first:
                self._account.frame_begun()

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
            raise frame_too_large(self._limits, length, is_login=self._heads is None)

    def _check_head(self, block: bytes) -> None:
        limits = self._limits
        if self._heads is None and len(block) > limits.max_login_bytes:
            raise frame_too_large(self._limits, len(block), is_login=self._heads is None)
        headers = block.count(b"\n")
        if headers > limits.max_headers:
            raise too_many_headers(limits, headers)
        if len(block) > limits.max_header_bytes:
            self._check_lines(block.split(b"\n"))

    def _check_unfinished_head(self, start: int) -> None:
        """Apply the limits to an incomplete head: a client might never complete it.

        Raises:
            LimitExceeded: The head has too many bytes or lines, or too long a line.
        """
        buffer, limits = self._buffer, self._limits
        length = len(buffer) - start
        if length > _SMALL_BYTES:
            self._hold(length)
        # Two extra bytes may belong to the end of the head: "\n\r" of "\n\r\n".
        if self._heads is None and length > limits.max_login_bytes + 2:
            raise frame_too_large(self._limits, length, is_login=self._heads is None)
        if self._line_start <= start:
            self._line_start = start
            self._lines = 0
        end = buffer.rfind(b"\n", self._line_start)
        if end >= 0:
            lines = bytes(buffer[self._line_start : end]).split(b"\n")
            self._lines += len(lines)
            self._line_start = end + 1
            # The first line is the command.
            if self._lines - 1 > limits.max_headers:
                raise too_many_headers(limits, self._lines - 1)
            self._check_lines(lines)
        # One extra byte may be the "\r" of the line's end.
        if len(buffer) - self._line_start > limits.max_header_bytes + 1:
            raise header_too_long(self._limits)

    def _check_lines(self, lines: list[bytes]) -> None:
        if max(len(line.removesuffix(b"\r")) for line in lines) > self._limits.max_header_bytes:
            raise header_too_long(self._limits)
