"""The peers of rtchat, each configured for least overhead.

That is: no persistence, no management interface, no limit that would drop messages.
"""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
from collections.abc import Mapping, Sequence
from importlib import metadata

from typing_extensions import Self, override

from benchmarks import activemq
from benchmarks.servers import (
    HOST,
    STOP_TIMEOUT_S,
    BenchError,
    Server,
    Wire,
    find_program,
    free_ports,
)

__all__ = ["PEERS", "ActiveMQ", "CoilMQ", "Mosquitto", "Nats", "RabbitMQ"]


class RabbitMQ(Server):
    """RabbitMQ with its STOMP and Web STOMP plug-ins, and a separate node name and epmd."""

    name = "RabbitMQ"
    program = "rabbitmq-server"
    remedy = "apt-get install --no-install-recommends rabbitmq-server"

    @classmethod
    @override
    def find(cls) -> str | None:
        # Debian's /usr/sbin/rabbitmq-server insists on the user rabbitmq; this one does not.
        return shutil.which("/usr/lib/rabbitmq/bin/rabbitmq-server") or super().find()

    @classmethod
    @override
    def version(cls) -> str:
        return _debian_version("rabbitmq-server")

    @override
    def prepare(self) -> None:
        amqp, stomp, web, self._distribution, self._epmd_port = free_ports(5)
        (self.directory / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = {HOST}:{amqp}\n"
            f"stomp.listeners.tcp.1 = {HOST}:{stomp}\n"
            f"web_stomp.tcp.ip = {HOST}\n"
            f"web_stomp.tcp.port = {web}\n"
            "stomp.default_user = guest\n"
            "stomp.default_pass = guest\n"
            "log.console = true\n"
            "log.console.level = error\n"
            "log.file = false\n",
            encoding="utf-8",
        )
        (self.directory / "plugins").write_text("[rabbitmq_stomp,rabbitmq_web_stomp].\n")
        login = {"login": "guest", "passcode": "guest"}
        self.wires = {
            "tcp": Wire("tcp", stomp, login, queue="/queue/"),
            "ws": Wire("ws", web, {**login, "path": "/ws"}, queue="/queue/"),
        }

    @override
    def environment(self) -> Mapping[str, str]:
        folder = self.directory
        return {
            "HOME": str(folder),
            "ERL_EPMD_ADDRESS": HOST,
            "ERL_EPMD_PORT": str(self._epmd_port),
            "RABBITMQ_NODENAME": f"rtchat-bench-{self._epmd_port}@localhost",
            "RABBITMQ_DIST_PORT": str(self._distribution),
            # Schedulers that do not spin while they wait: that is what a shared machine is
            # told to set, and it only makes its figures a CPU second better.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +sbwtdcpu none +sbwtdio none "
            "-kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "none.config"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "none.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "plugins"),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "logs"),
            "RABBITMQ_PID_FILE": str(folder / "rabbitmq.pid"),
        }

    @override
    def command(self) -> Sequence[str]:
        return [self.find() or self.program]

    @override
    def __enter__(self) -> Self:
        # Started here, Erlang's port mapper stays our child; Erlang would leave it behind.
        epmd = find_program("epmd")
        if epmd is None:
            raise BenchError("epmd is missing, without which Erlang does not start: install it")
        self._epmd = subprocess.Popen(
            [epmd, "-port", str(self._epmd_port), "-address", HOST],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        return super().__enter__()

    @override
    def stop(self) -> None:
        super().stop()
        self._epmd.terminate()
        self._epmd.wait(STOP_TIMEOUT_S)


class ActiveMQ(Server):
    """ActiveMQ Classic: STOMP over NIO, nothing persistent."""

    name = "ActiveMQ"
    program = "activemq"
    remedy = "apt-get install --no-install-recommends activemq"
    _command: Sequence[str] = ()

    @classmethod
    @override
    def find(cls) -> str | None:
        return str(activemq.JAR) if activemq.JAR.exists() and shutil.which("java") else None

    @classmethod
    @override
    def version(cls) -> str:
        return _debian_version("activemq")

    @override
    def prepare(self) -> None:
        (port,) = free_ports(1)
        uri = f"stomp+nio://{HOST}:{port}"
        self._command = activemq.prepare(self.directory, uri, max_heap="2G")
        self.wires = {"tcp": Wire("tcp", port, queue="/queue/")}

    @override
    def command(self) -> Sequence[str]:
        return self._command


class Nats(Server):
    """NATS core: no JetStream, no authorization."""

    name = "NATS"
    program = "nats-server"
    remedy = "apt-get install --no-install-recommends nats-server"

    @classmethod
    @override
    def version(cls) -> str:
        return _said_version([cls.find() or cls.program, "--version"])

    @override
    def prepare(self) -> None:
        (port,) = free_ports(1)
        self.wires = {"nats": Wire("nats", port, topic="")}

    @override
    def command(self) -> Sequence[str]:
        program = self.find() or self.program
        return [program, "--addr", HOST, "--port", str(self.wires["nats"].port)]


class Mosquitto(Server):
    """Mosquitto: MQTT 3.1.1, QoS 0, no limit on a client's backlog."""

    name = "Mosquitto"
    program = "mosquitto"
    remedy = "apt-get install --no-install-recommends mosquitto"

    @classmethod
    @override
    def version(cls) -> str:
        return _said_version([cls.find() or cls.program, "-h"])

    @override
    def prepare(self) -> None:
        (port,) = free_ports(1)
        (self.directory / "mosquitto.conf").write_text(
            f"listener {port} {HOST}\n"
            "allow_anonymous true\n"
            "persistence false\n"
            "set_tcp_nodelay true\n"
            "max_queued_messages 0\n"
            "log_type error\n"
        )
        self.wires = {"mqtt": Wire("mqtt", port, topic="")}

    @override
    def command(self) -> Sequence[str]:
        return [self.find() or self.program, "-c", "mosquitto.conf"]


class CoilMQ(Server):
    """CoilMQ: a STOMP broker in Python with a thread for each connection."""

    name = "CoilMQ"
    program = "coilmq"
    remedy = "pip install coilmq (into the environment that runs this)"

    @classmethod
    @override
    def version(cls) -> str:
        try:
            return metadata.version("CoilMQ")
        except metadata.PackageNotFoundError:
            return "of another environment"

    @override
    def prepare(self) -> None:
        (port,) = free_ports(1)
        # It takes clients that ask for the machine's own name only.
        self.wires = {"tcp": Wire("tcp", port, {"vhost": socket.getfqdn()}, queue="/queue/")}

    @override
    def command(self) -> Sequence[str]:
        program = self.find() or self.program
        return [program, "-b", HOST, "-p", str(self.wires["tcp"].port)]


PEERS: tuple[type[Server], ...] = (RabbitMQ, ActiveMQ, Nats, Mosquitto, CoilMQ)
"""The servers that rtchat is compared with."""


def _debian_version(package: str) -> str:
    """Return the upstream version of a Debian package, without starting Erlang or a JVM."""
    program = shutil.which("dpkg-query")
    if program is None:
        return "of unknown version"
    query = [program, "--show", "--showformat=${Version}", package]
    said = subprocess.run(query, capture_output=True, text=True, check=False).stdout
    return re.split(r"[-+]", said)[0] or "of unknown version"


def _said_version(command: Sequence[str]) -> str:
    """Return the first dotted number in a program's output."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"\d+(\.\d+)+", done.stdout + done.stderr)
    return found.group() if found else "of unknown version"
