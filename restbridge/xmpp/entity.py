"""
What the bridge says of itself and of its accounts, where no callback speaks for them: service
discovery (XEP-0030), software version (XEP-0092) and ping (XEP-0199).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twisted.words.xish.domish import Element

from restbridge import __version__
from restbridge.stanzas.jid import JID
from restbridge.stanzas.replies import resultFor

NS_INFO = "http://jabber.org/protocol/disco#info"
NS_ITEMS = "http://jabber.org/protocol/disco#items"
NS_PING = "urn:xmpp:ping"
NS_VERSION = "jabber:iq:version"

FEATURES = (NS_INFO, NS_ITEMS, NS_PING, NS_VERSION)


class Entity:
    """
    Answers for the component's domain and for the configured accounts; others are not there.
    """

    def __init__(self, *, domain: str, accounts: Iterable[str], send: Callable[[Element], object]) -> None:
        """
        @param accounts: local parts.
        """
        self._domain = domain
        self._accounts = sorted(f"{account}@{domain}" for account in accounts)
        self._send = send
        self._payloads: dict[tuple[str, str], Callable[[JID], Element | None]] = {
            (NS_PING, "ping"): lambda _: None,
            (NS_VERSION, "query"): _version,
            (NS_INFO, "query"): _info,
            (NS_ITEMS, "query"): self._items,
        }

    def take(self, stanza: Element) -> bool:
        """
        Answer an IQ of type get with one of the payloads above.
        """
        if stanza.name != "iq" or stanza.getAttribute("type") != "get":
            return False
        asked = JID.parse(stanza["to"])
        query = stanza.firstChildElement()
        if query is None or (asked.bare != self._domain and asked.bare not in self._accounts):
            return False
        payloadFor = self._payloads.get((query.uri, query.name))
        if payloadFor is None or query.hasAttribute("node"):
            return False
        result = resultFor(stanza)
        payload = payloadFor(asked)
        if payload is not None:
            result.addChild(payload)
        self._send(result)
        return True

    def _items(self, asked: JID) -> Element:
        query = Element((NS_ITEMS, "query"))
        if asked.local is None:
            for account in self._accounts:
                query.addElement("item")["jid"] = account
        return query


def _version(_: JID) -> Element:
    query = Element((NS_VERSION, "query"))
    query.addElement("name", content="restbridge")
    query.addElement("version", content=__version__)
    return query


def _info(asked: JID) -> Element:
    query = Element((NS_INFO, "query"))
    identity = query.addElement("identity")
    category, kind = ("component", "generic") if asked.local is None else ("client", "bot")
    identity["category"], identity["type"], identity["name"] = category, kind, "restbridge"
    for feature in FEATURES:
        query.addElement("feature")["var"] = feature
    return query
