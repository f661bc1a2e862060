"""What :class:`~rtchat.net.auth.hooks.hooks.Hooks` works with: calls, events in line, counters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from rtchat.net.auth.hooks.answers import Answer
from rtchat.net.auth.hooks.line import Waiting
from rtchat.net.auth.hooks.visitor import TOLD, Event, Facts

__all__ = ["Call", "Counters", "Entry", "Hook", "SessionLine"]


class Call(Protocol):
    """One event that a hook is being asked or told about.

    Attributes:
        answer: Fires with the answer, or fails with
            :class:`~rtchat.net.auth.hooks.answers.HookFailed`; any other exception is taken for a
            failure, too. It fires once nothing is done for this call any more.
    """

    answer: Deferred[Answer]

    def give_up(self) -> None:
        """Stop it, if that is possible: the answer comes too late. It still fires at its end."""


class Hook(Protocol):
    """Where events go: over HTTP, or to Python in this process.

    Attributes:
        where: The hook, for the log.
    """

    where: str

    def call(self, event: Event, facts: Facts, session_id: str, delivery: str) -> Call:
        """Ask or tell the hook.

        Args:
            event: What happens.
            facts: What the server knows about it.
            session_id: The session.
            delivery: The event's own id; it is the same if an event is told again.
        """

    def close(self) -> None:
        """Close connections and threads; no call comes after it."""


@dataclass(slots=True)
class Counters:
    """What has become of all events so far.

    Attributes:
        asked: Questions that were put, whatever the answer.
        refused: Of these, those that the hook has refused.
        failed: Questions without a valid answer; ``on_failure`` has decided.
        told: Events that were told.
        lost: Events that may not have been heard: the hook failed while it was told.
        given_up: Events that were never told: too many have waited, or the server has stopped.
    """

    asked: int = 0
    refused: int = 0
    failed: int = 0
    told: int = 0
    lost: int = 0
    given_up: int = 0


class SessionLine:
    """The events of one session that have no answer yet, in their order.

    Attributes:
        id: The session.
        entries: The events; the first one is being worked on, or waits for a place.
        current: That one.
        is_parked: Whether it could not be told, and waits until the hook is there again.
    """

    __slots__ = ("current", "entries", "id", "is_parked")

    def __init__(self, session_id: str) -> None:
        self.id = session_id
        self.entries: dict[Entry, None] = {}
        self.current: Entry | None = None
        self.is_parked = False


@dataclass(slots=True, eq=False)
class Entry:
    """One event in the line of its session.

    Attributes:
        line: The line.
        event: What happens.
        facts: What the server knows about it.
        source: Whom it counts for.
        delivery: Its own id.
        reply: What the one who asks waits for; None once it has fired, and for what is told.
        on_answer: Called with the answer.
        is_abandoned: Whether the one who asked does not want to know any more.
        waiting: Its wait for a place.
        call: What is done for it.
        timer: When it is too late for an answer.
        is_over: Whether it has left the line.
    """

    line: SessionLine
    event: Event
    facts: Facts = field(repr=False)
    source: str
    delivery: str
    reply: Deferred[Answer] | None = None
    on_answer: Callable[[Answer], None] | None = None
    is_abandoned: bool = False
    waiting: Waiting | None = None
    call: Call | None = None
    timer: IDelayedCall | None = None
    is_over: bool = False

    @property
    def is_told(self) -> bool:
        """Whether the hook is told of it, not asked."""
        return self.event in TOLD
