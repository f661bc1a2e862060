"""Libraries of other languages as peers: programs that take orders and tell what they hear.

Each program in ``drivers`` reads one order in JSON from each line of its standard input, and writes
what its library hands over as one line of JSON each:

    {"op": "subscribe", "destination": …, "headers": {"id": …, "ack": …}}   answered by "receipt"
    {"op": "unsubscribe", "id": …}                                           answered by "receipt"
    {"op": "send", "destination": …, "base64": …, "headers": {…}, "confirm": name or null}
    {"op": "ack" or "nack", "message": number, "headers": {…}}
    {"op": "begin", "commit" or "abort", "name": …}
    {"op": "leave"}                                                          answered by "left"

    {"event": "connected"} · {"event": "message", "number": …, "base64": …, "headers": {…}}
    {"event": "receipt", "name": …} · {"event": "error", "message": …} · {"event": "heartbeat"}

What a library cannot do, the program does not do for it: the class of the peer says so.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

from support.interop.peer import WITHIN_S, Message, Peer, dashed
from support.needs import require, require_file, require_package, require_target
from support.process import until
from typing_extensions import override

__all__ = [
    "NetStompPeer",
    "PhpStompPeer",
    "RubyStompPeer",
    "RxStompPeer",
    "StompJs2Peer",
    "StompJsPeer",
    "StompPy8Peer",
    "StompestPeer",
    "StompitPeer",
    "WebstompPeer",
]

_DRIVERS = Path(__file__).parent / "drivers"


class ScriptedPeer(Peer):
    """A program in ``drivers``.

    Its arguments are the address, the period of heart-beats in milliseconds, and whether it comes
    back (1 or 0).
    """

    is_websocket: ClassVar[bool] = False

    def command(self) -> Sequence[str]:
        """Return the command without its arguments; skip the test if something is missing."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        """Return more variables of the environment."""
        return {}

    @override
    def open(self) -> None:
        command = self.command()
        server = self.server
        address = (
            f"ws://localhost:{server.http}/ws" if self.is_websocket else f"127.0.0.1:{server.stomp}"
        )
        self._process = subprocess.Popen(
            [*command, address, str(self.heartbeat_ms), str(int(self.comes_back))],
            env={**os.environ, **self.environment()},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )
        self._has_left = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        until(f"connection of {type(self).__name__}", lambda: self.connections, WITHIN_S)

    @override
    def leave(self) -> None:
        self._order("leave")
        assert self._has_left.wait(WITHIN_S), f"{type(self).__name__} did not leave"

    @override
    def kill(self) -> None:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        process.kill()
        process.wait()
        self._reader.join()
        process.stdin.close()
        process.stdout.close()

    @override
    def subscribe(
        self, destination: str, name: str = "s", ack: str = "auto", **headers: str
    ) -> None:
        more = {"id": name, "ack": ack, **dashed(headers)}
        self._order("subscribe", destination=destination, headers=more)
        self._confirmed(name)

    @override
    def unsubscribe(self, name: str = "s") -> None:
        self._order("unsubscribe", id=name)
        self._confirmed(name)

    @override
    def send(self, destination: str, body: str, transaction: str = "", **headers: str) -> None:
        more = {**dashed(headers), **({"transaction": transaction} if transaction else {})}
        self._send(destination, body.encode(), more)

    @override
    def send_bytes(self, destination: str, body: bytes, headers: dict[str, str]) -> None:
        self._send(destination, body, headers)

    @override
    def send_confirmed(self, destination: str, body: str) -> None:
        name = f"sent-{next(self._names)}"
        self._send(destination, body.encode(), {}, name)
        self._confirmed(name)

    @override
    def ack(self, message: Message, transaction: str = "") -> None:
        headers = {"transaction": transaction} if transaction else {}
        self._order("ack", message=message.native, headers=headers)

    @override
    def nack(self, message: Message, *, requeue: bool = True) -> None:
        headers = {} if requeue else {"requeue": "false"}
        self._order("nack", message=message.native, headers=headers)

    @override
    def begin(self, name: str) -> None:
        self._order("begin", name=name)

    @override
    def commit(self, name: str) -> None:
        self._order("commit", name=name)

    @override
    def abort(self, name: str) -> None:
        self._order("abort", name=name)

    def _send(
        self, destination: str, body: bytes, headers: dict[str, str], confirm: str | None = None
    ) -> None:
        encoded = base64.b64encode(body).decode()
        self._order(
            "send", destination=destination, base64=encoded, headers=headers, confirm=confirm
        )

    def _order(self, op: str, **words: Any) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"op": op, **words}) + "\n")
        self._process.stdin.flush()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            news = json.loads(line)
            event = news["event"]
            if event == "message":
                data = base64.b64decode(news["base64"])
                text = data.decode(errors="replace")
                headers = {name: str(value) for name, value in news["headers"].items()}
                self.messages.put(Message(text, headers, news["number"], data))
            elif event == "receipt":
                self.receipts.put(news["name"])
            elif event == "error":
                self.errors.put(news["message"])
            elif event == "connected":
                self.connections += 1
            elif event == "heartbeat":
                self.heartbeats += 1
            elif event == "left":
                self._has_left.set()


class _NodePeer(ScriptedPeer):
    """A library for Node.js."""

    driver: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]

    @override
    def command(self) -> Sequence[str]:
        for package in self.packages:
            require_package(package)
        return [require("node"), str(_DRIVERS / self.driver)]


class StompJsPeer(_NodePeer):
    """@stomp/stompjs 7, over ``/ws``."""

    driver = "stompjs.mjs"
    packages = ("@stomp/stompjs", "ws")
    is_websocket = True


class RxStompPeer(_NodePeer):
    """@stomp/rx-stomp, over ``/ws``."""

    driver = "rx_stomp.mjs"
    packages = ("@stomp/rx-stomp", "rxjs", "ws")
    is_websocket = True


class WebstompPeer(_NodePeer):
    """webstomp-client, over ``/ws``. It knows text only, and no escapes."""

    driver = "webstomp.mjs"
    packages = ("webstomp-client", "ws")
    is_websocket = True
    can_send_bytes = False
    can_have_any_header = False


class StompJs2Peer(_NodePeer):
    """stompjs 2.3.3, the library of many tutorials, over ``/ws``. It knows text, and no escapes."""

    driver = "stompjs2.mjs"
    packages = ("stompjs", "ws")
    is_websocket = True
    can_send_bytes = False
    can_have_any_header = False


class StompitPeer(_NodePeer):
    """stompit, over TCP."""

    driver = "stompit.mjs"
    packages = ("stompit",)
    needs_a_subscription_for_answers = True


class RubyStompPeer(ScriptedPeer):
    """Debian's ruby-stomp, with ``reliable: true`` if it comes back."""

    @override
    def command(self) -> Sequence[str]:
        require_file("/usr/lib/ruby/vendor_ruby/stomp.rb")
        return [require("ruby"), str(_DRIVERS / "ruby_stomp.rb")]


