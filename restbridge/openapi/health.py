"""
C{/healthz} and C{/readyz}.
"""

from __future__ import annotations

from restbridge.openapi.parts import TEXT, Part, operation, response

TAG = "Health"


def _said(description: str, text: str) -> Part:
    return response(description, {"text/plain": {"schema": TEXT, "example": f"{text}\n"}})


def paths() -> dict[str, Part]:
    """
    The paths that need no credentials.
    """
    alive = operation(TAG, "isAlive", "Does the process live?", {200: _said("It does.", "ok")})
    ready = operation(
        TAG,
        "isReady",
        "Is its XMPP connection up?",
        {
            200: _said("It is.", "ok"),
            503: _said("It isn't, and why.", "the connection to the XMPP server is down"),
        },
    )
    return {"/healthz": {"get": {**alive, "security": []}}, "/readyz": {"get": {**ready, "security": []}}}
