"""Certificates: what is loaded, what is refused, and a real round trip through them."""

from __future__ import annotations

import re
import signal
import socket
import ssl
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from OpenSSL import SSL, crypto
from support.process import Server
from support.sockets import RealWebSocket
from support.stomp import CONNECT, frame_bytes
from support.websocket import CLOSE, TEXT, read_answer
from support.wire import Wire
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import CertificateOptions
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol

from rtchat.net.connection.tls import Certificates, tls_options

USAGE = x509.KeyUsage(
    digital_signature=True,
    key_cert_sign=True,
    crl_sign=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    encipher_only=False,
    decipher_only=False,
)


class Authority:
    """Makes certificates for localhost, signed by itself or by another one."""

    def __init__(self, name: str, issuer: Authority | None = None) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        signer = issuer or self
        now = datetime.now(timezone.utc)
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(self.name)
            .issuer_name(signer.name)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
            .add_extension(USAGE, True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self.key.public_key()), False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key()), False
            )
            .sign(signer.key, hashes.SHA256())
        )

    @property
    def pem(self) -> bytes:
        """The certificate."""
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def key_pem(self, passphrase: bytes | None = None) -> bytes:
        """The private key."""
        encryption = (
            serialization.BestAvailableEncryption(passphrase)
            if passphrase
            else serialization.NoEncryption()
        )
        return self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
        )


class Files:
    """PEM files in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = Authority("root")
        self.middle = Authority("middle", self.root)
        self.own = Authority("localhost", self.middle)

    def put(self, name: str, *contents: bytes) -> Path:
        path = self.folder / name
        path.write_bytes(b"".join(contents))
        return path

    @property
    def certificate(self) -> Path:
        return self.put("cert.pem", self.own.pem)

    @property
    def key(self) -> Path:
        return self.put("key.pem", self.own.key_pem())


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def parsed(certificate: crypto.X509 | None) -> x509.Certificate:
    assert certificate is not None
    return certificate.to_cryptography()


def refusal(certificate: Path, key: Path, chain: Path | None = None) -> str:
    """Load the files in vain; give what is said, without the folder."""
    with pytest.raises(ValueError, match="pem") as error:
        tls_options(certificate, key, chain)
    return str(error.value).replace(f"{certificate.parent}/", "")


# ---------------------------------------------------------------- files


def test_a_certificate_and_its_key_are_loaded(files: Files) -> None:
    options = tls_options(files.certificate, files.key, None)
    assert parsed(options.certificate) == files.own.certificate
    assert options.extraCertChain == []


def test_the_chain_may_have_a_file_of_its_own(files: Files) -> None:
    chain = files.put("chain.pem", files.middle.pem, files.root.pem)
    options = tls_options(files.certificate, files.key, chain)
    others = [parsed(each) for each in options.extraCertChain]
    assert others == [files.middle.certificate, files.root.certificate]


def test_the_chain_may_follow_the_certificate(files: Files) -> None:
    certificate = files.put("cert.pem", b"some text\n", files.own.pem, files.middle.pem)
    options = tls_options(certificate, files.key, None)
    assert parsed(options.certificate) == files.own.certificate
    assert [parsed(each) for each in options.extraCertChain] == [files.middle.certificate]


def own_certificate(files: Files, key: Any) -> tuple[Path, Path]:
    """Write a key and a certificate that belong together."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(timezone.utc)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    pkcs8, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    return (
        files.put("weak.pem", certificate.public_bytes(pem)),
        files.put("weak.key", key.private_bytes(pem, pkcs8, plain)),
    )


@pytest.mark.parametrize(
    "key, bits",
    [
        (rsa.generate_private_key(65537, 1024), 1024),
        (ec.generate_private_key(ec.SECP192R1()), 192),
    ],
    ids=["RSA", "EC"],
)
def test_a_key_that_is_too_small_is_said_to_be_so(files: Files, key: Any, bits: int) -> None:
    assert refusal(*own_certificate(files, key)) == (
        f"weak.pem has a key of {bits} bits, which is too small: OpenSSL refuses it; make an RSA "
        "key of 2048 bits or an EC key of 256, and a certificate for it (OpenSSL: ee key too small)"
    )


def test_tls_1_2_has_forward_secrecy_and_authenticated_encryption_alone(files: Files) -> None:
    options = tls_options(files.certificate, files.key, None)
    ciphers = SSL.Connection(options.getContext(), None).get_cipher_list()
    old = [name for name in ciphers if not name.startswith("TLS_")]
    assert old
    assert all(re.fullmatch("ECDHE-(ECDSA|RSA)-.*(GCM-SHA.*|CHACHA20-POLY1305)", n) for n in old)
    assert len(old) < len(ciphers)


