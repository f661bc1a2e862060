"""The seam of log-in: who a session is, and what it may do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import NamedTuple

from typing_extensions import override

from rtchat.core.broker.principal import Principal
from rtchat.core.broker.questions import Question
from rtchat.core.broker.rights import Rights

__all__ = ["Authenticator", "Identified", "Visitor"]


class Visitor(NamedTuple):
    """What a client shows when it connects.

    Attributes:
        headers: The headers of CONNECT.
        request: The headers ``authorization`` and ``cookie`` of the WebSocket's request, as far as
            there are any.
        source: Where it comes from; see :class:`~rtchat.core.broker.principal.Principal`.
        path: What its request asks for, if it is none of a STOMP session; "" otherwise.
    """

    headers: Mapping[str, str]
    request: Mapping[str, str]
    source: str
    path: str = ""

    @override
    def __repr__(self) -> str:
        return f"Visitor(source={self.source!r}, path={self.path!r})"  # the rest is secret


class Identified(NamedTuple):
    """Who a session is.

    Attributes:
        user: The name of the user; "" if it is anonymous.
        rights: What it may read and write; None for everything.
        nick: The nick of the user, "" for none in particular.
    """

    user: str
    rights: Rights | None
    nick: str = ""


class Authenticator(ABC):
    """Finds out who a session is, before it is admitted."""

    @abstractmethod
    def identify(self, principal: Principal, visitor: Visitor) -> Question[Identified]:
        """Ask who a session is that has sent CONNECT.

        Args:
            principal: The session.
            visitor: What it has shown.

        Returns:
            The question; it is refused with ``AccessRefused`` if the credentials are wrong.
        """

    def opened(self, principal: Principal) -> None:
        """Note that a session has got CONNECTED."""
        return

    @abstractmethod
    def left(self, principal: Principal) -> None:
        """Note that a session has ended, whether it was identified or not; its subscriptions have
        ended already."""
