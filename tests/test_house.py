"""The house keeps its rules: who may import whom, and where the reactor may be seen.

Arrows go down only: ``tap`` → ``server`` → ``net`` → ``core`` → ``errors``; ``config`` is read
by ``server`` alone, but for ``config.keys``, with which the core declares its keys; ``cli`` is a
second, smaller top. The rules are checked on the source text, so that an import inside a function
or under ``TYPE_CHECKING`` counts like any other. The pages for people are part of the house: what
they link to is there.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from rtchat.config.schema import Schema
from rtchat.tap import PARTS

ROOT = Path(__file__).resolve().parent.parent

# Which rooms a room may import from, itself apart. A room is a module or a package with all that
# is below it and has no entry of its own. The package itself holds the version.
MAY_IMPORT: Mapping[str, frozenset[str]] = {
    "version": frozenset(),
    "errors": frozenset({"version"}),
    "text": frozenset(),
    "config.keys": frozenset(),
    "config": frozenset({"errors", "config.keys"}),
    # Within core: the first five know no other; the broker knows no feature; a session knows none
    # either, only the broker's seams.
    "core": frozenset(),
    "core.stomp": frozenset({"errors", "text", "config.keys"}),
    "core.flow": frozenset({"errors", "text"}),
    "core.selector": frozenset({"errors", "text"}),
    "core.access": frozenset({"errors", "text"}),
    "core.websocket": frozenset({"core.flow", "errors", "text"}),
    "core.broker": frozenset(
        {"core.stomp", "core.flow", "core.selector", "errors", "text", "config.keys"}
    ),
    "core.history": frozenset(
        {"core.broker", "core.stomp", "core.flow", "errors", "text", "config.keys"}
    ),
    "core.chat": frozenset(
        {"core.broker", "core.stomp", "core.flow", "errors", "text", "config.keys"}
    ),
    "core.auth": frozenset({"core.broker", "core.stomp", "errors", "text", "config.keys"}),
    "core.session": frozenset(
        {"version", "core.broker", "core.stomp", "core.flow", "core.selector", "errors", "text"}
    ),
    # What the reactor touches: one package a protocol, on top of connections.
    "net": frozenset(),
    "net.twisted_internals": frozenset(),
    "net.json_codec": frozenset({"core.chat"}),
    "net.message_log": frozenset({"core.broker", "net.json_codec"}),
    "net.connection": frozenset({"core.access", "core.flow", "net.twisted_internals", "text"}),
    "net.auth": frozenset(
        {
            "config.keys",
            "core.access",
            "core.auth",
            "core.broker",
            "core.flow",
            "core.stomp",
            "errors",
            "net.connection",
            "net.json_codec",
            "net.web",
            "net.websocket",
            "text",
        }
    ),
    "net.history": frozenset({"core.broker", "core.history", "errors"}),
    "net.web": frozenset(
        {
            "core.access",
            "core.flow",
            "net.connection",
            "net.json_codec",
            "net.twisted_internals",
            "text",
        }
    ),
    "net.websocket": frozenset(
        {
            "core.access",
            "core.flow",
            "core.websocket",
            "errors",
            "net.connection",
            "net.twisted_internals",
            "net.web",
            "text",
        }
    ),
    "net.stomp": frozenset(
        {
            "core.access",
            "core.broker",
            "core.flow",
            "core.session",
            "core.stomp",
            "errors",
            "net.connection",
            "net.websocket",
            "text",
        }
    ),
    "net.gateway": frozenset(
        {
            "core.access",
            "core.flow",
            "errors",
            "net.connection",
            "net.json_codec",
            "net.twisted_internals",
            "net.web",
            "net.websocket",
            "text",
        }
    ),
    # The parts get their settings handed in; only tap reads a chat.ini.
    "server.start": frozenset({"errors", "net.twisted_internals"}),
    "server.part": frozenset({"config", "net.connection", "net.twisted_internals", "server.start"}),
    "server.settings": frozenset({"errors", "config", "config.keys", "server.part"}),
    "server": frozenset(
        {
            "version",
            "errors",
            "text",
            "config",
            "config.keys",
            "core.access",
            "core.auth",
            "core.broker",
            "core.chat",
            "core.flow",
            "core.history",
            "core.selector",
            "core.stomp",
            "net.auth",
            "net.connection",
            "net.gateway",
            "net.history",
            "net.json_codec",
            "net.message_log",
            "net.stomp",
            "net.web",
            "net.websocket",
            "server.part",
        }
    ),
    "tap": frozenset(
        {"version", "errors", "server", "server.part", "server.settings", "server.start"}
    ),
    "cli": frozenset(
        {
            "version",
            "errors",
            "terminal",
            "text",
            "core.stomp",
            "net.history",
            "net.stomp",
            "net.twisted_internals",
            "passwd",
        }
    ),
    "passwd": frozenset({"errors", "net.auth", "terminal"}),
    "terminal": frozenset(),
    # For other people's programs: nothing of ours may need it.
    "blocking": frozenset({"errors", "core.stomp", "net.json_codec", "net.stomp"}),
    # For other people's test suites: nothing of ours may need them.
    "testing": frozenset(
        {
            "config.keys",
            "core.auth",
            "core.broker",
            "core.chat",
            "core.flow",
            "core.history",
            "core.stomp",
            "errors",
            "net.auth",
            "net.connection",
            "net.history",
            "net.json_codec",
            "net.stomp",
            "testing.settings",
        }
    ),
    # It reads a chat.ini as the server does, so it has to know all parts.
    "testing.settings": frozenset(
        {
            "config",
            "core.auth",
            "core.broker",
            "core.chat",
            "core.history",
            "core.stomp",
            "server",
            "tap",
        }
    ),
    "pytest_plugin": frozenset({"testing"}),
    # For other people's hooks.
    "hooks": frozenset({"net.auth"}),
}

# Core works on bytes and values. What is missing here on purpose: sockets, clocks, logs,
# threads, files, processes, and every package that is not the standard library's.
PURE_MODULES = frozenset(
    {
        "__future__",
        "abc",
        "base64",
        "binascii",
        "bisect",
        "codecs",
        "collections",
        "collections.abc",
        "dataclasses",
        "enum",
        "fractions",
        "functools",
        "hashlib",
        "heapq",
        "hmac",
        "ipaddress",
        "itertools",
        "math",
        "operator",
        "re",
        "string",
        "struct",
        "types",
        "typing",
        "typing_extensions",
        "unicodedata",
        "urllib.parse",
        "zlib",
        "weakref",
    }
)


PURE_ROOMS = frozenset({"errors", "text", "config.keys"})
"""Rooms that core may import from; the same holds for them."""

MAX_FILE_LINES = 450
MAX_FUNCTION_LINES = 60


@dataclass(frozen=True)
class Import:
    """One name that a module imports.

    Attributes:
        module: The module that is imported from, in full.
        name: The name taken from it, or "" for a plain ``import``.
        line: Where it stands.
        function: The innermost function around it, or "" at module level.
    """

    module: str
    name: str
    line: int
    function: str

    @property
    def path(self) -> str:
        """The dotted name of what is imported."""
        return f"{self.module}.{self.name}" if self.name else self.module


def imports_of(source: str, *, module: str, is_package: bool) -> list[Import]:
    """List every import in a module, wherever it stands; relative ones in full."""
    package = module.split(".") if is_package else module.split(".")[:-1]

    def walk(node: ast.AST, function: str) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(alias.name, "", child.lineno, function)
            elif isinstance(child, ast.ImportFrom):
                kept = len(package) - (child.level - 1) if child.level else 0
                prefix = [*package[:kept], *([child.module] if child.module else [])]
                for alias in child.names:
                    yield Import(".".join(prefix), alias.name, child.lineno, function)
            elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                yield from walk(child, child.name)
            else:
                yield from walk(child, function)

    return list(walk(ast.parse(source), ""))


class House:
    """The modules of a package tree and what each of them imports."""

    def __init__(self, sources: Mapping[str, str], packages: frozenset[str]) -> None:
        """Take the source of each module by its dotted name, and which are packages."""
        self.sources = dict(sources)
        self.imports = {
            module: imports_of(source, module=module, is_package=module in packages)
            for module, source in sources.items()
        }

    @classmethod
    def at(cls, root: Path) -> House:
        """Read every module below ``root/rtchat``."""
        sources: dict[str, str] = {}
        packages: set[str] = set()
        for path in sorted((root / "rtchat").rglob("*.py")):
            parts = list(path.relative_to(root).with_suffix("").parts)
            if parts[-1] == "__init__":
                parts.pop()
                packages.add(".".join(parts))
            sources[".".join(parts)] = path.read_text(encoding="utf-8")
        return cls(sources, frozenset(packages))

    def target(self, one: Import) -> str | None:
        """Return the module of rtchat that an import reaches, or None for another package."""
        if one.path in self.sources:
            return one.path
        return one.module if one.module.split(".")[0] == "rtchat" else None

    def arrows(self) -> dict[str, set[str]]:
        """Map each module to the modules of ours that it imports."""
        return {
            module: {there for one in found if (there := self.target(one)) is not None}
            for module, found in self.imports.items()
        }


def room_of(module: str) -> str:
    """Name the room a module belongs to: the nearest one above it that has a rule."""
    parts = module.split(".")[1:]
    above = (".".join(parts[:count]) for count in range(len(parts), 0, -1))
    return next((name for name in above if name in MAY_IMPORT), parts[0] if parts else "version")


def wrong_arrows(house: House) -> list[str]:
    """List the imports that go up, sideways, or to a package that is not in the plan."""
    wrong = []
    for module, found in house.imports.items():
        room = room_of(module)
        if room not in MAY_IMPORT:
            wrong.append(f"{module}: a room without a rule; add it to MAY_IMPORT")
            continue
        for one in found:
            there = house.target(one)
            if there is not None and room_of(there) not in MAY_IMPORT[room] | {room}:
                wrong.append(f"{module}:{one.line} imports {one.path}")
    return wrong


def impure_imports(house: House) -> list[str]:
    """List what core imports that is neither ours nor a module of bytes and values."""
    return [
        f"{module}:{one.line} imports {one.path}"
        for module, found in house.imports.items()
        if room_of(module).split(".")[0] == "core" or room_of(module) in PURE_ROOMS
        for one in found
        if house.target(one) is None and one.module not in PURE_MODULES
        if one.path not in PURE_MODULES
    ]


def stray_reactors(house: House) -> list[str]:
    """List the places that see the global reactor, ``tap.makeService`` left out."""
    stray = []
    for module, found in house.imports.items():
        lines = [
            (one.line, one.function)
            for one in found
            if one.path in ("twisted.internet.reactor", "twisted.internet.default.install")
        ]
        lines += [
            (node.lineno, "an attribute")
            for node in ast.walk(ast.parse(house.sources[module]))
            if isinstance(node, ast.Attribute) and ast.unparse(node) == "twisted.internet.reactor"
        ]
        stray += [
            f"{module}:{line} sees the reactor"
            for line, function in lines
            if (module, function) != ("rtchat.tap", "makeService")
        ]
    return stray


def find_circle(arrows: Mapping[str, set[str]]) -> list[str]:
    """Return the modules of one import circle in order, or an empty list."""
    done: set[str] = set()

    def visit(module: str, path: list[str]) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done:
            return []
        for there in sorted(arrows.get(module, ())):
            circle = visit(there, [*path, module])
            if circle:
                return circle
        done.add(module)
        return []

    for module in sorted(arrows):
        circle = visit(module, [])
        if circle:
            return circle
    return []


def without_introduction(house: House) -> list[str]:
    """List the modules that lack a docstring or do not say what they offer."""
    wrong = []
    for module, source in house.sources.items():
        tree = ast.parse(source)
        if not ast.get_docstring(tree):
            wrong.append(f"{module} has no docstring")
        assigned = {
            target.id
            for node in tree.body
            if isinstance(node, ast.Assign)
            for target in node.targets
            if isinstance(target, ast.Name)
        }
        if len(tree.body) > 1 and "__all__" not in assigned:
            wrong.append(f"{module} has no __all__")
    return wrong


def rooms_that_see_each_other(house: House) -> list[str]:
    """Return a circle of packages within core, whichever modules close it."""
    arrows: dict[str, set[str]] = {}
    for module, theres in house.arrows().items():
        arrows.setdefault(room_of(module), set()).update(map(room_of, theres))
    core = {name: theres - {name} for name, theres in arrows.items() if name.startswith("core.")}
    return find_circle(core)


def too_long(house: House) -> list[str]:
    """List the files and the functions that are too long to be read at once."""
    long = []
    for module, source in house.sources.items():
        lines = source.count("\n")
        if lines > MAX_FILE_LINES:
            long.append(f"{module} has {lines} lines")
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                limit = 40 if node.name == "makeService" else MAX_FUNCTION_LINES + 1
                if length >= limit:
                    long.append(f"{module}:{node.lineno} {node.name} has {length} lines")
    return long


CHANGES = frozenset(
    {
        "add",
        "append",
        "appendleft",
        "clear",
        "discard",
        "extend",
        "insert",
        "pop",
        "popitem",
        "popleft",
        "remove",
        "setdefault",
        "update",
    }
)
"""Methods that change a collection."""


def module_state(house: House) -> list[str]:
    """List what functions change that belongs to a module: it would be shared by all servers."""
    found = []
    for module, source in house.sources.items():
        tree = ast.parse(source)
        own = {
            target.id
            for node in tree.body
            if isinstance(node, ast.Assign | ast.AnnAssign)
            for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
            if isinstance(target, ast.Name)
        }
        for function in ast.walk(tree):
            if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            local = {arg.arg for arg in ast.walk(function.args) if isinstance(arg, ast.arg)}
            local |= {
                node.id
                for node in ast.walk(function)
                if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
            }
            for node in ast.walk(function):
                changed: ast.expr | None = None
                if isinstance(node, ast.Global):
                    found.append(f"{module}:{node.lineno} global {', '.join(node.names)}")
                elif isinstance(node, ast.Subscript) and not isinstance(node.ctx, ast.Load):
                    changed = node.value
                elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                    changed = node.func.value if node.func.attr in CHANGES else None
                if isinstance(changed, ast.Name) and changed.id in own - local:
                    found.append(f"{module}:{changed.lineno} changes {changed.id}")
            for decorator in function.decorator_list:
                name = ast.unparse(decorator).partition("(")[0].rpartition(".")[2]
                if name in ("cache", "lru_cache"):
                    found.append(f"{module}:{function.lineno} {function.name} has a cache")
    return found


@pytest.fixture(scope="module")
def house() -> House:
    return House.at(ROOT)


class TestOurHouse:
    def test_every_room_is_there(self, house: House) -> None:
        assert {room_of(module) for module in house.sources} == set(MAY_IMPORT)

    def test_arrows_go_down_only(self, house: House) -> None:
        assert wrong_arrows(house) == []

    def test_core_knows_bytes_and_values_only(self, house: House) -> None:
        assert impure_imports(house) == []

    def test_only_make_service_sees_the_reactor(self, house: House) -> None:
        assert stray_reactors(house) == []

    def test_there_are_no_circles(self, house: House) -> None:
        assert find_circle(house.arrows()) == []

    def test_every_module_introduces_itself(self, house: House) -> None:
        assert without_introduction(house) == []

    def test_the_packages_of_core_form_no_circle(self, house: House) -> None:
        assert rooms_that_see_each_other(house) == []

    def test_nothing_is_too_long_to_be_read_at_once(self, house: House) -> None:
        assert too_long(house) == []

    def test_no_module_has_a_state(self, house: House) -> None:
        assert module_state(house) == []

    def test_twisted_stays_open_for_plugins(self) -> None:
        plugins = ROOT / "twisted" / "plugins"
        assert (plugins / "rtchat_plugin.py").is_file()
        assert [str(path) for path in (ROOT / "twisted").rglob("__init__.py")] == []


def planted(**modules: str) -> House:
    """Build a house from ``room__module="source"``; every package on the way is empty."""
    sources = {f"rtchat.{name.replace('__', '.')}": source for name, source in modules.items()}
    packages = {"rtchat", *(".".join(name.split(".")[:-1]) for name in sources)}
    return House({**dict.fromkeys(packages, ""), **sources}, frozenset(packages))


LINK = re.compile(r"\]\(([^)\s:]+)\)")  # none with a scheme: those lead out of the house
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def anchors_of(text: str) -> set[str]:
    """Return the names that a page's headings have in links to them."""
    headings = HEADING.findall(FENCED.sub("", text))
    return {re.sub(r"[^\w -]", "", one).strip().lower().replace(" ", "-") for one in headings}


