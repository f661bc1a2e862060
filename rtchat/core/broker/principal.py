"""Who a session acts for: the seam between the broker and whatever knows users."""

from __future__ import annotations

from typing import Protocol

from rtchat.errors import ProtocolError

__all__ = ["Principal"]


class Principal(Protocol):
    """A session, as gates, providers and events see it.

    It is compared by identity: what a feature knows of a session it keeps in a mapping of its own.

    Attributes:
        id: The id of the session.
        login: The ``login`` header of CONNECT, "" without one.
        user: The name of the authenticated user; "" is anonymous.
    """

    id: str
    login: str
    user: str

    @property
    def is_lost(self) -> bool:
        """Whether the connection broke without a DISCONNECT: the client may soon be back."""

    def fail(self, error: ProtocolError) -> None:
        """End the session: send ERROR, then close."""

    def replace(self) -> None:
        """End the session because a newer connection takes its place."""
