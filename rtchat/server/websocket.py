"""What the WebSockets of the broker and of the gateway share: pings, and compression."""

from __future__ import annotations

from dataclasses import dataclass

from twisted.internet.interfaces import IProtocolFactory

from rtchat.config.keys import key
from rtchat.core.flow.outbound import Cork
from rtchat.net.websocket.factory import WebSockets
from rtchat.server.part import Part, Server

__all__ = ["WebSocketPart", "WebSocketSettings"]


@dataclass(frozen=True, slots=True)
class WebSocketSettings:
    """How often WebSockets are pinged, and whether messages may be compressed.

    Attributes:
        interval_s: Seconds between pings; 0 is no pings.
        timeout_s: Seconds that a pong may take; 0 waits without end.
        deflate: Whether messages are compressed for clients that offer it.
    """

    interval_s: float = key(
        "[global] session.ping_interval", 20.0, unit="seconds", low=0.1, high=86400, or_zero=True
    )
    timeout_s: float = key(
        "[global] session.ping_timeout", 20.0, unit="seconds", low=0.1, high=86400, or_zero=True
    )
    deflate: bool = key("[proxy] deflate", True)


class WebSocketPart(Part[WebSocketSettings]):
    """Puts other parts' protocols behind WebSockets."""

    reads = (WebSocketSettings,)

    def __init__(self, settings: WebSocketSettings, server: Server) -> None:
        super().__init__(settings, server)
        self._clock = server.clock
        self._client_log = server.client_log

    def wrap(
        self,
        factory: IProtocolFactory,
        cork: Cork,
        *,
        max_message_bytes: int,
        deflate: bool = True,
    ) -> WebSockets:
        """Return what serves WebSockets with the protocols of a factory.

        Args:
            factory: Builds the protocols.
            cork: Gathers their frames.
            max_message_bytes: The largest message taken from a client.
            deflate: Whether messages are compressed, unless the settings say no.
        """
        return WebSockets(
            factory,
            self._clock,
            cork,
            ping_interval_s=self.settings.interval_s,
            ping_timeout_s=self.settings.timeout_s,
            max_message_bytes=max_message_bytes,
            deflate=deflate and self.settings.deflate,
            client_log=self._client_log,
        )
