"""Limits and heart-beat settings of one STOMP session, and what counts its bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from rtchat.config.keys import GIB, KIB, MIB, key
from rtchat.errors import LimitExceeded

__all__ = [
    "Account",
    "Limits",
    "frame_too_large",
    "frame_too_slow",
    "header_too_long",
    "too_many_headers",
    "too_much_held",
]


class Account(Protocol):
    """What counts the bytes that are held for a client."""

    def add(self, size: int) -> None:
        """Count so many bytes more; a negative number takes them away."""

    def frame_begun(self) -> None:
        """The bytes of an incomplete frame begin to be many."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one STOMP session, and the heart-beats that the server offers.

    Attributes:
        login_timeout_s: Time from the connection to a complete CONNECT frame, in seconds.
        max_login_bytes: Size of a frame (headers and body) before login, in bytes. A CONNECT
            takes a few hundred bytes; an unknown client may not use more memory than this.
        max_frame_bytes: Size of a frame's body after login, in bytes.
        frame_timeout_s: How long a frame may stay incomplete while little of it arrives, in
            seconds.
        max_held_bytes: How many bytes are held for the client, beside what it has to read. Never
            less than one frame takes.
        max_headers: Number of header lines in a frame.
        max_header_bytes: Length of a header line, in bytes.
        max_subscriptions: Number of open subscriptions.
        max_of_destination: Number of open subscriptions of one destination.
        max_selector_steps: How many steps the selectors of all open subscriptions take together for
            a message, at most.
        max_backlog_bytes: Size of the backlog of a client that does not read, in bytes.
        stalled_backlog_bytes: Size of a backlog of which a client has to read some, in bytes.
        stall_timeout_s: How long it may read nothing of such a backlog, in seconds.
        max_transactions: Number of open transactions.
        max_transaction_actions: Number of SEND, ACK and NACK frames in a transaction.
        prefetch: Number of unacknowledged messages of a subscription without
            ``prefetch-count``; 0 means no limit.
        heartbeat_send_ms: Interval at which the server can send heart-beats; 0 means never.
        heartbeat_receive_ms: Interval at which the server wants heart-beats; 0 means never.
        min_heartbeat_ms: The shortest interval that the server agrees to.
        show_server: Whether CONNECTED carries the ``server`` header.
    """

    login_timeout_s: float = key("[broker] login.timeout", 10.0, unit="seconds", low=0.1, high=3600)
    max_login_bytes: int = key(
        "[broker] login.max_bytes", 64 * KIB, unit="bytes", low=KIB, high=GIB
    )
    max_frame_bytes: int = key("[broker] frame.max_bytes", 4 * MIB, unit="bytes", low=KIB, high=GIB)
    frame_timeout_s: float = key("[broker] frame.timeout", 60.0, unit="seconds", low=1, high=86_400)
    max_held_bytes: int = key("[broker] held.max_bytes", 64 * MIB, unit="bytes", low=KIB, high=GIB)
    max_headers: int = key("[broker] header.max_count", 100, unit="headers", low=10, high=100_000)
    max_header_bytes: int = key(
        "[broker] header.max_bytes", 8 * KIB, unit="bytes", low=256, high=MIB
    )
    max_subscriptions: int = key(
        "[broker] subscription.max_count", 1000, unit="subscriptions", low=1, high=1_000_000
    )
    max_of_destination: int = key(
        "[broker] destination.max_subscriptions", 16, unit="subscriptions", low=1, high=1_000_000
    )
    max_selector_steps: int = key(
        "[broker] selector.max_steps", 30_000, unit="steps", low=100, high=100_000_000
    )
    max_backlog_bytes: int = key(
        "[broker] backlog.max_bytes", 16 * MIB, unit="bytes", low=KIB, high=GIB
    )
    stalled_backlog_bytes: int = key(
        "[broker] backlog.stalled_bytes", MIB, unit="bytes", low=KIB, high=GIB
    )
    stall_timeout_s: float = key(
        "[broker] backlog.stalled_timeout", 10.0, unit="seconds", low=1, high=3600
    )
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

    def __post_init__(self) -> None:
        """Let one frame at least be held."""
        held = max(self.max_held_bytes, self.max_frame_bytes + MIB)
        object.__setattr__(self, "max_held_bytes", held)


def too_many_headers(limits: Limits, count: int) -> LimitExceeded:
    """Return the error for a frame with too many headers."""
    return LimitExceeded(
        f"more than {limits.max_headers} headers",
        f"The frame has {count} or more. The limit is header.max_count of the server.",
    )


def header_too_long(limits: Limits) -> LimitExceeded:
    """Return the error for a header line that is too long."""
    return LimitExceeded(
        f"header over the limit of {limits.max_header_bytes} bytes",
        "The limit is header.max_bytes of the server.",
    )


def frame_too_large(limits: Limits, length: int, *, is_login: bool) -> LimitExceeded:
    """Return the error for a frame that is too large.

    Args:
        limits: The limits.
        length: The number of bytes that its body has, at least.
        is_login: Whether the client has not logged in yet.
    """
    if is_login:
        return LimitExceeded(
            f"frame over the limit of {limits.max_login_bytes} bytes before login",
            "Send CONNECT first, and nothing large before its CONNECTED.",
        )
    return LimitExceeded(
        f"frame over the limit of {limits.max_frame_bytes} bytes",
        f"The body has {length} bytes or more. The limit is frame.max_bytes of the server.",
    )


def frame_too_slow(limits: Limits, length: int) -> LimitExceeded:
    """Return the error for a frame that does not come to its end.

    Args:
        limits: The limits.
        length: The number of bytes that have arrived.
    """
    return LimitExceeded(
        f"frame incomplete, and little of it came within {limits.frame_timeout_s:g} seconds",
        f"{length} bytes of it have arrived. The limit is frame.timeout of the server.",
    )


def too_much_held(limits: Limits, held: int) -> LimitExceeded:
    """Return the error for a client for which too much is held.

    Args:
        limits: The limits.
        held: How many bytes are held for it, or would be.
    """
    return LimitExceeded(
        f"too much: more than {limits.max_held_bytes} bytes held for this client",
        f"{held} bytes: its subscriptions with selectors and backlogs, deliveries without ACK, "
        "transactions, and frames that wait or are incomplete. The limit is held.max_bytes of the "
        "server.",
    )
