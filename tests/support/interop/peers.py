"""All the libraries, and how to connect a program that uses one."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import NoReturn

import pytest
from support.interop.peer import Peer
from support.interop.stomper import StomperPeer
from support.interop.stompjs import StompJsPeer
from support.interop.stompman import StompmanPeer, StompmanWebSocketPeer
from support.interop.stompy import StompPy11Peer, StompPyPeer
from support.process import ROOT, Server

__all__ = ["PEERS", "open_peer"]

_PACKAGES = ROOT / "tests" / "js" / "node_modules"

PEERS: dict[str, type[Peer]] = {
    "stomp.py 1.2": StompPyPeer,
    "stomp.py 1.1": StompPy11Peer,
    "stompjs": StompJsPeer,
    "stomper": StomperPeer,
}
if sys.version_info >= (3, 11):  # the oldest Python that stompman runs on
    PEERS["stompman"] = StompmanPeer
    PEERS["stompman over WebSocket"] = StompmanWebSocketPeer


@contextmanager
def open_peer(
    server: Server, library: str, heartbeat_ms: int = 0, *, comes_back: bool = False
) -> Iterator[Peer]:
    """Connect a program that uses the library; skip the test if it is not there.

    With ``CI=true`` a skipped test would be a hole, so there it fails.
    """
    kind = PEERS[library]
    if issubclass(kind, StompmanPeer) and find_spec("stompman") is None:
        _missing("stompman is missing; install rtchat[test] to run this test")
    if kind is StompJsPeer and not (_PACKAGES / "@stomp" / "stompjs").is_dir():
        _missing("stompjs is missing; run 'npm ci' in tests/js to run this test")
    peer = kind(server, heartbeat_ms, comes_back=comes_back)
    peer.open()
    try:
        yield peer
    finally:
        peer.kill()


def _missing(text: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(text)
    pytest.skip(text)
