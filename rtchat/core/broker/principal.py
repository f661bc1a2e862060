"""Principals: sessions, as the broker and its extensions see them."""

from __future__ import annotations

from typing import Protocol

from rtchat.errors import ProtocolError

__all__ = ["Principal"]


class Principal(Protocol):
    """A session, as gates, providers and listeners see it.

    Principals are compared by identity. A feature keeps its own data about sessions in a mapping
    with principals as keys.

    Attributes:
        id: The id of the session.
        login: The ``login`` header of CONNECT, or "".
        user: The name of the authenticated user; "" means anonymous.
    """

    id: str
    login: str
    user: str

    @property
    def is_lost(self) -> bool:
        """Whether the connection broke without a DISCONNECT: the client may soon be back."""

    def fail(self, error: ProtocolError) -> None:
        """End the session: send ERROR, then close the connection."""

    def replace(self) -> None:
        """End the session because a newer connection takes its place."""
