"""
What was said in a room of XEP-0045, and the changes of affiliations in between.

::

    the room's archive (XEP-0313) -> shown -> merged -> items, in their order
    the store                              ->
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf

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


def merged(said: Sequence[Item], changes: Iterable[Change], room: JID) -> list[Item]:
    """
    Messages and changes of affiliations, in their order: a change comes behind the message that it came
    after, and is told to have been in between, whatever the clocks say. Where that message is not known, it
    comes before all, or is left out if it was later: then so was the message.

    @param said: what L{shown} shows, with times that are at least two milliseconds apart.
    """
    after: dict[str, list[Change]] = {item["archived"]: [] for item in said}
    first = said[0]["timestamp"] if said else inf
    before = []
    for change in changes:
        if change.after in after:
            after[change.after].append(change)
        elif not change.after or change.time < first:
            before.append(change)
    found = _shownChanges(before, room, 0, first - 1)
    for number, item in enumerate(said, 1):
        found.append({key: value for key, value in item.items() if key != "archived"})
        following = said[number]["timestamp"] if number < len(said) else inf
        found += _shownChanges(after[item["archived"]], room, item["timestamp"] + 1, following - 1)
    return found


def _shownChanges(changes: Iterable[Change], room: JID, earliest: int, latest: float) -> list[Item]:
    """
    Changes that came between two messages, with times that fit in and differ, if there are enough of them:
    a client goes back from any of them. Prosody's archive knows whole seconds only, and messages that share
    a time are told one after another.
    """
    found = [shownChange(change, room) for change in changes]
    least = earliest
    for item in found:
        item["timestamp"] = max(item["timestamp"], least)
        least = item["timestamp"] + 1
    for item in reversed(found):
        item["timestamp"] = int(max(min(item["timestamp"], latest), earliest))
        latest = item["timestamp"] - 1
    return found
