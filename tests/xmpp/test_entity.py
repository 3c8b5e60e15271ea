"""
L{restbridge.xmpp.entity}: what the bridge says of itself.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from twisted.words.xish.domish import Element

from restbridge import __version__
from restbridge.stanzas.xml import serialize
from restbridge.xmpp.entity import Entity
from tests.xmpp.fakes import stanza


class EntityTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.sent: list[Element] = []
        self.entity = Entity(domain="bridge.localhost", accounts=("bot",), send=self.sent.append)

    def ask(self, payload: str, to: str = "bridge.localhost", kind: str = "get") -> str | None:
        """
        The answer to an IQ, as XML; L{None} where it is left to others.
        """
        iq = stanza(f"<iq type='{kind}' from='bob@localhost/x' to='{to}' id='1'>{payload}</iq>")
        return serialize(self.sent.pop()) if self.entity.take(iq) else None

    def test_ping(self) -> None:
        """
        The domain and its accounts answer a ping (XEP-0199).
        """
        for to in ("bridge.localhost", "bot@bridge.localhost", "bot@bridge.localhost/desk"):
            self.assertEqual(
                self.ask("<ping xmlns='urn:xmpp:ping'/>", to),
                f"<iq type='result' from='{to}' to='bob@localhost/x' id='1'/>",
            )

    def test_version(self) -> None:
        """
        The version that runs is told (XEP-0092).
        """
        answer = self.ask("<query xmlns='jabber:iq:version'/>") or ""
        self.assertIn(f"<name>restbridge</name><version>{__version__}</version>", answer)

    def test_info(self) -> None:
        """
        The domain is a component, an account is a bot (XEP-0030).
        """
        query = "<query xmlns='http://jabber.org/protocol/disco#info'/>"
        self.assertIn("category='component' type='generic'", self.ask(query) or "")
        self.assertIn("category='client' type='bot'", self.ask(query, "bot@bridge.localhost") or "")

    def test_items(self) -> None:
        """
        The accounts are the domain's items; an account has none.
        """
        query = "<query xmlns='http://jabber.org/protocol/disco#items'/>"
        self.assertIn("<item jid='bot@bridge.localhost'/>", self.ask(query) or "")
        self.assertNotIn("<item", self.ask(query, "bot@bridge.localhost") or "<item")

    def test_leftToOthers(self) -> None:
        """
        Other payloads, nodes, addresses and types are not answered here.
        """
        ping = "<ping xmlns='urn:xmpp:ping'/>"
        self.assertIsNone(self.ask(ping, "nobody@bridge.localhost"))
        self.assertIsNone(self.ask(ping, kind="set"))
        self.assertIsNone(self.ask("<query xmlns='jabber:iq:last'/>"))
        self.assertIsNone(self.ask("<query xmlns='http://jabber.org/protocol/disco#info' node='x'/>"))
        self.assertIsNone(self.ask(""))
