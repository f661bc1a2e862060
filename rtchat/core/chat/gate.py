"""The gate of the chat: names sessions, limits their rate, and checks messages to rooms."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from rtchat.core.broker.broker import Broker
from rtchat.core.broker.destinations import Glob
from rtchat.core.broker.gate import Admission, Check, Gate, SenderLines
from rtchat.core.broker.principal import Principal, client_key
from rtchat.core.chat.chat import (
    PRIVATE_PREFIX,
    Chat,
    Json,
    not_to_be_sent_to,
    receiver_of,
    require_name,
)
from rtchat.core.chat.limits import ChatPolicy, GuestRates
from rtchat.core.chat.nicknames import clean_nick
from rtchat.core.chat.people import PersonSession
from rtchat.core.chat.rooms import TYPING, RoomNames
from rtchat.core.flow.outbound import Cork
from rtchat.core.flow.token_bucket import TokenBuckets
from rtchat.core.stomp.frames import Frame
from rtchat.errors import LimitExceeded, NotAllowed

__all__ = ["ChatGate", "open_chat"]

_WHITE_SPACE = b"\xef\xbb\xbf \t\r\n"

_MAX_PARTS = 20_000
"""JSON with more values takes longer than some milliseconds to read."""

_BEFORE_PARTS = b",:[{"
_OF_CHAT = re.compile(rb'"(?:nick|text)"|\\u00[67]')
"""A name that matters here, or a letter of one in another way of writing."""

_BYTES_READ = 16
"""To read so many bytes of JSON is a unit of work."""


class ChatGate(Gate):
    """Admits people under their nicks, and checks their messages to rooms and to each other.

    Args:
        chat: The people and rooms.
        json: The JSON decoder.
        cork: The cork of the server, which counts the work.
    """

    def __init__(self, chat: Chat, json: Json, cork: Cork) -> None:
        self.concerns = Glob((*chat.policy.rooms, *TYPING, f"{PRIVATE_PREFIX}*"))
        self._chat = chat
        self._cork = cork
        self._with_nicks = RoomNames((*chat.policy.rooms, *TYPING))
        self._json = json
        policy = chat.policy
        self._of_users = self._of_guests = _Rates.of(policy)
        if policy.guests is not None:
            self._of_guests = _Rates.of(policy.guests)

    def admit(self, principal: Principal, headers: Mapping[str, str], now: float) -> Admission:
        """Admit a session, under a nick if it requests one, with the rates of its client.

        The rates are those of the user, or else of the source: to connect again gives no more.

        Raises:
            NotAllowed: The nick is invalid or in use.
        """
        session = self._chat.open_session(principal, headers)
        key = client_key(principal)
        rate, subscription_rate, byte_rate = (
            None if buckets is None else buckets.rate_of(key, self._chat.ticks)
            for buckets in (self._of_users if principal.user else self._of_guests)
        )
        if session is None:
            return Admission({}, rate, subscription_rate, byte_rate)
        person = session.person
        headers = {
            "nick": person.nick,
            "x-presence-id": person.id,
            "timestamp": str(int(now * 1000)),
        }
        return Admission(headers, rate, subscription_rate, byte_rate)

    def leave(self, principal: Principal, now: float) -> None:
        """Close the session of a person, if it is one."""
        self._chat.close_session(principal)

    def check_for(self, destinations: Sequence[str]) -> Check | None:
        """Return the check of SENDs to these destinations, or None if any SEND may pass."""
        if len(destinations) == 1 and destinations[0].startswith(PRIVATE_PREFIX):
            return self._check_private
        if any(name.startswith(PRIVATE_PREFIX) for name in destinations):
            return _refuse
        if any(name in self._with_nicks for name in destinations):
            return self._check_text
        return None

    def sender_lines_for(self, destination: str) -> SenderLines | None:
        """Return the ids of people if the destination is a room, else None."""
        return self._chat.sender_lines if destination in self._chat.rooms else None

    def _check_private(self, principal: Principal, frame: Frame) -> None:
        """Refuse a private message that is invalid whether or not the receiver is connected.

        Raises:
            ProtocolError: The text is refused, the sender has no name, or the destination names
                no receiver.
        """
        self._check_text(principal, frame)
        require_name(self._chat.session_of(principal))
        receiver_of(frame.headers["destination"])

    def _check_text(self, principal: Principal, frame: Frame) -> None:
        """Refuse a message that is too long or carries the nick of another person.

        Raises:
            LimitExceeded: The text is too long, or the JSON takes too long to read.
            NotAllowed: The nick is not the sender's, or none that a client could have; or the
                JSON is nested too deeply.
        """
        policy, body = self._chat.policy, frame.body
        start = body[:64].lstrip(_WHITE_SPACE)[:1]
        is_object = start == b"{" or (not start and len(body) > 64)
        is_long = 0 < policy.max_text_chars < len(body)
        if not (is_long or (is_object and policy.nick_must_match)):
            return
        value = self._read(body) if is_object else None
        nick = text = None
        if isinstance(value, dict):
            nick, text = value.get("nick"), value.get("text")
        session = self._chat.session_of(principal)
        is_program = session is None
        if is_long and (isinstance(text, str) or policy.limits_programs or not is_program):
            if not isinstance(text, str):
                # To decode what is not UTF-8 takes long; a character has four bytes at most.
                text = body[: 4 * policy.max_text_chars + 1].decode("utf-8", "replace")
            if len(text) > policy.max_text_chars:
                raise LimitExceeded(
                    f"text longer than {policy.max_text_chars} characters",
                    "The limit is text.max_characters of the server.",
                )
        if isinstance(nick, str) and policy.nick_must_match:
            self._check_nick(nick.strip(), session, principal.user)

    def _read(self, body: bytes) -> object:
        """Return the value of a JSON text; None if it is no JSON, or no message of a chat.

        Raises:
            LimitExceeded: It would take too long to find the nick or the text.
            NotAllowed: It is nested too deeply.
        """
        self._cork.work += len(body) // _BYTES_READ
        if len(body) > _MAX_PARTS and _is_costly(body):
            if _OF_CHAT.search(body) is None:
                return None
            raise LimitExceeded(
                "JSON that takes too long to check",
                f"A message to a room that has a nick or a text has at most {_MAX_PARTS} values, "
                f"and it is UTF-8 if it has more than {_MAX_PARTS} bytes.",
            )
        try:
            return self._json.read(body)
        except RecursionError:
            raise NotAllowed(
                "JSON nested too deeply", "A message to a room has no use for that."
            ) from None

    def _check_nick(self, nick: str, session: PersonSession | None, user: str) -> None:
        if session is not None:
            is_own = nick == session.person.nick
        else:
            # A client without a nick of its own may write any nick that is free, or its user's,
            # and that would be displayed as it was compared.
            people = self._chat.people
            others = [one for one in people.holders_alike(nick) if not user or one.user != user]
            is_own = not others and people.owner(nick) in ("", user)
            if is_own and nick:
                clean_nick(nick, self._chat.policy.max_nick_chars)
        if not is_own:
            raise NotAllowed(
                "not your nick",
                "The nick in the message has to be the one in your CONNECT; it belongs to another "
                "person. The setting is nick.must_match of the server.",
            )


def _is_costly(body: bytes) -> bool:
    """Return whether JSON has very many values, or is no UTF-8: both take long to read."""
    if len(body) - len(body.translate(None, _BEFORE_PARTS)) > _MAX_PARTS:
        return True
    try:
        body.decode()
    except UnicodeDecodeError:
        return True
    return False


class _Rates(NamedTuple):
    """The buckets of all users, or of all sources of guests; None where there is no limit."""

    messages: TokenBuckets | None
    subscriptions: TokenBuckets | None
    bytes: TokenBuckets | None

    @classmethod
    def of(cls, rates: ChatPolicy | GuestRates) -> _Rates:
        """Return new buckets."""
        return cls(
            _buckets(rates.messages_per_second, rates.burst),
            _buckets(rates.subscriptions_per_second, rates.subscriptions_burst),
            _buckets(rates.bytes_per_second, rates.bytes_burst),
        )


def _buckets(per_second: float, size: int) -> TokenBuckets | None:
    return TokenBuckets(per_second, size) if per_second else None


def _refuse(principal: Principal, frame: Frame) -> None:
    raise not_to_be_sent_to()


def open_chat(broker: Broker, policy: ChatPolicy, json: Json) -> Chat:
    """Add people and rooms to a broker; call it before the first session.

    Args:
        broker: The broker.
        policy: The rules for people and rooms.
        json: The JSON encoder and decoder.

    Returns:
        The provider, which the broker uses from now on, as it does the gate.
    """
    chat = Chat(broker, policy, json)
    broker.add_gate(ChatGate(chat, json, broker.cork))
    return chat
