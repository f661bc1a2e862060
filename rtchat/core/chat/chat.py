"""What a chat has beside topics: people, their presence, private messages, rules of rooms."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum, auto

from rtchat.core.broker.destinations import is_pattern, split_composite
from rtchat.core.broker.message import Message, ServerMessage
from rtchat.core.broker.subscription import Subscription
from rtchat.core.broker.topic import Topic
from rtchat.core.chat.limits import ChatPolicy
from rtchat.core.chat.people import People, Visit
from rtchat.core.chat.presence import PRESENCE, Presence
from rtchat.core.chat.rooms import RoomNames
from rtchat.core.flow.token_bucket import TokenBucket
from rtchat.core.stomp.frames import Frame
from rtchat.errors import LimitExceeded, NotAllowed, ProtocolError

__all__ = ["PRIVATE", "Chat", "Json", "Rule"]

PRIVATE = "/user/queue/private"
"""What to subscribe to for private messages."""

_PRESENCE = f"{PRESENCE}/"
_USER = "/user/"
_TO_NICK = "/queue/private"
_MAX_WINDOW_CHARS = 128
_WHITE_SPACE = b"\xef\xbb\xbf \t\r\n"


class Rule(Enum):
    """What a SEND to a destination has to pass."""

    FREE = auto()
    ROOM = auto()
    PRIVATE = auto()
    FORBIDDEN = auto()

    # Rules are asked for on the way of every message; an enum's own hash is a Python function.
    __hash__ = object.__hash__


class Json:
    """JSON as the server writes and reads it; core has no library for it.

    Args:
        write: Gives a value as JSON, in UTF-8.
        read: Gives the value of a JSON text as a browser would understand it, None if it is no
            JSON. Raises ``RecursionError`` if only a browser could tell.
    """

    __slots__ = ("read", "write")

    def __init__(self, write: Callable[[object], bytes], read: Callable[[bytes], object]) -> None:
        self.write = write
        self.read = read


class Chat:
    """People and rooms of one broker.

    Args:
        policy: What holds.
        json: How JSON is written and read.
        epoch: Text that no earlier run of the server used; it begins message ids.
        new_token: Gives text that nobody can guess.
        new_topic: Makes the fan-out for a name, with a limit in bytes for those served one by one.

    Attributes:
        policy: What holds.
        people: Who is connected.
        presence: Who is where.
    """

    __slots__ = (
        "_epoch",
        "_json",
        "_letters",
        "_messages",
        "_new_topic",
        "_rooms",
        "people",
        "policy",
        "presence",
    )

    def __init__(
        self,
        policy: ChatPolicy,
        json: Json,
        epoch: str,
        new_token: Callable[[], str],
        new_topic: Callable[[str, int], Topic],
    ) -> None:
        self.policy = policy
        self.people = People(new_token, policy.max_nick_chars, json.write)
        self._rooms = RoomNames(policy.rooms)
        self._json = json
        self._epoch = epoch
        self._letters: dict[Visit, Topic] = {}
        self._messages = 0
        self._new_topic = new_topic
        self.presence = Presence(
            self._rooms,
            policy.grace_s,
            json.write,
            self._new_id,
            new_topic,
            self.people.remove,
        )

    # Sessions

    def arrive(
        self, headers: Mapping[str, str], login: str, replace: Callable[[], None]
    ) -> Visit | None:
        """Begin the visit of whoever connects; None is somebody without a name.

        Args:
            headers: Those of CONNECT.
            login: The login.
            replace: Ends the session when a newer one of the same window of the person comes.

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
            login,
            renamed=self.presence.rename,
            pushed_out=self.presence.remove,
        )
        if person is None:
            return None
        older = [one for one in person.visits if one.window == window and person.holds_nick]
        visit = Visit(person, replace, window)
        person.visits[visit] = None
        self.presence.connect(person)
        for old in older:
            old.replace()
        return visit

    def depart(self, visit: Visit, now: float) -> None:
        """End a visit; the session's subscriptions have ended already."""
        del visit.person.visits[visit]
        self.presence.disconnect(visit.person, now if visit.is_lost else None)

    def new_bucket(self, now: float) -> TokenBucket | None:
        """Give a session what it has to take a token from for every SEND, if there is a rate."""
        per_second = self.policy.messages_per_second
        return TokenBucket(per_second, self.policy.burst, now) if per_second else None

    # Subscriptions

    def subscribe(self, subscription: Subscription, max_bytes: int) -> bool:
        """Take a subscription to presence or private messages; tell whether it is one.

        Raises:
            ProtocolError: Nobody can subscribe to this.
        """
        name = subscription.destination
        if name.startswith(_PRESENCE):
            destination = name.removeprefix(PRESENCE)
            if destination == "/" or is_pattern(destination):
                raise ProtocolError(
                    "presence needs one destination",
                    "Subscribe to /presence and the whole name, such as /presence/topic/chat, "
                    "or to /presence/rooms.",
                )
            self.presence.subscribe(subscription, destination, max_bytes)
            return True
        if name.startswith(_USER):
            self._open_letters(subscription, max_bytes)
            return True
        return False

    def entered(self, subscription: Subscription) -> None:
        """Take note of a subscription to anything else."""
        visit = subscription.visit
        if visit is not None and not is_pattern(subscription.destination):
            self.presence.enter(visit.person, subscription.destination)

    def detach(self, subscription: Subscription, now: float) -> bool:
        """End a subscription to presence or private messages; tell whether it was one."""
        name = subscription.destination
        visit = subscription.visit
        if name.startswith(_PRESENCE):
            self.presence.unsubscribe(subscription, name.removeprefix(PRESENCE))
            return True
        if name.startswith(_USER):
            assert visit is not None  # nobody else could subscribe
            self._letters[visit].remove(subscription)
            if not len(self._letters[visit]):
                del self._letters[visit]
            return True
        if visit is not None and not is_pattern(name):
            self.presence.leave(visit.person, name, now if visit.is_lost else None)
        return False

    @property
    def subscription_count(self) -> int:
        """How many subscriptions of its own it has."""
        return self.presence.subscription_count + sum(map(len, self._letters.values()))

    def expire(self, now: float) -> None:
        """Let those leave whose time is over; call it once a second."""
        self.presence.expire(now)

    # What is sent

    def rule_of(self, destination: str) -> Rule:
        """Tell what a SEND to a destination, or several with commas between, has to pass.

        Raises:
            ProtocolError: One of them is empty.
        """
        if destination.startswith(_USER):
            return Rule.PRIVATE
        names = split_composite(destination) if "," in destination else [destination]
        if any(name.startswith((_PRESENCE, _USER)) for name in names):
            return Rule.FORBIDDEN
        return Rule.ROOM if any(name in self._rooms for name in names) else Rule.FREE

    def check(self, rule: Rule, visit: Visit | None, frame: Frame) -> None:
        """Refuse a SEND that a room does not take.

        Raises:
            ProtocolError: It is too long, or not the sender's, or nobody may send there.
        """
        if rule is Rule.FORBIDDEN:
            raise NotAllowed(
                "nobody can send there",
                "Only the server sends to /presence/…; and a private message has one destination, "
                "/user/NICK/queue/private.",
            )
        policy, body = self.policy, frame.body
        start = body[:64].lstrip(_WHITE_SPACE)[:1]
        is_object = start == b"{" or (not start and len(body) > 64)
        is_long = 0 < policy.max_text_chars < len(body)
        if not (is_long or (is_object and policy.nick_must_match)):
            return
        try:
            value = self._json.read(body) if is_object else None
        except RecursionError:
            raise NotAllowed(
                "JSON nested too deeply", "A message to a room has no use for that."
            ) from None
        nick = text = None
        if isinstance(value, dict):
            nick, text = value.get("nick"), value.get("text")
        is_program = visit is None or not visit.person.holds_nick
        if is_long and (isinstance(text, str) or policy.limits_programs or not is_program):
            if not isinstance(text, str):
                text = body.decode("utf-8", "replace")
            if len(text) > policy.max_text_chars:
                raise LimitExceeded(
                    f"text longer than {policy.max_text_chars} characters",
                    "The limit is text.max_characters of the server.",
                )
        if isinstance(nick, str) and policy.nick_must_match:
            self._check_nick(nick.strip(), visit)

    def send_private(self, visit: Visit | None, frame: Frame, reply_to: str, now: float) -> None:
        """Hand a private message to whom it is for, or back to its sender.

        Raises:
            ProtocolError: Nobody is called so, and the sender cannot be told in another way.
        """
        sender = _named(visit).person
        receiver = self.people.called(_receiver_of(frame))
        message = Message("", PRIVATE, frame, reply_to)
        headers = {**message.headers(), "x-sender": sender.nick, "x-sender-id": sender.id}
        visits = () if receiver is None else receiver.visits
        letters = [self._letters[each] for each in visits if each in self._letters]
        if not letters:
            own = self._letters.get(_named(visit))
            if own is None:
                raise NotAllowed(
                    "nobody is called so",
                    f"A subscription to {PRIVATE} gets back what cannot be delivered.",
                )
            letters, headers["x-undelivered"] = [own], "true"
        letter = ServerMessage(self._new_id(), PRIVATE, headers, frame.body)
        if not letter.is_expired(now):
            for topic in letters:
                topic.publish(letter)

    def check_private(self, visit: Visit | None, frame: Frame) -> None:
        """Refuse a private message that :meth:`send_private` would refuse whoever is here.

        Raises:
            ProtocolError: The sender has no name, or the destination has none.
        """
        _named(visit)
        _receiver_of(frame)

    # Small helpers

    def _check_nick(self, nick: str, visit: Visit | None) -> None:
        person = None if visit is None else visit.person
        if person is not None and person.holds_nick:
            is_own = nick == person.nick
        else:
            # Whoever knows nothing of nicks may write any that is free.
            is_own = self.people.holder(nick) is None
        if not is_own:
            raise NotAllowed(
                "not your nick",
                "The message says it is from somebody else. The nick in it has to be the one in "
                "your CONNECT; the setting is nick.must_match of the server.",
            )

    def _open_letters(self, subscription: Subscription, max_bytes: int) -> None:
        if subscription.destination != PRIVATE:
            raise ProtocolError(
                "no such user destination",
                f"Subscribe to {PRIVATE}; send to /user/NICK/queue/private.",
            )
        visit = _named(subscription.visit)
        topic = self._letters.get(visit)
        if topic is None:
            topic = self._letters[visit] = self._new_topic(PRIVATE, max_bytes)
        topic.add(subscription)

    def _new_id(self) -> str:
        self._messages += 1
        return f"{self._epoch}-p{self._messages}"


def _receiver_of(frame: Frame) -> str:
    """Give the nick a private message is for.

    Raises:
        ProtocolError: The destination names none.
    """
    destination = frame.headers["destination"]
    nick = destination[len(_USER) : -len(_TO_NICK)]
    if not destination.endswith(_TO_NICK) or not nick.strip():
        raise ProtocolError(
            "no such user destination", "A private message goes to /user/NICK/queue/private."
        )
    return nick


def _named(visit: Visit | None) -> Visit:
    """Give the visit of somebody who has a name.

    Raises:
        ProtocolError: It is nobody's.
    """
    if visit is None:
        raise NotAllowed(
            "private messages need a nick", "Send the header nick with CONNECT, or a login."
        )
    return visit
