"""
Stanzas in: each is offered to the takers in their order; an IQ that nobody takes is the bridge's own
to answer.

::

    stream -> addresses normalised -> confirmations, exchange, archive, webhooks -> (nobody) answer
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

from twisted.logger import Logger
from twisted.words.xish.domish import Element

from restbridge.boundaries import Taker
from restbridge.stanzas.errors import LinkDown, StanzaError, errorReply, takesError
from restbridge.stanzas.jid import JID, InvalidJID
from restbridge.stanzas.replies import expectsAnswer
from restbridge.stanzas.xml import OversizedStanza, XMLRefused
from restbridge.xmpp.traffic import Traffic

_KINDS = frozenset(("message", "presence", "iq"))


class Inbound:
    """
    The way in. One stanza that goes wrong here must not end the stream that all share.
    """

    log = Logger()

    def __init__(
        self,
        *,
        takers: Sequence[Taker],
        answer: Callable[[Element], Element],
        send: Callable[[Element], object],
        absent: Mapping[str, str] = MappingProxyType({}),
        traffic: Traffic | None = None,
    ) -> None:
        """
        @param answer: what is said to an IQ of type get or set that nobody takes.
        @param send: writes a stanza; may raise L{LinkDown} or L{XMLRefused}.
        @param absent: what C{from} and C{to} are where a stanza may come without (RFC 6120, section 8.1).
        @param traffic: where they are counted.
        """
        self._takers = takers
        self._answer = answer
        self._send = send
        self._absent = absent
        self._traffic = Traffic() if traffic is None else traffic

    def received(self, stanza: Element) -> None:
        """
        Find the taker of a stanza.
        """
        if stanza.name not in _KINDS or not self._normalise(stanza):
            return
        self._traffic.came(stanza)
        try:
            if any(taker.take(stanza) for taker in self._takers):
                return
            if expectsAnswer(stanza):
                self._reply(self._answer(stanza))
                return
        except Exception:
            self.log.failure("A stanza of kind {kind} could not be taken", kind=stanza.name)
            if expectsAnswer(stanza):
                self._reply(errorReply(stanza, StanzaError.of("internal-server-error")))
            return
        self.log.debug("Nobody takes a {kind}", kind=stanza.name)

    def oversized(self, oversized: OversizedStanza) -> None:
        """
        Tell the sender of a stanza past a limit (XEP-0205, section 2).
        """
        stanza = oversized.stanza
        self.log.warn("A stanza was refused: {reason}", reason=oversized.reason)
        if stanza.name in _KINDS and takesError(stanza) and self._normalise(stanza):
            self._reply(errorReply(stanza, StanzaError.of("policy-violation", oversized.reason)))

    def _normalise(self, stanza: Element) -> bool:
        try:
            for end in ("from", "to"):
                stanza[end] = JID.parse(stanza.attributes.get(end) or self._absent[end]).full
        except KeyError as missing:
            self.log.warn("The server sent a {kind} without {end}", kind=stanza.name, end=str(missing))
            return False
        except InvalidJID as error:
            self.log.warn(
                "The server sent a {kind} from or to no address: {error}", kind=stanza.name, error=error
            )
            return False
        return True

    def _reply(self, reply: Element) -> None:
        try:
            self._send(reply)
        except (LinkDown, XMLRefused) as problem:
            self.log.warn("A reply could not be sent: {problem}", problem=problem)
