"""What a hook may answer, as Python and as JSON, and how an answer is checked.

The JSON is that of MorbidQ's RestQ, with some more keys. An answer that is not valid is a failure
of the hook, as if there were none.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from twisted.python.failure import Failure

from rtchat.core.auth.identity import Identity, is_user_name
from rtchat.net.auth.hooks.visitor import EVENTS, Event
from rtchat.net.json_codec import json_object

__all__ = [
    "FIXED_HEADERS",
    "MAX_NAMES",
    "Allow",
    "Answer",
    "BrokenAnswer",
    "HookFailed",
    "Refuse",
    "answer_from_json",
    "answer_from_python",
]

MAX_NAMES = 100
"""How many groups, rights of a verb, or destinations an answer may have."""

_MAX_DESTINATION = 1024
_MAX_GROUP = 128
_MAX_NICK = 256
_MAX_HEADERS = 50
_MAX_HEADER_NAME = 128
_MAX_HEADER_VALUE = 4096
_MAX_REASON = 200
_MAX_SECONDS = 10**11  # more than 3,000 years: a time in milliseconds is a mistake

FIXED_HEADERS = frozenset(
    {"ack", "content-length", "destination", "message-id", "receipt", "subscription"}
    | {"transaction", "x-user"}
)
"""Headers that an answer leaves as they are: they say where a message goes, or are the server's."""


class HookFailed(Exception):
    """There is no answer, or none that is valid.

    Args:
        kind: What happened in a few words, without addresses or texts of others: it is shown in
            ``/health``.
        detail: The same for the log.
        is_untold: Whether it is certain that the hook has not heard of the event.
        cause: The exception in a Python hook, for the log.
    """

    def __init__(
        self,
        kind: str,
        detail: str = "",
        *,
        is_untold: bool = False,
        cause: Failure | None = None,
    ) -> None:
        super().__init__(detail or kind)
        self.kind = kind
        self.detail = detail or kind
        self.is_untold = is_untold
        self.cause = cause


class BrokenAnswer(HookFailed):
    """The hook has answered, but not with what is allowed; the text says what is wrong."""

    def __init__(self, problem: str) -> None:
        super().__init__("an answer that is not valid", f"its answer is not valid: {problem}")


@dataclass(frozen=True, slots=True)
class Allow:
    """Let it happen. ``None`` as the answer of a hook is the same as ``Allow()``.

    Attributes:
        body: ``send``: the body that is sent instead; a str is encoded as UTF-8.
        headers: ``send``: headers that are added or replaced; None removes one. ``destination``
            and headers that the server sets stay as they are.
        autosubscribe: All but ``disconnect``: destinations that the visitor is subscribed to,
            before a message is sent.
        autounsubscribe: The same: destinations that the visitor is unsubscribed from.
        user: ``connect``: the user's name, from now on the visitor's; "" leaves the visitor
            anonymous.
        nick: ``connect``: the nickname, or "".
        groups: ``connect``: groups, besides those of ``[groups]``.
        read: ``connect``: destinations, perhaps with wildcards, that the visitor may read besides
            what ``[rights]`` says.
        write: The same to send to.
        admin: The same to administer.
        expires: ``connect``: when the session ends, in seconds since 1970, or None.
    """

    body: str | bytes | None = None
    headers: Mapping[str, str | int | None] = field(default_factory=dict)
    autosubscribe: Iterable[str] = ()
    autounsubscribe: Iterable[str] = ()
    user: str = ""
    nick: str = ""
    groups: Iterable[str] = ()
    read: Iterable[str] = ()
    write: Iterable[str] = ()
    admin: Iterable[str] = ()
    expires: float | None = None


