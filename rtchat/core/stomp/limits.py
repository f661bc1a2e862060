"""The limits and terms a STOMP session works under, as plain values."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one STOMP session may use, and the heart-beats the server offers.

    Every field is a key of chat.ini's ``[broker]`` section; docs/configuration.md lists them.

    Attributes:
        login_timeout_s: Seconds from connecting to a complete CONNECT frame.
        max_login_bytes: Size of a frame, headers and body, before the client is logged in.
            A CONNECT needs a few hundred bytes; strangers get no more room than that.
        max_frame_bytes: Size of a frame's body after login.
        max_headers: Header lines in one frame.
        max_header_bytes: Length of one header line.
        max_subscriptions: Subscriptions open at once in one session.
        max_backlog_bytes: Bytes that may wait for a client that does not read.
        max_transactions: Transactions open at once in one session.
        max_transaction_actions: SEND, ACK and NACK frames in one transaction.
        prefetch: Unacknowledged messages a subscription may hold when it does not say
            ``prefetch-count``; 0 is no limit.
        heartbeat_send_ms: How often the server can send a heart-beat; 0 is never.
        heartbeat_receive_ms: How often the server would like one; 0 is never.
        min_heartbeat_ms: The shortest interval the server agrees to.
        show_server: Whether CONNECTED carries the ``server`` header.
    """

    login_timeout_s: float = 10.0
    max_login_bytes: int = 64 * 1024
    max_frame_bytes: int = 4 * 1024 * 1024
    max_headers: int = 100
    max_header_bytes: int = 8 * 1024
    max_subscriptions: int = 1000
    max_backlog_bytes: int = 1024 * 1024
    max_transactions: int = 16
    max_transaction_actions: int = 1024
    prefetch: int = 0
    heartbeat_send_ms: int = 10_000
    heartbeat_receive_ms: int = 10_000
    min_heartbeat_ms: int = 1_000
    show_server: bool = True
