"""
C{twistd -n restbridge --demo}: the bridge, an XMPP server and someone to talk to, in one process.

::

    curl -> bridge of rest.localhost -> TCP -> Twisted's XEP-0114 router -> TCP -> echo.localhost
"""

from __future__ import annotations

from collections.abc import Callable
from secrets import token_urlsafe
from typing import Any

from argon2 import PasswordHasher
from twisted.application.service import MultiService, Service
from twisted.internet.defer import gatherResults
from twisted.internet.endpoints import clientFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort
from twisted.words.protocols.jabber.component import Router, XMPPComponentServerFactory
from twisted.words.xish.domish import Element
from twisted.words.xish.xmlstream import STREAM_CONNECTED_EVENT

from restbridge.config import HTTP, Account, Configuration, Glob, Secret, Store
from restbridge.config import Component as ComponentSettings
from restbridge.parts import Parts
from restbridge.stanzas.errors import StanzaError, errorReply
from restbridge.stanzas.jid import JID
from restbridge.stanzas.replies import newId, takesReply
from restbridge.stanzas.xml import NS_CLIENT, firstOf
from restbridge.web.site import BridgeSite
from restbridge.xmpp.component import Component
from restbridge.xmpp.entity import Entity

DOMAIN = "rest.localhost"
ECHO = "echo.localhost"
FIRST_PORT = 8080
PORTS = 100

GREETING = """
restbridge's demo answers at http://127.0.0.1:{port}/ to the account demo with the password demo.
{note}Paste into another terminal:

    curl -u demo:demo http://127.0.0.1:{port}/rest/ping/echo.localhost

    curl -u demo:demo http://127.0.0.1:{port}/rest/disco/echo.localhost -H 'Accept: application/json'

    curl -u demo:demo http://127.0.0.1:{port}/rest -H 'Content-Type: application/json' \\
        -d '{{"to": "echo@echo.localhost", "type": "chat", "body": "Hello!"}}'

The last one's answer comes as a stanza, and is shown here; on your own server it goes to a callback.
Ctrl-C ends the demo.
"""


class Demo(MultiService):
    """
    All of it.
    """

    def __init__(
        self, *, reactor: Any, assemble: Callable[..., Parts], show: Callable[[str], object]
    ) -> None:
        """
        @param assemble: L{restbridge.tap.assemble}.
        @param show: shows a text to whoever started the demo.
        """
        super().__init__()
        self._reactor = reactor
        self._assemble = assemble
        self._show = show

    def startService(self) -> None:
        secret = token_urlsafe(16)
        factory = XMPPComponentServerFactory(_Router(), secret)
        factory.noisy = False
        factory.addBootstrap(STREAM_CONNECTED_EVENT, lambda xs: xs.transport.setTcpNoDelay(True))
        router = _Listening(self._reactor.listenTCP(0, factory, interface="127.0.0.1"))
        connect = f"tcp:127.0.0.1:{router.number}"
        parts = self._assemble(_configuration(secret, connect), self._reactor, [_Shown(self._show)])
        web = _Listening(self._listen(parts.site))
        services = (router, _echo(secret, connect, self._reactor), *parts.services, web)
        for service in services:
            service.setServiceParent(self)
        super().startService()
        up = [service.whenUp() for service in services if isinstance(service, Component)]
        gatherResults(up).addCallback(lambda _: self._greet(web.number))

    def _listen(self, site: BridgeSite) -> IListeningPort:
        for port in range(FIRST_PORT, FIRST_PORT + PORTS):
            try:
                found: IListeningPort = self._reactor.listenTCP(port, site, interface="127.0.0.1")
            except CannotListenError:
                continue
            return found
        raise SystemExit(f"no port from {FIRST_PORT} to {FIRST_PORT + PORTS - 1} of 127.0.0.1 is free")

    def _greet(self, port: int) -> None:
        note = "" if port == FIRST_PORT else f"Port {FIRST_PORT} is in use, so it took the next free one.\n"
        self._show(GREETING.format(port=port, note=note))


class _Router(Router):
    """
    Twisted's router, without a log line for each stanza, and with an answer for domains that it
    doesn't have.
    """

    def route(self, stanza: Element) -> None:
        route = self.routes.get(JID.parse(stanza["to"]).domain)
        if route is not None:
            route.send(stanza)
        elif takesReply(stanza):
            self.route(errorReply(stanza, StanzaError.of("remote-server-not-found")))


class _Listening(Service):
    """
    An open port.
    """

    def __init__(self, port: IListeningPort) -> None:
        self._port = port
        self.number: int = port.getHost().port  # type: ignore[attr-defined]

    def stopService(self) -> Any:
        super().stopService()
        return self._port.stopListening()


def _configuration(secret: str, connect: str) -> Configuration:
    account = Account(
        name="demo",
        password=Secret(PasswordHasher().hash("demo")),
        sendAs=(Glob.exactly(f"demo@{DOMAIN}"),),
    )
    return Configuration(
        component=ComponentSettings(domain=DOMAIN, secret=Secret(secret), connect=connect),
        # It is what throughput is measured with, by one account.
        http=HTTP(requestsPerMinute=0),
        accounts={"demo": account},
        # The demo leaves nothing behind.
        store=Store(url=Secret("sqlite::memory:")),
    )


def _echo(secret: str, connect: str, reactor: Any) -> Component:
    component = Component(
        domain=ECHO,
        entity=Entity(domain=ECHO, accounts=("echo",)),
        secret=secret,
        confirm=False,
        endpoint=clientFromString(reactor, connect),
        clock=reactor,
    )
    component.offerTo([_Echo(component)])
    return component


class _Echo:
    """
    Sends a message's text back to where it came from.
    """

    def __init__(self, component: Component) -> None:
        self._component = component

    def take(self, stanza: Element) -> bool:
        body = firstOf(stanza, NS_CLIENT, "body")
        if stanza.name != "message" or stanza.getAttribute("type") == "error" or body is None:
            return False
        reply = Element((NS_CLIENT, "message"))
        reply["from"], reply["to"], reply["id"], reply["type"] = stanza["to"], stanza["from"], newId(), "chat"
        reply.addElement("body", content=str(body))
        self._component.send(reply)
        return True


class _Shown:
    """
    Shows the messages that come in, as a callback would get them.
    """

    def __init__(self, show: Callable[[str], object]) -> None:
        self._show = show

    def take(self, stanza: Element) -> bool:
        body = firstOf(stanza, NS_CLIENT, "body")
        if stanza.name != "message" or body is None:
            return False
        self._show(f"{stanza['to']} got from {stanza['from']}: {str(body)!r}")
        return True
