"""``twistd rtchat``: the command line, and the list of parts that make the server."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, ClassVar

from twisted.application.service import MultiService
from twisted.python.usage import Options as UsageOptions
from typing_extensions import override

from rtchat import __version__
from rtchat.errors import ConfigError
from rtchat.server import settings as config
from rtchat.server.access import AccessPart
from rtchat.server.auth import AuthPart
from rtchat.server.chat import ChatPart
from rtchat.server.front_proxy import FrontProxyPart
from rtchat.server.gateway import GatewayPart
from rtchat.server.history import HistoryPart
from rtchat.server.lifecycle import DrainPart, LateModulesPart, ReadyPart, SignalsPart
from rtchat.server.listeners import ListenersPart
from rtchat.server.message_log import MessageLogPart
from rtchat.server.part import Part, Server
from rtchat.server.privileges import PrivilegesPart
from rtchat.server.runner import prepare
from rtchat.server.start import DaemonWatch
from rtchat.server.stomp import BrokerPart, StompWebSocketPart
from rtchat.server.tls import TlsPart
from rtchat.server.web import WebPart
from rtchat.server.websocket import WebSocketPart

__all__ = ["PARTS", "Options", "makeService"]

PARTS: tuple[type[Part[Any]], ...] = (
    SignalsPart,  # SIGTERM, Ctrl-C, SIGHUP
    DrainPart,  # tells the clients that the server stops
    PrivilegesPart,  # [global] user, group
    AccessPart,  # [access], [global] hosts, origin.required
    FrontProxyPart,  # [front]
    WebPart,  # [static], the HTTP limits of [proxy]; the page and /health
    WebSocketPart,  # [global] session.ping_interval, session.ping_timeout
    BrokerPart,  # [broker], [pubsub]
    AuthPart,  # [users], [tokens], [hooks], [rights], [groups]
    ChatPart,  # [presence], [chat], [rate]
    MessageLogPart,  # [log]
    HistoryPart,  # [history]
    StompWebSocketPart,  # /ws
    GatewayPart,  # [proxy]; /tcp
    TlsPart,  # [ssl]
    ListenersPart,  # [listen]
    LateModulesPart,  # loaded once the ports are open
    ReadyPart,  # the last line of the start
)
"""The server, in the order of its start. Each part may use those before it."""

_HELP = """
Runs a chat page, a WebSocket gateway and a STOMP broker in one process.

Without --config it listens on loopback only: the page on http://127.0.0.1:9000/,
STOMP on 127.0.0.1:61613, and STOMP over WebSocket on ws://127.0.0.1:9000/ws for
its own page.

  twistd -n rtchat                      run with the built-in settings
  twistd -n rtchat --config chat.ini    run with your own
  kill -TERM PID, or Ctrl-C             tell the clients and stop
  kill -HUP PID                         reopen the message log; read certificates,
                                        users, keys of tokens and rights again
  rtchat passwd users.txt NAME          set the password of a user

A configuration looks like this; docs/configuration.md lists every key, and
docs/security.md says how your site's own log-in is used:

  [listen]
  https://:443
  stomps://:61614
  stomp://127.0.0.1:61613
  [ssl]
  crt = cert.pem
  key = key.pem
  [access]
  self -> localhost:61613
  [users]
  file = users.txt
  [rights]
  * = read write /topic/chat, /topic/chat.*
"""


class Options(UsageOptions):
    """The command line of ``twistd rtchat``.

    Attributes:
        settings: What the configuration says, for each part; set once the options are parsed.
    """

    synopsis = "[--config chat.ini]"
    optParameters: ClassVar[list[list[Any]]] = [
        ["config", "c", None, "The configuration file. Without it the built-in settings apply."],
    ]
    settings: config.Settings

    def opt_version(self) -> None:
        """Print rtchat's version and exit."""
        sys.stdout.write(f"rtchat {__version__}\n")
        sys.exit(0)

    @override
    def getUsage(self, width: int | None = None) -> str:
        """Return the help. As ``longdesc`` its lines would be joined into paragraphs."""
        usage: str = super().getUsage(width)
        return usage + _HELP

    @override
    def postOptions(self) -> None:
        """Read the configuration and prepare the runner; a mistake ends the start."""
        path = self["config"]
        try:
            self.settings = config.load(Path(path), PARTS) if path else config.defaults(PARTS)
        except ConfigError as error:
            raise SystemExit(f"rtchat: {error}") from None
        if self.parent is not None:
            prepare(self.parent)


def makeService(options: Options) -> MultiService:
    """Build the server from its parts.

    Args:
        options: The command line, parsed.

    Returns:
        A service that listens, and on stopping tells every client.
    """
    from twisted.internet import reactor

    server = Server(reactor, options.settings.source)
    try:
        for part in PARTS:
            server.add(part, options.settings.of(part))
    except ConfigError as error:
        raise SystemExit(f"rtchat: {error}") from None
    server.service.watch = DaemonWatch()
    return server.service
