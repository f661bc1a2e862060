"""chat.ini: every key, its default and its value; every error, word for word."""

from __future__ import annotations

import dataclasses
import errno
import os
import re
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rtchat.config.ini import SourceLine
from rtchat.core.access.addresses import AddressList
from rtchat.core.broker.limits import BrokerLimits
from rtchat.core.chat.limits import ChatPolicy
from rtchat.core.history.rules import HistoryLimits, HistoryRule
from rtchat.core.stomp.limits import Limits
from rtchat.errors import ConfigError
from rtchat.server import settings as config
from rtchat.server.chat import CHAT_KEYS, PRESENCE_KEYS, RATE_KEYS
from rtchat.server.front_proxy import FrontSettings
from rtchat.server.gateway import ProxySettings
from rtchat.server.history import HistorySettings
from rtchat.server.listeners import Listener
from rtchat.server.settings import Settings
from rtchat.server.stomp import BROKER_KEYS, SESSION_KEYS
from rtchat.server.tls import TlsFiles

# The file of the tutorial, as it stands there.
TUTORIAL = """\
[listen]
# this is the server which provides the socket-proxy for javascript
http://:9000
# the following enables the MorbidQ STOMP Message Queue
stomp://:61613

[access]
# allow incoming HTTP requests on port 9000 to connect to
# localhost:61613 (i.e. the MorbidQ STOMP server)
# The * refers to the
* -> localhost:61613

[global]
session.ping_interval = 20
"""

CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMII=\n-----END CERTIFICATE-----\n"
KEY = "-----BEGIN PRIVATE KEY-----\nMII=\n-----END PRIVATE KEY-----\n"
QUARTER_OF_MEMORY = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 4
LISTEN = "[listen]\nhttp://:9000\n"


@pytest.fixture
def ini(tmp_path: Path) -> Path:
    return tmp_path / "chat.ini"


def read(ini: Path, text: str) -> Settings:
    ini.write_bytes(text.encode())
    return config.load(ini)


def refused(ini: Path, text: str) -> str:
    """Return the error for a text, with the long path of the test's folder taken out."""
    with pytest.raises(ConfigError) as error:
        read(ini, text)
    return str(error.value).replace(f"{ini.parent}{os.sep}", "")


def with_broker(ini: Path, line: str) -> Limits:
    return read(ini, f"{LISTEN}[broker]\n{line}\n").limits


def with_global(ini: Path, line: str) -> Settings:
    return read(ini, f"{LISTEN}[global]\n{line}\n")


def addresses(settings: Settings) -> list[tuple[str, str, int]]:
    return [(each.kind, each.host, each.port) for each in settings.listeners]


# ---------------------------------------------------------------- whole files


def test_the_tutorials_file_is_read_verbatim(ini: Path) -> None:
    settings = read(ini, TUTORIAL)
    assert addresses(settings) == [("http", "", 9000), ("stomp", "", 61613)]
    assert [str(rule) for rule in settings.access] == ["* -> localhost:61613"]
    assert settings.ping_interval_s == 20
    assert settings.source == str(ini)


def test_the_built_in_defaults_stay_on_loopback_and_serve_their_own_page() -> None:
    settings = config.defaults()
    assert addresses(settings) == [("http", "127.0.0.1", 9000), ("stomp", "127.0.0.1", 61613)]
    assert [str(rule) for rule in settings.access] == ["self -> localhost:61613"]
    assert settings.ping_interval_s == 20
    assert settings.history is not None
    assert settings.history.rules == (HistoryRule("/topic/chat*", 1000, 7 * 86400.0),)
    assert settings.history.file is None, "nothing is written where nobody has asked for it"
    assert settings.chat == ChatPolicy(messages_per_second=10, burst=50)
    assert settings.source == "built-in defaults"


def test_a_file_of_one_line_leaves_every_other_setting_at_its_default(ini: Path) -> None:
    settings = read(ini, LISTEN)
    listener = Listener(
        "http", "", 9000, None, SourceLine(str(ini), 2, "http://:9000", "", "listen")
    )
    assert settings == Settings(
        listeners=(listener,),
        access=(),
        ping_interval_s=20.0,
        ping_timeout_s=20.0,
        user=None,
        user_line=None,
        group=None,
        group_line=None,
        hosts=(),
        origin_required=False,
        tls=None,
        static={},
        message_log=None,
        message_log_line=None,
        limits=Limits(),
        broker_limits=BrokerLimits(max_bytes=QUARTER_OF_MEMORY),
        pubsub={},
        history=None,
        chat=ChatPolicy(
            grace_s=5.0,
            rooms=("/topic/chat", "/topic/chat.*"),
            max_text_chars=4000,
            limits_programs=False,
            max_nick_chars=32,
            nick_must_match=True,
            messages_per_second=0.0,
            burst=1,
        ),
        proxy=ProxySettings(
            connect_timeout_s=10.0,
            max_message_bytes=16 * 1024 * 1024,
            handshake_timeout_s=10.0,
            idle_timeout_s=0.0,
            max_connections=10_000,
            max_per_target=0,
            max_per_source=0,
            private_names=True,
            max_http=20_000,
            max_http_per_source=10_000,
        ),
        front=FrontSettings(AddressList(), False),
        source=str(ini),
    )


def test_settings_cannot_be_changed(ini: Path) -> None:
    settings = read(ini, LISTEN)
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.user = "root"  # type: ignore[misc]
    with pytest.raises(TypeError):
        settings.static["x"] = ini  # type: ignore[index]


def test_indented_lines_are_lines_of_their_own(ini: Path) -> None:
    settings = read(ini, "  [listen]\n\thttp://:9000\n\t\tstomp://:61613\n [access]\n  * -> a:1\n")
    assert addresses(settings) == [("http", "", 9000), ("stomp", "", 61613)]
    assert [str(rule) for rule in settings.access] == ["* -> a:1"]


def test_an_indented_line_does_not_join_the_value_above_it(ini: Path) -> None:
    settings = read(ini, f"{LISTEN}[global]\nuser = nobody\n    group = nogroup\n")
    assert (settings.user, settings.group) == ("nobody", "nogroup")


def test_comments_stand_at_the_start_of_a_line_or_after_white_space(ini: Path) -> None:
    settings = read(
        ini,
        "; first\n[listen] # the ports\n  # indented\nhttp://:9000 # page\n"
        "[global]\nuser = no#body # and a comment\ngroup = a;b ; c\n",
    )
    assert addresses(settings) == [("http", "", 9000)]
    assert (settings.user, settings.group) == ("no#body", "a;b ; c")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_every_line_end_of_every_editor_counts_one_line(ini: Path, end: str) -> None:
    text = end.join(["[listen]", "http://:9000", "", "[global]", "user = nobody"])
    source_line = read(ini, text).user_line
    assert source_line == SourceLine(str(ini), 5, "user", "nobody", "global")


