"""CONNECT: negotiation of the version and the heart-beats."""

from __future__ import annotations

from rtchat.core.session.connection import HeartBeat
from rtchat.core.session.headers import milliseconds
from rtchat.core.stomp.frames import Version
from rtchat.core.stomp.limits import Limits
from rtchat.errors import ProtocolError

__all__ = ["NoCommonVersion", "agree_on_heartbeat", "negotiate"]


_MOST_MS = 24 * 3600 * 1000
"""Intervals of more than a day are taken for a day: no timer runs longer."""


class NoCommonVersion(ProtocolError):
    """The client accepts none of the server's versions."""


def negotiate(accept_version: str | None) -> Version:
    """Return the highest version that both sides support.

    Args:
        accept_version: The ``accept-version`` header of CONNECT. None stands for STOMP 1.0, which
            has no such header.

    Raises:
        NoCommonVersion: There is no common version.
    """
    if accept_version is None:
        return Version.V10
    accepted = {text.strip() for text in accept_version.split(",")}
    for version in reversed(Version):
        if version.value in accepted:
            return version
    raise NoCommonVersion(
        "no common version",
        f"This server speaks STOMP {', '.join(version.value for version in Version)}.",
    )


def agree_on_heartbeat(text: str, limits: Limits) -> tuple[HeartBeat, str]:
    """Return the negotiated intervals and the ``heart-beat`` header of CONNECTED.

    Args:
        text: The ``heart-beat`` header of CONNECT: two numbers of milliseconds.
        limits: The intervals that the server offers.

    Raises:
        ProtocolError: The header is not two numbers.
    """
    try:
        client_sends, client_wants = map(milliseconds, text.split(","))
    except ValueError:
        raise ProtocolError(
            "heart-beat is not two numbers",
            "Write heart-beat:SEND,RECEIVE with two whole numbers of milliseconds.",
        ) from None
    client_sends = client_sends if client_sends < _MOST_MS else _MOST_MS
    client_wants = client_wants if client_wants < _MOST_MS else _MOST_MS
    server_sends = _offer(limits.heartbeat_send_ms, client_wants, limits)
    server_wants = _offer(limits.heartbeat_receive_ms, client_sends, limits)
    # "if <cx> is 0 (the client cannot send heart-beats) or <sy> is 0 (the server does not want to
    # receive heart-beats) then there will be none; otherwise, there will be heart-beats every
    # MAX(<cx>,<sy>) milliseconds"
    agreed = HeartBeat(
        max(server_sends, client_wants) if server_sends and client_wants else 0,
        max(server_wants, client_sends) if server_wants and client_sends else 0,
    )
    return agreed, f"{server_sends},{server_wants}"


def _offer(usual_ms: int, wished_ms: int, limits: Limits) -> int:
    """Return the server's interval in ms: shortened if the client asks, down to the minimum."""
    if not usual_ms or not wished_ms or wished_ms >= usual_ms:
        return usual_ms
    return max(wished_ms, min(usual_ms, limits.min_heartbeat_ms))
