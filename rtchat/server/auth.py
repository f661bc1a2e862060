"""``[users]``, ``[tokens]``, ``[hooks]``, ``[rights]``: who a client is, and what it may do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from typing_extensions import override

from rtchat.config.schema import ChatIni
from rtchat.core.broker.user_sessions import UserSessions
from rtchat.core.flow.turns import TURN_WORK
from rtchat.errors import ConfigError
from rtchat.server.access import AccessPart
from rtchat.server.auth_settings import AuthSettings, HookSettings, TokenSettings, UserSettings
from rtchat.server.part import Check, Checks, Gauges, Part, Server
from rtchat.server.rights_settings import RightsSettings
from rtchat.server.stomp import BrokerPart
from rtchat.server.web import WebPart, static_folder

if TYPE_CHECKING:
    # Loaded by the part itself, and only if the configuration asks for it.
    from rtchat.core.chat.people import People
    from rtchat.core.flow.outbound import Cork
    from rtchat.net.auth.hooks.calls import Hook
    from rtchat.net.auth.hooks.hooks import Hooks
    from rtchat.net.auth.hooks.http import HttpHook
    from rtchat.net.auth.hooks.python import PythonHook
    from rtchat.net.auth.key_sources import KeySource
    from rtchat.net.auth.login import Login
    from rtchat.net.auth.page_sessions import CookieSessions
    from rtchat.net.auth.passwords import Passwords
    from rtchat.net.auth.tokens import TokenVerifier

__all__ = ["AuthPart"]

_log = Logger(__package__)

_DRAIN_S = 3.0
"""For how long a server that stops goes on to tell the hook what has happened."""

_MIN_SECRET_BYTES = 16

_USERS_PROBLEM = "the password file has a mistake, or passwords cannot be checked; see the log"

_RESERVING_WORK = 1000
"""The work of reserving some nicks; see :mod:`rtchat.core.flow.turns`."""


def _secret_in(ini: ChatIni, settings: HookSettings) -> bytes:
    """Return the key of the hook's signature; b"" for none."""
    if settings.secret_file is None:
        return b""
    try:
        secret = settings.secret_file.read_bytes().strip()
    except OSError as error:
        problem = f"cannot be read ({error.strerror}); check the path and its permissions"
        raise ini.lines("hooks")["secret.file"].error(problem) from None
    if len(secret) < _MIN_SECRET_BYTES:
        raise ini.lines("hooks")["secret.file"].error(
            f"has fewer than {_MIN_SECRET_BYTES} bytes; make one with openssl rand -hex 32"
        )
    return secret


def _problem_with(error: OSError | ValueError) -> str:
    """Return why a file with keys cannot be used."""
    if isinstance(error, OSError):
        return f"{error.filename} cannot be read ({error.strerror}); check it and its permissions"
    return str(error)


def _no_stamp(user: str) -> None:
    """Return no stamp: there are no users with passwords."""


