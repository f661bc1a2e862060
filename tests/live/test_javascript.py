"""The tests of the page's scripts, run by Node, one result a file."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from support.needs import in_ci, require

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
