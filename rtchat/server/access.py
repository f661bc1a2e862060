"""``[access]``, ``[global] hosts`` and ``origin.required``: which pages may reach what."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from twisted.application.service import IService, Service
from twisted.logger import Logger
from typing_extensions import override

from rtchat.config.ini import SourceLine
from rtchat.config.keys import key, lines
from rtchat.config.schema import ChatIni
from rtchat.core.access.hosts import HostList, Target, normal_host
from rtchat.core.access.rules import ANYBODY, AccessList, AccessRule
from rtchat.core.auth.identity import MAX_USER_CHARS, is_user_name
from rtchat.core.auth.permissions import EVERY_USER, GROUP_SIGN
from rtchat.server.auth_settings import LOGIN_SECTIONS
from rtchat.server.part import Part, Server
from rtchat.server.rights_settings import how_to_name_a_group

if TYPE_CHECKING:
    from rtchat.net.websocket.visitors import Visitors

__all__ = ["ANY_HOST", "AccessPart", "AccessSettings", "targets_of"]

_log = Logger(__package__)

ANY_HOST = ("", "0.0.0.0", "::")
"""How a port may be written that is open on every interface."""


def _read_rules(source_lines: Mapping[str, SourceLine]) -> tuple[AccessRule, ...]:
    """Read the rules; those for one target have to reach it in one way."""
    rules: list[AccessRule] = []
    first: dict[Target, tuple[AccessRule, SourceLine]] = {}
    for source_line in source_lines.values():
        try:
            rule = AccessRule.parse(source_line.setting)
        except ValueError as error:
            raise source_line.error(f"is not a rule: {error}") from None
        if rule.path:
            rule = replace(rule, path=str(source_line.folder / rule.path))
        other, where = first.setdefault(rule.target, (rule, source_line))
        if (rule.path, rule.has_proxy_header) != (other.path, other.has_proxy_header):
            raise source_line.error(
                f"reaches {rule.target} in another way than line {where.line} "
                f"({where.setting}); write the same after -> in both"
            )
        rules.append(rule)
    return tuple(rules)


def _check_who(ini: ChatIni, rule: AccessRule, source_line: SourceLine) -> None:
    """Make sure that the people whom a rule names can be told from others."""
    who = rule.who
    name = who.removeprefix(GROUP_SIGN)
    if who.lower() == ANYBODY:
        if who != ANYBODY:
            raise source_line.error(f"has to say {ANYBODY} in lower case, to mean anybody")
        return
    if who != EVERY_USER and not is_user_name(name):
        raise source_line.error(
            f"names {who} where a user or a group belongs; a name has 1 to {MAX_USER_CHARS} "
            f"characters, a group {GROUP_SIGN} before it, and {EVERY_USER} is every user"
        )
    if not any(map(ini.has_section, LOGIN_SECTIONS)):
        raise source_line.error(
            f"lets {who} in only, and clients cannot say who they are; add [users], [tokens] or "
            f"[hooks], or write {rule.source} -> {rule.target}"
        )
    groups = ini.lines("groups")
    are_groups_given = ini.has_section("tokens") or ini.has_section("hooks")
    if who != name and name not in groups and not are_groups_given:
        raise source_line.error(
            f"is about a group that is not there; {how_to_name_a_group(name, groups)}"
        )


def _read_hosts(source_line: SourceLine) -> tuple[str, ...]:
    names = re.findall(r"[^,\s]+", source_line.value)
    if not names:
        raise source_line.error("has no name in it; write one, such as chat.example.com")
    try:
        return tuple(dict.fromkeys(normal_host(name) for name in names))
    except ValueError as error:
        raise source_line.error(
            f"is not a list of host names ({error}); write names without port, such as "
            "chat.example.com"
        ) from None


@dataclass(frozen=True, slots=True)
class AccessSettings:
    """Which pages may reach which services, and the names of this server.

    Attributes:
        rules: The rules of ``[access]``, in the order of the file.
        hosts: Further names that this server answers to, in lower case.
        origin_required: Whether requests without ``Origin`` are refused.
    """

    rules: tuple[AccessRule, ...] = lines("[access]", _read_rules)
    hosts: tuple[str, ...] = key(
        "[global] hosts", (), unit="names, with commas or spaces", read=_read_hosts
    )
    origin_required: bool = key("[global] origin.required", False)


class AccessPart(Part[AccessSettings], Service):
    """Decides which pages may reach what; warns at start about rules that let every page in.

    Attributes:
        access_list: The rules.
        own_names: The names that this server answers to, beside IP addresses and localhost.
        visitors: Finds out who uses a page, for the rules that ask; None if clients cannot say
            who they are. The part of the log-in sets it.
    """

    reads = (AccessSettings,)

    def __init__(self, settings: AccessSettings, server: Server) -> None:
        super().__init__(settings, server)
        self._server = server
        self.access_list = AccessList(settings.rules, settings.origin_required)
        self.own_names = (*settings.hosts, *_machine_names())
        self.visitors: Visitors | None = None
        self._stomp_targets: list[Target] = []

    @override
    @classmethod
    def read(cls, ini: ChatIni) -> AccessSettings:
        settings = ini.read(AccessSettings)
        for rule, source_line in zip(settings.rules, ini.lines("access").values(), strict=True):
            if rule.who:
                _check_who(ini, rule, source_line)
        return settings

    @property
    def stomp_targets(self) -> Sequence[Target]:
        """The names under which rules may mean this server's STOMP ports that are open.

        The sequence stays the same object and grows with every port that opens.
        """
        return self._stomp_targets

    def add_stomp_port(self, address: object) -> None:
        """Record an open STOMP port.

        Args:
            address: Where it listens; only an address with host and port can stand in a rule.
        """
        self._stomp_targets += targets_of(address, self.own_names)

    @override
    def service(self) -> IService:
        return self

    @override
    def startService(self) -> None:
        super().startService()
        self._server.reactor.callWhenRunning(self._warn)

    def _warn(self) -> None:
        for rule in self.access_list.open_rules:
            _log.warn(
                "{source}: [access] {rule} lets every web page in the world reach {target} "
                "through a visitor's browser; name your page's host instead of * if you can",
                source=self._server.source,
                rule=rule,
                target=rule.target,
            )


def targets_of(address: object, own_names: tuple[str, ...]) -> list[Target]:
    """Return the names under which a rule may mean a port of this server."""
    host, port = getattr(address, "host", None), getattr(address, "port", None)
    if host is None or port is None:
        return []
    names = ["localhost", host]
    if host in ANY_HOST:
        names = ["localhost", "127.0.0.1", "::1", *own_names]
    elif host.startswith("127.") or host == "::1":
        names += ["127.0.0.1", "::1"]
    targets = []
    for name in dict.fromkeys(names):
        with suppress(ValueError):  # a container's name may be a number, which no rule may have
            targets.append(Target(name, port))
    return targets


def _machine_names() -> tuple[str, ...]:
    """Return the names of this machine that a host may be called in a URL."""
    name = socket.gethostname()
    short = name.partition(".")[0]
    names = []
    for candidate in dict.fromkeys((name, short, f"{short}.local")):
        with suppress(ValueError):  # a machine may have any name
            HostList([candidate])
            names.append(candidate)
    return tuple(names)
