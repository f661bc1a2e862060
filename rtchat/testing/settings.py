"""The sections of a chat.ini that a broker in memory heeds."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rtchat.core.auth.permissions import Permissions
from rtchat.core.broker.limits import BrokerLimits
from rtchat.core.chat.limits import ChatPolicy
from rtchat.core.history.rules import HistoryLimits, HistoryRule
from rtchat.core.stomp.limits import Limits

__all__ = ["MemorySettings", "read_permissions", "read_settings"]


@dataclass(frozen=True)
class MemorySettings:
    """What a broker in memory is told by a chat.ini.

    Attributes:
        limits: ``[broker]``: the limits of each session.
        broker_limits: ``[broker]``: the limits that all sessions share.
        pubsub: ``[pubsub]``.
        chat: ``[chat]``, ``[presence]`` and ``[rate]``.
        history: ``[history]``: what is kept.
        history_limits: ``[history]``: how much is kept.
        history_bytes: ``[history]``: how large its file may become.
        permissions: ``[rights]`` and ``[groups]``; None if clients are not asked who they are.
    """

    limits: Limits
    broker_limits: BrokerLimits
    pubsub: Mapping[str, tuple[str, ...]]
    chat: ChatPolicy
    history: tuple[HistoryRule, ...]
    history_limits: HistoryLimits
    history_bytes: int
    permissions: Permissions | None = None


def read_settings(settings: str | Path) -> MemorySettings:
    """Read a chat.ini, as the server does. Every name in it has to be known.

    Args:
        settings: Its text, or its path.

    Raises:
        ConfigError: A name is not known, or a value cannot be used.
        OSError: The file cannot be read.
    """
    # The server's parts say which names there are. Only tests that have settings load them. Some
    # of Twisted's modules use what Twisted has deprecated, and a test suite may take a warning for
    # an error.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from rtchat.config.ini import SourceLine
        from rtchat.config.schema import ChatIni, Schema
        from rtchat.server.auth_settings import AuthSettings
        from rtchat.server.chat import ChatPart
        from rtchat.server.history import HistorySettings
        from rtchat.server.stomp import BrokerPart
        from rtchat.tap import PARTS

    file, text = "settings", settings
    if isinstance(settings, Path):
        file, text = str(settings), settings.read_text(encoding="utf-8-sig")
    ini = ChatIni(
        str(text), file, Schema(dict.fromkeys(kind for part in PARTS for kind in part.reads))
    )
    broker = BrokerPart.read(ini)
    # Not read by its part: the folder of its file need not be on this machine.
    history = ini.read(HistorySettings, source_line=SourceLine(file, 0, "", ""))
    auth = AuthSettings.of(ini)
    return MemorySettings(
        limits=broker.session,
        broker_limits=broker.shared,
        pubsub=broker.pubsub,
        chat=ChatPart.read(ini),
        history=history.rules,
        history_limits=ini.read(HistoryLimits),
        history_bytes=history.max_file_bytes,
        permissions=None if auth.ini is None else auth.rights.permissions(),
    )


def read_permissions(
    rights: Mapping[str, str] | None, groups: Mapping[str, Iterable[str]] | None
) -> Permissions:
    """Return the rights that lines of chat.ini give.

    Args:
        rights: The lines of ``[rights]`` by who they are about; None for no such section.
        groups: The users in each group.

    Raises:
        ConfigError: A line cannot be used.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from rtchat.config.schema import ChatIni, Schema
        from rtchat.server.rights_settings import RightsSettings

    lines = []
    if groups:
        lines += ["[groups]", *(f"{name} = {', '.join(all_)}" for name, all_ in groups.items())]
    if rights is not None:
        lines += ["[rights]", *(f"{who} = {what}" for who, what in rights.items())]
    ini = ChatIni("\n".join(lines), "rights", Schema([RightsSettings]))
    return RightsSettings.of(ini, are_rights_given=True).permissions()
