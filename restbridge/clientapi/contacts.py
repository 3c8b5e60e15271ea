"""
C{/api/contacts}: the user's roster (RFC 6121, section 2) and subscriptions (section 3).

::

    list   -> presence, once a login -> the server says who asks -> Asking
           -> roster                                             -> contacts, and those who ask
    add    -> the contact's domain answers                       -> roster
    invite -> presence of type subscribe;  accept -> subscribed
    remove -> roster; who only asks is refused

Somebody else's request for a subscription is in no roster: a server tells it to available clients
alone (section 3.1.3). So the login becomes available when that has to be known, with a priority that
no message comes to.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from twisted.words.xish.domish import Element

from restbridge.boundaries import UserLink
from restbridge.clientapi.call import Call, address, bad, shown
from restbridge.clientapi.history import Item
from restbridge.stanzas.errors import NoAnswer, StanzaError, errorOf
from restbridge.stanzas.jid import JID, InvalidJID
from restbridge.stanzas.replies import newId, resultFor
from restbridge.stanzas.xml import NS_CLIENT, firstOf
from restbridge.web.answer import Answer, Refusal, asJSON, unavailable
from restbridge.xmpp.entity import NS_INFO

NS_OFFLINE = "http://jabber.org/protocol/offline"
NS_ROSTER = "jabber:iq:roster"

MAX_ASKING = 1000
"""Requests that are remembered of one login: anybody can make one."""

DOMAIN_TIMEOUT = 10.0
"""Seconds for another domain to answer. One that takes longer may be there."""

_ACTIONS = {"invite": "subscribe", "accept": "subscribed"}

_ASK = {(False, False): "none", (True, False): "out", (False, True): "in", (True, True): "both"}
"""By whether the user asks, and whether the other one does."""

_ABSENT = ("service-unavailable", "feature-not-implemented")


class Asking:
    """
    Who asks to be a subscriber of one login's user, as far as the server has said it to this login: a
    L{restbridge.boundaries.Taker}. It answers roster pushes, too, which say who has become one.

    @ivar addresses: their bare addresses, in the order of their requests.
    """

    def __init__(self, link: UserLink) -> None:
        self.addresses: dict[str, None] = {}
        self._link = link

    def take(self, stanza: Element) -> bool:
        match stanza.name, stanza.getAttribute("type"):
            case "presence", "subscribe":
                self._asked(JID.parse(stanza["from"]).bare)
            case "presence", "unsubscribe":
                self.settled(JID.parse(stanza["from"]).bare)
            case "iq", "set" if stanza["from"] == self._link.address.bare:
                return self._pushed(stanza)
        return False

    def settled(self, contact: str) -> None:
        """
        Somebody asks no longer.
        """
        self.addresses.pop(contact, None)

    def _asked(self, contact: str) -> None:
        if len(self.addresses) < MAX_ASKING:
            self.addresses[contact] = None

    def _pushed(self, iq: Element) -> bool:
        """
        Something has changed in the roster (section 2.1.6).
        """
        query = firstOf(iq, NS_ROSTER, "query")
        if query is None:
            return False
        for contact, item in _items(query).items():
            if item.getAttribute("subscription") in ("from", "both", "remove"):
                self.settled(contact)
        self._link.send(resultFor(iq))
        return True


class Contacts:
    """
    The endpoints.
    """

    def __init__(self) -> None:
        self._asking: dict[UserLink, Asking] = {}

    def attend(self, link: UserLink) -> None:
        """
        Hear from now on who asks; a login that becomes available for another reason is told it once, too.
        """
        if link not in self._asking and link.whyDown() is None:
            self._asking[link] = Asking(link)
            link.offerTo([self._asking[link]])
            link.whenEnded(lambda _: self._asking.pop(link, None))

    async def listed(self, call: Call) -> Answer:
        """
        C{GET /api/contacts}: all contacts and whoever asks to be one, sorted by address.
        """
        if "contact" in call.path:
            raise Refusal(404, text="JID provided but not supported")
        await self._appear(call)
        # The answer comes after what the server says of those who ask.
        contacts = await roster(call)
        asking = self._whoAsks(call.link)
        return asJSON(200, [_item(jid, contacts.get(jid), asking) for jid in sorted({*contacts, *asking})])

    async def add(self, call: Call) -> Answer:
        """
        C{POST /api/contacts}: add a contact, without a subscription.
        """
        contact = _contact(call.document().get("jid"))
        # Prosody refuses the user's own address, and to others it means nothing.
        if contact != call.link.address.toBare() and contact.bare not in await roster(call):
            await _checkDomain(call, contact)
            _check(await _set(call, contact))
        return Answer(204)

    async def manage(self, call: Call) -> Answer:
        """
        C{PUT /api/contacts/{contact}}: ask for a subscription, or allow one.
        """
        contact = _contact(call.path.get("contact"))
        kind = _kind(call.document().get("action"))
        if contact.bare not in await self._known(call, [contact]):
            raise Refusal(404, text="Given contact does not exist")
        await self._tell(call.link, contact, kind)
        return Answer(204)

    async def remove(self, call: Call) -> Answer:
        """
        C{DELETE /api/contacts/{contact}}, or C{DELETE /api/contacts} with a list of those C{to_delete}.
        """
        if "contact" in call.path:
            contact = _contact(call.path["contact"])
            if await self._removed(call, [contact]):
                raise Refusal(404, text=f"Cannot remove {contact.bare} contact that does not exist")
            return Answer(204)
        absent = await self._removed(call, _wanted(call.document()))
        return asJSON(200, {"not_deleted": [contact.bare for contact in absent]})

    async def _known(self, call: Call, contacts: Iterable[JID]) -> set[str]:
        """
        The bare addresses of the user's contacts, and of those who ask to be one if C{contacts} are not all
        among them.
        """
        known = set(await roster(call))
        if known.issuperset(contact.bare for contact in contacts):
            return known
        await self._appear(call)
        return {*await roster(call), *self._whoAsks(call.link)}

    async def _removed(self, call: Call, contacts: list[JID]) -> list[JID]:
        """
        Remove contacts; those that were none.
        """
        known = await self._known(call, contacts)
        absent = []
        for contact in contacts:
            if contact.bare not in known:
                absent.append(contact)
                continue
            known.remove(contact.bare)
            if contact.bare in self._whoAsks(call.link):
                await self._tell(call.link, contact, "unsubscribed")
            error = errorOf(await _set(call, contact, subscription="remove"))
            if error is not None and error.condition != "item-not-found":
                raise _refused(error)
        return absent

    async def _tell(self, link: UserLink, contact: JID, kind: str) -> None:
        """
        Send a presence about subscriptions.
        """
        presence = Element((NS_CLIENT, "presence"))
        presence["to"], presence["type"], presence["id"] = contact.bare, kind, newId()
        await link.confirm(presence)
        if kind != "subscribe" and link in self._asking:
            self._asking[link].settled(contact.bare)

    async def _appear(self, call: Call) -> None:
        """
        Make the login available, unless it is: the server then says who asks.

        With a negative priority no message comes to it that would not come otherwise (RFC 6121, section
        8.5.2.1). Where the server holds back what waits for the user (XEP-0013) a priority of 0 goes
        before it: ejabberd tells nobody below that who asks.
        """
        if not call.link.available:
            self._show(call.link, (0, -1) if await _holdsMessages(call) else (-1,))

    def _show(self, link: UserLink, priorities: Iterable[int]) -> None:
        if link.available:
            # By an event stream, meanwhile.
            return
        self._whoAsks(link).clear()
        for priority in priorities:
            presence = Element((NS_CLIENT, "presence"))
            presence.addElement("priority", content=str(priority))
            link.send(presence)

    def _whoAsks(self, link: UserLink) -> dict[str, None]:
        asking = self._asking.get(link)
        return {} if asking is None else asking.addresses


async def roster(call: Call) -> dict[str, Element]:
    """
    The items of the user's roster, by bare address.
    """
    iq = _iq("get")
    iq.addElement((NS_ROSTER, "query"))
    answer = await call.link.request(iq, call.timeout)
    _check(answer)
    query = firstOf(answer, NS_ROSTER, "query")
    return {} if query is None else _items(query)


def _items(query: Element) -> dict[str, Element]:
    found = {}
    for item in query.elements(NS_ROSTER, "item"):
        try:
            found[JID.parse(item.getAttribute("jid", "")).bare] = item
        except InvalidJID:
            continue
    return found


async def _holdsMessages(call: Call) -> bool:
    """
    Ask how many messages wait for the user: the server then leaves them to another client (XEP-0013,
    section 2.1).
    """
    iq = _iq("get")
    iq.addElement((NS_INFO, "query"))["node"] = NS_OFFLINE
    answer = await call.link.request(iq, call.timeout)
    identities = [
        (identity.getAttribute("category"), identity.getAttribute("type"))
        for query in answer.elements(NS_INFO, "query")
        for identity in query.elements(NS_INFO, "identity")
    ]
    return ("automation", "message-list") in identities


async def _checkDomain(call: Call, contact: JID) -> None:
    """
    Ask whether there is a contact's domain. Of its accounts no server says that to strangers.

    @raise Refusal: 404, there is not, or nothing gets there.
    """
    if contact.domain == call.link.address.domain:
        return
    iq = _iq("get")
    iq["to"] = contact.domain
    iq.addElement((NS_INFO, "query"))
    try:
        error = errorOf(await call.link.request(iq, min(call.timeout, DOMAIN_TIMEOUT)))
    except NoAnswer:
        return
    if error is not None and error.type != "wait":
        raise Refusal(404, text=f"The user {contact.bare} does not exist")


async def _set(call: Call, contact: JID, **attributes: str) -> Element:
    iq = _iq("set")
    item = iq.addElement((NS_ROSTER, "query")).addElement("item")
    item["jid"] = contact.bare
    item.attributes.update(attributes)
    return await call.link.request(iq, call.timeout)


def _iq(kind: str) -> Element:
    iq = Element((NS_CLIENT, "iq"))
    iq["type"], iq["id"] = kind, newId()
    return iq


def _check(answer: Element) -> None:
    error = errorOf(answer)
    if error is not None:
        raise _refused(error)


def _refused(error: StanzaError) -> Refusal:
    """
    What it means that a server doesn't give the roster, or doesn't change it.
    """
    if error.condition in _ABSENT:
        return Refusal(501, text="The server keeps no roster (RFC 6121, section 2)")
    words = error.condition if error.text is None else f"{error.condition} ({shown(error.text)})"
    text = f"The server refuses it: {words}"
    return (
        unavailable(text)
        if error.type == "wait"
        else Refusal(400 if error.type == "modify" else 403, text=text)
    )


def _contact(given: object) -> JID:
    if given is None:
        raise bad("Missing JID")
    return address(given, f"Invalid JID: {shown(given)}").toBare()


def _kind(action: object) -> str:
    if action is None:
        raise bad("Missing action")
    if not isinstance(action, str) or action not in _ACTIONS:
        raise bad("Invalid action")
    return _ACTIONS[action]


def _wanted(document: Mapping[str, Any]) -> list[JID]:
    if "to_delete" not in document:
        raise bad("Missing to_delete")
    wanted = document["to_delete"]
    if not isinstance(wanted, list):
        raise bad("Invalid to_delete: not a list of JIDs")
    return [_contact(each) for each in wanted]


def _item(jid: str, item: Element | None, asking: Iterable[str]) -> Item:
    subscription, out = "none", False
    if item is not None:
        subscription = item.getAttribute("subscription", "none")
        out = item.getAttribute("ask") == "subscribe"
    asks = jid in asking and subscription not in ("from", "both")
    return {"jid": jid, "subscription": subscription, "ask": _ASK[out, asks]}
