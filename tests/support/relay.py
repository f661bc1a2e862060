"""A relay between a client and a server that keeps what went through, under TLS as well.

TLS ends here and begins anew, so that what a browser really sends can be looked at.
"""

from __future__ import annotations

import asyncio
import re
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from support.certificate import Certificate
from support.websocket import WebSocketReader, WsFrame

__all__ = ["Relay", "relay"]


class Relay:
    """What went through one relay.

    Attributes:
        port: Where it listens on 127.0.0.1.
        sent: What the latest client sent, and then what it got.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.sent = bytearray(), bytearray()

    def frames(self, *, of_server: bool = False) -> list[WsFrame]:
        """Return the whole frames that followed the handshake."""
        _, _, data = bytes(self.sent[of_server]).partition(b"\r\n\r\n")
        return WebSocketReader(is_strict=False).feed(data)


@contextmanager
def relay(
    target: int, certificate: Certificate | None = None, *, host: str | None = None
) -> Iterator[Relay]:
    """Run a relay to a port of this machine.

    Args:
        target: The port.
        certificate: What the target shows, and the relay too; None is no TLS.
        host: The Host that the target gets instead of the client's, as from a front proxy that
            is not told to pass it on.
    """
    loop = asyncio.new_event_loop()
    shown = None if certificate is None else certificate.shown()
    trusted = None if certificate is None else certificate.trusted()

    async def copy(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, kept: bytearray
    ) -> None:
        with suppress(ConnectionError, ssl.SSLError):
            while data := await reader.read(1 << 16):
                kept += data
                if host is not None and kept is through.sent[0]:
                    data = re.sub(rb"(?m)^Host: [^\r]*", b"Host: " + host.encode(), data)
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection("localhost", target, ssl=trusted)
        through.sent = bytearray(), bytearray()
        try:
            await asyncio.gather(
                copy(reader, there[1], through.sent[0]), copy(there[0], writer, through.sent[1])
            )
        finally:
            writer.close()
            there[1].close()

    async def listen() -> asyncio.Server:
        return await asyncio.start_server(serve, "127.0.0.1", 0, ssl=shown)

    async def end(listener: asyncio.Server) -> None:
        listener.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # A thread of its own: the one of the tests belongs to Playwright's loop.
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    listener = asyncio.run_coroutine_threadsafe(listen(), loop).result()
    through = Relay(listener.sockets[0].getsockname()[1])
    try:
        yield through
    finally:
        asyncio.run_coroutine_threadsafe(end(listener), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