def dead_links(pages: Mapping[Path, str]) -> list[str]:
    """List the links of pages that lead to no file, or to no heading of another page."""
    dead = []
    for page, text in pages.items():
        for link in LINK.findall(FENCED.sub("", text)):
            name, _, anchor = link.partition("#")
            there = (page.parent / name).resolve() if name else page
            is_there = there in pages or there.exists()
            if not is_there or (anchor and anchor not in anchors_of(pages.get(there, ""))):
                dead.append(f"{page.name}: {link}")
    return dead


class TestThePagesForPeople:
    def test_links_lead_somewhere(self) -> None:
        files = [
            ROOT / "README.md",
            ROOT / "CONTRIBUTING.md",
            *sorted((ROOT / "docs").glob("*.md")),
        ]
        pages = {file: file.read_text(encoding="utf-8") for file in files}
        assert sum(len(LINK.findall(text)) for text in pages.values()) > 30
        assert dead_links(pages) == []

    def test_the_recipes_say_when_to_set_each_key(self) -> None:
        text = (ROOT / "docs" / "gateway.md").read_text(encoding="utf-8")
        for section in ("proxy", "front"):
            table = text.partition(f"| `[{section}]` |")[2].partition("\n\n")[0]
            cells = re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE)
            keys = [key for cell in cells for key in re.findall(r"`([^`]+)`", cell)]
            schema = Schema(kind for part in PARTS for kind in part.reads)
            assert sorted(keys) == sorted(schema.keys[section])


