"""
The room's parts, put together.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from typing import Any

from restbridge.config import UserDomain
from restbridge.users.routes import Routes, optionsForTLS
from restbridge.users.sessions import Served, Sessions
from restbridge.web.attempts import Attempts
from restbridge.workers import Workers
from restbridge.xmpp.c2s import Logins
from restbridge.xmpp.locate import Locator, PatientResolver

RESOLVER_CONFIGURATION = b"/etc/resolv.conf"


def sessionsOf(
    domains: Mapping[str, UserDomain], *, reactor: Any, workers: Workers, attempts: Attempts
) -> Sessions:
    """
    The sessions of the users of these domains.
    """
    served = _served(domains, reactor, workers) if domains else {}
    return Sessions(served=served, attempts=attempts, clock=reactor)


def _served(domains: Mapping[str, UserDomain], reactor: Any, workers: Workers) -> dict[str, Served]:
    resolver = PatientResolver(RESOLVER_CONFIGURATION, reactor=reactor)
    locator = Locator(resolver=resolver, clock=reactor)
    served = {}
    for domain, settings in domains.items():
        routes = Routes(settings=settings, locator=locator, reactor=reactor)
        options = cache(partial(optionsForTLS, settings))
        logins = Logins(domain=domain, routes=routes, options=options, workers=workers, clock=reactor)
        served[domain] = Served(settings=settings, logins=logins)
    return served
