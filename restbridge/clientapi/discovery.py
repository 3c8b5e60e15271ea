"""
Which group chat service a user's rooms are on: the one that is configured, or the first that the user's own
server names (XEP-0030).

::

    domain -> known                                          -> the service
           -> configured | disco#items -> disco#info of each -> the service, remembered | 404
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from twisted.words.xish.domish import Element

from restbridge.boundaries import UserLink
from restbridge.clientapi.groupchat import RoomRefused, RoomService, ask, only, together
from restbridge.config import UserDomain
from restbridge.stanzas.errors import NoAnswer
from restbridge.stanzas.jid import JID, InvalidJID
from restbridge.web.answer import Refusal
from restbridge.xmpp.entity import NS_INFO, NS_ITEMS

MAX_ITEMS = 100
"""Services of a server that are asked what they are."""

DISCOVERY_TIMEOUT = 5.0
"""Seconds for a service to say what it is: one that hangs must not hold up the others."""

Kinds = Mapping[str, Callable[[str], RoomService]]
"""Feature -> what makes the service of a domain that has it. The first goes before the next."""


class RoomServices:
    """
    The services of all domains whose users are served.
    """

    def __init__(self, *, domains: Mapping[str, UserDomain], kinds: Kinds) -> None:
        self._domains = domains
        self._kinds = kinds
        self._known: dict[str, RoomService] = {}

    async def of(self, link: UserLink) -> RoomService:
        """
        The service for a user.

        @raise Refusal: 404, there is none.
        """
        domain = link.address.domain
        if domain not in self._known:
            found = await self._found(link, domain)
            # Another request may have been quicker.
            self._known.setdefault(domain, found)
        return self._known[domain]

    async def _found(self, link: UserLink, domain: str) -> RoomService:
        settings = self._domains.get(domain)
        configured = settings.rooms if settings is not None else None
        candidates = [configured] if configured is not None else await _items(link, domain)
        features = await together(_features(link, candidate) for candidate in candidates)
        for feature, make in self._kinds.items():
            for candidate, offered in zip(candidates, features, strict=True):
                if feature in offered:
                    return make(candidate)
        raise Refusal(404, text="MUC Light server not found")


async def _items(link: UserLink, domain: str) -> list[str]:
    """
    The domains of a server's services.
    """
    try:
        answer = await ask(link, domain, "get", Element((NS_ITEMS, "query")))
    except RoomRefused:
        return []
    items = list(only(answer, NS_ITEMS, "query").elements(NS_ITEMS, "item"))[:MAX_ITEMS]
    return [service for item in items if (service := _domain(item)) is not None]


def _domain(item: Element) -> str | None:
    try:
        address = JID.parse(item.getAttribute("jid", ""))
    except InvalidJID:
        return None
    return address.domain if address.full == address.domain and not item.hasAttribute("node") else None


async def _features(link: UserLink, service: str) -> set[str]:
    """
    What a service says that it can do; nothing where it doesn't answer.
    """
    try:
        answer = await ask(link, service, "get", Element((NS_INFO, "query")), timeout=DISCOVERY_TIMEOUT)
    except (RoomRefused, NoAnswer):
        return set()
    features = only(answer, NS_INFO, "query").elements(NS_INFO, "feature")
    return {feature.getAttribute("var", "") for feature in features}
