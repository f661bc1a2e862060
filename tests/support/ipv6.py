"""Many IPv6 addresses, in a network of their own: the machine's loopback has one only.

As a program it is run inside that network: ``ipv6.py begin ADDRESS … -- PROGRAM …`` gives the
addresses to its loopback and becomes the program; ``ipv6.py visit PORT ADDRESS …`` connects to the
port once from each address, and prints as JSON which of them are logged in.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

__all__ = ["has_networks", "network_with", "visitors"]

_SIOCSIFFLAGS, _SIOCSIFADDR = 0x8914, 0x8916
_IS_UP = 0x1
_CONNECT = b"CONNECT\naccept-version:1.2\nhost:test\n\n\0"


def has_networks() -> bool:
    """Return whether a process can have a network of its own here."""
    if shutil.which("unshare") is None or shutil.which("nsenter") is None:
        return False
    tried = subprocess.run(["unshare", "-rn", "true"], stderr=subprocess.DEVNULL, check=False)
    return tried.returncode == 0


def network_with(addresses: Sequence[str]) -> list[str]:
    """Return the words before a command that has these addresses, in a network of its own."""
    return ["unshare", "-rn", *_program("begin"), *addresses, "--"]


def visitors(pid: int, port: int, addresses: Sequence[str]) -> dict[str, bool]:
    """Connect from each address in the network of a process; return which are logged in."""
    into = ["nsenter", f"--target={pid}", "--user", "--net", "--preserve-credentials"]
    command = [*into, *_program("visit"), str(port), *addresses]
    done = subprocess.run(command, stdout=subprocess.PIPE, timeout=60, check=True)
    served: dict[str, bool] = json.loads(done.stdout)
    return served


def _program(what: str) -> list[str]:
    return [sys.executable, "-I", "-S", str(Path(__file__)), what]


def _begin(words: Sequence[str]) -> None:
    end = words.index("--")
    with socket.socket() as control:
        flags = struct.pack("16sh14x", b"lo", _IS_UP)
        fcntl.ioctl(control, _SIOCSIFFLAGS, flags)
    with socket.socket(socket.AF_INET6) as control:
        for address in words[:end]:
            index = socket.if_nametoindex("lo")
            packed = socket.inet_pton(socket.AF_INET6, address) + struct.pack("Ii", 64, index)
            fcntl.ioctl(control, _SIOCSIFADDR, packed)
    os.execvp(words[end + 1], list(words[end + 1 :]))


def _visit(port: int, addresses: Sequence[str]) -> None:
    sockets = []
    for address in addresses:
        one = socket.socket(socket.AF_INET6)
        one.settimeout(10)
        one.bind((address, 0))
        one.connect(("::1", port))
        one.sendall(_CONNECT)
        sockets.append(one)
    served = {}
    for address, one in zip(addresses, sockets, strict=True):
        try:
            served[address] = one.recv(100).startswith(b"CONNECTED")
        except OSError:
            served[address] = False
    sys.stdout.write(json.dumps(served))


if __name__ == "__main__":
    if sys.argv[1] == "begin":
        _begin(sys.argv[2:])
    else:
        _visit(int(sys.argv[2]), sys.argv[3:])
