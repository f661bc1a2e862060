"""What a token's claims say about its user, once the signature is known to be right."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from unicodedata import category

from rtchat.core.auth.identity import Identity, is_user_name
from rtchat.errors import AccessRefused

__all__ = ["MAX_DESTINATIONS", "MAX_GROUPS", "identity_of"]

MAX_GROUPS = 100
"""How many groups a token may name."""

MAX_DESTINATIONS = 100
"""How many destinations a token may grant for each verb."""

_LAST_S = 253_402_300_799
"""The end of the year 9999. What is later was written in milliseconds, and would never end."""

_VERBS = frozenset({"read", "write"})


def identity_of(claims: Mapping[str, object], *, now_s: float, leeway_s: float) -> Identity:
    """Return who a token speaks for.

    Args:
        claims: The claims; who signed them, and for whom, was checked.
        now_s: The time, in seconds since 1970.
        leeway_s: How far the site's clock may be from this one.

    Raises:
        AccessRefused: The token is not valid now, or a claim is not what it should be.
    """
    expires_s = _end_of(claims, now_s, leeway_s)
    user = claims.get("sub")
    if user is None:
        raise AccessRefused("no subject")
    if not isinstance(user, str) or not is_user_name(user):
        raise AccessRefused("wrong subject")
    nick = claims.get("nick")
    if nick is not None and not (isinstance(nick, str) and (not nick or is_user_name(nick))):
        raise AccessRefused("wrong nick")
    rights = claims.get("rtchat")
    if rights is None:
        rights = {}
    if not isinstance(rights, dict) or not rights.keys() <= _VERBS:
        raise AccessRefused("wrong rights")
    return Identity(
        user=user,
        groups=frozenset(_texts(claims.get("groups"), "groups", MAX_GROUPS, is_user_name)),
        nick=nick or "",
        read=_texts(rights.get("read"), "rights", MAX_DESTINATIONS, _is_destination),
        write=_texts(rights.get("write"), "rights", MAX_DESTINATIONS, _is_destination),
        expires_s=expires_s,
    )


def _end_of(claims: Mapping[str, object], now_s: float, leeway_s: float) -> float:
    """Return when a session with this token ends; refuse it if it does not hold now.

    That is the second that the token names. One that is past, and is accepted because clocks
    differ, is as good as the difference may be.
    """
    if claims.get("exp") is None:
        raise AccessRefused("no expiry")
    expires_s = _time(claims, "exp", "wrong expiry")
    if now_s >= expires_s + leeway_s:
        raise AccessRefused("expired")
    if claims.get("nbf") is not None and _time(claims, "nbf", "wrong start") > now_s + leeway_s:
        raise AccessRefused("not valid yet")
    if claims.get("iat") is not None and _time(claims, "iat", "wrong date") > now_s + leeway_s:
        raise AccessRefused("issued in the future")
    return expires_s if now_s < expires_s else expires_s + leeway_s


def _time(claims: Mapping[str, object], name: str, reason: str) -> float:
    value = claims[name]
    # No number compares with NaN, and a whole number may be too large for a float.
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= _LAST_S:
        raise AccessRefused(reason)
    return float(value)


def _texts(
    value: object, what: str, maximum: int, is_valid: Callable[[str], bool]
) -> tuple[str, ...]:
    """Return the texts of a claim that is a list of them, or that is absent."""
    if value is None:
        return ()
    if not isinstance(value, list):
        raise AccessRefused(f"wrong {what}")
    if len(value) > maximum:
        raise AccessRefused(f"too many {what}")
    if not all(isinstance(text, str) and is_valid(text) for text in value):
        raise AccessRefused(f"wrong {what}")
    return tuple(value)


def _is_destination(text: str) -> bool:
    return bool(text) and not any(category(character) in ("Cc", "Cs") for character in text)
