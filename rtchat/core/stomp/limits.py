"""Limits and heart-beats of one STOMP session."""

from __future__ import annotations

from dataclasses import dataclass

from rtchat.config.keys import GIB, KIB, MIB, key

__all__ = ["Limits"]


@dataclass(frozen=True, slots=True)
class Limits:
    """What one STOMP session may use, and the heart-beats that the server offers.

    Attributes:
        login_timeout_s: Seconds from connecting to a complete CONNECT frame.
        max_login_bytes: Size of a frame, headers and body, before the client is logged in. A
            CONNECT needs a few hundred bytes; a client that is not known yet gets no more than
            this.
        max_frame_bytes: Size of a frame's body after login.
        max_headers: Header lines in one frame.
        max_header_bytes: Length of one header line.
        max_subscriptions: Subscriptions that are open at once in one session.
        max_backlog_bytes: Bytes that may wait for a client that does not read.
        max_transactions: Transactions that are open at once in one session.
        max_transaction_actions: SEND, ACK and NACK frames in one transaction.
        prefetch: Unacknowledged messages of a subscription that does not say
            ``prefetch-count``; 0 is no limit.
        heartbeat_send_ms: How often the server can send a heart-beat; 0 is never.
        heartbeat_receive_ms: How often the server would like to get one; 0 is never.
        min_heartbeat_ms: The shortest interval that the server agrees to.
        show_server: Whether CONNECTED carries the ``server`` header.
    """

    login_timeout_s: float = key("[broker] login.timeout", 10.0, unit="seconds", low=0.1, high=3600)
    max_login_bytes: int = key(
        "[broker] login.max_bytes", 64 * KIB, unit="bytes", low=KIB, high=GIB
    )
    max_frame_bytes: int = key("[broker] frame.max_bytes", 4 * MIB, unit="bytes", low=KIB, high=GIB)
    max_headers: int = key("[broker] header.max_count", 100, unit="headers", low=10, high=100_000)
    max_header_bytes: int = key(
        "[broker] header.max_bytes", 8 * KIB, unit="bytes", low=256, high=MIB
    )
    max_subscriptions: int = key(
        "[broker] subscription.max_count", 1000, unit="subscriptions", low=1, high=1_000_000
    )
    max_backlog_bytes: int = key("[broker] backlog.max_bytes", MIB, unit="bytes", low=KIB, high=GIB)
    max_transactions: int = key(
        "[broker] transaction.max_count", 16, unit="transactions", low=1, high=100_000
    )
    max_transaction_actions: int = key(
        "[broker] transaction.max_actions", 1024, unit="actions", low=1, high=1_000_000
    )
    prefetch: int = key(
        "[broker] prefetch.count", 0, unit="messages", low=1, high=65_535, or_zero=True
    )
    heartbeat_send_ms: int = key(
        "[broker] heartbeat.send_ms",
        10_000,
        unit="milliseconds",
        low=100,
        high=3_600_000,
        or_zero=True,
    )
    heartbeat_receive_ms: int = key(
        "[broker] heartbeat.receive_ms",
        10_000,
        unit="milliseconds",
        low=100,
        high=3_600_000,
        or_zero=True,
    )
    min_heartbeat_ms: int = key(
        "[broker] heartbeat.min_ms", 1_000, unit="milliseconds", low=100, high=3_600_000
    )
    show_server: bool = key("[broker] server_header", True)
