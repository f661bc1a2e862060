"""Whole files: the defaults, the tutorial, files that cannot be read, any text at all."""

from __future__ import annotations

import dataclasses
import errno
from pathlib import Path

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.chat_ini import LISTEN, TUTORIAL, read, refused

from rtchat.config.ini import SourceLine
from rtchat.config.schema import Schema
from rtchat.core.access.addresses import AddressList
from rtchat.core.broker.limits import BrokerLimits
from rtchat.core.chat.limits import ChatPolicy
from rtchat.core.history.rules import HistoryRule
from rtchat.core.stomp.limits import Limits
from rtchat.errors import ConfigError
from rtchat.server import settings as config
from rtchat.server.access import AccessPart, AccessSettings
from rtchat.server.auth import AuthPart
from rtchat.server.auth_settings import AuthSettings
from rtchat.server.chat import ChatPart
from rtchat.server.front_proxy import FrontProxyPart, FrontSettings
from rtchat.server.gateway import GatewayPart, GatewaySettings
from rtchat.server.history import HistoryPart
from rtchat.server.lifecycle import DrainPart, LateModulesPart, ReadyPart, SignalsPart
from rtchat.server.listeners import Listener, ListenersPart, ListenSettings
from rtchat.server.message_log import LogSettings, MessageLogPart
from rtchat.server.privileges import PrivilegeSettings, PrivilegesPart
from rtchat.server.settings import Settings
from rtchat.server.stomp import BrokerPart, BrokerSettings, StompWebSocketPart, quarter_of_memory
from rtchat.server.tls import TlsFiles, TlsPart
from rtchat.server.web import WebPart, WebSettings
from rtchat.server.websocket import WebSocketPart, WebSocketSettings
from rtchat.tap import PARTS


def addresses(settings: Settings) -> list[tuple[str, str, int]]:
    return [(each.kind, each.host, each.port) for each in settings.of(ListenersPart).listeners]


def test_the_tutorials_file_is_read_verbatim(ini: Path) -> None:
    settings = read(ini, TUTORIAL)
    assert addresses(settings) == [("http", "", 9000), ("stomp", "", 61613)]
    assert [str(rule) for rule in settings.of(AccessPart).rules] == ["* -> localhost:61613"]
    assert settings.of(WebSocketPart).interval_s == 20
    assert settings.source == str(ini)


def test_the_built_in_defaults_stay_on_loopback_and_serve_their_own_page() -> None:
    settings = config.defaults(PARTS)
    assert addresses(settings) == [("http", "127.0.0.1", 9000), ("stomp", "127.0.0.1", 61613)]
    assert [str(rule) for rule in settings.of(AccessPart).rules] == ["self -> localhost:61613"]
    assert settings.of(WebSocketPart).interval_s == 20
    history = settings.of(HistoryPart)
    assert history is not None
    assert history.rules == (HistoryRule("/topic/chat*", 1000, 7 * 86400.0),)
    assert history.path is None, "nothing is written unless the operator asks for it"
    assert settings.of(ChatPart) == ChatPolicy(messages_per_second=10, burst=50)
    assert settings.source == "built-in defaults"


def test_a_file_of_one_line_leaves_every_other_setting_at_its_default(ini: Path) -> None:
    settings = read(ini, LISTEN)
    listener = Listener(
        "http", "", 9000, None, SourceLine(str(ini), 2, "http://:9000", "", "listen")
    )
    assert settings.source == str(ini)
    assert {part: settings.of(part) for part in PARTS} == {
        SignalsPart: None,
        DrainPart: None,
        PrivilegesPart: PrivilegeSettings(user=None, group=None),
        AccessPart: AccessSettings(rules=(), hosts=(), origin_required=False),
        FrontProxyPart: FrontSettings(AddressList(), False),
        WebPart: WebSettings(
            static={}, handshake_timeout_s=10.0, max_http=20_000, max_http_per_source=10_000
        ),
        WebSocketPart: WebSocketSettings(interval_s=20.0, timeout_s=20.0, deflate=True),
        BrokerPart: BrokerSettings(
            session=Limits(), shared=BrokerLimits(max_bytes=quarter_of_memory()), pubsub={}
        ),
        AuthPart: AuthSettings(),
        ChatPart: ChatPolicy(
            grace_s=5.0,
            rooms=("/topic/chat", "/topic/chat.*"),
            max_text_chars=4000,
            limits_programs=False,
            max_nick_chars=32,
            nick_must_match=True,
            messages_per_second=0.0,
            burst=1,
        ),
        MessageLogPart: LogSettings(None),
        HistoryPart: None,
        StompWebSocketPart: None,
        GatewayPart: GatewaySettings(
            connect_timeout_s=10.0,
            max_message_bytes=16 * 1024 * 1024,
            idle_timeout_s=0.0,
            max_connections=10_000,
            max_per_target=0,
            max_per_source=256,
            private_names=True,
        ),
        TlsPart: TlsFiles(None, None, None),
        ListenersPart: ListenSettings((listener,)),
        LateModulesPart: None,
        ReadyPart: None,
    }


