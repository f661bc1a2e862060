"""``[static]`` and the HTTP limits of ``[proxy]``: the page's web server, and ``/health``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from twisted.web.resource import IResource

from rtchat import __version__
from rtchat.config.ini import SourceLine
from rtchat.config.keys import key, lines
from rtchat.config.values import URL_SEGMENT, filled_text
from rtchat.core.access.hosts import HostList
from rtchat.net.connection.limits import SourceLimiter
from rtchat.net.web.embed import EmbedPage
from rtchat.net.web.files import page_tree
from rtchat.net.web.health import Health
from rtchat.net.web.site import PageSite
from rtchat.server.access import AccessPart
from rtchat.server.front_proxy import FrontProxyPart
from rtchat.server.part import Part, Server

__all__ = ["WebPart", "WebSettings", "static_folder"]

# The paths of rtchat's own resources, here or in a version to come.
_RESERVED_MOUNTS = ("static", "ws", "stomp", "tcp", "embed", "health", "metrics", "status")

# Programs read /health; its members keep this order. Further gauges follow them.
_HEALTH_ORDER = (
    "stomp_sessions",
    "stomp_websockets",
    "proxied_websockets",
    "subscriptions",
    "topics",
    "queues",
    "queued_messages",
    "held_bytes",
    "people",
    "messages",
)


def _read_mounts(source_lines: Mapping[str, SourceLine]) -> Mapping[str, Path]:
    return MappingProxyType({name: _read_mount(line) for name, line in source_lines.items()})


def _read_mount(source_line: SourceLine) -> Path:
    """Read one line of ``[static]``: return the folder or file that it serves."""
    if not URL_SEGMENT.fullmatch(source_line.key):
        raise source_line.error(
            "has a name that cannot be part of a URL; use letters, digits, '.', '_' and '-', "
            "beginning with a letter or digit"
        )
    if source_line.key.lower() in _RESERVED_MOUNTS:
        raise source_line.error(
            f"takes the path /{source_line.key}, which rtchat needs; choose another name"
        )
    path = source_line.folder / filled_text(source_line)
    if not os.path.exists(path):
        raise source_line.error(
            f"does not exist; write the path of a folder or file ({path} was tried)"
        )
    if not os.access(path, os.R_OK | (os.X_OK if os.path.isdir(path) else 0)):
        raise source_line.error("cannot be read; change its permissions or the path")
    return path


@dataclass(frozen=True, slots=True)
class WebSettings:
    """What the web server serves, and how many it serves.

    Attributes:
        static: The folder or file that is served at each path of one part.
        handshake_timeout_s: Seconds that a client has to send the head of an HTTP request.
        max_http: How many HTTP connections there may be at once, WebSockets not counted; 0 is no
            limit.
        max_http_per_source: How many from one address; 0 is no limit.
    """

    static: Mapping[str, Path] = lines("[static]", _read_mounts)
    handshake_timeout_s: float = key(
        "[proxy] handshake.timeout", 10.0, unit="seconds", low=0.1, high=600
    )
    max_http: int = key(
        "[proxy] http.connections.total",
        20_000,
        unit="connections",
        low=1,
        high=1_000_000,
        or_zero=True,
    )
    max_http_per_source: int = key(
        "[proxy] http.connections.per_source",
        10_000,
        unit="connections",
        low=1,
        high=1_000_000,
        or_zero=True,
    )


class WebPart(Part[WebSettings]):
    """The web server: the page and ``/health``; other parts add their resources.

    Attributes:
        site: Serves HTTP connections.
    """

    reads = (WebSettings,)

    def __init__(self, settings: WebSettings, server: Server) -> None:
        super().__init__(settings, server)
        self._server = server
        self._started_s = server.clock.seconds()
        access, front = server.part(AccessPart), server.part(FrontProxyPart).settings
        page = static_folder()
        self._root = page_tree(page, settings.static, {})
        self.serve(
            "embed", EmbedPage(page / "embed.html", access.access_list, access.stomp_targets)
        )
        self.serve("health", Health(self._facts))
        self.site = PageSite(
            self._root,
            HostList(access.own_names),
            server.clock,
            trusted=None if front.has_proxy_header else front.trusted,
            trusts=access.access_list.trusts,
            handshake_timeout_s=settings.handshake_timeout_s,
            limiter=SourceLimiter(
                "[proxy] http.connections",
                server.client_log,
                settings.max_http,
                settings.max_http_per_source,
                front.trusted,
            ),
            client_log=server.client_log,
        )

    def serve(self, name: str, resource: IResource) -> None:
        """Serve a resource at ``/name``.

        Raises:
            SystemExit: ``[static]`` has this name.
        """
        if name in self.settings.static:
            raise SystemExit(
                f"rtchat: {self._server.source}: [static] {name} takes the path /{name}, which "
                "rtchat needs; choose another name"
            )
        self._root.putChild(name.encode(), resource)

    def _facts(self) -> Mapping[str, object]:
        """Return the members of ``/health``."""
        gauges = {name: now for part in self._server.parts for name, now in part.gauges().items()}
        order = dict.fromkeys((*filter(gauges.__contains__, _HEALTH_ORDER), *gauges))
        checks = {
            name: check for part in self._server.parts for name, check in part.checks().items()
        }
        problems = {name: check.problem() for name, check in checks.items()}
        status = "ok"
        if any(problems.values()):
            is_failed = any(problems[name] for name, check in checks.items() if check.is_vital)
            status = "failed" if is_failed else "degraded"
        return {
            "status": status,
            "checks": {name: problem or "ok" for name, problem in problems.items()},
            "version": __version__,
            "uptime_s": round(self._server.clock.seconds() - self._started_s, 3),
            **{name: gauges[name]() for name in order},
        }


def static_folder() -> Path:
    """Find the page: inside the installed package, or beside it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "static"
    return inside if inside.is_dir() else package.parent / "static"
