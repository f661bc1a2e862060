"""Whose pages may show the chat in a frame: those that may reach the broker, and no others.

A page on another host does not speak to the broker itself: it shows a frame, and in the frame is
a page of this server. So two things are asked of the access list: may the page have the frame, and
may this server's own page, which is ``self``, reach the broker.
"""

from __future__ import annotations

from collections.abc import Sequence

from rtchat.core.access.hosts import Target
from rtchat.core.access.rules import ANYONE, SELF, AccessList, Source

__all__ = ["frame_ancestors", "sources_without_rule"]


def frame_ancestors(access: AccessList, broker: Sequence[Target]) -> str:
    """Give the sources of the directive ``frame-ancestors`` (CSP level 3, 6.4.2).

    A browser compares *all* pages around a frame with it, so that nobody gets the chat by putting
    an allowed page into a page of his own.

    Args:
        access: The access list.
        broker: The names of this server's own STOMP listeners.
    """
    sources: dict[str, None] = {}
    for rule in access.rules:
        if rule.target in broker:
            sources.update(dict.fromkeys(_as_policy(rule.source)))
    return " ".join(sources) or "'none'"


def sources_without_rule(
    access: AccessList, broker: Sequence[Target], source: Source
) -> tuple[str, ...]:
    """Tell which sources need a rule before a page can show the chat, as rules write them.

    Args:
        access: The access list.
        broker: The names of this server's own STOMP listeners.
        source: The page.

    Returns:
        Nothing if the page can; the page's ``host[:port]`` (``*`` if it has none), ``self``, or
        both.
    """
    lacking = []
    if not any(access.allows(source, target) for target in broker):
        lacking.append(SELF if source.is_same_origin else source.rule_text or ANYONE)
    # What a browser says of a page of this server, whether it came with TLS or without.
    own = Source(f"http://{source.host}", source.host)
    if SELF not in lacking and not any(access.allows(own, target) for target in broker):
        lacking.append(SELF)
    return tuple(lacking)


def _as_policy(source: str) -> tuple[str, ...]:
    """Write a rule's source as a policy does.

    A policy without a scheme takes that of the page that has it. One with ``http`` and without a
    port means port 80, and 443 with TLS: the same as in a rule.
    """
    if source == ANYONE:
        return (ANYONE,)
    if source == SELF:
        return ("'self'",)
    if source.startswith("["):
        return ()  # a policy cannot name an IPv6 address (CSP level 3, host-char)
    return (f"http://{source}", f"https://{source}")
