"""``twistd rtchat``: the options, and the service made of its parts."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from secrets import token_hex
from typing import Any, ClassVar

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.interfaces import IListeningPort
from twisted.python.usage import Options as UsageOptions
from typing_extensions import override

from rtchat import __version__
from rtchat.core.access.hosts import HostList, Target
from rtchat.core.access.rules import AccessList
from rtchat.core.access.ssrf import NamePolicy
from rtchat.core.broker.broker import Broker
from rtchat.core.chat.gate import open_chat
from rtchat.core.flow.outbound import Cork
from rtchat.errors import ConfigError
from rtchat.net.connection.coalescing_clock import CoalescingClock
from rtchat.net.connection.limits import ConnectionLimiter
from rtchat.net.connection.splice import PipePool
from rtchat.net.gateway.relay import ProxyFactory
from rtchat.net.gateway.resolver import checked_endpoints
from rtchat.net.gateway.resource import TcpSocket
from rtchat.net.json_codec import JSON
from rtchat.net.stomp.resource import StompSocket
from rtchat.net.stomp.server import StompFactory
from rtchat.net.web.embed import EmbedPage
from rtchat.net.web.files import page_tree
from rtchat.net.web.health import Health
from rtchat.net.web.limiter import HttpLimiter
from rtchat.net.web.site import PageSite
from rtchat.net.websocket.factory import WebSockets
from rtchat.server import settings as config
from rtchat.server.history import HistoryService
from rtchat.server.lifecycle import Goodbye, Greeting, Signals, allow_many_connections
from rtchat.server.listeners import (
    Listener,
    Listening,
    machine_names,
    server_endpoint,
    targets_of,
)
from rtchat.server.message_log import MessageLogService
from rtchat.server.privileges import Privileges
from rtchat.server.stomp import Expiry, LateModules, QueueLog
from rtchat.server.tls import load_certificates, reload_certificates
from rtchat.server.web import static_folder

__all__ = ["Options", "makeService"]


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
    clock = CoalescingClock(reactor)  # nothing here has to be exact to the twentieth of a second
    allow_many_connections()
    broker = Broker(token_hex(4), settings.broker_limits, lambda: token_hex(16), settings.pubsub)
    broker.events.add(QueueLog())
    chat = open_chat(broker, settings.chat, JSON)
    access = AccessList(settings.access, settings.origin_required)
    own_names = (*settings.hosts, *machine_names())
    stomp_targets: list[Target] = []

    stomp = StompFactory(broker, settings.limits, clock)
    limits = settings.limits
    head_bytes = (limits.max_headers + 1) * (limits.max_header_bytes + 2)
    new_sockets = partial(
        WebSockets,
        ping_interval_s=settings.ping_interval_s,
        ping_timeout_s=settings.ping_timeout_s,
    )
    stomp_sockets = new_sockets(
        stomp, clock, broker.cork, max_message_bytes=limits.max_frame_bytes + head_bytes
    )
    limit, front = settings.proxy, settings.front
    policy = NamePolicy(own_names, limit.private_names)
    endpoints = checked_endpoints(reactor, policy, access.rule_for)
    pipes = PipePool()
    proxy_limiter = ConnectionLimiter(
        limit.max_connections, limit.max_per_target, limit.max_per_source
    )
    proxies: dict[Target, WebSockets] = {}

    def proxy(target: Target) -> WebSockets:
        if target not in proxies:
            proxies[target] = new_sockets(
                ProxyFactory(
                    target,
                    endpoints,
                    clock,
                    limit.connect_timeout_s,
                    idle_timeout_s=limit.idle_timeout_s,
                    limiter=proxy_limiter,
                    pipes=pipes,
                    has_proxy_header=access.rule_for(target).has_proxy_header,
                ),
                clock,
                Cork(),
                max_message_bytes=limit.max_message_bytes,
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
            "subscriptions": broker.statistics.subscription_count,
            "topics": broker.statistics.topic_count,
            "queues": broker.statistics.queue_count,
            "queued_messages": broker.statistics.queued_count,
            "held_bytes": broker.budget.used,
            "people": len(chat.people),
            "messages": broker.publishing.message_count,
        }

    stomp_socket = StompSocket(stomp_sockets, access, stomp_targets)
    tree = page_tree(
        static_folder(),
        settings.static,
        {
            "ws": stomp_socket,
            "stomp": stomp_socket,
            "tcp": TcpSocket(access, proxy, stomp_targets),
            "embed": EmbedPage(static_folder() / "embed.html", access, stomp_targets),
            "health": Health(facts),
        },
    )
    site = PageSite(
        tree,
        HostList(own_names),
        clock,
        trusted=None if front.has_proxy_header else front.trusted,
        handshake_timeout_s=limit.handshake_timeout_s,
        limiter=HttpLimiter(clock, limit.max_http, limit.max_http_per_source, front.trusted),
    )

    def say_goodbye() -> Deferred[Any]:
        goodbyes = [stomp.shut_down(), stomp_sockets.shut_down()]
        goodbyes += [sockets.shut_down() for sockets in proxies.values()]
        return DeferredList(goodbyes, consumeErrors=True).addCallback(close_history)

    def close_history(_: object) -> Deferred[None] | None:
        return None if history is None else history.close()

    def listening(listener: Listener, port: IListeningPort) -> None:
        if listener.kind.startswith("stomp"):
            stomp_targets.extend(targets_of(port.getHost(), own_names))

    history = None
    if settings.history is not None:
        history = HistoryService(settings.history, broker, reactor)
    certificates = load_certificates(settings.tls, settings.listeners)
    on_hang_up: list[Callable[[], None]] = []
    service = MultiService()
    Privileges(settings).setServiceParent(service)
    Goodbye(reactor, say_goodbye).setServiceParent(service)
    for listener in settings.listeners:
        factory = site if listener.kind.startswith("http") else stomp
        has_front = front.has_proxy_header and listener.kind.startswith("http")
        endpoint = server_endpoint(reactor, listener, certificates, front if has_front else None)
        Listening(endpoint, factory, listener, listening).setServiceParent(service)
    LateModules().setServiceParent(service)
    if settings.message_log is not None and settings.message_log_line is not None:
        path, source_line = settings.message_log, settings.message_log_line
        log = MessageLogService(path, source_line, broker, reactor)
        log.setServiceParent(service)
        on_hang_up.append(log.reopen)
    if history is not None:
        history.setServiceParent(service)
    if certificates is not None:
        on_hang_up.append(lambda: reload_certificates(certificates))
    Expiry(broker, clock).setServiceParent(service)
    Signals(reactor, service, on_hang_up).setServiceParent(service)
    Greeting(settings, access, reactor).setServiceParent(service)
    return service
