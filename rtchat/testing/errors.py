"""What the tools for tests raise: each text says what the server has answered."""

from __future__ import annotations

from rtchat.core.stomp.frames import Frame
from rtchat.errors import RtchatError

__all__ = ["Closed", "NotRunning", "NothingReceived", "Refused", "ServerFailed", "error_text"]


class NothingReceived(RtchatError, AssertionError):
    """The server has not sent the frame that the test expects.

    Args:
        text: What was expected, and what came instead.
        frame: The frame that came instead, if one did.

    Attributes:
        frame: As above. It is still there to be received.
    """

    def __init__(self, text: str, frame: Frame | None = None) -> None:
        super().__init__(text)
        self.frame = frame


class Closed(RtchatError, AssertionError):
    """The test sends on a connection that is closed.

    Args:
        frame: The ERROR that came before the close, if one did.

    Attributes:
        frame: As above.
    """

    def __init__(self, frame: Frame | None = None) -> None:
        reason = f" after ERROR: {error_text(frame)}" if frame is not None else ""
        super().__init__(f"the server has closed this connection{reason}")
        self.frame = frame


class Refused(RtchatError):
    """The server answered ERROR. The text has its ``message`` and its body.

    Args:
        frame: The ERROR frame.

    Attributes:
        body: The body of the ERROR as text: the explanation, and what to do.
        frame: The ERROR frame, with all its headers.
        message: Its ``message`` header.
    """

    def __init__(self, frame: Frame) -> None:
        super().__init__(error_text(frame))
        self.frame = frame
        self.message = frame.headers.get("message", "")
        self.body = frame.body.decode("utf-8", "replace")


class NotRunning(RtchatError, ConnectionRefusedError):
    """A client connects to a broker in memory that is stopped."""

    def __init__(self) -> None:
        super().__init__("the server is stopped; start() it")


class ServerFailed(RtchatError, RuntimeError):
    """A server did not start, did not end well, or is not in the state that a call needs.

    The text has the log of a real server.
    """


def error_text(frame: Frame) -> str:
    """Return what an ERROR says, in one text: its message, and what its body adds to that."""
    message = frame.headers.get("message", "ERROR")
    body = frame.body.decode("utf-8", "replace").strip()
    # rtchat's bodies begin with the message, for clients that show the body only.
    detail = body.removeprefix(message).strip()
    return f"{message}: {detail}" if detail else message
