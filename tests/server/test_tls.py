"""[ssl]: the files of certificates."""

from __future__ import annotations

import errno
import signal
from pathlib import Path
from typing import BinaryIO

import pytest
from support.certificate import write_certificate
from support.chat_ini import CERTIFICATE, KEY, read, refused
from support.in_memory import InMemory, Log

from rtchat.errors import ConfigError
from rtchat.net.connection.handshakes import WatchedTls
from rtchat.server import settings as config
from rtchat.server.listeners import ListenersPart
from rtchat.server.process import process_user
from rtchat.server.settings import Settings
from rtchat.server.tls import TlsFiles, TlsPart
from rtchat.tap import PARTS


def addresses(settings: Settings) -> list[tuple[str, str, int]]:
    return [(each.kind, each.host, each.port) for each in settings.of(ListenersPart).listeners]


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    (tmp_path / "tls").mkdir()
    (tmp_path / "tls" / "server.crt").write_text(CERTIFICATE)
    (tmp_path / "tls" / "server.key").write_text(KEY)
    (tmp_path / "tls" / "chain.pem").write_text(CERTIFICATE)
    return tmp_path / "tls"


SSL = "[listen]\nhttps://:9443\nstomps://:61614\n[ssl]\n"


def test_tls_listeners_come_with_the_files_of_ssl(ini: Path, pem: Path) -> None:
    settings = read(ini, f"{SSL}crt = tls/server.crt\nkey = {pem}/server.key\n")
    assert addresses(settings) == [("https", "", 9443), ("stomps", "", 61614)]
    assert settings.of(TlsPart) == TlsFiles(pem / "server.crt", pem / "server.key", None)


def test_the_chain_is_a_file_too(ini: Path, pem: Path) -> None:
    settings = read(
        ini, f"{SSL}crt = tls/server.crt\nkey = tls/server.key\nchain = tls/chain.pem\n"
    )
    assert settings.of(TlsPart) == TlsFiles(
        pem / "server.crt", pem / "server.key", pem / "chain.pem"
    )


@pytest.mark.parametrize(
    "lines, error",
    [
        (
            "crt = tls/server.crt",
            "5: [ssl] crt = tls/server.crt is not enough; write key = FILE in [ssl] too",
        ),
        (
            "key = tls/server.key",
            "5: [ssl] key = tls/server.key is not enough; write crt = FILE in [ssl] too",
        ),
        (
            "crt = none.pem\nkey = tls/server.key",
            "5: [ssl] crt = none.pem does not exist; write the path of a PEM file "
            "(none.pem was tried)",
        ),
        (
            "crt = tls/server.crt\nkey = tls",
            "6: [ssl] key = tls is not a file; write the path of a PEM file",
        ),
        (
            "crt = tls/server.key\nkey = tls/server.key",
            "5: [ssl] crt = tls/server.key holds no certificate; "
            "write the path of a certificate in PEM",
        ),
        (
            "crt = tls/server.crt\nkey = tls/server.crt",
            "6: [ssl] key = tls/server.crt holds no private key; "
            "write the path of a private key in PEM",
        ),
        (
            "crt = tls/server.crt\nkey = tls/server.key\nchain =",
            "7: [ssl] chain has no value; write chain = …, or remove the line",
        ),
    ],
)
@pytest.mark.usefixtures("pem")
def test_certificates_that_cannot_be_used_are_refused(ini: Path, lines: str, error: str) -> None:
    assert refused(ini, f"{SSL}{lines}\n") == f"chat.ini:{error}"


def test_a_key_that_may_not_be_read_is_refused(
    ini: Path, pem: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ini.write_text(f"{SSL}crt = tls/server.crt\nkey = tls/server.key\n")

    def refuse(self: Path, mode: str) -> BinaryIO:
        if self == pem / "server.key":
            raise PermissionError(errno.EACCES, "Permission denied")
        return open(self, "rb")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ConfigError) as error:
        config.load(ini, PARTS)
    assert str(error.value) == (
        f"{ini}:6: [ssl] key = tls/server.key cannot be read (Permission denied); "
        "change its permissions or the path"
    )


def test_a_path_too_long_for_the_system_is_an_error_and_no_traceback(ini: Path) -> None:
    name = "x" * 5000
    assert f"[ssl] crt = {name} does not exist" in refused(ini, f"{SSL}crt = {name}\nkey = k\n")


# ---------------------------------------------------------------- the running server

TLS = "[ssl]\ncrt = cert.pem\nkey = key.pem\n[listen]\n"


def test_a_certificate_is_loaded_for_the_first_port_that_needs_it(
    in_memory: InMemory, tmp_path: Path
) -> None:
    write_certificate(tmp_path)
    server = in_memory.start(f"{TLS}https://:9443\nstomps://:61614\nhttp://:9000\n")
    reactor = in_memory.reactor
    assert [port for port, *_ in reactor.sslServers] == [9443, 61614]
    assert [port for port, *_ in reactor.tcpServers] == [9000]
    [starter] = {context for _, _, context, *_ in reactor.sslServers}
    line = server.part(ListenersPart).settings.listeners[0].source_line
    assert isinstance(starter, WatchedTls)
    assert server.part(TlsPart).certificates_for(line) is starter.creator


def test_no_certificate_is_loaded_unless_a_port_needs_it(
    in_memory: InMemory, tmp_path: Path
) -> None:
    (tmp_path / "cert.pem").write_text(CERTIFICATE)
    (tmp_path / "key.pem").write_text(KEY)
    server = in_memory.start(f"{TLS}http://:9000\n")
    assert not server.part(TlsPart).reload()


def test_a_certificate_that_is_none_ends_the_start(in_memory: InMemory, tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text(CERTIFICATE)
    (tmp_path / "key.pem").write_text(KEY)
    with pytest.raises(SystemExit) as end:
        in_memory.make(f"{TLS}https://:9443\n")
    assert str(end.value).startswith(
        f"rtchat: {in_memory.ini}:5: [listen] https://:9443 cannot use TLS: "
    )


def test_a_port_cannot_have_a_certificate_that_no_line_names(in_memory: InMemory) -> None:
    server = in_memory.make("[listen]\nhttp://:9000\n")
    line = server.part(ListenersPart).settings.listeners[0].source_line
    with pytest.raises(SystemExit, match=r"needs a certificate: set \[ssl\] crt and key\."):
        server.part(TlsPart).certificates_for(line)


def test_sighup_reads_the_certificate_again_or_says_why_not(
    in_memory: InMemory, log: Log, tmp_path: Path
) -> None:
    certificate, key = write_certificate(tmp_path)
    in_memory.start(f"{TLS}https://:9443\n")
    in_memory.signal(signal.SIGHUP)
    assert log.lines()[-1].startswith(
        f"SIGHUP received: new connections get the certificate in {certificate}, valid until 20"
    )
    key.unlink()
    in_memory.signal(signal.SIGHUP)
    assert log.lines()[-1] == (
        "SIGHUP received: the certificate was not read again, connections still get the old one: "
        f"{key} cannot be read by {process_user()} (No such file or directory). Fix the file or "
        "its permissions, then send SIGHUP again"
    )
    key.write_text(KEY)
    in_memory.signal(signal.SIGHUP)
    assert "was not read again, connections still get the old one: " in log.lines()[-1]
