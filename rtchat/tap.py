"""``twistd rtchat``: the options, and the service made of its parts."""

from __future__ import annotations

import errno
import grp
import os
import pwd
import resource
import signal
import socket
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Any, ClassVar

from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.endpoints import (
    SSL4ServerEndpoint,
    TCP4ServerEndpoint,
    TCP6ServerEndpoint,
    serverFromString,
)
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IListeningPort,
    IProtocolFactory,
    IReactorTime,
    IStreamServerEndpoint,
)
from twisted.internet.task import LoopingCall, deferLater
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.usage import Options as UsageOptions
from twisted.python.util import switchUID
from typing_extensions import override

from rtchat import __version__
from rtchat.core.access.addresses import NamePolicy
from rtchat.core.access.rules import AccessList, HostList, Target
from rtchat.core.broker.broker import Broker, Notice
from rtchat.core.flow.outbound import Cork
from rtchat.core.history.stream import HistoryRules
from rtchat.errors import ConfigError, StoreUnusable
from rtchat.net.connection.coalescing_clock import Wheel
from rtchat.net.connection.front_proxy import FrontEndpoint
from rtchat.net.connection.limits import Crowd
from rtchat.net.gateway.relay import Caps, ProxyFactory
from rtchat.net.gateway.resolver import checked_endpoints
from rtchat.net.json_codec import JSON
from rtchat.net.stomp.server import StompFactory
from rtchat.net.web.embed import EmbedPage
from rtchat.net.web.health import Health
from rtchat.net.web.site import PageSite, StompSocket, TcpSocket, page_tree
from rtchat.net.websocket.transport import WebSockets
from rtchat.server import settings as config

if TYPE_CHECKING:
    # Each is loaded by the part that needs it, if the configuration asks for that part.
    from rtchat.net.connection.tls import Certificates
    from rtchat.net.history.writer_thread import HistoryStore
    from rtchat.net.message_log import MessageLog

__all__ = ["Options", "makeService"]

_log = Logger()

_ANY_HOST = ("", "0.0.0.0", "::")
_TLS_KINDS = ("https", "stomps")
_EXPIRE_EVERY_S = 1.0
_BACKLOG = 1024  # connections that wait to be accepted; the kernel may allow fewer
_HELP = """
Runs a chat page, a WebSocket gateway and a STOMP broker in one process.

Without --config it listens on loopback only: the page on http://127.0.0.1:9000/,
STOMP on 127.0.0.1:61613, and STOMP over WebSocket on ws://127.0.0.1:9000/ws for
its own page.

  twistd -n rtchat                      run with the built-in settings
  twistd -n rtchat --config chat.ini    run with your own
  kill -TERM PID, or Ctrl-C             tell the clients and stop
  kill -HUP PID                         reopen the message log, read certificates again

A configuration looks like this; docs/configuration.md lists every key:

  [listen]
  http://:9000
  stomp://:61613
  [access]
  self -> localhost:61613
  [global]
  session.ping_interval = 20
"""


class Options(UsageOptions):
    """The command line of ``twistd rtchat``."""

    synopsis = "[--config chat.ini]"
    optParameters: ClassVar[list[list[Any]]] = [
        ["config", "c", None, "The configuration file. Without it the built-in settings hold."],
    ]
    settings: config.Settings

    def opt_version(self) -> None:
        """Print rtchat's version and exit."""
        sys.stdout.write(f"rtchat {__version__}\n")
        sys.exit(0)

    @override
    def getUsage(self, width: int | None = None) -> str:
        """Give the help; as ``longdesc`` its lines would flow into one another."""
        usage: str = super().getUsage(width)
        return usage + _HELP

    @override
    def postOptions(self) -> None:
        """Read the configuration; one that cannot be used ends the start with a sentence."""
        path = self["config"]
        try:
            self.settings = config.load(Path(path)) if path else config.defaults()
        except ConfigError as error:
            raise SystemExit(f"rtchat: {error}") from None


