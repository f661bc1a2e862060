"""Delivery in parts: a message for very many subscribers goes on in later turns.

Meanwhile a SEND to the same topic waits, as one to a full queue does. So each topic has few
messages that are on their way, and a client that sends faster than they can be delivered is not
read.
"""

from __future__ import annotations

from typing import Protocol

from rtchat.core.broker.message import Message
from rtchat.core.broker.waiting import WaitingLines
from rtchat.core.flow.outbound import Cork
from rtchat.core.flow.turns import TURN_WORK

__all__ = ["PART_WORK", "Divided", "Parts", "place_of"]

PART_WORK = TURN_WORK + 1_000
"""The work of a turn from which a delivery goes on in a later one. It is more than what ends a turn
between two frames: so a frame that begins in time is delivered at once to a hundred groups."""

_RESUME_WORK = 20


class Divided(Protocol):
    """A topic whose delivery is not complete.

    Attributes:
        name: The destination or pattern.
    """

    name: str


def place_of(topic: Divided) -> str:
    """Return what sessions wait for until a topic's delivery is complete.

    No destination is called like that, so a queue or a lagging subscriber lets none of them go on.
    """
    return f"\0{topic.name}"


class Parts:
    """The topics whose delivery is not complete, and the sessions that wait for them.

    Args:
        waiting: The sessions that wait.
        cork: The cork of the server.
        markers: Mappings that have this object as a key while there is such a topic: a SEND then
            does not take the fast path.

    Attributes:
        topics: These topics.
    """

    __slots__ = ("_cork", "_ended", "_held", "_markers", "_places", "_waiting", "topics")

    def __init__(
        self, waiting: WaitingLines, cork: Cork, markers: tuple[dict[object, None], ...]
    ) -> None:
        self._waiting = waiting
        self._cork = cork
        self._markers = markers
        self._held: dict[int, int] = {}  # by frame: how often its messages are held
        self._places: dict[str, Divided] = {}
        self._ended: dict[str, None] = {}
        self.topics: dict[Divided, None] = {}

    def begin(self, topic: Divided) -> None:
        """Note that the delivery of a message has to go on in a later turn."""
        self.topics[topic] = None
        self._places[place_of(topic)] = topic
        for marker in self._markers:
            marker[self] = None

    def end(self, topic: Divided) -> None:
        """Note that a topic's delivery is complete; those that wait for it go on."""
        place = place_of(topic)
        del self.topics[topic]
        if self._places.get(place) is topic:
            del self._places[place]
        if not self.topics:
            for marker in self._markers:
                del marker[self]
        if place in self._waiting:
            self._ended[place] = None
            self._cork.woken[self._resume] = None

    def is_busy(self, place: str) -> bool:
        """Return whether there is still something to wait for."""
        return place in self._places

    def hold(self, message: Message) -> None:
        """Count a message that is kept until its delivery is complete, in the memory budget.

        Messages of one SEND count once, for however many topics it is kept.
        """
        key = id(message.frame)
        count = self._held.get(key, 0)
        if not count:
            self._cork.budget.used += message.size
        self._held[key] = count + 1

    def release(self, message: Message) -> None:
        """Count a message no more."""
        key = id(message.frame)
        self._held[key] -= 1
        if not self._held[key]:
            del self._held[key]
            self._cork.budget.used -= message.size

    def _resume(self) -> None:
        """Resume those that wait, one by one, until the topic is busy again."""
        cork, waiting = self._cork, self._waiting
        for place in list(self._ended):
            del self._ended[place]
            for _ in waiting.line(place):
                if place in self._places or place not in waiting:
                    break  # a session's end may take others with it
                if cork.work >= TURN_WORK:
                    self._ended[place] = None
                    cork.put_off(self._resume)
                    break
                cork.work += _RESUME_WORK
                waiting.resume_first(place)
