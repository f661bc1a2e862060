"""The server as a Twisted application file: ``twistd -ny chat.tac``.

Reads the ``chat.ini`` beside this file when there is one, and otherwise starts with the
built-in settings: everything on loopback, the page on http://127.0.0.1:9000.
"""

from __future__ import annotations

from pathlib import Path

from twisted.application import service

from rtchat.tap import Options, makeService

chat_ini = Path(__file__).resolve().with_name("chat.ini")
options = Options()
options.parseOptions(["--config", str(chat_ini)] if chat_ini.exists() else [])

application = service.Application("rtchat")
makeService(options).setServiceParent(application)