class AuthPart(Part[AuthSettings], Service):
    """Log-in and rights; without their sections it does nothing.

    Attributes:
        login: Finds out who sessions are; None if they are all anonymous and may do everything.
    """

    reads = (UserSettings, TokenSettings, HookSettings, RightsSettings)

    def __init__(self, settings: AuthSettings, server: Server) -> None:
        super().__init__(settings, server)
        self.login: Login | None = None
        self._server = server
        self._passwords: Passwords | None = None
        self._keys: KeySource | None = None
        self._hooks: Hooks | None = None
        self._http: HttpHook | None = None
        self._has_rights = settings.rights.rights is not None
        if settings.ini is not None:
            self._open(settings.ini)

    @override
    @classmethod
    def read(cls, ini: ChatIni) -> AuthSettings:
        return AuthSettings.of(ini)

    def _open(self, ini: ChatIni) -> None:
        from rtchat.net.auth.login import Login
        from rtchat.net.auth.page_sessions import CookieSessions
        from rtchat.net.auth.renewal import open_renewal
        from rtchat.net.auth.visits import Visits

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
        most = server.part(BrokerPart).settings.max_connections_per_user
        if most:
            broker.add_gate(UserSessions(most))
        server.part(AccessPart).visitors = Visits(
            self.login, server.client_log, broker.next_session_id
        )
        self._serve_forms(key, pages, self.login)
        # Also without [tokens]: what is sent there by mistake is no message for anyone.
        open_renewal(broker, self.login)
        if self.settings.hooks is not None:
            self._hooks = self._open_hooks(ini, self.settings.hooks, self.login)

    def _open_hooks(self, ini: ChatIni, settings: HookSettings, login: Login) -> Hooks:
        from rtchat.net.auth.hooked import HookedSessions
        from rtchat.net.auth.hooks.hooks import Hooks
        from rtchat.net.auth.hooks.visitor import EVENTS

        server = self._server
        if settings.url:
            hook: Hook = self._http_hook(ini, settings)
            events = settings.events
        else:
            python = self._python_hook(ini, settings)
            hook, events = python, tuple(set(settings.events) & python.events)
        hooks = Hooks(
            hook,
            clock=server.clock,
            wall_s=server.wall_s,
            events=[event for event in EVENTS if event in events],
            timeout_s=settings.timeout_s,
            allows_on_failure=settings.allows_on_failure,
        )
        login.hooked = HookedSessions(
            server.part(BrokerPart).broker,
            hooks,
            lambda identity: login.permissions.groups_of(identity),
        )
        return hooks

    def _http_hook(self, ini: ChatIni, settings: HookSettings) -> HttpHook:
        from rtchat.net.auth.hooks.addresses import url_problem
        from rtchat.net.auth.hooks.http import HttpHook

        problem = url_problem(settings.url)
        if problem:
            raise ini.lines("hooks")["url"].error(problem)
        self._http = HttpHook(
            self._server.reactor,
            settings.url,
            secret=_secret_in(ini, settings),
            timeout_s=settings.timeout_s,
        )
        return self._http

    def _python_hook(self, ini: ChatIni, settings: HookSettings) -> PythonHook:
        from rtchat.net.auth.hooks.python import PythonHook, load_hook

        source_line = ini.lines("hooks")["python"]
        try:
            return PythonHook(load_hook(settings.python, source_line.folder), self._server.reactor)
        except ConfigError as error:
            raise source_line.error(f"cannot be used: {error}") from None

    def _session_key(self, ini: ChatIni) -> bytes:
        from rtchat.net.auth.page_sessions import session_key

        try:
            return session_key(
                None if self.settings.users is None else self.settings.users.session_key
            )
        except ValueError as error:
            raise ini.lines("users")["session.key"].error(str(error)) from None

    def _serve_forms(self, key: bytes, pages: CookieSessions, login: Login) -> None:
        from rtchat.net.auth.front_page import FORM, SITE, FrontPage
        from rtchat.net.auth.login_page import Forms, LoginPage, LogoutPage

        web = self._server.part(WebPart)
        has_form = self._passwords is not None
        web.serve("", FrontPage(static_folder() / "index.html", FORM if has_form else SITE))
        forms = Forms(key, web.site.is_secure)
        web.serve("login", LoginPage(forms, pages, login, self._passwords))
        web.serve("logout", LogoutPage(forms, pages, login))

    def _open_passwords(self, ini: ChatIni, users: UserSettings) -> Passwords:
        from rtchat.net.auth.passwords import open_passwords

        try:
            return open_passwords(self._server.reactor, file=users.file, checker=users.checker)
        except ConfigError as error:
            if error.file:  # a mistake in the password file
                raise ini.lines("users")["file"].error(f"cannot be used: {error}") from None
            kind = users.checker.partition(":")[0]  # what follows may be secret
            line = ini.lines("users")["checker"]._replace(value=kind)
            raise line.error(f"cannot be used: {error}") from None

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
        except (OSError, ValueError) as error:
            problem = f"cannot be used: {_problem_with(error)}"
            raise ini.lines("tokens")[name].error(problem) from None
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
        if self.login is None:
            self._warn_of_openness()
        if self._keys is not None:
            self._keys.start()
        if self._passwords is not None:
            self._people.reserve(self._passwords.names())
            self._passwords.watch(self._users_changed)

    def _warn_of_openness(self) -> None:
        """Say that anyone may read and write everything, if other machines can connect."""
        from rtchat.server.listeners import ListenersPart

        listeners = self._server.part(ListenersPart).settings.listeners
        public = [one.source_line.setting for one in listeners if one.is_public]
        if public:
            _log.warn(
                "open to the world: {listeners} can be reached from other machines, and without "
                "[users], [tokens] or [hooks] every client may read and write everything. "
                "Write [users] file = users.txt, and make the file with rtchat passwd users.txt "
                "NAME; or listen on 127.0.0.1 only. docs/security.md tells more",
                listeners=", ".join(public),
            )

    @override
    def stopService(self) -> None:
        super().stopService()
        if self._keys is not None:
            self._keys.stop()

    @override
    def close(self) -> Deferred[Any] | None:
        if self._passwords is not None:
            self._passwords.close()
        hooks = self._hooks
        if hooks is None:
            return None
        drained = hooks.drain()
        late = self._server.reactor.callLater(_DRAIN_S, hooks.close)

        def close(_: object) -> None:
            if late.active():
                late.cancel()
            hooks.close()

        return drained.addBoth(close)

    @override
    def gauges(self) -> Gauges:
        hooks, passwords = self._hooks, self._passwords
        gauges: dict[str, Callable[[], float]] = {}
        if passwords is not None:
            gauges["logins_waiting"] = lambda: passwords.waiting
        if hooks is not None:
            gauges["hook_failures"] = lambda: hooks.failures
            gauges["hook_untold"] = lambda: hooks.untold
            gauges["hook_waiting"] = lambda: hooks.waiting
        return gauges

    @override
    def checks(self) -> Checks:
        keys, hooks, passwords = self._keys, self._hooks, self._passwords
        checks = {}
        if keys is not None:
            checks["tokens"] = Check(lambda: keys.problem)
        if passwords is not None:
            # What exactly is wrong may hold names and texts of others; everyone may read this.
            checks["users"] = Check(lambda: _USERS_PROBLEM if passwords.problem else "")
        if hooks is not None:
            checks["hooks"] = Check(hooks.problem)
        return checks

    @override
    def reload(self) -> bool:
        if self.login is None or self.settings.ini is None:
            return False
        # Whatever is wrong with one file, the others count.
        self._reload_keys()
        if self._passwords is not None and self._passwords.reload():
            self._users_changed()
        self._reload_secret(self.settings.ini)
        self._reload_rights(self.settings.ini, self.login)
        return True

    def _reload_keys(self) -> None:
        if self._keys is None:
            return
        try:
            self._keys.reload()
        except (OSError, ValueError) as error:
            problem = _problem_with(error)
            _log.error("the keys of tokens stay as they were: {problem}", problem=problem)

    def _reload_secret(self, ini: ChatIni) -> None:
        if self._http is None or self.settings.hooks is None:
            return
        try:
            self._http.renew(_secret_in(ini, self.settings.hooks))
        except ConfigError as error:
            _log.error("the secret of the hook stays as it was: {problem}", problem=str(error))

    def _reload_rights(self, ini: ChatIni, login: Login) -> None:
        try:
            again = ini.again()
            rights = RightsSettings.of(again, are_rights_given=self._are_rights_given)
            if rights.rights is None and self._has_rights:
                # A file that is being written must not give everything to every user.
                raise again.error("[rights] has gone; to do without it, start again")
        except ConfigError as error:
            _log.warn("the rights stay as they were: {problem}", problem=str(error))
            return
        self._has_rights = rights.rights is not None
        login.use_permissions(rights.permissions(login.permissions))
        _log.info("rights and groups have been read again")

    @property
    def _are_rights_given(self) -> bool:
        """Whether tokens or hooks give rights and groups as well."""
        return not (self.settings.tokens is None and self.settings.hooks is None)

    def _users_changed(self) -> None:
        if self._passwords is not None:
            broker = self._server.part(BrokerPart).broker
            with broker.turn.part:
                broker.cork.in_parts(self._nicks_in_parts(broker.cork, self._passwords.names()))
        if self.login is not None:
            self.login.users_changed()

    def _nicks_in_parts(self, cork: Cork, names: Iterable[str]) -> Iterator[None]:
        """Reserve the nicks of new users; nicks of many take longer than a turn has."""
        for _ in self._people.reserving(names):
            cork.work += _RESERVING_WORK
            if cork.work >= TURN_WORK:
                yield

    @property
    def _people(self) -> People:
        from rtchat.server.chat import ChatPart

        return self._server.part(ChatPart).people
