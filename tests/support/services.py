"""Real services behind the gateway: IRC, XMPP and STOMP servers from packages, and an echo.

Each is started on a free loopback port, in a folder of its own with a configuration that is
written for it, and ended with the test. What is missing on the machine skips the test; with
``CI=true`` it fails.
"""

from __future__ import annotations

import grp
import os
import pwd
import signal
import socket
import socketserver
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from support.needs import require
from support.process import free_port, until
from typing_extensions import override

from benchmarks.activemq import prepare

__all__ = ["PASSWORDS", "Service", "activemq", "echo_server", "ngircd", "prosody", "rabbitmq"]

PASSWORDS = {
    "ada@localhost": "Grüße, Ada; 1=2,3",
    "bob@localhost": "bob's secret",
    "carol@sha1.localhost": "carol's secret",
    "dave@plain.localhost": "dave's secret",
}
"""The XMPP accounts. The domains differ in how one logs in: with SCRAM-SHA-256, with
SCRAM-SHA-1, with PLAIN and nothing else."""

_NGIRCD = """\
[Global]
Name = irc.test.example
Info = a server for tests
MotdPhrase = "Be kind."
Listen = 127.0.0.1
Ports = {port}

[Limits]
MaxConnectionsIP = 0
MaxNickLength = 20
MaxPenaltyTime = 0

[Options]
DNS = no
Ident = no
PAM = no
SyslogFacility = local0
"""

_PROSODY = """\
pidfile = "{folder}/prosody.pid"
data_path = "{folder}/data"
daemonize = false
run_as_root = true
prosody_user = "{user}"
prosody_group = "{group}"
log = {{ info = "*console" }}

interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {port} }}
c2s_require_encryption = false
modules_enabled = {{ "roster", "saslauth", "disco", "ping", "offline" }}
modules_disabled = {{ "s2s", "tls" }}

authentication = "internal_hashed"

VirtualHost "localhost"
  password_hash = "SHA-256"

VirtualHost "sha1.localhost"
  password_hash = "SHA-1"

VirtualHost "plain.localhost"
  allow_unencrypted_plain_auth = true
  disable_sasl_mechanisms = {{ "SCRAM-SHA-1", "SCRAM-SHA-256" }}
"""

_RABBITMQ = """\
listeners.tcp.1 = 127.0.0.1:{amqp}
stomp.listeners.tcp.1 = 127.0.0.1:{port}
stomp.default_user = guest
stomp.default_pass = guest
log.console = true
log.console.level = info
log.file = false
"""


class Service:
    """A server process that is ready.

    Attributes:
        port: Where it listens, on 127.0.0.1.
        target: The same as the access list names it.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self.port = port
        self.target = f"localhost:{port}"
        self._log_path = folder / "log"
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def log(self) -> str:
        """Return all it said."""
        return self._log_path.read_text(encoding="utf-8", errors="replace")

    def start(
        self,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        within_s: float = 20,
    ) -> None:
        """Start it and wait until its port is open."""
        with self._log_path.open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=self._folder,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._process = process
        until(
            f"open port of {command[0]}",
            lambda: process.poll() is not None or _is_open(self.port),
            within_s,
            self.log,
        )
        assert process.poll() is None, f"{command[0]} ended:\n{self.log()}"

    def stop(self) -> None:
        """End it, with all processes that it has started."""
        process = self._process
        if process is None:
            return
        for number, seconds in ((signal.SIGTERM, 10.0), (signal.SIGKILL, 5.0)):
            with suppress(ProcessLookupError):
                os.killpg(process.pid, number)
            with suppress(subprocess.TimeoutExpired):
                process.wait(seconds)
                break


@contextmanager
def ngircd(folder: Path) -> Iterator[Service]:
    """Run an IRC server."""
    program = require("ngircd")
    service = Service(folder, free_port())
    config = folder / "ngircd.conf"
    config.write_text(_NGIRCD.format(port=service.port), encoding="utf-8")
    try:
        service.start([program, "-n", "-f", str(config)])
        yield service
    finally:
        service.stop()


@contextmanager
def prosody(folder: Path) -> Iterator[Service]:
    """Run an XMPP server with the accounts of :data:`PASSWORDS`."""
    program, tool = require("prosody"), require("prosodyctl")
    service = Service(folder, free_port())
    (folder / "data").mkdir()
    config = folder / "prosody.cfg.lua"
    text = _PROSODY.format(folder=folder, port=service.port, user=_user(), group=_group())
    config.write_text(text, encoding="utf-8")
    try:
        for jid, password in PASSWORDS.items():
            name, _, domain = jid.partition("@")
            command = [tool, "--config", str(config), "register", name, domain, password]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
        service.start([program, "--config", str(config), "-F"])
        yield service
    finally:
        service.stop()


@contextmanager
def rabbitmq(folder: Path) -> Iterator[Service]:
    """Run a RabbitMQ with its STOMP plugin, under a node name and an epmd of its own."""
    program = require("rabbitmq-server")
    epmd = require("epmd")
    service = Service(folder, free_port())
    amqp, distribution, epmd_port = free_port(), free_port(), free_port()
    config = folder / "rabbitmq.conf"
    config.write_text(_RABBITMQ.format(amqp=amqp, port=service.port), encoding="utf-8")
    (folder / "plugins").write_text("[rabbitmq_stomp].\n", encoding="utf-8")
    environment = {
        "HOME": str(folder),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_PORT": str(epmd_port),
        "RABBITMQ_NODENAME": f"rtchat-test-{service.port}@localhost",
        "RABBITMQ_DIST_PORT": str(distribution),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        "RABBITMQ_CONFIG_FILE": str(config),
        "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "none.config"),
        "RABBITMQ_CONF_ENV_FILE": str(folder / "none.conf"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder / "logs"),
        "RABBITMQ_PID_FILE": str(folder / "rabbitmq.pid"),
    }
    try:
        service.start([program], environment, within_s=90)
        yield service
    finally:
        service.stop()
        # Erlang leaves its port mapper behind; this one was ours alone.
        subprocess.run(
            [epmd, "-port", str(epmd_port), "-kill"],
            env={**os.environ, **environment},
            capture_output=True,
            check=False,
        )


@contextmanager
def activemq(folder: Path) -> Iterator[Service]:
    """Run an ActiveMQ Classic with its STOMP transport, which keeps nothing on disk."""
    require("activemq")
    service = Service(folder, free_port())
    uri = f"stomp://127.0.0.1:{service.port}"
    command = prepare(folder, uri, java=require("java"), max_heap="512M")
    try:
        service.start(command, within_s=90)
        yield service
    finally:
        service.stop()


class _Echo(socketserver.BaseRequestHandler):
    @override
    def handle(self) -> None:
        with suppress(OSError):
            while data := self.request.recv(65536):
                self.request.sendall(data)


class _EchoServer(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    block_on_close = False


@contextmanager
def echo_server() -> Iterator[int]:
    """Run a server that sends back what it gets; yields its port."""
    with _EchoServer(("127.0.0.1", free_port()), _Echo) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def _is_open(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _user() -> str:
    return pwd.getpwuid(os.geteuid()).pw_name


def _group() -> str:
    return grp.getgrgid(os.getegid()).gr_name
