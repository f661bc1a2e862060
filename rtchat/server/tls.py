"""``[ssl]``: certificates, read at start and again on SIGHUP."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from twisted.logger import Logger
from typing_extensions import override

from rtchat.config.ini import SourceLine
from rtchat.config.keys import key
from rtchat.config.schema import ChatIni
from rtchat.config.values import os_reason
from rtchat.server.part import Part, Server
from rtchat.server.process import process_user
from rtchat.server.web import WebPart

if TYPE_CHECKING:
    # Loaded by the part itself, and only if the configuration asks for it.
    from rtchat.net.connection.handshakes import HandshakeWatch, WatchedTls
    from rtchat.net.connection.tls import Certificates

__all__ = ["TlsFiles", "TlsPart"]

_log = Logger(__package__)

_MAX_PEM_BYTES = 1024 * 1024


def _read_certificate(source_line: SourceLine) -> Path:
    return _read_pem(source_line, b"CERTIFICATE-----", "certificate")


def _read_key(source_line: SourceLine) -> Path:
    return _read_pem(source_line, b"PRIVATE KEY-----", "private key")


def _read_pem(source_line: SourceLine, label: bytes, what: str) -> Path:
    """Return the path of a PEM file that can be read and holds what it should."""
    path = source_line.folder / source_line.value
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
        raise source_line.error(f"holds no {what}; write the path of a {what} in PEM")
    return path


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """The PEM files for ``https`` and ``stomps``; each could be read at start.

    Attributes:
        certificate: The server's certificate, or None if there is no section.
        private_key: Its private key, or None if there is no section.
        chain: The certificates between it and the authority, or None.
    """

    certificate: Path | None = key("[ssl] crt", None, unit="path", read=_read_certificate)
    private_key: Path | None = key("[ssl] key", None, unit="path", read=_read_key)
    chain: Path | None = key("[ssl] chain", None, unit="path", read=_read_certificate)


class TlsPart(Part[TlsFiles]):
    """The certificate of all ``https://`` and ``stomps://`` ports, if there is such a port."""

    reads = (TlsFiles,)

    def __init__(self, settings: TlsFiles, server: Server) -> None:
        super().__init__(settings, server)
        self._server = server
        self._certificates: Certificates | None = None
        self._handshakes: HandshakeWatch | None = None
        self._starter: WatchedTls | None = None

    @override
    @classmethod
    def read(cls, ini: ChatIni) -> TlsFiles:
        source_lines = ini.lines("ssl")
        for missing in ("crt", "key"):
            if source_lines and missing not in source_lines:
                source_line = next(iter(source_lines.values()))
                raise source_line.error(f"is not enough; write {missing} = FILE in [ssl] too")
        return ini.read(TlsFiles)

    @property
    def handshakes(self) -> HandshakeWatch:
        """What watches the handshakes of all ports with TLS."""
        from rtchat.net.connection.handshakes import HandshakeWatch

        if self._handshakes is None:
            timeout_s = self._server.part(WebPart).settings.handshake_timeout_s
            self._handshakes = HandshakeWatch(self._server.clock, timeout_s)
        return self._handshakes

    def starter_for(self, source_line: SourceLine) -> WatchedTls:
        """Return what starts TLS on a port, with this server's certificate.

        Args:
            source_line: The line of the port.

        Raises:
            SystemExit: There is no certificate, or it cannot be used.
        """
        from rtchat.net.connection.handshakes import WatchedTls

        if self._starter is None:
            self._starter = WatchedTls(self.certificates_for(source_line), self.handshakes)
        return self._starter

    def certificates_for(self, source_line: SourceLine) -> Certificates:
        """Return the certificate for a port that needs it; the first such port loads it.

        Args:
            source_line: The line of the port.

        Raises:
            SystemExit: There is no certificate, or it cannot be used.
        """
        from rtchat.net.connection.tls import Certificates

        files = self.settings
        if files.certificate is None or files.private_key is None:
            problem = "needs a certificate: set [ssl] crt and key."
            raise SystemExit(f"rtchat: {source_line.error(problem)}")
        if self._certificates is None:
            try:
                self._certificates = Certificates(files.certificate, files.private_key, files.chain)
            except (OSError, ValueError) as error:
                problem = f"cannot use TLS: {_why_unusable(error)}."
                raise SystemExit(f"rtchat: {source_line.error(problem)}") from None
        return self._certificates

    @override
    def reload(self) -> bool:
        """Read the certificate again, or log why that failed."""
        if self._certificates is None:
            return False
        try:
            valid_until = self._certificates.reload()
        except (OSError, ValueError) as error:
            _log.error(
                "SIGHUP received: the certificate was not read again, connections still get the "
                "old one: {why}. Fix the file or its permissions, then send SIGHUP again",
                why=_why_unusable(error),
            )
        else:
            _log.info(
                "SIGHUP received: new connections get the certificate in {path}, valid until {day}",
                path=self._certificates.path,
                day=valid_until.date(),
            )
        return True


def _why_unusable(error: OSError | ValueError) -> str:
    if isinstance(error, OSError):
        file = error.filename or "a file of [ssl]"
        return f"{file} cannot be read by {process_user()} ({error.strerror})"
    return str(error)
