"""One HTTP request: its target in every form, its ``Host``, and the words of its status."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import Protocol, cast

from twisted.web.http import RESPONSES, datetimeToString
from twisted.web.server import Request
from typing_extensions import override

from rtchat.core.access.hosts import split_host_header

__all__ = ["MAX_BODY_BYTES", "PageRequest"]

MAX_BODY_BYTES = 64 * 1024
"""Nothing here needs a body, and Twisted would store all of it, in a file or in memory."""

_ABSOLUTE = re.compile(rb"https?://([^/?#]*)(.*)", re.IGNORECASE | re.DOTALL)


class _Channel(Protocol):
    def body_too_large(self) -> None:
        """Refuse a body that is larger than MAX_BODY_BYTES."""


class PageRequest(Request):
    """A request of which the site is told whether it is one of HTTP/1.1.

    Attributes:
        fault: What is wrong with its target or its ``Host``, as a sentence; "" if nothing is. Such
            a request is answered with 400 (RFC 9112, 3.2).
        body_bytes: How many bytes of its body have come.
    """

    fault = ""
    body_bytes = 0

    @override
    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        hosts = self.requestHeaders.getRawHeaders(b"Host", [])
        if len(hosts) > 1:
            self.fault = "it has more than one Host"
        elif not hosts and version == b"HTTP/1.1":
            self.fault = "it has no Host"
        absolute = _ABSOLUTE.fullmatch(path)
        if absolute is not None:
            # As through a proxy: "the origin server MUST ignore the received Host header field
            # (if any) and instead use the host information of the request-target".
            hosts = [absolute[1]]
            self.requestHeaders.setRawHeaders(b"Host", hosts)
            path = absolute[2] if absolute[2].startswith(b"/") else b"/" + absolute[2]
        elif not path.startswith(b"/") and (command, path) != (b"OPTIONS", b"*"):
            self.fault = "its target is neither a path nor a URL"
        if not self.fault and hosts:
            try:
                split_host_header(hosts[0].decode("latin-1"))
            except ValueError as error:
                self.fault = f"its Host is not valid: {error}"
        super().requestReceived(command, path, version)

    @override
    def process(self) -> None:
        if self.path != b"*":
            super().process()
        elif self.fault:
            self.path = b"/"  # refused by the site, as at any other path
            super().process()
        else:  # Twisted's own answer would name its release
            self.setHeader(b"Server", b"rtchat")
            self.setHeader(b"Date", datetimeToString())
            self.setHeader(b"Allow", b"GET, HEAD, OPTIONS")
            self.setHeader(b"Content-Length", b"0")
            self.finish()

    @override
    def setResponseCode(self, code: int, message: bytes | None = None) -> None:
        if message is None and code not in RESPONSES:
            message = HTTPStatus(code).phrase.encode("ascii")  # 421 and 426, for example
        super().setResponseCode(code, message)

    @override
    def handleContentChunk(self, data: bytes) -> None:
        self.body_bytes += len(data)
        if self.body_bytes > MAX_BODY_BYTES:
            cast(_Channel, self.channel).body_too_large()
        else:
            super().handleContentChunk(data)
