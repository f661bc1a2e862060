"""A feature outside rtchat, in a real server: its folder, and one line in the list of parts."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from support.process import ROOT, Server, free_port, until
from support.wire import Wire

pytestmark = [pytest.mark.live]

CHAT_TAC = """
import sys
sys.path.insert(0, {tests!r})

from rtchat import tap
from support.idle_part import IdlePart
from twisted.application import service

tap.PARTS = (*tap.PARTS, IdlePart)

options = tap.Options()
options.parseOptions(["--config", "chat.ini"])
application = service.Application("rtchat")
tap.makeService(options).setServiceParent(application)
"""


def test_it_starts_shows_its_gauge_reloads_drains_and_stops(tmp_path: Path) -> None:
    http, stomp = free_port(), free_port()
    listen = f"[listen]\nhttp://127.0.0.1:{http}\nstomp://127.0.0.1:{stomp}\n"
    (tmp_path / "chat.tac").write_text(CHAT_TAC.format(tests=str(ROOT / "tests")))
    arguments = ["--pidfile=", "-ny", "chat.tac"]
    chat_ini = f"{listen}[idle]\nlimit = 7\n"
    server = Server(tmp_path, chat_ini, http=http, stomp=stomp, arguments=arguments).start()
    assert "idle: started, limit 7.0" in server.log()
    assert server.health()["idle_limit"] == 7.0
    server.send_signal(signal.SIGHUP)
    until("reload", lambda: "idle: reloaded" in server.log())
    with Wire(stomp) as client:
        client.connect()
        server.send_signal(signal.SIGTERM)
        assert client.rest() == []
        until("drain", lambda: "idle: drained" in server.log())
        assert "idle: closed" not in server.log(), "there is still a client"
        client.close()
        assert server.wait() == 0
    said = [line.partition("idle: ")[2] for line in server.log().splitlines() if "idle: " in line]
    assert said == ["late", "started, limit 7.0", "reloaded", "stopped", "drained", "closed"]
