"""Which pages may embed the chat in a frame: only those that may reach the broker.

A page on another host does not connect to the broker itself. It shows a frame, and the document
in the frame comes from this server. So the access list must allow two things: the embedding page
must be allowed to reach the broker, and so must this server's own page, which is ``self``.
"""

from __future__ import annotations

from collections.abc import Sequence

from rtchat.core.access.hosts import Target
from rtchat.core.access.rules import ANYONE, SELF, AccessList, Source

__all__ = ["frame_ancestors", "sources_without_rule"]


def frame_ancestors(access: AccessList, broker: Sequence[Target]) -> str:
    """Return the sources of the directive ``frame-ancestors`` (CSP level 3, 6.4.2).

    A browser checks *all* ancestors of a frame against it. So a page that is not allowed cannot
    show the chat by embedding a page that is.

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
    """Return the sources that still need a rule before a page can show the chat.

    Args:
        access: The access list.
        broker: The names of this server's own STOMP listeners.
        source: The page.

    Returns:
        The sources as rules spell them: the page's ``host[:port]`` (``*`` if it has none),
        ``self``, or both; empty if the page can already show the chat.
    """
    lacking = []
    if not any(access.allows(source, target) for target in broker):
        lacking.append(SELF if source.is_same_origin else source.rule_text or ANYONE)
    # The source that a browser reports for a page of this server, with or without TLS.
    own = Source(f"http://{source.host}", source.host)
    if SELF not in lacking and not any(access.allows(own, target) for target in broker):
        lacking.append(SELF)
    return tuple(lacking)


def _as_policy(source: str) -> tuple[str, ...]:
    """Convert a rule's source to sources of a Content-Security-Policy.

    A policy source without a scheme takes the scheme of the page. One with ``http`` and without a
    port means port 80, or 443 with TLS, as in a rule.
    """
    if source == ANYONE:
        return (ANYONE,)
    if source == SELF:
        return ("'self'",)
    if source.startswith("["):
        return ()  # a policy cannot name an IPv6 address (CSP level 3, host-char)
    return (f"http://{source}", f"https://{source}")
