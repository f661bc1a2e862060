"""examples/echo.py as a server of the tests'."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

from support.certificate import Certificate
from support.process import ROOT, environment

__all__ = ["Echo"]


class Echo:
    """A running echo server.

    Args:
        folder: Where its certificate goes; without one it runs without TLS.

    Attributes:
        url: The address that it printed.
        port: The port in it.
        certificate: What it shows, or None.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.certificate: Certificate | None = None
        arguments: list[str] = []
        if folder is not None:
            self.certificate = Certificate.for_browsers()
            arguments = [str(path) for path in self.certificate.write(folder)]
        self._process = subprocess.Popen(
            [sys.executable, str(ROOT / "examples" / "echo.py"), "0", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment(),
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        found = re.fullmatch(r"wss?://127\.0\.0\.1:(\d+)/", self.url)
        assert found is not None, f"no address: {self.url!r}"
        self.port = int(found.group(1))

    def stop(self) -> tuple[int, str]:
        """Send SIGTERM; return the exit code and what else it said."""
        self._process.send_signal(signal.SIGTERM)
        said, _ = self._process.communicate(timeout=10)
        return self._process.returncode, said

    def close(self) -> None:
        """End it however it is."""
        self._process.kill()
        self._process.communicate()
