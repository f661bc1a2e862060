"""Certificates for ``https://`` and ``stomps://``."""

from __future__ import annotations

import re
from pathlib import Path

from OpenSSL import SSL, crypto
from twisted.internet.ssl import CertificateOptions, TLSVersion

__all__ = ["tls_options"]

_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)


def tls_options(certificate: Path, key: Path, chain: Path | None) -> CertificateOptions:
    """Load PEM files for a TLS server, 1.2 or newer.

    Args:
        certificate: The server's certificate; more of them after it belong to the chain.
        key: Its private key, not encrypted.
        chain: The certificates between it and the authority, if they have a file of their own.

    Raises:
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
    )
    try:
        options.getContext().check_privatekey()
    except SSL.Error:
        raise ValueError(f"{key} is not the key of {certificate}") from None
    return options


def _certificates(path: Path) -> list[crypto.X509]:
    """Give the file's certificates, one at least."""
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
