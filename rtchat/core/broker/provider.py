"""Providers serve additional kinds of destinations; targets accept messages."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from rtchat.core.broker.destinations import Glob
from rtchat.core.broker.message import Message
from rtchat.core.broker.principal import Principal
from rtchat.core.broker.subscription import Subscription
from rtchat.core.stomp.frames import Frame
from rtchat.errors import ProtocolError

__all__ = ["DestinationProvider", "Publisher", "Refuse", "Step", "Storage", "Target"]

Step = Message | Callable[[], None]
"""One effect of a frame that waits for the storage: a message to store and deliver, or a function
to call."""

Refuse = Callable[[ProtocolError], None]
"""Ends a session with an error because one of its subscriptions cannot continue."""


class Publisher(Protocol):
    """A session whose messages have to be stored before they take effect.

    Attributes:
        user, source: See :class:`~rtchat.core.broker.principal.Principal`.
    """

    user: str
    source: str

    def message_accepted(self, *, is_much: bool) -> None:
        """Called when the storage accepts a frame's messages.

        Args:
            is_much: Whether the storage is overloaded, so that the session should pause.
        """

    def message_settled(self, cause: Frame, problem: ProtocolError | None) -> None:
        """Called when the messages of the earliest accepted frame are stored, or have failed.

        Args:
            cause: The frame.
            problem: The error, or None on success.
        """


class Storage(Protocol):
    """Stores messages before subscribers see them and the RECEIPT is sent."""

    def commit(self, steps: Sequence[Step], publisher: Publisher | None, cause: Frame) -> None:
        """Store the messages among the steps; then carry out all steps, in order, or none.

        Args:
            steps: The effects of one frame. The targets have admitted the messages.
            publisher: The session to notify, or None.
            cause: The frame.

        Raises:
            LimitExceeded: The messages are too large to be stored at once; nothing was done.
        """


class Target(ABC):
    """One destination of a SEND.

    Attributes:
        drops_expired: Whether :meth:`put` itself drops expired messages, so that it gets them.
        name: The destination.
        storage: Stores messages before they are delivered; None delivers them at once.
    """

    __slots__ = ("name", "storage")

    drops_expired = False
    name: str
    storage: Storage | None

    def unfinished(self) -> Iterator[str]:
        """Return what a SEND has to wait for, because earlier messages are still on their way."""
        return iter(())

    def admit(self, client: str) -> None:
        """Prepare the storage for one more message; it follows at once, with :meth:`stored`.

        Args:
            client: The client that sends it, as
                :func:`~rtchat.core.broker.principal.client_key` names it.
        """
        return

    def stored(self, message: Message, sender: Principal | None) -> Message:
        """Return the message to pass to the storage in place of a message.

        Args:
            message: The message.
            sender: The session it comes from, or None.
        """
        return message

    @abstractmethod
    def put(self, message: Message, sender: Principal | None) -> None:
        """Deliver or queue a message.

        Args:
            message: The message.
            sender: The session it comes from, or None.

        Raises:
            ProtocolError: The message cannot be delivered.
        """


class DestinationProvider(ABC):
    """Serves the topics that it claims, in place of the broker.

    Attributes:
        claims: The names of its topics. The first provider that claims a name serves it.
        namespaces: Prefixes of names in which a comma is part of the name, not a separator.
        takes_patterns: Whether it also serves subscriptions with wildcards.
    """

    claims: Glob
    namespaces: Collection[str] = ()
    takes_patterns: bool = False

    @abstractmethod
    def subscribe(
        self, subscription: Subscription, max_backlog_bytes: int, refuse: Refuse
    ) -> Mapping[str, str]:
        """Deliver to a subscription from now on; what waits for it follows with :meth:`begin`.

        Args:
            subscription: A subscription to a name that the provider claims.
            max_backlog_bytes: Its largest backlog in bytes, if it is served one by one.
            refuse: Ends its session with an error, if delivery becomes impossible later.

        Returns:
            Headers to add to the RECEIPT.

        Raises:
            ProtocolError: The name cannot be subscribed to, or not with these options.
        """

    def begin(self, subscription: Subscription) -> None:
        """Deliver what waits for a new subscription, whose RECEIPT has just been sent."""
        return

    @abstractmethod
    def unsubscribe(self, subscription: Subscription) -> None:
        """Stop delivering to a subscription."""

    @abstractmethod
    def target(self, name: str) -> Target:
        """Return the target of SENDs to a name that the provider claims.

        Raises:
            ProtocolError: The name cannot be sent to.
        """

    def retained_names(self) -> Iterable[str]:
        """Return the destinations with stored messages, with or without subscriptions."""
        return ()

    def expire(self, now: float) -> None:
        """Do periodic work; called every second with the time in seconds since 1970."""
        return

    @property
    def topic_count(self) -> int:
        """The number of destinations with subscriptions."""
        return 0

    @property
    def subscription_count(self) -> int:
        """The number of subscriptions."""
        return 0
