"""nginx in front of a server, with a configuration of the documents."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.needs import require
from support.process import free_port, until
from support.web_site import is_open

__all__ = ["running_nginx"]


@contextmanager
def running_nginx(folder: Path, text: str) -> Iterator[str]:
    """Run nginx until the block ends, without TLS, on a free port; give the address of its page.

    Args:
        folder: Where it writes.
        text: Its ``map`` and ``server``.
    """
    port = free_port()
    text = text.replace("listen 443 ssl;", f"listen 127.0.0.1:{port};")
    text = re.sub(r"^ *ssl_certificate.*\n", "", text, flags=re.MULTILINE)
    parts = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"{part}_temp_path {folder}/nginx-{part};\n" for part in parts)
    conf = folder / "nginx.conf"
    conf.write_text(
        f"daemon off;\nmaster_process off;\npid {folder}/nginx.pid;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{paths}{text}\n}}\n"
    )
    log = folder / "nginx.log"
    process = subprocess.Popen(
        [require("nginx"), "-c", str(conf), "-e", str(log), "-p", str(folder)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        until("nginx", lambda: is_open(port), 20, lambda: log.read_text(encoding="utf-8"))
        yield f"http://localhost:{port}/"
    finally:
        process.terminate()
        process.wait(20)