@dataclass(frozen=True, slots=True)
class Refuse:
    """Do not let it happen.

    Attributes:
        reason: Why, for the server's log; the client never learns it.
    """

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer, checked; what does not belong to its event has been left out.

    Attributes:
        is_allowed: Whether it may happen.
        reason: Why not, for the log. It may hold any text.
        is_failure: Whether the hook has not answered, and ``on_failure`` has decided.
        body: The new body, or None.
        headers: Headers to add or replace, or to remove (None).
        autosubscribe: Destinations to subscribe to.
        autounsubscribe: Destinations to unsubscribe from.
        identity: Who the visitor is, for ``connect``.
    """

    is_allowed: bool = True
    reason: str = ""
    is_failure: bool = False
    body: bytes | None = None
    headers: Mapping[str, str | None] = field(default_factory=dict)
    autosubscribe: tuple[str, ...] = ()
    autounsubscribe: tuple[str, ...] = ()
    identity: Identity = field(default_factory=Identity)


_RIGHTS = ("read", "write", "admin")
_SUBSCRIBING = frozenset({"connect", "subscribe", "send", "unsubscribe"})


def answer_from_python(value: object, event: Event) -> Answer:
    """Check what a method of a Python hook has returned.

    Raises:
        BrokenAnswer: It is not valid.
    """
    if value is None:
        return Answer()
    if isinstance(value, Refuse):
        return Answer(is_allowed=False, reason=_reason(value.reason))
    if not isinstance(value, Allow):
        raise BrokenAnswer(
            f"{event} returned an object of type {type(value).__name__};"
            " return None, Allow(…) or Refuse(…)"
        )
    body = value.body
    if body is not None and not isinstance(body, str | bytes):
        raise BrokenAnswer("body is neither a str nor bytes")
    return _fitting(
        event,
        Answer(
            body=_text("body", body, None).encode() if isinstance(body, str) else body,
            headers=_headers(value.headers),
            autosubscribe=_names("autosubscribe", value.autosubscribe, _MAX_DESTINATION),
            autounsubscribe=_names("autounsubscribe", value.autounsubscribe, _MAX_DESTINATION),
            identity=Identity(
                user=_user(value.user),
                nick=_line("nick", value.nick, _MAX_NICK),
                groups=frozenset(_names("groups", value.groups, _MAX_GROUP)),
                expires_s=_expires(value.expires),
                **{verb: _names(verb, getattr(value, verb), _MAX_DESTINATION) for verb in _RIGHTS},
            ),
        ),
    )


_KEYS = frozenset(
    {"allow", "autosubscribe", "autounsubscribe", "body", "encoding", "expires", "groups"}
    | {"headers", "nick", "reason", "rights", "user"}
)


def answer_from_json(
    data: bytes, event: Event, *, unknown: Callable[[str], None] = lambda _key: None
) -> Answer:
    """Read the JSON that a site has answered.

    Args:
        data: The body of the response.
        event: What the site was asked about.
        unknown: Called with each key that means nothing; it may be a slip of the pen.

    Raises:
        BrokenAnswer: It is not valid.
    """
    if not data.strip():
        raise BrokenAnswer("it is empty; {} allows, and so does status 204")
    try:
        found = json_object(data)
    except ValueError as error:
        raise BrokenAnswer(str(error)) from None
    if not found.keys().isdisjoint(EVENTS):
        raise BrokenAnswer(
            "it says where events go, as a controller of RestQ does; write restq+ before the URL"
        )
    for key in found.keys() - _KEYS:
        unknown(key)
    allow = found.get("allow", "yes")
    if allow == "no" or allow is False:
        return Answer(is_allowed=False, reason=_reason(found.get("reason")))
    if allow != "yes" and allow is not True:
        raise BrokenAnswer('allow is neither "yes" nor "no"')
    rights = _json_rights(found.get("rights"))
    return _fitting(
        event,
        Answer(
            body=_json_body(found.get("body"), found.get("encoding")),
            headers=_headers(found.get("headers")),
            autosubscribe=_json_names(found, "autosubscribe", _MAX_DESTINATION),
            autounsubscribe=_json_names(found, "autounsubscribe", _MAX_DESTINATION),
            identity=Identity(
                user=_user(found.get("user")),
                nick=_line("nick", found.get("nick"), _MAX_NICK),
                groups=frozenset(_json_names(found, "groups", _MAX_GROUP)),
                expires_s=_expires(found.get("expires")),
                **{verb: _json_names(rights, verb, _MAX_DESTINATION) for verb in _RIGHTS},
            ),
        ),
    )


def _fitting(event: Event, answer: Answer) -> Answer:
    """Leave out what means nothing for this event; RestQ's controllers may always say the same."""
    if event != "send":
        answer = replace(answer, body=None, headers={})
    if event not in _SUBSCRIBING:
        answer = replace(answer, autosubscribe=(), autounsubscribe=())
    return answer if event == "connect" else replace(answer, identity=Identity())


