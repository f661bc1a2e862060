"""Presence: who is at each destination, as a list followed by every change in order.

A person is at a destination while it has an open subscription there. If the connection is lost
(rather than closed) and the person returns within the grace time, no event is published.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from rtchat.core.broker.message import ServerMessage
from rtchat.core.broker.subscription import Subscription
from rtchat.core.broker.topic import Topic
from rtchat.core.chat.changes import PRESENCE, Changes, Known, Occupancy
from rtchat.core.chat.people import Person
from rtchat.core.chat.room_list import RoomList
from rtchat.core.chat.rooms import ROOMS, RoomNames
from rtchat.core.flow.memory import Growing
from rtchat.core.flow.outbound import TURN_WORK, Cork
from rtchat.text import kept_bytes

__all__ = ["PRESENCE", "Presence"]

_REMOVAL_WORK = 10
_RENAME_WORK = 3

_PLACE_BYTES = 1024
"""What the presence of a person at a place takes, without the name of the place, of which there
are two copies: as text, and in JSON."""

_SERVER = ""  # stands for the server in the places of a person: each session counts there

MakeTopic = Callable[[str, int], Topic]


class Presence:
    """The occupancy of destinations, and the subscriptions to it.

    Args:
        rooms: The names of rooms.
        grace_s: The time in seconds after which a person whose connection was lost has left.
        write_json: Returns a value as JSON.
        new_id: Returns an id for a message.
        new_topic: Creates a topic of a name, with the largest backlog in bytes of subscriptions
            that are served one by one.
        forget: Called with a person that is not connected any more.
        account: Called with each change in the number of bytes that places take, and with this
            object.
        cork: The cork of the server, for the time, and for what a turn has no time for.

    Attributes:
        bytes: How many bytes the places take.
        is_memory_short: Returns whether nothing is kept for people who have gone.
        rooms: The list of rooms.
    """

    __slots__ = (
        "_account",
        "_changes",
        "_cork",
        "_forget",
        "_grace_s",
        "_is_publishing",
        "_leaving",
        "_new_id",
        "_new_topic",
        "_occupancies",
        "_unpublished",
        "_write_json",
        "bytes",
        "is_memory_short",
        "rooms",
    )

    is_emptied = False  # people come and stay; nothing takes them out

    def __init__(
        self,
        rooms: RoomNames,
        grace_s: float,
        write_json: Callable[[object], bytes],
        new_id: Callable[[], str],
        new_topic: MakeTopic,
        forget: Callable[[Person], None],
        account: Callable[[int, Growing], None],
        cork: Cork,
    ) -> None:
        self.is_memory_short: Callable[[], bool] = bool
        self._grace_s = grace_s
        self._write_json = write_json
        self._new_id = new_id
        self._new_topic = new_topic
        self._forget = forget
        self._account = account
        self.bytes = 0
        self._occupancies: dict[str, Occupancy] = {}
        self._leaving: dict[tuple[Person, str], None] = {}  # by the end of the grace time
        self._unpublished: deque[tuple[Topic, ServerMessage]] = deque()
        self._is_publishing = False
        self._cork = cork
        self._changes = Changes(write_json, self._message, self._publish_in_order, cork)
        self.rooms = RoomList(
            rooms, write_json, self._message, self._publish_in_order, new_topic, cork
        )

    @property
    def subscription_count(self) -> int:
        """The number of subscriptions to presence, the room list included."""
        places = sum(
            len(occupancy.topic)
            for occupancy in self._occupancies.values()
            if occupancy.topic is not None
        )
        return places + len(self.rooms)

    def people_at(self, destination: str) -> list[Person]:
        """Return the people at a destination, in order of arrival."""
        occupancy = self._occupancies.get(destination)
        return [] if occupancy is None else list(occupancy.people.values())

    # Arrivals and departures

    def connect(self, person: Person) -> None:
        """Count a new session of a person."""
        self._enter(person, _SERVER)

    def enter(self, person: Person, destination: str) -> None:
        """Count a new subscription of a person; publish ``join`` if it is the first one there."""
        if self._enter(person, destination):
            occupancy = self._occupancy(destination)
            occupancy.people[person.id] = person
            self.rooms.people_changed(occupancy)
            self._changes.note(occupancy, person.id, None)

    def leave(self, person: Person, destination: str, now: float | None) -> None:
        """Count the end of a subscription of a person; the last one ends the presence there.

        Args:
            person: The person.
            destination: The destination.
            now: The time by ``Cork.ticks`` if the connection was lost; then the grace time
                begins. None if the client ended the subscription: the person leaves at once.
        """
        person.places[destination] -= 1
        if person.places[destination]:
            return
        if now is None or not self._grace_s or self.is_memory_short():
            self._remove_from(person, destination)
        else:
            person.leaving[destination] = now + self._grace_s
            self._leaving[person, destination] = None

    def disconnect(self, person: Person, now: float | None) -> None:
        """Count the end of a session of a person; its subscriptions have ended already.

        Args:
            person: The person.
            now: As in :meth:`leave`.
        """
        if now is None and person.places[_SERVER] == 1:
            # A DISCONNECT also ends the grace time of an earlier, lost session.
            self.remove(person)
        else:
            self.leave(person, _SERVER, now)

    def remove(self, person: Person) -> None:
        """Remove a person without sessions from all places at once, without a grace time."""
        for destination in [*person.leaving, _SERVER]:
            if destination in person.places:
                self._remove_from(person, destination)

    def rename(self, person: Person, before: str) -> None:
        """Publish the new nick of a person wherever the person is."""
        known = Known(self._write_json({"id": person.id, "nick": before}), before)
        self._cork.work += _RENAME_WORK * len(person.places)
        for destination in list(person.places):
            if destination in person.places and destination != _SERVER:
                self._changes.note(self._occupancies[destination], person.id, known)

    def expire(self) -> None:
        """Remove people whose grace time is over; publish what was gathered, and the room list.

        Call it every second.
        """
        self._end_grace_times()
        self._changes.tick()
        self.rooms.tell()

    def _end_grace_times(self) -> None:
        """Remove people whose grace time is over, or as many as the turn has time for."""
        cork = self._cork
        while self._leaving:
            if cork.work >= TURN_WORK:
                cork.put_off(self._end_grace_times)
                return
            # Publishing may disconnect a client, and that removes people, too.
            person, destination = next(iter(self._leaving))
            if person.leaving[destination] > cork.ticks:
                return
            self._remove_from(person, destination)
            cork.work += _REMOVAL_WORK

    # Subscriptions

    def subscribe(self, subscription: Subscription, destination: str, max_bytes: int) -> None:
        """Send every change to a subscription; :meth:`begin` has to follow.

        Args:
            subscription: The subscription, to presence or to :data:`ROOMS`.
            destination: The destination whose presence it is; unused for :data:`ROOMS`.
            max_bytes: The largest backlog in bytes if the subscription is served by itself.
        """
        if subscription.destination == ROOMS:
            self.rooms.subscribe(subscription, max_bytes)
            return
        occupancy = self._occupancy(destination)
        if occupancy.topic is None:
            occupancy.topic = self._new_topic(subscription.destination, max_bytes)
        occupancy.topic.add(subscription)

    def begin(self, subscription: Subscription, destination: str) -> None:
        """Send the current list to a subscription; the arguments are those of subscribe."""
        if subscription.destination == ROOMS:
            self.rooms.begin(subscription)
            return
        occupancy = self._occupancy(destination)
        assert occupancy.topic is not None  # it has this subscription
        occupancy.topic.publish_to(subscription, self._changes.list_of(occupancy))

    def unsubscribe(self, subscription: Subscription, destination: str) -> None:
        """Stop delivering to a subscription."""
        if subscription.destination == ROOMS:
            self.rooms.unsubscribe(subscription)
            return
        occupancy = self._occupancies[destination]
        assert occupancy.topic is not None
        occupancy.topic.remove(subscription)
        if not len(occupancy.topic):
            self._changes.forget(occupancy)
            self._remove_if_unused(occupancy)

    # Small helpers

    def _enter(self, person: Person, destination: str) -> bool:
        """Count one more; return whether the person was not there, nor within the grace time."""
        count = person.places.get(destination, 0)
        person.places[destination] = count + 1
        if destination in person.leaving:
            del person.leaving[destination], self._leaving[person, destination]
            return False
        if count == 0:
            self._count(self._size_of(destination))
        return count == 0

    def _remove_from(self, person: Person, destination: str) -> None:
        del person.places[destination]
        self._count(-self._size_of(destination))
        if person.leaving.pop(destination, None) is not None:
            del self._leaving[person, destination]
        if destination == _SERVER:
            self._forget(person)
            return
        occupancy = self._occupancies[destination]
        del occupancy.people[person.id]
        self.rooms.people_changed(occupancy)
        self._changes.note(occupancy, person.id, Known(person.json, person.nick))
        self._remove_if_unused(occupancy)

    def _size_of(self, destination: str) -> int:
        """Return what the presence of a person at a destination takes."""
        if destination == _SERVER:
            return _PLACE_BYTES
        return _PLACE_BYTES + kept_bytes(destination) + len(self._occupancy(destination).json)

    def _count(self, change: int) -> None:
        self.bytes += change
        self._account(change, self)

    def _occupancy(self, destination: str) -> Occupancy:
        occupancy = self._occupancies.get(destination)
        if occupancy is None:
            occupancy = Occupancy(destination, self._write_json(destination))
            self._occupancies[destination] = occupancy
        return occupancy

    def _remove_if_unused(self, occupancy: Occupancy) -> None:
        if not occupancy.people and occupancy.topic is None:
            # A publication may have disconnected a client, and that removed it already.
            self._occupancies.pop(occupancy.destination, None)

    def _publish_in_order(self, topic: Topic, message: ServerMessage) -> None:
        """Publish a message after those whose publication is in progress.

        Publishing may disconnect a client and so cause another event. The queue makes sure that
        all subscribers receive both in the same order.
        """
        self._unpublished.append((topic, message))
        if self._is_publishing:
            return
        self._is_publishing = True
        try:
            while self._unpublished:
                topic, message = self._unpublished.popleft()
                topic.publish(message)
        finally:
            self._is_publishing = False

    def _message(self, destination: str, event: str, body: bytes) -> ServerMessage:
        headers = {"content-type": "application/json", "x-presence": event}
        return ServerMessage(self._new_id(), destination, headers, body)
