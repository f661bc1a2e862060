"""chat.ini becomes one frozen ``Settings``, or one sentence that says what to change.

The file is read once, at start. Whatever is wrong in it, down to a certificate that cannot be
read, is a ``ConfigError`` that names file, line, key, value and remedy, before a port is open.
docs/configuration.md explains every key to the people who write the file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import MappingProxyType

from rtchat.config.ini import SourceLine, read_sections, split_lines
from rtchat.config.schema import read_fields, refuse_unknown
from rtchat.config.values import MIB, Reader, filled_text, os_reason, seconds, yes_no
from rtchat.core.access.rules import AccessRule
from rtchat.core.broker.limits import BrokerLimits
from rtchat.core.chat.limits import ChatPolicy
from rtchat.core.stomp.limits import Limits
from rtchat.errors import ConfigError
from rtchat.server.chat import CHAT_KEYS, PRESENCE_KEYS, RATE_KEYS, read_chat
from rtchat.server.front_proxy import FrontSettings, read_front
from rtchat.server.gateway import PROXY_KEYS, ProxySettings, read_rules
from rtchat.server.history import HISTORY_KEYS, HISTORY_LIMIT_KEYS, HistorySettings, read_history
from rtchat.server.listeners import Listener, read_listeners
from rtchat.server.message_log import read_message_log
from rtchat.server.stomp import BROKER_KEYS, SESSION_KEYS, quarter_of_memory, read_pubsub
from rtchat.server.tls import TlsFiles, read_tls
from rtchat.server.web import read_hosts, read_mount

__all__ = ["DEFAULTS", "Settings", "defaults", "load"]


DEFAULTS = """\
[listen]
http://127.0.0.1:9000
stomp://127.0.0.1:61613

[access]
self -> localhost:61613

[global]
session.ping_interval = 20

[history]
/topic/chat* = 1000, 7 days
file = :memory:

[rate]
messages_per_second = 10
"""

# A configuration is a page of text; more than this is some other file, or a device.
_MAX_FILE_BYTES = MIB


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything chat.ini says, checked; paths are absolute.

    Attributes:
        listeners: What to listen on, in the order of the file; never empty.
        access: The rules of ``[access]``.
        ping_interval_s: Seconds between WebSocket pings; 0 is no pings.
        ping_timeout_s: Seconds a pong may take; 0 waits for ever.
        user: The user to become after the ports are open, or None to stay.
        user_line: Where ``user`` stands, or None.
        group: The group to become, or None to stay.
        group_line: Where ``group`` stands, or None.
        hosts: Names this server answers to, in lower case.
        origin_required: Refuse requests without ``Origin``.
        tls: The files of ``[ssl]``, or None; never None when a listener needs them.
        static: URL segment to the directory or file served there.
        message_log: The file that every message is appended to, or None.
        message_log_line: Where it stands, or None.
        limits: The limits of a STOMP session.
        broker_limits: What all STOMP sessions share.
        pubsub: The queues that get a copy of what is sent to ``/pubsub/NAME``, by name.
        history: Which messages are kept, or None.
        chat: What holds for people, rooms and how fast clients may send.
        proxy: The limits of the proxy.
        front: The front proxies.
        source: The file the settings come from, or "built-in defaults".
    """

    listeners: tuple[Listener, ...]
    access: tuple[AccessRule, ...] = ()
    ping_interval_s: float = 20.0
    ping_timeout_s: float = 20.0
    user: str | None = None
    user_line: SourceLine | None = None
    group: str | None = None
    group_line: SourceLine | None = None
    hosts: tuple[str, ...] = ()
    origin_required: bool = False
    tls: TlsFiles | None = None
    static: Mapping[str, Path] = field(default_factory=lambda: MappingProxyType({}))
    message_log: Path | None = None
    message_log_line: SourceLine | None = None
    limits: Limits = field(default_factory=Limits)
    broker_limits: BrokerLimits = field(default_factory=BrokerLimits)
    pubsub: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    history: HistorySettings | None = None
    chat: ChatPolicy = field(default_factory=ChatPolicy)
    proxy: ProxySettings = field(default_factory=ProxySettings)
    front: FrontSettings = field(default_factory=FrontSettings)
    source: str = "built-in defaults"


