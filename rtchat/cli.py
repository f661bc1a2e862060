"""The command ``rtchat``: STOMP messages from a shell, copies of a history, users' passwords."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, connectProtocol
from twisted.internet.error import ConnectError
from twisted.internet.task import react
from twisted.python.failure import Failure

from rtchat import __version__
from rtchat.core.stomp.frames import Frame
from rtchat.errors import ServerRefused, StoreUnusable
from rtchat.net.stomp.client import StompClient
from rtchat.net.twisted_internals import use_monotonic_clock
from rtchat.terminal import Output, drop_output, read_input, shown
from rtchat.text import parse_digits

__all__ = ["main"]

_T = TypeVar("_T")

_EXIT_CODES = """\
exit codes:
  0    done: the message is published, COUNT messages were shown, or the file is written
  1    the server refused, ended or did not answer, or a file cannot be used; one
       sentence on standard error says which
  2    the command line is not understood
  130  Ctrl-C came before it was done (without --count it ends listening with 0)
  141  the program that reads the output has ended
  143  SIGTERM came before it was done
"""

_QUEUES = ("/queue/", "/amq/queue/")
_PREFETCH = 100


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command; exit with one of the codes that ``rtchat --help`` lists."""
    if sys.stderr is None:  # closed by the shell: 2>&-
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    options = _parse(arguments)
    on_files = {"backup": _copy, "restore": _copy, "passwd": _change_user}.get(options.command)
    if on_files is not None:
        try:
            on_files(options)
        except KeyboardInterrupt:
            raise SystemExit(128 + signal.SIGINT) from None
        return
    command = _Command(options)
    try:
        command.prepare()
        react(command.run, ())
    except KeyboardInterrupt:
        raise SystemExit(128 + signal.SIGINT) from None
    except SystemExit as end:
        if not end.code and not command.is_done:
            raise SystemExit(128 + command.signal) from None
        raise


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    try:
        options = _parser().parse_args(arguments)
    except SystemExit:
        if sys.stdout is not None:
            try:
                sys.stdout.flush()
            except OSError:  # who asked for the help has gone
                drop_output()
        raise
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rtchat",
        description="A STOMP client for the shell. To start the server: twistd -n rtchat",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"rtchat {__version__}")
    parser.add_argument(
        "--host", type=_text, default="127.0.0.1", help="the STOMP server (%(default)s)"
    )
    parser.add_argument("--port", type=_port, default=61613, help="its port (%(default)s)")
    parser.add_argument(
        "--login", type=_text, default="", help="the user name, if the server requires one"
    )
    parser.add_argument("--passcode", type=_text, default="", help="the passcode")
    parser.add_argument(
        "--timeout",
        type=_seconds,
        default=10.0,
        metavar="SECONDS",
        help="how long to wait for each answer, and how long the server may be silent while "
        "listening (10)",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    send = commands.add_parser("send", help="publish one message")
    send.add_argument("destination", type=_text, help="for example /topic/chat")
    send.add_argument("body", help="the message; - for standard input")
    listen = commands.add_parser("listen", help="print messages until Ctrl-C")
    listen.add_argument("destination", type=_text, help="for example /topic/chat")
    listen.add_argument(
        "--count", type=_count, default=0, help="stop after COUNT messages; a queue keeps the rest"
    )
    backup = commands.add_parser("backup", help="copy a history file; the server may run")
    backup.add_argument("file", type=Path, help="the file of [history]")
    backup.add_argument("copy", type=Path, help="the copy, a new file")
    restore = commands.add_parser("restore", help="put a copy back; the server is stopped")
    restore.add_argument("copy", type=Path, help="the copy")
    restore.add_argument("file", type=Path, help="the file of [history]")
    passwd = commands.add_parser(
        "passwd",
        help="set the password of a user, or remove one",
        description="The password is asked for twice on a terminal; otherwise the first line of "
        "standard input is it.",
    )
    passwd.add_argument("file", type=Path, help="the file of [users]; made if it is not there")
    passwd.add_argument("name", type=_user, help="the user")
    passwd.add_argument("--delete", action="store_true", help="remove the user")
    return parser


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end the command as an exception does, so that it leaves no mess."""

    def end(number: int, frame: Any) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _change_user(options: argparse.Namespace) -> None:
    """Set the password of a user, or remove the user."""
    from rtchat.passwd import change

    with _ended_by_sigterm():
        change(options.file, options.name, is_removal=options.delete)


def _copy(options: argparse.Namespace) -> None:
    """Copy a history file, or put a copy back."""
    from rtchat.net.history.backup import back_up, restore  # SQLite is for these commands only

    output = Output()
    try:
        with _ended_by_sigterm():
            if options.command == "backup":
                count, path = back_up(options.file, options.copy), options.copy
            else:
                count, path = restore(options.copy, options.file), options.file
    except StoreUnusable as error:
        raise SystemExit(f"rtchat: {error}") from None
    output.write(os.fsencode(path) + f": {count} messages".encode())


def _text(word: str) -> str:
    """Read a word that goes into a header, which has to be UTF-8."""
    try:
        return os.fsencode(word).decode("utf-8")
    except UnicodeDecodeError:
        raise argparse.ArgumentTypeError(f"{word!a} is not UTF-8") from None


def _user(word: str) -> str:
    """Read the name of a user."""
    from rtchat.passwd import user_name  # for this command only

    return user_name(_text(word))


def _port(word: str) -> int:
    number = parse_digits(word, 5)
    if number is None or not 1 <= number <= 65535:
        raise argparse.ArgumentTypeError(f"{word!a} is not a port; use a number from 1 to 65535")
    return number


def _count(word: str) -> int:
    number = parse_digits(word, 9)
    if not number:
        raise argparse.ArgumentTypeError(f"{word!a} is not a number of messages; use 1 or more")
    return number


def _seconds(word: str) -> float:
    try:
        seconds = float(word)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= 86400:
        raise argparse.ArgumentTypeError(f"{word!a} is not a time; use 0.1 to 86400 seconds")
    return seconds


class _Command:
    """One run of the command.

    Attributes:
        is_done: Whether it has done what it was asked to do.
        signal: The signal that has ended it, or else SIGINT.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        self.is_done = False
        self.signal = signal.SIGINT
        self._is_stopping = False
        self._options = options
        self._where = f"{options.host}:{options.port}"
        self._body: bytes | str = b""
        self._output: Output | None = None

    def prepare(self) -> None:
        """Do what may take its time, or fail, before the server is asked for anything.

        Raises:
            SystemExit: Standard input or standard output cannot be used.
        """
        if self._options.command == "listen":
            self._output = Output()
        elif self._options.body == "-":
            self._body = read_input()
        else:
            data = os.fsencode(self._options.body)
            try:
                self._body = data.decode("utf-8")
            except UnicodeDecodeError:
                self._body = data

    def run(self, reactor: Any) -> Deferred[None]:
        """Talk to the server; fires when all is done."""
        self._reactor = reactor
        use_monotonic_clock(reactor)
        reactor.callWhenRunning(self._watch_signal)
        reactor.addSystemEventTrigger("before", "shutdown", self._stopping)
        return Deferred.fromCoroutine(self._talk())

    def _watch_signal(self) -> None:
        stop = signal.getsignal(signal.SIGTERM)  # the reactor's
        assert callable(stop)

        def note(number: int, frame: Any) -> None:
            self.signal = signal.Signals(number)
            stop(number, frame)

        signal.signal(signal.SIGTERM, note)

    def _stopping(self) -> None:
        self._is_stopping = True
        if self._output is not None:
            self._output.unwatch()

    async def _talk(self) -> None:
        options = self._options
        client = StompClient(
            options.login, options.passcode, clock=self._reactor, silence_s=options.timeout
        )
        endpoint = HostnameEndpoint(self._reactor, options.host, options.port)
        try:
            await self._in_time(connectProtocol(endpoint, client), "the connection")
        except Exception as error:  # each of resolution, refusal and time-out has its own
            raise SystemExit(f"rtchat: cannot connect to {self._where}: {_why(error)}") from None
        try:
            await self._in_time(client.opened, "CONNECT")
            if options.command == "send":
                sent = client.send(options.destination, self._body)
                await self._in_time(sent, "the message; it may have been published all the same")
                self.is_done = True
            else:
                await self._listen(client)
            with suppress(ServerRefused):  # all was confirmed before
                await self._in_time(client.disconnect(), "DISCONNECT")
        except ServerRefused as error:
            if self._is_stopping:  # a signal has closed the connection
                return
            raise SystemExit(f"rtchat: {self._where}: {shown(str(error))}") from None
        finally:
            # Last, because it hides the loss from callbacks that are added after it.
            client.lost.addErrback(lambda _: None)
            if client.transport is not None:
                client.transport.abortConnection()  # type: ignore[attr-defined]  # it is TCP

    async def _listen(self, client: StompClient) -> None:
        """Print messages.

        A message of a queue is acknowledged once it is printed, so that none is lost when this
        command ends. One at a time is requested if they are counted, and the last one is
        acknowledged together with the end of the subscription, so that the queue keeps the rest.
        """
        options, output = self._options, self._output
        assert output is not None
        done: Deferred[Frame] = Deferred()
        is_queue = options.destination.startswith(_QUEUES)
        seen = 0

        def show(message: Frame) -> None:
            nonlocal seen
            if done.called:
                return
            try:
                output.write(message.body)
            except SystemExit as end:
                done.errback(end)
                return
            seen += 1
            if seen == options.count:
                done.callback(message)
            elif is_queue:
                client.ack(message).addErrback(lambda _: None)  # the loss is reported once

        def gone(failure: Failure) -> None:
            if not done.called:
                done.errback(failure)

        client.lost.addErrback(gone)
        output.watch(self._reactor, gone)
        prefetch = 1 if options.count else _PREFETCH
        subscribed = client.subscribe(
            options.destination,
            show,
            ack="client-individual" if is_queue else "auto",
            acknowledge=False,
            headers={"prefetch-count": prefetch, "activemq.prefetchSize": prefetch}
            if is_queue
            else None,
        )
        subscription_id = await self._in_time(subscribed, "SUBSCRIBE")
        self.is_done = not options.count
        last = await done
        if is_queue:
            client.begin("last").addErrback(lambda _: None)
            client.ack(last, "last").addErrback(lambda _: None)
            client.unsubscribe(subscription_id).addErrback(lambda _: None)
            await self._in_time(client.commit("last"), "the last acknowledgement")
        self.is_done = True

    def _in_time(self, answer: Deferred[_T], what: str) -> Deferred[_T]:
        """Let an answer fail if it takes too long."""
        seconds: float = self._options.timeout

        def too_late(result: _T | Failure, timeout: float) -> _T | Failure:
            raise ServerRefused(f"no answer within {seconds:g} seconds to {what}")

        return answer.addTimeout(seconds, self._reactor, onTimeoutCancel=too_late)


def _why(error: Exception) -> str:
    if isinstance(error, ServerRefused):
        return str(error)
    text = shown(str(error)).rstrip(".")
    return f"{text}. Is the server running there?" if isinstance(error, ConnectError) else text


if __name__ == "__main__":
    main()
