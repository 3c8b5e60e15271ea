"""
What the bridge says of itself and of its accounts, where no callback speaks for them: service
discovery (XEP-0030), software version (XEP-0092) and ping (XEP-0199).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twisted.words.xish.domish import Element

from restbridge import __version__
from restbridge.stanzas.errors import StanzaError, errorReply
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

    def __init__(self, *, domain: str, accounts: Iterable[str]) -> None:
        """
        @param accounts: local parts.
        """
        self._domain = domain
        self.change(accounts)
        self._payloads: dict[tuple[str, str], Callable[[JID], Element | None]] = {
            (NS_PING, "ping"): lambda _: None,
            (NS_VERSION, "query"): _version,
            (NS_INFO, "query"): _info,
            (NS_ITEMS, "query"): self._items,
        }

    def change(self, accounts: Iterable[str]) -> None:
        """
        From now on these are the accounts.

        @param accounts: local parts.
        """
        self._accounts = sorted(f"{account}@{self._domain}" for account in accounts)

    def answer(self, iq: Element) -> Element:
        """
        The answer to an IQ of type get or set, be it an error. Without C{to} it asks the account that it
        comes from (RFC 6120, section 10.3.3).
        """
        asked = JID.parse(iq.getAttribute("to") or iq["from"])
        query = iq.firstChildElement()
        known = asked.bare == self._domain or asked.bare in self._accounts
        if iq["type"] != "get" or not known or query is None or query.hasAttribute("node"):
            return errorReply(iq, StanzaError.of("service-unavailable"))
        payloadFor = self._payloads.get((query.uri, query.name))
        if payloadFor is None:
            return errorReply(iq, StanzaError.of("service-unavailable"))
        result = resultFor(iq)
        payload = payloadFor(asked)
        if payload is not None:
            result.addChild(payload)
        return result

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
