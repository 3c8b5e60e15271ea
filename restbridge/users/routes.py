"""
The ways to the servers of a domain: the endpoint that is configured, or those that DNS names.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

from twisted.internet.endpoints import HostnameEndpoint, clientFromString, wrapClientTLS
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IStreamClientEndpoint
from twisted.internet.ssl import optionsForClientTLS

from restbridge.config import UserDomain
from restbridge.web.trust import trustRoots
from restbridge.xmpp.c2s import Route
from restbridge.xmpp.locate import Locator

CONNECT_TIMEOUT = 1.5
"""Seconds for a connection to one of the hosts that DNS names, before the next is tried."""


def optionsForTLS(
    settings: UserDomain, protocols: Sequence[bytes] | None = None
) -> IOpenSSLClientConnectionCreator:
    """
    TLS that trusts a domain's servers: their certificate must be for the domain's own name (RFC 6120,
    section 13.7.2), whatever host they are on. One context serves all connections.

    @param protocols: what is asked for by ALPN.
    """
    host = settings.domain.removeprefix("[").removesuffix("]")
    return optionsForClientTLS(host, trustRoot=trustRoots(settings.caFile), acceptableProtocols=protocols)


class Routes:
    """
    Finds the routes to one domain.
    """

    def __init__(self, *, settings: UserDomain, locator: Locator, reactor: Any) -> None:
        self._settings = settings
        self._locator = locator
        self._reactor = reactor

    @cached_property
    def _direct(self) -> IOpenSSLClientConnectionCreator:
        # One port may serve several protocols by their names (XEP-0368).
        return optionsForTLS(self._settings, [b"xmpp-client"])

    async def __call__(self) -> Sequence[Route]:
        """
        The routes, the best first.

        @raise LinkDown: the domain says that it has none.
        """
        tls, connect = self._settings.tls, self._settings.connect
        if connect is not None:
            configured = clientFromString(self._reactor, connect)
            return [self._route(configured, direct=tls == "direct", startTLS=tls == "required")]
        return [
            self._route(
                HostnameEndpoint(self._reactor, found.host, found.port, timeout=CONNECT_TIMEOUT),
                direct=found.direct,
                startTLS=not found.direct,
            )
            for found in await self._locator.candidates(self._settings.domain, tls)
        ]

    def _route(self, endpoint: IStreamClientEndpoint, *, direct: bool, startTLS: bool) -> Route:
        if direct:
            endpoint = wrapClientTLS(self._direct, endpoint)
        return Route(endpoint=endpoint, startTLS=startTLS)
