"""The tests of the page's scripts, run by Node, one result a file."""

from __future__ import annotations

import json
import re
import subprocess
import unicodedata
from pathlib import Path

import pytest
from support.needs import in_ci, require

from rtchat.core.chat.nicknames import nick_key

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


_FOLD = """
import { foldNick } from "%s";
const codes = JSON.parse(await new Response(process.stdin).text());
console.log(JSON.stringify(codes.map((code) => foldNick(`a${String.fromCodePoint(code)}b`))));
"""


def test_page_and_server_agree_which_nicknames_are_the_same() -> None:
    # Characters of a later Unicode, which only one of them knows, are left out.
    codes = [
        code
        for code in range(0x20, 0x20000)
        if unicodedata.category(chr(code)) not in {"Cc", "Cn", "Co", "Cs"}
    ]
    script = _FOLD % (ROOT / "static" / "model" / "nicknames.js").as_uri()
    done = subprocess.run(
        [require("node"), "--input-type=module", "--eval", script],
        input=json.dumps(codes),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=True,
    )
    by_page: dict[str, set[int]] = {}
    by_server: dict[str, set[int]] = {}
    for code, folded in zip(codes, json.loads(done.stdout), strict=True):
        by_page.setdefault(folded, set()).add(code)
        by_server.setdefault(nick_key(f"a{chr(code)}b"), set()).add(code)
    same_for_page, same_for_server = (
        {frozenset(same) for same in groups.values()} for groups in (by_page, by_server)
    )
    assert same_for_page == same_for_server
