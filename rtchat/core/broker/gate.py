"""What a session and its SENDs have to pass: the seam for rights, rooms and rates."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from rtchat.core.broker.destinations import Glob
from rtchat.core.broker.principal import Principal
from rtchat.core.flow.token_bucket import TokenBucket
from rtchat.core.stomp.frames import Frame

__all__ = ["Admission", "Check", "Gate"]

Check = Callable[[Principal, Frame], None]
"""Raises ``ProtocolError`` if the principal may not send this frame."""


class Admission(NamedTuple):
    """What a gate grants to a session that it lets in.

    Attributes:
        headers: More headers for CONNECTED.
        rate: What the session has to take a token from for every SEND; None is no limit.
    """

    headers: Mapping[str, str]
    rate: TokenBucket | None = None


class Gate:
    """Lets sessions in, and their SENDs through; this one lets everything pass.

    A broker asks its gates once for each destination, not for each SEND: a SEND to a destination
    for which no gate has a check pays nothing.

    Attributes:
        concerns: The destinations that :meth:`check_for` may have a check for.
    """

    concerns: Glob = Glob(())

    def admit(self, principal: Principal, headers: Mapping[str, str], now: float) -> Admission:
        """Let a session in that has sent CONNECT.

        Args:
            principal: The session.
            headers: Those of CONNECT.
            now: The time in seconds since 1970.

        Raises:
            ProtocolError: It is refused.
        """
        return Admission({})

    def leave(self, principal: Principal, now: float) -> None:
        """Forget a session, let in or not; its subscriptions have ended already."""

    def check_for(self, destinations: Sequence[str]) -> Check | None:
        """Return what SENDs to all these destinations together have to pass, None if nothing.

        The answer is kept for later SENDs to the same destinations.
        """
        return None
