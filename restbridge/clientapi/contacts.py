"""
C{/api/contacts}: the user's roster (RFC 6121, section 2) and subscriptions (section 3).
"""

from __future__ import annotations

from collections.abc import Iterable

from twisted.words.xish.domish import Element

from restbridge.boundaries import UserLink
from restbridge.clientapi.call import Call, address, bad
from restbridge.clientapi.history import Item
from restbridge.stanzas.errors import StanzaError, errorOf
from restbridge.stanzas.jid import JID
from restbridge.stanzas.replies import newId
from restbridge.stanzas.xml import NS_CLIENT
from restbridge.web.answer import Answer, Refusal, asJSON

NS_ROSTER = "jabber:iq:roster"

_ACTIONS = {"invite": "subscribe", "accept": "subscribed"}


async def listed(call: Call) -> Answer:
    """
    C{GET /api/contacts}: all contacts, sorted by address.
    """
    if "contact" in call.path:
        raise Refusal(404, text="JID provided but not supported")
    contacts = await roster(call.link, call.timeout)
    return asJSON(200, [_item(contacts[jid]) for jid in sorted(contacts)])


async def add(call: Call) -> Answer:
    """
    C{POST /api/contacts}: add a contact, without a subscription.
    """
    contact = _contact(call.document().get("jid"))
    if contact.bare not in await roster(call.link, call.timeout):
        await _set(call, contact)
    return Answer(204)


async def manage(call: Call) -> Answer:
    """
    C{PUT /api/contacts/{contact}}: ask for a subscription, or allow one.
    """
    contact = _contact(call.path.get("contact"))
    action = call.document().get("action")
    if action is None:
        raise bad("Missing action")
    if action not in _ACTIONS:
        raise bad("Invalid action")
    if contact.bare not in await roster(call.link, call.timeout):
        raise Refusal(404, text="Given contact does not exist")
    presence = Element((NS_CLIENT, "presence"))
    presence["to"], presence["type"], presence["id"] = contact.bare, _ACTIONS[action], newId()
    await call.link.confirm(presence)
    return Answer(204)


async def remove(call: Call) -> Answer:
    """
    C{DELETE /api/contacts/{contact}}, or C{DELETE /api/contacts} with a list of those C{to_delete}.
    """
    if "contact" in call.path:
        contact = _contact(call.path["contact"])
        if await _removed(call, [contact]):
            raise Refusal(404, text=f"Cannot remove {contact.bare} contact that does not exist")
        return Answer(204)
    wanted = call.document().get("to_delete")
    if not isinstance(wanted, list):
        raise bad("Invalid request body")
    absent = await _removed(call, [_contact(each) for each in wanted])
    return asJSON(200, {"not_deleted": [contact.bare for contact in absent]})


async def roster(link: UserLink, timeout: float) -> dict[str, Element]:
    """
    The items of a user's roster, by bare address.
    """
    iq = _iq("get")
    iq.addElement((NS_ROSTER, "query"))
    answer = await link.request(iq, timeout)
    _check(answer)
    query = next(answer.elements(NS_ROSTER, "query"), None)
    items = [] if query is None else query.elements(NS_ROSTER, "item")
    return {item["jid"]: item for item in items if item.hasAttribute("jid")}


async def _removed(call: Call, contacts: Iterable[JID]) -> list[JID]:
    """
    Remove contacts; those that were none.
    """
    known = await roster(call.link, call.timeout)
    absent = []
    for contact in contacts:
        if known.pop(contact.bare, None) is None:
            absent.append(contact)
        else:
            await _set(call, contact, subscription="remove")
    return absent


async def _set(call: Call, contact: JID, **attributes: str) -> None:
    iq = _iq("set")
    item = iq.addElement((NS_ROSTER, "query")).addElement("item")
    item["jid"] = contact.bare
    item.attributes.update(attributes)
    _check(await call.link.request(iq, call.timeout))


def _iq(kind: str) -> Element:
    iq = Element((NS_CLIENT, "iq"))
    iq["type"], iq["id"] = kind, newId()
    return iq


def _check(answer: Element) -> None:
    error = errorOf(answer)
    if error is not None:
        raise Refusal(503, text=f"The roster can't be read or changed: {_words(error)}")


def _words(error: StanzaError) -> str:
    return error.condition if error.text is None else f"{error.condition} ({error.text})"


def _contact(given: object) -> JID:
    if given is None:
        raise bad("Missing JID")
    return address(given, f"Invalid JID: {given}")


def _item(item: Element) -> Item:
    return {
        "jid": item["jid"],
        "subscription": item.getAttribute("subscription", "none"),
        "ask": "out" if item.getAttribute("ask") == "subscribe" else "none",
    }
