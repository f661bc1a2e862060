"""Whole messages over a WebSocket, with their bounds."""

from __future__ import annotations

import typing

from twisted.internet.protocol import Protocol
from typing_extensions import override

from rtchat.net.connection.transport import StreamTransport

__all__ = ["MessageProtocol", "MessageTransport"]


class MessageTransport(StreamTransport, typing.Protocol):
    """A WebSocket, as a :class:`MessageProtocol` sees it."""

    def send_message(self, data: bytes, is_text: bool) -> None:
        """Send one message, which may be empty, as text or as binary."""

    def close_with(self, code: int, reason: str) -> None:
        """Send what was written, then a close frame."""


class MessageProtocol(Protocol):
    """Receives and sends whole messages.

    A factory of these goes into :class:`~rtchat.net.websocket.factory.WebSockets`.

    A client that does not read is not read from either, once 64 KiB wait for it.
    """

    transport: MessageTransport  # type: ignore[assignment]  # no other transport is ever given

    def message_received(self, data: bytes, is_text: bool) -> None:
        """Called with each message.

        Args:
            data: The whole message, at most ``max_message_bytes``; valid UTF-8 if it is text.
            is_text: Whether it is a text message; otherwise it is binary.
        """

    def send_message(self, data: bytes, is_text: bool) -> None:
        """Send a message, which may be empty; do nothing once the close has begun.

        Raises:
            ValueError: ``is_text`` is set and the data is not UTF-8.
        """
        self.transport.send_message(data, is_text)

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close after everything sent so far, with a code of RFC 6455 or of your own."""
        self.transport.close_with(code, reason)

    @override
    def dataReceived(self, data: bytes) -> None:
        """Never called: messages go to :meth:`message_received`."""
