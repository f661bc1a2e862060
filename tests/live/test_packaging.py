"""What a stranger installs works: wheel, source archive and editable install.

Each test installs into an empty environment of its own and looks at it from a directory that
has nothing to do with the project.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from rtchat import __version__

pytestmark = [pytest.mark.live, pytest.mark.slow]

ROOT = Path(__file__).resolve().parent.parent.parent
STEP_TIMEOUT_S = 300
START_TIMEOUT_S = 20
STOP_TIMEOUT_S = 10

# What a working tree has and a package must not: the second half is planted below.
NOT_THE_PROJECT = (
    ".git",
    ".venv",
    "node_modules",
    "__pycache__",
    ".*_cache",
    ".hypothesis",
    "dist",
    "build",
)


def clean_environment() -> dict[str, str]:
    """Return the environment without what could lend a package from outside."""
    lent = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if name not in lent}


def run(*command: str | Path, cwd: Path) -> str:
    """Run a step to its end and return its output; a failure shows all it said."""
    done = subprocess.run(
        [str(word) for word in command],
        cwd=cwd,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=STEP_TIMEOUT_S,
        check=False,
    )
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


@dataclass(frozen=True)
class Environment:
    """A Python environment of its own."""

    home: Path

    @classmethod
    def empty(cls, home: Path) -> Environment:
        """Make one that has nothing in it, not even a pip."""
        run(sys.executable, "-m", "venv", "--without-pip", home, cwd=home.parent)
        return cls(home)

    @property
    def python(self) -> Path:
        return self.home / "bin" / "python"

    @property
    def twistd(self) -> Path:
        return self.home / "bin" / "twistd"

    def pip(self, *words: str | Path) -> str:
        """Let the pip of the environment that runs the tests work on this one."""
        return run(sys.executable, "-m", "pip", "--python", self.python, *words, cwd=self.home)

    def install(self, *words: str | Path) -> None:
        """Install something with all it needs. Modules are compiled when they are imported."""
        self.pip("install", "--quiet", "--no-compile", *words)


def fetch(port: int, path: str) -> tuple[int, str, bytes]:
    """Return the status, the content type and the body of a page."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
        return answer.status, answer.headers.get_content_type(), answer.read()


