"""Gates check sessions and their SENDs: permissions, rules of rooms, rate limits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from rtchat.core.broker.destinations import Glob
from rtchat.core.broker.principal import Principal
from rtchat.core.flow.token_bucket import Rate
from rtchat.core.stomp.frames import Frame

__all__ = ["Admission", "Check", "Gate", "SenderLines"]

Check = Callable[[Principal, Frame], "Frame | None"]
"""Raises ``ProtocolError`` if the principal may not send this frame. It may make the principal wait
for an answer. Returns the frame to take in its place, or None."""

SenderLines = Mapping[Principal | None, bytes]
"""The header line with the sender's public id, by sender; see
:func:`~rtchat.core.broker.message.sender_line`."""


class Admission(NamedTuple):
    """What a gate grants to a session that it admits.

    Attributes:
        headers: Headers to add to CONNECTED.
        rate: The rate limit of the session's SENDs, or None.
        subscription_rate: The rate limit of its SUBSCRIBEs and UNSUBSCRIBEs, or None.
        byte_rate: The rate limit of the bytes in its SENDs, or None.
    """

    headers: Mapping[str, str]
    rate: Rate | None = None
    subscription_rate: Rate | None = None
    byte_rate: Rate | None = None


class Gate:
    """The base class of gates; it admits every session and has no checks.

    The broker asks its gates for checks once per destination, not per SEND. So a SEND to a
    destination without checks costs nothing extra.

    Attributes:
        concerns: The destinations for which :meth:`check_for` may return a check.
    """

    concerns: Glob = Glob(())

    def admit(self, principal: Principal, headers: Mapping[str, str], now: float) -> Admission:
        """Admit a session that has sent CONNECT.

        Args:
            principal: The session.
            headers: The headers of CONNECT.
            now: The time in seconds since 1970.

        Raises:
            ProtocolError: The session is refused.
        """
        return Admission({})

    def leave(self, principal: Principal, now: float) -> None:
        """Called when a session ends, whether it was admitted or not.

        Args:
            principal: The session; its subscriptions have ended already.
            now: The time in seconds since 1970.
        """

    def check_for(self, destinations: Sequence[str]) -> Check | None:
        """Return the check of SENDs to these destinations, or None without one.

        The result is cached for later SENDs to the same destinations.

        Args:
            destinations: All destinations of a SEND: several if it is composite.
        """
        return None

    def sender_lines_for(self, destination: str) -> SenderLines | None:
        """Return the ids of senders to add to messages to this destination, or None for none.

        The mapping is looked up for each message and may change. The messages also get the
        server's ``timestamp``. No publisher can set either header.

        Args:
            destination: One destination of a SEND.
        """
        return None
