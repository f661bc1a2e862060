"""The packages that were chosen for the project each stand behind one module."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from pathlib import Path

import pytest

import rtchat

ADAPTERS: Mapping[str, str] = {
    "txws": "net/websocket/txws_adapter.py",
    "stomper": "net/stomp/stomper_adapter.py",
    "simplejson": "net/json_codec.py",
}
"""The one module that may import each package."""

RTCHAT = Path(rtchat.__file__).parent


def imported_packages(source: str) -> set[str]:
    """Name every package that a module imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(
            ("import_module", "__import__")
        ):
            found.update(ast.unparse(one).strip("'\"").partition(".")[0] for one in node.args)
    return found


def importers(package: str, sources: Mapping[str, str]) -> list[str]:
    """List the modules that import a package."""
    return [name for name, source in sources.items() if package in imported_packages(source)]


@pytest.fixture(scope="module")
def sources() -> dict[str, str]:
    return {
        path.relative_to(RTCHAT).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(RTCHAT.rglob("*.py"))
    }


@pytest.mark.parametrize("package", ADAPTERS)
def test_one_module_imports_the_package(package: str, sources: dict[str, str]) -> None:
    assert importers(package, sources) == [ADAPTERS[package]]


@pytest.mark.parametrize(
    "source",
    [
        "import txws",
        "import txws as sockets",
        "from txws import FRAMES",
        "from txws.somewhere import FRAMES",
        "def late():\n    import os, txws",
        "if TYPE_CHECKING:\n    from txws import FRAMES",
        "module = importlib.import_module('txws')",
        "module = __import__('txws')",
    ],
)
def test_a_second_importer_is_found(source: str) -> None:
    assert importers("txws", {"net/stomp/server.py": source}) == ["net/stomp/server.py"]


@pytest.mark.parametrize(
    "source",
    [
        "from rtchat.net.websocket.txws_adapter import FRAMES",
        "from . import txws",
        "txws = 1",
        "'import txws'",
        "import txwsx",
    ],
)
def test_what_is_no_import_of_the_package_is_left_alone(source: str) -> None:
    assert importers("txws", {"net/stomp/server.py": source}) == []
