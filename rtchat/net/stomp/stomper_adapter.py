"""stomper, as far as it is sound: building a client's frames, and reacting to the server's.

No other module imports stomper. It speaks STOMP 1.1, puts values into frames as they are, so they
are escaped here, and cannot read frames, so they come from our own parser (docs/dependencies.md).
"""

from __future__ import annotations

from typing import Protocol

import stomper
from typing_extensions import override

from rtchat.core.stomp.frames import Frame, Version, escape
from rtchat.errors import ProtocolError

__all__ = [
    "FrameListener",
    "Reactions",
    "abort",
    "ack",
    "begin",
    "commit",
    "connect",
    "nack",
    "subscribe",
    "unsubscribe",
]

_NO_REPLY: str = stomper.NO_RESPONSE_NEEDED


# ---------------------------------------------------------------- frames


def connect(login: str, passcode: str, host: str, wanted_ms: int = 0) -> str:
    """Return a CONNECT frame. It has no escapes, so line breaks in a value become spaces.

    Args:
        login: The user name.
        passcode: The passcode.
        host: The virtual host.
        wanted_ms: How often the server is to send a heart-beat; 0 is never.
    """
    values = [escape(value, Version.V10) for value in (login, passcode, host)]
    frame: str = stomper.connect(*values, (0, wanted_ms))
    return frame


def subscribe(destination: str, subscription_id: str, ack: str) -> str:
    """Return a SUBSCRIBE frame."""
    frame: str = stomper.subscribe(_escaped(destination), subscription_id, ack)
    return frame


def unsubscribe(subscription_id: str) -> str:
    """Return an UNSUBSCRIBE frame."""
    frame: str = stomper.unsubscribe(_escaped(subscription_id))
    return frame


def begin(transaction: str) -> str:
    """Return a BEGIN frame."""
    frame: str = stomper.begin(_escaped(transaction))
    return frame


def commit(transaction: str) -> str:
    """Return a COMMIT frame."""
    frame: str = stomper.commit(_escaped(transaction))
    return frame


def abort(transaction: str) -> str:
    """Return an ABORT frame."""
    frame: str = stomper.abort(_escaped(transaction))
    return frame


def ack(message: Frame, transaction: str = "") -> str:
    """Return an ACK frame for a MESSAGE."""
    frame: str = stomper.ack(*_names(message, transaction))
    return frame


def nack(message: Frame, transaction: str = "") -> str:
    """Return a NACK frame for a MESSAGE."""
    frame: str = stomper.nack(*_names(message, transaction))
    return frame


def _names(message: Frame, transaction: str) -> tuple[str, str, str | None]:
    """Return the values that ACK and NACK name a message by.

    Raises:
        ProtocolError: The message lacks one.
    """
    try:
        message_id, subscription = message.headers["message-id"], message.headers["subscription"]
    except KeyError as error:
        raise ProtocolError(f"a MESSAGE without {error.args[0]}") from None
    return _escaped(message_id), _escaped(subscription), _escaped(transaction) or None


def _escaped(text: str) -> str:
    return escape(text, Version.V11)


# ---------------------------------------------------------------- reactions


class FrameListener(Protocol):
    """What stomper's state machine tells a client."""

    def logged_in(self) -> None:
        """CONNECTED has come."""

    def deliver(self, message: Frame) -> None:
        """MESSAGE has come."""

    def confirmed(self, receipt: str) -> None:
        """RECEIPT has come."""

    def refused(self, error: Frame) -> None:
        """ERROR has come."""


class Reactions(stomper.Engine):  # type: ignore[misc]  # stomper has no types
    """stomper's state machine, fed with frames that our parser has read.

    Args:
        listener: Is told what each frame means.

    Attributes:
        acknowledges: For each subscription, whether its messages are acknowledged once the
            listener has taken them.
    """

    def __init__(self, listener: FrameListener) -> None:
        super().__init__()
        self._listener = listener
        self.acknowledges: dict[str, bool] = {}

    @property
    def session(self) -> str:
        """The session id that the server gave in CONNECTED."""
        session: str = self.sessionId
        return session

    def knows(self, frame: Frame) -> bool:
        """Return whether a frame's command is one that a server sends."""
        return frame.command in self.states

    def take(self, frame: Frame) -> str:
        """React to a frame; return the frame to answer with, or ""."""
        reply: str | None = self.react(
            {"cmd": frame.command, "headers": frame.headers, "body": frame}
        )
        return reply or ""

    @override
    def connected(self, msg: dict[str, object]) -> str:
        # A session header is not required, but stomper insists on it.
        headers = {"session": "", **_frame(msg).headers}
        reply: str = super().connected({**msg, "headers": headers})
        self._listener.logged_in()
        return reply

    @override
    def ack(self, msg: dict[str, object]) -> str:
        frame = _frame(msg)
        self._listener.deliver(frame)
        if not self.acknowledges.get(frame.headers.get("subscription", ""), False):
            return _NO_REPLY
        return ack(frame)

    @override
    def error(self, msg: dict[str, object]) -> str:
        self._listener.refused(_frame(msg))
        return _NO_REPLY

    @override
    def receipt(self, msg: dict[str, object]) -> str:
        self._listener.confirmed(_frame(msg).headers.get("receipt-id", ""))
        return _NO_REPLY


def _frame(msg: dict[str, object]) -> Frame:
    frame = msg["body"]
    if not isinstance(frame, Frame):
        raise TypeError("the engine was fed by other code than take()")
    return frame
