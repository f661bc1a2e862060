"""What a WebSocket takes from its factory, :class:`rtchat.net.websocket.factory.WebSockets`."""

from __future__ import annotations

from typing import Protocol

from twisted.internet.interfaces import IReactorTime

from rtchat.core.flow.outbound import Cork
from rtchat.net.connection.client_log import ClientLog
from rtchat.net.connection.liveness import Liveness

__all__ = ["WebSocketSettings"]


class WebSocketSettings(Protocol):
    """The settings, which are explained there."""

    client_log: ClientLog
    clock: IReactorTime
    cork: Cork
    liveness: Liveness
    ping_interval_s: float
    ping_timeout_s: float
    max_message_bytes: int
    deflate: bool
