"""The interface of transports that frame each write, and share their connection writer."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from zope.interface import Attribute, Interface

from rtchat.net.connection.writer import ConnectionWriter

__all__ = ["IFramedTransport"]


class IFramedTransport(Interface):
    """A transport that frames each write (a WebSocket) and shares its connection writer."""

    writer: ConnectionWriter = Attribute(
        "The ConnectionWriter of the connection underneath; its ``framing`` packs frames."
    )

    peer: str = Attribute("The name of the other end, for the log.")

    request_headers: Mapping[str, str] = Attribute(
        "The headers ``authorization`` and ``cookie`` of the request, where they are wanted."
    )

    on_gone: Callable[[bool], None] | None = Attribute(
        "Called with whether the connection broke, if the other end goes while reading is paused."
    )

    def suspend_pings(send_s: float, hear_s: float) -> None:  # noqa: N805
        """Stop pings: the protocol above sends and hears something this often, in seconds."""

    def close_with(code: int, reason: str) -> None:  # noqa: N805
        """Close with a code of RFC 6455 once what was written is out."""
