"""Standard input and output of the command, closed, broken, or a terminal."""

from __future__ import annotations

import fcntl
import os
import signal
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any, BinaryIO

from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = ["Output", "drop_output", "read_input", "shown"]


@implementer(IReadDescriptor)
class Output:
    """Standard output, for messages.

    Raises:
        SystemExit: It is closed.
    """

    def __init__(self) -> None:
        if sys.stdout is None:
            raise SystemExit("rtchat: standard output is closed; there is nowhere to print to")
        self._file: BinaryIO = sys.stdout.buffer
        self._is_terminal = sys.stdout.isatty()
        self._on_closed: Callable[[Failure], None] | None = None
        self._reactor: Any = None  # that watches it

    def watch(self, reactor: Any, on_closed: Callable[[Failure], None]) -> None:
        """Have the reactor call this when the program that reads a pipe has ended."""
        is_pipe = stat.S_ISFIFO(os.fstat(self.fileno()).st_mode)
        if is_pipe and fcntl.fcntl(self.fileno(), fcntl.F_GETFL) & os.O_ACCMODE == os.O_WRONLY:
            self._on_closed, self._reactor = on_closed, reactor
            reactor.addReader(self)

    def unwatch(self) -> None:
        """Report nothing any more: the reactor closes all that it watches when it stops."""
        self._on_closed = None

    def write(self, body: bytes) -> None:
        """Write a message on a line of its own.

        A file or a program gets the bytes as they are. A terminal gets text: what is not UTF-8,
        and what would control the terminal, is shown as U+FFFD.

        Raises:
            SystemExit: It cannot be written.
        """
        if self._is_terminal:
            body = shown(body.decode("utf-8", "replace"), "\n\t").encode("utf-8")
        try:
            self._file.write(body + b"\n")
            self._file.flush()
        except BrokenPipeError:
            self._drop()
            raise SystemExit(128 + signal.SIGPIPE) from None
        except (OSError, ValueError) as error:
            self._drop()
            reason = getattr(error, "strerror", None) or error
            raise SystemExit(f"rtchat: standard output cannot be written: {reason}") from None

    def _drop(self) -> None:
        """Write no more. The watch ends first: the reactor cannot end that of another file."""
        if self._reactor is not None:
            self._reactor.removeReader(self)
            self._reactor = None
        drop_output()

    # Called by the reactor

    def fileno(self) -> int:
        """Return the number of the file."""
        return self._file.fileno()

    def doRead(self) -> Any:  # noqa: N802
        """End the watch: a pipe that is written has something to read only once it is closed."""
        return BrokenPipeError()

    def connectionLost(self, reason: Failure) -> None:  # noqa: N802
        """Report that the program has ended."""
        on_closed, self._on_closed, self._reactor = self._on_closed, None, None
        if on_closed is not None:
            drop_output()
            on_closed(Failure(SystemExit(128 + signal.SIGPIPE)))

    def logPrefix(self) -> str:  # noqa: N802
        """Return the name for the log."""
        return "output"


def read_input() -> bytes:
    """Return all of standard input.

    Raises:
        SystemExit: It cannot be read.
    """
    if sys.stdin is None:
        raise SystemExit("rtchat: standard input is closed; there is no message to send")
    try:
        return sys.stdin.buffer.read()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SystemExit(f"rtchat: standard input cannot be read: {reason}") from None


def drop_output() -> None:
    """Let Python's flush at its end go nowhere: it would fail with a traceback."""
    with suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)


def shown(text: str, kept: str = "") -> str:
    """Return a text without characters that would control a terminal."""
    return "".join(one if one.isprintable() or one in kept else "\ufffd" for one in text)
