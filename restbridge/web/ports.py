"""
Where the bridge listens: the endpoints of a section, and what they show.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.application.internet import StreamServerEndpointService
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IStreamServerEndpoint

from restbridge.config import ConfigurationRefused, Fault
from restbridge.web.certificates import Certificate, hasCertificate
from restbridge.web.serving import Serving
from restbridge.web.site import BridgeSite


class Ports:
    """
    The endpoints of one section.

    @ivar certificates: those that they show.
    """

    def __init__(self, *, path: str, descriptions: Sequence[str], reactor: Any) -> None:
        """
        @param path: of the configuration's key.
        @raise ConfigurationRefused: systemd was to hand over a socket that isn't there.
        """
        self.certificates: list[Certificate] = []
        self._path = path
        self._reactor = reactor
        self._endpoints = [self._endpoint(description) for description in descriptions]

    def serving(self, site: BridgeSite) -> Serving:
        """
        What listens there.
        """
        serving = Serving(site.connections)
        for endpoint in self._endpoints:
            listener = StreamServerEndpointService(endpoint, site)
            # Twisted's strports does the same, for the global reactor: a port in use ends the start.
            listener._raiseSynchronously = True
            listener.setServiceParent(serving)
        return serving

    def _endpoint(self, description: str) -> IStreamServerEndpoint:
        if hasCertificate(description):
            certificate = Certificate(description=description, path=self._path, reactor=self._reactor)
            self.certificates.append(certificate)
            return certificate.endpoint
        try:
            endpoint: IStreamServerEndpoint = serverFromString(self._reactor, description)
        except LookupError:
            # What systemd hands over is there in the service alone: no file can be checked for it.
            problem = f"{description}: systemd has handed over no such socket"
            raise ConfigurationRefused(Fault(self._path, problem)) from None
        return endpoint
