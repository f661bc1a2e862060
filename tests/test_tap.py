"""The command line of ``twistd rtchat``."""

from __future__ import annotations

from pathlib import Path

import pytest
from twisted.python.usage import UsageError

from rtchat import __version__
from rtchat.server.listeners import ListenersPart
from rtchat.tap import Options


def test_without_a_file_the_built_in_settings_apply() -> None:
    options = Options()
    options.parseOptions([])
    assert options.settings.source == "built-in defaults"
    assert len(options.settings.of(ListenersPart).listeners) == 2


def test_a_file_is_read(tmp_path: Path) -> None:
    ini = tmp_path / "chat.ini"
    ini.write_text("[listen]\nhttp://:9000\n")
    for words in (["--config", str(ini)], ["-c", str(ini)]):
        options = Options()
        options.parseOptions(words)
        assert options.settings.source == str(ini)
        assert len(options.settings.of(ListenersPart).listeners) == 1


def test_a_mistake_in_the_file_ends_the_start_with_a_sentence(tmp_path: Path) -> None:
    ini = tmp_path / "chat.ini"
    ini.write_text("[listen]\nhttp://:70000\n")
    with pytest.raises(SystemExit) as end:
        Options().parseOptions(["--config", str(ini)])
    assert str(end.value) == (
        f"rtchat: {ini}:2: [listen] http://:70000 has the port 70000; use a number from 1 to 65535"
    )


def test_a_word_too_much_is_refused() -> None:
    with pytest.raises(UsageError):
        Options().parseOptions(["chat.ini"])


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        Options().parseOptions(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"rtchat {__version__}\n"


def test_the_help_keeps_its_lines() -> None:
    lines = [line.strip() for line in Options().getUsage().splitlines()]
    assert "twistd -n rtchat --config chat.ini    run with your own" in lines
    assert "self -> localhost:61613" in lines
