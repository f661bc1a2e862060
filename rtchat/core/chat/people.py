"""Who is connected, under which nick, and how a client proves to be the same again.

A *person* is known by an id that everybody may see. Behind it is a secret of the client's (the
token), or its login; a nick alone is a person for as long as its connection lasts. A *visit* is
one session of a person.
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
    """Somebody who is here, or was until a moment ago.

    Attributes:
        id: Public, and the same whenever the same token or login comes.
        nick: What to show.
        holds_nick: Whether nobody else may have that nick. A login alone holds nothing.
        has_token: Whether it can prove to be the same.
        json: Id and nick, ready to be sent.
        sessions: Its sessions, in order of arrival.
        places: How many subscriptions it has to each destination.
        leaving: When it will be said to have left a destination; "" is the whole server.
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
        person: Whose.
        principal: The session as the broker knows it.
        window: Which of the person's windows it is; another one may be there at the same time.
    """

    __slots__ = ("person", "principal", "window")

    def __init__(self, person: Person, principal: Principal, window: str = "") -> None:
        self.person = person
        self.principal = principal
        self.window = window


class People:
    """Everybody who is here.

    Args:
        new_token: Gives text that nobody can guess.
        max_nick_chars: How long a nick may be.
        write_json: Gives a value as JSON.
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
        """Give who alone may be called so now."""
        return self._holders.get(nick_key(nick))

    def called(self, nick: str) -> Person | None:
        """Give who is meant by a nick: its holder, or else whoever has such a login."""
        key = nick_key(nick)
        return self._holders.get(key) or self._logins.get(key)

    def arrive(
        self,
        nick: str,
        token: str,
        login: str,
        *,
        renamed: Callable[[Person, str], None],
        evict: Callable[[Person], None],
    ) -> Person | None:
        """Tell who comes; None is somebody without a name.

        Args:
            nick: What it wants to be called, or "".
            token: Its secret, or "".
            login: Its login, or "".
            renamed: Called if a known person has another nick now, with the one before.
            evict: Called with somebody whose nick this is now; it has to be removed.

        Raises:
            NotAllowed: Nobody can be called so, or somebody else is.
        """
        if len(token) > _MAX_TOKEN_CHARS:
            raise NotAllowed(
                f"x-presence-token longer than {_MAX_TOKEN_CHARS} characters",
                "It is any text of the client's that nobody can guess; 32 letters are enough.",
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
            # Without a token nobody is sure who comes back; but there is nobody else, either.
            is_free = holder is not None and not (holder.has_token or holder.sessions)
            person = holder if is_free else None
        if holder is not None and holder is not person:
            if holder.has_token or holder.sessions:
                raise NotAllowed(
                    "nick in use",
                    "Somebody else has this nick; choose another, or send the x-presence-token "
                    "with which you took it.",
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
        """Forget somebody; the nick is free."""
        self._by_id.pop(person.id, None)
        names = self._holders if person.holds_nick else self._logins
        key = nick_key(person.nick)
        if names.get(key) is person:
            del names[key]

    def _with_login(self, login: str) -> Person | None:
        """Give the one who has this login, however many sessions have it.

        A client that knows nothing of nicks is never refused: with a login that cannot be shown
        it has no name.
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
        """Give an id that is always the same for a secret, and from which nobody learns it."""
        text = f"{kind} {secret}".encode()
        return hmac.new(self._secret, text, "sha256").hexdigest()[:_ID_LETTERS]