class TestTheChecksThemselves:
    """Each check finds what it is there for."""

    @pytest.mark.parametrize(
        "modules",
        [
            {"errors": "from rtchat import core"},
            {"core__session": "from rtchat.net import stomp"},
            {"core__session": "import rtchat.server"},
            {"core__session": "from rtchat.server import Settings"},
            {"core__session": "def late():\n    from ..net.stomp import StompProtocol"},
            {"core__session": "if TYPE_CHECKING:\n    from rtchat.tap import Options"},
            {"net__web": "from rtchat import server", "server": ""},
            {"net__web": "from ..server import Settings"},
            {"net__web": "import rtchat.tap as tap"},
            {"config": "from rtchat.net.web import Site"},
            {"config__schema": "from rtchat.core.access.hosts import Target"},
            {"config__schema": "from rtchat.server.part import Part"},
            {"config__keys": "from rtchat.config.ini import SourceLine"},
            {"core__session": "from rtchat.config.values import filled_text"},
            {"core__session": "from rtchat.config import ini", "config__ini": ""},
            {"core__session": "import rtchat.config"},
            {"net__web": "from rtchat.config.schema import ChatIni"},
            {"cli": "from rtchat.server.part import Server"},
            {"testing": "from rtchat.server.settings import load"},
            {"blocking": "from rtchat.tap import makeService"},
            {"server__chat": "from rtchat.server.settings import Settings"},
            {"server__chat": "from . import settings", "server__settings": ""},
            {"server__chat": "from rtchat.tap import PARTS"},
            {"server__part": "from rtchat.server.chat import ChatPart"},
            {"server__settings": "from rtchat.server.chat import ChatPart"},
            {"tap": "from rtchat.core.broker import Broker"},
            {"tap": "from rtchat.net import web", "net__web": ""},
            {"tap": "from rtchat.config.keys import key"},
            {"helpers": ""},
            {"core__stomp__frames": "from rtchat import helpers", "helpers": ""},
            {"core__stomp__parser": "from rtchat.core.flow.memory import Budget"},
            {"core__flow__outbound": "from rtchat.core.stomp.frames import Frame"},
            {"core__selector__parser": "from rtchat.core.broker.message import Message"},
            {"core__access__rules": "from rtchat.core.broker.broker import Broker"},
            {"core__broker__broker": "from rtchat.core.history.topics import HistoryTopics"},
            {"core__broker__router": "from rtchat.core.chat.chat import Chat"},
            {"core__broker__gate": "from rtchat.core.session.session import Session"},
            {"core__session__session": "from rtchat.core.chat.gate import ChatGate"},
            {"core__session__commands": "from rtchat.core.history.history import History"},
            {"core__chat__chat": "from rtchat.core.history.history import History"},
            {"core__history__topics": "from rtchat.core.session.session import Session"},
            {"net__connection__writer": "from rtchat.net.stomp.server import StompFactory"},
            {"net__web__site": "from rtchat.net.websocket.upgrade import WebSocketResource"},
            {"net__gateway__relay": "from rtchat.core.broker.broker import Broker"},
        ],
    )
    def test_an_arrow_that_goes_up_is_found(self, modules: dict[str, str]) -> None:
        assert wrong_arrows(planted(core="", net="", **modules)) != []

    @pytest.mark.parametrize(
        "modules",
        [
            {"core__stomp__frames": "from rtchat.errors import ProtocolError\nimport re"},
            {"core__stomp__parser": "from . import frames\nfrom .frames import Frame"},
            {"core__session": "from rtchat import __version__"},
            {"net__stomp": "from rtchat.core.session.session import Session"},
            {"tap": "from rtchat import server\nfrom rtchat.server.settings import load"},
            {"core__broker__limits": "from rtchat.config.keys import key"},
            {"core__stomp__limits": "from rtchat.config import keys", "config__keys": ""},
            {"config__values": "from rtchat.config.ini import SourceLine"},
            {"config__values": "from rtchat.config.keys import Key"},
            {"server__settings": "from rtchat.server.part import Part"},
            {"server__chat": "from rtchat.server.part import Part\nfrom .stomp import BrokerPart"},
            {"server": "from rtchat.core.stomp.limits import Limits\nimport configparser"},
        ],
    )
    def test_an_arrow_that_goes_down_is_left_alone(self, modules: dict[str, str]) -> None:
        assert wrong_arrows(planted(errors="", **modules)) == []

    @pytest.mark.parametrize(
        "source",
        [
            "import asyncio",
            "import logging",
            "import os.path",
            "import re, socket",
            "import threading",
            "import time",
            "import simplejson as json",
            "from stomper import Frame",
            "from txws import WebSocketFactory",
            "from websockets.protocol import Protocol",
            "from twisted.internet.interfaces import ITransport",
            "from zope.interface import implementer",
            "def now():\n    from time import monotonic\n    return monotonic()",
            "try:\n    import datetime\nexcept ImportError:\n    pass",
        ],
    )
    def test_an_import_that_core_may_not_have_is_found(self, source: str) -> None:
        assert len(impure_imports(planted(core__frames=source))) == 1
        assert len(impure_imports(planted(config__keys=source))) == 1

    def test_pure_imports_and_other_rooms_are_left_alone(self) -> None:
        house = planted(
            core__frames="from collections import abc, deque\nfrom urllib.parse import unquote",
            net__stomp="import time\nfrom twisted.internet.task import Clock",
        )
        assert impure_imports(house) == []

    @pytest.mark.parametrize(
        "modules",
        [
            {"tap": "from twisted.internet import reactor"},
            {"tap": "def other():\n    from twisted.internet import reactor"},
            {"net__stomp": "def makeService():\n    from twisted.internet import reactor"},
            {"net__stomp": "import twisted.internet.reactor"},
            {"net__stomp": "from twisted.internet import defer, reactor as r"},
            {"net__stomp": "import twisted.internet\nx = twisted.internet.reactor.seconds()"},
        ],
    )
    def test_a_stray_reactor_is_found(self, modules: dict[str, str]) -> None:
        assert len(stray_reactors(planted(**modules))) == 1

    def test_the_reactor_in_make_service_is_left_alone(self) -> None:
        source = "def makeService(options):\n    from twisted.internet import reactor"
        assert stray_reactors(planted(tap=source)) == []

    def test_a_circle_is_found_and_named(self) -> None:
        house = planted(
            core__broker="from rtchat.core import topics",
            core__topics="from rtchat.core.names import split",
            core__names="if TYPE_CHECKING:\n    from .broker import Broker",
        )
        assert find_circle(house.arrows()) == [
            "rtchat.core.broker",
            "rtchat.core.topics",
            "rtchat.core.names",
            "rtchat.core.broker",
        ]

    def test_a_fork_that_joins_again_is_no_circle(self) -> None:
        house = planted(
            core__broker="from rtchat.core import names, topics",
            core__topics="from rtchat.core import names",
            core__names="",
        )
        assert find_circle(house.arrows()) == []

    @pytest.mark.parametrize(
        "source", ["__all__ = []\nx = 1", '"""Says what it is."""\nx = 1', "x = 1"]
    )
    def test_a_module_that_does_not_introduce_itself_is_found(self, source: str) -> None:
        assert without_introduction(House({"rtchat.core.frames": source}, frozenset())) != []

    def test_packages_of_core_that_see_each_other_are_found(self) -> None:
        house = planted(
            core__chat__chat="from rtchat.core.broker.broker import Broker",
            core__broker__broker="from rtchat.core.history.rules import HistoryRules",
            core__history__rules="",
            core__history__topics="from rtchat.core.broker.provider import Target",
            core__broker__provider="",
        )
        assert find_circle(house.arrows()) == []
        assert rooms_that_see_each_other(house) == ["core.broker", "core.history", "core.broker"]

    @pytest.mark.parametrize(
        "source",
        [
            "x = 1\n" * 451,
            "def f():\n" + "    x = 1\n" * 60,
            "class C:\n    async def f(self):\n" + "        x = 1\n" * 60,
            "def makeService(options):\n" + "    x = 1\n" * 39,
        ],
    )
    def test_what_is_too_long_is_found(self, source: str) -> None:
        assert len(too_long(planted(tap=source))) == 1

    @pytest.mark.parametrize(
        "source", ["x = 1\n" * 450, "def f():\n" + "    x = 1\n" * 59, "def f(): ...\n"]
    )
    def test_what_is_short_is_left_alone(self, source: str) -> None:
        assert too_long(planted(tap=source)) == []

    @pytest.mark.parametrize(
        "source",
        [
            "known = {}\ndef f():\n    known[1] = 2",
            "known = {}\ndef f():\n    del known[1]",
            "known: list[int] = []\nclass C:\n    def f(self):\n        known.append(1)",
            "count = 0\ndef f():\n    global count\n    count += 1",
            "@cache\ndef f(): ...",
            "@functools.lru_cache(maxsize=4)\ndef f(): ...",
        ],
    )
    def test_a_module_with_a_state_is_found(self, source: str) -> None:
        assert module_state(planted(net__web=source)) != []

    @pytest.mark.parametrize(
        "source",
        [
            "known = {1: 2}\ndef f():\n    return known[1]",
            "known = {}\ndef f():\n    known = {}\n    known[1] = 2",
            "known = {}\ndef f(known):\n    known.update({})",
            "known = []\nknown.append(1)",
        ],
    )
    def test_a_module_without_a_state_is_left_alone(self, source: str) -> None:
        assert module_state(planted(net__web=source)) == []

    @pytest.mark.parametrize("link", ["none.md", "b.md#no-heading", "#no-heading", "b.md#in-a-box"])
    def test_a_dead_link_is_found(self, link: str) -> None:
        other = "# One\n```sh\n# in a box\n```\n"
        pages = {Path("/a.md"): f"# Here\n[text]({link})", Path("/b.md"): other}
        assert dead_links(pages) == [f"a.md: {link}"]

    @pytest.mark.parametrize(
        "link", ["b.md", "b.md#what-not-to-do-2", "#here", "https://x.example/"]
    )
    def test_a_link_that_leads_somewhere_is_left_alone(self, link: str) -> None:
        pages = {
            Path("/a.md"): f"# Here\n[text]({link})",
            Path("/b.md"): "## What *not* to do, 2\n",
        }
        assert dead_links(pages) == []
