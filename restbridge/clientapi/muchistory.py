"""
What was said in a room of XEP-0045, and the changes of affiliations in between.

::

    the room's archive (XEP-0313) -> shown -> merged -> items, in their order
    the store                              ->
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from twisted.words.xish.domish import Element

from restbridge.clientapi.groupchat import bareAddress, shownChange, shownContent
from restbridge.clientapi.history import Archived, Item
from restbridge.stanzas.jid import JID
from restbridge.stanzas.muc import NS_MUC_USER
from restbridge.store.rooms import Change


def shown(archived: Archived) -> Item | None:
    """
    What the API shows of an archived message, and C{archived}, the archive's id of it.
    """
    content = shownContent(archived.message)
    if not content or archived.message.getAttribute("type") != "groupchat":
        return None
    return {
        "archived": archived.id,
        "type": "message",
        "id": archived.message.getAttribute("id") or archived.id,
        "from": _sender(archived.message),
        "timestamp": archived.timestamp,
        **content,
    }


def _sender(message: Element) -> str:
    """
    Who has sent a message, where the room tells; else the occupant. One who claims to be another, by an
    element of the same name, is the occupant, too.
    """
    items = [
        item
        for user in message.elements(NS_MUC_USER, "x")
        for item in user.elements(NS_MUC_USER, "item")
        if item.hasAttribute("jid")
    ]
    address = bareAddress(items[0]["jid"]) if len(items) == 1 else None
    return address or str(message.getAttribute("from", ""))


def merged(said: Iterable[Item], changes: Iterable[Change], room: JID) -> list[Item]:
    """
    Messages and changes of affiliations, in their order: a change comes behind the message that it came
    after, or in front of all, if that one is not among them. Its time fits in between.

    @param said: what L{shown} shows.
    """
    after: dict[str, list[Change]] = {}
    known = {item["archived"] for item in said}
    for change in changes:
        after.setdefault(change.after if change.after in known else "", []).append(change)
    found: list[Item] = [shownChange(change, room) for change in after.get("", [])]
    for item in said:
        found.append({key: value for key, value in item.items() if key != "archived"})
        found += [shownChange(change, room) for change in after.get(item["archived"], [])]
    return _inOrder(found)


def _inOrder(items: list[Item]) -> list[Item]:
    """
    With times that don't go back: Prosody's archive knows whole seconds only.
    """
    latest: Any = None
    for item in reversed(items):
        if latest is not None and item["type"] == "affiliation":
            item["timestamp"] = min(item["timestamp"], latest)
        latest = item["timestamp"]
    return items
