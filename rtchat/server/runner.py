"""What ``twistd`` needs before it runs: files that can be written, and no stale pid file.

``twistd`` writes its process id into ``twistd.pid`` in the working folder, and refuses to start
while a process has the id that it finds there. So a server could not start in a folder that it
cannot write, nor as process 1 of a container after ``kill -9``: the id in the file is its own.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from twisted.logger import Logger
from twisted.python.usage import Options

from rtchat.server.process import is_server, process_user
from rtchat.text import parse_digits

__all__ = ["prepare"]

_log = Logger(__package__)


def prepare(options: Options) -> None:
    """Prepare the runner that these options of the command line are for.

    Without ``--pidfile`` a server in the foreground writes no pid file: its supervisor knows the
    process. ``twist`` has neither option, so nothing happens.

    Raises:
        SystemExit: A server runs already, or a file cannot be written; the text says which.
    """
    if "pidfile" not in options:
        return
    is_daemon = not (options["nodaemon"] or options["debug"])
    if not is_daemon and _is_default(options, "pidfile"):
        options["pidfile"] = ""
    if options["chroot"] is not None:
        return  # the paths are those of another root
    if not os.path.isdir(options["rundir"]):
        raise SystemExit(
            f"rtchat: the folder {options['rundir']} does not exist; create it, or name another "
            "one with --rundir."
        )
    log = options["logfile"] or ("twistd.log" if is_daemon else "-")
    if log != "-" and options["logger"] is None and not options["syslog"]:
        _try_to_write(Path(log), "log", "--logfile")
    if options["pidfile"]:
        _remove_if_stale(Path(options["pidfile"]))
        _try_to_write(Path(options["pidfile"]), "pid file", "--pidfile")


def _is_default(options: Options, name: str) -> bool:
    """Return whether an option was left out: its value is the default itself, not one like it."""
    known: list[list[Any]] = getattr(options, "optParameters", [])
    return any(one[0] == name and one[2] is options[name] for one in known)


def _remove_if_stale(path: Path) -> None:
    """Remove a pid file that was left by a server that did not end by itself."""
    try:
        text = path.read_text(encoding="latin-1").strip()
    except FileNotFoundError:
        return
    except OSError as error:
        raise SystemExit(
            f"rtchat: the pid file {path} cannot be read by {process_user()} ({error.strerror}); "
            "change its permissions, or name another file with --pidfile."
        ) from None
    number = parse_digits(text, 10)
    if text and number is None:
        raise SystemExit(
            f"rtchat: {path} is no pid file, so it is not overwritten; remove it, or name another "
            "file with --pidfile."
        )
    if number and is_server(number):
        raise SystemExit(
            f"rtchat: a server runs already, {path} names its process {number}; stop it, or name "
            "another file with --pidfile."
        )
    _log.info("{path} was left by a server that has gone; removed", path=path)
    with suppress(OSError):  # then it cannot be written either
        path.unlink()


def _try_to_write(path: Path, what: str, option: str) -> None:
    """Create the file as a trial, if it is not there.

    Raises:
        SystemExit: It cannot be written.
    """
    is_there = os.path.lexists(path)  # a link to a file that is not there stays, too
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o666))
        if not is_there:
            path.unlink()
    except (OSError, ValueError) as error:
        raise SystemExit(
            f"rtchat: the {what} {path.absolute()} cannot be written by {process_user()} "
            f"({getattr(error, 'strerror', None) or error}); start in another folder, or name "
            f"another file with {option}."
        ) from None
