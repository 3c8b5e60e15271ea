"""
L{restbridge.bots.service}: all accounts in all their rooms, from the start to the end.
"""

from __future__ import annotations

from twisted.words.xish.domish import Element

from restbridge.bots.place import FIRST_PAUSE
from restbridge.config import Account
from restbridge.stanzas.jid import JID
from restbridge.stanzas.xml import NS_CLIENT
from tests.bots.case import BOT, DOMAIN, ROOM, BotsTestCase

OTHER = "other@conference.localhost"


class LifeTests(BotsTestCase):
    def test_stop(self) -> None:
        """
        At the end the account leaves the room, and nothing is left that would run on.
        """
        self.enter()
        self.bots.stopService()
        presence = self.only()
        self.assertEqual(
            (BOT, f"{ROOM}/bot", "unavailable"), (presence["from"], presence["to"], presence["type"])
        )
        self.wait(1000)
        self.assertEqual([], self.sent())

    def test_stopOutside(self) -> None:
        """
        A room that the account isn't in isn't left; one that may be letting it in is.
        """
        self.enter()
        self.presence("bot", "307 110", "unavailable")
        self.bots.stopService()
        self.assertEqual([], self.sent())
        self.server.drop()
        self.clock.advance(1)
        self.bots.startService()
        self.server.accept()
        look = self.only()
        self.bots.stopService()
        self.assertEqual([], self.sent())
        self.bots.startService()
        self.only()
        self.answer(look)
        self.bots.stopService()
        self.assertEqual([], self.sent())
        self.bots.startService()
        self.found()
        self.bots.stopService()
        self.assertEqual("unavailable", self.only()["type"])

    def test_stopDown(self) -> None:
        """
        A server that is gone has nobody to take leave of.
        """
        self.enter()
        self.server.drop()
        self.bots.stopService()
        self.component.stopService()
        self.assertEqual([], [call for call in self.clock.getDelayedCalls() if call.active()])

    def test_streamLost(self) -> None:
        """
        Whenever the stream was down the account enters again at once, wherever it was before: in the room, on
        the way there, in a pause.
        """
        self.enter()
        for _ in range(2):
            self.server.drop()
            self.clock.advance(1)
            self.server.accept()
            self.found()
        self.server.drop()
        self.clock.advance(1)
        self.server.accept()
        self.only()
        self.server.drop()
        self.clock.advance(1)
        self.server.accept()
        for _ in range(5):
            self.refuse(self.found(), "forbidden")
            self.pause()
        self.refuse(self.found(), "forbidden")
        self.server.drop()
        self.clock.advance(1)
        self.server.accept()
        self.refuse(self.found(), "forbidden")
        self.assertLessEqual(self.pause(), FIRST_PAUSE + 1)
        self.found()
        self.presence("bot", "110")
        self.assertEqual(2, self.said("is in the room"))
        self.wait(FIRST_PAUSE)
        self.assertEqual([], self.sent())


class SharedTests(BotsTestCase):
    def test_confirmed(self) -> None:
        """
        The error about a message is for who waits whether the server has taken that, and a doubt for the
        account.
        """
        self.enter()
        message = Element((NS_CLIENT, "message"))
        message.attributes = {"type": "groupchat", "id": "m", "from": BOT, "to": ROOM}
        confirming = self.component.confirm(message)
        self.refuseMessage("not-acceptable")
        refused = self.successResultOf(confirming)
        assert refused is not None
        self.assertEqual("error", refused["type"])
        self.assertEqual(["message", "iq"], [each.name for each in self.sent()])


