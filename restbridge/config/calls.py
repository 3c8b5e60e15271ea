"""
What an HTTP call to a callback is made of: the template of its URL, and headers.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from urllib.parse import unquote_to_bytes, urlsplit

from restbridge.config.reading import Place, named, text
from restbridge.config.secrets import secret
from restbridge.config.values import Secret

_VARIABLES = ("{kind}", "{type}", "{to}", "{from}")
_VARIABLE = re.compile(r"\{[^{}]*\}")
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]+")
_RESERVED = {
    *("connection", "content-length", "expect", "host", "keep-alive", "proxy-authorization"),
    *("proxy-connection", "te", "trailer", "transfer-encoding", "upgrade", "accept-encoding"),
    *("content-encoding", "content-type", "webhook-id", "webhook-signature", "webhook-timestamp"),
}
"""Of one connection or of the framing (RFC 9110, section 7.6.1), or set by the bridge for each call."""


def url(value: object, place: Place) -> str:
    """
    A URL template. It may hold a password, and no fault repeats it.
    """
    template = text(value if isinstance(value, str) else None, place)
    problem = _problemOfStart(template) or _problemOfVariables(template)
    if problem:
        raise place.refused(problem)
    return template


def _problemOfStart(template: str) -> str | None:
    if not template.isprintable() or " " in template:
        return "must hold no space and no control character"
    try:
        parts = urlsplit(template)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "must be a URL; its host or its port is none"
    if parts.scheme not in ("http", "https") or not host:
        return 'must begin with "http://" or "https://" and a host'
    if "{" in parts.netloc or "}" in parts.netloc:
        return "must have its variables behind the host, in the path or the query"
    if parts.fragment:
        return 'must have no "#": what stands behind it is never sent'
    return None


def _problemOfVariables(template: str) -> str | None:
    for variable in _VARIABLE.findall(template):
        if variable not in _VARIABLES:
            return f"unknown variable {variable}; allowed: {', '.join(_VARIABLES)}"
    if re.search("[{}]", _VARIABLE.sub("", template)):
        return f'has a "{{" or a "}}" that is part of no variable; allowed: {", ".join(_VARIABLES)}'
    return None


def credentials(template: str) -> Mapping[str, Secret]:
    """
    The header that the credentials in a URL stand for, which HTTP clients don't send by themselves.
    """
    userinfo, at, _ = urlsplit(template).netloc.rpartition("@")
    if not at:
        return {}
    user, _, password = userinfo.partition(":")
    pair = unquote_to_bytes(user) + b":" + unquote_to_bytes(password)
    return {"authorization": Secret(f"Basic {b64encode(pair).decode()}")}


def withoutCredentials(template: str) -> str:
    """
    The URL with nothing in it that a log may not show.
    """
    parts = urlsplit(template)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _headerName(name: str, place: Place) -> str:
    if not _NAME.fullmatch(name):
        raise place.refused("must be the name of a header: letters, digits and -, without spaces")
    if name.lower() in _RESERVED:
        raise place.refused("is set by the bridge itself, and can't be configured")
    return name.lower()


_headerValue = secret("the value of a header, without line breaks and control characters", _VALUE.fullmatch)

headers = named(_headerName, lambda _, value, place: _headerValue(value, place))
