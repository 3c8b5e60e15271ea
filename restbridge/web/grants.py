"""
What the claims of an access token allow, whoever has read them: out of a JWT (RFC 9068), or as the
authorization server tells them (RFC 7662, section 2.2).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from restbridge.config import OAuth2 as Settings

SEND = "restbridge:send"
QUERY = "restbridge:query"
ADMIN = "restbridge:admin"
SCOPES = frozenset({SEND, QUERY, ADMIN})

LEEWAY = 60.0
"""Seconds by which the clocks of two machines may differ."""

MAX_NAME = 3071
"""Characters: an address has no more (RFC 7622, section 3.1)."""

_LAST = 2**53
"""Past it a number of seconds is none."""


class TokenRefused(Exception):
    """
    An access token isn't accepted. The reason is in words for the caller, and repeats nothing of the token.
    """


@attrs.frozen(kw_only=True)
class Grant:
    """
    What an access token allows.

    @ivar name: whom its claim names.
    @ivar scopes: of L{SCOPES}.
    @ivar until: seconds since the epoch; L{None} where it doesn't say.
    """

    name: str
    scopes: frozenset[str]
    until: float | None


def grantOf(claims: Mapping[str, Any], settings: Settings, now: float, *, whole: bool) -> Grant:
    """
    What these claims allow.

    @param now: seconds since the epoch.
    @param whole: whether the issuer and the end must be among the claims; the audience must be wherever
        there is one in the settings.
    @raise TokenRefused: nothing.
    """
    if settings.issuer is not None and (whole or "iss" in claims) and claims.get("iss") != settings.issuer:
        raise TokenRefused("is of another issuer")
    if settings.audience is not None and settings.audience not in _texts(claims.get("aud")):
        raise TokenRefused("is for another audience")
    until = _time(claims, "exp")
    if until is None and whole:
        raise TokenRefused("doesn't say when it expires")
    if until is not None and until + LEEWAY <= now:
        raise TokenRefused("has expired")
    start = _time(claims, "nbf")
    if start is not None and start - LEEWAY > now:
        raise TokenRefused("isn't valid yet")
    return Grant(name=_name(claims, settings), scopes=_scopes(claims), until=until)


def _name(claims: Mapping[str, Any], settings: Settings) -> str:
    name = claims.get(settings.accountClaim)
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME:
        raise TokenRefused(f'names nobody: its claim "{settings.accountClaim}" is missing, or no name')
    return name


def _scopes(claims: Mapping[str, Any]) -> frozenset[str]:
    scope = claims.get("scope")
    return SCOPES.intersection(scope.split(" ") if isinstance(scope, str) else _texts(scope))


def _texts(value: object) -> list[str]:
    """
    A text, or those in an array.
    """
    if isinstance(value, str):
        return [value]
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else []


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    """
    A NumericDate (RFC 7519, section 2).
    """
    value = claims.get(name)
    if value is None:
        return None
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < _LAST:
        raise TokenRefused(f'has no time in its claim "{name}"')
    return float(value)
