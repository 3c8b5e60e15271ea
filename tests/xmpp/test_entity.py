"""
L{restbridge.xmpp.entity}: what the bridge says of itself.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from restbridge import __version__
from restbridge.stanzas.xml import serialize
from restbridge.xmpp.entity import Entity
from tests.xmpp.fakes import stanza


class EntityTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.entity = Entity(domain="bridge.localhost", accounts=("bot",))

    def ask(self, payload: str, to: str = "bridge.localhost", kind: str = "get") -> str:
        """
        The answer to an IQ, as XML.
        """
        iq = stanza(f"<iq type='{kind}' from='bob@localhost/x' to='{to}' id='1'>{payload}</iq>")
        return serialize(self.entity.answer(iq))

    def test_ping(self) -> None:
        """
        The domain and its accounts answer a ping (XEP-0199).
        """
        for to in ("bridge.localhost", "bot@bridge.localhost", "bot@bridge.localhost/desk"):
            self.assertEqual(
                self.ask("<ping xmlns='urn:xmpp:ping'/>", to),
                f"<iq to='bob@localhost/x' from='{to}' id='1' type='result'/>",
            )

    def test_version(self) -> None:
        """
        The version that runs is told (XEP-0092).
        """
        answer = self.ask("<query xmlns='jabber:iq:version'/>")
        self.assertIn(f"<name>restbridge</name><version>{__version__}</version>", answer)

    def test_info(self) -> None:
        """
        The domain is a component, an account is a bot (XEP-0030).
        """
        query = "<query xmlns='http://jabber.org/protocol/disco#info'/>"
        self.assertIn("category='component' type='generic'", self.ask(query))
        self.assertIn("category='client' type='bot'", self.ask(query, "bot@bridge.localhost"))

    def test_items(self) -> None:
        """
        The accounts are the domain's items; an account has none.
        """
        query = "<query xmlns='http://jabber.org/protocol/disco#items'/>"
        self.assertIn("<item jid='bot@bridge.localhost'/>", self.ask(query))
        self.assertNotIn("<item", self.ask(query, "bot@bridge.localhost"))

    def test_unavailable(self) -> None:
        """
        Other payloads, nodes, addresses and types get an error.
        """
        ping = "<ping xmlns='urn:xmpp:ping'/>"
        for answer in (
            self.ask(ping, "nobody@bridge.localhost"),
            self.ask(ping, kind="set"),
            self.ask("<query xmlns='jabber:iq:last'/>"),
            self.ask("<query xmlns='http://jabber.org/protocol/disco#info' node='x'/>"),
            self.ask(""),
        ):
            self.assertIn("<service-unavailable", answer)
            self.assertIn("type='error'", answer)

    def test_ownAccount(self) -> None:
        """
        Without an address an IQ asks the account that it comes from; its answer comes from nobody.
        """
        iq = stanza("<iq type='get' from='bot@bridge.localhost' id='1'><ping xmlns='urn:xmpp:ping'/></iq>")
        self.assertEqual(
            serialize(self.entity.answer(iq)), "<iq to='bot@bridge.localhost' id='1' type='result'/>"
        )

    def test_change(self) -> None:
        """
        Other accounts are there at once, and those that were aren't.
        """
        self.entity.change(["new"])
        ping = "<ping xmlns='urn:xmpp:ping'/>"
        self.assertIn("type='result'", self.ask(ping, "new@bridge.localhost"))
        self.assertIn("<service-unavailable", self.ask(ping, "bot@bridge.localhost"))