@contextlib.contextmanager
def serving(environment: Environment, directory: Path) -> Iterator[int]:
    """Run the installed server in a directory; give its HTTP port; expect a clean end."""
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        http, stomp = one.getsockname()[1], other.getsockname()[1]
    (directory / "here.ini").write_text(
        f"[listen]\nhttp://127.0.0.1:{http}\nstomp://127.0.0.1:{stomp}\n"
        f"[access]\nself -> 127.0.0.1:{stomp}\n",
        encoding="utf-8",
    )
    log_path = directory / "server.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [environment.twistd, "-n", "--pidfile=", "rtchat", "--config", "here.ini"],
            cwd=directory,
            env=clean_environment(),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                fetch(http, "/")
                break
            except urllib.error.HTTPError:
                break  # It answers; the test says what it should have answered.
            except OSError:
                said = log_path.read_text(encoding="utf-8", errors="replace")
                assert process.poll() is None, f"the server ended:\n{said}"
                assert time.monotonic() < deadline, f"the server does not answer:\n{said}"
                time.sleep(0.1)
        yield http
        process.send_signal(signal.SIGTERM)
        said = log_path.read_text(encoding="utf-8", errors="replace")
        assert process.wait(STOP_TIMEOUT_S) == 0, f"the server did not end well:\n{said}"
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def assert_serves_the_page(environment: Environment, directory: Path) -> None:
    """Check the page, one asset byte for byte, and that strangers' files stay outside."""
    directory.mkdir()
    with serving(environment, directory) as port:
        status, kind, page = fetch(port, "/")
        assert (status, kind) == (200, "text/html")
        assert b"<html" in page.lower()
        status, kind, script = fetch(port, "/static/stomp.js")
        assert (status, kind) == (200, "text/javascript")
        assert script == (ROOT / "static" / "stomp.js").read_bytes()
        _, kind, links = fetch(port, "/static/demos.js")  # asked for by the page
        assert (kind, links) == ("text/javascript", (ROOT / "static" / "demos.js").read_bytes())


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project with the litter that a working tree collects."""
    copy = tmp_path_factory.mktemp("checkout") / "rtchat"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*NOT_THE_PROJECT))
    (copy / "twisted" / "plugins" / "dropin.cache").write_bytes(b"stale")
    (copy / "rtchat" / "__pycache__").mkdir()
    (copy / "rtchat" / "__pycache__" / "old.cpython-310.pyc").write_bytes(b"stale")
    (copy / "tests" / "js" / "node_modules").mkdir()
    (copy / "tests" / "js" / "node_modules" / "foreign.js").write_text("foreign")
    return copy


@pytest.fixture(scope="module")
def packages(checkout: Path) -> Path:
    """The directory with the source archive and the wheel that was built from it."""
    made = checkout.parent / "packages"
    run(sys.executable, "-m", "build", "--outdir", made, checkout, cwd=checkout.parent)
    return made


@pytest.fixture(scope="module")
def installed(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """An empty environment into which the wheel was installed."""
    (wheel,) = packages.glob("rtchat-*.whl")
    environment = Environment.empty(tmp_path_factory.mktemp("wheel") / "env")
    environment.install(wheel)
    return environment


def litter(names: set[str]) -> set[str]:
    """Return what a build left behind: caches of Python's and of tools, npm's packages."""
    return {name for name in names if re.search(r"cache(/|$)|node_modules", name)}


def test_the_wheel_carries_package_plugin_and_page(packages: Path) -> None:
    (wheel,) = packages.glob("rtchat-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    page = {f"rtchat/{path.relative_to(ROOT)}" for path in (ROOT / "static").rglob("*.*")}
    assert page
    assert names >= {"rtchat/py.typed", "rtchat/tap.py", "twisted/plugins/rtchat_plugin.py"} | page
    assert not [name for name in names if name.endswith("irc.html")], "the wheel has the demos"
    assert {name.split("/")[0].split("-")[0] for name in names} == {"rtchat", "twisted"}
    assert {name for name in names if name.startswith("twisted/")} == {
        "twisted/plugins/rtchat_plugin.py"
    }
    assert litter(names) == set()


def test_the_source_archive_carries_what_is_needed_to_test_and_run(packages: Path) -> None:
    (source,) = packages.glob("rtchat-*.tar.gz")
    with tarfile.open(source) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names >= {
        "LICENSE",
        "LICENSE-UNICODE",
        "Makefile",
        "README.md",
        "benchmarks/blast/blast.c",
        "chat.tac",
        "docs/dependencies.md",
        "examples/demos/links.js",
        "pyproject.toml",
        "rtchat/tap.py",
        "static/stomp.js",
        "tests/live/test_packaging.py",
        "tests/test_house.py",
        "twisted/plugins/rtchat_plugin.py",
    }
    assert litter(names) == set()


def test_an_installed_wheel_lists_its_commands(installed: Environment, tmp_path: Path) -> None:
    lines = run(installed.twistd, "--help", cwd=tmp_path).splitlines()
    assert [line for line in lines if line.split()[:1] == ["rtchat"]]
    version = run(installed.home / "bin" / "rtchat", "--version", cwd=tmp_path)
    assert version == f"rtchat {__version__}\n"


def test_an_installed_wheel_has_all_it_imports(installed: Environment, tmp_path: Path) -> None:
    assert "No broken requirements" in installed.pip("check")
    every_module = (
        "import importlib, pkgutil, rtchat\n"
        "for one in pkgutil.walk_packages(rtchat.__path__, 'rtchat.'):\n"
        "    if one.name == 'rtchat.pytest_plugin':\n"
        "        continue  # only pytest loads it, so pytest is there then\n"
        "    importlib.import_module(one.name)\n"
        "    print(one.name)\n"
    )
    assert "rtchat.tap" in run(installed.python, "-c", every_module, cwd=tmp_path).split()


TYPED = """\
from rtchat.blocking import publish
from rtchat.testing import Broker

client = Broker().connect()
reveal_type(client.subscribe("/queue/a", prefetch_count=1))
reveal_type(client.receive().body)
publish("/topic/a", "x", tls=True)
client.receive(7)
"""


def test_an_installed_wheel_shows_its_types(installed: Environment, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(TYPED, encoding="utf-8")
    # The program that checks is this environment's; what it looks at, the other one's.
    done = subprocess.run(
        [
            *(sys.executable, "-m", "mypy", "--strict"),
            *("--python-executable", installed.python, "program.py"),
        ],
        cwd=tmp_path,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=STEP_TIMEOUT_S,
        check=False,
    )
    said = [re.sub(r"^program\.py:", "", line) for line in done.stdout.splitlines()]
    assert said == [
        '5: note: Revealed type is "str"',
        '6: note: Revealed type is "bytes"',
        '8: error: Argument 1 to "receive" of "Client" has incompatible type "int"; expected "str"'
        "  [arg-type]",
        "Found 1 error in 1 file (checked 1 source file)",
    ], done.stdout + done.stderr


def test_an_installed_wheel_serves_from_anywhere(installed: Environment, tmp_path: Path) -> None:
    assert_serves_the_page(installed, tmp_path / "elsewhere")


def test_an_editable_install_serves_from_anywhere(
    installed: Environment, checkout: Path, tmp_path: Path
) -> None:
    # The last test here: it takes the wheel's place, among the packages that the wheel needs, too.
    installed.install("--no-deps", "--editable", checkout)
    assert "No broken requirements" in installed.pip("check")
    where = run(installed.python, "-c", "import rtchat; print(rtchat.__file__)", cwd=tmp_path)
    assert Path(where.strip()) == checkout / "rtchat" / "__init__.py"
    assert_serves_the_page(installed, tmp_path / "elsewhere")
