"""The command ``rtchat passwd``: sets or removes a user of a password file."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
import unicodedata
from pathlib import Path

from rtchat.errors import ConfigError
from rtchat.net.auth.hashes import MAX_PASSWORD_BYTES, hash_password, is_password
from rtchat.net.auth.password_file import look_at, name_problem
from rtchat.net.auth.password_writing import remove_user, set_user
from rtchat.terminal import Output, shown

__all__ = ["change", "user_name"]

_UNCHANGED = "nothing was changed"


def user_name(word: str) -> str:
    """Read a user's name from the command line.

    Raises:
        argparse.ArgumentTypeError: It cannot stand in a password file.
    """
    problem = name_problem(word)
    if problem:
        raise argparse.ArgumentTypeError(problem)
    return word


def change(path: Path, name: str, *, is_removal: bool) -> None:
    """Set the password of a user, or remove the user.

    Args:
        path: The password file; it is made if it is not there.
        name: The user.
        is_removal: Whether to remove the user.

    Raises:
        SystemExit: The password or the file cannot be used; nothing was changed.
    """
    output = Output()
    try:
        if is_removal:
            if not remove_user(path, name):
                raise SystemExit(f"rtchat: {path}: there is no user {shown(name)}; {_UNCHANGED}")
            done = "was removed"
        else:
            text = hash_password(_read_password(name))
            done = "has a new password" if set_user(path, name, text) else "was added"
        contents = look_at(path)
    except ConfigError as error:
        raise SystemExit(f"rtchat: {error}") from None
    output.write(os.fsencode(path) + f": {name} {done}".encode())
    for warning in (contents.warning, contents.mistake):
        if warning:
            sys.stderr.write(f"rtchat: {warning}\n")


def _read_password(name: str) -> str:
    """Read a password twice from the terminal, or once from another standard input."""
    if sys.stdin is None:
        raise SystemExit(f"rtchat: standard input is closed; there is no password; {_UNCHANGED}")
    try:
        if sys.stdin.isatty():
            password = getpass.getpass(f"New password of {shown(name)}: ")
            _check(password)
            if getpass.getpass("The same again: ") != password:
                raise SystemExit(f"rtchat: the two are different; {_UNCHANGED}")
        else:
            line = sys.stdin.buffer.readline(MAX_PASSWORD_BYTES + 3)
            password = line.removesuffix(b"\n").removesuffix(b"\r").decode("utf-8")
            _check(password)
    except EOFError:
        raise SystemExit(f"rtchat: there is no password; {_UNCHANGED}") from None
    except UnicodeDecodeError:
        raise SystemExit(f"rtchat: the password is not UTF-8; {_UNCHANGED}") from None
    except OSError as error:
        raise SystemExit(
            f"rtchat: standard input cannot be read: {error.strerror}; {_UNCHANGED}"
        ) from None
    return password


def _check(password: str) -> None:
    """End the command if this can be no password."""
    if not password:
        raise SystemExit(f"rtchat: the password is empty; {_UNCHANGED}")
    if any(unicodedata.category(one) == "Cc" for one in password):
        raise SystemExit(f"rtchat: the password has control characters; {_UNCHANGED}")
    if not is_password(password):
        raise SystemExit(
            f"rtchat: the password is longer than {MAX_PASSWORD_BYTES} bytes; {_UNCHANGED}"
        )
