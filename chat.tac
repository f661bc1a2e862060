"""The server as a Twisted application file: ``twistd -ny chat.tac``.

It reads the ``chat.ini`` beside this file, if there is one. Without it, the built-in settings
apply: everything on loopback, the page on http://127.0.0.1:9000. ``--pidfile=`` before ``-ny``
keeps twistd from writing ``twistd.pid`` into the current folder.
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
