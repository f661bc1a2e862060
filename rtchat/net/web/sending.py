"""Sending an open file, or parts of it, as the body of an answer."""

from __future__ import annotations

from collections.abc import Sequence
from secrets import token_hex
from typing import BinaryIO

from twisted.internet.interfaces import IPullProducer
from twisted.web.server import Request
from zope.interface import implementer

from rtchat.net.connection.transport import as_stream
from rtchat.net.web.ranges import Part

__all__ = ["FileSender", "Multipart"]

_CHUNK_BYTES = 64 * 1024


class Multipart:
    """The frame of an answer with several parts (``multipart/byteranges``, RFC 9110, 14.6).

    Args:
        parts: The parts of the file.
        size: The file's length in bytes.
        content_type: The file's type.

    Attributes:
        content_type: The type of the answer.
        heads: What comes before each part.
        end: What comes after the last one.
        length: The length of the whole answer.
    """

    def __init__(self, parts: Sequence[Part], size: int, content_type: str) -> None:
        boundary = token_hex(16)
        self.content_type = f'multipart/byteranges; boundary="{boundary}"'
        self.heads = [
            f"\r\n--{boundary}\r\nContent-Type: {content_type}\r\n"
            f"Content-Range: bytes {first}-{first + length - 1}/{size}\r\n\r\n".encode()
            for first, length in parts
        ]
        self.end = f"\r\n--{boundary}--\r\n".encode()
        sent = sum(map(len, self.heads)) + sum(part.size for part in parts)
        self.length = sent + len(self.end)


@implementer(IPullProducer)
class FileSender:
    """Sends parts of a file as fast as the client reads, then ends the answer.

    Args:
        request: The request; its status and headers are set.
        file: The file, which is closed at the end.
        parts: The parts.
        heads: What comes before each part.
        end: What comes after the last one.
    """

    def __init__(
        self,
        request: Request,
        file: BinaryIO,
        parts: Sequence[Part],
        heads: Sequence[bytes] = (),
        end: bytes = b"",
    ) -> None:
        self._request = request
        self._file = file
        self._end = end
        self._left = list(zip(parts, heads or [b""] * len(parts), strict=True))
        self._part_left = 0

    def start(self) -> None:
        """Begin to send."""
        self._request.registerProducer(self, False)

    def resumeProducing(self) -> None:
        """Send the next piece."""
        if self._file.closed:
            return
        head = b""
        if not self._part_left:
            if not self._left:
                self._finish()
                return
            part, head = self._left.pop(0)
            self._file.seek(part.first)
            self._part_left = part.size
        try:
            data = self._file.read(min(_CHUNK_BYTES, self._part_left))
        except OSError:
            data = b""  # the disk fails, or the network that it is behind
        self._part_left -= len(data)
        if not data:
            # The rest is not there any more: only a broken connection tells the client.
            self.stopProducing()
            as_stream(self._request.channel.transport).abortConnection()
            return
        self._request.write(head + data)

    def stopProducing(self) -> None:
        """Stop: the client is gone, or everything is sent."""
        self._left.clear()
        self._file.close()

    def _finish(self) -> None:
        request = self._request
        if self._end:
            request.write(self._end)
        request.unregisterProducer()
        self.stopProducing()
        request.finish()
