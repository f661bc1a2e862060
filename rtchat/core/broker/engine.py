"""Whose subscribers a message reaches: those of this process, or those of many nodes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from rtchat.core.broker.message import Message
from rtchat.core.broker.provider import Publisher, Step
from rtchat.core.stomp.frames import Frame
from rtchat.errors import ProtocolError

__all__ = ["Completion", "Engine", "EngineStorage", "LocalEngine"]

Completion = Callable[[ProtocolError | None], None]
"""Called once: a message is in place everywhere, or why it cannot be."""


class Engine(Protocol):
    """Carries messages for topics to every node that has subscribers.

    The engine hands what it receives, the node's own messages too, to ``Publishing.received``.
    """

    @property
    def is_local(self) -> bool:
        """Whether there is one node only; then topics are served directly."""

    def interest(self, name: str) -> None:
        """This node has subscribers of a topic or pattern from now on."""

    def no_interest(self, name: str) -> None:
        """This node has none any longer."""

    def publish(self, message: Message, completion: Completion) -> None:
        """Carry a message to all nodes.

        Args:
            message: The message.
            completion: Called when it is in place, in a turn of the broker.
        """


class LocalEngine:
    """One node: there is nothing to carry."""

    is_local = True

    def interest(self, name: str) -> None:
        """Do nothing: the broker knows its own subscribers."""

    def no_interest(self, name: str) -> None:
        """Do nothing: the broker knows its own subscribers."""

    def publish(self, message: Message, completion: Completion) -> None:
        """Report success: the broker has served its own subscribers already."""
        completion(None)


class EngineStorage:
    """Lets a SEND take effect, and its RECEIPT go out, once the engine has carried its messages.

    Args:
        engine: The engine.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def commit(self, steps: Sequence[Step], publisher: Publisher | None, cause: Frame) -> None:
        """Carry the messages; when the last is in place, do the rest and tell the publisher."""
        messages = [step for step in steps if isinstance(step, Message)]
        problems: list[ProtocolError | None] = []
        if publisher is not None:
            publisher.message_accepted(is_much=False)

        def completed(problem: ProtocolError | None) -> None:
            problems.append(problem)
            if len(problems) < len(messages):
                return
            first = next((one for one in problems if one is not None), None)
            if first is None:
                for step in steps:
                    if not isinstance(step, Message):
                        step()
            if publisher is not None:
                publisher.message_settled(cause, first)

        for message in messages:
            self._engine.publish(message, completed)