def makeService(options: Options) -> MultiService:
    """Build the server from its parts.

    Args:
        options: Parsed; its settings say everything.

    Returns:
        A service that listens, and on stopping tells every client.
    """
    from twisted.internet import reactor

    settings = options.settings
    clock = Wheel(reactor)  # nothing here has to be exact to the twentieth of a second
    _allow_many_connections()
    broker = Broker(token_hex(4), settings.broker_limits, lambda: token_hex(16), settings.pubsub)
    broker.notify = _notice
    broker.open_chat(settings.chat, JSON)
    access = AccessList(settings.access, settings.origin_required)
    own_names = (*settings.hosts, *_machine_names())
    stomp_targets: list[Target] = []

    stomp = StompFactory(broker, settings.limits, clock)
    limits = settings.limits
    head_bytes = (limits.max_headers + 1) * (limits.max_header_bytes + 2)
    stomp_sockets = _websockets(
        settings, stomp, clock, broker.cork, limits.max_frame_bytes + head_bytes
    )
    limit, front = settings.proxy, settings.front
    policy = NamePolicy(own_names, limit.private_names)
    endpoints = checked_endpoints(reactor, policy, access.rule_for)
    caps = Caps(limit.max_connections, limit.max_per_target, limit.max_per_source)
    proxies: dict[Target, WebSockets] = {}

    def proxy(target: Target) -> WebSockets:
        if target not in proxies:
            proxies[target] = _websockets(
                settings,
                ProxyFactory(
                    target,
                    endpoints,
                    clock,
                    limit.connect_timeout_s,
                    idle_timeout_s=limit.idle_timeout_s,
                    caps=caps,
                    has_proxy_header=access.rule_for(target).has_proxy_header,
                ),
                clock,
                Cork(),
                limit.max_message_bytes,
                deflate=False,
            )
        return proxies[target]

    started_s = clock.seconds()

    def facts() -> Mapping[str, object]:
        return {
            "status": "ok",
            "version": __version__,
            "uptime_s": round(clock.seconds() - started_s, 3),
            "stomp_sessions": len(stomp.protocols),
            "stomp_websockets": len(stomp_sockets.protocols),
            "proxied_websockets": sum(len(sockets.protocols) for sockets in proxies.values()),
            "subscriptions": broker.subscription_count,
            "topics": broker.topic_count,
            "queues": broker.queue_count,
            "queued_messages": broker.queued_count,
            "held_bytes": broker.budget.used,
            "people": 0 if broker.chat is None else len(broker.chat.people),
            "messages": broker.message_count,
        }

    stomp_socket = StompSocket(stomp_sockets, access, stomp_targets)
    tree = page_tree(
        _static_folder(),
        settings.static,
        {
            "ws": stomp_socket,
            "stomp": stomp_socket,
            "tcp": TcpSocket(access, proxy, stomp_targets),
            "embed": EmbedPage(_static_folder() / "embed.html", access, stomp_targets),
            "health": Health(facts),
        },
    )
    site = PageSite(
        tree,
        HostList(own_names),
        clock,
        trusted=None if front.has_proxy_header else front.trusted,
        handshake_timeout_s=limit.handshake_timeout_s,
        crowd=Crowd(clock, limit.max_http, limit.max_http_per_source, front.trusted),
    )

    def say_goodbye() -> Deferred[Any]:
        goodbyes = [stomp.shut_down(), stomp_sockets.shut_down()]
        goodbyes += [sockets.shut_down() for sockets in proxies.values()]
        return DeferredList(goodbyes, consumeErrors=True).addCallback(close_history)

    def close_history(_: object) -> Deferred[None] | None:
        return None if history is None else history.close()

    def listening(listener: config.Listener, port: IListeningPort) -> None:
        if listener.kind.startswith("stomp"):
            stomp_targets.extend(_targets_of(port.getHost(), own_names))

    history = None
    if settings.history is not None:
        history = _History(settings.history, broker, reactor)
    certificates = _certificates(settings)
    on_hang_up: list[Callable[[], None]] = []
    service = MultiService()
    _Privileges(settings).setServiceParent(service)
    _Goodbye(reactor, say_goodbye).setServiceParent(service)
    for listener in settings.listeners:
        factory = site if listener.kind.startswith("http") else stomp
        has_front = front.has_proxy_header and listener.kind.startswith("http")
        endpoint = _endpoint(reactor, listener, certificates, front if has_front else None)
        _Listening(endpoint, factory, listener, listening).setServiceParent(service)
    _LateModules().setServiceParent(service)
    if settings.message_log is not None and settings.message_log_place is not None:
        path, place = settings.message_log, settings.message_log_place
        log = _Log(path, place, broker, reactor)
        log.setServiceParent(service)
        on_hang_up.append(log.reopen)
    if history is not None:
        history.setServiceParent(service)
    if certificates is not None:
        on_hang_up.append(lambda: _renew(certificates))
    _Expiry(broker, clock).setServiceParent(service)
    _Signals(reactor, service, on_hang_up).setServiceParent(service)
    _Greeting(settings, access, reactor).setServiceParent(service)
    return service


