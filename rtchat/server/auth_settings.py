"""``[users]``, ``[tokens]``, ``[hooks]``, ``[rights]``, ``[groups]``, as chat.ini has them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from rtchat.config.ini import SourceLine
from rtchat.config.keys import key
from rtchat.config.schema import ChatIni, nearest
from rtchat.server.rights_settings import RightsSettings

__all__ = ["LOGIN_SECTIONS", "AuthSettings", "HookSettings", "TokenSettings", "UserSettings"]

_EVENTS = ("connect", "subscribe", "send", "unsubscribe", "disconnect")

LOGIN_SECTIONS = ("users", "tokens", "hooks")
"""With any of these, clients can say who they are."""


def _text(source_line: SourceLine) -> str:
    return source_line.value


def _path(source_line: SourceLine) -> Path | None:
    return source_line.folder / source_line.value


def _where(source_line: SourceLine) -> str:
    text = source_line.value
    return text if "://" in text else str(source_line.folder / text)


@dataclass(frozen=True, slots=True)
class UserSettings:
    """Which users there are.

    Attributes:
        file: The password file.
        checker: A credentials checker of Twisted, as its strcred text.
        session_max_age_s: For how long a log-in on the page is good, in seconds.
        session_key: The file with the key of the cookies of the page; without it the key is new
            at each start.
    """

    file: Path | None = key("[users] file", None, unit="path", read=_path)
    checker: str = key("[users] checker", "", unit="strcred text", read=_text)
    session_max_age_s: float = key(
        "[users] session.max_age", 604_800.0, unit="seconds", low=60, high=31_536_000
    )
    session_key: Path | None = key("[users] session.key", None, unit="path", read=_path)


@dataclass(frozen=True, slots=True)
class TokenSettings:
    """Which tokens are accepted.

    Attributes:
        secret_file: The file with the secret of HS256 to HS512.
        key_file: The PEM file with a public key.
        jwks: The file or address of a key set.
        issuer: What ``iss`` has to be.
        audience: What ``aud`` has to be, or contain.
        cookie: The name of the cookie with the token.
        leeway_s: How far the site's clock may be from this one, in seconds.
    """

    secret_file: Path | None = key("[tokens] secret.file", None, unit="path", read=_path)
    key_file: Path | None = key("[tokens] key.file", None, unit="path", read=_path)
    jwks: str = key("[tokens] jwks", "", unit="path or URL", read=_where)
    issuer: str = key("[tokens] issuer", "", unit="text", read=_text)
    audience: str = key("[tokens] audience", "", unit="text", read=_text)
    cookie: str = key("[tokens] cookie", "", unit="name", read=_text)
    leeway_s: float = key("[tokens] leeway", 5.0, unit="seconds", low=0, high=300)


def _read_events(source_line: SourceLine) -> tuple[str, ...]:
    names = tuple(name.strip() for name in source_line.value.split(","))
    for name in names:
        if name not in _EVENTS:
            near = nearest(name, _EVENTS)
            remedy = f"did you mean {near}?" if near else f"they are {', '.join(_EVENTS)}"
            raise source_line.error(f"names {name or 'nothing'} where an event belongs; {remedy}")
    return names


def _read_policy(source_line: SourceLine) -> bool:
    policies = {"refuse": False, "allow": True}
    if source_line.value.lower() not in policies:
        raise source_line.error("cannot be used; write refuse or allow")
    return policies[source_line.value.lower()]


@dataclass(frozen=True, slots=True)
class HookSettings:
    """What is asked about each event, and told.

    Attributes:
        url: Where events go over HTTP; "" if they do not.
        python: The class in this process that gets them, as ``package.module:Class``, or "".
        events: Which events.
        secret_file: The file with the key of the signature.
        timeout_s: How long an answer may take, in seconds.
        allows_on_failure: Whether what has no answer is allowed, not refused.
    """

    url: str = key("[hooks] url", "", unit="URL", read=_text)
    python: str = key("[hooks] python", "", unit="package.module:Class", read=_text)
    events: tuple[str, ...] = key("[hooks] events", _EVENTS, unit="events", read=_read_events)
    secret_file: Path | None = key("[hooks] secret.file", None, unit="path", read=_path)
    timeout_s: float = key("[hooks] timeout", 5.0, unit="seconds", low=0.1, high=60)
    allows_on_failure: bool = key(
        "[hooks] on_failure", False, unit="`refuse` or `allow`", read=_read_policy
    )


@dataclass(frozen=True, slots=True)
class AuthSettings:
    """Who may do what.

    Attributes:
        ini: The file that says it; None if it says nothing.
        users: Which users there are; None without ``[users]``.
        tokens: Which tokens are accepted; None without ``[tokens]``.
        hooks: What is asked and told; None without ``[hooks]``.
        rights: Who may read, write and administer what.
    """

    ini: ChatIni | None = None
    users: UserSettings | None = None
    tokens: TokenSettings | None = None
    hooks: HookSettings | None = None
    rights: RightsSettings = field(default_factory=RightsSettings)

    @classmethod
    def of(cls, ini: ChatIni) -> AuthSettings:
        """Read all sections.

        Raises:
            ConfigError: A line cannot be used, or sections do not fit together.
        """
        if not any(map(ini.has_section, LOGIN_SECTIONS)):
            for section in ("rights", "groups"):
                if ini.has_section(section):
                    raise ini.error(
                        f"[{section}] has no effect without [users], [tokens] or [hooks]: clients "
                        "cannot say who they are; add one of them",
                        section,
                    )
            return AuthSettings()
        users = tokens = hooks = None
        if ini.has_section("users"):
            users = ini.read(UserSettings)
            if users.file is None and not users.checker:
                raise ini.error("[users] needs file, checker or both", "users")
        if ini.has_section("tokens"):
            tokens = ini.read(TokenSettings)
            given = (tokens.secret_file, tokens.key_file, tokens.jwks)
            if sum(map(bool, given)) != 1:
                raise ini.error(
                    "[tokens] needs secret.file, key.file or jwks, and one of them only", "tokens"
                )
        if ini.has_section("hooks"):
            hooks = ini.read(HookSettings)
            if bool(hooks.url) == bool(hooks.python):
                raise ini.error("[hooks] needs url or python, and one of them only", "hooks")
        are_given = not (tokens is None and hooks is None)
        rights = RightsSettings.of(ini, are_rights_given=are_given)
        return AuthSettings(ini, users, tokens, hooks, rights)
