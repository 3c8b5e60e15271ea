"""
The URLs of an OAuth 2.0 authorization server: secrets and keys travel by them, so in clear only on this
machine.
"""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

from restbridge.config.reading import Place, shown, text

_EXPECTED = 'must be an "https://" URL (of a loopback address "http://", too) without credentials and "#"'


def isSecure(url: str) -> bool:
    """
    Whether nobody between can read or change what is asked at a URL.
    """
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return False
    if not (url.isascii() and url.isprintable()) or " " in url or "#" in url or "@" in parts.netloc:
        return False
    return bool(host) and (parts.scheme == "https" or (parts.scheme == "http" and _isLoopback(host or "")))


def _isLoopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def secureURL(value: object, place: Place) -> str:
    """
    A URL of the authorization server. It may hold a password by mistake, and no fault repeats it.
    """
    url = text(value if isinstance(value, str) else None, place)
    if not isSecure(url):
        raise place.refused(_EXPECTED)
    return url


def issuer(value: object, place: Place) -> str:
    """
    An issuer identifier (RFC 8414, section 2), character for character as its tokens have it.
    """
    url = secureURL(value, place)
    if "?" in url:
        raise place.refused(f"must be an issuer's identifier, which has no query, not {shown(url)}")
    return url
