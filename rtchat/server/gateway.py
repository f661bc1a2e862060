"""``[access]`` and ``[proxy]``: the WebSocket-to-TCP gateway."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from rtchat.config.ini import SourceLine
from rtchat.config.values import GIB, KIB, MIB, Reader, seconds, size_in_bytes, whole_number, yes_no
from rtchat.core.access.hosts import Target
from rtchat.core.access.rules import AccessRule

__all__ = ["PROXY_KEYS", "ProxySettings", "read_rules"]


@dataclass(frozen=True, slots=True)
class ProxySettings:
    """What the WebSocket-to-TCP proxy may use.

    Attributes:
        connect_timeout_s: Seconds a target has to accept the connection.
        max_message_bytes: Size of one WebSocket message from a browser.
        handshake_timeout_s: Seconds a client has to send the head of an HTTP request.
        idle_timeout_s: Seconds without a byte in either direction; 0 waits for ever.
        max_connections: How many connections there may be at once; 0 is no limit.
        max_per_target: How many to one target; 0 is no limit.
        max_per_source: How many from one address; 0 is no limit.
        private_names: Whether a name may mean a private address.
        max_http: How many HTTP connections there may be at once, WebSockets not counted; 0 is no
            limit.
        max_http_per_source: How many from one address; 0 is no limit.
    """

    connect_timeout_s: float = 10.0
    max_message_bytes: int = 16 * MIB
    handshake_timeout_s: float = 10.0
    idle_timeout_s: float = 0.0
    max_connections: int = 10_000
    max_per_target: int = 0
    max_per_source: int = 0
    private_names: bool = True
    max_http: int = 20_000
    max_http_per_source: int = 10_000


def read_rules(source_lines: Iterable[SourceLine], folder: Path) -> tuple[AccessRule, ...]:
    """Return the rules; those for one target reach it in one way."""
    rules: list[AccessRule] = []
    first: dict[Target, tuple[AccessRule, SourceLine]] = {}
    for source_line in source_lines:
        try:
            rule = AccessRule.parse(source_line.setting)
        except ValueError as error:
            raise source_line.error(f"is not a rule: {error}") from None
        if rule.path:
            rule = replace(rule, path=str(folder / rule.path))
        other, where = first.setdefault(rule.target, (rule, source_line))
        if (rule.path, rule.has_proxy_header) != (other.path, other.has_proxy_header):
            raise source_line.error(
                f"reaches {rule.target} in another way than line {where.line} "
                f"({where.setting}); write the same behind the -> in both"
            )
        rules.append(rule)
    return tuple(rules)


PROXY_KEYS: Mapping[str, tuple[str, Reader]] = {
    "connect.timeout": ("connect_timeout_s", seconds(0.1, 600)),
    "message.max_bytes": ("max_message_bytes", size_in_bytes(KIB, GIB)),
    "handshake.timeout": ("handshake_timeout_s", seconds(0.1, 600)),
    "idle.timeout": ("idle_timeout_s", seconds(0.1, 604_800, or_zero=True)),
    "connections.total": (
        "max_connections",
        whole_number(1, 1_000_000, "connections", or_zero=True),
    ),
    "connections.per_target": (
        "max_per_target",
        whole_number(1, 1_000_000, "connections", or_zero=True),
    ),
    "connections.per_source": (
        "max_per_source",
        whole_number(1, 1_000_000, "connections", or_zero=True),
    ),
    "private.names": ("private_names", yes_no),
    "http.connections.total": ("max_http", whole_number(1, 1_000_000, "connections", or_zero=True)),
    "http.connections.per_source": (
        "max_http_per_source",
        whole_number(1, 1_000_000, "connections", or_zero=True),
    ),
}