def _text(key: str, value: object, max_characters: int | None) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BrokenAnswer(f"{key} is not a text")
    if max_characters is not None and len(value) > max_characters:
        raise BrokenAnswer(f"{key} is longer than {max_characters} characters")
    if not value.isascii():
        try:
            value.encode("utf-8")
        except UnicodeEncodeError:
            raise BrokenAnswer(f"{key} holds half of a surrogate pair") from None
    return value


def _line(key: str, value: object, max_characters: int) -> str:
    text = _text(key, value, max_characters)
    if any(character < " " or "\x7f" <= character < "\xa0" for character in text):
        raise BrokenAnswer(f"{key} holds a control character")
    return text


def _user(value: object) -> str:
    user = _text("user", value, None)
    if user and not is_user_name(user):
        raise BrokenAnswer(
            "user is not a name: 1 to 128 characters, no control characters, no spaces at its ends"
        )
    return user


def _reason(value: object) -> str:
    """Return what is shown of a reason; it must not be why a refusal is not valid."""
    return value[:_MAX_REASON] if isinstance(value, str) else ""


def _names(key: str, value: object, max_characters: int) -> tuple[str, ...]:
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise BrokenAnswer(f"{key} is not a list of texts")
    names: list[str] = []
    for name in value:
        if len(names) == MAX_NAMES:
            raise BrokenAnswer(f"{key} has more than {MAX_NAMES} entries")
        if not _line(f"an entry of {key}", name, max_characters):
            raise BrokenAnswer(f"an entry of {key} is empty or not a text")
        names.append(name)
    return tuple(dict.fromkeys(names))


def _json_names(found: Mapping[str, object], key: str, max_characters: int) -> tuple[str, ...]:
    value = found.get(key)
    if value is None:
        return ()
    if not isinstance(value, list):
        raise BrokenAnswer(f"{key} is not a list of texts")
    return _names(key, value, max_characters)


def _json_rights(value: object) -> Mapping[str, object]:
    if value is None:
        return {}
    if not isinstance(value, dict) or not value.keys() <= set(_RIGHTS):
        raise BrokenAnswer('rights is not an object with the keys "read", "write" and "admin"')
    return value


def _json_body(value: object, encoding: object) -> bytes | None:
    if value is None:
        return None
    data = _text("body", value, None).encode()
    if encoding is None:
        return data
    if encoding != "base64":
        raise BrokenAnswer('encoding is not "base64"')
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error:
        raise BrokenAnswer("body is not base64, as encoding says") from None


def _headers(value: object) -> Mapping[str, str | None]:
    if value is None:
        return {}
    if not isinstance(value, Mapping) or len(value) > _MAX_HEADERS:
        raise BrokenAnswer(f"headers is not an object with at most {_MAX_HEADERS} keys")
    headers: dict[str, str | None] = {}
    for name, one in value.items():
        if not _line("the name of a header", name, _MAX_HEADER_NAME):
            raise BrokenAnswer("the name of a header is empty")
        if name in FIXED_HEADERS:
            continue
        if isinstance(one, int) and not isinstance(one, bool):
            headers[name] = str(one) if abs(one) < 2**63 else _text("a header", one, 0)
        else:
            headers[name] = None if one is None else _text("a header", one, _MAX_HEADER_VALUE)
    return headers


def _expires(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BrokenAnswer("expires is not a number of seconds since 1970")
    if not (math.isfinite(value) and 0 < value <= _MAX_SECONDS):
        raise BrokenAnswer("expires is not a time in seconds since 1970")
    return float(value)
