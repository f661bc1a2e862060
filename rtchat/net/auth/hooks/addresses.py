"""Where a hook over HTTP is: which URL an event goes to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol
from urllib.parse import urljoin, urlsplit, urlunsplit

from rtchat.net.auth.hooks.answers import BrokenAnswer
from rtchat.net.auth.hooks.visitor import EVENTS, Event
from rtchat.net.json_codec import json_object

__all__ = ["RESTQ", "Addresses", "FixedAddress", "plain_url", "restq_addresses", "url_problem"]

RESTQ = "restq+"
"""How the URL of a controller of RestQ begins: it is asked first where each event goes."""

_EVENT = "{event}"


def url_problem(url: str) -> str:
    """Return what is wrong with the URL of a hook and what to do; "" if nothing is."""
    try:
        parts = urlsplit(url.removeprefix(RESTQ))
        port = parts.port
    except ValueError:
        return "is not a URL; write http://HOST:PORT/PATH or https://HOST/PATH"
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        return "is not a URL; write http://HOST:PORT/PATH or https://HOST/PATH"
    if parts.username is not None or parts.password is not None:
        return "holds a name or password; leave it out, and use secret.file to prove who asks"
    if parts.fragment:
        return "has a fragment, which is never sent; leave out what begins with #"
    if not url.isascii() or any(character <= " " for character in url):
        return "holds spaces or characters that are not ASCII; write them as %XX"
    return ""


def plain_url(url: str) -> str:
    """Return a URL for the log: without its query, which may hold a secret."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc, parts.path, "", ""))


class Addresses(Protocol):
    """Which URL each event goes to."""

    async def of(self, event: Event) -> str | None:
        """Return the URL for an event, or None if the site does not want it.

        Raises:
            HookFailed: The site did not say.
        """


class FixedAddress:
    """One URL; ``{event}`` in it stands for the event's name.

    Args:
        url: The URL.
    """

    def __init__(self, url: str) -> None:
        self._url = url

    async def of(self, event: Event) -> str | None:
        """Return the URL for an event."""
        return self._url.replace(_EVENT, event)


def restq_addresses(data: bytes, controller: str) -> Mapping[str, str]:
    """Read what a controller of RestQ says: an object with the URL for each event it wants.

    Args:
        data: What it has answered.
        controller: Its own URL; others may be relative to it.

    Raises:
        BrokenAnswer: It is not such an object.
    """
    try:
        found = json_object(data)
    except ValueError as error:
        raise BrokenAnswer(f"where events go: {error}") from None
    addresses: dict[str, str] = {}
    for event in EVENTS:
        value = found.get(event)
        if value is None:
            continue
        if not isinstance(value, str):
            raise BrokenAnswer(f"the URL of {event} is not a text")
        try:
            url = urljoin(controller, value)
        except ValueError:
            raise BrokenAnswer(f"the URL of {event} is not a URL") from None
        if url_problem(url) or url.startswith(RESTQ):
            raise BrokenAnswer(f"the URL of {event} {url_problem(url) or 'is not a URL'}")
        if controller.startswith("https:") and not url.startswith("https:"):
            raise BrokenAnswer(f"the URL of {event} is not https, unlike that of the controller")
        addresses[event] = url
    return addresses
