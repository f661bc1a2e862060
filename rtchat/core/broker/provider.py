"""Where messages go and come from: the seam for kinds of destinations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Protocol

from rtchat.core.broker.destinations import Glob
from rtchat.core.broker.message import Message
from rtchat.core.broker.principal import Principal
from rtchat.core.broker.subscription import Subscription
from rtchat.core.stomp.frames import Frame
from rtchat.errors import ProtocolError

__all__ = ["DestinationProvider", "Publisher", "Refuse", "Step", "Storage", "Target"]

Step = Message | Callable[[], None]
"""Something that happens once the storage has what it needs to: a message is delivered, or
anything else."""

Refuse = Callable[[ProtocolError], None]
"""Ends a session because one of its subscriptions cannot go on."""


class Publisher(Protocol):
    """The session whose messages have to be stored before they take effect."""

    def message_accepted(self, *, is_much: bool) -> None:
        """One of its frames is on its way to the storage; with ``is_much`` it should pause."""

    def message_settled(self, cause: Frame, problem: ProtocolError | None) -> None:
        """The first of its frames that were on their way is stored, or cannot be."""


class Storage(Protocol):
    """Where messages have to be before a subscriber sees them and a RECEIPT is sent."""

    def commit(self, steps: Sequence[Step], publisher: Publisher | None, cause: Frame) -> None:
        """Store the messages among the steps; then all steps happen, in order, or none.

        Args:
            steps: What one frame causes. The targets of its messages have admitted them.
            publisher: The session to tell.
            cause: The frame.
        """


class Target(ABC):
    """One destination of a SEND.

    Attributes:
        name: The destination.
        storage: Where its messages have to be first; None delivers them at once.
    """

    __slots__ = ("name", "storage")

    name: str
    storage: Storage | None

    def admit(self) -> None:
        """Make sure that it can take one more message.

        Raises:
            ProtocolError: It cannot.
        """
        return

    def stored(self, message: Message) -> Message:
        """Return what is handed to the storage for a message."""
        return message

    @abstractmethod
    def put(self, message: Message, sender: Principal | None) -> None:
        """Deliver a message, or let it wait here.

        Raises:
            ProtocolError: Only now it shows that it cannot be delivered.
        """


class DestinationProvider(ABC):
    """Serves some of the topics in a way of its own.

    Attributes:
        claims: The topics that are its own; the first provider that claims a name serves it.
        namespaces: Prefixes of names in which a comma is a part of the name, not a separator.
        takes_patterns: Whether it also serves SUBSCRIBEs with wildcards.
    """

    claims: Glob
    namespaces: Collection[str] = ()
    takes_patterns: bool = False

    @abstractmethod
    def subscribe(
        self, subscription: Subscription, max_backlog_bytes: int, refuse: Refuse
    ) -> Mapping[str, str]:
        """Deliver to a subscription from now on.

        Args:
            subscription: The subscription to a name that it claims.
            max_backlog_bytes: How many bytes may wait for it if it is served by itself.
            refuse: Ends its session, should delivering become impossible later.

        Returns:
            What the RECEIPT says about it.

        Raises:
            ProtocolError: It cannot be subscribed to, or not like this.
        """

    @abstractmethod
    def unsubscribe(self, subscription: Subscription) -> None:
        """Deliver nothing further."""

    @abstractmethod
    def target(self, name: str) -> Target:
        """Return where SENDs to a name that it claims go.

        Raises:
            ProtocolError: Nothing can be sent there.
        """

    def retained_names(self) -> Iterable[str]:
        """Return the destinations that exist although no session is there: messages are kept."""
        return ()

    def expire(self, now: float) -> None:
        """Do what time demands; called once a second."""
        return

    @property
    def topic_count(self) -> int:
        """How many destinations have subscribers."""
        return 0

    @property
    def subscription_count(self) -> int:
        """How many subscriptions there are."""
        return 0
