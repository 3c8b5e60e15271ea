"""
A stream that is logged in as a user: a L{restbridge.boundaries.UserLink}.

Addresses are as the server fills them in (RFC 6120, section 8.1): what goes out has no C{from}, what
comes in without one is from the own account, and a message or IQ to nobody is for it, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure
from twisted.words.protocols.jabber.error import StreamError
from twisted.words.xish.domish import Element
from twisted.words.xish.xmlstream import STREAM_END_EVENT, STREAM_ERROR_EVENT

from restbridge.boundaries import Taker
from restbridge.stanzas.errors import LinkDown, StanzaError, errorReply
from restbridge.stanzas.jid import JID
from restbridge.stanzas.xml import NS_CLIENT, NS_STREAMS, NS_XML, StanzaTooLarge, serialize
from restbridge.xmpp.archive import Archive
from restbridge.xmpp.confirmations import Confirmations
from restbridge.xmpp.exchange import Exchange
from restbridge.xmpp.inbound import Inbound
from restbridge.xmpp.stream import CLOSED_EVENT, OVERSIZED_EVENT, GuardedXmlStream, closeInWords

MAX_SENT = 250_000
"""
Bytes of a stanza that is sent. Past 256 KiB Prosody, and ejabberd as Debian has it, end a client's stream.
"""

CLOSE_TIMEOUT = 2.0
"""Seconds for the server to close its side of a stream that is closed."""

_LANG = (NS_XML, "lang")

Answered = TypeVar("Answered", Element, Element | None)


class UserStream:
    """
    One user's login, from the moment when it is bound to its end. It is not made again: whoever holds it
    logs in anew.

    @ivar address: what the server has bound.
    @ivar available: whether the last presence to all, if there was one, was available.
    @ivar busy: whether somebody waits for an answer, or holds the stream.
    """

    def __init__(self, *, stream: GuardedXmlStream, address: JID, clock: IReactorTime) -> None:
        """
        @param stream: logged in a moment ago.
        """
        self.address = address
        self.available = False
        self._stream = stream
        self._clock = clock
        self._reason: str | None = None
        self._awaitingEnd: list[Callable[[str], object]] = []
        self._closing: IDelayedCall | None = None
        self._over = False
        self._holds = 0
        self.exchange = Exchange(clock=clock, send=self.send)
        self.archive = Archive(request=self.exchange.request)
        self.confirmations = Confirmations(
            address=address.full, clock=clock, send=self.send, abort=self._abort
        )
        self._takers: list[Taker] = [self.confirmations, self.exchange, self.archive]
        inbound = Inbound(
            takers=self._takers,
            answer=_unavailable,
            send=self.send,
            absent={"from": address.bare, "to": address.full},
        )
        self._received = inbound.received
        stream.addObserver(OVERSIZED_EVENT, inbound.oversized)
        stream.addObserver(STREAM_ERROR_EVENT, self._failed)
        stream.addObserver(CLOSED_EVENT, lambda _: self._down("the server closed the session"))
        stream.addObserver(STREAM_END_EVENT, self._ended)
        # Twisted's own dispatch matches each stanza against every observer's XPath.
        stream.setDispatchFn(self._element)
        self.confirmations.linkUp()

    @property
    def busy(self) -> bool:
        return bool(self._holds or self.exchange.pending or self.confirmations.waiting)

    def hold(self) -> None:
        """
        Be busy until C{release} is called as often.
        """
        self._holds += 1

    def release(self) -> None:
        self._holds -= 1

    def offerTo(self, takers: Sequence[Taker]) -> None:
        """
        Offer what no one waits for to these, in their order.
        """
        self._takers.extend(takers)

    def whenEnded(self, call: Callable[[str], object]) -> None:
        """
        Call C{call} with the reason when the stream ends.
        """
        self._awaitingEnd.append(call)

    def whyDown(self) -> str | None:
        return self._reason

    def send(self, stanza: Element) -> None:
        if self._reason is not None:
            raise LinkDown(self._reason)
        self._address(stanza)
        written = Element((NS_CLIENT, stanza.name), stanza.defaultUri)
        written.children = stanza.children
        written.attributes = {name: value for name, value in stanza.attributes.items() if name != "from"}
        data = serialize(written).encode()
        if len(data) > MAX_SENT:
            raise StanzaTooLarge(len(data), MAX_SENT)
        self._stream.send(data)
        if stanza.name == "presence" and not stanza.hasAttribute("to"):
            self.available = not stanza.hasAttribute("type")

    def confirm(self, stanza: Element) -> Deferred[Element | None]:
        self._address(stanza)
        return self.confirmations.confirm(stanza).addCallback(self._asServed)

    def request(self, iq: Element, timeout: float) -> Deferred[Element]:
        self._address(iq)
        return self.exchange.request(iq, timeout).addCallback(self._asServed)

    async def query(self, iq: Element, timeout: float) -> list[Element]:
        self._address(iq)
        return [self._asServed(stanza) for stanza in await self.archive.collect(iq, timeout)]

    def close(self) -> Deferred[None]:
        """
        Close the stream in order (RFC 6120, section 4.4); fires when the connection is gone.
        """
        if self._over:
            return succeed(None)
        gone: Deferred[None] = Deferred()
        self.whenEnded(lambda _: gone.callback(None))
        if self._reason is None:
            self._down("the session was closed")
            self._stream.sendFooter()
            self._stream.transport.loseConnection()
        return gone

    def _address(self, stanza: Element) -> None:
        stanza["from"] = self.address.full
        if stanza.name != "presence":
            # To nobody is to the own account (sections 10.3.1 and 10.3.3); a presence is for all contacts.
            stanza.attributes.setdefault("to", self.address.bare)

    def _asServed(self, answer: Answered) -> Answered:
        """
        Without what servers may say or leave out: that the own account is the sender (section 8.1.2.1), and
        that the stream's language is the stanza's (section 8.1.5).
        """
        if answer is not None:
            if answer.getAttribute("from") == self.address.bare:
                del answer["from"]
            if answer.getAttribute(_LANG) == self._stream.lang is not None:
                del answer.attributes[_LANG]
        return answer

    def _element(self, element: Element) -> None:
        if element.uri == NS_STREAMS:
            self._stream.onElement(element)
        elif self._reason is None:
            self._received(element)

    def _abort(self, reason: str) -> None:
        self._down(reason)
        self._stream.transport.abortConnection()

    def _failed(self, failure: Failure) -> None:
        error = failure.value
        if isinstance(error, StreamError):
            self._down(f"the server ended the session: {error.condition}")
        else:
            self._down(f"the session failed: {failure.getErrorMessage()}")

    def _ended(self, failure: Failure) -> None:
        if self._closing is not None and self._closing.active():
            self._closing.cancel()
        self._over = True
        reason = self._reason or closeInWords(failure)
        self._down(reason)
        for call in self._awaitingEnd:
            call(reason)

    def _down(self, reason: str) -> None:
        if self._reason is None:
            self._reason = reason
            if not self._over:
                # Neither side's close, nor an error that ends the stream, has to come to an end by itself.
                self._closing = self._clock.callLater(CLOSE_TIMEOUT, self._stream.transport.abortConnection)
            self.exchange.linkLost(reason)
            self.confirmations.linkLost(reason)


def _unavailable(iq: Element) -> Element:
    """
    What a client says to what it doesn't know (RFC 6120, section 8.4).
    """
    return errorReply(iq, StanzaError.of("service-unavailable"))
