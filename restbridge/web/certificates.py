"""
The certificates of C{ssl:} endpoints, which may be renewed while they are listened on.

::

    description -> serverFromString -> listenSSL -> the port, with what Certificate shows
                -> once more, on a signal        -> shown to who connects from then on

Connections that are open keep what they were shown.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from cryptography import x509
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort, IStreamServerEndpoint
from twisted.internet.protocol import Factory

from restbridge.config import ConfigurationRefused, Fault


def hasCertificate(description: str) -> bool:
    """
    Whether it is an C{ssl:} endpoint, be it behind a proxy that speaks its protocol.
    """
    return description.removeprefix("haproxy:").startswith("ssl:")


class Certificate:
    """
    What is shown by one endpoint: to that it is the reactor, and to TLS the context.

    @ivar description: the endpoint string.
    """

    def __init__(self, *, description: str, path: str, reactor: Any) -> None:
        """
        @param path: of the configuration's key.
        """
        self.description = description
        self.endpoint: IStreamServerEndpoint = serverFromString(self, description)
        self._path = path
        self._reactor = reactor
        self._options: Any = None

    def listenSSL(
        self, port: int, factory: Factory, contextFactory: Any, backlog: int = 50, interface: str = ""
    ) -> IListeningPort:
        """
        See L{twisted.internet.interfaces.IReactorSSL}.
        """
        self._options = contextFactory
        listening: IListeningPort = self._reactor.listenSSL(port, factory, self, backlog, interface)
        return listening

    def getContext(self) -> Any:
        """
        The context for a connection that was made now.
        """
        return self._options.getContext()

    def read(self) -> Callable[[], bool]:
        """
        Read the files again.

        @return: has what they hold be shown from then on, and says whether that is something else.
        @raise ConfigurationRefused: they hold nothing that could be shown.
        """
        reading = _Reading()
        try:
            serverFromString(reading, self.description).listen(Factory())
            options = reading.options
            options.getContext()
        except Exception as error:
            # OpenSSL's errors are lists, without a text of their own.
            problem = f"{self.description}: {error or type(error).__name__}"
            raise ConfigurationRefused(Fault(self._path, problem)) from None

        def show() -> bool:
            before, self._options = self._options, options
            return _chain(before) != _chain(options)

        return show


class _Reading:
    """
    As much of a reactor as tells what an endpoint would show.
    """

    options: Any = None

    def listenSSL(self, port: int, factory: Factory, contextFactory: Any, **_: object) -> None:
        self.options = contextFactory


def _chain(options: Any) -> list[x509.Certificate]:
    return [each.to_cryptography() for each in (options.certificate, *options.extraCertChain)]
