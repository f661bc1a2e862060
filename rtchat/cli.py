"""The command ``rtchat``: STOMP messages from a shell, and copies of a history."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.task import react

from rtchat import __version__
from rtchat.core.stomp.frames import Frame
from rtchat.errors import ServerRefused, StoreUnusable
from rtchat.net.stomp.client import StompClient

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; exit with 0, or with 1 and one sentence on standard error."""
    options = _parser().parse_args(arguments)
    if options.command in ("backup", "restore"):
        _copy(options)
        return
    react(_run, (options,))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rtchat",
        description="A STOMP client for the shell. To start the server: twistd -n rtchat",
    )
    parser.add_argument("--version", action="version", version=f"rtchat {__version__}")
    parser.add_argument("--host", default="127.0.0.1", help="the STOMP server (%(default)s)")
    parser.add_argument("--port", type=int, default=61613, help="its port (%(default)s)")
    parser.add_argument("--login", default="", help="the user name, if the server requires one")
    parser.add_argument("--passcode", default="", help="the passcode")
    commands = parser.add_subparsers(dest="command", required=True)
    send = commands.add_parser("send", help="publish one message")
    send.add_argument("destination", help="for example /topic/chat")
    send.add_argument("body", help="the message; - for standard input")
    listen = commands.add_parser("listen", help="print messages until Ctrl-C")
    listen.add_argument("destination", help="for example /topic/chat")
    listen.add_argument("--count", type=int, default=0, help="stop after COUNT messages")
    backup = commands.add_parser("backup", help="copy a history file; the server may run")
    backup.add_argument("file", type=Path, help="the file of [history]")
    backup.add_argument("copy", type=Path, help="the copy, a new file")
    restore = commands.add_parser("restore", help="put a copy back; the server is stopped")
    restore.add_argument("copy", type=Path, help="the copy")
    restore.add_argument("file", type=Path, help="the file of [history]")
    return parser


def _copy(options: argparse.Namespace) -> None:
    """Copy a history file, or put a copy back."""
    from rtchat.net.history.backup import back_up, restore  # SQLite is for these commands only

    try:
        if options.command == "backup":
            count, path = back_up(options.file, options.copy), options.copy
        else:
            count, path = restore(options.copy, options.file), options.file
    except StoreUnusable as error:
        raise SystemExit(f"rtchat: {error}") from None
    sys.stdout.write(f"{path}: {count} messages\n")


def _run(reactor: Any, options: argparse.Namespace) -> Deferred[None]:
    return Deferred.fromCoroutine(_talk(reactor, options))


async def _talk(reactor: Any, options: argparse.Namespace) -> None:
    where = f"{options.host}:{options.port}"
    client = StompClient(options.login, options.passcode)
    endpoint = HostnameEndpoint(reactor, options.host, options.port)
    try:
        await connectProtocol(endpoint, client)
    except Exception as error:  # each of resolution, refusal and time-out has its own
        raise SystemExit(f"rtchat: cannot connect to {where}: {_sentence(error)}") from None
    try:
        await client.opened
        if options.command == "send":
            await _send(client, options)
        else:
            await _listen(client, options)
        await client.disconnect()
    except ServerRefused as error:
        raise SystemExit(f"rtchat: {where}: {error}") from None
    finally:
        # Last, because it hides the loss from callbacks that are added after it.
        client.lost.addErrback(lambda _: None)


async def _send(client: StompClient, options: argparse.Namespace) -> None:
    if options.body == "-":
        await client.send(options.destination, sys.stdin.buffer.read())
    else:
        await client.send(options.destination, options.body)


async def _listen(client: StompClient, options: argparse.Namespace) -> None:
    done: Deferred[None] = Deferred()
    seen = 0

    def show(message: Frame) -> None:
        nonlocal seen
        seen += 1
        sys.stdout.buffer.write(message.body + b"\n")
        sys.stdout.flush()
        if seen == options.count and not done.called:
            done.callback(None)

    def gone(failure: Any) -> None:
        if not done.called:
            done.errback(failure)

    client.lost.addErrback(gone)
    await client.subscribe(options.destination, show)
    await done


def _sentence(error: Exception) -> str:
    return f"{str(error).rstrip('.')}. Is the server running there?"


if __name__ == "__main__":
    main()
