"""The connected people: identification, nicks, and sessions.

A *person* holds a nick, and has a public id, derived from a secret of the client (the token). With
a nick alone, the person exists only as long as the connection. A login alone makes no person: any
number of clients may use the same. A *person session* is one session of a person.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable

from rtchat.core.broker.principal import Principal
from rtchat.core.chat.nicknames import clean_nick, nick_key, nick_look
from rtchat.errors import NotAllowed

__all__ = ["People", "Person", "PersonSession"]

_MAX_TOKEN_CHARS = 128
_ID_LETTERS = 20


class Person:
    """A person who is connected, or whose grace time is not over.

    Attributes:
        id: The public id; the same for the same token while the server runs.
        nick: The name to display, which no other person has.
        has_token: Whether the person can prove its identity with a token.
        json: Id and nick as a JSON object.
        sessions: The person's sessions, in order of their start.
        places: The number of the person's subscriptions to each destination. The destination ""
            stands for the server; its count is that of sessions.
        leaving: The time, by ``Cork.ticks``, at which the grace time of each lost place ends.
    """

    __slots__ = ("has_token", "id", "json", "leaving", "nick", "places", "sessions")

    def __init__(self, person_id: str, nick: str, *, has_token: bool) -> None:
        self.id = person_id
        self.nick = nick
        self.has_token = has_token
        self.json = b""
        self.sessions: dict[PersonSession, None] = {}
        self.places: dict[str, int] = {}
        self.leaving: dict[str, float] = {}


class PersonSession:
    """One session of a person.

    Attributes:
        person: The person.
        principal: The broker's session.
        window: The ``x-presence-window`` header. Sessions of one person in different windows
            coexist; a new session in the same window replaces the old one.
    """

    __slots__ = ("person", "principal", "window")

    def __init__(self, person: Person, principal: Principal, window: str = "") -> None:
        self.person = person
        self.principal = principal
        self.window = window


class People:
    """All people, by id, by nick and by what the nick looks like.

    Args:
        new_token: Returns text that cannot be guessed.
        max_nick_chars: The longest allowed nick in characters.
        write_json: Returns a value as JSON.
    """

    __slots__ = (
        "_by_id",
        "_holders",
        "_looks",
        "_max_nick_chars",
        "_new_token",
        "_secret",
        "_write_json",
    )

    def __init__(
        self,
        new_token: Callable[[], str],
        max_nick_chars: int,
        write_json: Callable[[object], bytes],
    ) -> None:
        self._new_token = new_token
        self._secret = new_token().encode()
        self._max_nick_chars = max_nick_chars
        self._write_json = write_json
        self._by_id: dict[str, Person] = {}
        self._holders: dict[str, Person] = {}
        self._looks: dict[str, Person] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def holder(self, nick: str) -> Person | None:
        """Return the person who holds a nick, or None."""
        # Normalising a long text takes time; no nick is longer.
        nick = nick.strip()
        return None if len(nick) > self._max_nick_chars else self._holders.get(nick_key(nick))

    def holders_alike(self, nick: str) -> list[Person]:
        """Return the people who hold a nick, or one that looks the same: two at most."""
        nick = nick.strip()
        if not self._holders or len(nick) > self._max_nick_chars:
            return []
        found = (self._holders.get(nick_key(nick)), self._looks.get(nick_look(nick)))
        return [*dict.fromkeys(person for person in found if person is not None)]

    def by_id(self, person_id: str) -> Person | None:
        """Return the person with a public id, or None."""
        return self._by_id.get(person_id)

    def identify(
        self,
        nick: str,
        token: str,
        login: str,
        *,
        renamed: Callable[[Person, str], None],
        evict: Callable[[Person], None],
    ) -> Person | None:
        """Return the person a connecting client is, which may be a new one.

        Args:
            nick: The ``nick`` header of CONNECT, or "".
            token: The ``x-presence-token`` header, a secret of the client, or "".
            login: The ``login`` header, or "": the nick of a client with a token and no other.
            renamed: Called with a person that takes another nick, and the previous nick.
            evict: Called with a previous holder of the nick, which has to be removed.

        Returns:
            The person, or None for a client without a name.

        Raises:
            NotAllowed: The nick is invalid or in use, or the token is too long.
        """
        if len(token) > _MAX_TOKEN_CHARS:
            raise NotAllowed(
                f"x-presence-token longer than {_MAX_TOKEN_CHARS} characters",
                "It is any text of the client's that cannot be guessed; 32 letters are enough.",
            )
        nick = nick.strip() or (login.strip() if token else "")
        if not nick:
            return None
        nick = clean_nick(nick, self._max_nick_chars)
        secret = ("token", token) if token else ("session", self._new_token())
        person_id = self._id_of(*secret)
        person = self._by_id.get(person_id)
        others = [one for one in self.holders_alike(nick) if one is not person]
        if any(one.has_token or one.sessions for one in others):
            raise NotAllowed(
                "nick in use",
                "Another person has this nick, or one that looks the same; choose a different "
                "one, or send the x-presence-token with which you took it.",
            )
        for one in others:
            evict(one)
        if person is None:
            person = Person(person_id, nick, has_token=bool(token))
            self._add(person)
        elif person.nick != nick:
            before = person.nick
            self._release(person)
            person.nick = nick
            self._add(person)
            renamed(person, before)
        return person

    def remove(self, person: Person) -> None:
        """Remove a person; its nick becomes free."""
        self._by_id.pop(person.id, None)
        self._release(person)

    def _add(self, person: Person) -> None:
        person.json = self._write_json({"id": person.id, "nick": person.nick})
        self._by_id[person.id] = person
        self._holders[nick_key(person.nick)] = person
        self._looks[nick_look(person.nick)] = person

    def _release(self, person: Person) -> None:
        keys = ((self._holders, nick_key(person.nick)), (self._looks, nick_look(person.nick)))
        for names, key in keys:
            if names.get(key) is person:
                del names[key]

    def _id_of(self, kind: str, secret: str) -> str:
        """Return an id that is the same for the same secret and does not reveal it."""
        text = f"{kind} {secret}".encode()
        return hmac.new(self._secret, text, "sha256").hexdigest()[:_ID_LETTERS]