class RoomsTests(BotsTestCase):
    rooms = (ROOM, OTHER)

    def test_each(self) -> None:
        """
        Each room goes its own way.
        """
        self.server.accept()
        looks = self.sent()
        self.assertEqual([ROOM, OTHER], [look["to"] for look in looks])
        self.answer(looks[0], "item-not-found")
        self.answer(looks[1])
        self.assertEqual(f"{OTHER}/bot", self.only()["to"])

    def test_occupant(self) -> None:
        """
        What the account sends to its rooms, or to those who are in them, goes out from the full address that
        they know, unless it has one already; what anybody else sends, or what goes elsewhere, doesn't.
        """
        bot = JID.parse(f"bot@{DOMAIN}")
        for to in (ROOM, f"{ROOM}/alice", OTHER):
            self.assertEqual(BOT, self.bots.occupant(bot, JID.parse(to)).full)
        desk = JID.parse(f"bot@{DOMAIN}/desk")
        for sender, to in (
            (desk, ROOM),
            (bot, "third@conference.localhost"),
            (bot, "alice@localhost/phone"),
            (JID.parse(f"clerk@{DOMAIN}"), ROOM),
            (JID.parse(DOMAIN), ROOM),
        ):
            self.assertEqual(sender, self.bots.occupant(sender, JID.parse(to)))

    def test_others(self) -> None:
        """
        What isn't from a room to the account that is in it is nobody's business here.
        """
        self.server.accept()
        for xml in (
            f"<message type='groupchat' from='{ROOM}/bot' to='bot@{DOMAIN}'><body>x</body></message>",
            f"<message type='groupchat' from='{ROOM}/bot' to='bot@{DOMAIN}/desk'><body>x</body></message>",
            f"<message type='groupchat' from='third@conference.localhost/bot' to='{BOT}'/>",
            f"<message from='alice@localhost/phone' to='{BOT}'><body>x</body></message>",
            f"<presence from='alice@localhost/phone' to='bot@{DOMAIN}'/>",
        ):
            self.assertFalse(self.hear(xml), xml)


class ChangeTests(BotsTestCase):
    def bot(self, *rooms: str, nickname: str = "") -> Account:
        return Account(name="bot", sendAs=(), rooms=tuple(map(JID.parse, rooms)), nickname=nickname)

    def test_rooms(self) -> None:
        """
        A room that is not listed any more is left, a new one entered; the others notice nothing.
        """
        self.enter()
        self.bots.change([self.bot(ROOM, OTHER)])
        self.assertEqual((OTHER, "iq"), (look["to"], look.name) if (look := self.only()) else None)
        self.bots.change([self.bot(ROOM)])
        self.assertEqual([], self.sent())
        self.bots.change([])
        left = self.only()
        self.assertEqual((f"{ROOM}/bot", "unavailable"), (left["to"], left["type"]))
        self.wait(1000)
        self.assertEqual([], self.sent())
        self.assertFalse(self.message("alice"))

    def test_nickname(self) -> None:
        """
        Another nickname is taken without leaving.
        """
        self.enter()
        self.bots.change([self.bot(ROOM, nickname="Robot")])
        presence = self.found()
        self.assertEqual((f"{ROOM}/Robot", None), (presence["to"], presence.getAttribute("type")))
        self.presence("bot", "110 303", "unavailable")
        self.presence("Robot", "110")
        self.assertEqual(1, self.said("as Robot"))

    def test_nicknameRefused(self) -> None:
        """
        Of a room that doesn't take the new one the account takes leave by the old one, whose words are its
        own until it is out.
        """
        self.enter()
        self.bots.change([self.bot(ROOM, nickname="Robot")])
        self.assertTrue(self.message("bot"))
        self.refuse(self.found(), "not-acceptable")
        left = self.only()
        self.assertEqual((f"{ROOM}/bot", "unavailable"), (left["to"], left["type"]))
        self.assertTrue(self.presence("bot", "110", "unavailable"))
        self.assertFalse(self.message("bot"))
        self.pause()
        self.found()
        self.presence("Robot", "110")
        self.assertTrue(self.message("Robot"))

    def test_before(self) -> None:
        """
        What changes before the start has nothing sent.
        """
        self.bots.stopService()
        self.bots.change([self.bot(OTHER)])
        self.server.accept()
        self.assertEqual([], self.sent())
        self.bots.startService()
        self.assertEqual(OTHER, self.only()["to"])
