"""What users may do, tried with STOMP clients of other people: stomp.py, stompman and stompjs.

Each function tries the same: wrong credentials are refused, right ones let the user in; the user
speaks in a room, and may not read a destination that no right names.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest
from support.needs import require_module
from support.process import Server
from support.stompjs import StompJs
from support.stompy import StompPy

__all__ = ["STOCK_CLIENTS", "Account", "with_stomp_py", "with_stompjs", "with_stompman"]

_WITHIN_S = 15.0


@dataclass(frozen=True)
class Account:
    """A user's credentials, and what the user may do.

    Attributes:
        user: The user's name.
        login: The header ``login`` of CONNECT.
        passcode: Its header ``passcode``.
        room: A topic that the user may read and write.
        forbidden: A destination that the user may not read.
    """

    user: str
    login: str
    passcode: str
    room: str = "/topic/chat"
    forbidden: str = "/queue/jobs"

    @property
    def no_right(self) -> str:
        """What the server says of the destination that may not be read."""
        return f"not allowed: read {self.forbidden}"


def with_stomp_py(server: Server, account: Account) -> None:
    """Try it with stomp.py, over TCP."""
    stomp = require_module("stomp")
    refused = StompPy(server.stomp, connects=False)
    with suppress(stomp.exception.ConnectFailedException):
        refused.connection.connect(account.login, f"{account.passcode}x", wait=True)
    assert refused.errors.get(timeout=_WITHIN_S).headers["message"] == "access refused"

    client = StompPy(server.stomp, connects=False)
    client.connection.connect(account.login, account.passcode, wait=True)
    assert client.connected["x-user"] == account.user
    client.subscribe(account.room, ack="auto")
    client.send(account.room, "hello from stomp.py")
    message = client.message()
    assert message.body == "hello from stomp.py"
    assert message.headers["x-user"] == account.user
    client.connection.subscribe(account.forbidden, id="2", receipt="never")
    assert client.errors.get(timeout=_WITHIN_S).headers["message"] == account.no_right
    assert client.ends.get(timeout=_WITHIN_S)


def with_stompman(server: Server, account: Account) -> None:
    """Try it with stompman, over TCP."""
    asyncio.run(_stompman(require_module("stompman"), server, account))


async def _stompman(stompman: Any, server: Server, account: Account) -> None:
    def client(passcode: str) -> Any:
        address = stompman.ConnectionParameters(
            host="127.0.0.1", port=server.stomp, login=account.login, passcode=passcode
        )
        return stompman.Client(
            servers=[address],
            on_error_frame=lambda frame: said.put_nowait(frame.headers["message"]),
            connect_retry_attempts=1,
            connection_confirmation_timeout=15,
        )

    said: asyncio.Queue[str] = asyncio.Queue()
    received: asyncio.Queue[Any] = asyncio.Queue()
    # Of a refused log-in stompman tells no more than that there is no connection.
    with pytest.raises(stompman.FailedAllConnectAttemptsError):
        await client(f"{account.passcode}x").__aenter__()

    with suppress(_Enough):
        async with client(account.passcode) as connected:
            await connected.subscribe(
                account.room, received.put, on_suppressed_exception=_not_suppressed, ack="auto"
            )
            await connected.send(b"hello from stompman", account.room)
            message = await asyncio.wait_for(received.get(), _WITHIN_S)
            assert message.body == b"hello from stompman"
            assert message.headers["x-user"] == account.user
            await connected.subscribe(
                account.forbidden, received.put, on_suppressed_exception=_not_suppressed, ack="auto"
            )
            assert await asyncio.wait_for(said.get(), _WITHIN_S) == account.no_right
            raise _Enough


def _not_suppressed(error: Exception, frame: object) -> None:
    raise error


class _Enough(Exception):
    """The client would come back, and try the same again."""


def with_stompjs(server: Server, account: Account) -> None:
    """Try it with stompjs, over WebSocket: there the close codes are seen, too."""

    def client(passcode: str, room: str) -> StompJs:
        connect = {"login": account.login, "passcode": passcode}
        return StompJs(server, "/ws", room, "text", connect_headers=connect)

    refused = client(f"{account.passcode}x", account.room)
    assert refused.expect("error")["headers"]["message"] == "access refused"
    assert refused.expect("closed")["code"] == 3501
    refused.close()

    allowed = client(account.passcode, account.room)
    allowed.expect("ready")
    allowed.order(body=json.dumps("hello from stompjs"))
    message = allowed.expect("message")
    assert message["headers"]["x-user"] == account.user
    allowed.close()

    refused = client(account.passcode, account.forbidden)
    assert refused.expect("error")["headers"]["message"] == account.no_right
    assert refused.expect("closed")["code"] == 3502
    refused.close()


STOCK_CLIENTS: tuple[Callable[[Server, Account], None], ...] = (
    with_stomp_py,
    with_stompman,
    with_stompjs,
)
"""All of them."""
