"""
L{restbridge.rest.address}: what accounts send to the rooms that they are in.
"""

from __future__ import annotations

from restbridge.rest.address import address
from restbridge.stanzas.jid import JID
from restbridge.web.answer import Refusal
from restbridge.web.guard import AccountPrincipal, UserPrincipal
from tests.bots.case import BOT, DOMAIN, ROOM, BotsTestCase
from tests.web.client import FakeLink, FakeUserLink, account
from tests.xmpp.fakes import stanza


class RoomTests(BotsTestCase):
    def sender(self, xml: str, name: str = "bot", sendAs: tuple[str, ...] = ()) -> str:
        """
        The address that a stanza of an account goes out from.
        """
        principal = AccountPrincipal(
            account=account(name, sendAs=sendAs),
            address=JID.parse(f"{name}@{DOMAIN}"),
            link=FakeLink(),
            occupants=self.bots,
        )
        return str(address(stanza(xml), principal)["from"])

    def test_occupant(self) -> None:
        """
        Whatever goes to the room, or to somebody there, goes out from the address that the room knows, also
        where the bare one is given.
        """
        for xml in (
            f"<message type='groupchat' to='{ROOM}'/>",
            f"<message type='groupchat' to='{ROOM.upper()}' from='bot@{DOMAIN}'/>",
            f"<message type='chat' to='{ROOM}/alice'/>",
            f"<presence to='{ROOM}/robot'/>",
            f"<iq type='get' to='{ROOM}/alice'><ping xmlns='urn:xmpp:ping'/></iq>",
        ):
            self.assertEqual(BOT, self.sender(xml), xml)

    def test_elsewhere(self) -> None:
        """
        Nothing else changes: other addresses, other accounts, a resource that is given.
        """
        bare, desk = f"bot@{DOMAIN}", f"bot@{DOMAIN}/desk"
        self.assertEqual(bare, self.sender("<message to='alice@localhost'/>"))
        self.assertEqual(bare, self.sender("<message/>"))
        self.assertEqual(desk, self.sender(f"<message type='groupchat' to='{ROOM}' from='{desk}'/>"))
        self.assertEqual(f"clerk@{DOMAIN}", self.sender(f"<message to='{ROOM}'/>", "clerk"))

    def test_others(self) -> None:
        """
        Who may send as the account speaks from its place; who may not doesn't.
        """
        message = f"<message type='groupchat' to='{ROOM}' from='bot@{DOMAIN}'/>"
        self.assertEqual(BOT, self.sender(message, "boss", (f"*@{DOMAIN}",)))
        refusal = self.assertRaises(Refusal, self.sender, message, "clerk")
        self.assertEqual(403, refusal.status)

    def test_users(self) -> None:
        """
        Users have no such places.
        """
        principal = UserPrincipal(FakeUserLink())
        sent = address(stanza(f"<message type='groupchat' to='{ROOM}'/>"), principal)
        self.assertEqual(principal.address.full, sent["from"])
