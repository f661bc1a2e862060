"""Programs that the tests use and the project does not install, and what to do without them.

``make test`` runs this module before anything else, and ``.ci/run`` asks it what to install:

    python tests/support/needs.py             print what is missing and what is skipped without it
    python tests/support/needs.py --packages  print the Debian packages that are missing

With ``CI=true`` a missing program is an error: no test may be skipped there. The module imports
the standard library only, because it runs before the environment of the tests exists.
"""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import NoReturn

__all__ = [
    "NEEDS",
    "Need",
    "in_ci",
    "main",
    "missing",
    "report",
    "require",
    "require_file",
    "require_module",
    "require_package",
    "require_target",
]

ROOT = Path(__file__).resolve().parent.parent.parent
NODE_MODULES = ROOT / "tests" / "js" / "node_modules"

# Debian installs servers outside an ordinary user's PATH. RabbitMQ's own directory comes before
# /usr/sbin, whose script of the same name starts the server as another user.
_SERVER_DIRECTORIES = ("/usr/lib/rabbitmq/bin", "/usr/sbin", "/usr/local/sbin")


@dataclass(frozen=True)
class Need:
    """A program that some tests use.

    Attributes:
        name: What people call it.
        commands: Names it may have; one of them is enough.
        packages: The Debian packages that contain it.
        tests: The tests that are skipped without it.
        files: Files that must be there as well: a library has no command of its own.
    """

    name: str
    commands: tuple[str, ...]
    packages: tuple[str, ...]
    tests: str
    files: tuple[str, ...] = ()

    def path(self) -> str | None:
        """Return the path of the program, None if it is not installed."""
        if not all(Path(file).exists() for file in self.files):
            return None
        for command in self.commands:
            if path := find(command):
                return path
        return None


_MATRIX = "that client in tests/live/test_interop_queues.py"

NEEDS = (
    Need(
        "Chromium",
        ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"),
        ("chromium",),
        "every test marked 'browser': the page, the demos, embedding",
    ),
    Need(
        "Chromium's shell",
        ("chromium-headless-shell",),
        ("chromium-headless-shell",),
        "most tests marked 'browser', which without it take twice the time in Chromium",
    ),
    Need(
        "Firefox",
        ("firefox-esr", "firefox"),
        ("firefox-esr",),
        "the scenes of the page that are played in both browsers",
    ),
    Need(
        "Node.js",
        ("node",),
        ("nodejs",),
        "tests/live/test_javascript.py, and every test against stompjs or ws",
    ),
    Need(
        "JavaScriptCore",
        ("jsc",),
        ("libjavascriptcoregtk-4.0-bin",),
        "tests/live/test_page_effort.py, in the engine of WebKit",
    ),
    Need(
        "npm",
        ("npm",),
        ("npm",),
        "tests that use the packages of tests/js/package.json: stompjs, ws, axe-core",
    ),
    Need(
        "a C compiler",
        ("cc",),
        ("gcc", "libc6-dev"),
        "the load generator in tests/test_benchmarks.py and tests/test_bench_peers.py",
    ),
    Need(
        "htpasswd",
        ("htpasswd",),
        ("apache2-utils",),
        "tests/net/auth, tests/live/test_recipe_passwords.py",
    ),
    Need("ngIRCd", ("ngircd",), ("ngircd",), "the IRC demo in tests/live/test_demos.py"),
    Need("Prosody", ("prosody",), ("prosody",), "the XMPP demo in tests/live/test_demos.py"),
    Need(
        "nginx",
        ("nginx",),
        ("nginx",),
        "its recipes: tests/live/test_document_examples.py, test_recipe_*.py",
    ),
    Need(
        "HAProxy", ("haproxy",), ("haproxy",), "its recipe in tests/live/test_document_examples.py"
    ),
    Need(
        "RabbitMQ",
        ("rabbitmq-server",),
        ("rabbitmq-server",),
        "the STOMP demo in tests/live/test_demos.py; tests/live/test_differential.py",
    ),
    Need(
        "ActiveMQ",
        ("activemq",),
        ("activemq",),
        "tests/live/test_differential.py",
    ),
    Need("Java", ("java",), ("default-jre-headless",), "the same tests against ActiveMQ"),
    Need(
        "Ruby's stomp",
        ("ruby",),
        ("ruby", "ruby-stomp"),
        _MATRIX,
        ("/usr/lib/ruby/vendor_ruby/stomp.rb",),
    ),
    Need(
        "Perl's Net::Stomp",
        ("perl",),
        ("perl", "libnet-stomp-perl"),
        _MATRIX,
        ("/usr/share/perl5/Net/Stomp.pm",),
    ),
    Need(
        "PHP's stomp",
        ("php",),
        ("php-cli", "php-stomp"),
        _MATRIX,
        ("/usr/share/doc/php-stomp",),
    ),
)


