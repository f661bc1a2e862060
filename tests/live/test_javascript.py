"""The tests of the page's scripts, run by Node, one result a file."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from support.needs import in_ci, require

from rtchat.core.chat.nicknames import clean_nick, nick_key
from rtchat.errors import NotAllowed

ROOT = Path(__file__).resolve().parent.parent.parent
TESTS = sorted(
    path
    for path in (ROOT / "tests" / "js").rglob("*")
    if re.search(r"(^test[-_]|[.-]test\.)", path.name)
    if path.suffix in (".js", ".mjs", ".cjs")
    if "node_modules" not in path.parts
)
TIMEOUT_S = 120


def count(output: str, what: str) -> int:
    """Read a figure of Node's closing lines, such as ``# pass 12``."""
    found = re.search(rf"^# {what} (\d+)$", output, re.MULTILINE)
    assert found is not None, f"node's output has no count of {what}:\n{output}"
    return int(found.group(1))


def test_the_scripts_have_tests() -> None:
    assert TESTS, "tests/js has no file that Node's test runner would take"


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.name)
def test_javascript(path: Path) -> None:
    done = subprocess.run(
        [require("node"), "--test", "--test-reporter=tap", str(path)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert count(done.stdout, "pass") > 0, f"{path.name} holds no test:\n{done.stdout}"
    if in_ci():
        assert count(done.stdout, "skipped") == 0, done.stdout


_EACH = """
import { %s as act } from "%s";
const codes = JSON.parse(await new Response(process.stdin).text());
console.log(JSON.stringify(codes.map((code) => act(`a${String.fromCodePoint(code)}b`))));
"""


def by_the_page(function: str, codes: list[int]) -> list[str]:
    """Return what a function of the page makes of nicks with each of these characters."""
    script = _EACH % (function, (ROOT / "static" / "model" / "nicknames.js").as_uri())
    done = subprocess.run(
        [require("node"), "--input-type=module", "--eval", script],
        input=json.dumps(codes),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=True,
    )
    forms: list[str] = json.loads(done.stdout)
    return forms


def is_taken(nick: str) -> bool:
    """Return whether the server takes a nick."""
    try:
        clean_nick(nick, 32)
    except NotAllowed:
        return False
    return True


def test_the_server_refuses_every_character_that_the_page_would_drop() -> None:
    codes = [code for code in range(sys.maxunicode + 1) if is_taken(f"a{chr(code)}b")]
    assert len(codes) > 100_000
    for code, shown in zip(codes, by_the_page("cleanNick", codes), strict=True):
        character = chr(code)
        assert shown == f"a{' ' if character.isspace() else character}b", f"U+{code:04X}"


def test_page_and_server_agree_which_nicknames_are_the_same() -> None:
    # Characters of a later Unicode, which only one of them knows, are left out.
    codes = [
        code
        for code in (*range(0x20, 0x20000), *range(0xE0000, 0xE1000))
        if unicodedata.category(chr(code)) not in {"Cc", "Cn", "Co", "Cs"}
    ]
    by_page: dict[str, set[int]] = {}
    by_server: dict[str, set[int]] = {}
    for code, folded in zip(codes, by_the_page("foldNick", codes), strict=True):
        by_page.setdefault(folded, set()).add(code)
        by_server.setdefault(nick_key(f"a{chr(code)}b"), set()).add(code)
    same_for_page, same_for_server = (
        {frozenset(same) for same in groups.values()} for groups in (by_page, by_server)
    )
    assert same_for_page == same_for_server
