"""The list of rooms, and how many people each has; a session sees the rooms that it may read."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from rtchat.core.broker.message import ServerMessage
from rtchat.core.broker.principal import Principal
from rtchat.core.broker.rights import Rights
from rtchat.core.broker.subscription import Subscription
from rtchat.core.broker.topic import Topic
from rtchat.core.chat.changes import Occupancy
from rtchat.core.chat.rooms import ROOMS, RoomNames
from rtchat.core.flow.outbound import TURN_WORK, Cork

__all__ = ["RoomList"]

_MAX_EMPTY_ROOMS = 50
"""One list has at most this many empty rooms, the latest ones: anyone can write to any name."""

_MAX_ROOMS = 1000
"""One list, or one report of changes, has at most this many rooms with people: in a list, those
that have had people for the longest time."""

_MAX_LIST_BYTES = 256 * 1024
"""The same in bytes of JSON."""

_GROUP_WORK = 20

_LOOKS_AT_ONCE = 500
"""To find out whether so many rooms may be read takes some milliseconds."""

_Message = Callable[[str, str, bytes], ServerMessage]


class _Readers:
    """Subscriptions to the list with equal rights.

    Attributes:
        current: The list as they see it, or None if it has changed.
        is_incomplete: Whether further rooms in it are being looked for, or will be.
        topic: The subscriptions.
    """

    __slots__ = ("current", "is_incomplete", "topic")

    def __init__(self, topic: Topic) -> None:
        self.topic = topic
        self.is_incomplete = False
        self.current: ServerMessage | None = None


class _Found(NamedTuple):
    """The rooms that were found for a list: those with people, and empty ones, the latest first."""

    occupied: list[str]
    empty: list[str]

    @property
    def names(self) -> list[str]:
        """All of them, in the order of the list."""
        return [*self.occupied, *reversed(self.empty)]


class RoomList:
    """The rooms with people, and those with stored messages.

    Args:
        names: The names of rooms.
        write_json: Returns a value as JSON.
        message: Makes a message of a destination, an event and a body.
        publish: Publishes a message to a topic, after those that are being published.
        new_topic: Creates a topic of a name, with the largest backlog in bytes of subscriptions
            that are served one by one.
        cork: The cork of the server, which counts the work.

    Attributes:
        retained: Returns destinations that are listed (if they are rooms) even when they are empty.
    """

    __slots__ = (
        "_changed",
        "_cork",
        "_incomplete",
        "_is_looking",
        "_is_telling",
        "_max_bytes",
        "_message",
        "_names",
        "_new_topic",
        "_occupied",
        "_of_sessions",
        "_publish",
        "_readers",
        "_subscriptions",
        "_write_json",
        "retained",
    )

    def __init__(
        self,
        names: RoomNames,
        write_json: Callable[[object], bytes],
        message: _Message,
        publish: Callable[[Topic, ServerMessage], None],
        new_topic: Callable[[str, int], Topic],
        cork: Cork,
    ) -> None:
        self.retained: Callable[[], Iterable[str]] = tuple
        self._names = names
        self._write_json = write_json
        self._message = message
        self._publish = publish
        self._new_topic = new_topic
        self._cork = cork
        self._max_bytes = 0
        self._occupied: dict[str, Occupancy] = {}
        self._changed: dict[str, bool] = {}  # whether people have come or gone
        self._readers: dict[Rights | None, _Readers] = {}
        self._subscriptions: dict[Subscription, Rights | None] = {}
        self._of_sessions: dict[Principal, dict[Subscription, None]] = {}
        self._incomplete: dict[Rights | None, _Readers] = {}  # lists in which rooms are missing
        self._is_telling = False
        self._is_looking = False

    def __len__(self) -> int:
        """Return the number of subscriptions."""
        return len(self._subscriptions)

    # What has changed

    def people_changed(self, occupancy: Occupancy) -> None:
        """Note that people have come to a destination, or gone."""
        name = occupancy.destination
        if name not in self._names:
            return
        if occupancy.people:
            self._occupied[name] = occupancy
        else:
            del self._occupied[name]
        self._note(name, has_moved=True)

    def retention_changed(self, name: str) -> None:
        """Note that a stored room has appeared, or was emptied."""
        if name in self._names and name not in self._occupied:
            self._note(name, has_moved=False)

    def _note(self, name: str, *, has_moved: bool) -> None:
        for readers in self._readers.values():
            readers.current = None
        if self._readers:
            self._changed[name] = has_moved or self._changed.get(name, False)

    # Subscriptions

    def subscribe(self, subscription: Subscription, max_bytes: int) -> None:
        """Send every change to a subscription; :meth:`begin` has to follow.

        Args:
            subscription: The subscription.
            max_bytes: The largest backlog in bytes if the subscription is served by itself.
        """
        self._max_bytes = max_bytes
        rights = _rights_of(subscription.principal)
        readers = self._readers.get(rights)
        if readers is None:
            readers = self._readers[rights] = _Readers(self._new_topic(ROOMS, max_bytes))
        self._subscriptions[subscription] = rights
        if subscription.principal is not None:
            self._of_sessions.setdefault(subscription.principal, {})[subscription] = None
        readers.topic.add(subscription)

    def begin(self, subscription: Subscription) -> None:
        """Send the current list to a subscription."""
        rights = self._subscriptions[subscription]
        readers = self._readers[rights]
        if readers.current is None:
            readers.current = self._list_for(rights, readers)
        readers.topic.publish_to(subscription, readers.current)

    def unsubscribe(self, subscription: Subscription) -> None:
        """Stop delivering to a subscription."""
        rights = self._subscriptions.pop(subscription)
        principal = subscription.principal
        if principal is not None:
            own = self._of_sessions[principal]
            del own[subscription]
            if not own:
                del self._of_sessions[principal]
        topic = self._readers[rights].topic
        topic.remove(subscription)
        if not len(topic):
            del self._readers[rights]
            self._incomplete.pop(rights, None)
        if not self._readers:
            self._changed.clear()

    def rights_changed(self, principal: Principal) -> None:
        """Send the list as it is now to a session whose rights have changed."""
        for subscription in list(self._of_sessions.get(principal, ())):
            if self._subscriptions[subscription] is not principal.rights:
                self.unsubscribe(subscription)
                self.subscribe(subscription, self._max_bytes)
                self.begin(subscription)

    # What is told

    def tell(self) -> None:
        """Publish what has changed; call it every second."""
        if not self._changed or self._is_telling:
            return
        changed, self._changed = self._changed, {}
        self._is_telling = True
        self._cork.in_parts(self._tell_all(changed))

    def _tell_all(self, changed: dict[str, bool]) -> Iterator[None]:
        try:
            for rights, readers in list(self._readers.items()):
                if self._readers.get(rights) is readers:
                    self._cork.work += _GROUP_WORK
                    self._tell(rights, readers.topic, changed)
                if self._cork.work >= TURN_WORK:
                    yield
        finally:
            self._is_telling = False

    def _tell(self, rights: Rights | None, topic: Topic, changed: dict[str, bool]) -> None:
        self._cork.work += len(changed) * _work_of(rights)
        seen = list(changed if rights is None else filter(rights.may_read, changed))
        # Whether people have come or gone is told of every room, whether something is kept is not.
        kept = deque((name for name in seen if not changed[name]), _MAX_EMPTY_ROOMS)
        moved = [name for name in seen if changed[name]]
        told = self._json_of(moved[:_MAX_ROOMS])
        for name in moved[len(told) :]:  # in a later second
            self._changed[name] = True
        rooms = [*told, *self._json_of(kept)]
        if rooms:
            self._publish(topic, self._changes_of(rooms))

    def _list_for(self, rights: Rights | None, readers: _Readers) -> ServerMessage:
        """Return the list; what takes too long to find out, its readers are told later."""
        found = _Found([], [])
        is_whole = next(self._look(rights, found), True)
        if not is_whole and not readers.is_incomplete:
            readers.is_incomplete = True
            self._incomplete[rights] = readers
            if not self._is_looking:
                self._is_looking = True
                self._cork.in_parts(self._look_on())
        return self._list_of(found)

    def _look(self, rights: Rights | None, found: _Found) -> Iterator[None]:
        """Find the rooms of a list, in parts: to find out whether one may be read takes long."""
        retained = list(self.retained())
        self._cork.work += len(retained)
        latest = (
            name
            for name in reversed(retained)
            if name in self._names and name not in self._occupied
        )
        looked = 0
        for names, few, most in (
            (list(self._occupied), found.occupied, _MAX_ROOMS),
            (latest, found.empty, _MAX_EMPTY_ROOMS),
        ):
            for name in names:
                self._cork.work += _work_of(rights)
                if rights is None or rights.may_read(name):
                    few.append(name)
                    if len(few) == most:
                        break
                looked += 1
                if looked % _LOOKS_AT_ONCE == 0 and rights is not None:
                    yield

    def _look_on(self) -> Iterator[None]:
        """Complete the lists, one after the other, in later turns; tell their readers."""
        try:
            yield
            while self._incomplete:
                rights = next(iter(self._incomplete))
                readers = self._incomplete.pop(rights)
                first, found = readers.current, _Found([], [])
                for _ in self._look(rights, found):
                    if self._readers.get(rights) is not readers:
                        break
                    yield
                else:
                    self._complete(readers, first, found)
                yield
        finally:
            self._is_looking = False

    def _complete(self, readers: _Readers, first: ServerMessage | None, found: _Found) -> None:
        readers.is_incomplete = False
        # If something has changed meanwhile, the readers are told, but the list is not that of now.
        is_current = first is not None and readers.current is first
        readers.current = self._list_of(found) if is_current else None
        rooms = self._json_of(found.names)
        if rooms:
            self._publish(readers.topic, self._changes_of(rooms))

    def _list_of(self, found: _Found) -> ServerMessage:
        body = b'{"event":"here","rooms":[%b]}' % b",".join(self._json_of(found.names))
        return self._message(ROOMS, "here", body)

    def _changes_of(self, rooms: Iterable[bytes]) -> ServerMessage:
        body = b'{"event":"rooms","rooms":[%b]}' % b",".join(rooms)
        return self._message(ROOMS, "rooms", body)

    def _json_of(self, names: Iterable[str]) -> list[bytes]:
        """Return rooms as JSON objects: the first ones, as many as a list may be long."""
        rooms: list[bytes] = []
        left = _MAX_LIST_BYTES
        for name in names:
            json = self._room_json(name)
            left -= len(json)
            if left < 0:
                break
            rooms.append(json)
        return rooms

    def _room_json(self, name: str) -> bytes:
        occupancy = self._occupied.get(name)
        if occupancy is None:
            return b'{"destination":%b,"people":0}' % self._write_json(name)
        return b'{"destination":%b,"people":%d}' % (occupancy.json, len(occupancy.people))


def _rights_of(principal: Principal | None) -> Rights | None:
    return None if principal is None else principal.rights


def _work_of(rights: Rights | None) -> int:
    return 1 if rights is None else rights.work
