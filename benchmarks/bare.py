"""
The ceiling: what Twisted does when nobody looks at a request and each sends the same string.

    python -m benchmarks.bare resource|klein PORT COMPONENT-PORT DOMAIN STANZA

Attaches as a component, serves HTTP at the first of the ports, and answers 202 to whatever is POSTed.
"""

from __future__ import annotations

import sys
from typing import Any

from klein import Klein
from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource, Resource
from twisted.web.server import Site

from tests.live.process import LOOPBACK
from tests.live.servers import attach


class Bare(Resource):
    """
    A Resource that writes the same stanza for each request.
    """

    isLeaf = True

    def __init__(self, link: Any, stanza: bytes) -> None:
        super().__init__()
        self._link, self._stanza = link, stanza

    def render(self, request: Any) -> bytes:
        request.content.read()
        self._link.transport.write(self._stanza)
        request.setResponseCode(202)
        return b""


def routed(link: Any, stanza: bytes) -> IResource:
    """
    The same, as a route of Klein.
    """
    app = Klein()

    @app.route("/rest", methods=["POST"])
    def post(request: IRequest) -> bytes:
        request.content.read()
        link.transport.write(stanza)
        request.setResponseCode(202)
        return b""

    resource: IResource = app.resource()
    return resource


KINDS = {"resource": Bare, "klein": routed}


def main(kind: str, port: str, componentPort: str, domain: str, stanza: str) -> None:
    """
    Serve until killed.
    """
    loop: Any = reactor
    connection = attach(int(componentPort), domain)
    connection.setblocking(False)
    link = Protocol()
    factory = Factory.forProtocol(lambda: link)
    loop.adoptStreamConnection(connection.fileno(), connection.family, factory)
    connection.close()
    loop.listenTCP(int(port), Site(KINDS[kind](link, stanza.encode())), interface=LOOPBACK)
    loop.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
