"""``[ssl]``: certificates, read at start and again on SIGHUP."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from twisted.logger import Logger

from rtchat.config.ini import SourceLine
from rtchat.config.values import filled_text, os_reason
from rtchat.server.listeners import TLS_KINDS, Listener
from rtchat.server.process import process_user

if TYPE_CHECKING:
    # Loaded by the part itself, and only if the configuration asks for it.
    from rtchat.net.connection.tls import Certificates

__all__ = ["TlsFiles", "load_certificates", "read_tls", "reload_certificates"]

_log = Logger(__package__)

_MAX_PEM_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The PEM files for ``https`` and ``stomps``; each could be read at start.

    Attributes:
        certificate: The server's certificate.
        key: Its private key.
        chain: The certificates between it and the authority, or None.
    """

    certificate: Path
    key: Path
    chain: Path | None


def read_tls(source_lines: Mapping[str, SourceLine], folder: Path) -> TlsFiles | None:
    if not source_lines:
        return None
    crt, key, chain = source_lines.get("crt"), source_lines.get("key"), source_lines.get("chain")
    if crt is None or key is None:
        missing = "key" if crt else "crt"
        source_line = next(iter(source_lines.values()))
        raise source_line.error(f"is not enough; write {missing} = FILE in [ssl] too")
    return TlsFiles(
        certificate=_pem(crt, folder, b"CERTIFICATE-----", "a certificate"),
        key=_pem(key, folder, b"PRIVATE KEY-----", "a private key"),
        chain=_pem(chain, folder, b"CERTIFICATE-----", "a certificate") if chain else None,
    )


def _pem(source_line: SourceLine, folder: Path, label: bytes, what: str) -> Path:
    """Return the path of a PEM file that can be read and holds what it should."""
    path = folder / filled_text(source_line)
    if not os.path.exists(path):
        raise source_line.error(f"does not exist; write the path of a PEM file ({path} was tried)")
    if not os.path.isfile(path):
        raise source_line.error("is not a file; write the path of a PEM file")
    try:
        with path.open("rb") as stream:
            data = stream.read(_MAX_PEM_BYTES)
    except OSError as error:
        raise source_line.error(
            f"cannot be read ({os_reason(error)}); change its permissions or the path"
        ) from None
    if label not in data:
        raise source_line.error(
            f"holds no {what.removeprefix('a ')}; write the path of {what} in PEM"
        )
    return path


def load_certificates(files: TlsFiles | None, listeners: Iterable[Listener]) -> Certificates | None:
    """Load what ``https://`` and ``stomps://`` need, if one of them is opened."""
    for listener in listeners:
        if files is not None and listener.kind in TLS_KINDS:
            from rtchat.net.connection.tls import Certificates

            try:
                return Certificates(files.certificate, files.key, files.chain)
            except (OSError, ValueError) as error:
                problem = f"cannot use TLS: {_why_unusable(error)}."
                raise SystemExit(f"rtchat: {listener.source_line.error(problem)}") from None
    return None


def reload_certificates(certificates: Certificates) -> None:
    """Read the certificate again, or say why not."""
    try:
        valid_until = certificates.reload()
    except (OSError, ValueError) as error:
        _log.error(
            "SIGHUP received: the certificate was not read again, connections still get the old "
            "one: {why}. Mend the file or its permissions, then send SIGHUP again",
            why=_why_unusable(error),
        )
    else:
        _log.info(
            "SIGHUP received: new connections get the certificate in {path}, valid until {day}",
            path=certificates.path,
            day=valid_until.date(),
        )


def _why_unusable(error: OSError | ValueError) -> str:
    if isinstance(error, OSError):
        file = error.filename or "a file of [ssl]"
        return f"{file} cannot be read by {process_user()} ({error.strerror})"
    return str(error)