def load(path: Path) -> Settings:
    """Read a chat.ini.

    Args:
        path: The file; relative paths inside it start at its folder.

    Raises:
        ConfigError: The file cannot be read or cannot be used. Print the text and stop: it
            names file, line, key and value and says what to change.
    """
    name = str(path)
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(
            "there is no such file; check the path, or start without --config to use the "
            "built-in defaults",
            file=name,
        ) from None
    except IsADirectoryError:
        raise ConfigError("this is a folder; name the file in it", file=name) from None
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"the file cannot be read ({os_reason(error)}); check the path and its permissions",
            file=name,
        ) from None
    if len(data) > _MAX_FILE_BYTES:
        raise ConfigError("the file is larger than 1 MiB; this is not a chat.ini", file=name)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"byte 0x{error.object[error.start]:02x} is not UTF-8; save the file as UTF-8",
            file=name,
            line=len(split_lines(error.object[: error.start].decode("latin-1"))),
        ) from None
    return _parse(text, name, path.absolute().parent)


def defaults() -> Settings:
    """Return the settings for a start without a file: loopback only, for its own page."""
    return _parse(DEFAULTS, "built-in defaults", Path.cwd())


def _parse(text: str, file: str, folder: Path) -> Settings:
    sections = read_sections(text, file)
    refuse_unknown(sections, file, _SECTIONS)

    def source_lines(section: str) -> Mapping[str, SourceLine]:
        return sections[section].source_lines if section in sections else {}

    general = source_lines("global")
    user, group = general.get("user"), general.get("group")
    tls = read_tls(source_lines("ssl"), folder)
    if not source_lines("listen"):
        raise ConfigError(
            "there is nothing to listen on; write a section [listen] with a line such as "
            "http://127.0.0.1:9000",
            file=file,
            line=sections["listen"].line if "listen" in sections else 0,
        )
    settings = Settings(
        listeners=read_listeners(source_lines("listen").values(), has_tls=tls is not None),
        access=read_rules(source_lines("access").values(), folder),
        user=filled_text(user) if user else None,
        user_line=user,
        group=filled_text(group) if group else None,
        group_line=group,
        tls=tls,
        static=MappingProxyType(
            {
                name: read_mount(source_line, folder)
                for name, source_line in source_lines("static").items()
            }
        ),
        message_log=read_message_log(source_lines("log").get("messages"), folder),
        message_log_line=source_lines("log").get("messages"),
        limits=Limits(**read_fields(source_lines("broker"), SESSION_KEYS)),
        broker_limits=BrokerLimits(
            **{
                "max_bytes": quarter_of_memory(),
                **read_fields(source_lines("broker"), BROKER_KEYS),
            }
        ),
        pubsub=MappingProxyType(
            {name: read_pubsub(source_line) for name, source_line in source_lines("pubsub").items()}
        ),
        history=read_history(source_lines("history"), folder),
        chat=read_chat(source_lines("presence"), source_lines("chat"), source_lines("rate")),
        proxy=ProxySettings(**read_fields(source_lines("proxy"), PROXY_KEYS)),
        front=read_front(source_lines("front")),
        source=file,
    )
    return replace(settings, **read_fields(general, _GLOBAL))


_GLOBAL: Mapping[str, tuple[str, Reader]] = {
    "session.ping_interval": ("ping_interval_s", seconds(0.1, 86400, or_zero=True)),
    "session.ping_timeout": ("ping_timeout_s", seconds(0.1, 86400, or_zero=True)),
    "hosts": ("hosts", read_hosts),
    "origin.required": ("origin_required", yes_no),
}

# Every section with its keys; [listen], [access] and [static] hold lines of the user's own, and
# so does [history] beside its keys.
_SECTIONS: Mapping[str, tuple[str, ...]] = {
    "listen": (),
    "access": (),
    "global": (*_GLOBAL, "user", "group"),
    "ssl": ("crt", "key", "chain"),
    "static": (),
    "log": ("messages",),
    "broker": (*SESSION_KEYS, *BROKER_KEYS),
    "pubsub": (),
    "history": ("file", *HISTORY_KEYS, *HISTORY_LIMIT_KEYS),
    "presence": tuple(PRESENCE_KEYS),
    "chat": tuple(CHAT_KEYS),
    "rate": tuple(RATE_KEYS),
    "proxy": tuple(PROXY_KEYS),
    "front": ("trusted", "protocol"),
}
