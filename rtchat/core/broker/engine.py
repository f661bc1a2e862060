"""Engines carry messages between the nodes of a cluster; the default has a single node."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from rtchat.core.broker.message import Message
from rtchat.core.broker.provider import Publisher, Step
from rtchat.core.flow.outbound import Cork
from rtchat.core.flow.turns import TURN_WORK
from rtchat.core.stomp.frames import Frame
from rtchat.errors import ProtocolError

__all__ = ["Completion", "Engine", "EngineStorage", "LocalEngine"]

_STEP_WORK = 10
"""The work of a step that delivers messages."""

Completion = Callable[[ProtocolError | None], None]
"""Called once for a message: with None when it was published, or with the error."""


class Engine(Protocol):
    """Carries messages for topics to every node that has subscribers.

    The engine passes each message that it receives, including the node's own, to
    ``Publishing.received``.
    """

    @property
    def is_local(self) -> bool:
        """Whether there is a single node; then the broker serves topics directly."""

    def interest(self, name: str) -> None:
        """Receive messages of a topic or pattern: this node has its first subscription."""

    def no_interest(self, name: str) -> None:
        """Stop receiving messages of a topic or pattern: its last subscription has ended."""

    def publish(self, message: Message, completion: Completion) -> None:
        """Publish a message to all nodes.

        Args:
            message: The message.
            completion: Called when the message was published, in a turn of the broker.
        """


class LocalEngine:
    """The engine of a single node; it carries no messages."""

    is_local = True

    def interest(self, name: str) -> None:
        """Do nothing: the broker knows its own subscribers."""

    def no_interest(self, name: str) -> None:
        """Do nothing: the broker knows its own subscribers."""

    def publish(self, message: Message, completion: Completion) -> None:
        """Report success: the broker has served its own subscribers already."""
        completion(None)


class EngineStorage:
    """A storage that is done with a message once the engine has published it.

    So a SEND takes effect, and its RECEIPT is sent, once its messages were published.

    Args:
        engine: The engine.
        cork: The cork of the server.
    """

    def __init__(self, engine: Engine, cork: Cork) -> None:
        self._engine = engine
        self._cork = cork

    def commit(self, steps: Sequence[Step], publisher: Publisher | None, cause: Frame) -> None:
        """Publish the messages; after the last one, run the other steps and notify the publisher.

        The arguments are those of ``Storage.commit``. If a message fails, no other step is run.
        """
        messages = [step for step in steps if isinstance(step, Message)]
        waiting = len(messages)
        first: ProtocolError | None = None
        if publisher is not None:
            publisher.message_accepted(is_much=False)

        def completed(problem: ProtocolError | None) -> None:
            nonlocal first, waiting
            first = first or problem
            waiting -= 1
            if waiting <= 0:
                self._cork.in_parts(settling())

        def settling() -> Iterator[None]:
            bugs: list[Exception] = []
            for step in () if first is not None else steps:
                if isinstance(step, Message):
                    continue
                if self._cork.work >= TURN_WORK:
                    yield
                self._cork.work += _STEP_WORK
                try:
                    step()
                except Exception as bug:
                    bugs.append(bug)
            if publisher is not None:
                publisher.message_settled(cause, first)
            if bugs:
                raise bugs[0]

        for message in messages:
            self._engine.publish(message, completed)
        if not messages:
            self._cork.in_parts(settling())
