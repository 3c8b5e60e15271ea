"""
The XEP-0114 connection: a L{restbridge.boundaries.Link} for the whole domain.

It holds the parts together: the stream, the IQs that await an answer, the stanzas that await their
confirmation, and the way in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.logger import Logger
from twisted.words.protocols.jabber.component import componentFactory
from twisted.words.xish.domish import Element

from restbridge.boundaries import Taker
from restbridge.stanzas.jid import JID
from restbridge.stanzas.replies import newId
from restbridge.stanzas.xml import XMLRefused, encoded
from restbridge.xmpp.archive import Archive
from restbridge.xmpp.confirmations import Confirmations
from restbridge.xmpp.entity import Entity
from restbridge.xmpp.exchange import Exchange
from restbridge.xmpp.inbound import Inbound
from restbridge.xmpp.stream import Listener, Stream
from restbridge.xmpp.traffic import Traffic

MAX_SENT = 256 * 1024
"""Bytes of a stanza that is sent. Prosody ends the whole stream at 512 KiB, with all that is in flight."""

_ADVICE = {
    "not-authorized": (
        "the server refused the handshake of {domain} (not-authorized): make component.secret the same here "
        "and in the server's configuration, and check that the server has a component of that name"
    ),
    "conflict": (
        "waiting as a standby: the server has another connection for the component {domain} (conflict); "
        "where nobody shall stand by, stop the other bridge, or give this one a domain of its own"
    ),
    "host-unknown": (
        "the server knows no component {domain} (host-unknown): add it to the server's configuration, "
        "or correct component.domain"
    ),
}


class Component(Service):
    """
    A component's stream to its server.

    @ivar traffic: what went over it since the start.
    """

    log = Logger()

    def __init__(
        self,
        *,
        domain: str,
        secret: str,
        confirm: bool,
        entity: Entity,
        endpoint: IStreamClientEndpoint,
        clock: IReactorTime,
        waits: bool = False,
    ) -> None:
        """
        @param entity: answers the IQs that nobody takes.
        @param confirm: whether L{Component.confirm} waits until the server has taken the stanza.
        @param waits: whether it connects when it is told to L{enter}, not when it is started.
        """
        self.domain = domain
        self._clock = clock
        self._confirm = confirm
        self._waits = waits
        self._entity = entity
        self.traffic = Traffic()
        self.exchange = Exchange(clock=clock, send=self.send, traffic=self.traffic)
        self.archive = Archive(request=self.exchange.request)
        self.confirmations = Confirmations(
            address=f"{domain}/{newId()}",
            clock=clock,
            send=self.send,
            flush=self._flush,
            abort=self._abort,
        )
        self._awaitingUp: list[Deferred[None]] = []
        self._hearBreaks: list[Callable[[str], object]] = []
        self._takers: list[Taker] = [self.confirmations, self.exchange, self.archive]
        inbound = Inbound(takers=self._takers, answer=entity.answer, send=self.send, traffic=self.traffic)
        self._stream = Stream(
            endpoint=endpoint,
            factory=componentFactory(domain, secret),
            clock=clock,
            explain=self._explain,
            listener=Listener(
                received=inbound.received, oversized=inbound.oversized, up=self._up, down=self._down
            ),
        )

    def offerTo(self, takers: Sequence[Taker]) -> None:
        """
        Offer what no one waits for to these, in their order.
        """
        self._takers.extend(takers)

    def offerFirst(self, taker: Taker) -> None:
        """
        Offer all that comes in to C{taker} before anybody else, also what is waited for.
        """
        self._takers.insert(0, taker)

    def whenBroken(self, call: Callable[[str], object]) -> None:
        """
        Call C{call} with the reason each time the stream breaks, or is closed.
        """
        self._hearBreaks.append(call)

    def whenUp(self) -> Deferred[None]:
        """
        Fires as soon as stanzas can be sent.
        """
        if self._stream.reason is None:
            return succeed(None)
        deferred: Deferred[None] = Deferred(self._awaitingUp.remove)
        self._awaitingUp.append(deferred)
        return deferred

    async def restored(self, timeout: float) -> bool:
        isUp = self.whenUp().addCallback(lambda _: True)
        return await isUp.addTimeout(timeout, self._clock, lambda *_: False)

    def whyDown(self) -> str | None:
        return self._stream.reason

    def send(self, stanza: Element) -> None:
        self._address(stanza)
        self._stream.send(encoded(stanza, MAX_SENT))
        self.traffic.out(stanza)

    def confirm(self, stanza: Element) -> Deferred[Element | None]:
        if self._confirm:
            return self.confirmations.confirm(stanza)
        self.send(stanza)
        return succeed(None)

    def request(self, iq: Element, timeout: float) -> Deferred[Element]:
        if not iq.hasAttribute("to"):
            # For the sender's own account, whose server this is.
            return succeed(self._entity.answer(iq))
        return self.exchange.request(iq, timeout)

    async def query(self, iq: Element, timeout: float) -> list[Element]:
        if not iq.hasAttribute("to"):
            return [self._entity.answer(iq)]
        return await self.archive.collect(iq, timeout)

    def startService(self) -> None:
        super().startService()
        if not self._waits:
            self._stream.service.startService()

    def enter(self) -> None:
        """
        Connect, and stay connected.
        """
        self._waits = False
        if self.running:
            self._stream.service.startService()

    def leave(self, reason: str) -> None:
        """
        Disconnect at once, and stay so until it may L{enter}.
        """
        self._waits = True
        self._stream.pause(reason)

    def stopService(self) -> Deferred[None]:
        super().stopService()
        return self._stream.close()

    def _address(self, stanza: Element) -> None:
        # Without these a server ends the stream, with all that is in flight.
        given = stanza.attributes.get("from")
        sender = JID.parse(given) if given else None
        if sender is None or sender.domain != self.domain:
            raise XMLRefused(f"the stanza's 'from' is not an address of {self.domain}")
        if "to" not in stanza.attributes:
            # A message or presence to nobody is for the sender's own account (RFC 6120, section 10.3).
            stanza["to"] = sender.bare

    def _explain(self, condition: str, text: str | None) -> str:
        advice = _ADVICE.get(condition)
        if advice is not None:
            return advice.format(domain=self.domain)
        return f"the server ended the stream of {self.domain}: {condition}" + (f" ({text})" if text else "")

    def _flush(self) -> None:
        self._stream.flush()

    def _abort(self, reason: str) -> None:
        self._stream.abort(reason)

    def _up(self) -> None:
        self.traffic.streams += 1
        self.log.info("The server has accepted the component {domain}", domain=self.domain)
        self.confirmations.linkUp()
        awaiting, self._awaitingUp = self._awaitingUp, []
        for deferred in awaiting:
            deferred.callback(None)

    def _down(self, reason: str) -> None:
        self.exchange.linkLost(reason)
        self.confirmations.linkLost(reason)
        for call in self._hearBreaks:
            call(reason)
