"""Destinations whose rights follow from those to other destinations, or that need none."""

from __future__ import annotations

import re

from rtchat.core.auth.coverage import PRESENCE, SESSION, USER
from rtchat.core.auth.verbs import Verb
from rtchat.core.broker.destinations import DestinationKind

__all__ = ["RENEWAL", "Need", "is_private_message", "needed"]

Need = tuple[Verb, str]
"""A verb and the destination that it is about."""

RENEWAL = f"{SESSION}token"
"""Where a session sends a new token."""

_ROOM_LIST = f"{PRESENCE}rooms"
_OWN_MESSAGES = f"{USER}queue/private"
_TO_NICK = "/queue/private"

_FREE: tuple[Need, ...] = ()

_TYPING = re.compile(r"/*topic[./]typing(?![^./])")
"""The beginning of a destination of notices that a person is typing, in any way to write it: a
pattern does not tell a dot from a slash, so a right that is derived must not either."""

_ROOM = "/topic/chat"


def needed(verb: Verb, destination: str) -> tuple[Need, ...] | None:
    """Return which other rights together allow what no right to the destination itself does.

    ===============================  ================================================
    read, write a temporary queue    free: its name means something to its session only
    write to ``/reply-queue/…``      free: the address cannot be guessed
    write to ``/pubsub/NAME``        free; the caller asks for each target of its line
    write to ``/session/token``      free
    read ``/user/queue/private``     free: these are the messages to oneself
    read ``/presence/rooms``         free; the caller leaves out rooms that may not be read
    read ``/presence/DEST``          to read DEST
    read or write notices of typing  the same for the room: ``/topic/typing.tea`` is of
                                     ``/topic/chat.tea``
    ===============================  ================================================

    Private messages are not here: see :func:`is_private_message`.

    Args:
        verb: What is to be done.
        destination: One destination, or the pattern of a SUBSCRIBE.

    Returns:
        All that is needed, which is nothing if every session may do it; or None if only a right to
        the destination itself allows it.
    """
    if verb is Verb.ADMIN:
        return None
    if destination.startswith(DestinationKind.TEMP_QUEUE.value):
        return _FREE
    typing = _TYPING.match(destination)
    if typing is not None:
        return ((verb, _ROOM + destination[typing.end() :]),)
    if verb is Verb.READ:
        return _needed_to_read(destination)
    is_free = destination == RENEWAL or destination.startswith(
        (DestinationKind.REPLY_QUEUE.value, DestinationKind.PUBSUB.value)
    )
    return _FREE if is_free else None


def _needed_to_read(destination: str) -> tuple[Need, ...] | None:
    if destination in (_OWN_MESSAGES, _ROOM_LIST):
        return _FREE
    if not destination.startswith(PRESENCE):
        return None
    place = destination[len(PRESENCE) - 1 :]
    # The list of who reads a list is empty, and such names may be long: never follow them.
    return None if place.startswith(PRESENCE) else ((Verb.READ, place),)


def is_private_message(verb: Verb, destination: str) -> bool:
    """Return whether this is to send a private message: ``/user/NICK/queue/private``.

    If a line of ``[rights]`` is about destinations that begin with ``/user/``, a private message
    needs such a right. Else all who may write to any topic may send them.
    """
    has_nick = len(destination) > len(USER) + len(_TO_NICK)
    is_to_nick = destination.startswith(USER) and destination.endswith(_TO_NICK)
    return verb is Verb.WRITE and has_nick and is_to_nick
