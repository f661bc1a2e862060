"""Stands between Playwright and a stock Firefox, as the program that Playwright starts.

Playwright speaks WebDriver BiDi with any Firefox, but gives up when a command is unknown that it
sends for each profile: ``emulation.setMediaFeaturesOverride``, which Debian's firefox-esr does not
have yet. Run as a script, this module starts Firefox with the arguments given, passes every message
on, and answers that command itself: the colours stay those of the system.

    python tests/support/firefox_bidi.py FIREFOX ARGUMENT …
"""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
from collections.abc import Sequence

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

__all__ = ["answer", "main"]

_UNKNOWN = "emulation.setMediaFeaturesOverride"
_LISTENING = re.compile(r"WebDriver BiDi listening on (ws://\S+)")


def answer(command: str) -> str | None:
    """Return the answer to a command that Firefox does not know, None if it has to be asked."""
    if _UNKNOWN not in command:
        return None
    sent = json.loads(command)
    if sent["method"] != _UNKNOWN:
        return None
    return json.dumps({"type": "success", "id": sent["id"], "result": {}})


async def _relay(playwright: ServerConnection, url: str) -> None:
    assert playwright.request is not None
    # No compression and no pings: it is one process talking to another.
    async with connect(
        url + playwright.request.path, max_size=None, compression=None, ping_interval=None
    ) as firefox:

        async def there() -> None:
            async for command in playwright:
                known = answer(str(command))
                await (firefox.send(command) if known is None else playwright.send(known))

        async def back() -> None:
            async for event in firefox:
                await playwright.send(event)

        ways = [asyncio.ensure_future(there()), asyncio.ensure_future(back())]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()


async def _run(command: Sequence[str]) -> int:
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, process.terminate)
    assert process.stderr is not None
    url = ""
    server = await serve(
        lambda playwright: _relay(playwright, url),
        "127.0.0.1",
        0,
        max_size=None,
        compression=None,
        ping_interval=None,
    )
    port = server.sockets[0].getsockname()[1]
    async for raw in process.stderr:
        line = raw.decode(errors="replace")
        if found := _LISTENING.search(line):
            url = found[1]
            line = f"WebDriver BiDi listening on ws://127.0.0.1:{port}\n"
        sys.stderr.write(line)
        sys.stderr.flush()
    return await process.wait()


def main(command: Sequence[str]) -> int:
    """Run Firefox with these arguments; return its exit code."""
    return asyncio.run(_run(command))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