# The parts as services


class _Privileges(Service):
    """Gives up root once the ports are open; started before all others."""

    def __init__(self, settings: config.Settings) -> None:
        self._settings = settings
        self._uid, self._gid = _ids(settings)

    @override
    def startService(self) -> None:
        super().startService()
        if self._uid is not None or self._gid is not None:
            # Names are looked up with this codec; the user may not be able to read Python's files.
            "".encode("idna")
            switchUID(self._uid, self._gid)
            _log.info(
                "privileges dropped: user {user}, group {group}",
                user=self._settings.user or "unchanged",
                group=self._settings.group or "the user's",
            )


class _Listening(Service):
    """Opens a port before privileges are dropped."""

    def __init__(
        self,
        endpoint: IStreamServerEndpoint,
        factory: IProtocolFactory,
        listener: config.Listener,
        listening: Callable[[config.Listener, IListeningPort], None],
    ) -> None:
        self._endpoint = endpoint
        self._factory = factory
        self._listener = listener
        self._listening = listening
        self._port: IListeningPort | None = None

    @override
    def privilegedStartService(self) -> None:
        super().privilegedStartService()
        outcome: list[IListeningPort | Failure] = []
        self._endpoint.listen(self._factory).addBoth(outcome.append)
        if not outcome:
            raise SystemExit(f"rtchat: {self._listener.place.error('did not open at once.')}")
        port = outcome[0]
        if isinstance(port, Failure):
            raise SystemExit(
                f"rtchat: {self._listener.place.error(_why_not_listening(port, self._listener))}"
            )
        self._port = port
        self._listening(self._listener, port)

    @override
    def stopService(self) -> Deferred[Any] | None:
        super().stopService()
        port, self._port = self._port, None
        return None if port is None else port.stopListening()


class _LateModules(Service):
    """Loads what only some requests need, while the first clients connect.

    Now and not with the first of these requests: the user whom the server becomes may not be
    able to read Python's files, and an update may replace them under a server that runs.
    """

    @override
    def privilegedStartService(self) -> None:
        super().privilegedStartService()
        import rtchat.core.selector.selector  # noqa: F401


class _Goodbye(Service):
    """Tells the clients that the server stops.

    Children of a MultiService stop in the reverse of their order, and a port closes a turn of the
    reactor later; then every port is closed, and a client that was told comes back to find
    nobody, not the old server.
    """

    def __init__(self, reactor: Any, say_goodbye: Callable[[], Deferred[Any]]) -> None:
        self._reactor = reactor
        self._say_goodbye = say_goodbye

    @override
    def stopService(self) -> Deferred[Any]:
        super().stopService()
        return deferLater(self._reactor, 0, self._say_goodbye)


class _Log(Service):
    """The message log."""

    def __init__(self, path: Path, place: config.Place, broker: Broker, reactor: Any) -> None:
        self._path = path
        self._place = place
        self._broker = broker
        self._reactor = reactor
        self.messages: MessageLog | None = None
        # Not everybody has this log; and later it might not be readable any more.
        from rtchat.net.message_log import MessageLog

        self._open = MessageLog

    @override
    def startService(self) -> None:
        super().startService()
        reactor = self._reactor
        try:
            self.messages = self._open(
                self._path,
                reactor,
                lambda write: deferToThreadPool(reactor, reactor.getThreadPool(), write),
            )
        except OSError as error:
            problem = (
                f"cannot be written by {_own_name()} ({error.strerror}: {self._path}); "
                "change the permissions or the path."
            )
            raise SystemExit(f"rtchat: {self._place.error(problem)}") from None
        self._broker.observers.append(self.messages.record)

    def reopen(self) -> None:
        """Begin a new file if the old one was moved."""
        if self.messages is not None:
            self.messages.reopen()
            _log.info("SIGHUP received: message log reopened")

    @override
    def stopService(self) -> Deferred[None] | None:
        super().stopService()
        return None if self.messages is None else self.messages.close()


