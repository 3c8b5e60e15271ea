"""
What is served: C{/openapi.json}, and the files of C{/docs/}.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cached_property
from hashlib import sha256
from importlib.resources import files

import attrs
import msgspec
from twisted.web.http import CACHED

from restbridge.openapi.document import document
from restbridge.stanzas.media import HTML, JSON
from restbridge.web.answer import Answer, Headers
from restbridge.web.site import BridgeRequest, NotFound

_FILES = {
    "": ("index.html", f"{HTML}; charset=utf-8"),
    "start.js": ("start.js", "text/javascript; charset=utf-8"),
    "swagger-ui-bundle.js": ("swagger-ui-bundle.js", "text/javascript; charset=utf-8"),
    "swagger-ui.css": ("swagger-ui.css", "text/css; charset=utf-8"),
    "favicon-32x32.png": ("favicon-32x32.png", "image/png"),
}
"""By what follows C{/docs/}: the file in the folder C{static}, and its media type."""

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
"""The page asks nobody but this server, and nobody else's script runs in it (Content Security Policy)."""

_HEADERS = (
    ("Content-Security-Policy", POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
)


@attrs.frozen(kw_only=True, slots=False)
class Document:
    """
    Bytes that stay as they are while the bridge runs. Most bridges are never asked for them: they are there
    when somebody asks.

    @ivar read: makes them.
    """

    read: Callable[[], bytes]
    mediaType: str
    headers: Headers = ()

    @cached_property
    def body(self) -> bytes:
        return self.read()

    @cached_property
    def tag(self) -> bytes:
        """
        Its ETag.
        """
        return b'"%s"' % sha256(self.body).hexdigest()[:32].encode()


class Documents(NotFound):
    """
    Documents by their paths; a reader who has one already is told so.
    """

    def __init__(self, documents: Mapping[bytes, Document]) -> None:
        super().__init__()
        self._documents = documents

    def answer(self, request: BridgeRequest) -> Answer:
        document = self._documents.get(request.path)
        if document is None or request.method not in (b"GET", b"HEAD"):
            return super().answer(request)
        headers = (("Cache-Control", "no-cache"), ("ETag", document.tag.decode()), *document.headers)
        if request.setETag(document.tag) is CACHED:
            return Answer(304, headers=headers)
        return Answer(200, document.body, document.mediaType, headers)


class Page(Documents):
    """
    Likewise, and the way to the page for who left its last slash out.
    """

    def answer(self, request: BridgeRequest) -> Answer:
        if request.path == b"/docs":
            # Relative, for a proxy that serves all this under a path of its own.
            return Answer(301, headers=(("Location", "docs/"),))
        return super().answer(request)


def openAPI() -> Documents:
    """
    C{/openapi.json}.
    """
    described = Document(read=lambda: msgspec.json.encode(document()), mediaType=JSON)
    return Documents({b"/openapi.json": described})


def page() -> Page:
    """
    C{/docs/}, and what the page is made of.
    """
    folder = files("restbridge.openapi") / "static"
    return Page(
        {
            f"/docs/{path}".encode(): Document(
                read=(folder / name).read_bytes, mediaType=mediaType, headers=_HEADERS
            )
            for path, (name, mediaType) in _FILES.items()
        }
    )
