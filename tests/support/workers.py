"""Workers of a queue: who takes its messages, and acknowledges them."""

from __future__ import annotations

from collections.abc import Iterable

from support.core import Client, Server, bodies

from rtchat.core.stomp.frames import Frame, Version

__all__ = [
    "DLQ",
    "NOT_WAITING",
    "V10",
    "V11",
    "V12",
    "VERSIONS",
    "Q",
    "left",
    "numbers",
    "publish",
    "worker",
]

V10, V11, V12 = Version.V10, Version.V11, Version.V12
VERSIONS = list(Version)
Q = "/queue/a"
DLQ = "/queue/DLQ.a"
NOT_WAITING = "for an unknown or already acknowledged delivery"


def worker(server: Server, ack: str, version: Version = V12, **headers: str) -> Client:
    client = server.client(version)
    client.subscribe(Q, ack=ack, **headers)
    return client


def publish(server: Server, texts: Iterable[str], **headers: str) -> None:
    publisher = server.client()
    for text in texts:
        publisher.publish(Q, text, **headers)
    publisher.drop()


def left(server: Server, queue: str = Q) -> str:
    """Return what is ready in a queue, in order, and take it."""
    return "".join(bodies(server.drain(queue)))


def numbers(message: Frame) -> tuple[str, str, str]:
    """Return body, ``redelivered`` and ``x-delivery-count``."""
    headers = message.headers
    return (
        message.body.decode(),
        headers.get("redelivered", ""),
        headers.get("x-delivery-count", ""),
    )
