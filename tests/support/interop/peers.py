"""All the libraries, and how to connect a program that uses one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from support.interop.peer import Peer
from support.interop.scripted import (
    NetStompPeer,
    PhpStompPeer,
    RubyStompPeer,
    RxStompPeer,
    StompestPeer,
    StompitPeer,
    StompJs2Peer,
    StompJsPeer,
    StompPy8Peer,
    WebstompPeer,
)
from support.interop.stomper import StomperPeer
from support.interop.stompman import StompmanPeer, StompmanWebSocketPeer
from support.interop.stompy import StompPy11Peer, StompPyPeer
from support.process import Server

__all__ = ["PEERS", "open_peer"]

PEERS: dict[str, type[Peer]] = {
    "stomp.py 1.2": StompPyPeer,
    "stomp.py 1.1": StompPy11Peer,
    "stomp.py 8": StompPy8Peer,
    "stomper": StomperPeer,
    "stompest": StompestPeer,
    "stompjs 7": StompJsPeer,
    "rx-stomp": RxStompPeer,
    "webstomp-client": WebstompPeer,
    "stompjs 2.3.3": StompJs2Peer,
    "stompit": StompitPeer,
    "Ruby stomp": RubyStompPeer,
    "Perl Net::Stomp": NetStompPeer,
    "PHP stomp": PhpStompPeer,
}
if sys.version_info >= (3, 11):  # the oldest Python that stompman runs on
    PEERS["stompman"] = StompmanPeer
    PEERS["stompman over WebSocket"] = StompmanWebSocketPeer


@contextmanager
def open_peer(
    server: Server, library: str, heartbeat_ms: int = 0, *, comes_back: bool = False
) -> Iterator[Peer]:
    """Connect a program that uses the library; skip the test if the library is not installed."""
    peer = PEERS[library](server, heartbeat_ms, comes_back=comes_back)
    peer.open()
    try:
        yield peer
    finally:
        peer.kill()
