"""Certificates for ``https://`` and ``stomps://``."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path
from typing import Any, cast

from cryptography.hazmat.primitives import serialization
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator
from twisted.internet.ssl import AcceptableCiphers, CertificateOptions, TLSVersion
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from rtchat.net.connection.handshakes import TLS_1_2_CIPHERS

__all__ = ["Certificates", "tls_options"]

_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


@implementer(IOpenSSLServerConnectionCreator)
class Certificates:
    """The certificate and key of the TLS ports; they can be reloaded while the ports are open.

    Args:
        certificate: The server's certificate; further ones in the file belong to the chain.
        key: Its private key, without a passphrase.
        chain: The intermediate certificates, if they are in a file of their own.

    Raises:
        OSError: A file cannot be read; ``filename`` says which.
        ValueError: A file cannot be used; the text names it.
    """

    def __init__(self, certificate: Path, key: Path, chain: Path | None) -> None:
        self.path = certificate
        self._key = key
        self._chain = chain
        self._options = tls_options(certificate, key, chain)

    def reload(self) -> datetime:
        """Read the files again, for new connections.

        Connections that are open, or in the middle of a handshake, keep what they began with.

        Returns:
            The end of the certificate's validity.

        Raises:
            OSError: A file cannot be read; ``filename`` says which. The certificate in use stays.
            ValueError: A file cannot be used; the text names it. The certificate in use stays.
        """
        self._options = tls_options(self.path, self._key, self._chain)
        certificate = cast(crypto.X509, self._options.certificate)  # only a client's is None
        return certificate.to_cryptography().not_valid_after_utc

    def serverConnectionForTLS(  # noqa: N802
        self,
        tlsProtocol: TLSMemoryBIOProtocol,  # noqa: N803
    ) -> SSL.Connection:
        """Return OpenSSL's connection for one new client."""
        return self._options.serverConnectionForTLS(tlsProtocol)


def tls_options(certificate: Path, key: Path, chain: Path | None) -> CertificateOptions:
    """Load PEM files for a server that speaks TLS 1.2 or newer.

    Args:
        certificate: The server's certificate; further ones in the file belong to the chain.
        key: Its private key, without a passphrase.
        chain: The intermediate certificates, if they are in a file of their own.

    Raises:
        OSError: A file cannot be read; ``filename`` says which.
        ValueError: A file cannot be used; the text names it.
    """
    own, *others = _certificates(certificate)
    if chain is not None:
        others += _certificates(chain)
    try:
        private = crypto.load_privatekey(crypto.FILETYPE_PEM, key.read_bytes(), b"")
    except (crypto.Error, ValueError, TypeError):
        raise ValueError(f"{key} holds no readable private key without a passphrase") from None
    options = CertificateOptions(
        privateKey=private,
        certificate=own,
        extraCertChain=others,
        raiseMinimumTo=TLSVersion.TLSv1_2,
        acceptableCiphers=AcceptableCiphers.fromOpenSSLCipherString(TLS_1_2_CIPHERS),
    )
    if not _belong_together(own, private):
        raise ValueError(f"{key} is not the key of {certificate}")
    try:
        options.getContext().check_privatekey()
    except SSL.Error as error:
        raise ValueError(_why_refused(error, certificate, private)) from None
    return options


def _belong_together(certificate: crypto.X509, key: crypto.PKey) -> bool:
    """Return whether a key is that of a certificate."""
    own: Any = key.to_cryptography_key()
    named: Any = certificate.get_pubkey().to_cryptography_key()
    form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    return bool(own.public_key().public_bytes(*form) == named.public_bytes(*form))


def _why_refused(error: SSL.Error, certificate: Path, key: crypto.PKey) -> str:
    """Return why OpenSSL takes neither a certificate nor its key, with a remedy.

    What is allowed depends on OpenSSL's release and on the system's own settings.
    """
    reasons = [str(entry[2]) for entry in error.args[0]] if error.args else []
    reason = ", ".join(filter(None, reasons)) or "no reason given"
    for sign, words in _REFUSALS.items():
        if sign in reason:
            return f"{certificate} {words.format(bits=key.bits())} (OpenSSL: {reason})"
    return f"{certificate} is refused by OpenSSL: {reason}"


_REFUSALS = {
    "key too small": "has a key of {bits} bits, which is too small: OpenSSL refuses it; make an "
    "RSA key of 2048 bits or an EC key of 256, and a certificate for it",
    "md too weak": "is signed with a hash that is too weak: OpenSSL refuses it; have it signed "
    "with SHA-256 or better",
    "unknown certificate type": "has a kind of key that TLS cannot use; make an RSA, EC or Ed25519 "
    "key, and a certificate for it",
}


def _certificates(path: Path) -> list[crypto.X509]:
    """Return the certificates in a file, at least one."""
    try:
        certificates = [
            crypto.load_certificate(crypto.FILETYPE_PEM, block)
            for block in _CERTIFICATE.findall(path.read_bytes())
        ]
    except (crypto.Error, ValueError):
        certificates = []
    if not certificates:
        raise ValueError(f"{path} holds no readable certificate")
    return certificates
