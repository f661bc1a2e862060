"""ERROR frames, and the reasons for closing a connection after them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from rtchat.core.session.connection import CloseReason
from rtchat.core.session.handshake import NoCommonVersion
from rtchat.core.session.state import State
from rtchat.core.stomp.frames import Frame, Version
from rtchat.errors import (
    AccessRefused,
    LimitExceeded,
    NoRight,
    NotAllowed,
    ProtocolError,
    TokenExpired,
)

__all__ = ["check_body", "error_frame", "reason_of", "replaced", "unexpected"]

_COMMANDS = frozenset(
    {
        "ABORT",
        "ACK",
        "BEGIN",
        "COMMIT",
        "CONNECT",
        "DISCONNECT",
        "NACK",
        "SEND",
        "STOMP",
        "SUBSCRIBE",
        "UNSUBSCRIBE",
    }
)

_REASONS: Mapping[type[ProtocolError], CloseReason] = MappingProxyType(
    {
        LimitExceeded: CloseReason.LIMIT,
        NotAllowed: CloseReason.REFUSED,
        AccessRefused: CloseReason.ACCESS,
        NoRight: CloseReason.NO_RIGHT,
        TokenExpired: CloseReason.EXPIRED,
    }
)


def check_body(frame: Frame, version: Version, state: State) -> None:
    """Check the body of a frame other than SEND.

    Args:
        frame: The frame.
        version: The client's version; meaningless before CONNECT.
        state: The state of the session.

    Raises:
        ProtocolError: The frame must not have a body.
    """
    # "Only the SEND, MESSAGE, and ERROR frames MAY have a body. All other frames MUST NOT have a
    # body." Line ends before the NUL, as some old clients write, are ignored. In STOMP 1.0, "the
    # body of the SUBSCRIBE command is ignored", as is that of others.
    is_1_0 = version is Version.V10
    if state is State.NEW:
        is_1_0 = "accept-version" not in frame.headers
    if not is_1_0 and frame.body.strip(b"\r\n"):
        raise ProtocolError(f"{frame.command} with a body", "Only SEND may have a body.")


def error_frame(error: ProtocolError, cause: Frame | None) -> tuple[dict[str, str], bytes]:
    """Return the headers and the body of the ERROR frame for an error.

    Args:
        error: The error.
        cause: The frame that caused it, or None.
    """
    headers = {"message": error.message, "content-type": "text/plain"}
    if isinstance(error, NoCommonVersion):
        headers["version"] = ",".join(version.value for version in Version)
    # "If the ERROR is related to a specific frame sent from the client, the server SHOULD add
    # additional headers to help identify the original frame that caused the error. For example,
    # if the frame included a receipt header, the ERROR frame SHOULD set the receipt-id header to
    # match the value of the receipt header of the frame".
    if cause is not None and "receipt" in cause.headers:
        headers["receipt-id"] = cause.headers["receipt"]
    body = f"{error.message}\n{error.detail}\n" if error.detail else f"{error.message}\n"
    return headers, body.encode()


def reason_of(error: ProtocolError) -> CloseReason:
    """Return the close reason for an error."""
    return next(
        (reason for kind, reason in _REASONS.items() if isinstance(error, kind)),
        CloseReason.PROTOCOL,
    )


def unexpected(command: str, state: State) -> ProtocolError:
    """Return the error for a command that is unknown, or not allowed in the session's state."""
    if command not in _COMMANDS:
        # The command is not quoted: it may be any text of any length.
        return ProtocolError(
            "unknown command",
            "A frame begins with a STOMP command in capitals on a line of its own.",
        )
    if state is State.NEW:
        return ProtocolError(
            f"{command} before CONNECT", "The first frame must be CONNECT or STOMP."
        )
    return ProtocolError(f"a second {command}", "This session is connected already.")


def replaced() -> ProtocolError:
    """Return the error for a session that a newer one of the same person and window replaces."""
    return ProtocolError(
        "replaced by a newer connection",
        "Another connection came with the same x-presence-token and x-presence-window.",
    )
