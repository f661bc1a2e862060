"""docs/configuration.md says what the code does: every key, its unit, range and default."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from support.chat_ini import CERTIFICATE, KEY, LISTEN, TUTORIAL, read
from support.documents import blocks_of

from rtchat.config.ini import SourceLine
from rtchat.config.keys import Key, keys_of
from rtchat.config.schema import Schema
from rtchat.config.values import reader_of, written_size
from rtchat.server import settings as config
from rtchat.server.chat import ChatPart
from rtchat.server.history import HistoryPart
from rtchat.server.listeners import ListenersPart
from rtchat.tap import PARTS, Options

ROOT = Path(__file__).resolve().parent.parent.parent
MANUAL = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `([^`]+)` \| ([^|]+) \| ([^|]+) \|", re.MULTILINE)

KINDS = tuple(kind for part in PARTS for kind in part.reads)
KEYS = [key for kind in KINDS for key in keys_of(kind).values()]

# Defaults that no file could say.
IN_WORDS = {
    "[broker] memory.max_bytes": "a quarter of the machine's memory",
    "[front] trusted": "none",
    "[global] group": "unchanged",
    "[global] hosts": "none",
    "[global] user": "unchanged",
    "[hooks] python": "none",
    "[hooks] secret.file": "none",
    "[hooks] url": "none",
    "[log] messages": "none: no message is logged",
    "[rate] burst": "five seconds' worth",
    "[rate] bytes_burst": "five seconds' worth",
    "[rate] guest.burst": "as for users",
    "[rate] guest.bytes_burst": "as for users",
    "[rate] guest.bytes_per_second": "as for users",
    "[rate] guest.connects_burst": "as for users",
    "[rate] guest.connects_per_second": "as for users",
    "[rate] guest.messages_per_second": "as for users",
    "[rate] guest.subscriptions_burst": "as for users",
    "[rate] guest.subscriptions_per_second": "as for users",
    "[ssl] chain": "none",
    "[ssl] crt": "none",
    "[ssl] key": "none",
    "[tokens] audience": "none",
    "[tokens] cookie": "none",
    "[tokens] issuer": "none",
    "[tokens] jwks": "none",
    "[tokens] key.file": "none",
    "[tokens] secret.file": "none",
    "[users] checker": "none",
    "[users] file": "none",
    "[users] session.key": "none",
}


def setting(key: Key) -> str:
    return f"[{key.section}] {key.name}"


def rows(section: str) -> dict[str, tuple[str, str]]:
    """Return unit and default of each key in the manual's table about a section."""
    text = MANUAL.partition(f"## [{section}]\n")[2].partition("\n## ")[0]
    return {name: (unit, default) for name, unit, default in ROW.findall(text)}


def unit_in_words(key: Key) -> str:
    """Return what the manual should say about unit and range."""
    if key.read is not None:
        return key.unit
    if isinstance(key.default, bool):
        return "yes or no"
    low, high, unit = f"{key.low}", f"{key.high}", key.unit
    if unit == "bytes":
        low, high, unit = written_size(int(key.low)), written_size(int(key.high)), "size"
    return f"{unit}: {'0, or ' if key.or_zero else ''}{low} to {high}"


def test_the_manual_names_every_section_and_key_and_no_other() -> None:
    schema = Schema(KINDS)
    for section, names in schema.keys.items():
        assert f"## [{section}]" in MANUAL
        if section not in schema.beginnings or names:
            assert sorted(rows(section)) == sorted(names)


@pytest.mark.parametrize("key", KEYS, ids=setting)
def test_unit_and_range_in_the_manual_are_those_of_the_key(key: Key) -> None:
    assert rows(key.section)[key.name][0] == unit_in_words(key)


@pytest.mark.parametrize("key", KEYS, ids=setting)
def test_the_default_in_the_manual_is_that_of_the_key(key: Key) -> None:
    shown = rows(key.section)[key.name][1]
    if setting(key) in IN_WORDS:
        assert shown == IN_WORDS[setting(key)]
    else:
        assert reader_of(key)(SourceLine("chat.ini", 1, key.name, shown)) == key.default


def test_every_default_is_in_its_range() -> None:
    for key in KEYS:
        if key.read is None and not isinstance(key.default, bool):
            assert isinstance(key.default, int | float)
            is_zero = key.default == 0 and (key.or_zero or setting(key) in IN_WORDS)
            assert key.low <= key.default <= key.high or is_zero, setting(key)


def test_the_manual_shows_the_tutorials_file_and_the_defaults() -> None:
    assert f"```ini\n{TUTORIAL}```" in MANUAL
    assert f"```ini\n{config.DEFAULTS}```" in MANUAL


def test_every_example_of_the_manual_can_be_copied(ini: Path, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "robots.txt").write_text("")
    for name in ("cert.pem", "chain.pem"):
        (tmp_path / name).write_text(CERTIFICATE)
    (tmp_path / "key.pem").write_text(KEY)
    examples = re.findall(r"```ini\n(.*?)```", MANUAL, re.DOTALL)
    assert len(examples) >= 10
    for example in examples:
        settings = read(ini, example if "[listen]" in example else LISTEN + example)
        assert settings.of(ListenersPart).listeners


def examples_with_ports() -> dict[str, str]:
    """Return the examples of a whole file: those of all documents, and of the help."""
    documents = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    found = {
        f"{path.name}:{block.line}": block.text
        for path in documents
        for block in blocks_of(path)
        if block.language == "ini" and "[listen]" in block.text and block.text != TUTORIAL
    }
    shown = Options().getUsage().partition("\n  [listen]\n")[2]
    return {**found, "--help": "[listen]\n" + re.sub("^  ", "", shown, flags=re.MULTILINE)}


@pytest.mark.parametrize("name", list(examples_with_ports()))
def test_no_example_is_open_to_the_world(name: str) -> None:
    """The file of the tutorial alone is, and its start says so."""
    text = examples_with_ports()[name]
    if re.findall(r"^\[.+\]", text, re.MULTILINE) == ["[listen]"]:
        return  # it shows how lines of that section look
    hosts = re.findall(r"^(?:http|stomp)s?://(\S*):\d+", text, re.MULTILINE)
    assert hosts
    is_public = not {"127.0.0.1", "localhost"}.issuperset(hosts)
    assert not is_public or re.search(r"^\[(users|tokens|hooks)\]", text, re.MULTILINE)


def test_a_file_replaces_the_built_in_settings_as_a_whole(ini: Path) -> None:
    assert "**A file replaces these defaults as a whole.**" in MANUAL
    settings = read(ini, LISTEN)
    assert settings.of(HistoryPart) is None
    assert config.defaults(PARTS).of(HistoryPart) is not None
    assert settings.of(ChatPart) != config.defaults(PARTS).of(ChatPart)
