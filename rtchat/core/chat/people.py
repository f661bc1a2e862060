"""The connected people: identification, nicks, and sessions.

A *person* holds a nick, and has a public id, derived from a secret of the client (the token). With
a nick alone, the person exists only as long as the connection. A login alone makes no person: any
number of clients may use the same. A *person session* is one session of a person.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from rtchat.core.broker.principal import Principal
from rtchat.core.chat.nicknames import clean_nick, nick_key, nick_look
from rtchat.errors import NotAllowed

__all__ = ["Client", "People", "Person", "PersonSession"]

_MAX_TOKEN_CHARS = 128
_ID_LETTERS = 20

_NAMES_AT_ONCE = 20
"""So many names take a millisecond or two if they are no ASCII."""


class Client(NamedTuple):
    """Who connects, as it says itself, and as the server has found out.

    Attributes:
        nick: The ``nick`` header of CONNECT, or "".
        token: The ``x-presence-token`` header, a secret of the client, or "".
        login: The ``login`` header, or "": the nick of a client with a token and no other.
        user: The user's name, "" if it is anonymous.
        wished_nick: The nick that belongs to the user, "" for none besides its name.
    """

    nick: str = ""
    token: str = ""
    login: str = ""
    user: str = ""
    wished_nick: str = ""

    @property
    def own_nick(self) -> str:
        """The nick that is the user's on any session, or ""."""
        return self.wished_nick or self.user


class Person:
    """A person who is connected, or whose grace time is not over.

    Attributes:
        id: The public id; the same for the same token while the server runs.
        nick: The name to display, which no other person has.
        has_token: Whether the person can prove its identity with a token, or as a user.
        user: The name of the user; "" for an anonymous person.
        is_own: Whether the nick is the user's own, and so cannot be taken away.
        json: Id and nick as a JSON object.
        sessions: The person's sessions, in order of their start.
        places: The number of the person's subscriptions to each destination. The destination ""
            stands for the server; its count is that of sessions.
        leaving: The time, by ``Cork.ticks``, at which the grace time of each lost place ends.
    """

    __slots__ = (
        "has_token",
        "id",
        "is_own",
        "json",
        "leaving",
        "nick",
        "places",
        "sessions",
        "user",
    )

    def __init__(self, person_id: str, nick: str, *, has_token: bool, user: str = "") -> None:
        self.id = person_id
        self.user = user
        self.is_own = False
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
        "_owners",
        "_reserved",
        "_reserving",
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
        self._owners: dict[str, str] = {}  # users, by the keys of their nicks
        self._reserved: dict[str, tuple[str, str]] = {}  # these keys, by user
        self._reserving: object = None

    def reserve(self, users: Iterable[str]) -> None:
        """Keep nicks for these users, connected or not; those of the last call are free again.

        Args:
            users: The names of all users that are known.
        """
        for _ in self.reserving(users):
            pass

    def reserving(self, users: Iterable[str]) -> Iterator[None]:
        """Do the same in parts, for names that are many: only those that are new take time.

        A later call takes the place of what is left of an earlier one.
        """
        names = dict.fromkeys(users)
        self._reserving = names
        self._release_owned([user for user in self._reserved if user not in names])
        new = [user for user in names if user not in self._reserved]
        for number, user in enumerate(new):
            if number % _NAMES_AT_ONCE == _NAMES_AT_ONCE - 1:
                yield
                if self._reserving is not names:
                    return
            keys = self._reserved[user] = (nick_key(user), nick_look(user))
            for key in keys:
                self._owners.setdefault(key, user)

    def _release_owned(self, users: Sequence[str]) -> None:
        """Make the nicks of users free, or those of other users who have to do with them."""
        free = set()
        for user in users:
            for key in self._reserved.pop(user):
                if self._owners.get(key) == user:
                    del self._owners[key]
                    free.add(key)
        if free:
            for user, (key, look) in self._reserved.items():
                if key in free:
                    self._owners.setdefault(key, user)
                if look in free:
                    self._owners.setdefault(look, user)

    def owner(self, nick: str) -> str:
        """Return the user to whom a nick belongs, or one that looks the same; "" if it is free."""
        nick = nick.strip()
        if not self._owners or len(nick) > self._max_nick_chars:
            return ""
        return self._owners.get(nick_key(nick)) or self._owners.get(nick_look(nick), "")

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
        client: Client,
        *,
        renamed: Callable[[Person, str], None],
        evict: Callable[[Person], None],
    ) -> Person | None:
        """Return the person a connecting client is, which may be a new one.

        All sessions of a user are of one person. A nick that belongs to a user is taken from a
        holder to whom it does not, and whose sessions end.

        Args:
            client: Who it is.
            renamed: Called with a person that takes another nick, and the previous nick.
            evict: Called with a previous holder of the nick, which has to be removed.

        Returns:
            The person, or None for a client without a name.

        Raises:
            NotAllowed: The nick is invalid or in use, or the token is too long.
        """
        token, user = client.token, client.user
        if len(token) > _MAX_TOKEN_CHARS:
            raise NotAllowed(
                f"x-presence-token longer than {_MAX_TOKEN_CHARS} characters",
                "It is any text of the client's that cannot be guessed; 32 letters are enough.",
            )
        nick = client.nick.strip()
        if not nick and token:
            nick = client.own_nick or client.login.strip()
        if not nick:
            return None
        nick = clean_nick(nick, self._max_nick_chars)
        if user:
            secret = ("user", user)
        else:
            secret = ("token", token) if token else ("session", self._new_token())
        person_id = self._id_of(*secret)
        person = self._by_id.get(person_id)
        self._make_free(nick, client, person, evict)
        if person is None:
            person = Person(person_id, nick, has_token=bool(token or user), user=user)
            self._add(person)
        elif person.nick != nick:
            before = person.nick
            self._release(person)
            person.nick = nick
            self._add(person)
            renamed(person, before)
        person.is_own = _is_own(nick, client)
        return person

    def _make_free(
        self, nick: str, client: Client, person: Person | None, evict: Callable[[Person], None]
    ) -> None:
        """Take a nick from those who hold it for no good reason.

        Raises:
            NotAllowed: It is another person's.
        """
        owner = self.owner(nick)
        is_own = _is_own(nick, client)
        others = [one for one in self.holders_alike(nick) if one is not person]
        is_taken = (owner and owner != client.user) or any(
            one.is_own or ((one.has_token or one.sessions) and not is_own) for one in others
        )
        if is_taken:
            raise _nick_in_use()
        for one in others:
            for session in list(one.sessions):
                session.principal.fail(_nick_in_use())
            evict(one)

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


def _is_own(nick: str, client: Client) -> bool:
    """Return whether a nick belongs to the user who connects."""
    return client.user != "" and nick_key(nick) == nick_key(client.own_nick)


def _nick_in_use() -> NotAllowed:
    return NotAllowed(
        "nick in use",
        "Another person has this nick, or one that looks the same; choose a different "
        "one, or send the x-presence-token with which you took it.",
    )
