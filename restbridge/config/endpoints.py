"""
Twisted endpoint strings, checked without a reactor.

Twisted's public C{clientFromString} and C{serverFromString} parse them, so that every type that Twisted
or a plugin of it knows is checked by its own parser. The types that end in a TCP port are then told to
connect or to listen on a L{_Rehearsal}, which only notes where they would go: the endpoints themselves
keep their host and port private.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from typing import Any

from twisted.internet.endpoints import clientFromString, serverFromString
from twisted.internet.interfaces import (
    IReactorPluggableNameResolver,
    IStreamClientEndpointStringParserWithReactor,
    IStreamServerEndpointStringParser,
)
from twisted.internet.protocol import Factory
from twisted.plugin import getPlugins
from zope.interface import Interface, implementer

from restbridge.config.reading import Place, Reader, shown, text

_parsedClient: Callable[[object, str], Any] = clientFromString
_parsedServer: Callable[[object, str], Any] = serverFromString

_BUILT_IN = {"tcp", "ssl", "unix"}
_REHEARSED = {"tcp", "tcp6", "ssl"}
"""Not C{tls}: its connect and listen import the global reactor."""
_LAST_PORT = 65535


@implementer(IReactorPluggableNameResolver)
class _Rehearsal:
    """
    As much of a reactor as endpoints need to say where they would go.

    @ivar host: where a client would connect to; empty for a server.
    @ivar port: the TCP port.
    @ivar tls: a server's context factory, if it has one.
    """

    host = ""
    tls: Any = None
    port: int = _LAST_PORT
    nameResolver = None

    def installNameResolver(self, resolver: object) -> Any:
        """
        Nothing is resolved here.
        """

    def connectTCP(self, host: str, port: int, *_: object, **__: object) -> None:
        self.host, self.port = host, port

    connectSSL = connectTCP

    def listenTCP(self, port: int, *_: object, **__: object) -> None:
        self.port = port

    def listenSSL(self, port: int, *_: object, contextFactory: Any, **__: object) -> None:
        self.port, self.tls = port, contextFactory


def _connected(description: str) -> _Rehearsal:
    rehearsal = _Rehearsal()
    endpoint = _parsedClient(rehearsal, description)
    if _kind(description) in _REHEARSED:
        endpoint.connect(Factory())
    return rehearsal


def _listening(description: str) -> _Rehearsal:
    rehearsal = _Rehearsal()
    # The sockets that systemd hands over are there in the service alone, not where its file is checked.
    if _kind(description.removeprefix("haproxy:")) != "systemd":
        endpoint = _parsedServer(rehearsal, description)
        if _kind(description) in _REHEARSED:
            endpoint.listen(Factory())
    if rehearsal.tls is not None:
        # A certificate that TLS doesn't take is found only here.
        rehearsal.tls.getContext()
    return rehearsal


def _kind(description: str) -> str:
    return description.partition(":")[0]


def _checked(rehearse: Callable[[str], _Rehearsal], plugins: type[Interface], firstPort: int) -> Reader[str]:
    def readEndpoint(value: object, place: Place) -> str:
        description = text(value, place)
        _checkKind(description, plugins, place)
        try:
            port = rehearse(description).port
        except Exception as error:
            # Each type has a parser of its own, plugins too, and each raises what it likes.
            problem = f"{shown(description)} is not a Twisted endpoint string: {_reason(error)}"
            raise place.refused(problem) from None
        if not firstPort <= port <= _LAST_PORT:
            raise place.refused(f"a TCP port must be from {firstPort} to {_LAST_PORT}, not {shown(port)}")
        return description

    return readEndpoint


def _checkKind(description: str, plugins: type[Interface], place: Place) -> None:
    kind = _kind(description)
    if kind in _BUILT_IN:
        return
    found: Iterable[Any] = getPlugins(plugins)
    allowed = _BUILT_IN | {plugin.prefix for plugin in found}
    if kind not in allowed:
        raise place.refused(f"unknown endpoint type {shown(kind)}; allowed: {', '.join(sorted(allowed))}")


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}"
    # "_parseTCP() missing 1 required …": the function's name says nothing to an operator.
    return re.sub(r"^[\w.]+\(\) ", "", str(error)) or type(error).__name__


clientEndpoint = _checked(_connected, IStreamClientEndpointStringParserWithReactor, firstPort=1)

serverEndpoint = _checked(_listening, IStreamServerEndpointStringParser, firstPort=0)


def plainClientEndpoint(value: object, place: Place) -> str:
    """
    A client endpoint under whose stream the key C{tls} says how TLS is spoken.
    """
    description = clientEndpoint(value, place)
    if _kind(description) not in ("tcp", "unix"):
        raise place.refused("must be a tcp: or unix: endpoint; TLS is what the key tls beside it is for")
    return description


def staysOnThisMachine(description: str) -> bool:
    """
    Whether a L{plainClientEndpoint} is a UNIX socket or a loopback address.
    """
    host = _connected(description).host
    try:
        return _kind(description) == "unix" or host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
