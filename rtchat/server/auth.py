"""``[users]``, ``[tokens]``, ``[rights]``, ``[groups]``: who a client is, and what it may do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.application.service import IService, Service
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from typing_extensions import override

from rtchat.config.ini import SourceLine
from rtchat.config.keys import key
from rtchat.config.schema import ChatIni
from rtchat.core.auth.permissions import Permissions
from rtchat.errors import ConfigError
from rtchat.server.part import Check, Checks, Part, Server
from rtchat.server.rights_settings import RightsSettings
from rtchat.server.settings import read_again
from rtchat.server.stomp import BrokerPart
from rtchat.server.web import WebPart

if TYPE_CHECKING:
    # Loaded by the part itself, and only if the configuration asks for it.
    from rtchat.net.auth.key_sources import KeySource
    from rtchat.net.auth.login import Login
    from rtchat.net.auth.page_sessions import CookieSessions
    from rtchat.net.auth.passwords import Passwords
    from rtchat.net.auth.tokens import TokenVerifier

__all__ = ["AuthPart", "AuthSettings", "TokenSettings", "UserSettings"]

_log = Logger(__package__)

_LOOK_EVERY_S = 2.0
"""How often the password file is looked at."""

_SECTIONS = ("users", "tokens")


def _no_stamp(user: str) -> None:
    """Return no stamp: there are no users with passwords."""


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
    leeway_s: float = key("[tokens] leeway", 0.0, unit="seconds", low=0, high=300)


@dataclass(frozen=True, slots=True)
class AuthSettings:
    """Who may do what.

    Attributes:
        ini: The file that says it; None if it says nothing.
        users: Which users there are; None without ``[users]``.
        tokens: Which tokens are accepted; None without ``[tokens]``.
        rights: Who may read, write and administer what.
    """

    ini: ChatIni | None = None
    users: UserSettings | None = None
    tokens: TokenSettings | None = None
    rights: RightsSettings = field(default_factory=RightsSettings)


class AuthPart(Part[AuthSettings], Service):
    """Log-in and rights; without their sections it does nothing.

    Attributes:
        login: Finds out who sessions are; None if they are all anonymous and may do everything.
    """

    reads = (UserSettings, TokenSettings, RightsSettings)

    def __init__(self, settings: AuthSettings, server: Server) -> None:
        super().__init__(settings, server)
        self.login: Login | None = None
        self._server = server
        self._passwords: Passwords | None = None
        self._keys: KeySource | None = None
        self._loop: LoopingCall | None = None
        if settings.ini is not None:
            self._open(settings.ini)

    @override
    @classmethod
    def read(cls, ini: ChatIni) -> AuthSettings:
        if not any(map(ini.has_section, _SECTIONS)):
            for section in ("rights", "groups"):
                if ini.has_section(section):
                    raise ini.error(
                        f"[{section}] has no effect without [users] or [tokens]: clients cannot "
                        "say who they are; add one of them",
                        section,
                    )
            return AuthSettings()
        users = tokens = None
        if ini.has_section("users"):
            users = ini.read(UserSettings)
            if (users.file is None) == (not users.checker):
                raise ini.error("[users] needs file or checker, and one of them only", "users")
        if ini.has_section("tokens"):
            tokens = ini.read(TokenSettings)
            given = (tokens.secret_file, tokens.key_file, tokens.jwks)
            if sum(map(bool, given)) != 1:
                raise ini.error(
                    "[tokens] needs secret.file, key.file or jwks, and one of them only", "tokens"
                )
        rights = RightsSettings.of(ini, are_rights_given=tokens is not None)
        return AuthSettings(ini, users, tokens, rights)

    def _open(self, ini: ChatIni) -> None:
        from rtchat.net.auth.login import Login
        from rtchat.net.auth.page_sessions import CookieSessions
        from rtchat.net.auth.renewal import open_renewal

        server, broker = self._server, self._server.part(BrokerPart).broker
        users, tokens = self.settings.users, self.settings.tokens
        if users is not None:
            self._passwords = self._open_passwords(ini, users)
        verifier = None if tokens is None else self._open_tokens(ini, tokens)
        key = self._session_key(ini)
        pages = CookieSessions(
            key,
            (users or UserSettings()).session_max_age_s,
            server.wall_s,
            _no_stamp if self._passwords is None else self._passwords.stamp_of,
        )
        self.login = Login(
            broker,
            server.clock,
            server.wall_s,
            server.client_log,
            self.settings.rights.permissions(),
            passwords=self._passwords,
            tokens=verifier,
            pages=pages,
            token_cookie="" if tokens is None else tokens.cookie,
        )
        broker.authenticator = self.login
        self._serve_forms(key, pages, self.login)
        if verifier is not None:
            open_renewal(broker, self.login)

    def _session_key(self, ini: ChatIni) -> bytes:
        from rtchat.net.auth.page_sessions import session_key

        try:
            return session_key(
                None if self.settings.users is None else self.settings.users.session_key
            )
        except ValueError as error:
            raise ini.lines("users")["session.key"].error(str(error)) from None

    def _serve_forms(self, key: bytes, pages: CookieSessions, login: Login) -> None:
        from rtchat.net.auth.login_page import Forms, LoginPage, LogoutPage

        web = self._server.part(WebPart)
        forms = Forms(key, web.site.is_secure)
        web.serve("login", LoginPage(forms, pages, login, self._passwords))
        web.serve("logout", LogoutPage(forms, pages, login))

    def _open_passwords(self, ini: ChatIni, users: UserSettings) -> Passwords:
        from rtchat.net.auth.passwords import open_passwords

        try:
            return open_passwords(self._server.reactor, users.file, users.checker)
        except ValueError as error:
            name = "checker" if users.file is None else "file"
            raise ini.lines("users")[name].error(str(error)) from None

    def _open_tokens(self, ini: ChatIni, settings: TokenSettings) -> TokenVerifier:
        from rtchat.net.auth.jwks_url import jwks_url
        from rtchat.net.auth.key_sources import JwksFile, PemFile, SecretFile
        from rtchat.net.auth.tokens import TokenVerifier

        opened: Callable[[], KeySource]
        if settings.secret_file is not None:
            name, secret = "secret.file", settings.secret_file
            opened = lambda: SecretFile(secret)  # noqa: E731
        elif settings.key_file is not None:
            name, pem = "key.file", settings.key_file
            opened = lambda: PemFile(pem)  # noqa: E731
        elif "://" in settings.jwks:
            name = "jwks"
            opened = lambda: jwks_url(settings.jwks, self._server.reactor)  # noqa: E731
        else:
            name = "jwks"
            opened = lambda: JwksFile(Path(settings.jwks))  # noqa: E731
        try:
            self._keys = opened()
        except ValueError as error:
            raise ini.lines("tokens")[name].error(str(error)) from None
        return TokenVerifier(
            self._keys,
            issuer=settings.issuer,
            audience=settings.audience,
            leeway_s=settings.leeway_s,
        )

    @override
    def service(self) -> IService:
        return self

    @override
    def startService(self) -> None:
        super().startService()
        if self._keys is not None:
            self._keys.start()
        if self._passwords is not None:
            self._passwords.start()
            self._reserve_nicks()
            self._loop = LoopingCall(self._look)
            self._loop.clock = self._server.clock
            self._loop.start(_LOOK_EVERY_S, now=False).addErrback(
                lambda failure: _log.failure("bug; the password file is not read again", failure)
            )

    @override
    def stopService(self) -> None:
        super().stopService()
        if self._loop is not None and self._loop.running:
            self._loop.stop()
        if self._keys is not None:
            self._keys.stop()

    @override
    def close(self) -> Any:
        return None if self._passwords is None else self._passwords.stop()

    @override
    def checks(self) -> Checks:
        keys = self._keys
        return {} if keys is None else {"tokens": Check(lambda: keys.problem)}

    @override
    def reload(self) -> bool:
        if self.login is None or self.settings.ini is None:
            return False
        if self._keys is not None:
            self._keys.reload()
        self._look()
        try:
            ini = read_again(self.settings.ini)
            rights = RightsSettings.of(ini, are_rights_given=self.settings.tokens is not None)
        except ConfigError as error:
            _log.warn("the rights stay as they were: {problem}", problem=str(error))
            return True
        permissions: Permissions = rights.permissions(self.login.permissions)
        self.login.use_permissions(permissions)
        _log.info("rights and groups have been read again")
        return True

    def _look(self) -> None:
        """Read the password file again if it has changed."""
        if self._passwords is not None and self.login is not None and self._passwords.reload():
            self._reserve_nicks()
            self.login.users_changed()

    def _reserve_nicks(self) -> None:
        from rtchat.server.chat import ChatPart

        if self._passwords is not None:
            self._server.part(ChatPart).people.reserve(self._passwords.names())