def test_a_byte_order_mark_is_no_part_of_the_first_line(ini: Path) -> None:
    assert addresses(read(ini, "\N{BOM}" + LISTEN)) == [("http", "", 9000)]


def test_percent_signs_and_further_equal_signs_belong_to_the_value(ini: Path) -> None:
    settings = read(ini, "[listen]\nhttp = tcp:9000:interface=%h\n")
    assert settings.listeners[0].endpoint == "tcp:9000:interface=%h"


def test_a_default_section_does_not_exist(ini: Path) -> None:
    assert refused(ini, LISTEN + "[DEFAULT]\nuser = root\n") == (
        "chat.ini:3: [DEFAULT] is not a known section; the sections are [listen], [access], "
        "[global], [ssl], [static], [log], [broker], [pubsub], [history], [presence], [chat], "
        "[rate], [proxy], [front]"
    )


# ---------------------------------------------------------------- the file itself


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        config.load(tmp_path / "none.ini")
    assert str(error.value) == (
        f"{tmp_path}/none.ini: there is no such file; check the path, or start without --config "
        "to use the built-in defaults"
    )


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        config.load(tmp_path)
    assert str(error.value) == f"{tmp_path}: this is a folder; name the file in it"


def test_a_file_that_may_not_be_read_is_named(ini: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, mode: str) -> object:
        raise PermissionError(errno.EACCES, "Permission denied")

    # The tests may run as root, who can read everything.
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ConfigError) as error:
        config.load(ini)
    assert str(error.value) == (
        f"{ini}: the file cannot be read (Permission denied); check the path and its permissions"
    )


def test_a_path_that_no_system_takes_is_an_error_and_no_traceback() -> None:
    with pytest.raises(ConfigError, match="the file cannot be read"):
        config.load(Path("chat\0.ini"))


def test_a_file_that_is_not_utf_8_is_named_with_its_line(ini: Path) -> None:
    ini.write_bytes(b"[listen]\nhttp://:9000\n# caf\xe9\n")
    with pytest.raises(ConfigError) as error:
        config.load(ini)
    assert str(error.value) == f"{ini}:3: byte 0xe9 is not UTF-8; save the file as UTF-8"


def test_a_file_of_more_than_a_mebibyte_is_no_chat_ini(ini: Path) -> None:
    assert refused(ini, LISTEN + "#" * 1024 * 1024) == (
        "chat.ini: the file is larger than 1 MiB; this is not a chat.ini"
    )


# ---------------------------------------------------------------- the form of the text


@pytest.mark.parametrize(
    "text, error",
    [
        (
            "http://:9000\n[listen]\n",
            "chat.ini:1: http://:9000 stands before any section; begin with a line such as "
            "[listen]",
        ),
        (
            LISTEN + "[global]\nuser = a\n\nuser = b\n",
            "chat.ini:6: [global] user stands in line 4 already; keep one of them",
        ),
        (
            LISTEN + "http://:9000\n",
            "chat.ini:3: [listen] http://:9000 stands in line 2 already; keep one of them",
        ),
        (
            LISTEN + "[global]\n[listen]\nstomp://:1\n",
            "chat.ini:4: [listen] begins in line 1 already; move these lines there",
        ),
        (LISTEN + "= 7\n", "chat.ini:3: = 7 has no key before the =; write key = value"),
        (
            "[listen\nhttp://:9000\n",
            "chat.ini:1: [listen is not a section; write its name alone in brackets, such as "
            "[listen]",
        ),
        (
            "[listen] http://:9000\n",
            "chat.ini:1: [listen] http://:9000 is not a section; write its name alone in "
            "brackets, such as [listen]",
        ),
        (
            LISTEN + "[global]\nuser = no\0body\n",
            "chat.ini:4: the line has a control character (U+0000); remove it",
        ),
        (
            "",
            "chat.ini: there is nothing to listen on; write a section [listen] with a line such "
            "as http://127.0.0.1:9000",
        ),
        (
            "[access]\n\n[listen]\n# http://:9000\n",
            "chat.ini:3: there is nothing to listen on; write a section [listen] with a line such "
            "as http://127.0.0.1:9000",
        ),
    ],
)
def test_a_text_of_the_wrong_form_is_refused(ini: Path, text: str, error: str) -> None:
    assert refused(ini, text) == error


