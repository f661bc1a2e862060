"""STOMP frames by hand, for tests of what goes over the wire: written, and read strictly.

Nothing here uses rtchat: the tests' reading of the specification is their own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

__all__ = ["CONNECT", "Frame", "StompReader", "frame_bytes", "message_bytes"]

_UNESCAPED = {
    "1.1": {"\\n": "\n", "\\c": ":", "\\\\": "\\"},
    "1.2": {"\\r": "\r", "\\n": "\n", "\\c": ":", "\\\\": "\\"},
}
_NEVER_ESCAPED = ("CONNECT", "STOMP", "CONNECTED")
_FRAME_END = b"\n"  # behind the NUL
_TOLERANT_END_OF_HEAD = re.compile(rb"\r?\n\r?\n")


@dataclass(frozen=True)
class Frame:
    """A frame from the server.

    Attributes:
        command: ``MESSAGE``, …
        headers: Its headers; of a repeated header the first value, which is the one that counts.
        body: The body.
        pairs: Its headers as they came, repeated ones included.
        head: The bytes before the blank line.
    """

    command: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    pairs: tuple[tuple[str, str], ...] = field(default=(), compare=False)
    head: bytes = field(default=b"", compare=False)

    def __getitem__(self, name: str) -> str:
        """Return the value of a header that has to be there."""
        assert name in self.headers, f"no header {name} in {self.head!r}"
        return self.headers[name]

    def __contains__(self, name: str) -> bool:
        """Return whether there is such a header."""
        return name in self.headers

    def get(self, name: str) -> str | None:
        """Return a header's value, None without one."""
        return self.headers.get(name)


def frame_bytes(command: str, body: bytes = b"", /, **headers: str) -> bytes:
    """Return a frame's bytes; ``_`` in header names stands for ``-``, values are not escaped."""
    lines = [command, *(f"{name.replace('_', '-')}:{value}" for name, value in headers.items())]
    return "\n".join(lines).encode() + b"\n\n" + body + b"\0"


def message_bytes(destination: str, body: bytes, **headers: str) -> bytes:
    """Return the bytes of a SEND with its content-length."""
    length = str(len(body))
    return frame_bytes("SEND", body, destination=destination, content_length=length, **headers)


CONNECT = frame_bytes("CONNECT", accept_version="1.2", host="localhost")
"""A good CONNECT."""


class StompReader:
    """Reads a server's frames from a stream of bytes; what the specification forbids is an error.

    Args:
        version: The STOMP version whose escapes are undone; "1.0" has none, and "" leaves values
            as they came.
        is_tolerant: Read a server other than rtchat, which may repeat headers and end lines with
            CR LF.

    Attributes:
        version: As above; set it when CONNECTED says which version it is.
        eols: How many line ends came between frames, beside the one that ends each frame: the
            heart-beats.
    """

    def __init__(self, version: str = "", *, is_tolerant: bool = False) -> None:
        self.version = version
        self.eols = 0
        self._is_tolerant = is_tolerant
        self._buffer = bytearray()
        self._is_behind_nul = False

    @property
    def rest(self) -> bytes:
        """The bytes of a frame that is not complete."""
        return bytes(self._buffer)

    def feed(self, data: bytes) -> None:
        """Take the next bytes."""
        self._buffer += data

    def read(self, data: bytes) -> list[Frame]:
        """Take the next bytes and return the frames that they complete."""
        self.feed(data)
        frames = []
        while (frame := self.next()) is not None:
            frames.append(frame)
        return frames

    def next(self) -> Frame | None:
        """Return the next frame, None if it is not complete."""
        buffer = self._buffer
        self._skip_eols()
        head_end, start = self._end_of_head()
        if head_end < 0:
            return None
        head = bytes(buffer[:head_end])
        command, *lines = head.decode().split("\n")
        if self._is_tolerant:
            command, *lines = (line.removesuffix("\r") for line in (command, *lines))
        assert re.fullmatch("[A-Z]+", command), f"no command in {head!r}"
        pairs = tuple(self._pair(line, is_escaped=command not in _NEVER_ESCAPED) for line in lines)
        headers: dict[str, str] = {}
        for name, value in pairs:
            assert self._is_tolerant or name not in headers, f"{name} twice in {head!r}"
            headers.setdefault(name, value)
        length = headers.get("content-length")
        stop = buffer.find(0, start) if length is None else start + int(length)
        if stop < 0 or stop + (not self._is_tolerant) >= len(buffer):
            return None
        assert buffer[stop] == 0, f"no NUL after content-length bytes: {head!r}"
        assert self._is_tolerant or buffer.startswith(_FRAME_END, stop + 1), (
            f"no LF after the NUL: {head!r}"
        )
        frame = Frame(command, headers, bytes(buffer[start:stop]), pairs, head)
        del buffer[: stop + 1]
        self._is_behind_nul = True
        self._skip_eols()
        return frame

    def _skip_eols(self) -> None:
        ends = b"\r\n" if self._is_tolerant else b"\n"
        if self._buffer and self._is_behind_nul:
            self._is_behind_nul = False
            if self._buffer.startswith(_FRAME_END):
                del self._buffer[0]
        count = 0
        while count < len(self._buffer) and self._buffer[count] in ends:
            count += 1
        self.eols += self._buffer.count(b"\n", 0, count)
        del self._buffer[:count]

    def _end_of_head(self) -> tuple[int, int]:
        """Return where the head ends and the body starts, -1 for both before that has come."""
        if self._is_tolerant:
            found = _TOLERANT_END_OF_HEAD.search(self._buffer)
            return found.span() if found else (-1, -1)
        end = self._buffer.find(b"\n\n")
        return (end, end + 2) if end >= 0 else (-1, -1)

    def _pair(self, line: str, *, is_escaped: bool) -> tuple[str, str]:
        name, colon, value = line.partition(":")
        assert colon, f"no colon in {line!r}"
        escapes = _UNESCAPED.get(self.version)
        if escapes is None or not is_escaped:
            return name, value

        def plain(match: re.Match[str]) -> str:
            assert match.group() in escapes, f"undefined escape in {line!r}"
            return escapes[match.group()]

        return re.sub(r"\\.?", plain, name), re.sub(r"\\.?", plain, value)
