"""What watchers of presence are told: changes at once, or gathered where there are many.

Gathered changes wait for up to a second. Then watchers are told the difference to what they know,
so a person that has come and gone meanwhile causes no event, however often.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from typing import NamedTuple

from rtchat.core.broker.message import ServerMessage
from rtchat.core.broker.topic import Topic
from rtchat.core.chat.people import Person
from rtchat.core.flow.outbound import TURN_WORK, Cork

__all__ = ["PRESENCE", "Changes", "Known", "Occupancy"]

PRESENCE = "/presence"
"""The prefix of a destination's presence: ``/presence/topic/chat`` is that of ``/topic/chat``."""

_MAX_AT_ONCE = 16
"""So many changes of one destination are told at once in each second; others are gathered."""

_MAX_ALL_AT_ONCE = 1000
"""The same for all destinations together."""

_MAX_GATHERED = 1000
"""So many gathered changes are told in each second; the others go on being gathered."""

_MAX_GATHERED_OF_ONE = 100
"""So many of one destination, before it is the turn of the next one."""


_CHANGE_WORK = 10


class Known(NamedTuple):
    """What watchers know of a person.

    Attributes:
        json: Id and nick as a JSON object.
        nick: The nick.
    """

    json: bytes
    nick: str


class Occupancy:
    """A destination with people or with subscriptions to its presence.

    Attributes:
        destination: Its name.
        people: The people there, by id, in order of arrival.
        topic: The subscriptions to its presence, or None without any.
        gathered: The people of whom changes are gathered, by id, with what watchers know of each;
            None if they do not know that the person is there.
        people_list: The cached message with the list of people that watchers know, or None if it
            is outdated.
        json: The destination as JSON.
        second: The second in which a change was told at once last.
        told: How many changes were told at once in that second.
    """

    __slots__ = (
        "destination",
        "gathered",
        "json",
        "people",
        "people_list",
        "second",
        "told",
        "topic",
    )

    def __init__(self, destination: str, json: bytes) -> None:
        self.destination = destination
        self.people: dict[str, Person] = {}
        self.topic: Topic | None = None
        self.gathered: dict[str, Known | None] = {}
        self.people_list: ServerMessage | None = None
        self.json = json
        self.second = -1
        self.told = 0


class Changes:
    """Publishes who comes and goes, at once or gathered.

    Args:
        write_json: Returns a value as JSON.
        message: Returns a message to a destination, with an event and a body.
        publish: Publishes a message, after those whose publication is in progress.
        cork: The cork of the server, for what a turn has no time for.
    """

    __slots__ = (
        "_busy",
        "_cork",
        "_left",
        "_message",
        "_publish",
        "_second",
        "_told",
        "_write_json",
    )

    def __init__(
        self,
        write_json: Callable[[object], bytes],
        message: Callable[[str, str, bytes], ServerMessage],
        publish: Callable[[Topic, ServerMessage], None],
        cork: Cork,
    ) -> None:
        self._write_json = write_json
        self._message = message
        self._publish = publish
        self._cork = cork
        self._busy: dict[Occupancy, None] = {}  # those with gathered changes
        self._second = 0
        self._told = 0  # changes that were told at once in this second
        self._left = 0  # how many gathered ones may be told in it

    def forget(self, occupancy: Occupancy) -> None:
        """Forget what watchers know of a destination: there are none any more."""
        occupancy.topic = occupancy.people_list = None
        occupancy.gathered.clear()
        self._busy.pop(occupancy, None)

    def list_of(self, occupancy: Occupancy) -> ServerMessage:
        """Return the message with the list of people, which is cached until the next change.

        Gathered changes are not in it: who gets the list is told of them with all others.
        """
        if occupancy.people_list is None:
            gathered = occupancy.gathered
            self._cork.work += len(occupancy.people) + len(gathered)
            known = [person.json for id_, person in occupancy.people.items() if id_ not in gathered]
            known += [one.json for one in gathered.values() if one is not None]
            people = b",".join(known)
            body = b'{"event":"here","destination":%b,"people":[%b]}' % (occupancy.json, people)
            occupancy.people_list = self._message(
                f"{PRESENCE}{occupancy.destination}", "here", body
            )
        return occupancy.people_list

    def note(self, occupancy: Occupancy, person_id: str, known: Known | None) -> None:
        """Publish that a person has come, gone or been renamed, now or with later changes.

        Args:
            occupancy: The destination.
            person_id: The person's id.
            known: The person as it was until now, or None if it was not there.
        """
        if occupancy.topic is None:
            occupancy.people_list = None
        elif occupancy.gathered or not self._may_tell_now(occupancy):
            occupancy.gathered.setdefault(person_id, known)
            self._busy[occupancy] = None
        else:
            self._tell(occupancy, person_id, known)

    def _may_tell_now(self, occupancy: Occupancy) -> bool:
        if occupancy.second != self._second:
            occupancy.second, occupancy.told = self._second, 0
        if occupancy.told >= _MAX_AT_ONCE or self._told >= _MAX_ALL_AT_ONCE:
            return False
        occupancy.told += 1
        self._told += 1
        return True

    def tick(self) -> None:
        """Publish gathered changes, some of each busy destination; call it every second."""
        self._second += 1
        self._told = 0
        self._left = _MAX_GATHERED
        self._tell_gathered()

    def _tell_gathered(self) -> None:
        """Publish gathered changes; what the turn has no time for comes in the next."""
        cork = self._cork
        while self._left > 0 and self._busy:
            if cork.work >= TURN_WORK:
                cork.put_off(self._tell_gathered)
                return
            occupancy = next(iter(self._busy))
            gathered = occupancy.gathered
            for person_id in list(islice(gathered, min(self._left, _MAX_GATHERED_OF_ONE))):
                if cork.work >= TURN_WORK:
                    break
                if person_id in gathered:
                    self._tell(occupancy, person_id, gathered.pop(person_id))
                self._left -= 1
                cork.work += _CHANGE_WORK
            self._busy.pop(occupancy, None)
            if gathered:
                self._busy[occupancy] = None  # its turn comes again after the others'

    def _tell(self, occupancy: Occupancy, person_id: str, known: Known | None) -> None:
        """Publish the difference between a person and what is known of it, if there is one."""
        person = occupancy.people.get(person_id)
        if person is None:
            if known is None:
                return
            event, body = "leave", b'{"event":"leave","person":%b}' % known.json
        elif known is None:
            event, body = "join", b'{"event":"join","person":%b}' % person.json
        elif known.json == person.json:
            return
        else:
            event, body = (
                "rename",
                b'{"event":"rename","person":%b,"before":%b}'
                % (person.json, self._write_json(known.nick)),
            )
        occupancy.people_list = None
        if occupancy.topic is not None:
            name = f"{PRESENCE}{occupancy.destination}"
            self._publish(occupancy.topic, self._message(name, event, body))
