"""
IQs that await an answer (RFC 6120, section 8.2.3).

::

    request -> (own address, peer, id) -> Deferred -> the answer | NoAnswer | LinkDown | cancelled

An answer counts only from whom was asked, to whom asked; one with the right id from anybody else is dropped.
Nothing is left behind in any of the ends.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.words.xish.domish import Element

from restbridge.stanzas.errors import DuplicateId, LinkDown, NoAnswer
from restbridge.xmpp.traffic import Traffic

Key = tuple[str, str, str]
"""From, to and id of a request, as sent."""


@attrs.define
class _Pending:
    deferred: Deferred[Element]
    expiry: IDelayedCall


class Exchange:
    """
    The requests of one stream.

    @ivar pending: how many wait.
    """

    log = Logger()

    def __init__(self, *, clock: IReactorTime, send: Callable[[Element], object], traffic: Traffic) -> None:
        """
        @param send: writes a stanza; may raise L{LinkDown}.
        @param traffic: where answers are counted that are dropped, because they came from somebody else than
            was asked.
        """
        self._clock = clock
        self._send = send
        self._pending: dict[Key, _Pending] = {}
        self._asked: Counter[tuple[str, str]] = Counter()
        self._traffic = traffic

    @property
    def pending(self) -> int:
        return len(self._pending)

    def request(self, iq: Element, timeout: float) -> Deferred[Element]:
        """
        Send an IQ of type get or set, with C{from}, C{to} and C{id}; see L{restbridge.boundaries.Link}.

        @raise DuplicateId: see there; nothing was sent.
        """
        key = (iq["from"], iq["to"], iq["id"])
        if key in self._pending:
            raise DuplicateId(f"an IQ to {key[1]} with the id {key[2]!r} awaits its answer still")
        self._send(iq)
        deferred: Deferred[Element] = Deferred(lambda _: self._cancelled(key))
        expiry = self._clock.callLater(timeout, self._expire, key, timeout)
        self._pending[key] = _Pending(deferred, expiry)
        self._asked[key[0], key[2]] += 1
        return deferred

    def take(self, stanza: Element) -> bool:
        """
        Take an answer that is awaited, or pretends to be it.
        """
        if stanza.name != "iq" or stanza.getAttribute("type") not in ("result", "error"):
            return False
        attributes = stanza.attributes
        key = (attributes.get("to", ""), attributes.get("from", ""), attributes.get("id", ""))
        if key in self._pending:
            self._forget(key).callback(stanza)
            return True
        if (key[0], key[2]) not in self._asked:
            return False
        self._traffic.impostors += 1
        self.log.debug("{sender} answers what {own} asked somebody else", sender=key[1], own=key[0])
        return True

    def linkLost(self, reason: str) -> None:
        """
        No answer can come any more.
        """
        while self._pending:
            # One by one: who is told may give up others.
            self._forget(next(iter(self._pending))).errback(LinkDown(reason))

    def _cancelled(self, key: Key) -> None:
        self._forget(key)

    def _expire(self, key: Key, timeout: float) -> None:
        self._forget(key).errback(NoAnswer(timeout))

    def _forget(self, key: Key) -> Deferred[Element]:
        pending = self._pending.pop(key)
        asked = (key[0], key[2])
        self._asked[asked] -= 1
        if not self._asked[asked]:
            del self._asked[asked]
        if pending.expiry.active():
            pending.expiry.cancel()
        return pending.deferred
