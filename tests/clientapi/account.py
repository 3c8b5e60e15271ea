"""
A user's account at a server that the test plays: roster, requests for subscriptions, archive.
"""

from __future__ import annotations

from collections.abc import Iterable

from twisted.internet.defer import Deferred, succeed
from twisted.words.xish.domish import Element

from restbridge.stanzas.errors import StanzaError, errorReply
from restbridge.stanzas.replies import resultFor
from restbridge.stanzas.xml import parseDocument
from tests.web.client import FakeUserLink

NS_DATA = "jabber:x:data"
NS_INFO = "http://jabber.org/protocol/disco#info"
NS_MAM = "urn:xmpp:mam:2"
NS_OFFLINE = "http://jabber.org/protocol/offline"
NS_ROSTER = "jabber:iq:roster"
NS_RSM = "http://jabber.org/protocol/rsm"

OWN = "alice@example.com"


def push(contact: str, subscription: str, sender: str = OWN) -> Element:
    """
    A roster push.
    """
    return parseDocument(
        f"<iq type='set' id='push' from='{sender}' to='{OWN}/r'><query xmlns='{NS_ROSTER}'>"
        f"<item jid='{contact}' subscription='{subscription}'/></query></iq>".encode()
    )


class Account(FakeUserLink):
    """
    The login of C{alice@example.com}.

    @ivar roster: the attributes of each item, by its address.
    @ivar asking: who asks for a subscription; said to a login that becomes available.
    @ivar saysBelowZero: whether that is said whatever the priority, as Prosody does and ejabberd doesn't.
    @ivar keepsMessages: whether the server knows XEP-0013.
    @ivar domains: those that answer.
    @ivar refusals: stanza errors in place of answers, by the namespace of what is asked.
    @ivar silent: the namespaces of what is never answered.
    @ivar archive: time stamps and messages, as XML.
    @ivar pageSize: messages that an answer of the archive holds at most.
    @ivar labelled: whether results of the archive say that they come from the account.
    @ivar pages: how many were asked for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.roster: dict[str, dict[str, str]] = {}
        self.asking: list[str] = []
        self.saysBelowZero = True
        self.keepsMessages = False
        self.domains = {"example.com"}
        self.refusals: dict[str, StanzaError] = {}
        self.silent: set[str] = set()
        self.archive: list[tuple[str, str]] = []
        self.pageSize = 50
        self.labelled = False
        self.pages = 0

    @property
    def priorities(self) -> list[int]:
        """
        With which the login has become available.
        """
        shown = [each for each in self.sent if each.name == "presence" and each.priority is not None]
        return [int(str(each.priority)) for each in shown]

    @property
    def presences(self) -> list[tuple[str, str]]:
        """
        Types and recipients of the presences about subscriptions.
        """
        told = [each for each in self.sent if each.name == "presence" and each.hasAttribute("to")]
        return [(each["type"], each["to"]) for each in told]

    def send(self, stanza: Element) -> None:
        wasAvailable = self.available
        super().send(stanza)
        appears = stanza.name == "presence" and self.available and not wasAvailable
        if appears and (self.saysBelowZero or int(str(stanza.priority or 0)) >= 0):
            self.ask(*self.asking)

    def ask(self, *contacts: str) -> None:
        """
        Somebody asks for a subscription.
        """
        for contact in contacts:
            self.receive(parseDocument(f"<presence type='subscribe' from='{contact}' to='{OWN}'/>".encode()))

    def request(self, iq: Element, timeout: float) -> Deferred[Element]:
        self.send(iq)
        self.timeouts.append(timeout)
        (payload,) = iq.elements()
        if payload.uri in self.silent:
            self.awaited.append(Deferred(self._forget))
            return self.awaited[-1]
        if payload.uri in self.refusals:
            return succeed(errorReply(iq, self.refusals[payload.uri]))
        answers = {NS_ROSTER: self._roster, NS_INFO: self._info, NS_MAM: lambda iq, _: resultFor(iq)}
        return succeed(answers[payload.uri](iq, payload))

    async def query(self, iq: Element, timeout: float) -> list[Element]:
        end = await self.request(iq, timeout)
        if end["type"] == "error":
            return [end]
        self.pages += 1
        (payload,) = iq.elements()
        fields = {str(each["var"]): str(each.value) for each in payload.x.elements(NS_DATA, "field")}
        rsm = next(payload.elements(NS_RSM, "set"))
        stop = int(str(rsm.before) or len(self.archive))
        fitting = [number for number in range(stop) if self._fits(number, fields)]
        page = fitting[-min(int(str(rsm.max)), self.pageSize) :]
        fin = end.addElement((NS_MAM, "fin"))
        if page == fitting:
            fin["complete"] = "true"
        if page:
            fin.addElement((NS_RSM, "set")).addElement("first", content=str(page[0]))
        return [*(self._result(number, payload["queryid"]) for number in page), end]

    def _fits(self, number: int, fields: dict[str, str]) -> bool:
        stamp, message = self.archive[number]
        other, end = fields.get("with", ""), fields.get("end", "9")
        if "." not in stamp:
            # As Prosody does.
            end = end.partition(".")[0] + "Z"
        return other in message and stamp <= end

    def _result(self, number: int, query: str) -> Element:
        stamp, message = self.archive[number]
        sender = f" from='{OWN}'" if self.labelled else ""
        return parseDocument(
            f"<message to='{OWN}/r'{sender}><result xmlns='{NS_MAM}' queryid='{query}' id='{number}'>"
            f"<forwarded xmlns='urn:xmpp:forward:0'><delay xmlns='urn:xmpp:delay' stamp='{stamp}'/>"
            f"{message}</forwarded></result></message>".encode()
        )

    def _roster(self, iq: Element, query: Element) -> Element:
        answer = resultFor(iq)
        if iq["type"] == "set":
            return self._changed(iq, query.item)
        answer.addChild(_query(self.roster.items()))
        return answer

    def _changed(self, iq: Element, item: Element) -> Element:
        if item.getAttribute("subscription") != "remove":
            self.roster[item["jid"]] = {"subscription": "none"}
        elif self.roster.pop(item["jid"], None) is None:
            return errorReply(iq, StanzaError.of("item-not-found"))
        return resultFor(iq)

    def _info(self, iq: Element, query: Element) -> Element:
        answer = resultFor(iq)
        info = answer.addElement((NS_INFO, "query"))
        if query.getAttribute("node") == NS_OFFLINE:
            if not self.keepsMessages:
                return errorReply(iq, StanzaError.of("item-not-found"))
            identity = info.addElement("identity")
            identity["category"], identity["type"] = "automation", "message-list"
        elif iq["to"] not in self.domains:
            return errorReply(iq, StanzaError.of("remote-server-not-found"))
        return answer


def _query(items: Iterable[tuple[str, dict[str, str]]]) -> Element:
    query = Element((NS_ROSTER, "query"))
    for jid, attributes in items:
        item = query.addElement("item")
        item.attributes.update({"jid": jid, **attributes})
    return query
