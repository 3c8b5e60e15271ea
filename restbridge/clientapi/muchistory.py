"""
What was said in a room of XEP-0045, and the changes of affiliations in between.

::

    the room's archive (XEP-0313) -> shown -> merged -> items, in their order
    the store                              ->
"""

from __future__ import annotations

from bisect import bisect
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


def merged(
    said: Sequence[Item], changes: Iterable[Change], room: JID, *, first: bool, last: bool
) -> list[Item]:
    """
    Messages and changes of affiliations, in their order: a change comes behind the message that it came
    after, and is told to have been in between, whatever the clocks say. Where that message is no more, as it
    was retracted, the change's own time counts; where it may be one that is not among these, it is left out,
    unless it comes before all.

    @param said: what L{shown} shows, with times that are at least two milliseconds apart.
    @param first: whether there are no messages before these.
    @param last: whether there are none after them.
    """
    times = [item["timestamp"] for item in said]
    after: dict[str, list[Change]] = {item["archived"]: [] for item in said}
    before = []
    for change in changes:
        place = bisect(times, change.time)
        if change.after in after:
            after[change.after].append(change)
        elif not change.after or place == 0:
            before.append(change)
        elif first and (last or place < len(said)):
            after[said[place - 1]["archived"]].append(change)
    found = _shownChanges(before, room, 0, times[0] - 1 if said else inf)
    for item, following in zip(said, [*times[1:], inf], strict=False):
        found.append({key: value for key, value in item.items() if key != "archived"})
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
