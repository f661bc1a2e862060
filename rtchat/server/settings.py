"""chat.ini becomes one frozen ``Settings``, or one sentence that says what to change.

The file is read once, at start. Whatever is wrong in it, down to a certificate that cannot be
read, is a ``ConfigError`` that names file, line, key, value and remedy, before a port is open.
docs/configuration.md explains every key to the people who write the file.
"""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from configparser import (
    ConfigParser,
    DuplicateOptionError,
    DuplicateSectionError,
    MissingSectionHeaderError,
    ParsingError,
)
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, cast

from rtchat.core.access.addresses import AddressList
from rtchat.core.access.rules import AccessRule, Target, normal_host
from rtchat.core.history.stream import HistoryRule
from rtchat.core.stomp.limits import BrokerLimits, ChatTerms, HistoryLimits, Limits
from rtchat.errors import ConfigError

__all__ = [
    "DEFAULTS",
    "FrontSettings",
    "HistorySettings",
    "Kind",
    "Listener",
    "Place",
    "ProxySettings",
    "Settings",
    "TlsFiles",
    "defaults",
    "load",
]

Kind: TypeAlias = Literal["http", "https", "stomp", "stomps"]

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

_KINDS = ("http", "https", "stomp", "stomps")
_RESERVED_MOUNTS = ("static", "ws", "stomp", "tcp", "embed", "health", "metrics", "status")
_KIB, _MIB, _GIB = 1024, 1024**2, 1024**3
_UNITS = {"": 1, "KIB": _KIB, "MIB": _MIB, "GIB": _GIB}
# A configuration is a page of text; more than this is some other file, or a device.
_MAX_FILE_BYTES = _MIB

_SECTION = re.compile(r"\[(?P<header>[^\[\]]+)\]$")
_COMMENT = re.compile(r"(?:^|\s)#.*|^;.*")
_URL = re.compile(r"(?P<kind>[a-z]+)://(?P<host>\[[^\]]*\]|[^:/]*)(?::(?P<port>[^/]*))?/?", re.I)
_NUMBER = re.compile(r"-?[0-9]{1,15}(?:\.[0-9]{1,15})?")
_SIZE = re.compile(r"(?P<count>-?[0-9]{1,15})\s*(?P<unit>[KMG]iB)?", re.IGNORECASE)
_AGE = re.compile(r"(?P<count>[0-9]{1,9})\s*(?P<unit>[a-z]+)", re.I)
_AGE_UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 604800}
_MAX_AGE_S = 3660 * 86400
_MAX_KEPT = 1_000_000
_HISTORY_FILE = "rtchat-history.sqlite"
_SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a setting stands, for messages about it.

    Attributes:
        file: The file as it was named on the command line.
        line: Its line, counted from 1.
        key: What stands before ``=``, or the whole line when there is none.
        value: What stands behind ``=``, or "".
        section: The name of the section, without brackets.
    """

    file: str
    line: int
    key: str
    value: str
    section: str = ""

    @property
    def setting(self) -> str:
        """The line as it stands in the file, comments aside."""
        return f"{self.key} = {self.value}" if self.value else self.key

    def __str__(self) -> str:
        return f"[{self.section}] {self.setting}" if self.section else self.setting

    def error(self, problem: str) -> ConfigError:
        """Return the error to raise for this line.

        Args:
            problem: What is wrong and what to do; it continues the sentence that the setting
                begins, such as "needs [ssl] crt and key".
        """
        return ConfigError(f"{self} {problem}", file=self.file, line=self.line)


@dataclass(frozen=True, slots=True)
class Listener:
    """One port, or one endpoint, to listen on.

    Attributes:
        kind: What is spoken there; the ``s`` at the end means TLS.
        host: Name or address of the interface, without IPv6 brackets; "" is every interface
            and also stands beside an endpoint.
        port: 1 to 65535, or 0 beside an endpoint.
        endpoint: A Twisted server endpoint string instead of host and port, or None.
        place: The line, to name it when the port is taken.
    """

    kind: Kind
    host: str
    port: int
    endpoint: str | None
    place: Place


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The PEM files for ``https`` and ``stomps``; each could be read at start.

    Attributes:
        certificate: The server's certificate.
        key: Its private key.
        chain: The certificates between it and the authority, or None.
    """

    certificate: Path
    key: Path
    chain: Path | None


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
    max_message_bytes: int = 16 * _MIB
    handshake_timeout_s: float = 10.0
    idle_timeout_s: float = 0.0
    max_connections: int = 10_000
    max_per_target: int = 0
    max_per_source: int = 0
    private_names: bool = True
    max_http: int = 20_000
    max_http_per_source: int = 10_000


