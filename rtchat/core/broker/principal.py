"""Principals: sessions, as the broker and its extensions see them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

from rtchat.core.broker.questions import Question
from rtchat.core.broker.rights import Rights
from rtchat.errors import ProtocolError

__all__ = ["Principal", "client_key"]

_T = TypeVar("_T")


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
        rights: What it may read and write; None for everything.
        wished_nick: The nick that belongs to the user; "" for none in particular.
        source: Where a session that was admitted comes from: an address, or the /64 network of an
            IPv6 address; "" if that is unknown (a Unix socket, a front proxy that does not say it).
    """

    id: str
    login: str
    user: str
    mark: bytes
    rights: Rights | None
    wished_nick: str
    source: str

    @property
    def is_lost(self) -> bool:
        """Whether the connection broke without a DISCONNECT: the client may soon be back."""

    def fail(self, error: ProtocolError) -> None:
        """End the session: send ERROR, then close the connection."""

    def answer_to(self, ask: Callable[[], Question[_T]]) -> _T:
        """Return the answer to a question, which is asked once however often a frame is tried.

        Args:
            ask: Asks it.

        Raises:
            Exception: There is no answer yet: the session waits, and tries the frame again.
            ProtocolError: The answer is an error.
        """

    def change_rights(self, rights: Rights) -> None:
        """Take other rights; end the session if it reads what it may not read any more."""

    def subscribe_to(self, destination: str) -> None:
        """Subscribe the client to a destination, with the destination as the subscription's id.

        Nothing happens if the session has ended.

        Raises:
            ProtocolError: It cannot be subscribed to it.
        """

    def end_subscription(self, subscription_id: str, destination: str) -> None:
        """End an open subscription of the client; its id is "" if it has none."""

    def replace(self) -> None:
        """End the session because a newer connection takes its place."""


def client_key(principal: Principal) -> str:
    """Return the key of what sessions of one client have in common: its user, or else its source.

    It stays the same when the client connects again; "" if nothing is known about the client.
    """
    return f"user {principal.user}" if principal.user else principal.source