@pytest.mark.parametrize(
    "text, error",
    [
        (
            "[listens]\n",
            "chat.ini:1: [listens] is not a known section; did you mean [listen]?",
        ),
        ("[Listen]\n", "chat.ini:1: [Listen] is not a known section; did you mean [listen]?"),
        (
            LISTEN + "\n[users]\n",
            "chat.ini:4: [users] is not a known section; the sections are [listen], [access], "
            "[global], [ssl], [static], [log], [broker], [pubsub], [history], [presence], [chat], "
            "[rate], [proxy], [front]",
        ),
        (
            LISTEN + "[global]\n\n# comment\nsession.ping_intervall = 20\n",
            "chat.ini:6: [global] session.ping_intervall is not a known key; "
            "did you mean session.ping_interval?",
        ),
        (
            LISTEN + "[global]\nUser = nobody\n",
            "chat.ini:4: [global] User is not a known key; did you mean user?",
        ),
        (
            LISTEN + "[global]\ncrt = server.pem\n",
            "chat.ini:4: [global] crt is not a known key; it belongs in [ssl]",
        ),
        (
            LISTEN + "[proxy]\nserver-header = no\n",
            "chat.ini:4: [proxy] server-header is not a known key; "
            "did you mean server_header in [broker]?",
        ),
        (
            LISTEN + "[ssl]\nzzz\n",
            "chat.ini:4: [ssl] zzz is not a known key; the keys of [ssl] are crt, key, chain",
        ),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest_known_one(
    ini: Path, text: str, error: str
) -> None:
    assert refused(ini, text) == error


# ---------------------------------------------------------------- [listen]


@pytest.mark.parametrize(
    "line, kind, host, port",
    [
        ("http://:9000", "http", "", 9000),
        ("HTTP://LOCALHOST:9000", "http", "localhost", 9000),
        ("http://127.0.0.1:1", "http", "127.0.0.1", 1),
        ("http://[::1]:65535", "http", "::1", 65535),
        ("http://chat.example.com.:80/", "http", "chat.example.com", 80),
        ("stomp://:61613", "stomp", "", 61613),
        ("stomp://0.0.0.0:61613", "stomp", "0.0.0.0", 61613),
    ],
)
def test_a_url_is_an_address_to_listen_on(
    ini: Path, line: str, kind: str, host: str, port: int
) -> None:
    (listener,) = read(ini, f"[listen]\n{line}\n").listeners
    assert (listener.kind, listener.host, listener.port) == (kind, host, port)
    assert listener.endpoint is None
    assert listener.source_line == SourceLine(str(ini), 2, line, "", "listen")


def test_an_endpoint_is_kept_as_text(ini: Path) -> None:
    http, stomp = read(
        ini, "[listen]\nhttp = unix:/run/rtchat.sock\nstomp = tcp:61613:interface=\\:\\:1\n"
    ).listeners
    assert http == Listener(
        "http",
        "",
        0,
        "unix:/run/rtchat.sock",
        SourceLine(str(ini), 2, "http", "unix:/run/rtchat.sock", "listen"),
    )
    assert (stomp.kind, stomp.endpoint) == ("stomp", "tcp:61613:interface=\\:\\:1")


@pytest.mark.parametrize(
    "line, error",
    [
        ("http://", "http:// has no port; write http://:9000"),
        ("http://localhost", "http://localhost has no port; write http://localhost:9000"),
        ("stomp://[::1]:", "stomp://[::1]: has no port; write stomp://[::1]:61613"),
        ("http://:0", "http://:0 has the port 0; use a number from 1 to 65535"),
        ("http://:65536", "http://:65536 has the port 65536; use a number from 1 to 65535"),
        ("http://:web", "http://:web has the port web; use a number from 1 to 65535"),
        ("http://:-1", "http://:-1 has the port -1; use a number from 1 to 65535"),
        (
            "http://*:9000",
            "http://*:9000 has a wildcard; write http://:9000 for every interface",
        ),
        (
            "http://a b:9000",
            "http://a b:9000 has no usable host ('a b' has a space or control character); "
            "write http://127.0.0.1:9000, or http://:9000 for every interface",
        ),
        (
            "http://[::g]:9000",
            "http://[::g]:9000 has no usable host ('[::g]' is not an IPv6 address); "
            "write http://127.0.0.1:9000, or http://:9000 for every interface",
        ),
        (
            "http://::1:9000",
            "http://::1:9000 is not clear; write an IPv6 address in brackets: http://[::1]:9000",
        ),
        (
            "http://:9000/chat",
            "http://:9000/chat is not an address to listen on; "
            "write http://HOST:PORT, https://…, stomp://… or stomps://…",
        ),
        (
            ":9000",
            ":9000 is not an address to listen on; "
            "write http://HOST:PORT, https://…, stomp://… or stomps://…",
        ),
        (
            "stmp://:61613",
            "stmp://:61613 is not an address to listen on; did you mean stomp://:61613 ?",
        ),
        (
            "http://:9000 = 1",
            "http://:9000 = 1 is not an address to listen on; "
            "write http://HOST:PORT, https://…, stomp://… or stomps://…",
        ),
        ("http =", "http has no endpoint; write one, such as http = unix:/run/rtchat.sock"),
        (
            "https = tcp:9443",
            "https = tcp:9443 takes no endpoint; write http = "
            "ssl:PORT:privateKey=FILE:certKey=FILE, or https://:PORT and a section [ssl]",
        ),
        (
            "https://:9443",
            "https://:9443 needs a certificate; write a section [ssl] with crt and key",
        ),
        (
            "stomps://:61614",
            "stomps://:61614 needs a certificate; write a section [ssl] with crt and key",
        ),
    ],
)
def test_a_line_that_is_no_address_is_refused(ini: Path, line: str, error: str) -> None:
    assert refused(ini, f"[listen]\n\n{line}\n") == f"chat.ini:3: [listen] {error}"


@pytest.mark.parametrize(
    "one, other",
    [
        ("http://:9000", "stomp://:9000"),
        ("http://:9000", "http://127.0.0.1:9000"),
        ("http://localhost:9000", "http://0.0.0.0:9000"),
        ("http://localhost:9000", "http://LOCALHOST.:9000"),
        ("http://[::1]:9000", "http://[::]:9000"),
        ("http = unix:/run/a", "stomp = unix:/run/a"),
    ],
)
def test_two_listeners_on_one_address_are_refused(ini: Path, one: str, other: str) -> None:
    assert refused(ini, f"[listen]\n{one}\n{other}\n") == (
        f"chat.ini:3: [listen] {other} takes the same address as line 2 ({one}); give each its own"
    )


@pytest.mark.parametrize(
    "one, other",
    [
        ("http://:9000", "http://:9001"),
        ("http://127.0.0.1:9000", "http://127.0.0.2:9000"),
        ("http://127.0.0.1:9000", "http://[::1]:9000"),
        ("http://:9000", "http://[::1]:9000"),
        ("http = unix:/run/a", "stomp = unix:/run/b"),
        ("http = unix:/run/a", "http://:9000"),
    ],
)
def test_two_listeners_that_may_go_together_are_kept(ini: Path, one: str, other: str) -> None:
    assert len(read(ini, f"[listen]\n{one}\n{other}\n").listeners) == 2


def test_a_place_makes_the_error_for_a_port_that_is_taken(ini: Path) -> None:
    (listener,) = read(ini, LISTEN).listeners
    error = listener.source_line.error("is taken; stop the other server or choose another port")
    assert str(error) == (
        f"{ini}:2: [listen] http://:9000 is taken; stop the other server or choose another port"
    )
    assert (error.file, error.line) == (str(ini), 2)


def test_a_place_without_a_section_writes_the_setting_alone() -> None:
    assert str(SourceLine("chat.ini", 2, "user", "nobody")) == "user = nobody"


# ---------------------------------------------------------------- [access]


def test_rules_keep_the_order_of_the_file(ini: Path) -> None:
    settings = read(
        ini,
        f"{LISTEN}[access]\nself -> localhost:61613\n[::1]:9000 -> [::1]:61613\n"
        "example.com -> irc.example.com:6667\n* -> localhost\n",
    )
    assert [str(rule) for rule in settings.access] == [
        "self -> localhost:61613",
        "[::1]:9000 -> [::1]:61613",
        "example.com -> irc.example.com:6667",
        "* -> localhost:80",
    ]


@pytest.mark.parametrize(
    "line, error",
    [
        (
            "localhost:61613",
            "localhost:61613 is not a rule: "
            "a rule is SOURCE -> HOST:PORT, such as self -> localhost:61613",
        ),
        (
            "* => localhost:61613",
            "* = > localhost:61613 is not a rule: "
            "a rule is SOURCE -> HOST:PORT, such as self -> localhost:61613",
        ),
        (
            "* -> localhost:99999",
            "* -> localhost:99999 is not a rule: the port 99999 is out of range; use 1 to 65535",
        ),
        (
            "* -> *:80",
            "* -> *:80 is not a rule: "
            "'*:80' has '*' in it; wildcards are not supported; write the whole host",
        ),
    ],
)
def test_a_line_that_is_no_rule_is_refused(ini: Path, line: str, error: str) -> None:
    assert refused(ini, f"{LISTEN}[access]\n{line}\n") == f"chat.ini:4: [access] {error}"


# ---------------------------------------------------------------- [global]


@pytest.mark.parametrize("text, value", [("20", 20.0), ("0.5", 0.5), ("0", 0.0), ("86400", 86400)])
def test_the_ping_interval_and_timeout_are_seconds(ini: Path, text: str, value: float) -> None:
    assert with_global(ini, f"session.ping_interval = {text}").ping_interval_s == value
    assert with_global(ini, f"session.ping_timeout = {text}").ping_timeout_s == value


@pytest.mark.parametrize("value", ["86401", "0.05", "-1", "soon", "20 s", "nan", "inf", "1e3"])
def test_a_ping_interval_out_of_range_is_refused(ini: Path, value: str) -> None:
    text = f"{LISTEN}[global]\nsession.ping_interval = {value}\n"
    assert refused(ini, text) == (
        f"chat.ini:4: [global] session.ping_interval = {value} cannot be used; "
        "write 0 or a number of seconds from 0.1 to 86400"
    )


def test_user_and_group_come_with_their_places(ini: Path) -> None:
    settings = with_global(ini, "user = nobody\ngroup = nogroup")
    assert (settings.user, settings.group) == ("nobody", "nogroup")
    assert settings.user_line == SourceLine(str(ini), 4, "user", "nobody", "global")
    assert settings.group_line == SourceLine(str(ini), 5, "group", "nogroup", "global")


@pytest.mark.parametrize("key", ["user", "group", "hosts"])
def test_a_name_without_value_is_refused(ini: Path, key: str) -> None:
    assert refused(ini, f"{LISTEN}[global]\n{key} =\n") == (
        f"chat.ini:4: [global] {key} has no value; write {key} = …, or remove the line"
    )


@pytest.mark.parametrize(
    "text, hosts",
    [
        ("chat.example.com", ("chat.example.com",)),
        ("Chat.Example.COM., b.example", ("chat.example.com", "b.example")),
        ("a.example b.example,c.example ,", ("a.example", "b.example", "c.example")),
        ("a.example A.example", ("a.example",)),
    ],
)
def test_hosts_are_separated_by_commas_or_spaces(
    ini: Path, text: str, hosts: tuple[str, ...]
) -> None:
    assert with_global(ini, f"hosts = {text}").hosts == hosts


@pytest.mark.parametrize(
    "value, reason",
    [
        (
            "*.example.com",
            "'*.example.com' has '*' in it; wildcards are not supported; write the whole host",
        ),
        ("a.example:9000", "'a.example:9000' is neither a host name nor an IPv6 address"),
        ("http://a", "'http://a' has '/' in it; leave out scheme and path"),
    ],
)
def test_hosts_that_are_no_names_are_refused(ini: Path, value: str, reason: str) -> None:
    assert refused(ini, f"{LISTEN}[global]\nhosts = {value}\n") == (
        f"chat.ini:4: [global] hosts = {value} is not a list of host names ({reason}); "
        "write names without port, such as chat.example.com"
    )


def test_hosts_without_a_name_are_refused(ini: Path) -> None:
    assert refused(ini, f"{LISTEN}[global]\nhosts = ,\n") == (
        "chat.ini:4: [global] hosts = , has no name in it; write one, such as chat.example.com"
    )


@pytest.mark.parametrize(
    "text, value", [("yes", True), ("on", True), ("True", True), ("no", False), ("0", False)]
)
def test_origin_required_is_yes_or_no(ini: Path, text: str, value: bool) -> None:
    assert with_global(ini, f"origin.required = {text}").origin_required is value


def test_what_is_neither_yes_nor_no_is_refused(ini: Path) -> None:
    assert refused(ini, f"{LISTEN}[global]\norigin.required = maybe\n") == (
        "chat.ini:4: [global] origin.required = maybe is neither; write yes or no"
    )


# ---------------------------------------------------------------- [ssl]


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
    assert settings.tls == TlsFiles(pem / "server.crt", pem / "server.key", None)


def test_the_chain_is_a_file_too(ini: Path, pem: Path) -> None:
    settings = read(
        ini, f"{SSL}crt = tls/server.crt\nkey = tls/server.key\nchain = tls/chain.pem\n"
    )
    assert settings.tls == TlsFiles(pem / "server.crt", pem / "server.key", pem / "chain.pem")


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
        config.load(ini)
    assert str(error.value) == (
        f"{ini}:6: [ssl] key = tls/server.key cannot be read (Permission denied); "
        "change its permissions or the path"
    )


def test_a_path_too_long_for_the_system_is_an_error_and_no_traceback(ini: Path) -> None:
    name = "x" * 5000
    assert f"[ssl] crt = {name} does not exist" in refused(ini, f"{SSL}crt = {name}\nkey = k\n")


# ---------------------------------------------------------------- [static] and [log]


def test_static_mounts_folders_and_files_relative_to_the_ini(ini: Path, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "robots.txt").write_text("")
    settings = read(ini, f"{LISTEN}[static]\nimg = pictures\nrobots.txt = robots.txt\n")
    assert dict(settings.static) == {
        "img": tmp_path / "pictures",
        "robots.txt": tmp_path / "robots.txt",
    }


def test_paths_are_absolute_even_when_the_ini_is_named_relatively(
    ini: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ini.write_text(f"{LISTEN}[log]\nmessages = chat.log\n")
    settings = config.load(Path("chat.ini"))
    assert settings.message_log == tmp_path / "chat.log"
    assert settings.source == "chat.ini"


@pytest.mark.parametrize(
    "name", ["static", "ws", "stomp", "tcp", "embed", "health", "metrics", "Status"]
)
def test_a_mount_cannot_take_a_path_of_rtchats_own(ini: Path, name: str) -> None:
    assert refused(ini, f"{LISTEN}[static]\n{name} = .\n") == (
        f"chat.ini:4: [static] {name} = . takes the path /{name}, which rtchat needs; "
        "choose another name"
    )


@pytest.mark.parametrize("name", ["/img", "a/b", "..", ".hidden", "a b", "img?", "%41", "-x"])
def test_a_mount_is_one_part_of_a_url(ini: Path, name: str) -> None:
    assert refused(ini, f"{LISTEN}[static]\n{name} = .\n") == (
        f"chat.ini:4: [static] {name} = . has a name that is no part of a URL; "
        "use letters, digits, '.', '_' and '-', beginning with a letter or digit"
    )


def test_a_mount_that_does_not_exist_is_refused(ini: Path) -> None:
    assert refused(ini, f"{LISTEN}[static]\nimg = pictures\n") == (
        "chat.ini:4: [static] img = pictures does not exist; write the path of a folder or file "
        "(pictures was tried)"
    )


def test_a_mount_that_may_not_be_read_is_refused(
    ini: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert refused(ini, f"{LISTEN}[static]\nimg = .\n") == (
        "chat.ini:4: [static] img = . cannot be read; change its permissions or the path"
    )


def test_the_message_log_need_not_exist_yet(ini: Path, tmp_path: Path) -> None:
    settings = read(ini, f"{LISTEN}[log]\nmessages = chat.jsonl\n")
    assert settings.message_log == tmp_path / "chat.jsonl"
    assert not (tmp_path / "chat.jsonl").exists()


def test_a_message_log_needs_its_folder(ini: Path) -> None:
    assert refused(ini, f"{LISTEN}[log]\nmessages = logs/chat.jsonl\n") == (
        "chat.ini:4: [log] messages = logs/chat.jsonl stands in no folder; "
        "create logs or change the path"
    )


def test_a_message_log_is_no_folder(ini: Path, tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    assert refused(ini, f"{LISTEN}[log]\nmessages = logs\n") == (
        "chat.ini:4: [log] messages = logs is a folder; write the path of a file in it"
    )


def test_a_message_log_must_be_writable(
    ini: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []

    def refuse(path: Path, mode: int) -> bool:
        asked.append(path)
        return mode & os.W_OK == 0

    monkeypatch.setattr(os, "access", refuse)
    error = (
        "chat.ini:4: [log] messages = chat.jsonl cannot be written; "
        "change the permissions or the path"
    )
    assert refused(ini, f"{LISTEN}[log]\nmessages = chat.jsonl\n") == error
    (tmp_path / "chat.jsonl").write_text("")
    assert refused(ini, f"{LISTEN}[log]\nmessages = chat.jsonl\n") == error
    assert asked == [tmp_path, tmp_path / "chat.jsonl"]


# ---------------------------------------------------------------- [broker] and [proxy]


@pytest.mark.parametrize(
    "line, changed",
    [
        ("login.timeout = 2.5", {"login_timeout_s": 2.5}),
        ("login.max_bytes = 2048", {"max_login_bytes": 2048}),
        ("frame.max_bytes = 1 MiB", {"max_frame_bytes": 1024 * 1024}),
        ("header.max_count = 50", {"max_headers": 50}),
        ("header.max_bytes = 4 KiB", {"max_header_bytes": 4096}),
        ("subscription.max_count = 7", {"max_subscriptions": 7}),
        ("backlog.max_bytes = 1 GiB", {"max_backlog_bytes": 1024**3}),
        ("heartbeat.send_ms = 0", {"heartbeat_send_ms": 0}),
        ("heartbeat.receive_ms = 5000", {"heartbeat_receive_ms": 5000}),
        ("heartbeat.min_ms = 100", {"min_heartbeat_ms": 100}),
        ("server_header = no", {"show_server": False}),
        ("transaction.max_count = 2", {"max_transactions": 2}),
        ("transaction.max_actions = 3", {"max_transaction_actions": 3}),
        ("prefetch.count = 0", {"prefetch": 0}),
        ("prefetch.count = 65535", {"prefetch": 65535}),
    ],
)
def test_a_key_of_broker_changes_its_limit_and_no_other(
    ini: Path, line: str, changed: dict[str, float]
) -> None:
    assert with_broker(ini, line) == dataclasses.replace(Limits(), **changed)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "line,changed",
    [
        ("queue.max_messages = 5", {"max_queue_messages": 5}),
        ("queue.max_bytes = 1 KiB", {"max_queue_bytes": 1024}),
        ("redelivery.max_count = 0", {"max_deliveries": 0}),
        ("redelivery.max_count = 7", {"max_deliveries": 7}),
        ("memory.max_bytes = 2 MiB", {"max_bytes": 2 * 1024 * 1024}),
    ],
)
def test_a_key_of_broker_changes_what_all_sessions_share(
    ini: Path, line: str, changed: dict[str, int]
) -> None:
    limits = read(ini, f"{LISTEN}[broker]\n{line}\n").broker_limits
    assert limits == dataclasses.replace(BrokerLimits(max_bytes=QUARTER_OF_MEMORY), **changed)


def test_every_limit_has_a_key(ini: Path) -> None:
    fields = {field.name for field in dataclasses.fields(Limits)}
    assert {name for name, _ in SESSION_KEYS.values()} == fields
    shared = {field.name for field in dataclasses.fields(BrokerLimits)}
    assert {name for name, _ in BROKER_KEYS.values()} == shared


def test_pubsub_names_the_queues_that_get_copies(ini: Path) -> None:
    lines = "orders = /queue/a, /queue/b,/queue/a\nnews=/queue/c\n"
    assert read(ini, f"{LISTEN}[pubsub]\n{lines}").pubsub == {
        "orders": ("/queue/a", "/queue/b"),
        "news": ("/queue/c",),
    }


@pytest.mark.parametrize(
    "line,error",
    [
        (
            "orders = /queue/a, /topic/b",
            "names /topic/b where a queue belongs; write /queue/NAME, several with commas "
            "between them",
        ),
        (
            "orders = /queue/a,,/queue/b",
            "names nothing where a queue belongs; write /queue/NAME, several with commas "
            "between them",
        ),
        (
            "a/b = /queue/a",
            "is not a name; write letters, digits, dots, dashes and underscores, such as "
            "orders = /queue/billing, /queue/shipping",
        ),
    ],
)
def test_a_pubsub_line_that_cannot_be_used_is_named(ini: Path, line: str, error: str) -> None:
    text = f"{LISTEN}[pubsub]\n{line}\n"
    assert refused(ini, text) == f"chat.ini:4: [pubsub] {line} {error}"


@pytest.mark.parametrize("text", ["4096", "4KiB", "4 KiB", "4  kib"])
def test_a_size_is_bytes_or_has_a_unit(ini: Path, text: str) -> None:
    assert with_broker(ini, f"frame.max_bytes = {text}").max_frame_bytes == 4096


@pytest.mark.parametrize(
    "line, error",
    [
        ("login.timeout = 0", "write a number of seconds from 0.1 to 3600"),
        ("header.max_count = 9", "write a number of headers from 10 to 100000"),
        ("header.max_count = 10.5", "write a number of headers from 10 to 100000"),
        ("subscription.max_count = 0", "write a number of subscriptions from 1 to 1000000"),
        ("heartbeat.send_ms = 99", "write 0 or a number of milliseconds from 100 to 3600000"),
        (
            "heartbeat.receive_ms = 3600001",
            "write 0 or a number of milliseconds from 100 to 3600000",
        ),
        ("heartbeat.min_ms = 0", "write a number of milliseconds from 100 to 3600000"),
    ],
)
def test_a_number_out_of_range_is_refused_with_range_and_unit(
    ini: Path, line: str, error: str
) -> None:
    text = f"{LISTEN}[broker]\n{line}\n"
    assert refused(ini, text) == f"chat.ini:4: [broker] {line} cannot be used; {error}"


@pytest.mark.parametrize(
    "line, error",
    [
        (
            "frame.max_bytes = 4 MB",
            "is not a size; write a number of bytes, or a number with KiB, MiB or GiB",
        ),
        (
            "frame.max_bytes = 1.5 MiB",
            "is not a size; write a number of bytes, or a number with KiB, MiB or GiB",
        ),
        ("frame.max_bytes = 1023", "is out of range; write 1 KiB to 1 GiB"),
        ("frame.max_bytes = 2 GiB", "is out of range; write 1 KiB to 1 GiB"),
        ("header.max_bytes = 255", "is out of range; write 256 bytes to 1 MiB"),
        ("backlog.max_bytes = -1 KiB", "is out of range; write 1 KiB to 1 GiB"),
        ("server_header = maybe", "is neither; write yes or no"),
    ],
)
def test_a_size_out_of_range_is_refused_with_its_range(ini: Path, line: str, error: str) -> None:
    assert refused(ini, f"{LISTEN}[broker]\n{line}\n") == f"chat.ini:4: [broker] {line} {error}"


def test_the_proxy_has_a_time_out_and_a_message_size(ini: Path) -> None:
    text = f"{LISTEN}[proxy]\nconnect.timeout = 2\nmessage.max_bytes = 64 KiB\n"
    assert read(ini, text).proxy == ProxySettings(2.0, 65536)


def test_the_proxy_has_time_outs_caps_and_a_word_on_private_names(ini: Path) -> None:
    text = (
        f"{LISTEN}[proxy]\nhandshake.timeout = 5\nidle.timeout = 3600\n"
        "connections.total = 500\nconnections.per_target = 50\nconnections.per_source = 5\n"
        "private.names = no\nhttp.connections.total = 700\nhttp.connections.per_source = 70\n"
    )
    assert read(ini, text).proxy == ProxySettings(
        handshake_timeout_s=5.0,
        idle_timeout_s=3600.0,
        max_connections=500,
        max_per_target=50,
        max_per_source=5,
        private_names=False,
        max_http=700,
        max_http_per_source=70,
    )


@pytest.mark.parametrize(
    "line, remedy",
    [
        ("handshake.timeout = 0", "write a number of seconds from 0.1 to 600"),
        ("idle.timeout = -1", "write 0 or a number of seconds from 0.1 to 604800"),
        ("connections.total = 1.5", "write 0 or a number of connections from 1 to 1000000"),
        ("connections.per_target = x", "write 0 or a number of connections from 1 to 1000000"),
        ("connections.per_source = -1", "write 0 or a number of connections from 1 to 1000000"),
        ("http.connections.total = 1.5", "write 0 or a number of connections from 1 to 1000000"),
        ("http.connections.per_source = x", "write 0 or a number of connections from 1 to 1000000"),
    ],
)
def test_a_proxy_value_out_of_range_is_refused(ini: Path, line: str, remedy: str) -> None:
    assert refused(ini, f"{LISTEN}[proxy]\n{line}\n") == (
        f"chat.ini:4: [proxy] {line} cannot be used; {remedy}"
    )


# ---------------------------------------------------------------- [access]: the way to a target


def test_a_unix_socket_is_a_path_that_starts_at_the_folder_of_the_file(ini: Path) -> None:
    text = LISTEN + "[access]\nself -> unix:app = run/app.sock proxy\nself -> unix:x = /run/x\n"
    first, second = read(ini, text).access
    assert first.path == str(ini.parent / "run/app.sock")
    assert first.has_proxy_header
    assert second.path == "/run/x"


@pytest.mark.parametrize(
    "first, second, target",
    [
        ("self -> db:25", "* -> db:25 proxy", "db:25"),
        ("self -> unix:app = /run/a", "* -> unix:APP = /run/b", "unix:app"),
    ],
)
def test_two_rules_for_one_target_reach_it_in_one_way(
    ini: Path, first: str, second: str, target: str
) -> None:
    assert refused(ini, f"{LISTEN}[access]\n{first}\n{second}\n") == (
        f"chat.ini:5: [access] {second} reaches {target} in another way than line 4 ({first}); "
        "write the same behind the -> in both"
    )


# ---------------------------------------------------------------- [front]


def test_front_proxies_are_addresses_networks_and_unix(ini: Path) -> None:
    text = LISTEN + "[front]\ntrusted = 10.0.0.0/8, 127.0.0.1 ::1,unix\n"
    front = read(ini, text).front
    assert not front.has_proxy_header
    assert all(host in front.trusted for host in ("10.9.9.9", "127.0.0.1", "::1", None))
    assert "127.0.0.2" not in front.trusted


@pytest.mark.parametrize(
    "value, has_header", [("proxy", True), ("PROXY", True), ("X-Forwarded-For", False)]
)
def test_front_proxies_speak_one_of_two_protocols(ini: Path, value: str, has_header: bool) -> None:
    text = f"{LISTEN}[front]\ntrusted = 127.0.0.1\nprotocol = {value}\n"
    assert read(ini, text).front.has_proxy_header is has_header


@pytest.mark.parametrize(
    "lines, problem",
    [
        (
            "protocol = proxy",
            "protocol = proxy trusts nobody; write trusted = … with the addresses of the front "
            "proxies, too",
        ),
        (
            "trusted = 127.0.0.1\nprotocol = http",
            "protocol = http is neither; write x-forwarded-for or proxy",
        ),
        ("trusted = ,", "trusted = , has no address in it; write one, such as 127.0.0.1"),
        ("trusted =", "trusted has no value; write trusted = …, or remove the line"),
        (
            "trusted = nginx",
            "trusted = nginx is not a list of addresses ('nginx' does not appear to be an IPv4 or "
            "IPv6 network); write addresses, networks such as 10.0.0.0/8, or unix",
        ),
    ],
)
def test_front_proxies_that_cannot_be_read_are_refused(ini: Path, lines: str, problem: str) -> None:
    line = 3 + len(lines.splitlines())
    assert refused(ini, f"{LISTEN}[front]\n{lines}\n") == f"chat.ini:{line}: [front] {problem}"


def test_a_proxy_time_out_out_of_range_is_refused(ini: Path) -> None:
    assert refused(ini, f"{LISTEN}[proxy]\nconnect.timeout = 601\n") == (
        "chat.ini:4: [proxy] connect.timeout = 601 cannot be used; "
        "write a number of seconds from 0.1 to 600"
    )


# ---------------------------------------------------------------- history


def with_history(ini: Path, lines: str) -> HistorySettings:
    history = read(ini, f"{LISTEN}[history]\n{lines}\n").history
    assert history is not None
    return history


@pytest.mark.parametrize(
    "value, count, age_s",
    [
        ("1000, 7 days", 1000, 604800),
        ("1,1 second", 1, 1),
        ("5, 90 seconds", 5, 90),
        ("5, 30 minutes", 5, 1800),
        ("5, 1 HOUR", 5, 3600),
        ("1000000, 520 weeks", 1_000_000, 314496000),
        ("5, 7days", 5, 604800),
        ("5", 5, 0),
    ],
)
def test_a_line_of_history_is_a_count_and_an_age(
    ini: Path, value: str, count: int, age_s: float
) -> None:
    history = with_history(ini, f"/topic/chat* = {value}")
    assert history.rules == (HistoryRule("/topic/chat*", count, age_s),)
    assert history.file == ini.parent / "rtchat-history.sqlite"
    assert history.source_line.line == 4
    assert history.limits == HistoryLimits()
    assert not history.is_power_safe


def test_history_has_a_file_and_limits(ini: Path) -> None:
    history = with_history(
        ini,
        "/topic/b = 1, 1 day\n/topic/* = 2, 2 days\nfile = kept.sqlite\nsync = full\n"
        "file.max_bytes = 2 GiB\ndestinations.max_count = 5\ndestination.max_bytes = 1 MiB\n"
        "memory.max_bytes = 3 MiB",
    )
    assert [rule.pattern for rule in history.rules] == ["/topic/b", "/topic/*"]
    assert history.file == ini.parent / "kept.sqlite"
    assert history.source_line.line == 6
    assert history.is_power_safe
    assert history.max_file_bytes == 2 * 1024**3
    assert history.limits == HistoryLimits(5, 1024**2, 3 * 1024**2)


def test_history_may_be_in_memory(ini: Path) -> None:
    assert with_history(ini, "/topic/x = 1\nfile = :memory:").file is None


def test_an_empty_section_keeps_nothing(ini: Path) -> None:
    assert read(ini, f"{LISTEN}[history]\n").history is None


@pytest.mark.parametrize(
    "line, error",
    [
        ("/queue/a = 5", "keeps no topic; begin the line with /topic/, such as /topic/chat*"),
        ("/topic/ = 5", "keeps no topic; begin the line with /topic/, such as /topic/chat*"),
        ("/topic/a,/topic/b = 5", "names several; write a line for each of them"),
        (
            "/topic/a",
            "says nothing where a number of messages from 1 to 1000000 belongs; "
            "write /topic/a = 1000, 7 days",
        ),
        (
            "/topic/a = 0, 1 day",
            "says 0 where a number of messages from 1 to 1000000 belongs; "
            "write /topic/a = 1000, 7 days",
        ),
        (
            "/topic/a = 1000001",
            "says 1000001 where a number of messages from 1 to 1000000 "
            "belongs; write /topic/a = 1000, 7 days",
        ),
        (
            "/topic/a = 7 days",
            "says 7 days where a number of messages from 1 to 1000000 belongs; "
            "write /topic/a = 1000, 7 days",
        ),
        (
            "/topic/a = 5,",
            "says nothing where an age up to 10 years belongs; write seconds, "
            "minutes, hours, days or weeks, such as /topic/a = 5, 7 days",
        ),
        (
            "/topic/a = 5, 7 moons",
            "says 7 moons where an age up to 10 years belongs; write "
            "seconds, minutes, hours, days or weeks, such as /topic/a = 5, 7 days",
        ),
        (
            "/topic/a = 5, 0 days",
            "says 0 days where an age up to 10 years belongs; write "
            "seconds, minutes, hours, days or weeks, such as /topic/a = 5, 7 days",
        ),
        (
            "/topic/a = 5, 999999999 weeks",
            "says 999999999 weeks where an age up to 10 years "
            "belongs; write seconds, minutes, hours, days or weeks, such as /topic/a = 5, 7 days",
        ),
        ("file = x", "keeps nothing; write a line such as /topic/chat* = 1000, 7 days"),
    ],
)
def test_a_line_of_history_that_cannot_be_used_is_refused(ini: Path, line: str, error: str) -> None:
    assert refused(ini, f"{LISTEN}[history]\n{line}\n") == f"chat.ini:4: [history] {line} {error}"


@pytest.mark.parametrize(
    "line, error",
    [
        ("file =", "[history] file has no value; write file = …, or remove the line"),
        ("file = .", "[history] file = . is a folder; write the path of a file in it"),
        ("file = no/x", "[history] file = no/x stands in no folder; create no or change the path"),
        ("sync = half", "[history] sync = half is neither; write normal or full"),
        (
            "destinations.max_count = 0",
            "[history] destinations.max_count = 0 cannot be used; "
            "write a number of destinations from 1 to 1000000",
        ),
        (
            "destination.max_bytes = 1",
            "[history] destination.max_bytes = 1 is out of range; write 64 KiB to 1024 GiB",
        ),
        ("fiel = x", "[history] fiel is not a known key; did you mean file?"),
        (
            "topic/chat = 5",
            "[history] topic/chat is not a known key; the keys of [history] are "
            "file, sync, file.max_bytes, destinations.max_count, destination.max_bytes, "
            "memory.max_bytes",
        ),
    ],
)
def test_a_key_of_history_that_cannot_be_used_is_refused(ini: Path, line: str, error: str) -> None:
    text = refused(ini, f"{LISTEN}[history]\n/topic/x = 1\n{line}\n")
    assert text.startswith(f"chat.ini:5: {error}")


# ---------------------------------------------------------------- [presence], [chat], [rate]


@pytest.mark.parametrize(
    "section, line, changed",
    [
        ("presence", "grace = 0", {"grace_s": 0.0}),
        ("presence", "grace = 2.5", {"grace_s": 2.5}),
        (
            "chat",
            "rooms = /topic/team*, /topic/a,/topic/a",
            {"rooms": ("/topic/team*", "/topic/a")},
        ),
        (
            "chat",
            "text.max_characters = 4000",
            {"max_text_chars": 4000, "limits_programs": True},
        ),
        ("chat", "text.max_characters = 0", {"max_text_chars": 0, "limits_programs": True}),
        ("chat", "nick.max_characters = 12", {"max_nick_chars": 12}),
        ("chat", "nick.must_match = no", {"nick_must_match": False}),
        ("rate", "messages_per_second = 0", {}),
        ("rate", "messages_per_second = 10", {"messages_per_second": 10.0, "burst": 50}),
        ("rate", "messages_per_second = 0.1", {"messages_per_second": 0.1, "burst": 1}),
        (
            "rate",
            "messages_per_second = 2\nburst = 3",
            {"messages_per_second": 2.0, "burst": 3},
        ),
    ],
)
def test_a_key_about_people_changes_its_term_and_no_other(
    ini: Path, section: str, line: str, changed: dict[str, object]
) -> None:
    chat = read(ini, f"{LISTEN}[{section}]\n{line}\n").chat
    assert chat == dataclasses.replace(ChatPolicy(), **changed)  # type: ignore[arg-type]


def test_every_term_about_people_has_a_key() -> None:
    tables = (PRESENCE_KEYS, CHAT_KEYS, RATE_KEYS)
    names = {name for table in tables for name, _ in table.values()}
    fields = {field.name for field in dataclasses.fields(ChatPolicy)}
    assert names | {"limits_programs"} == fields


@pytest.mark.parametrize(
    "section, line, problem",
    [
        (
            "presence",
            "grace = 4000",
            "cannot be used; write 0 or a number of seconds from 0.1 to 3600",
        ),
        ("presence", "grace", "cannot be used; write 0 or a number of seconds from 0.1 to 3600"),
        ("chat", "rooms =", "has no value; write rooms = …, or remove the line"),
        (
            "chat",
            "rooms = /topic/a, /queue/b",
            "names /queue/b where a room belongs; write /topic/NAME, in which * stands for any "
            "letters, several with commas between them",
        ),
        (
            "chat",
            "rooms = /topic/a,",
            "names nothing where a room belongs; write /topic/NAME, in which * stands for any "
            "letters, several with commas between them",
        ),
        (
            "chat",
            "text.max_characters = -1",
            "cannot be used; write 0 or a number of characters from 1 to 10000000",
        ),
        (
            "chat",
            "nick.max_characters = 0",
            "cannot be used; write a number of characters from 1 to 1000",
        ),
        ("chat", "nick.must_match = maybe", "is neither; write yes or no"),
        (
            "rate",
            "messages_per_second = fast",
            "cannot be used; write 0 or a number of messages from 0.1 to 100000",
        ),
        ("rate", "burst = 3", "has no rate; write messages_per_second in [rate], too"),
        (
            "rate",
            "burst = 0.5",
            "cannot be used; write a number of messages from 1 to 1000000",
        ),
    ],
)
def test_a_value_about_people_that_cannot_be_used_is_named(
    ini: Path, section: str, line: str, problem: str
) -> None:
    shown = line.removesuffix(" =")
    error = f"chat.ini:4: [{section}] {shown} {problem}"
    assert refused(ini, f"{LISTEN}[{section}]\n{line}\n") == error


# ---------------------------------------------------------------- the page for people


def manual() -> str:
    path = Path(__file__).parent.parent / "docs" / "configuration.md"
    return path.read_text(encoding="utf-8")


def test_the_manual_names_every_section_and_key() -> None:
    text = manual()
    for section, keys in config._SECTIONS.items():
        assert f"## [{section}]" in text
        for key in keys:
            assert f"| `{key}` |" in text, key


def test_the_manual_shows_the_tutorials_file_and_the_defaults() -> None:
    assert f"```ini\n{TUTORIAL}```" in manual()
    assert f"```ini\n{config.DEFAULTS}```" in manual()


def test_every_example_of_the_manual_can_be_copied(ini: Path, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "robots.txt").write_text("")
    for name in ("cert.pem", "chain.pem"):
        (tmp_path / name).write_text(CERTIFICATE)
    (tmp_path / "key.pem").write_text(KEY)
    examples = re.findall(r"```ini\n(.*?)```", manual(), re.DOTALL)
    assert len(examples) >= 10
    for example in examples:
        assert read(ini, example if "[listen]" in example else LISTEN + example).listeners


@pytest.mark.parametrize("section", ["broker", "proxy", "history"])
def test_the_defaults_in_the_manual_are_the_defaults(ini: Path, section: str) -> None:
    text = manual().partition(f"## [{section}]\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([^`]+)` \| [^|]+ \| ([^|]+) \|", text, re.MULTILINE)
    assert len(rows) == len(config._SECTIONS[section])
    # The one default that no file could say.
    rows = [row for row in rows if row != ("memory.max_bytes", "a quarter of the machine's memory")]
    lines = "\n".join(f"{key} = {default}" for key, default in rows)
    if section == "history":
        lines = f"/topic/x = 1\n{lines}"
    settings = read(ini, f"{LISTEN}[{section}]\n{lines}\n")
    if settings.history is not None:
        usual = read(ini, f"{LISTEN}[history]\n/topic/x = 1\n").history
        assert usual is not None
        assert dataclasses.replace(settings.history, source_line=usual.source_line) == usual
    assert (settings.limits, settings.proxy) == (Limits(), ProxySettings())
    assert settings.broker_limits == BrokerLimits(max_bytes=QUARTER_OF_MEMORY)


@pytest.mark.parametrize("section", ["presence", "chat", "rate"])
def test_the_defaults_about_people_in_the_manual_are_the_defaults(ini: Path, section: str) -> None:
    text = manual().partition(f"## [{section}]\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `([^`]+)` \| [^|]+ \| ([^|]+) \|", text, re.MULTILINE)
    assert {key for key, _ in rows} == set(config._SECTIONS[section])
    # The one default that no file could say.
    rows = [row for row in rows if row != ("burst", "five seconds' worth")]
    lines = "\n".join(f"{key} = {default}" for key, default in rows)
    chat = read(ini, f"{LISTEN}[{section}]\n{lines}\n").chat
    assert dataclasses.replace(chat, limits_programs=False) == ChatPolicy()


# ---------------------------------------------------------------- any text at all

LINES = st.sampled_from(
    [
        *(f"[{name}]" for name in config._SECTIONS),
        *(f"{key} = {value}" for key in SESSION_KEYS for value in ("1", "4 KiB", "no", "")),
        *(f"{key} = {value}" for key in config._GLOBAL for value in ("1", "a.example", "=")),
        "http://:9000",
        "https://[::1]:1",
        "stomp = unix:x",
        "* -> a:1",
        "[::1] -> [::1]:1",
        "crt = .",
        "img = .",
        "/topic/chat* = 1000, 7 days",
        "/topic/chat* = 1000, 7 moons",
        "messages = chat.log",
        " = ",
        "[",
        "]",
        "[]",
        "[[listen]]",
        "#",
    ]
)


@given(
    st.binary()
    | st.text().map(str.encode)
    | st.lists(LINES | st.text(), max_size=12).map(lambda lines: "\n".join(lines).encode())
)
def test_any_file_gives_settings_or_a_config_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    ini = tmp_path_factory.getbasetemp() / "any.ini"
    ini.write_bytes(data)
    try:
        settings = config.load(ini)
    except ConfigError as refusal:
        error = refusal
    else:
        assert settings.listeners
        return
    assert str(error).startswith(str(ini))
    assert error.line <= data.count(b"\n") + data.count(b"\r") + 1