class _History(Service):
    """Messages that are kept. It is closed when the last client has gone."""

    def __init__(self, settings: config.HistorySettings, broker: Broker, reactor: Any) -> None:
        self._settings = settings
        self._broker = broker
        self._reactor = reactor
        self._store: HistoryStore | None = None
        # Not everybody keeps messages; and later it might not be readable any more.
        from rtchat.net.history.writer_thread import HistoryStore

        self._open = HistoryStore

    @override
    def startService(self) -> None:
        super().startService()
        settings = self._settings
        try:
            store = self._store = self._open(
                settings.file,
                self._in_reactor,
                is_power_safe=settings.is_power_safe,
                max_bytes=settings.max_file_bytes,
            )
        except StoreUnusable as error:
            problem = f"cannot be used by {_own_name()}: {settings.file}: {error}."
            raise SystemExit(f"rtchat: {settings.place.error(problem)}") from None
        rules = HistoryRules(settings.rules)
        history = self._broker.keep_history(rules, settings.limits, store, store.contents)
        patterns = ", ".join(rule.pattern for rule in settings.rules)
        if settings.file is None:
            _log.info(
                "history of {patterns} is kept in memory and ends with this process; "
                "a line file = PATH in [history] keeps it",
                patterns=patterns,
            )
        else:
            _log.info(
                "history of {patterns} is kept in {file}: {messages} messages now",
                patterns=patterns,
                file=settings.file,
                messages=history.message_count,
            )

    def close(self) -> Deferred[None] | None:
        """Write what is on its way and close the file."""
        store, history = self._store, self._broker.history
        if store is None or history is None:
            return None
        closed: Deferred[None] = Deferred()

        def close() -> None:
            store.close().chainDeferred(closed)

        history.batches.when_idle(close)
        return closed

    def _in_reactor(self, turn: Callable[[], None]) -> None:
        """Take an answer of the file's thread as a turn."""

        def run() -> None:
            self._broker.now = self._reactor.seconds()
            try:
                turn()
            except Exception:
                _log.failure("bug while delivering kept messages")
            self._broker.cork.flush()

        self._reactor.callFromThread(run)


class _Expiry(Service):
    """Drops messages whose time is over, and says who has left.

    Twisted's TimerService does the same; its module is a twentieth of the whole start.
    """

    def __init__(self, broker: Broker, clock: IReactorTime) -> None:
        self._broker = broker
        self._clock = clock
        self._loop = LoopingCall(self._expire)
        self._loop.clock = clock

    @override
    def startService(self) -> None:
        super().startService()
        self._loop.start(_EXPIRE_EVERY_S).addErrback(
            lambda failure: _log.failure("bug; nothing expires until the next start", failure)
        )

    @override
    def stopService(self) -> None:
        super().stopService()
        if self._loop.running:
            self._loop.stop()

    def _expire(self) -> None:
        self._broker.now = self._clock.seconds()
        self._broker.expire()
        self._broker.cork.flush()


class _Signals(Service):
    """SIGTERM and Ctrl-C end with exit code 0, SIGHUP makes the parts look at their files."""

    def __init__(
        self, reactor: Any, server: MultiService, on_hang_up: Sequence[Callable[[], None]]
    ) -> None:
        self._reactor = reactor
        self._server = server
        self._on_hang_up = on_hang_up

    @override
    def startService(self) -> None:
        super().startService()
        # The reactor sets handlers of its own when it begins to run; ours come after them.
        self._reactor.callWhenRunning(self._install)

    def _install(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGHUP, self._hang_up)

    def _stop(self, number: int, frame: object) -> None:
        self._reactor.callFromThread(self._stop_once, signal.Signals(number).name)

    def _stop_once(self, name: str) -> None:
        if self._reactor.running and self._server.running:
            _log.info("{name} received: stopping", name=name)
            self._reactor.stop()

    def _hang_up(self, number: int, frame: object) -> None:
        self._reactor.callFromThread(self._look_again)

    def _look_again(self) -> None:
        for look in self._on_hang_up:
            look()
        if not self._on_hang_up:
            _log.info("SIGHUP received: no message log and no certificate, nothing to do")