@dataclass(frozen=True, slots=True)
class FrontSettings:
    """The front proxies that may say whom they speak for.

    Attributes:
        trusted: Their addresses; nobody by default.
        has_proxy_header: Whether they do so with the PROXY protocol, not X-Forwarded-For.
    """

    trusted: AddressList = field(default_factory=AddressList)
    has_proxy_header: bool = False


@dataclass(frozen=True, slots=True)
class HistorySettings:
    """Which messages are kept, and where.

    Attributes:
        rules: What is kept; the first rule that matches a destination holds.
        place: The line of the file, or of the first rule.
        file: The SQLite file, or None for memory that ends with the process.
        is_power_safe: Whether what is written survives a power cut, too.
        max_file_bytes: How large the file may become.
        limits: How much is kept.
    """

    rules: tuple[HistoryRule, ...]
    place: Place
    file: Path | None = None
    is_power_safe: bool = False
    max_file_bytes: int = _GIB
    limits: HistoryLimits = field(default_factory=HistoryLimits)


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything chat.ini says, checked; paths are absolute.

    Attributes:
        listeners: What to listen on, in the order of the file; never empty.
        access: The rules of ``[access]``.
        ping_interval_s: Seconds between WebSocket pings; 0 is no pings.
        ping_timeout_s: Seconds a pong may take; 0 waits for ever.
        user: The user to become after the ports are open, or None to stay.
        user_place: Where ``user`` stands, or None.
        group: The group to become, or None to stay.
        group_place: Where ``group`` stands, or None.
        hosts: Names this server answers to, in lower case.
        origin_required: Refuse requests without ``Origin``.
        tls: The files of ``[ssl]``, or None; never None when a listener needs them.
        static: URL segment to the directory or file served there.
        message_log: The file that every message is appended to, or None.
        message_log_place: Where it stands, or None.
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
    user_place: Place | None = None
    group: str | None = None
    group_place: Place | None = None
    hosts: tuple[str, ...] = ()
    origin_required: bool = False
    tls: TlsFiles | None = None
    static: Mapping[str, Path] = field(default_factory=lambda: MappingProxyType({}))
    message_log: Path | None = None
    message_log_place: Place | None = None
    limits: Limits = field(default_factory=Limits)
    broker_limits: BrokerLimits = field(default_factory=BrokerLimits)
    pubsub: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    history: HistorySettings | None = None
    chat: ChatTerms = field(default_factory=ChatTerms)
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
            f"the file cannot be read ({_reason(error)}); check the path and its permissions",
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
            line=len(_split_lines(error.object[: error.start].decode("latin-1"))),
        ) from None
    return _parse(text, name, path.absolute().parent)


def defaults() -> Settings:
    """Return the settings for a start without a file: loopback only, for its own page."""
    return _parse(DEFAULTS, "built-in defaults", Path.cwd())


# ---------------------------------------------------------------- text → sections of places


@dataclass(frozen=True, slots=True)
class _Section:
    """One section of the file; its places are in the order of the file."""

    line: int
    places: Mapping[str, Place]


class _ChatIni(ConfigParser):
    """The dialect: ``=`` alone, names as written, no default section, no interpolation."""

    # Nothing may follow "]": an IPv6 source, as in "[::1] -> localhost:61613", is no section.
    SECTCRE = _SECTION

    def __init__(self) -> None:
        super().__init__(
            strict=True,
            interpolation=None,
            delimiters=("=",),
            allow_no_value=True,
            empty_lines_in_values=False,
            default_section="",
            # _clean_lines has taken the comments away: the line numbers need the same lines.
            comment_prefixes=(),
            inline_comment_prefixes=(),
        )

    def optionxform(self, optionstr: str) -> str:
        return optionstr