def in_ci() -> bool:
    """Return whether ``CI=true`` is set, so that no test may be skipped."""
    return os.environ.get("CI") == "true"


def find(command: str) -> str | None:
    """Return the path of a command in PATH or where Debian keeps servers, None without one."""
    for directory in _SERVER_DIRECTORIES:
        if path := shutil.which(command, path=directory):
            return path
    return shutil.which(command)


def missing() -> list[Need]:
    """Return the needs that this machine does not meet."""
    return [need for need in NEEDS if need.path() is None]


def report(absent: Sequence[Need], *, is_error: bool) -> str:
    """Return one block of text: what is missing, what is skipped, how to install it.

    Args:
        absent: The missing programs, at least one.
        is_error: Whether no test may be skipped.
    """
    lines = ["Programs that tests use are missing:", ""]
    width = max(len(need.name) for need in absent)
    verb = "needed by" if is_error else "skipped"
    lines += [f"  {need.name:<{width}}  {verb}: {need.tests}" for need in absent]
    packages = " ".join(package for need in absent for package in need.packages)
    command = textwrap.wrap(f"apt-get install {packages}", 90, break_on_hyphens=False)
    lines += ["", "Install them with:", "", "  " + " \\\n    ".join(command), ""]
    if is_error:
        lines += ["CI=true: no test may be skipped, so no test was run.", ""]
    return "\n".join(lines)


def require(command: str) -> str:
    """Return the path of a program for the test that runs now.

    Without the program the test is skipped; with ``CI=true`` it fails.

    Args:
        command: The program; for one of :data:`NEEDS` any of its other names will do as well.
    """
    need = next((need for need in NEEDS if command in need.commands), None)
    path = find(command) if need is None else need.path()
    if path is None:
        _give_up(f"{command} is missing; install it to run this test")
    return path


def require_package(name: str) -> Path:
    """Return the directory of a package of tests/js; without it skip the test, or fail in CI."""
    folder = NODE_MODULES / name
    if not folder.is_dir():
        _give_up(f"the npm package {name} is missing; run 'npm ci' in tests/js to run this test")
    return folder


def require_file(path: str) -> Path:
    """Return the path of a library's file; without it skip the test, or fail in CI."""
    if not Path(path).exists():
        names = [need.name for need in NEEDS if path in need.files]
        _give_up(f"{(*names, path)[0]} is missing; install it to run this test")
    return Path(path)


def require_target(name: str) -> Path:
    """Return the folder of a Python client; without it skip the test, or fail in CI."""
    folder = Path(sys.prefix) / "clients" / name
    if not folder.is_dir():
        _give_up(f"{name} is missing; run 'make foreign-clients' to run this test")
    return folder


def require_module(name: str) -> ModuleType:
    """Return a module of the ``test`` extra; without it skip the test, or fail in CI."""
    if find_spec(name) is None:
        _give_up(f"{name} is missing; install rtchat[test] to run this test")
    return import_module(name)


def _give_up(reason: str) -> NoReturn:
    import pytest  # not at the top: main() runs without pytest

    if in_ci():
        pytest.fail(f"{reason} (CI=true: no test may be skipped)")
    pytest.skip(reason)


def main(arguments: Sequence[str]) -> int:
    """Print what is missing; return the exit code, 1 if tests must not run without it."""
    absent = missing()
    if "--packages" in arguments:
        sys.stdout.write(" ".join(package for need in absent for package in need.packages) + "\n")
        return 0
    if not absent:
        return 0
    sys.stderr.write(f"\n{report(absent, is_error=in_ci())}\n")
    return 1 if in_ci() else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