class _Greeting(Service):
    """Says where the server is, and what deserves a second look."""

    def __init__(self, settings: config.Settings, access: AccessList, reactor: Any) -> None:
        self._settings = settings
        self._access = access
        self._reactor = reactor

    @override
    def startService(self) -> None:
        super().startService()
        # Whoever waits for these lines may send a signal at once: not before it is listened to.
        self._reactor.callWhenRunning(self._greet)

    def _greet(self) -> None:
        for rule in self._access.open_rules:
            _log.warn(
                "{source}: [access] {rule} lets every web page in the world reach {target} "
                "through a visitor's browser; name your page's host instead of * if you can",
                source=self._settings.source,
                rule=rule,
                target=rule.target,
            )
        for listener in self._settings.listeners:
            what = "open in a browser" if listener.kind.startswith("http") else "STOMP clients"
            _log.info("{what}: {where}", what=what, where=_shown(listener))
        _log.info(
            "rtchat {version} is ready (settings: {source}); Ctrl-C stops it",
            version=__version__,
            source=self._settings.source,
        )


# Small helpers


def _notice(notice: Notice) -> None:
    """Tell the log about a queue."""
    if notice.kind == "queue full":
        text = (
            "{queue} is full ({messages} messages, {bytes} bytes): its publishers are not read "
            "until a consumer makes room. The limits are queue.max_messages and "
            "queue.max_bytes in [broker]"
        )
    elif notice.kind == "queue has room":
        text = "{queue} has room again ({messages} messages, {bytes} bytes)"
    else:
        text = "a message was refused or tried too often, it is in {queue} now ({messages} there)"
    # A client chose the name; a line break in it must not begin a line of the log.
    queue = repr(notice.destination)[1:-1]
    _log.warn(text, queue=queue, messages=notice.messages, bytes=notice.bytes)


def _websockets(
    settings: config.Settings,
    wrapped: IProtocolFactory,
    clock: IReactorTime,
    cork: Cork,
    max_message_bytes: int,
    *,
    deflate: bool = True,
) -> WebSockets:
    return WebSockets(
        wrapped,
        clock,
        cork,
        ping_interval_s=settings.ping_interval_s,
        ping_timeout_s=settings.ping_timeout_s,
        max_message_bytes=max_message_bytes,
        deflate=deflate,
    )


def _allow_many_connections() -> None:
    """Raise the limit of open files as far as the system lets us: each connection is one."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):  # then the usual limit stays
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _static_folder() -> Path:
    """Find the page: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent
    inside = package / "static"
    return inside if inside.is_dir() else package.parent / "static"


def _machine_names() -> tuple[str, ...]:
    name = socket.gethostname()
    short = name.partition(".")[0]
    names = []
    for candidate in dict.fromkeys((name, short, f"{short}.local")):
        with suppress(ValueError):  # a machine may be called anything
            HostList([candidate])
            names.append(candidate)
    return tuple(names)


def _targets_of(address: object, own_names: tuple[str, ...]) -> list[Target]:
    """Give the names under which an access rule may mean a listener of ours."""
    host, port = getattr(address, "host", None), getattr(address, "port", None)
    if host is None or port is None:
        return []
    names = ["localhost", host]
    if host in _ANY_HOST:
        names = ["localhost", "127.0.0.1", "::1", *own_names]
    elif host.startswith("127.") or host == "::1":
        names += ["127.0.0.1", "::1"]
    targets = []
    for name in dict.fromkeys(names):
        with suppress(ValueError):  # a container may have a number for a name; no rule may
            targets.append(Target(name, port))
    return targets


def _certificates(settings: config.Settings) -> Certificates | None:
    """Load what ``https://`` and ``stomps://`` need, if one of them is opened."""
    files = settings.tls
    for listener in settings.listeners:
        if files is not None and listener.kind in _TLS_KINDS:
            from rtchat.net.connection.tls import Certificates

            try:
                return Certificates(files.certificate, files.key, files.chain)
            except (OSError, ValueError) as error:
                problem = f"cannot use TLS: {_why_unusable(error)}."
                raise SystemExit(f"rtchat: {listener.place.error(problem)}") from None
    return None


def _renew(certificates: Certificates) -> None:
    """Read the certificate again, or say why not."""
    try:
        valid_until = certificates.reload()
    except (OSError, ValueError) as error:
        _log.error(
            "SIGHUP received: the certificate was not read again, connections still get the old "
            "one: {why}. Mend the file or its permissions, then send SIGHUP again",
            why=_why_unusable(error),
        )
    else:
        _log.info(
            "SIGHUP received: new connections get the certificate in {path}, valid until {day}",
            path=certificates.path,
            day=valid_until.date(),
        )