def _read_sections(text: str, file: str) -> dict[str, _Section]:
    """Return every section with its settings; nothing is judged yet but the form."""
    lines = _clean_lines(text, file)
    numbers = _number_lines(lines)
    parser = _ChatIni()
    try:
        parser.read_file(lines, source=file)
    except DuplicateSectionError as error:
        first = numbers[str(error.section), None]
        raise ConfigError(
            f"[{error.section}] begins in line {first} already; move these lines there",
            file=file,
            line=error.lineno or 0,
        ) from None
    except DuplicateOptionError as error:
        first = numbers[str(error.section), str(error.option)]
        raise ConfigError(
            f"[{error.section}] {error.option} stands in line {first} already; keep one of them",
            file=file,
            line=error.lineno or 0,
        ) from None
    except MissingSectionHeaderError as error:
        raise ConfigError(
            f"{lines[error.lineno - 1]} stands before any section; begin with a line such as "
            "[listen]",
            file=file,
            line=error.lineno,
        ) from None
    except ParsingError as error:
        number = error.errors[0][0]
        raise ConfigError(
            f"{lines[number - 1]} has no key before the =; write key = value",
            file=file,
            line=number,
        ) from None
    return {
        section: _Section(
            numbers[section, None],
            {
                key: Place(file, numbers[section, key], key, value or "", section)
                for key, value in parser.items(section)
            },
        )
        for section in parser.sections()
    }


def _split_lines(text: str) -> list[str]:
    """Split where an editor does; ``str.splitlines`` knows eight line ends more."""
    return re.split(r"\r\n|\r|\n", text)


def _clean_lines(text: str, file: str) -> list[str]:
    """Return the lines without comments and surrounding white space.

    Indentation goes too: configparser would take an indented line for the rest of the value
    above it, and a rule or a port would silently be lost.
    """
    lines = []
    for number, line in enumerate(_split_lines(text), start=1):
        clean = _COMMENT.sub("", line.strip()).strip()
        for character in clean:
            if unicodedata.category(character) == "Cc" and character != "\t":
                raise ConfigError(
                    f"the line has a control character (U+{ord(character):04X}); remove it",
                    file=file,
                    line=number,
                )
        if clean.startswith("[") and "->" not in clean and not _SECTION.match(clean):
            raise ConfigError(
                f"{clean} is not a section; write its name alone in brackets, such as [listen]",
                file=file,
                line=number,
            )
        lines.append(clean)
    return lines


def _number_lines(lines: Sequence[str]) -> dict[tuple[str, str | None], int]:
    """Map (section, key) to its first line; configparser keeps no numbers.

    The section itself has the key None.
    """
    numbers: dict[tuple[str, str | None], int] = {}
    section = ""
    for number, line in enumerate(lines, start=1):
        if header := _SECTION.match(line):
            section = header["header"]
            numbers.setdefault((section, None), number)
        elif line:
            numbers.setdefault((section, line.partition("=")[0].rstrip()), number)
    return numbers


# ---------------------------------------------------------------- places → settings


def _parse(text: str, file: str, folder: Path) -> Settings:
    sections = _read_sections(text, file)
    _refuse_unknown(sections, file)

    def places(section: str) -> Mapping[str, Place]:
        return sections[section].places if section in sections else {}

    general = places("global")
    user, group = general.get("user"), general.get("group")
    tls = _tls(places("ssl"), folder)
    if not places("listen"):
        raise ConfigError(
            "there is nothing to listen on; write a section [listen] with a line such as "
            "http://127.0.0.1:9000",
            file=file,
            line=sections["listen"].line if "listen" in sections else 0,
        )
    settings = Settings(
        listeners=_listeners(places("listen").values(), tls),
        access=_rules(places("access").values(), folder),
        user=_text(user) if user else None,
        user_place=user,
        group=_text(group) if group else None,
        group_place=group,
        tls=tls,
        static=MappingProxyType(
            {name: _mount(place, folder) for name, place in places("static").items()}
        ),
        message_log=_message_log(places("log").get("messages"), folder),
        message_log_place=places("log").get("messages"),
        limits=Limits(**_fields(places("broker"), _BROKER)),
        broker_limits=BrokerLimits(
            **{
                "max_bytes": _quarter_of_memory(),
                **_fields(places("broker"), _SHARED),
            }
        ),
        pubsub=MappingProxyType({name: _copies(place) for name, place in places("pubsub").items()}),
        history=_history(places("history"), folder),
        chat=_chat(places("presence"), places("chat"), places("rate")),
        proxy=ProxySettings(**_fields(places("proxy"), _PROXY)),
        front=_front(places("front")),
        source=file,
    )
    return replace(settings, **_fields(general, _GLOBAL))


