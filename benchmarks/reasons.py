"""Reasons why a row of the targets may be SHORT, for RESULTS.md."""

from __future__ import annotations

from benchmarks.contest import Verdict

__all__ = ["REASONS", "reason_of"]

_SECTION = "where-the-next-limit-is-and-what-falls-short-of-our-targets"
_MORE = f"[docs/performance.md](../docs/performance.md#{_SECTION})"

REASONS: dict[tuple[str, str], str] = {
    ("1 → 100 over WebSocket, flat out", "0.9 x our own over TCP"): (
        "unmasking is 0.3 µs a message that TCP does not have, and each message is four bytes "
        "longer for each subscriber"
    ),
    ("queue, 4 → 4, each message acknowledged, prefetch 100", "5 x RabbitMQ STOMP"): (
        "each message has an entry, a delivery number and an acknowledgement, so that it can come "
        "back in its place: 4 µs where all of them come in runs"
    ),
    ("1 → 1 through an idle server, 100 messages/s", "p50 at most 1.5 x NATS"): (
        "a third is the kernel that wakes the process, a third the reactor's way to the protocol"
    ),
    ("start to listening on both ports", "at most 0.5 s"): (
        "nearly all of it is the import of Twisted, cryptography and ourselves"
    ),
    (
        "20,000 connections over WebSocket, heart-beats every 10 s both ways",
        "at most 15% of a core",
    ): ("a third is the wait for events itself (few arrive together), a fifth the kernel's `send`"),
    ("/tcp proxy: 64-byte echoes, 50 connections, 1 under way each", "4 x websockify"): (
        "an echo is two reads and two writes, whoever does it: 61 % of the time is the kernel's "
        "`send`, which wakes the other side, 19 % the wait for events"
    ),
    ("/tcp proxy: 64 KiB messages to the target", "2 x websockify"): (
        "large pieces are the kernel's work almost alone: each byte is copied out of one socket "
        "and into another"
    ),
    ("/tcp proxy: bytes from the target", "2 x websockify"): (
        "large pieces are the kernel's work almost alone, and where it has no pipe for them each "
        "byte is copied out of one socket and into another"
    ),
}
"""By title and target. A row that is not here points to the manual alone."""


def reason_of(verdict: Verdict) -> str:
    """Return why a row is SHORT, and where to read more; "" for any other row."""
    if verdict.is_met is not False:
        return ""
    reason = REASONS.get((verdict.work, verdict.target))
    return f"{reason}; see {_MORE}" if reason else f"see {_MORE}"
