"""
What the tests of rooms stand on: a user's link whose server the test plays, and a store in memory.
"""

from __future__ import annotations

from typing import TypeVar

from twisted.internet.defer import Deferred, succeed
from twisted.words.xish.domish import Element

from restbridge.stanzas.errors import StanzaError, errorReply
from restbridge.stanzas.replies import resultFor
from restbridge.stanzas.xml import parseDocument
from tests.web.client import FakeUserLink

T = TypeVar("T")

ROOM = "room@rooms.example.com"
MUC = "http://jabber.org/protocol/muc"


class RoomLink(FakeUserLink):
    """
    Answers requests by what they ask, and messages to rooms not at all.

    @ivar says: the payload of the answer by the namespace asked for; a word is the condition of an error,
        L{None} is silence.
    @ivar affiliations: of local parts of C{example.com}, which the lists of all rooms hold; L{None} to have
        them answered as other requests.
    """

    def __init__(self) -> None:
        super().__init__()
        self.says: dict[str, str | None] = {}
        self.affiliations: dict[str, str] | None = None

    def request(self, iq: Element, timeout: float) -> Deferred[Element]:
        payload = next(iq.elements())
        if self.affiliations is not None and iq["type"] == "get" and payload.uri == f"{MUC}#admin":
            self.send(iq)
            return succeed(self._listed(iq, payload.item["affiliation"]))
        said = self.says.get(f"{iq['to']} {payload.uri}", self.says.get(payload.uri, "item-not-found"))
        if said is None:
            return super().request(iq, timeout)
        self.send(iq)
        if said and not said.startswith("<"):
            return succeed(errorReply(iq, StanzaError.of(said)))
        answer = resultFor(iq)
        if said:
            answer.addChild(parseDocument(said.encode()))
        return succeed(answer)

    def _listed(self, iq: Element, wanted: str) -> Element:
        answer = resultFor(iq)
        query = answer.addElement((f"{MUC}#admin", "query"))
        for user, affiliation in (self.affiliations or {}).items():
            if affiliation == wanted:
                query.addElement("item")["jid"] = f"{user}@example.com"
        return answer

    def asked(self, uri: str) -> list[Element]:
        """
        The payloads of the requests that were sent, of one namespace.
        """
        payloads = [next(stanza.elements()) for stanza in self.sent if stanza.name == "iq"]
        return [payload for payload in payloads if payload.uri == uri]

    def hear(self, xml: str) -> bool:
        """
        A stanza comes in.

        @return: whether it was taken.
        """
        return self.receive(parseDocument(xml.encode()))

    def letIn(self, affiliation: str = "member", subject: str = "", codes: str = "110") -> None:
        """
        The room lets the session in, as whom it wants to be.
        """
        own = [stanza["to"] for stanza in self.sent if stanza.name == "presence"][-1]
        status = "".join(f"<status code='{code}'/>" for code in codes.split())
        self.hear(
            f"<presence from='{own}' to='{self.address.full}'><x xmlns='{MUC}#user'>"
            f"<item affiliation='{affiliation}' jid='{self.address.full}' role='participant'/>"
            f"{status}</x></presence>"
        )
        room = own.partition("/")[0]
        self.hear(f"<message from='{room}' type='groupchat'><subject>{subject}</subject></message>")
