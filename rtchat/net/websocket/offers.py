"""What clients offer in the handshake and the server cannot take: one line each in the log."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.logger import Logger
from twisted.web.server import Request

from rtchat.core.websocket.deflate import Agreement
from rtchat.net.web.requests import SHOWN_CHARACTERS, client_log_of, peer_name, printable_path
from rtchat.text import printable

__all__ = ["OfferLog", "declined_offers"]

_log = Logger(__package__)

_MAX_LINES = 100


def declined_offers(
    subprotocols: Sequence[str], known: Sequence[str], agreement: Agreement
) -> list[str]:
    """Return a sentence about each kind of offer that is declined.

    Args:
        subprotocols: Those that the client offers, if none of them is known.
        known: Those that are known.
        agreement: The answer to the client's extensions.
    """
    sentences = []
    if subprotocols:
        sentences.append(
            f"the sub-protocol {_quoted(subprotocols)} is offered, and known here is "
            f"{', '.join(known) or 'none'}; the WebSocket opens without, and browsers close it"
        )
    if agreement.unknown:
        sentences.append(
            f"the extension {_quoted(agreement.unknown)} is offered, and known here is "
            "permessage-deflate; the WebSocket opens without"
        )
    if agreement.unmet:
        sentences.append(
            f"the compression {_quoted(agreement.unmet)} is offered, and cannot be met; the "
            "WebSocket opens without"
        )
    return sentences


class OfferLog:
    """Logs each sentence once, and at most a hundred, since clients can offer anything."""

    def __init__(self) -> None:
        self._known: set[str] = set()

    def note(self, request: Request, sentences: Sequence[str]) -> None:
        """Log the sentences that are new."""
        for sentence in sentences:
            if sentence in self._known or len(self._known) >= _MAX_LINES:
                continue
            self._known.add(sentence)
            is_last = len(self._known) == _MAX_LINES
            client_log_of(request).info(
                _log,
                "{peer}: {path}: {sentence}{more}",
                peer=peer_name(request),
                path=printable_path(request),
                sentence=sentence,
                more=" (further offers like this are not logged)" if is_last else "",
            )


def _quoted(offers: Sequence[str]) -> str:
    return printable(", ".join(offers), SHOWN_CHARACTERS)
