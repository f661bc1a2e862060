"""The start under every runner of Twisted's: ``twistd``, with and without ``-n``, and ``twist``.

A start that fails ends with one sentence on standard error and an exit code other than 0. Twisted's
runners alone do less: ``twist`` never asks a service to open its ports, and the shell that starts a
daemon waits for ever if the daemon ends with ``SystemExit``.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from twisted.application.service import MultiService
from twisted.logger import Logger
from typing_extensions import override

from rtchat.errors import StartFailed
from rtchat.net.twisted_internals import is_daemonizing, is_log_on_screen

__all__ = ["DaemonWatch", "StartService"]

_log = Logger(__package__)

_STARTED = b"\0"
_NO_REASON = b"rtchat: the server ended during its start; its log says why.\n"


class StartService(MultiService):
    """Contains the services of all parts, and starts them in two steps.

    Attributes:
        watch: Tells the shell how the start of a daemon went, or None.
    """

    def __init__(self) -> None:
        super().__init__()
        self.watch: DaemonWatch | None = None
        self._has_ports = False

    @override
    def privilegedStartService(self) -> None:
        self._has_ports = True
        self._or_say_why(super().privilegedStartService)

    @override
    def startService(self) -> None:
        """Start the services; open the ports first if the runner has left that out."""
        if not self._has_ports:
            self.privilegedStartService()
        self._or_say_why(super().startService)
        if self.watch is not None:
            self.watch.started()

    @override
    def stopService(self) -> Any:
        self._has_ports = False
        return super().stopService()

    def _or_say_why(self, step: Callable[[], object]) -> None:
        """Take a step of the start.

        Raises:
            StartFailed: It failed deliberately, and the sentence was said.
        """
        try:
            step()
        except SystemExit as end:
            sentence = str(end)
            if self.watch is None or not self.watch.failed(sentence):
                _say(sentence)
            if not is_log_on_screen():
                _log.error("{sentence}", sentence=sentence.removeprefix("rtchat: "))
            raise StartFailed(sentence) from None


class DaemonWatch:
    """Lets the shell that starts a daemon wait for the outcome of the start.

    ``twistd`` without ``-n`` forks; the process of the shell waits, and the daemon runs without a
    terminal. So the outcome goes through a pipe. If the daemon ends in whatever way, the pipe
    closes, and the shell goes on, too.
    """

    def __init__(self) -> None:
        self._shell = os.getpid()
        self._read: int | None = None
        self._write: int | None = None
        os.register_at_fork(
            before=self._before_fork,
            after_in_parent=self._in_parent,
            after_in_child=self._in_child,
        )

    def started(self) -> None:
        """Report, as the daemon, that the server runs."""
        self._report(_STARTED)
        if self._write is not None:
            os.close(self._write)
            self._write = None

    def failed(self, sentence: str) -> bool:
        """Report, as the daemon, why the start failed; the shell goes on once this process ends.

        Returns:
            Whether there is a shell that waits.
        """
        return self._report(f"{sentence}\n".encode("utf-8", "backslashreplace"))

    def _report(self, data: bytes) -> bool:
        if self._write is None:
            return False
        with suppress(OSError):  # the shell has gone
            os.write(self._write, data)
        return True

    # Around each fork of the process

    def _before_fork(self) -> None:
        if os.getpid() == self._shell and is_daemonizing(sys._getframe(1)):
            self._read, self._write = os.pipe()

    def _in_parent(self) -> None:
        """Wait for the daemon; twistd itself waits only if it runs."""
        if self._read is None or self._write is None or os.getpid() != self._shell:
            return
        os.close(self._write)
        said = b""
        while said != _STARTED and (piece := os.read(self._read, 4096)):
            said += piece
        os.close(self._read)
        self._read = self._write = None
        if said != _STARTED:
            with suppress(OSError):
                os.write(2, said or _NO_REASON)
            os._exit(1)

    def _in_child(self) -> None:
        if self._read is not None:
            os.close(self._read)
            self._read = None


def _say(sentence: str) -> None:
    """Write to standard error itself: Twisted redirects ``sys.stderr`` to the log."""
    with suppress(OSError, ValueError, AttributeError):  # it is closed
        sys.__stderr__.write(f"{sentence}\n")  # type: ignore[union-attr]
        sys.__stderr__.flush()  # type: ignore[union-attr]