def _refuse_unknown(sections: Mapping[str, _Section], file: str) -> None:
    """Refuse the first section or key that rtchat does not know, naming the nearest it knows."""
    for name, section in sections.items():
        if name not in _SECTIONS:
            near = _nearest(name, _SECTIONS)
            known = ", ".join(f"[{known}]" for known in _SECTIONS)
            remedy = f"did you mean [{near}]?" if near else f"the sections are {known}"
            raise ConfigError(
                f"[{name}] is not a known section; {remedy}", file=file, line=section.line
            )
        for key, place in section.places.items():
            if name == "history" and key.startswith("/"):
                continue
            if _SECTIONS[name] and key not in _SECTIONS[name]:
                raise ConfigError(
                    f"[{name}] {key} is not a known key; {_key_remedy(name, key)}",
                    file=file,
                    line=place.line,
                )


def _key_remedy(section: str, key: str) -> str:
    for other, keys in _SECTIONS.items():
        if key in keys:
            return f"it belongs in [{other}]"
    if near := _nearest(key, _SECTIONS[section]):
        return f"did you mean {near}?"
    for other, keys in _SECTIONS.items():
        if near := _nearest(key, keys):
            return f"did you mean {near} in [{other}]?"
    return f"the keys of [{section}] are {', '.join(_SECTIONS[section])}"


def _nearest(word: str, known: Iterable[str]) -> str:
    return next(iter(get_close_matches(word.lower(), list(known), n=1)), "")


def _listeners(places: Iterable[Place], tls: TlsFiles | None) -> tuple[Listener, ...]:
    listeners: list[Listener] = []
    for place in places:
        listener = _endpoint(place) if place.key in _KINDS else _address(place)
        if listener.kind in ("https", "stomps") and tls is None:
            raise place.error("needs a certificate; write a section [ssl] with crt and key")
        for other in listeners:
            if _overlap(listener, other):
                raise place.error(
                    f"takes the same address as line {other.place.line} ({other.place.setting}); "
                    "give each its own"
                )
        listeners.append(listener)
    return tuple(listeners)


def _endpoint(place: Place) -> Listener:
    """Read ``http = ENDPOINT``; whether Twisted understands the endpoint shows when it opens."""
    kind = place.key
    if kind not in ("http", "stomp"):
        plain = kind.removesuffix("s")
        raise place.error(
            f"takes no endpoint; write {plain} = ssl:PORT:privateKey=FILE:certKey=FILE, or "
            f"{kind}://:PORT and a section [ssl]"
        )
    if not place.value:
        raise place.error(f"has no endpoint; write one, such as {kind} = unix:/run/rtchat.sock")
    return Listener(cast(Kind, kind), "", 0, place.value, place)


def _address(place: Place) -> Listener:
    """Read ``http://[host]:port``."""
    url = None if place.value else _URL.fullmatch(place.key)
    kind = url["kind"].lower() if url else ""
    if url is None or kind not in _KINDS:
        scheme, colon, rest = place.key.partition(":")
        near = _nearest(scheme, _KINDS) if colon else ""
        remedy = "write http://HOST:PORT, https://…, stomp://… or stomps://…"
        if near and near != scheme.lower():
            remedy = f"did you mean {near}:{rest} ?"
        raise place.error(f"is not an address to listen on; {remedy}")
    host, port = url["host"], url["port"] or ""
    if not port:
        example = 9000 if kind.startswith("http") else 61613
        raise place.error(f"has no port; write {kind}://{host}:{example}")
    if ":" in port:
        raise place.error(f"is not clear; write an IPv6 address in brackets: {kind}://[::1]:9000")
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and 1 <= int(port) <= 65535):
        raise place.error(f"has the port {port}; use a number from 1 to 65535")
    if host == "*":
        raise place.error(f"has a wildcard; write {kind}://:{port} for every interface")
    try:
        host = normal_host(host) if host else ""
    except ValueError as error:
        raise place.error(
            f"has no usable host ({error}); write {kind}://127.0.0.1:{port}, or "
            f"{kind}://:{port} for every interface"
        ) from None
    return Listener(cast(Kind, kind), host, int(port), None, place)


