"""A line of the log is the server's: no client can write one, or break one."""

from __future__ import annotations

from support.process import Server, until
from support.wire import Wire

__all__: list[str] = []


def test_a_queue_name_cannot_forge_a_line_of_the_log(server: Server) -> None:
    name = r"/queue/a\n2026-01-01T00:00:00 [forged] all is well\r" + "\x1b[31m"
    with Wire(server.stomp) as wire:
        wire.connect()
        wire.send(f"SUBSCRIBE\nid:0\nack:client-individual\ndestination:{name}\n\n\0")
        wire.send(f"SEND\ndestination:{name}\n\nx\0")
        ack = wire.frame().headers["ack"]
        wire.send(f"NACK\nid:{ack}\nrequeue:false\n\n\0")
        until("line about the dead letter", lambda: "refused or tried too often" in server.log())
    [line] = [line for line in server.log().splitlines() if "forged" in line]
    assert "refused or tried too often" in line
    assert r"/queue/DLQ.a\n2026-01-01T00:00:00 [forged] all is well\r\x1b[31m now" in line
