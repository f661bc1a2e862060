"""Who is where, told to those who want to know: a list first, then every change in order.

Somebody is at a destination while a subscription of theirs is open there. Whoever is lost (and
not gone) may come back within the grace time, and nobody is told of either.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from rtchat.core.broker.message import ServerMessage
from rtchat.core.broker.subscription import Subscription
from rtchat.core.broker.topic import Topic
from rtchat.core.chat.people import Person
from rtchat.core.chat.rooms import ROOMS, RoomNames

__all__ = ["PRESENCE", "Presence"]


PRESENCE = "/presence"
"""Before a destination: who is there."""

_SERVER = ""  # the place where everybody is who is connected

MakeTopic = Callable[[str, int], Topic]


class _Occupancy:
    """A destination with somebody there, or with somebody who wants to know.

    Attributes:
        destination: Its name.
        people: Who is there, by id, in order of arrival.
        topic: Who wants to know, None when nobody does.
        here: The list of who is there, None when it has to be made anew.
        json: The destination as JSON.
    """

    __slots__ = ("destination", "here", "json", "people", "topic")

    def __init__(self, destination: str, json: bytes) -> None:
        self.destination = destination
        self.people: dict[str, Person] = {}
        self.topic: Topic | None = None
        self.here: ServerMessage | None = None
        self.json = json


class Presence:
    """The places, and who wants to know of them.

    Args:
        rooms: Which destinations are rooms.
        grace_s: How long somebody who was lost may take to come back.
        write_json: Gives a value as JSON.
        new_id: Gives an id for a message.
        new_topic: Makes the fan-out for a name, with a limit in bytes for those served one by one.
        forget: Called with somebody who is not connected any more.

    Attributes:
        retained_rooms: Gives rooms that are listed even when nobody is there.
    """

    __slots__ = (
        "_changed",
        "_forget",
        "_grace_s",
        "_is_telling",
        "_leaving",
        "_new_id",
        "_new_topic",
        "_occupancies",
        "_occupied",
        "_room_list",
        "_room_names",
        "_rooms",
        "_untold",
        "_write_json",
        "retained_rooms",
    )

    def __init__(
        self,
        rooms: RoomNames,
        grace_s: float,
        write_json: Callable[[object], bytes],
        new_id: Callable[[], str],
        new_topic: MakeTopic,
        forget: Callable[[Person], None],
    ) -> None:
        self.retained_rooms: Callable[[], Iterable[str]] = tuple
        self._room_names = rooms
        self._grace_s = grace_s
        self._write_json = write_json
        self._new_id = new_id
        self._new_topic = new_topic
        self._forget = forget
        self._occupancies: dict[str, _Occupancy] = {}
        self._leaving: dict[tuple[Person, str], None] = {}  # in the order of their time
        self._untold: deque[tuple[Topic, ServerMessage]] = deque()
        self._is_telling = False
        # About rooms
        self._rooms: Topic | None = None
        self._room_list: ServerMessage | None = None
        self._occupied: dict[str, _Occupancy] = {}
        self._changed: dict[str, None] = {}

    @property
    def subscription_count(self) -> int:
        """How many subscriptions want to know."""
        places = sum(
            len(occupancy.topic)
            for occupancy in self._occupancies.values()
            if occupancy.topic is not None
        )
        return places + (0 if self._rooms is None else len(self._rooms))

    def people_at(self, destination: str) -> list[Person]:
        """Give who is there, in order of arrival."""
        occupancy = self._occupancies.get(destination)
        return [] if occupancy is None else list(occupancy.people.values())

    # Who comes and goes

    def connect(self, person: Person) -> None:
        """Somebody has one session more."""
        self._enter(person, _SERVER)

    def enter(self, person: Person, destination: str) -> None:
        """Somebody has one subscription more there."""
        if self._enter(person, destination):
            occupancy = self._occupancy(destination)
            occupancy.people[person.id] = person
            self._note_room(occupancy)
            self._tell(occupancy, "join", b'{"event":"join","person":%b}' % person.json)

    def leave(self, person: Person, destination: str, now: float | None) -> None:
        """Somebody has one subscription less there.

        Args:
            person: Who.
            destination: Where.
            now: What time it is if the connection was lost, None if it was meant so.
        """
        person.places[destination] -= 1
        if person.places[destination]:
            return
        if now is None or not self._grace_s:
            self._gone(person, destination)
        else:
            person.leaving[destination] = now + self._grace_s
            self._leaving[person, destination] = None

    def disconnect(self, person: Person, now: float | None) -> None:
        """Somebody has one session less; its subscriptions have ended already."""
        if now is None and person.places[_SERVER] == 1:
            # Whoever says goodbye leaves what an earlier, lost session had, too.
            self.remove(person)
        else:
            self.leave(person, _SERVER, now)

    def remove(self, person: Person) -> None:
        """Somebody who has no session any more leaves at once."""
        for destination in [*person.leaving, _SERVER]:
            if destination in person.places:
                self._gone(person, destination)

    def rename(self, person: Person, before: str) -> None:
        """Somebody has another nick now."""
        body = b'{"event":"rename","person":%b,"before":%b}' % (
            person.json,
            self._write_json(before),
        )
        for destination in list(person.places):
            if destination in person.places and destination != _SERVER:
                self._tell(self._occupancies[destination], "rename", body)

    def note_retained_room(self, destination: str) -> None:
        """A room is listed from now on, or no longer, whether or not somebody is there."""
        if destination in self._room_names and destination not in self._occupied:
            self._room_list = None
            if self._rooms is not None:
                self._changed[destination] = None

    def expire(self, now: float) -> None:
        """Let those leave whose time is over, and tell of rooms; call it once a second."""
        while self._leaving:
            person, destination = next(iter(self._leaving))
            if person.leaving[destination] > now:
                break
            self._gone(person, destination)
        self._tell_of_rooms()

    # Who wants to know

    def subscribe(self, subscription: Subscription, destination: str, max_bytes: int) -> None:
        """Tell who is there, and then every change.

        Args:
            subscription: Whom to tell.
            destination: Where; :data:`ROOMS` is all rooms.
            max_bytes: How much may wait for it if it is served one by one.
        """
        if subscription.destination == ROOMS:
            if self._rooms is None:
                self._rooms = self._new_topic(ROOMS, max_bytes)
            topic, here = self._rooms, self._list_rooms()
        else:
            occupancy = self._occupancy(destination)
            if occupancy.topic is None:
                occupancy.topic = self._new_topic(subscription.destination, max_bytes)
            topic, here = occupancy.topic, self._list(occupancy)
        topic.add(subscription)
        topic.publish_to(subscription, here)

    def unsubscribe(self, subscription: Subscription, destination: str) -> None:
        """Tell no more."""
        if subscription.destination == ROOMS:
            assert self._rooms is not None
            self._rooms.remove(subscription)
            if not len(self._rooms):
                self._rooms = None
                self._changed.clear()
            return
        occupancy = self._occupancies[destination]
        assert occupancy.topic is not None
        occupancy.topic.remove(subscription)
        if not len(occupancy.topic):
            occupancy.topic = None
            self._tidy(occupancy)

    # Small helpers

    def _enter(self, person: Person, destination: str) -> bool:
        """Count one more; tell whether the person was not there before."""
        count = person.places.get(destination, 0)
        person.places[destination] = count + 1
        if destination in person.leaving:
            del person.leaving[destination], self._leaving[person, destination]
            return False
        return count == 0

    def _gone(self, person: Person, destination: str) -> None:
        del person.places[destination]
        if person.leaving.pop(destination, None) is not None:
            del self._leaving[person, destination]
        if destination == _SERVER:
            self._forget(person)
            return
        occupancy = self._occupancies[destination]
        del occupancy.people[person.id]
        self._note_room(occupancy)
        self._tell(occupancy, "leave", b'{"event":"leave","person":%b}' % person.json)
        self._tidy(occupancy)

    def _occupancy(self, destination: str) -> _Occupancy:
        occupancy = self._occupancies.get(destination)
        if occupancy is None:
            occupancy = _Occupancy(destination, self._write_json(destination))
            self._occupancies[destination] = occupancy
        return occupancy

    def _tidy(self, occupancy: _Occupancy) -> None:
        if not occupancy.people and occupancy.topic is None:
            self._occupancies.pop(occupancy.destination, None)  # whoever was told may have done it

    def _list(self, occupancy: _Occupancy) -> ServerMessage:
        """Give the list of who is there; it is made once for every change."""
        if occupancy.here is None:
            people = b",".join([person.json for person in occupancy.people.values()])
            body = b'{"event":"here","destination":%b,"people":[%b]}' % (occupancy.json, people)
            occupancy.here = self._message(f"{PRESENCE}{occupancy.destination}", "here", body)
        return occupancy.here

    def _tell(self, occupancy: _Occupancy, event: str, body: bytes) -> None:
        occupancy.here = None
        if occupancy.topic is not None:
            name = f"{PRESENCE}{occupancy.destination}"
            self._publish(occupancy.topic, self._message(name, event, body))

    def _publish(self, topic: Topic, message: ServerMessage) -> None:
        """Publish one after the other.

        One who is cut while something is published may leave a place by that: all others have
        to hear of the two in the same order.
        """
        self._untold.append((topic, message))
        if self._is_telling:
            return
        self._is_telling = True
        try:
            while self._untold:
                topic, message = self._untold.popleft()
                topic.publish(message)
        finally:
            self._is_telling = False

    def _message(self, destination: str, event: str, body: bytes) -> ServerMessage:
        headers = {"content-type": "application/json", "x-presence": event}
        return ServerMessage(self._new_id(), destination, headers, body)

    # Rooms

    def _note_room(self, occupancy: _Occupancy) -> None:
        name = occupancy.destination
        if name not in self._room_names:
            return
        if occupancy.people:
            self._occupied[name] = occupancy
        else:
            del self._occupied[name]
        self._room_list = None
        if self._rooms is not None:
            self._changed[name] = None

    def _list_rooms(self) -> ServerMessage:
        if self._room_list is None:
            names = dict.fromkeys(self._occupied)
            names.update(
                dict.fromkeys(name for name in self.retained_rooms() if name in self._room_names)
            )
            body = b'{"event":"here","rooms":[%b]}' % b",".join(map(self._room, names))
            self._room_list = self._message(ROOMS, "here", body)
        return self._room_list

    def _tell_of_rooms(self) -> None:
        if self._rooms is None or not self._changed:
            return
        changed, self._changed = self._changed, {}
        body = b'{"event":"rooms","rooms":[%b]}' % b",".join(map(self._room, changed))
        self._publish(self._rooms, self._message(ROOMS, "rooms", body))

    def _room(self, name: str) -> bytes:
        occupancy = self._occupied.get(name)
        if occupancy is None:
            return b'{"destination":%b,"people":0}' % self._write_json(name)
        return b'{"destination":%b,"people":%d}' % (occupancy.json, len(occupancy.people))
