"""The server as a Twisted application file: ``twistd -ny chat.tac``.

Reads the ``chat.ini`` beside this file when there is one, and otherwise starts with the
built-in settings: everything on loopback, the page on http://127.0.0.1:9000.
"""

from __future__ import annotations

from pathlib import Path

from twisted.application import service
from twisted.python.usage import UsageError

from rtchat.errors import ConfigError
from rtchat.tap import Options, makeService

chat_ini = Path(__file__).resolve().with_name("chat.ini")
options = Options()
try:
    options.parseOptions(["--config", str(chat_ini)] if chat_ini.exists() else [])
    server = makeService(options)
except (ConfigError, UsageError) as problem:
    raise SystemExit(f"rtchat: {problem}") from None

application = service.Application("rtchat")
server.setServiceParent(application)