def test_settings_cannot_be_changed(ini: Path) -> None:
    settings = read(ini, LISTEN)
    for part in PARTS:
        for kind in part.reads:
            assert kind.__dataclass_params__.frozen, kind  # type: ignore[attr-defined]
    with pytest.raises(dataclasses.FrozenInstanceError):
        settings.of(ChatPart).burst = 7  # type: ignore[misc]
    with pytest.raises(TypeError):
        settings.of(WebPart).static["x"] = ini  # type: ignore[index]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        config.load(tmp_path / "none.ini", PARTS)
    assert str(error.value) == (
        f"{tmp_path}/none.ini: there is no such file; check the path, or start without --config "
        "to use the built-in defaults"
    )


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as error:
        config.load(tmp_path, PARTS)
    assert str(error.value) == f"{tmp_path}: this is a folder; name the file in it"


def test_a_file_that_may_not_be_read_is_named(ini: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, mode: str) -> object:
        raise PermissionError(errno.EACCES, "Permission denied")

    # The tests may run as root, who can read everything.
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(ConfigError) as error:
        config.load(ini, PARTS)
    assert str(error.value) == (
        f"{ini}: the file cannot be read (Permission denied); check the path and its permissions"
    )


def test_a_path_that_no_system_takes_is_an_error_and_no_traceback() -> None:
    with pytest.raises(ConfigError, match="the file cannot be read"):
        config.load(Path("chat\0.ini"), PARTS)


def test_a_file_that_is_not_utf_8_is_named_with_its_line(ini: Path) -> None:
    ini.write_bytes(b"[listen]\nhttp://:9000\n# caf\xe9\n")
    with pytest.raises(ConfigError) as error:
        config.load(ini, PARTS)
    assert str(error.value) == f"{ini}:3: byte 0xe9 is not UTF-8; save the file as UTF-8"


def test_a_file_of_more_than_a_mebibyte_is_no_chat_ini(ini: Path) -> None:
    assert refused(ini, LISTEN + "#" * 1024 * 1024) == (
        "chat.ini: the file is larger than 1 MiB; this is not a chat.ini"
    )


def test_paths_are_absolute_even_when_the_ini_is_named_relatively(
    ini: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ini.write_text(f"{LISTEN}[log]\nmessages = chat.log\n")
    settings = config.load(Path("chat.ini"), PARTS)
    assert settings.of(MessageLogPart).path == tmp_path / "chat.log"
    assert settings.source == "chat.ini"


KEYS = Schema(kind for part in PARTS for kind in part.reads).keys

LINES = st.sampled_from(
    [
        *(f"[{section}]" for section in KEYS),
        *(f"{key} = {value}" for key in KEYS["broker"] for value in ("1", "4 KiB", "no", "")),
        *(f"{key} = {value}" for key in KEYS["global"] for value in ("1", "a.example", "=")),
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


@hypothesis.settings(deadline=None)
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
        settings = config.load(ini, PARTS)
    except ConfigError as refusal:
        error = refusal
    else:
        assert settings.of(ListenersPart).listeners
        return
    assert str(error).startswith(str(ini))
    assert error.line <= data.count(b"\n") + data.count(b"\r") + 1
