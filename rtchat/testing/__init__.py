"""For test suites: a broker in memory with a simulated clock, and real servers to be killed.

::

    from rtchat.testing import Broker

    broker = Broker()
    worker = broker.connect()
    worker.subscribe("/queue/jobs", ack="client-individual")
    broker.connect().send("/queue/jobs", "job 1")
    job = worker.receive()
    worker.drop()                                   # the worker crashes before its ACK
    again = broker.connect()
    again.subscribe("/queue/jobs")
    assert again.receive().headers["redelivered"] == "true"

Except for sockets and time, everything is the code of the server: sessions, queues, history,
limits, timers. No test has to sleep: ``broker.advance(30)`` simulates half a minute, heart-beats
included. :class:`ServerProcess` is a whole server in a process of its own.
"""

from __future__ import annotations

from rtchat.core.broker.limits import BrokerLimits
from rtchat.core.broker.notices import Notice
from rtchat.core.chat.limits import ChatPolicy
from rtchat.core.history.rules import HistoryLimits, HistoryRule
from rtchat.core.stomp.frames import Frame
from rtchat.core.stomp.limits import Limits
from rtchat.testing.broker import Broker
from rtchat.testing.client import Client
from rtchat.testing.disk import Disk
from rtchat.testing.errors import Closed, NothingReceived, NotRunning, Refused, ServerFailed
from rtchat.testing.server import ServerProcess

__all__ = [
    "Broker",
    "BrokerLimits",
    "ChatPolicy",
    "Client",
    "Closed",
    "Disk",
    "Frame",
    "HistoryLimits",
    "HistoryRule",
    "Limits",
    "NotRunning",
    "NothingReceived",
    "Notice",
    "Refused",
    "ServerFailed",
    "ServerProcess",
]
