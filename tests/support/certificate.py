"""Certificates for servers of the tests: signed by themselves, trusted where a test says so."""

from __future__ import annotations

import base64
import functools
import hashlib
import ipaddress
import ssl
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from typing_extensions import Self

__all__ = ["Certificate", "browser_pin", "write_certificate"]


@functools.cache
def _browser_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def browser_pin() -> str:
    """Return what tells Chromium to trust one key, the one of :meth:`Certificate.for_browsers`."""
    public = (
        _browser_key()
        .public_key()
        .public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    return base64.b64encode(hashlib.sha256(public).digest()).decode()


@dataclass(frozen=True)
class Certificate:
    """A certificate for localhost and 127.0.0.1, valid for a day.

    Attributes:
        pem: The certificate.
        key_pem: Its private key.
        serial: Its number, by which one tells it from another.
    """

    pem: bytes
    key_pem: bytes
    serial: int

    @classmethod
    def make(cls, key: ec.EllipticCurvePrivateKey | None = None) -> Self:
        """Make one, with a key of its own if none is given."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        now = datetime.now(timezone.utc)
        certificate = (
            x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls(
            certificate.public_bytes(serialization.Encoding.PEM),
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ),
            certificate.serial_number,
        )

    @classmethod
    def for_browsers(cls) -> Self:
        """Make one that the Chromium of :mod:`support.browser` trusts."""
        return cls.make(_browser_key())

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Write ``cert.pem`` and ``key.pem``; return their paths."""
        paths = folder / "cert.pem", folder / "key.pem"
        for path, data in zip(paths, (self.pem, self.key_pem), strict=True):
            path.write_bytes(data)
        return paths

    def trusted(self) -> ssl.SSLContext:
        """Return what a client needs that trusts this certificate and no other."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=self.pem.decode())
        return context

    def shown(self) -> ssl.SSLContext:
        """Return what a server needs that shows this certificate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with TemporaryDirectory() as folder:
            context.load_cert_chain(*self.write(Path(folder)))
        return context


def write_certificate(folder: Path) -> tuple[Path, Path]:
    """Write a certificate that the browser of the tests trusts, and its key."""
    return Certificate.for_browsers().write(folder)