def _overlap(one: Listener, other: Listener) -> bool:
    """Whether the second of two listeners is bound to find its address taken."""
    if one.endpoint is not None or other.endpoint is not None:
        return one.endpoint == other.endpoint
    if one.port != other.port:
        return False
    hosts = {one.host, other.host}
    if len(hosts) == 1:
        return True
    ipv6 = sum(":" in host for host in hosts)
    return bool((hosts & {"", "0.0.0.0"} and ipv6 == 0) or ("::" in hosts and ipv6 == 2))


def _rules(places: Iterable[Place], folder: Path) -> tuple[AccessRule, ...]:
    """Return the rules; those for one target reach it in one way."""
    rules: list[AccessRule] = []
    first: dict[Target, tuple[AccessRule, Place]] = {}
    for place in places:
        try:
            rule = AccessRule.parse(place.setting)
        except ValueError as error:
            raise place.error(f"is not a rule: {error}") from None
        if rule.path:
            rule = replace(rule, path=str(folder / rule.path))
        other, where = first.setdefault(rule.target, (rule, place))
        if (rule.path, rule.has_proxy_header) != (other.path, other.has_proxy_header):
            raise place.error(
                f"reaches {rule.target} in another way than line {where.line} "
                f"({where.setting}); write the same behind the -> in both"
            )
        rules.append(rule)
    return tuple(rules)


def _front(places: Mapping[str, Place]) -> FrontSettings:
    trusted, protocol = places.get("trusted"), places.get("protocol")
    if trusted is None:
        if protocol is not None:
            raise protocol.error(
                "trusts nobody; write trusted = … with the addresses of the front proxies, too"
            )
        return FrontSettings()
    try:
        addresses = AddressList.parse(re.findall(r"[^,\s]+", _text(trusted)))
    except ValueError as error:
        raise trusted.error(
            f"is not a list of addresses ({error}); write addresses, networks such as "
            "10.0.0.0/8, or unix"
        ) from None
    if not addresses:
        raise trusted.error("has no address in it; write one, such as 127.0.0.1")
    kinds = {"x-forwarded-for": False, "proxy": True}
    kind = protocol.value.lower() if protocol else "x-forwarded-for"
    if protocol is not None and kind not in kinds:
        raise protocol.error("is neither; write x-forwarded-for or proxy")
    return FrontSettings(addresses, kinds[kind])


def _text(place: Place) -> str:
    if not place.value:
        raise place.error(f"has no value; write {place.key} = …, or remove the line")
    return place.value


def _tls(places: Mapping[str, Place], folder: Path) -> TlsFiles | None:
    if not places:
        return None
    crt, key, chain = places.get("crt"), places.get("key"), places.get("chain")
    if crt is None or key is None:
        missing = "key" if crt else "crt"
        place = next(iter(places.values()))
        raise place.error(f"is not enough; write {missing} = FILE in [ssl] too")
    return TlsFiles(
        certificate=_pem(crt, folder, b"CERTIFICATE-----", "a certificate"),
        key=_pem(key, folder, b"PRIVATE KEY-----", "a private key"),
        chain=_pem(chain, folder, b"CERTIFICATE-----", "a certificate") if chain else None,
    )


def _pem(place: Place, folder: Path, label: bytes, what: str) -> Path:
    """Return the path of a PEM file that can be read and holds what it should."""
    path = folder / _text(place)
    if not os.path.exists(path):
        raise place.error(f"does not exist; write the path of a PEM file ({path} was tried)")
    if not os.path.isfile(path):
        raise place.error("is not a file; write the path of a PEM file")
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_FILE_BYTES)
    except OSError as error:
        raise place.error(
            f"cannot be read ({_reason(error)}); change its permissions or the path"
        ) from None
    if label not in data:
        raise place.error(f"holds no {what.removeprefix('a ')}; write the path of {what} in PEM")
    return path


def _mount(place: Place, folder: Path) -> Path:
    """Return what ``[static] name = path`` serves."""
    if not _SEGMENT.fullmatch(place.key):
        raise place.error(
            "has a name that is no part of a URL; use letters, digits, '.', '_' and '-', "
            "beginning with a letter or digit"
        )
    if place.key.lower() in _RESERVED_MOUNTS:
        raise place.error(f"takes the path /{place.key}, which rtchat needs; choose another name")
    path = folder / _text(place)
    if not os.path.exists(path):
        raise place.error(f"does not exist; write the path of a folder or file ({path} was tried)")
    if not os.access(path, os.R_OK | (os.X_OK if os.path.isdir(path) else 0)):
        raise place.error("cannot be read; change its permissions or the path")
    return path


