"""A WebSocket server that sends each message back: the same bytes, text as text.

    python examples/echo.py PORT [CERTIFICATE KEY]

PORT 0 takes any free one; with two PEM files it speaks wss://. It listens on 127.0.0.1 and ends
on SIGTERM or Ctrl-C. docs/websocket.md tells what each part is.
"""

from __future__ import annotations

import sys

from twisted.internet import reactor
from twisted.internet.endpoints import quoteStringArgument, serverFromString
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure

from rtchat.core.access.hosts import HostList
from rtchat.net.web.site import PageSite
from rtchat.net.websocket.factory import WebSockets
from rtchat.net.websocket.messages import MessageProtocol
from rtchat.net.websocket.upgrade import WebSocketResource


class Echo(MessageProtocol):
    """Sends back what it receives."""

    def message_received(self, data: bytes, is_text: bool) -> None:
        """Send it back."""
        self.send_message(data, is_text)


def main(arguments: list[str]) -> None:
    """Listen until a signal comes."""
    if len(arguments) not in (1, 3) or not arguments[0].isdecimal():
        sys.exit("usage: python examples/echo.py PORT [CERTIFICATE KEY]")
    where, scheme = f"tcp:{arguments[0]}:interface=127.0.0.1", "ws"
    if len(arguments) == 3:
        certificate, key = map(quoteStringArgument, arguments[1:])
        where, scheme = f"ssl{where[3:]}:certKey={certificate}:privateKey={key}", "wss"

    sockets = WebSockets(Factory.forProtocol(Echo), reactor, max_message_bytes=16 * 1024 * 1024)
    site = PageSite(WebSocketResource(sockets, sources=["*"]), HostList(), reactor)
    listening = serverFromString(reactor, where).listen(site)

    failed: list[str] = []

    def tell(port: IListeningPort) -> None:
        print(f"{scheme}://127.0.0.1:{getattr(port.getHost(), 'port', '')}/", flush=True)

    def give_up(reason: Failure) -> None:
        failed.append(reason.getErrorMessage())
        reactor.callWhenRunning(reactor.stop)

    listening.addCallbacks(tell, give_up)
    reactor.addSystemEventTrigger("before", "shutdown", sockets.shut_down)
    reactor.run()
    if failed:
        sys.exit(failed[0])


if __name__ == "__main__":
    main(sys.argv[1:])