class NetStompPeer(ScriptedPeer):
    """Debian's libnet-stomp-perl, which comes back by itself and knows no heart-beats or escapes.

    A connection that fails while it is made anew is made once more, and what failed is sent again:
    CONNECT, or each SUBSCRIBE, twice. It happens if the server ends in the middle of its CONNECT.
    """

    has_heartbeats = False
    can_have_any_header = False
    errors_of_coming_back = ("a second CONNECT", "subscription id in use")

    @override
    def command(self) -> Sequence[str]:
        require_file("/usr/share/perl5/Net/Stomp.pm")
        return [require("perl"), str(_DRIVERS / "net_stomp.pl")]


class PhpStompPeer(ScriptedPeer):
    """Debian's php-stomp, which knows no heart-beats or escapes."""

    has_heartbeats = False
    can_have_any_header = False

    @override
    def command(self) -> Sequence[str]:
        require_file("/usr/share/doc/php-stomp")
        return [require("php"), str(_DRIVERS / "php_stomp.php")]


class _TargetPeer(ScriptedPeer):
    """A Python library in a folder of its own, because its version is not that of the tests."""

    driver: ClassVar[str]
    target: ClassVar[str]

    @override
    def command(self) -> Sequence[str]:
        require_target(self.target)
        return [sys.executable, str(_DRIVERS / self.driver)]

    @override
    def environment(self) -> dict[str, str]:
        return {"PYTHONPATH": str(require_target(self.target))}


class StompPy8Peer(_TargetPeer):
    """stomp.py 8."""

    driver = "stomp_py.py"
    target = "stomp.py-8"


class StompestPeer(_TargetPeer):
    """stompest, its synchronous client. Its ACK and NACK take no headers."""

    can_acknowledge_in_transactions = False
    can_refuse_for_good = False

    driver = "stompest_sync.py"
    target = "stompest"
