"""
Cross-origin requests (the Fetch standard, section 3.2), for the origins that the operator names.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.web.http import Request

from restbridge.web.answer import Answer

ALLOWED = (
    ("Access-Control-Allow-Methods", "GET, POST, PUT, DELETE"),
    (
        "Access-Control-Allow-Headers",
        (
            "Authorization, Content-Type, Accept, "
            "Prosody-Rest-Timeout, Last-Event-ID, Idempotency-Key, X-Request-ID"
        ),
    ),
    ("Access-Control-Max-Age", "7200"),
)


EXPOSED = "Idempotent-Replayed, Restbridge-Ignored, Retry-After, X-Request-ID"
"""Headers of an answer that a page may read beside those that all pages may."""


def allowOrigin(request: Request, origins: Sequence[str]) -> None:
    """
    Say that the page that asks may read the answer, if its origin is among C{origins} or they hold C{*}.

    Credentials travel in a header that the page sets itself, never in cookies: no
    Access-Control-Allow-Credentials.
    """
    if not origins:
        return
    origin = (request.getHeader(b"origin") or b"").decode("latin-1")
    request.responseHeaders.addRawHeader("Vary", "Origin")
    if origin and ("*" in origins or origin in origins):
        request.setHeader("Access-Control-Allow-Origin", "*" if "*" in origins else origin)
        request.setHeader("Access-Control-Expose-Headers", EXPOSED)


def preflight(request: Request, origins: Sequence[str]) -> Answer | None:
    """
    The answer to a browser that asks whether it may ask.
    """
    if request.method != b"OPTIONS" or request.getHeader(b"access-control-request-method") is None:
        return None
    return Answer(204, headers=ALLOWED if origins else ())
