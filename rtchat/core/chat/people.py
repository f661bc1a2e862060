"""The connected people: identification, nicks, and sessions.

A *person* has a public id, derived from a secret of the client (the token) or from its login. With
a nick alone, the person exists only as long as the connection. A *person session* is one session of
a person.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable

from rtchat.core.broker.principal import Principal
from rtchat.core.chat.nicknames import clean_nick, nick_key
from rtchat.errors import NotAllowed

__all__ = ["People", "Person", "PersonSession"]

_MAX_TOKEN_CHARS = 128
_ID_LETTERS = 20


class Person:
    """A person who is connected, or whose grace time is not over.

    Attributes:
        id: The public id; the same for the same token or login while the server runs.
        nick: The name to display.
        holds_nick: Whether the nick is reserved for this person. A login alone reserves none.
        has_token: Whether the person can prove its identity with a token.
        json: Id and nick as a JSON object.
        sessions: The person's sessions, in order of their start.
        places: The number of the person's subscriptions to each destination. The destination ""
            stands for the server; its count is that of sessions.
        leaving: The time, in seconds since 1970, at which the grace time of each lost place ends.
    """

    __slots__ = ("has_token", "holds_nick", "id", "json", "leaving", "nick", "places", "sessions")

    def __init__(self, person_id: str, nick: str, *, holds_nick: bool, has_token: bool) -> None:
        self.id = person_id
        self.nick = nick
        self.holds_nick = holds_nick
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
    """All people, by id, nick and login.

    Args:
        new_token: Returns text that cannot be guessed.
        max_nick_chars: The longest allowed nick in characters.
        write_json: Returns a value as JSON.
    """

    __slots__ = (
        "_by_id",
        "_holders",
        "_logins",
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
        self._logins: dict[str, Person] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def holder(self, nick: str) -> Person | None:
        """Return the person for whom a nick is reserved, or None."""
        return self._holders.get(nick_key(nick))

    def by_id(self, person_id: str) -> Person | None:
        """Return the person with a public id, or None."""
        return self._by_id.get(person_id)

    def by_nick(self, nick: str) -> Person | None:
        """Return the holder of a nick, or else the person with such a login, or None."""
        key = nick_key(nick)
        return self._holders.get(key) or self._logins.get(key)

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
            login: The ``login`` header, or "".
            renamed: Called with a person that takes another nick, and the previous nick.
            evict: Called with the nick's previous holder, which has to be removed.

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
            return self._with_login(login)
        nick = clean_nick(nick, self._max_nick_chars)
        holder = self.holder(nick)
        if token:
            person_id = self._id_of("token", token)
            person = self._by_id.get(person_id)
        else:
            person_id = self._id_of("session", self._new_token())
            # A holder with neither token nor sessions: take the client for that person.
            is_free = holder is not None and not (holder.has_token or holder.sessions)
            person = holder if is_free else None
        if holder is not None and holder is not person:
            if holder.has_token or holder.sessions:
                raise NotAllowed(
                    "nick in use",
                    "Another person has this nick; choose a different one, or send the "
                    "x-presence-token with which you took it.",
                )
            evict(holder)
        if person is None:
            person = Person(person_id, nick, holds_nick=True, has_token=bool(token))
            self._add(person, self._holders)
        elif person.nick != nick:
            before = person.nick
            del self._holders[nick_key(before)]
            person.nick = nick
            self._add(person, self._holders)
            renamed(person, before)
        return person

    def remove(self, person: Person) -> None:
        """Remove a person; its nick becomes free."""
        self._by_id.pop(person.id, None)
        names = self._holders if person.holds_nick else self._logins
        key = nick_key(person.nick)
        if names.get(key) is person:
            del names[key]

    def _with_login(self, login: str) -> Person | None:
        """Return the person with this login, which all sessions with the login share.

        A client without a nick is never refused: if its login is not a valid nick, the client has
        no name, and the result is None.
        """
        try:
            nick = clean_nick(login, self._max_nick_chars)
        except NotAllowed:
            return None
        key = nick_key(nick)
        person = self._logins.get(key)
        if person is None:
            person_id = self._id_of("login", key)
            person = Person(person_id, nick, holds_nick=False, has_token=False)
            self._add(person, self._logins)
        return person

    def _add(self, person: Person, names: dict[str, Person]) -> None:
        person.json = self._write_json({"id": person.id, "nick": person.nick})
        self._by_id[person.id] = person
        names[nick_key(person.nick)] = person

    def _id_of(self, kind: str, secret: str) -> str:
        """Return an id that is the same for the same secret and does not reveal it."""
        text = f"{kind} {secret}".encode()
        return hmac.new(self._secret, text, "sha256").hexdigest()[:_ID_LETTERS]
