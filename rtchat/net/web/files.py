"""The page's files and the resource tree."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from twisted.web.resource import IResource, Resource
from twisted.web.server import Request
from twisted.web.static import File
from typing_extensions import override

from rtchat.net.web.requests import RefusalPage, header_values

__all__ = ["PageFiles", "page_tree"]


# Pages written for Orbited load these files; ours define the same names.
_ALIASES = {
    ("Orbited.js",): "tcpsocket.js",
    ("protocols", "stomp", "stomp.js"): "stomp.js",
}

# The mount that the chat page links, if it holds the folder examples/demos.
_DEMOS = "demos"
_DEMO_LINKS = "links.js"

_CONTENT_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".mjs": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".json": "application/json",
}


class _Files(File):
    """Public files; folders are not listed."""

    @override
    def directoryListing(self) -> IResource:
        return self.childNotFound

    @override
    def getChild(self, path: bytes, request: Request) -> IResource:
        try:
            is_name = "\0" not in path.decode("utf-8")
        except UnicodeDecodeError:
            is_name = False
        if not is_name:
            return self.childNotFound
        resource: IResource = super().getChild(path, request)
        return resource

    @override
    def createSimilarFile(self, path: str) -> File:
        similar = type(self)(path, self.defaultType, self.ignoredExts)
        similar.contentTypes = self.contentTypes
        similar.contentEncodings = self.contentEncodings
        similar.indexNames = self.indexNames
        return similar

    childNotFound = RefusalPage(404, "There is nothing at this address.\n")  # type: ignore[assignment]


class PageFiles(_Files):
    """The page's own files, with the headers that let browsers keep them safe."""

    contentTypes = {**File.contentTypes, **_CONTENT_TYPES}  # noqa: N815, RUF012

    def frame_ancestors(self) -> str:
        """Return the value of ``frame-ancestors`` in the Content-Security-Policy."""
        return "'self'"

    @override
    def render_GET(self, request: Request) -> bytes | int:
        host = (header_values(request, "Host") or [""])[0]
        own = f" ws://{host} wss://{host}" if host else ""
        request.setHeader(
            "Content-Security-Policy",
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
            f"connect-src 'self'{own}; manifest-src 'self'; base-uri 'none'; "
            f"form-action 'self'; frame-ancestors {self.frame_ancestors()}",
        )
        request.setHeader("Referrer-Policy", "no-referrer")
        # Pages of other ports and hosts may load stomp.js and tcpsocket.js, also as modules.
        request.setHeader("Access-Control-Allow-Origin", "*")
        request.setHeader("Cross-Origin-Resource-Policy", "cross-origin")
        request.setHeader("Cache-Control", "no-cache")
        result: bytes | int = super().render_GET(request)
        return result

    render_HEAD = render_GET


class _DemoLinks(Resource):
    """Redirect from the page's own module without links to the one of the demos."""

    isLeaf = True

    def render_GET(self, request: Request) -> bytes:
        request.redirect(f"/{_DEMOS}/{_DEMO_LINKS}".encode())
        return b""


def page_tree(
    static: Path, mounts: Mapping[str, Path], children: Mapping[str, IResource]
) -> Resource:
    """Return the resource tree that a :class:`PageSite` serves.

    A mount named ``demos`` that holds the demo pages is served like the page itself, with the same
    headers, and the chat page learns that it may link them.

    Args:
        static: The folder with the page's files; its ``index.html`` is ``/``.
        mounts: Further files and folders by their names in the tree.
        children: ``ws``, ``tcp``, ``health``, … by name.
    """
    root = Resource()
    files = PageFiles(str(static))
    root.putChild(b"static", files)
    root.putChild(b"", PageFiles(str(static / "index.html")))
    root.putChild(b"favicon.ico", PageFiles(str(static / "favicon.svg")))
    for alias, name in _ALIASES.items():
        folder: Resource = files
        for segment in alias[:-1]:
            child = folder.children.get(segment.encode())
            if child is None:
                child = Resource()
                folder.putChild(segment.encode(), child)
            folder = child
        folder.putChild(alias[-1].encode(), PageFiles(str(static / name)))
    for name, path in mounts.items():
        has_demos = name == _DEMOS and (path / _DEMO_LINKS).is_file()
        mount = PageFiles(str(path)) if has_demos else _Files(str(path))
        mount.contentTypes = PageFiles.contentTypes
        root.putChild(name.encode(), mount)
        if has_demos:
            files.putChild(b"demos.js", _DemoLinks())
    for name, resource in children.items():
        root.putChild(name.encode(), resource)
    return root