def _message_log(place: Place | None, folder: Path) -> Path | None:
    if place is None:
        return None
    path = folder / _text(place)
    if os.path.isdir(path):
        raise place.error("is a folder; write the path of a file in it")
    if not os.path.isdir(path.parent):
        raise place.error(f"stands in no folder; create {path.parent} or change the path")
    if not os.access(path if os.path.exists(path) else path.parent, os.W_OK):
        raise place.error("cannot be written; change the permissions or the path")
    return path


def _copies(place: Place) -> tuple[str, ...]:
    """Read the queues of a [pubsub] line."""
    if not _SEGMENT.fullmatch(place.key):
        raise place.error(
            "is not a name; write letters, digits, dots, dashes and underscores, such as "
            "orders = /queue/billing, /queue/shipping"
        )
    queues = [name.strip() for name in _text(place).split(",")]
    for name in queues:
        if not name.startswith("/queue/") or name == "/queue/":
            raise place.error(
                f"names {name or 'nothing'} where a queue belongs; write /queue/NAME, several "
                "with commas between them"
            )
    return tuple(dict.fromkeys(queues))


def _history(places: Mapping[str, Place], folder: Path) -> HistorySettings | None:
    """Read [history]: rules, which begin with a slash, and keys."""
    rules = {key: _history_rule(place) for key, place in places.items() if key.startswith("/")}
    if not rules:
        for place in places.values():
            raise place.error("keeps nothing; write a line such as /topic/chat* = 1000, 7 days")
        return None
    file = places.get("file")
    place = file or places[next(iter(rules))]
    path: Path | None = folder / _HISTORY_FILE
    if file is not None:
        path = None if _text(file) == ":memory:" else folder / file.value
    if path is not None and path.is_dir():
        raise place.error(f"is a folder; write the path of a file in it ({path} was tried)")
    if path is not None and not path.parent.is_dir():
        raise place.error(f"stands in no folder; create {path.parent} or change the path")
    return HistorySettings(
        tuple(rules.values()),
        place,
        path,
        limits=HistoryLimits(**_fields(places, _HISTORY_LIMITS)),
        **_fields(places, _HISTORY),
    )


def _history_rule(place: Place) -> HistoryRule:
    """Read ``PATTERN = COUNT, AGE``."""
    if not place.key.startswith("/topic/") or place.key == "/topic/":
        raise place.error("keeps no topic; begin the line with /topic/, such as /topic/chat*")
    if "," in place.key:
        raise place.error("names several; write a line for each of them")
    count, comma, age = (part.strip() for part in place.value.partition(","))
    if not (count.isascii() and count.isdigit() and 1 <= int(count[:9]) <= _MAX_KEPT):
        raise place.error(
            f"says {count or 'nothing'} where a number of messages from 1 to {_MAX_KEPT} belongs; "
            f"write {place.key} = 1000, 7 days"
        )
    if not comma:
        return HistoryRule(place.key, int(count))
    match = _AGE.fullmatch(age)
    unit = _AGE_UNITS.get(match["unit"].lower().removesuffix("s")) if match else None
    if match is None or unit is None or not 1 <= int(match["count"]) * unit <= _MAX_AGE_S:
        raise place.error(
            f"says {age or 'nothing'} where an age up to 10 years belongs; write seconds, "
            f"minutes, hours, days or weeks, such as {place.key} = {count}, 7 days"
        )
    return HistoryRule(place.key, int(count), int(match["count"]) * unit)


def _sync(place: Place) -> bool:
    kinds = {"normal": False, "full": True}
    if place.value.lower() not in kinds:
        raise place.error("is neither; write normal or full")
    return kinds[place.value.lower()]


def _chat(
    presence: Mapping[str, Place], chat: Mapping[str, Place], rate: Mapping[str, Place]
) -> ChatTerms:
    fields = {**_fields(presence, _PRESENCE), **_fields(chat, _CHAT), **_fields(rate, _RATE)}
    per_second = fields.get("messages_per_second", 0)
    if per_second:
        # At least one: less than that would never let a message through.
        fields.setdefault("burst", max(1, round(_BURST_S * per_second)))
    elif "burst" in rate:
        raise rate["burst"].error("has no rate; write messages_per_second in [rate], too")
    # Whoever writes the limit means everybody.
    return ChatTerms(**fields, limits_programs="text.max_characters" in chat)