def _why_unusable(error: OSError | ValueError) -> str:
    if isinstance(error, OSError):
        file = error.filename or "a file of [ssl]"
        return f"{file} cannot be read by {_own_name()} ({error.strerror})"
    return str(error)


def _endpoint(
    reactor: Any,
    listener: config.Listener,
    certificates: Certificates | None,
    front: config.FrontSettings | None,
) -> IStreamServerEndpoint:
    """Give what opens a port; with ``front``, its proxies begin with the PROXY protocol."""
    if listener.endpoint is not None:
        try:
            endpoint: IStreamServerEndpoint = serverFromString(reactor, listener.endpoint)
            return endpoint if front is None else FrontEndpoint(endpoint, front.trusted, reactor)
        except Exception as error:  # a parser plugin may raise anything
            problem = (
                f"cannot be used as an endpoint ({error}); write one that Twisted knows, such as "
                "tcp:61613 or unix:/run/rtchat.sock."
            )
            raise SystemExit(f"rtchat: {listener.place.error(problem)}") from None
    host, port = listener.host, listener.port
    if host == "" and socket.has_dualstack_ipv6():
        host = "::"
    if listener.kind not in _TLS_KINDS:
        certificates = None
    elif certificates is None:
        problem = "needs a certificate: set [ssl] crt and key."
        raise SystemExit(f"rtchat: {listener.place.error(problem)}")
    elif front is None:
        return SSL4ServerEndpoint(reactor, port, certificates, _BACKLOG, host)
    kind = TCP6ServerEndpoint if ":" in host else TCP4ServerEndpoint
    tcp: IStreamServerEndpoint = kind(reactor, port, _BACKLOG, host)
    return tcp if front is None else FrontEndpoint(tcp, front.trusted, reactor, certificates)


def _why_not_listening(failure: Failure, listener: config.Listener) -> str:
    error = failure.value
    if isinstance(error, CannotListenError):
        error = error.socketError
    if not isinstance(error, OSError):
        remedy = ""
        if (listener.endpoint or "").startswith("unix:"):
            remedy = " Stop the program that has this socket, or choose another path."
        return f"cannot be opened: {failure.getErrorMessage().rstrip('.')}.{remedy}"
    remedy = "Choose another port, or stop the program that has this one."
    if isinstance(error, FileNotFoundError):
        remedy = "Create the folder, or change the path."
    elif isinstance(error, PermissionError) and (listener.endpoint or "").startswith("unix:"):
        remedy = "Change the permissions of the folder, or the path."
    elif isinstance(error, PermissionError):
        remedy = "Choose a port above 1023, or start as root and set [global] user."
    elif isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL:
        remedy = "Name an address of this machine, or none to listen on all."
    return f"cannot be opened: {error.strerror or error}. {remedy}"


def _shown(listener: config.Listener) -> str:
    if listener.endpoint is not None:
        return listener.endpoint
    host = "localhost" if listener.host in _ANY_HOST else listener.host
    host = f"[{host}]" if ":" in host else host
    slash = "/" if listener.kind.startswith("http") else ""
    return f"{listener.kind}://{host}:{listener.port}{slash}"


def _own_name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # in a container the user may have a number only
        return f"user {os.geteuid()}"


def _ids(settings: config.Settings) -> tuple[int | None, int | None]:
    """Look up whom to become.

    Raises:
        SystemExit: There is no such user or group, or only root could become it.
    """
    uid = gid = None
    if settings.user is not None and settings.user_place is not None:
        try:
            entry = pwd.getpwnam(settings.user)
        except KeyError:
            problem = "is no user of this machine; name one that exists, such as nobody."
            raise SystemExit(f"rtchat: {settings.user_place.error(problem)}") from None
        uid, gid = entry.pw_uid, entry.pw_gid
    if settings.group is not None and settings.group_place is not None:
        try:
            gid = grp.getgrnam(settings.group).gr_gid
        except KeyError:
            problem = "is no group of this machine; name one that exists, such as nogroup."
            raise SystemExit(f"rtchat: {settings.group_place.error(problem)}") from None
    place = settings.user_place or settings.group_place
    if place is not None and os.geteuid() != 0:
        problem = "needs a start as root: only root can become another user. Take the line out."
        raise SystemExit(f"rtchat: {place.error(problem)}")
    return uid, gid
