"""
The whole description: OpenAPI 3.1.
"""

from __future__ import annotations

from restbridge._version import __version__
from restbridge.openapi import client, contacts, events, health, messages, rest, rooms, stanzas
from restbridge.openapi.parts import ERROR, Part

_DESCRIPTION = """\
A REST API for every XMPP server. `/rest` sends any stanza and gives back what answers it, for accounts
of the bridge and for XMPP users; `/api` is for XMPP users: messages, rooms, contacts, events.

An account logs in by its name and password, or its token; an XMPP user by the bare address and the XMPP
password, or by a token that the XMPP server takes.
"""

_SECURITY: dict[str, Part] = {
    "basic": {
        "type": "http",
        "scheme": "basic",
        "description": "An account's name or address, or an XMPP user's bare address.",
    },
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "A token of an account or of an XMPP user; or an OAuth 2.0 access token, as far as its"
        " scopes restbridge:send, restbridge:query and restbridge:admin go: what it lacks is 403.",
    },
    "user": {
        "type": "apiKey",
        "in": "header",
        "name": "X-XMPP-JID",
        "description": "Whose token it is, where an XMPP user's doesn't say so itself.",
    },
}


def document() -> Part:
    """
    The document.
    """
    paths = (rest, messages, rooms, contacts, events, health)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "restbridge",
            "version": __version__,
            "summary": "A REST API for every XMPP server",
            "description": _DESCRIPTION,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        # Relative to the document: right behind a proxy with a path of its own, too.
        "servers": [{"url": "."}],
        "security": [{"basic": []}, {"bearer": []}, {"bearer": [], "user": []}],
        "tags": [{"name": each.TAG} for each in paths],
        "paths": {path: item for each in paths for path, item in each.paths().items()},
        "components": {
            "securitySchemes": _SECURITY,
            "schemas": _schemas(),
            "responses": {**rest.RESPONSES, **client.RESPONSES},
        },
    }


def _schemas() -> dict[str, Part]:
    found: dict[str, Part] = {"Error": ERROR}
    for each in (stanzas, client, messages, rooms, contacts):
        found |= each.SCHEMAS
    return found