def _rooms(place: Place) -> tuple[str, ...]:
    """Read which destinations are rooms."""
    rooms = [name.strip() for name in _text(place).split(",")]
    for name in rooms:
        if not name.startswith("/topic/") or name == "/topic/":
            raise place.error(
                f"names {name or 'nothing'} where a room belongs; write /topic/NAME, in which * "
                "stands for any letters, several with commas between them"
            )
    return tuple(dict.fromkeys(rooms))


def _quarter_of_memory() -> int:
    """Return a quarter of the machine's memory in bytes, or 1 GiB if nobody can tell."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4
    except (ValueError, OSError):
        return _GIB


def _reason(error: OSError | ValueError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


# ---------------------------------------------------------------- values

_Reader: TypeAlias = Callable[[Place], Any]


def _seconds(low: float, high: float, *, or_zero: bool = False, unit: str = "seconds") -> _Reader:
    def read(place: Place) -> float:
        value = float(place.value) if _NUMBER.fullmatch(place.value) else -1.0
        if not (low <= value <= high or (or_zero and value == 0)):
            zero = "0 or " if or_zero else ""
            raise place.error(
                f"cannot be used; write {zero}a number of {unit} from {low:g} to {high:g}"
            )
        return value

    return read


def _whole(low: int, high: int, unit: str, *, or_zero: bool = False) -> _Reader:
    def read(place: Place) -> int:
        text = place.value
        value = int(text) if "." not in text and _NUMBER.fullmatch(text) else -1
        if not (low <= value <= high or (or_zero and value == 0)):
            zero = "0 or " if or_zero else ""
            raise place.error(
                f"cannot be used; write {zero}a number of {unit} from {low} to {high}"
            )
        return value

    return read


def _size(low: int, high: int) -> _Reader:
    def read(place: Place) -> int:
        size = _SIZE.fullmatch(place.value)
        if size is None:
            raise place.error(
                "is not a size; write a number of bytes, or a number with KiB, MiB or GiB"
            )
        value = int(size["count"]) * _UNITS[(size["unit"] or "").upper()]
        if not low <= value <= high:
            raise place.error(f"is out of range; write {_binary(low)} to {_binary(high)}")
        return value

    return read


def _binary(size: int) -> str:
    """Write a size the way the file takes it."""
    for unit, factor in (("GiB", _GIB), ("MiB", _MIB), ("KiB", _KIB)):
        if size % factor == 0:
            return f"{size // factor} {unit}"
    return f"{size} bytes"


def _yes_no(place: Place) -> bool:
    states = ConfigParser.BOOLEAN_STATES
    if place.value.lower() not in states:
        raise place.error("is neither; write yes or no")
    return states[place.value.lower()]


def _hosts(place: Place) -> tuple[str, ...]:
    names = re.findall(r"[^,\s]+", _text(place))
    if not names:
        raise place.error("has no name in it; write one, such as chat.example.com")
    try:
        return tuple(dict.fromkeys(normal_host(name) for name in names))
    except ValueError as error:
        raise place.error(
            f"is not a list of host names ({error}); write names without port, such as "
            "chat.example.com"
        ) from None


def _fields(
    places: Mapping[str, Place], table: Mapping[str, tuple[str, _Reader]]
) -> dict[str, Any]:
    """Return field name and value of every key that the file sets."""
    return {table[key][0]: table[key][1](place) for key, place in places.items() if key in table}


_GLOBAL: Mapping[str, tuple[str, _Reader]] = {
    "session.ping_interval": ("ping_interval_s", _seconds(0.1, 86400, or_zero=True)),
    "session.ping_timeout": ("ping_timeout_s", _seconds(0.1, 86400, or_zero=True)),
    "hosts": ("hosts", _hosts),
    "origin.required": ("origin_required", _yes_no),
}
_BROKER: Mapping[str, tuple[str, _Reader]] = {
    "login.timeout": ("login_timeout_s", _seconds(0.1, 3600)),
    "login.max_bytes": ("max_login_bytes", _size(_KIB, _GIB)),
    "frame.max_bytes": ("max_frame_bytes", _size(_KIB, _GIB)),
    "header.max_count": ("max_headers", _whole(10, 100_000, "headers")),
    "header.max_bytes": ("max_header_bytes", _size(256, _MIB)),
    "subscription.max_count": ("max_subscriptions", _whole(1, 1_000_000, "subscriptions")),
    "backlog.max_bytes": ("max_backlog_bytes", _size(_KIB, _GIB)),
    "transaction.max_count": ("max_transactions", _whole(1, 100_000, "transactions")),
    "transaction.max_actions": ("max_transaction_actions", _whole(1, 1_000_000, "actions")),
    "prefetch.count": ("prefetch", _whole(1, 65_535, "messages", or_zero=True)),
    "heartbeat.send_ms": (
        "heartbeat_send_ms",
        _whole(100, 3_600_000, "milliseconds", or_zero=True),
    ),
    "heartbeat.receive_ms": (
        "heartbeat_receive_ms",
        _whole(100, 3_600_000, "milliseconds", or_zero=True),
    ),
    "heartbeat.min_ms": ("min_heartbeat_ms", _whole(100, 3_600_000, "milliseconds")),
    "server_header": ("show_server", _yes_no),
}
_SHARED: Mapping[str, tuple[str, _Reader]] = {
    "queue.max_messages": ("max_queue_messages", _whole(1, 100_000_000, "messages")),
    "queue.max_bytes": ("max_queue_bytes", _size(_KIB, 1024 * _GIB)),
    "redelivery.max_count": ("max_deliveries", _whole(1, 1_000_000, "deliveries", or_zero=True)),
    "memory.max_bytes": ("max_bytes", _size(_MIB, 1024 * _GIB)),
}
_BURST_S = 5
_PRESENCE: Mapping[str, tuple[str, _Reader]] = {
    "grace": ("grace_s", _seconds(0.1, 3600, or_zero=True)),
}
_CHAT: Mapping[str, tuple[str, _Reader]] = {
    "rooms": ("rooms", _rooms),
    "text.max_characters": ("max_text_chars", _whole(1, 10_000_000, "characters", or_zero=True)),
    "nick.max_characters": ("max_nick_chars", _whole(1, 1000, "characters")),
    "nick.must_match": ("nick_must_match", _yes_no),
}
_RATE: Mapping[str, tuple[str, _Reader]] = {
    "messages_per_second": (
        "messages_per_second",
        _seconds(0.1, 100_000, or_zero=True, unit="messages"),
    ),
    "burst": ("burst", _whole(1, 1_000_000, "messages")),
}
_PROXY: Mapping[str, tuple[str, _Reader]] = {
    "connect.timeout": ("connect_timeout_s", _seconds(0.1, 600)),
    "message.max_bytes": ("max_message_bytes", _size(_KIB, _GIB)),
    "handshake.timeout": ("handshake_timeout_s", _seconds(0.1, 600)),
    "idle.timeout": ("idle_timeout_s", _seconds(0.1, 604_800, or_zero=True)),
    "connections.total": ("max_connections", _whole(1, 1_000_000, "connections", or_zero=True)),
    "connections.per_target": (
        "max_per_target",
        _whole(1, 1_000_000, "connections", or_zero=True),
    ),
    "connections.per_source": (
        "max_per_source",
        _whole(1, 1_000_000, "connections", or_zero=True),
    ),
    "private.names": ("private_names", _yes_no),
    "http.connections.total": ("max_http", _whole(1, 1_000_000, "connections", or_zero=True)),
    "http.connections.per_source": (
        "max_http_per_source",
        _whole(1, 1_000_000, "connections", or_zero=True),
    ),
}

_HISTORY: Mapping[str, tuple[str, _Reader]] = {
    "sync": ("is_power_safe", _sync),
    "file.max_bytes": ("max_file_bytes", _size(_MIB, 1024 * _GIB)),
}
_HISTORY_LIMITS: Mapping[str, tuple[str, _Reader]] = {
    "destinations.max_count": ("max_destinations", _whole(1, 1_000_000, "destinations")),
    "destination.max_bytes": ("max_destination_bytes", _size(64 * _KIB, 1024 * _GIB)),
    "memory.max_bytes": ("max_memory_bytes", _size(_MIB, 1024 * _GIB)),
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
    "broker": (*_BROKER, *_SHARED),
    "pubsub": (),
    "history": ("file", *_HISTORY, *_HISTORY_LIMITS),
    "presence": tuple(_PRESENCE),
    "chat": tuple(_CHAT),
    "rate": tuple(_RATE),
    "proxy": tuple(_PROXY),
    "front": ("trusted", "protocol"),
}
