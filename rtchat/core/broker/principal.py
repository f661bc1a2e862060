"""Principals: sessions, as the broker and its extensions see them."""

from __future__ import annotations

from typing import Protocol

from rtchat.errors import ProtocolError

__all__ = ["Principal", "client_key"]


class Principal(Protocol):
    """A session, as gates, providers and listeners see it.

    Principals are compared by identity. A feature keeps its own data about sessions in a mapping
    with principals as keys.

    Attributes:
        id: The id of the session.
        login: The ``login`` header of CONNECT, or "".
        user: The name of the authenticated user; "" means anonymous.
        mark: The position of its messages without any other; see
            :func:`~rtchat.core.broker.message.user_mark`.
        wished_nick: The nick that belongs to the user; "" for none in particular.
        source: Where a session that was admitted comes from: an address, or the /64 network of an
            IPv6 address; "" if that is unknown (a Unix socket, a front proxy that does not say it).
    """

    id: str
    login: str
    user: str
    mark: bytes
    wished_nick: str
    source: str

    @property
    def is_lost(self) -> bool:
        """Whether the connection broke without a DISCONNECT: the client may soon be back."""

    def fail(self, error: ProtocolError) -> None:
        """End the session: send ERROR, then close the connection."""

    def replace(self) -> None:
        """End the session because a newer connection takes its place."""


def client_key(principal: Principal) -> str:
    """Return the key of what sessions of one client have in common: its user, or else its source.

    It stays the same when the client connects again; "" if nothing is known about the client.
    """
    return f"user {principal.user}" if principal.user else principal.source
