"""Very many random byte strings on every port: the server chats on, and nothing is left over."""

from __future__ import annotations

import random
import socket
import time
from collections.abc import Callable, Iterator
from functools import partial

import pytest
from support.examples import examples
from support.process import Server
from support.wire import Wire

pytestmark = [pytest.mark.live, pytest.mark.slow, pytest.mark.soak]

STRINGS = examples(25_000, 100_000)
WARM_UP_STRINGS = STRINGS * 2 // 5
WITHIN_S = 60.0
MAX_GROWTH_BYTES = 5 * 1024 * 1024

_AT_ONCE = 100
_SEED = 20_261_122

_LOGIN = b"CONNECT\naccept-version:1.0,1.1,1.2\nhost:x\n\n\0"
_FRAMES = (
    _LOGIN,
    b"STOMP\naccept-version:1.1\nheart-beat:1000,1000\n\n\0",
    b"SUBSCRIBE\nid:1\ndestination:/topic/garbage\nreceipt:a\n\n\0",
    b"SEND\ndestination:/topic/garbage\ncontent-length:5\n\nh\0llo\0",
    b"SEND\ndestination:/topic/garbage\na\\cb:c\\nd\n\nhello\0",
    b"UNSUBSCRIBE\nid:1\n\n\0",
    b"BEGIN\ntransaction:t\n\n\0",
    b"ACK\nid:1\n\n\0",
    b"DISCONNECT\nreceipt:b\n\n\0",
    b"\r\n\n\r\n",
)
_UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def random_string(dice: random.Random) -> bytes:
    """Return noise, or frames with a few bytes of them replaced, doubled or taken out."""
    if dice.random() < 0.5:
        return dice.randbytes(dice.randint(1, 300))
    data = bytearray(b"".join(dice.choices(_FRAMES, k=dice.randint(1, 3))))
    for _ in range(dice.randint(0, 3)):
        at = dice.randrange(len(data))
        data[at : at + dice.randint(0, 2)] = dice.choice(
            (b"", b"\0", b"\n", b"\r", b":", b"\\", dice.randbytes(1), data[at : at + 20])
        )
        data = data or bytearray(b"\n")
    return bytes(data)


def websocket_message(dice: random.Random, data: bytes) -> bytes:
    """Return a client's frame, now and then with a header that is noise, too."""
    opcode = dice.choice((1, 2, 2, 2, 2, 0, 8, 9, 10, 3)) if dice.random() < 0.3 else 2
    first = bytes((0x80 | opcode,)) if dice.random() < 0.9 else dice.randbytes(1)
    mask = b"\0\0\0\0"  # the masked bytes are the bytes themselves
    if len(data) < 126:
        return first + bytes((0x80 | len(data),)) + mask + data
    return first + b"\xfe" + len(data).to_bytes(2, "big") + mask + data


def stranger(dice: random.Random, strings: list[bytes]) -> bytes:
    """A client of the broker's port that does not log in."""
    return b"".join(strings)


def guest(dice: random.Random, strings: list[bytes]) -> bytes:
    """A client of the broker's port that does."""
    return _LOGIN + b"".join(strings)


def page(dice: random.Random, strings: list[bytes]) -> bytes:
    """A client of the page's port that speaks no HTTP."""
    return b"".join(strings)


def websocket(dice: random.Random, strings: list[bytes]) -> bytes:
    """A client of /ws, logged in or not, whose messages are noise."""
    login = [_LOGIN] if dice.random() < 0.7 else []
    return _UPGRADE + b"".join(websocket_message(dice, data) for data in (*login, *strings))


def connections(
    dice: random.Random, server: Server, count: int
) -> Iterator[tuple[int, bytes, int]]:
    """Yield ports, what to send there, and how many random strings are in it."""
    doors: tuple[tuple[int, Callable[[random.Random, list[bytes]], bytes], int], ...] = (
        (server.stomp, stranger, 1),
        (server.stomp, guest, 4),
        (server.stomp, guest, 16),
        (server.http, page, 1),
        (server.http, websocket, 5),
    )
    while count > 0:
        port, speak, most = dice.choice(doors)
        size = min(count, most)
        count -= size
        yield port, speak(dice, [random_string(dice) for _ in range(size)]), size


def throw(server: Server, dice: random.Random, count: int, deadline_s: float) -> None:
    """Send so many strings, many connections at a time; each has to come to its end."""
    source = connections(dice, server, count)
    number = 0
    while batch := [one for one, _ in zip(source, range(_AT_ONCE), strict=False)]:
        assert time.monotonic() < deadline_s, f"not done within {WITHIN_S:g} s"
        sockets = []
        for port, data, _ in batch:
            number += 1
            client = socket.socket()
            # Many addresses, so that no pair of ports is used again too soon.
            client.bind((f"127.0.0.{2 + number % 250}", 0))
            client.settimeout(10)
            client.connect(("127.0.0.1", port))
            client.sendall(data)
            sockets.append(client)
        for client in sockets:
            try:
                client.shutdown(socket.SHUT_WR)
                while client.recv(1 << 16):
                    pass
            except OSError as error:
                # The server may have closed, and reset, before it had read all of it.
                assert not isinstance(error, TimeoutError), "a connection did not come to its end"
            client.close()


def chat(server: Server) -> None:
    """Log in, subscribe, send, receive, leave."""
    with Wire(server.stomp) as one, Wire(server.stomp) as other:
        for wire in (one, other):
            wire.connect()
            wire.subscribe("/topic/after")
        for wire, text in ((one, b"hello"), (other, b"world")):
            wire.publish("/topic/after", text)
            assert one.frame().body == text
            assert other.frame().body == text


def test_the_server_still_chats_after_very_many_random_byte_strings(
    serve: Callable[..., Server],
) -> None:
    server = serve()
    dice = random.Random(_SEED)
    deadline_s = time.monotonic() + WITHIN_S
    fling = partial(throw, server, dice, deadline_s=deadline_s)

    fling(count=WARM_UP_STRINGS)
    server.until_empty()
    before_bytes = server.resident_bytes()
    fling(count=STRINGS - WARM_UP_STRINGS)
    server.until_empty()
    growth_bytes = server.resident_bytes() - before_bytes

    chat(server)
    server.until_empty()
    assert growth_bytes < MAX_GROWTH_BYTES, f"grew by {growth_bytes:,} bytes"