@pytest.mark.parametrize(
    "reasons, said",
    [
        (["ca md too weak"], "is signed with a hash that is too weak: OpenSSL refuses it; "),
        (["unknown certificate type"], "has a kind of key that TLS cannot use; "),
        (["", "no such thing"], "is refused by OpenSSL: no such thing"),
        ([], "is refused by OpenSSL: no reason given"),
    ],
)
def test_what_openssl_refuses_is_said_with_its_reason(
    files: Files, monkeypatch: pytest.MonkeyPatch, reasons: list[str], said: str
) -> None:
    def refuse(options: CertificateOptions) -> SSL.Context:
        raise SSL.Error([("SSL routines", "", reason) for reason in reasons])

    monkeypatch.setattr(CertificateOptions, "getContext", refuse)
    assert refusal(files.certificate, files.key).startswith(f"cert.pem {said}")


def test_a_key_of_another_kind_is_refused(files: Files) -> None:
    _, other = own_certificate(files, rsa.generate_private_key(65537, 2048))
    assert refusal(files.certificate, other) == "weak.key is not the key of cert.pem"


def test_the_key_of_another_certificate_is_refused(files: Files) -> None:
    wrong = files.put("key.pem", files.root.key_pem())
    assert refusal(files.certificate, wrong) == "key.pem is not the key of cert.pem"


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"hello",
        b"-----BEGIN CERTIFICATE-----\nMII=\n-----END CERTIFICATE-----\n",
        b"-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n",
        b"\xff\xfe\x00",
    ],
)
def test_a_certificate_that_cannot_be_read_is_named(files: Files, text: bytes) -> None:
    broken = files.put("cert.pem", text)
    assert refusal(broken, files.key) == "cert.pem holds no readable certificate"


@pytest.mark.parametrize("text", [b"", b"hello", b"-----BEGIN CERTIFICATE-----\nMII=\n"])
def test_a_chain_that_cannot_be_read_is_named(files: Files, text: bytes) -> None:
    broken = files.put("chain.pem", text)
    said = refusal(files.certificate, files.key, broken)
    assert said == "chain.pem holds no readable certificate"


def test_a_broken_certificate_in_the_chain_is_blamed_on_its_file(files: Files) -> None:
    garbage = b"-----BEGIN CERTIFICATE-----\nMII=\n-----END CERTIFICATE-----\n"
    broken = files.put("chain.pem", files.middle.pem, garbage)
    said = refusal(files.certificate, files.key, broken)
    assert said == "chain.pem holds no readable certificate"


@pytest.mark.parametrize(
    "text", [b"", b"hello", b"-----BEGIN PRIVATE KEY-----\nMII=\n-----END PRIVATE KEY-----\n"]
)
def test_a_key_that_cannot_be_read_is_named(files: Files, text: bytes) -> None:
    said = refusal(files.certificate, files.put("key.pem", text))
    assert said == "key.pem holds no readable private key without a passphrase"


def test_a_key_with_a_passphrase_is_refused_and_not_asked_for(files: Files) -> None:
    locked = files.put("key.pem", files.own.key_pem(b"secret"))
    said = refusal(files.certificate, locked)
    assert said == "key.pem holds no readable private key without a passphrase"


@pytest.mark.parametrize("version", [SSL.TLS1_VERSION, SSL.TLS1_1_VERSION])
def test_versions_of_tls_before_1_2_are_refused(files: Files, version: int) -> None:
    client_context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    client_context.set_cipher_list(b"ALL:@SECLEVEL=0")
    client_context.set_min_proto_version(version)
    client_context.set_max_proto_version(version)
    client = SSL.Connection(client_context)
    client.set_connect_state()
    server = SSL.Connection(tls_options(files.certificate, files.key, None).getContext())
    server.set_accept_state()
    with pytest.raises(SSL.WantReadError):
        client.do_handshake()
    server.bio_write(client.bio_read(65536))
    with pytest.raises(SSL.Error, match=r"version|protocol"):
        server.do_handshake()


# ---------------------------------------------------------------- files that change


def begun(certificates: Certificates) -> SSL.Connection:
    """Begin TLS for a connection as Twisted does."""
    factory = TLSMemoryBIOFactory(certificates, False, Factory())
    return certificates.serverConnectionForTLS(TLSMemoryBIOProtocol(factory, Protocol()))


def test_a_reload_is_for_connections_that_begin_after_it(files: Files) -> None:
    certificates = Certificates(files.certificate, files.key, None)
    first = begun(certificates)
    before, files.own = files.own, Authority("localhost", files.middle)
    _ = files.certificate, files.key
    assert parsed(begun(certificates).get_certificate()) == before.certificate
    assert certificates.reload() == files.own.certificate.not_valid_after_utc
    assert parsed(begun(certificates).get_certificate()) == files.own.certificate
    assert parsed(first.get_certificate()) == before.certificate


def test_a_reload_takes_the_chain_as_well(files: Files) -> None:
    chain = files.put("chain.pem", files.middle.pem)
    certificates = Certificates(files.certificate, files.key, chain)
    files.own = Authority("localhost", files.root)
    _ = files.certificate, files.key
    files.put("chain.pem")
    with pytest.raises(ValueError, match=r"chain\.pem holds no readable certificate"):
        certificates.reload()
    files.put("chain.pem", files.root.pem)
    certificates.reload()
    assert parsed(begun(certificates).get_certificate()) == files.own.certificate


