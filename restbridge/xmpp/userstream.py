"""
A stream that is logged in as a user: a L{restbridge.boundaries.UserLink}.

Addresses are as the server fills them in (RFC 6120, section 8.1): what goes out has no C{from}, what
comes in without one is from the own account, and a message or IQ to nobody is for it, too.

Where the server manages streams (XEP-0198) a login is kept for a while when its connection breaks::

    up -> broken -> kept -> (a login of the same user)  -> resumed -> up
                         -> (none in time, or no longer) -> ended
    up -> closed by either side, stream error            -> ended
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from twisted.internet.defer import Deferred, DeferredSemaphore, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure
from twisted.words.protocols.jabber.error import StreamError
from twisted.words.xish.domish import Element
from twisted.words.xish.xmlstream import STREAM_END_EVENT, STREAM_ERROR_EVENT

from restbridge.boundaries import Taker
from restbridge.stanzas.errors import LinkDown, NoAnswer, StanzaError, errorReply
from restbridge.stanzas.jid import JID
from restbridge.stanzas.xml import (
    NS_CLIENT,
    NS_STREAMS,
    NS_XML,
    OversizedStanza,
    encoded,
)
from restbridge.xmpp.archive import Archive
from restbridge.xmpp.confirmations import Confirmations
from restbridge.xmpp.exchange import Exchange
from restbridge.xmpp.inbound import Inbound
from restbridge.xmpp.management import ASK, NS_SM, HandledTooMuch, Ledger, countOf
from restbridge.xmpp.stream import CLOSED_EVENT, OVERSIZED_EVENT, GuardedXmlStream, closeInWords, sendNow
from restbridge.xmpp.traffic import Traffic

MAX_SENT = 250_000
"""
Bytes of a stanza that is sent. Past 256 KiB Prosody, and ejabberd as Debian has it, end a client's stream.
"""

CLOSE_TIMEOUT = 2.0
"""Seconds for the server to close its side of a stream that is closed."""

QUERIES = 16
"""Archive queries at once; others wait for their turn. A server ends the session of whoever has not
acknowledged some thousands of stanzas (ejabberd: 5,000), be it that they come faster than one can."""

_ALLOWING = frozenset(("connection-timeout",))
"""Stream errors that are only about the connection."""

_LANG = (NS_XML, "lang")

Answered = TypeVar("Answered", Element, Element | None)


class UserStream:
    """
    One user's login, from the moment when it is bound to its end, over one connection or several. Between
    them it is down, and who waits for anything is told so; nothing of it is sent again. What holds for the
    login stays: its address, its presence, its rooms, whom stanzas are offered to.

    @ivar address: what the server has bound.
    @ivar available: whether the last presence to all, if there was one, was available.
    @ivar busy: whether somebody waits for an answer, or holds the login.
    """

    def __init__(
        self,
        *,
        stream: GuardedXmlStream,
        address: JID,
        clock: IReactorTime,
        ledger: Ledger | None = None,
        traffic: Traffic | None = None,
    ) -> None:
        """
        @param stream: logged in a moment ago.
        @param ledger: empty; L{None} where the server doesn't manage streams.
        @param traffic: where what goes over it is counted.
        """
        self.address = address
        self.available = False
        self._clock = clock
        self._ledger = ledger
        self._traffic = Traffic() if traffic is None else traffic
        self._reason: str | None = None
        self._awaitingBreak: list[Callable[[str], object]] = []
        self._awaitingEnd: list[Callable[[str], object]] = []
        self._closing: IDelayedCall | None = None
        self._owed: IDelayedCall | None = None
        self._expiry: IDelayedCall | None = None
        self._keptUntil: float | None = None
        self._claimed = self._final = self._over = False
        self._holds = 0
        self.exchange = Exchange(clock=clock, send=self._sendOnce, traffic=self._traffic)
        self._queries = DeferredSemaphore(QUERIES)
        self.archive = Archive(request=self.exchange.request)
        self.confirmations = Confirmations(
            address=address.full,
            clock=clock,
            send=self._sendOnce,
            flush=self._flush,
            abort=self._abort,
        )
        self._takers: list[Taker] = [self.confirmations, self.exchange, self.archive]
        self._inbound = Inbound(
            takers=self._takers,
            answer=_unavailable,
            send=self.send,
            absent={"from": address.bare, "to": address.full},
            traffic=self._traffic,
        )
        self._attach(stream)

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

    def whenBroken(self, call: Callable[[str], object]) -> None:
        """
        See L{restbridge.boundaries.UserLink}.
        """
        self._awaitingBreak.append(call)

    def whenEnded(self, call: Callable[[str], object]) -> None:
        """
        Likewise.
        """
        self._awaitingEnd.append(call)

    def whyDown(self) -> str | None:
        return self._reason

    def send(self, stanza: Element) -> None:
        # Who says something, or enters a room, waits, and learns that it was lost.
        isAwaited = stanza.name == "message" or _isEntrance(stanza)
        self._write(stanza, again=not isAwaited)
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
        until = self._clock.seconds() + timeout
        late = Failure(NoAnswer(timeout))
        await self._queries.acquire().addTimeout(timeout, self._clock, lambda *_: late)
        try:
            found = await self.archive.collect(iq, until - self._clock.seconds())
        finally:
            if self._queries.waiting:
                # Not from here: of many that fail at once each would call the next, too deep for Python.
                self._clock.callLater(0, self._queries.release)
            else:
                self._queries.release()
        return [self._asServed(stanza) for stanza in found]

    def close(self) -> Deferred[None]:
        """
        Close the stream in order (RFC 6120, section 4.4); fires when the connection is gone.
        """
        self._final = True
        if self._keptUntil is not None:
            self._finish()
        if self._over:
            return succeed(None)
        gone: Deferred[None] = Deferred()
        self.whenEnded(lambda _: gone.callback(None))
        if self._reason is None:
            self._down("the session was closed")
            if self._ledger is not None:
                # What isn't acknowledged at the end the server takes for lost (XEP-0198, section 7).
                self._stream.send(self._ledger.acknowledgement())
            self._endStream()
        return gone

    def claim(self) -> Ledger | None:
        """
        What the login can be resumed by; L{None} if it can't, or somebody is at it. Either C{resume} or
        C{unclaim} follows.
        """
        if self._keptUntil is None or self._claimed:
            return None
        self._claimed = True
        self._disarm()
        return self._ledger

    def unclaim(self) -> None:
        """
        Nothing has come of it; another may try.
        """
        self._claimed = False
        if self._keptUntil is not None:
            self._expireIn(self._keptUntil - self._clock.seconds())

    def resume(self, stream: GuardedXmlStream, handled: int) -> None:
        """
        Go on, by another connection.

        @param handled: how many stanzas the server has handled.
        @raise LinkDown: it can't have, or the login was ended meanwhile.
        """
        if self._keptUntil is None or self._ledger is None:
            self._turnDown(stream, "")
            raise LinkDown("the session has ended while it was resumed")
        try:
            again = self._ledger.resumed(handled)
        except HandledTooMuch as problem:
            self._turnDown(stream, problem.error)
            self.close()
            raise LinkDown(str(problem)) from None
        self._claimed, self._keptUntil, self._reason = False, None, None
        self._attach(stream)
        for data in again:
            self._stream.send(data)
            self._ledger.sent(data)

    def _attach(self, stream: GuardedXmlStream) -> None:
        self._stream = stream
        self._traffic.streams += 1
        stream.addObserver(OVERSIZED_EVENT, self._oversized)
        stream.addObserver(STREAM_ERROR_EVENT, self._failed)
        stream.addObserver(CLOSED_EVENT, self._closed)
        stream.addObserver(STREAM_END_EVENT, self._ended)
        # Twisted's own dispatch matches each stanza against every observer's XPath.
        stream.setDispatchFn(self._element)
        self.confirmations.linkUp()

    def _sendOnce(self, stanza: Element) -> None:
        """
        Send what somebody waits for: it fails with the connection.
        """
        self._write(stanza, again=False)

    def _write(self, stanza: Element, *, again: bool) -> None:
        """
        @param again: whether to send it again where the login is resumed and the server hasn't handled it.
        """
        if self._reason is not None:
            raise LinkDown(self._reason)
        self._address(stanza)
        written = Element((NS_CLIENT, stanza.name), stanza.defaultUri)
        written.children = stanza.children
        written.attributes = {name: value for name, value in stanza.attributes.items() if name != "from"}
        data = encoded(written, MAX_SENT)
        self._stream.send(data)
        self._traffic.out(stanza)
        if self._ledger is not None:
            self._ledger.sent(data if again else None)
            self._ask(self._ledger)

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
            if self._ledger is not None:
                if element.uri == NS_SM:
                    self._count(element, self._ledger)
                    return
                self._ledger.received(element)
                if element.name == "message":
                    # Unasked: what isn't acknowledged when the login ends is delivered once more.
                    self._owe(self._ledger)
            if self._ledger is None or element.name == "presence":
                self._stream.unasked |= element.name != "iq"
            self._inbound.received(element)

    def _oversized(self, oversized: OversizedStanza) -> None:
        if self._ledger is not None:
            self._ledger.received(oversized.stanza)
        self._inbound.oversized(oversized)

    def _count(self, element: Element, ledger: Ledger) -> None:
        """
        The server asks what was handled, or says it.
        """
        if element.name == "r":
            self._owe(ledger)
        count = countOf(element)
        if element.name == "a" and count is not None:
            try:
                ledger.handled(count)
            except HandledTooMuch as problem:
                self._refuse(problem)
            else:
                self._ask(ledger)

    def _owe(self, ledger: Ledger) -> None:
        """
        Acknowledge what has come: at once, and once more behind all that comes in one go, however often the
        server asks in it; it may be one that doesn't listen.
        """
        if self._owed is None:
            said = ledger.acknowledgement()
            self._stream.send(said)
            self._owed = self._clock.callLater(0, self._acknowledge, ledger, said)

    def _acknowledge(self, ledger: Ledger, said: str) -> None:
        self._owed = None
        if ledger.acknowledgement() != said:
            self._stream.send(ledger.acknowledgement())

    def _ask(self, ledger: Ledger) -> None:
        if ledger.asks():
            self._stream.send(ASK)

    def _refuse(self, problem: HandledTooMuch) -> None:
        self._final = True
        self._down(str(problem))
        self._stream.send(problem.error)
        self._endStream()

    def _turnDown(self, stream: GuardedXmlStream, error: str) -> None:
        """
        End the stream of a connection by which the login can't go on.
        """
        stream.send(error)
        stream.sendFooter()
        stream.transport.loseConnection()
        self._clock.callLater(CLOSE_TIMEOUT, stream.transport.abortConnection)

    def _endStream(self) -> None:
        self._stream.sendFooter()
        self._stream.transport.loseConnection()

    def _flush(self) -> None:
        sendNow(self._stream.transport)

    def _abort(self, reason: str) -> None:
        self._down(reason)
        self._stream.transport.abortConnection()

    def _failed(self, failure: Failure) -> None:
        error = failure.value
        if isinstance(error, StreamError):
            self._final = self._final or error.condition not in _ALLOWING
            self._down(f"the server ended the session: {error.condition}")
        else:
            # What can't be read now would come again.
            self._final = True
            self._down(f"the session failed: {failure.getErrorMessage()}")

    def _closed(self, _: object) -> None:
        self._final = self._final or self._reason is None
        self._down("the server closed the session")

    def _ended(self, failure: Failure) -> None:
        if self._closing is not None and self._closing.active():
            self._closing.cancel()
        self._down(self._reason or closeInWords(failure), isConnected=False)
        ledger = self._ledger
        if self._final or ledger is None or ledger.name is None:
            self._finish()
            return
        self._keptUntil = self._clock.seconds() + ledger.seconds
        self._expireIn(ledger.seconds)

    def _expireIn(self, seconds: float) -> None:
        self._expiry = self._clock.callLater(max(0.0, seconds), self._finish)

    def _disarm(self) -> None:
        if self._expiry is not None and self._expiry.active():
            self._expiry.cancel()
        self._expiry = None

    def _finish(self) -> None:
        """
        The login is over.
        """
        self._disarm()
        self._keptUntil = None
        self._over = True
        for call in self._awaitingEnd:
            call(self._reason or "")

    def _down(self, reason: str, *, isConnected: bool = True) -> None:
        if self._reason is not None:
            return
        self._reason = reason
        if self._owed is not None:
            self._owed.cancel()
            self._owed = None
        if isConnected:
            # Neither side's close, nor an error that ends the stream, has to come to an end by itself.
            self._closing = self._clock.callLater(CLOSE_TIMEOUT, self._stream.transport.abortConnection)
        self.exchange.linkLost(reason)
        self.confirmations.linkLost(reason)
        for call in self._awaitingBreak:
            call(reason)


def _isEntrance(stanza: Element) -> bool:
    """
    Whether a stanza is a presence to somebody, as rooms are entered by (XEP-0045, section 7.2).
    """
    return stanza.name == "presence" and stanza.hasAttribute("to") and not stanza.hasAttribute("type")


def _unavailable(iq: Element) -> Element:
    """
    What a client says to what it doesn't know (RFC 6120, section 8.4).
    """
    return errorReply(iq, StanzaError.of("service-unavailable"))
