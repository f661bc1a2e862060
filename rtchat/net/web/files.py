"""The page's files and the resource tree."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote

from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET, Request
from twisted.web.static import File, getTypeAndEncoding
from typing_extensions import override

from rtchat.net.web.ranges import Part, read_ranges
from rtchat.net.web.requests import RefusalPage, header_values, log_refusal
from rtchat.net.web.sending import FileSender, Multipart
from rtchat.net.web.validators import TagCache, failed_condition, may_send_ranges
from rtchat.text import escaped

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


_UNKNOWN_TYPE = "application/octet-stream"
"""The type of a file whose name says nothing: browsers save it, and never run it as a page."""

_UNREADABLE = RefusalPage(403, "This server may not read the file at this address.\n")

_WELL_KNOWN = b".well-known"  # RFC 8615

_URI_CHARACTERS = "!#$%&'()*+,/:;=?@[]~"  # beside letters, digits and "-._"


class _Files(File):
    """Public files; folders are not listed, and names that begin with a dot are not there.

    A file is sent with its validators, whole or in the parts that are asked for, or not at all if
    the client has it (:mod:`rtchat.net.web.validators`, :mod:`rtchat.net.web.ranges`).
    """

    mount: str | None = None
    """The folder, or the one file, that no link may lead out of; None trusts all links."""

    _tags = TagCache()

    def __init__(
        self,
        path: str,
        defaultType: str = _UNKNOWN_TYPE,  # noqa: N803
        ignoredExts: Sequence[str] = (),  # noqa: N803
    ) -> None:
        super().__init__(path, defaultType, ignoredExts)

    @override
    def directoryListing(self) -> IResource:
        return self.childNotFound

    @override
    def getChild(self, path: bytes, request: Request) -> IResource:
        # A slash may stand escaped in a name: x%2F..%2F.env would be the file .env.
        try:
            is_name = not {"\0", "/"} & set(path.decode("utf-8"))
        except UnicodeDecodeError:
            is_name = False
        is_hidden = path.startswith(b".") and path != _WELL_KNOWN
        if is_hidden or not is_name:
            return self.childNotFound
        resource: IResource = super().getChild(path, request)
        return resource

    @override
    def createSimilarFile(self, path: str) -> File:
        similar = type(self)(path, self.defaultType, self.ignoredExts)
        similar.contentTypes = self.contentTypes
        similar.contentEncodings = self.contentEncodings
        similar.indexNames = self.indexNames
        similar.mount = self.mount
        return similar

    @override
    def render_GET(self, request: Request) -> bytes | int:
        path = os.path.realpath(self.path)
        if self.mount is not None and not _is_within(path, self.mount):
            log_refusal(request, f"a link leads out of the folder {escaped(self.mount)}")
            return self.childNotFound.render(request)
        try:
            # Not blocking: it may be a FIFO, which would wait for a writer.
            descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except PermissionError:
            return _UNREADABLE.render(request)
        except OSError:
            return self.childNotFound.render(request)
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            os.close(descriptor)
            if stat.S_ISDIR(facts.st_mode):
                return _redirect_into(request)
            return self.childNotFound.render(request)
        file = os.fdopen(descriptor, "rb")
        body = self._answer(request, file, facts)
        if body is not None:
            body.start()
            return NOT_DONE_YET
        file.close()
        if request.code == 304:
            # Not through render(), which would add a Content-Length that is not the file's.
            request.finish()
            return NOT_DONE_YET
        return b""

    render_HEAD = render_GET

    def _answer(self, request: Request, file: BinaryIO, facts: os.stat_result) -> FileSender | None:
        """Set status and headers; return the body, if there is to be one."""
        kind, encoding = getTypeAndEncoding(
            self.basename(), self.contentTypes, self.contentEncodings, self.defaultType
        )
        size = facts.st_size
        validators = self._tags.of(file, facts)
        validators.set_on(request)
        request.setHeader(b"Accept-Ranges", b"bytes")
        if (status := failed_condition(request, validators)) is not None:
            request.setResponseCode(status)
            return None
        if encoding:
            request.setHeader(b"Content-Encoding", encoding.encode("ascii"))
        wanted = header_values(request, "Range")
        parts = None
        # "GET is the only method for which range handling is defined" (RFC 9110, 14.2).
        if request.method == b"GET" and len(wanted) == 1 and may_send_ranges(request, validators):
            parts = read_ranges(wanted[0], size)
        if parts is None:
            _set_content(request, kind, size)
            if request.method == b"HEAD":
                return None
            return FileSender(request, file, [Part(0, size)] if size else [])
        if not parts:
            request.setResponseCode(416)
            request.setHeader(b"Content-Range", b"bytes */%d" % size)
            request.setHeader(b"Content-Length", b"0")
            return None
        request.setResponseCode(206)
        if len(parts) == 1:
            [(first, length)] = parts
            place = b"bytes %d-%d/%d" % (first, first + length - 1, size)
            request.setHeader(b"Content-Range", place)
            _set_content(request, kind, length)
            return FileSender(request, file, parts)
        frame = Multipart(parts, size, kind)
        _set_content(request, frame.content_type, frame.length)
        return FileSender(request, file, parts, frame.heads, frame.end)

    childNotFound = RefusalPage(404, "There is nothing at this address.\n")  # type: ignore[assignment]


def _is_within(path: str, mount: str) -> bool:
    """Return whether a path without links is a mount, or below it; the mount may be a link."""
    base = os.path.realpath(mount)
    return os.path.commonpath([path, base]) == base


def _set_content(request: Request, kind: str, length: int) -> None:
    request.setHeader(b"Content-Type", kind.encode("ascii"))
    request.setHeader(b"Content-Length", b"%d" % length)


def _redirect_into(request: Request) -> bytes:
    """Redirect from a folder without its slash to the folder."""
    path, mark, query = request.uri.partition(b"?")
    # The bytes are the client's. Two slashes at the beginning would name another host.
    target = b"/" + path.strip(b"/") + b"/" + mark + query
    request.redirect(quote(target, safe=_URI_CHARACTERS).encode("ascii"))
    return b""


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
        mount.mount = str(path)
        root.putChild(name.encode(), mount)
        if has_demos:
            files.putChild(b"demos.js", _DemoLinks())
    for name, resource in children.items():
        root.putChild(name.encode(), resource)
    return root
