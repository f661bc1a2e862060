"""Why a row of the targets may be SHORT: a line for RESULTS.md, by the row's title and target."""

from __future__ import annotations

from benchmarks.contest import Verdict

__all__ = ["REASONS", "reason_of"]

_SECTION = "where-the-next-limit-is-and-what-falls-short-of-our-targets"
_MORE = f"[docs/performance.md](../docs/performance.md#{_SECTION})"

REASONS: dict[tuple[str, str], str] = {
    ("1 → 100 over WebSocket, flat out", "0.9 x our own over TCP"): (
        "unmasking, and the loop around it, is 1.2 µs a message that TCP does not have; shared by "
        "1,000 subscribers it does not show"
    ),
    ("queue, 4 → 4, each message acknowledged, prefetch 100", "5 x RabbitMQ STOMP"): (
        "30 calls a message, none of which stands out: each has an entry, a delivery number and an "
        "acknowledgement, so that it can come back in its place"
    ),
    ("1 → 1 through an idle server, 100 messages/s", "p50 at most 1.5 x NATS"): (
        "half of the time is epoll, the read and the write; the reactor's own turn is most of the "
        "rest"
    ),
    ("start to listening on both ports", "at most 0.5 s"): (
        "nearly all of it is the import of Twisted, cryptography and ourselves, some 600 modules"
    ),
    (
        "20,000 connections over WebSocket, heart-beats every 10 s both ways",
        "at most 15% of a core",
    ): ("a third is the wait for events itself (few arrive together), a fifth the kernel's `send`"),
    ("/tcp proxy: 64-byte echoes, 50 connections, 1 under way each", "4 x websockify"): (
        "with one message under way there is nothing to gather: half of the time is the kernel's, "
        "for two reads and two writes"
    ),
    ("/tcp proxy: 64 KiB messages to the target", "2 x websockify"): (
        "large pieces are the kernel's work almost alone: each byte is copied out of one socket "
        "and into another"
    ),
    ("/tcp proxy: bytes from the target", "2 x websockify"): (
        "large pieces are the kernel's work almost alone: each byte is copied out of one socket "
        "and into another, and nothing has to be unmasked"
    ),
}
"""By title and target. A row that is not here points to the manual alone."""


def reason_of(verdict: Verdict) -> str:
    """Say why a row is SHORT, and where to read more; "" for any other row."""
    if verdict.is_met is not False:
        return ""
    reason = REASONS.get((verdict.work, verdict.target))
    return f"{reason}; see {_MORE}" if reason else f"see {_MORE}"
