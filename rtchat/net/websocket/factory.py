"""Serving the protocols of any Twisted factory over WebSockets."""

from __future__ import annotations

from functools import partial

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IProtocolFactory, IReactorTime
from typing_extensions import override

from rtchat.core.flow.outbound import Cork
from rtchat.net.connection.client_log import ClientLog
from rtchat.net.connection.drain import Drain
from rtchat.net.connection.liveness import Liveness
from rtchat.net.websocket.closing import CLOSE_GRACE_S
from rtchat.net.websocket.transport import WebSocket
from rtchat.net.websocket.txws_adapter import TxwsFactory

__all__ = ["WebSockets"]

_RESTARTING = 1012


class WebSockets(Drain["WebSocket"], TxwsFactory):  # type: ignore[misc]  # txws has no types
    """Serves the protocols of a factory over WebSockets.

    Args:
        wrapped: The factory; its protocols take a stream of bytes, or each is a
            :class:`~rtchat.net.websocket.messages.MessageProtocol`.
        clock: Runs the timers.
        cork: Shared with the wrapped protocols, if they gather frames.
        ping_interval_s: Seconds between pings; 0 turns them off.
        ping_timeout_s: Seconds to wait for any byte after a ping; 0 waits for ever.
        max_message_bytes: The largest message accepted from a client, after decompression.
        deflate: Whether messages are compressed for clients that offer it. Turn it off if most
            bytes are compressed or encrypted already, if each message has only one receiver on a
            fast network, or if secrets and untrusted text may be in one message: its length would
            reveal information about the secret.
        client_log: Where lines about clients are written; by default a log of its own.

    Attributes:
        wants_credentials: Whether the protocols look at ``request_headers``.
        is_stopping: Whether the server is stopping; then no new WebSocket should be opened.
    """

    protocol = WebSocket
    noisy = False

    def __init__(
        self,
        wrapped: IProtocolFactory,
        clock: IReactorTime,
        cork: Cork | None = None,
        *,
        ping_interval_s: float = 20,
        ping_timeout_s: float = 20,
        max_message_bytes: int = 16 * 1024 * 1024,
        deflate: bool = True,
        client_log: ClientLog | None = None,
    ) -> None:
        super().__init__(wrapped)
        self.client_log = client_log or ClientLog(clock)
        self.clock = clock
        self.liveness = Liveness(clock)
        self.cork = Cork() if cork is None else cork
        self.cork.turns.call_soon = partial(clock.callLater, 0)
        self.ping_interval_s = ping_interval_s
        self.ping_timeout_s = ping_timeout_s
        self.max_message_bytes = max_message_bytes
        self.deflate = deflate
        self.is_stopping = False
        self.wants_credentials = False

    def shut_down(self) -> Deferred[None]:
        """Close every WebSocket because the server stops; fire when all are gone."""
        self.is_stopping = True
        return self.drain(_shut_down)

    @override
    def unregisterProtocol(self, p: WebSocket) -> None:
        super().unregisterProtocol(p)
        if p.on_lost is not None:
            p.on_lost()
        self.connection_ended()


def _shut_down(websocket: WebSocket) -> None:
    websocket.close_with(_RESTARTING, "server shutting down")
    websocket.end_within(CLOSE_GRACE_S)
