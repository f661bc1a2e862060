"""People, their presence and private messages, as a provider of the broker."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rtchat.core.broker.broker import Broker
from rtchat.core.broker.destinations import Glob, is_pattern
from rtchat.core.broker.encoder import passed_on_headers
from rtchat.core.broker.events import BrokerEvents
from rtchat.core.broker.message import Message, ServerMessage
from rtchat.core.broker.principal import Principal
from rtchat.core.broker.provider import DestinationProvider, Refuse, Target
from rtchat.core.broker.subscription import Subscription
from rtchat.core.broker.topic import Topic
from rtchat.core.chat.limits import ChatPolicy
from rtchat.core.chat.people import People, PersonSession
from rtchat.core.chat.presence import PRESENCE, Presence
from rtchat.core.chat.rooms import RoomNames
from rtchat.errors import NotAllowed, ProtocolError

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
"""What the destinations of private messages begin with."""

_PRESENCE_PREFIX = f"{PRESENCE}/"
_TO_NICK = "/queue/private"
_MAX_WINDOW_CHARS = 128


class Json:
    """JSON as the server writes and reads it; core has no library for it.

    Args:
        write: Returns a value as JSON, in UTF-8.
        read: Returns the value of a JSON text as a browser would understand it, None if it is no
            JSON. Raises ``RecursionError`` if only a browser could tell.
    """

    __slots__ = ("read", "write")

    def __init__(self, write: Callable[[object], bytes], read: Callable[[bytes], object]) -> None:
        self.write = write
        self.read = read


class Chat(DestinationProvider, BrokerEvents):
    """People and rooms of one broker.

    It serves ``/presence/…`` and ``/user/…``, and learns from the broker's events who is in which
    room. Its gate (:mod:`rtchat.core.chat.gate`) lets sessions in.

    Args:
        broker: The broker; it asks this provider from now on.
        policy: The rules for people and rooms.
        json: How JSON is written and read.

    Attributes:
        policy: As above.
        people: Who is connected.
        presence: Who is where.
        rooms: Which destinations are rooms.
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
        )
        self.presence.retained_rooms = broker.retained_names
        self._broker = broker
        self._sessions: dict[Principal, PersonSession] = {}
        self._private_topics: dict[PersonSession, Topic] = {}
        self._messages = 0
        broker.add_provider(self)
        broker.events.add(self)

    # Sessions

    def session_of(self, principal: Principal | None) -> PersonSession | None:
        """Return the session of a person, None for a client without a name."""
        return None if principal is None else self._sessions.get(principal)

    def arrive(self, principal: Principal, headers: Mapping[str, str]) -> PersonSession | None:
        """Begin the session of a person; None is a client without a name.

        Args:
            principal: The session that connects.
            headers: Those of CONNECT.

        Raises:
            NotAllowed: The nick cannot be had.
        """
        window = headers.get("x-presence-window", "")
        if len(window) > _MAX_WINDOW_CHARS:
            raise NotAllowed(
                f"x-presence-window longer than {_MAX_WINDOW_CHARS} characters",
                "It tells the windows of one person apart; a number is enough.",
            )
        person = self.people.arrive(
            headers.get("nick", ""),
            headers.get("x-presence-token", ""),
            principal.login,
            renamed=self.presence.rename,
            evict=self.presence.remove,
        )
        if person is None:
            return None
        older = [one for one in person.sessions if one.window == window and person.holds_nick]
        session = self._sessions[principal] = PersonSession(person, principal, window)
        person.sessions[session] = None
        self.presence.connect(person)
        for old in older:
            old.principal.replace()
        return session

    def depart(self, principal: Principal, now: float) -> None:
        """End the session of a person; its subscriptions have ended already."""
        session = self._sessions.pop(principal, None)
        if session is not None:
            del session.person.sessions[session]
            self.presence.disconnect(session.person, now if principal.is_lost else None)

    # Subscriptions

    def subscribe(
        self, subscription: Subscription, max_backlog_bytes: int, refuse: Refuse
    ) -> Mapping[str, str]:
        """Tell a subscription of presence, or deliver private messages to it.

        Raises:
            ProtocolError: The destination is neither.
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

    def unsubscribe(self, subscription: Subscription) -> None:
        """Deliver nothing further."""
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
        """How many subscriptions to presence and private messages there are."""
        private = sum(map(len, self._private_topics.values()))
        return self.presence.subscription_count + private

    def expire(self, now: float) -> None:
        """Let people leave whose grace time is over."""
        self.presence.expire(now)

    # Events

    def subscribed(self, subscription: Subscription) -> None:
        """A person is where it has a subscription."""
        session = self.session_of(subscription.principal)
        if session is not None and self._is_somewhere(subscription):
            self.presence.enter(session.person, subscription.destination)

    def unsubscribed(self, subscription: Subscription) -> None:
        """A person may be back in a moment if its connection was lost."""
        session = self.session_of(subscription.principal)
        if session is not None and self._is_somewhere(subscription):
            is_lost = session.principal.is_lost
            now = self._broker.cork.now if is_lost else None
            self.presence.leave(session.person, subscription.destination, now)

    def retention_changed(self, destination: str) -> None:
        """A room with kept messages is listed although nobody is there."""
        self.presence.note_retained_room(destination)

    # What is sent

    def target(self, name: str) -> Target:
        """Return where private messages to this name go.

        Raises:
            NotAllowed: It is a presence destination.
        """
        if name.startswith(_PRESENCE_PREFIX):
            raise not_to_be_sent_to()
        return _PrivateTarget(name, self)

    def send_private(self, message: Message, sender: Principal | None) -> None:
        """Deliver a private message to its receiver, or back to its sender.

        Raises:
            NotAllowed: There is no such person, and the sender is subscribed to no private
                messages.
        """
        session = require_name(self.session_of(sender))
        person = session.person
        receiver = self.people.called(receiver_of(message.destination))
        headers = {**passed_on_headers(message), "x-sender": person.nick, "x-sender-id": person.id}
        sessions = () if receiver is None else receiver.sessions
        topics = [self._private_topics[one] for one in sessions if one in self._private_topics]
        if not topics:
            own = self._private_topics.get(session)
            if own is None:
                raise NotAllowed(
                    "nobody is called so",
                    f"A subscription to {PRIVATE} gets back what cannot be delivered.",
                )
            topics, headers["x-undelivered"] = [own], "true"
        private = ServerMessage(self._new_id(), PRIVATE, headers, message.body)
        for topic in topics:
            topic.publish(private)

    # Small helpers

    def _is_somewhere(self, subscription: Subscription) -> bool:
        """Return whether a subscription is to one destination, and not to presence itself."""
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

    def __init__(self, name: str, chat: Chat) -> None:
        self.name = name
        self.storage = None
        self._chat = chat

    def put(self, message: Message, sender: Principal | None) -> None:
        """Deliver to the person who is called so now."""
        self._chat.send_private(message, sender)


def receiver_of(destination: str) -> str:
    """Return the nick that a private message is for.

    Raises:
        ProtocolError: The destination names none.
    """
    nick = destination[len(PRIVATE_PREFIX) : -len(_TO_NICK)]
    if not destination.endswith(_TO_NICK) or not nick.strip():
        raise ProtocolError(
            "no such user destination", "A private message goes to /user/NICK/queue/private."
        )
    return nick


def require_name(session: PersonSession | None) -> PersonSession:
    """Return the session of a person.

    Raises:
        NotAllowed: The client has no name.
    """
    if session is None:
        raise NotAllowed(
            "private messages need a nick", "Send the header nick with CONNECT, or a login."
        )
    return session


def not_to_be_sent_to() -> NotAllowed:
    """Return the error for a SEND to what only the server sends to."""
    return NotAllowed(
        "nobody can send there",
        "Only the server sends to /presence/…; and a private message has one destination, "
        "/user/NICK/queue/private.",
    )
