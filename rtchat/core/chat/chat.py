"""The provider of presence and private messages."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rtchat.core.broker.broker import Broker
from rtchat.core.broker.destinations import Glob
from rtchat.core.broker.encoder import passed_on_headers
from rtchat.core.broker.events import BrokerEvents
from rtchat.core.broker.message import SENDER_ID, USER, Message, ServerMessage, sender_line
from rtchat.core.broker.patterns import is_pattern
from rtchat.core.broker.principal import Principal
from rtchat.core.broker.provider import DestinationProvider, Refuse, Target
from rtchat.core.broker.subscription import Subscription
from rtchat.core.broker.topic import Topic
from rtchat.core.chat.limits import ChatPolicy
from rtchat.core.chat.people import Client, People, Person, PersonSession
from rtchat.core.chat.presence import PRESENCE, Presence
from rtchat.core.chat.rooms import RoomNames
from rtchat.errors import NoRight, NotAllowed, ProtocolError

__all__ = [
    "PRIVATE",
    "PRIVATE_PREFIX",
    "Chat",
    "Json",
    "not_to_be_sent_to",
    "receiver_of",
    "require_name",
]

PRIVATE = "/user/queue/private"
"""The destination to subscribe to for private messages."""

PRIVATE_PREFIX = "/user/"
"""The prefix of the destinations of private messages."""

_PRESENCE_PREFIX = f"{PRESENCE}/"
_TO_NICK = "/queue/private"
_MAX_WINDOW_CHARS = 128
_RECEIVER_ID = "x-receiver-id"
_WANTS_COPY = "x-copy"


class Json:
    """A JSON encoder and decoder. They are injected, because core imports no JSON library.

    Args:
        write: Returns a value as JSON, in UTF-8.
        read: Returns the value of a JSON text as a browser would parse it, or None if it is not
            JSON. Raises ``RecursionError`` if the text is nested too deeply to parse.
    """

    __slots__ = ("read", "write")

    def __init__(self, write: Callable[[object], bytes], read: Callable[[bytes], object]) -> None:
        self.write = write
        self.read = read


class Chat(DestinationProvider, BrokerEvents):
    """The people and rooms of one broker.

    Serves the destinations ``/presence/…`` and ``/user/…``, and listens to the broker's events to
    track who is in which room. Sessions pass its gate, :mod:`rtchat.core.chat.gate`.

    Args:
        broker: The broker. The constructor adds the provider and the listener to it.
        policy: The rules for people and rooms.
        json: The JSON encoder and decoder.

    Attributes:
        policy: As above.
        people: The connected people.
        presence: The occupancy of destinations.
        rooms: The names of rooms.
        sender_lines: The header line with the person's id, by session; messages to rooms get it.
    """

    namespaces = (PRIVATE_PREFIX,)
    takes_patterns = True

    def __init__(self, broker: Broker, policy: ChatPolicy, json: Json) -> None:
        self.claims = Glob((f"{_PRESENCE_PREFIX}*", f"{PRIVATE_PREFIX}*"))
        self.policy = policy
        self.people = People(broker.new_token, policy.max_nick_chars, json.write)
        self.rooms = RoomNames(policy.rooms)
        self.presence = Presence(
            self.rooms,
            policy.grace_s,
            json.write,
            self._new_id,
            broker.new_topic,
            self.people.remove,
            broker.account,
            broker.cork,
        )
        self.presence.rooms.retained = broker.retained_names
        self.presence.is_memory_short = lambda: broker.budget.is_near
        self._broker = broker
        self.sender_lines: dict[Principal | None, bytes] = {}
        self._sessions: dict[Principal, PersonSession] = {}
        self._private_topics: dict[PersonSession, Topic] = {}
        self._messages = 0
        broker.add_provider(self)
        broker.events.add(self)

    # Sessions

    def session_of(self, principal: Principal | None) -> PersonSession | None:
        """Return the person session of a principal, or None for a client without a name."""
        return None if principal is None else self._sessions.get(principal)

    def open_session(
        self, principal: Principal, headers: Mapping[str, str]
    ) -> PersonSession | None:
        """Identify the person that connects, and open a session of that person.

        An older session of the same person with the same window is replaced.

        Args:
            principal: The session that connects.
            headers: The headers of CONNECT.

        Returns:
            The person session, or None for a client without a name.

        Raises:
            NotAllowed: The nick is invalid or in use, or a header is too long.
        """
        window = headers.get("x-presence-window", "")
        if len(window) > _MAX_WINDOW_CHARS:
            raise NotAllowed(
                f"x-presence-window longer than {_MAX_WINDOW_CHARS} characters",
                "It tells the windows of one person apart; a number is enough.",
            )
        person = self.people.identify(
            Client(
                headers.get("nick", ""),
                headers.get("x-presence-token", ""),
                principal.login,
                principal.user,
                principal.wished_nick,
            ),
            renamed=self.presence.rename,
            evict=self.presence.remove,
        )
        if person is None:
            return None
        older = [one for one in person.sessions if one.window == window]
        session = self._sessions[principal] = PersonSession(person, principal, window)
        self.sender_lines[principal] = sender_line(person.id)
        person.sessions[session] = None
        self.presence.connect(person)
        for old in older:
            old.principal.replace()
        return session

    @property
    def ticks(self) -> float:
        """The time at which the turn began, by a clock that is never set."""
        return self._broker.cork.ticks

    def close_session(self, principal: Principal) -> None:
        """Close the session of a person, if any; its subscriptions have ended already.

        A lost session keeps its presence for the grace time.

        Args:
            principal: The session.
        """
        session = self._sessions.pop(principal, None)
        if session is not None:
            del self.sender_lines[principal]
            del session.person.sessions[session]
            self.presence.disconnect(session.person, self.ticks if principal.is_lost else None)

    # Subscriptions

    def subscribe(
        self, subscription: Subscription, max_backlog_bytes: int, refuse: Refuse
    ) -> Mapping[str, str]:
        """Deliver presence events or private messages to a subscription.

        Raises:
            ProtocolError: The destination stands for neither.
        """
        name = subscription.destination
        if name.startswith(_PRESENCE_PREFIX):
            destination = name.removeprefix(PRESENCE)
            if destination == "/" or is_pattern(destination):
                raise ProtocolError(
                    "presence needs one destination",
                    "Subscribe to /presence and the whole name, such as /presence/topic/chat, "
                    "or to /presence/rooms.",
                )
            self.presence.subscribe(subscription, destination, max_backlog_bytes)
        else:
            self._open_private(subscription, max_backlog_bytes)
        return {}

    def begin(self, subscription: Subscription) -> None:
        """Send the current list to a subscription to presence."""
        name = subscription.destination
        if name.startswith(_PRESENCE_PREFIX):
            self.presence.begin(subscription, name.removeprefix(PRESENCE))

    def unsubscribe(self, subscription: Subscription) -> None:
        """Stop delivering to a subscription."""
        name = subscription.destination
        if name.startswith(_PRESENCE_PREFIX):
            self.presence.unsubscribe(subscription, name.removeprefix(PRESENCE))
            return
        session = self.session_of(subscription.principal)
        assert session is not None  # no other client could subscribe
        self._private_topics[session].remove(subscription)
        if not len(self._private_topics[session]):
            del self._private_topics[session]

    @property
    def subscription_count(self) -> int:
        """The number of subscriptions to presence and private messages."""
        private = sum(map(len, self._private_topics.values()))
        return self.presence.subscription_count + private

    def expire(self, now: float) -> None:
        """Remove people whose grace time is over, and publish changes of rooms."""
        self.presence.expire()

    # Events

    def subscribed(self, subscription: Subscription) -> None:
        """Count a subscription of a person as presence at its destination."""
        session = self.session_of(subscription.principal)
        if session is not None and self._has_occupancy(subscription):
            self.presence.enter(session.person, subscription.destination)

    def unsubscribed(self, subscription: Subscription) -> None:
        """End presence at a destination, after the grace time if the connection was lost."""
        session = self.session_of(subscription.principal)
        if session is not None and self._has_occupancy(subscription):
            is_lost = session.principal.is_lost
            now = self.ticks if is_lost else None
            self.presence.leave(session.person, subscription.destination, now)

    def retention_changed(self, destination: str) -> None:
        """Update the room list after a stored room appeared or was emptied."""
        self.presence.rooms.retention_changed(destination)

    def rights_changed(self, principal: Principal) -> None:
        """Send a session the list of the rooms that it may read now."""
        self.presence.rooms.rights_changed(principal)

    # Private messages

    def target(self, name: str) -> Target:
        """Return the target of private messages to this name.

        Raises:
            NotAllowed: It is a presence destination.
        """
        if name.startswith(_PRESENCE_PREFIX):
            raise not_to_be_sent_to()
        return _PrivateTarget(name, self)

    def send_private(self, message: Message, sender: Principal | None) -> None:
        """Deliver a private message to its receiver, or else return it to its sender.

        Every session of the receiver that is subscribed to :data:`PRIVATE` receives it, unless it
        has expired; with ``x-copy:true`` those of the sender do, too. With ``x-receiver-id`` the
        receiver is the person with this id, whatever the nick is now.

        Raises:
            NotAllowed: The sender has no name; or there is no such receiver, and the sender is
                not subscribed to :data:`PRIVATE` either.
            NoRight: The sender may not write to the person with this id.
        """
        session = require_name(self.session_of(sender))
        person = session.person
        given = message.frame.headers
        if _RECEIVER_ID in given:
            receiver = self.people.by_id(given[_RECEIVER_ID])
            _check_right(sender, receiver, message.destination)
        else:
            receiver = self.people.holder(receiver_of(message.destination))
        headers = {
            **passed_on_headers(message),
            "x-sender": person.nick,
            SENDER_ID: person.id,
            "timestamp": str(int(self._broker.cork.now * 1000)),
        }
        if sender is not None and sender.user:
            headers[USER] = sender.user
        topics = self._private_topics_of(receiver)
        if not topics:
            own = self._private_topics.get(session)
            if own is None:
                raise NotAllowed(
                    "nobody is called so",
                    f"A subscription to {PRIVATE} gets back what cannot be delivered.",
                )
            topics, headers["x-undelivered"] = [own], "true"
        if message.is_expired(self._broker.cork.now):
            return
        private = ServerMessage(self._new_id(), PRIVATE, headers, message.body)
        for topic in topics:
            topic.publish_one_of_many(private)
        if receiver is None or receiver is person or "x-undelivered" in headers:
            return
        if given.get(_WANTS_COPY) == "true":
            self._publish_copies(person, receiver, headers, message.body)

    def _publish_copies(
        self, sender: Person, receiver: Person, headers: Mapping[str, str], body: bytes
    ) -> None:
        """Send a copy to the sender's sessions, with the receiver's id and present nick."""
        told = {**headers, "x-receiver": receiver.nick, _RECEIVER_ID: receiver.id}
        copy = ServerMessage(self._new_id(), PRIVATE, told, body)
        for topic in self._private_topics_of(sender):
            topic.publish_one_of_many(copy)

    # Small helpers

    def _private_topics_of(self, person: Person | None) -> list[Topic]:
        sessions = () if person is None else person.sessions
        return [self._private_topics[one] for one in sessions if one in self._private_topics]

    def _has_occupancy(self, subscription: Subscription) -> bool:
        """Return whether presence at the destination is tracked: it is no pattern, nor ours."""
        name = subscription.destination
        return self.claims.matches(name) is None and not is_pattern(name)

    def _open_private(self, subscription: Subscription, max_bytes: int) -> None:
        if subscription.destination != PRIVATE:
            raise ProtocolError(
                "no such user destination",
                f"Subscribe to {PRIVATE}; send to /user/NICK/queue/private.",
            )
        session = require_name(self.session_of(subscription.principal))
        topic = self._private_topics.get(session)
        if topic is None:
            topic = self._private_topics[session] = self._broker.new_topic(PRIVATE, max_bytes)
        topic.add(subscription)

    def _new_id(self) -> str:
        self._messages += 1
        return f"{self._broker.epoch}-p{self._messages}"


class _PrivateTarget(Target):
    """The destination of private messages to one nick."""

    __slots__ = ("_chat",)

    drops_expired = True  # the sender learns of an unknown receiver also if it has

    def __init__(self, name: str, chat: Chat) -> None:
        self.name = name
        self.storage = None
        self._chat = chat

    def put(self, message: Message, sender: Principal | None) -> None:
        """Deliver to the person who has the nick now."""
        self._chat.send_private(message, sender)


def receiver_of(destination: str) -> str:
    """Return the receiver's nick, from the destination of a private message.

    Raises:
        ProtocolError: The destination has not the form ``/user/NICK/queue/private``.
    """
    nick = destination[len(PRIVATE_PREFIX) : -len(_TO_NICK)]
    if not destination.endswith(_TO_NICK) or not nick.strip():
        raise ProtocolError(
            "no such user destination", "A private message goes to /user/NICK/queue/private."
        )
    return nick


def require_name(session: PersonSession | None) -> PersonSession:
    """Return the session if it is that of a person.

    Raises:
        NotAllowed: The session is None: the client has no name.
    """
    if session is None:
        raise NotAllowed(
            "private messages need a nick", "Send the header nick with CONNECT, or a login."
        )
    return session


def _check_right(sender: Principal | None, receiver: Person | None, destination: str) -> None:
    """Check that the sender may write to a receiver whom an id names, not the destination.

    Raises:
        NoRight: It may not; whose id it is does not show.
    """
    rights = None if sender is None else sender.rights
    if rights is None or receiver is None:
        return
    if not rights.may_write(f"{PRIVATE_PREFIX}{receiver.nick}{_TO_NICK}"):
        raise NoRight("write", destination)


def not_to_be_sent_to() -> NotAllowed:
    """Return the error for a SEND to a destination that only the server sends to."""
    return NotAllowed(
        "nobody can send there",
        "Only the server sends to /presence/…; and a private message has one destination, "
        "/user/NICK/queue/private.",
    )