@pytest.mark.parametrize("name", ["cert.pem", "key.pem"])
def test_a_reload_that_fails_changes_nothing(files: Files, name: str) -> None:
    certificates = Certificates(files.certificate, files.key, None)
    before, files.own = files.own, Authority("localhost", files.middle)
    _ = files.certificate, files.key
    files.put(name, b"hello")
    with pytest.raises(ValueError, match=name):
        certificates.reload()
    (files.folder / name).unlink()
    with pytest.raises(FileNotFoundError) as error:
        certificates.reload()
    assert error.value.filename == str(files.folder / name)
    assert parsed(begun(certificates).get_certificate()) == before.certificate


def test_certificates_that_cannot_be_used_are_refused_at_once(files: Files) -> None:
    with pytest.raises(ValueError, match="is not the key of"):
        Certificates(files.certificate, files.put("key.pem", files.root.key_pem()), None)


# ---------------------------------------------------------------- real sockets


@pytest.mark.live
def test_the_page_websockets_and_stomp_work_over_tls(tmp_path: Path) -> None:
    files = Files(tmp_path)
    _ = files.certificate, files.key
    files.put("chain.pem", files.middle.pem)
    # A client that knows only the root: the chain has to come from the server.
    context = ssl.create_default_context(cadata=files.root.pem.decode())
    config = (
        "[ssl]\ncrt = cert.pem\nkey = key.pem\nchain = chain.pem\n"
        "[access]\nself -> localhost:{stomp}\n"
    )
    listen = "https://127.0.0.1:{http}\nstomps://127.0.0.1:{stomp}"
    with Server.on_free_ports(tmp_path, config, listen) as server:
        with context.wrap_socket(
            socket.create_connection(("127.0.0.1", server.http)), server_hostname="localhost"
        ) as page:
            page.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            data = b""
            while chunk := page.recv(4096):
                data += chunk
            assert read_answer(data)[0].status == 200
        with (
            Wire(server.stomp, context) as stomp,
            RealWebSocket(server.http, "/ws", context, subprotocols="v12.stomp") as browser,
        ):
            stomp.connect()
            stomp.subscribe("/topic/chat")
            browser.send(TEXT, CONNECT)
            assert browser.read().payload.startswith(b"CONNECTED\n")
            browser.send(TEXT, frame_bytes("SEND", b"hello" * 40_000, destination="/topic/chat"))
            assert stomp.frame().body == b"hello" * 40_000
            server.send_signal(signal.SIGTERM)
            assert stomp.rest() == []
            stomp.socket.close()
            close = browser.read()
            assert close.code == 1012
            browser.send(CLOSE, close.payload)
            browser.socket.close()
            assert server.wait() == 0


@pytest.mark.live
def test_a_handshake_that_takes_too_long_is_cut_and_logged_once(tmp_path: Path) -> None:
    files = Files(tmp_path)
    _ = files.certificate, files.key
    config = "[ssl]\ncrt = cert.pem\nkey = key.pem\n[proxy]\nhandshake.timeout = 0.5\n"
    listen = "https://127.0.0.1:{http}\nstomps://127.0.0.1:{stomp}"
    with Server.on_free_ports(tmp_path, config, listen) as server:
        for port in (server.http, server.stomp):
            # Longer than the time-out of Twisted for HTTP, and that for a login, are far away.
            with socket.create_connection(("127.0.0.1", port), timeout=5) as silent:
                silent.sendall(b"\x16\x03\x01")
                with suppress(ConnectionError):
                    assert silent.recv(1) == b""
        server.until_logged("gone without DISCONNECT (no complete TLS handshake within 0.5 s)")
        assert server.log().count("no complete TLS handshake within 0.5 s") == 2


@pytest.mark.live
def test_a_client_without_forward_secrecy_is_refused(tmp_path: Path) -> None:
    files = Files(tmp_path)
    certificate, key = own_certificate(files, rsa.generate_private_key(65537, 2048))
    config = f"[ssl]\ncrt = {certificate}\nkey = {key}\n"
    listen = "https://127.0.0.1:{http}\nstomps://127.0.0.1:{stomp}"
    with Server.on_free_ports(tmp_path, config, listen) as server:
        for ciphers, is_taken in (
            ("AES128-GCM-SHA256", False),  # the certificate's own key
            ("ECDHE-RSA-AES128-SHA256", False),  # no authenticated encryption
            ("ECDHE-RSA-AES128-GCM-SHA256", True),
        ):
            context = ssl.create_default_context()
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
            context.maximum_version = ssl.TLSVersion.TLSv1_2
            context.set_ciphers(ciphers)
            with socket.create_connection(("127.0.0.1", server.http)) as plain:
                try:
                    with context.wrap_socket(plain):
                        assert is_taken
                except ssl.SSLError:
                    assert not is_taken
