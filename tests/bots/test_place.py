"""
L{restbridge.bots.place}: an account in a room.
"""

from __future__ import annotations

from twisted.words.xish.domish import Element

from restbridge.bots.place import FIRST_PAUSE, LONGEST_PAUSE, SETTLING, SILENCE, TIMEOUT
from restbridge.stanzas.muc import NS_MUC
from restbridge.xmpp.entity import NS_INFO, NS_PING
from tests.bots.case import BOT, DOMAIN, ROOM, BotsTestCase

DELAY = "<delay xmlns='urn:xmpp:delay' stamp='2026-11-22T13:00:00Z'/>"


class EnteringTests(BotsTestCase):
    def test_entered(self) -> None:
        """
        As soon as the stream is up the account looks for the room and enters it, without asking for its
        history; that it is there is said once.
        """
        self.server.accept()
        look = self.only()
        self.assertEqual((BOT, ROOM, NS_INFO), (look["from"], look["to"], look.query.uri))
        self.answer(look)
        presence = self.only()
        self.assertEqual((BOT, f"{ROOM}/bot"), (presence["from"], presence["to"]))
        self.assertEqual((NS_MUC, "0"), (presence.x.uri, presence.x.history["maxstanzas"]))
        self.assertFalse(self.said("is in the room"))
        self.presence("bot", "110")
        self.assertEqual(1, self.said(f"bot@bridge.localhost is in the room {ROOM} as bot"))
        self.assertEqual([], self.sent())

    def test_noRoom(self) -> None:
        """
        A room that isn't there is not made by entering it: that is said once, and it is looked for again
        after pauses that grow to five minutes.
        """
        self.server.accept()
        pauses = []
        for _ in range(10):
            self.answer(self.only(), "item-not-found")
            pauses.append(self.pause())
        self.assertLessEqual(pauses[0], FIRST_PAUSE + 1)
        self.assertGreaterEqual(pauses[0], FIRST_PAUSE / 2)
        self.assertTrue(all(LONGEST_PAUSE / 2 <= pause <= LONGEST_PAUSE + 1 for pause in pauses[7:]), pauses)
        self.assertEqual(1, self.said("there is no such room"))
        self.answer(self.only())
        self.assertEqual(f"{ROOM}/bot", self.only()["to"])

    def test_made(self) -> None:
        """
        A room that was destroyed a moment ago, and is made by entering it, is left at once.
        """
        self.server.accept()
        self.found()
        self.presence("bot", "110 201")
        presence = self.only()
        self.assertEqual((f"{ROOM}/bot", "unavailable"), (presence["to"], presence["type"]))
        self.assertEqual(1, self.said("there is no such room"))
        self.assertFalse(self.said("is in the room"))

    def test_hidden(self) -> None:
        """
        A room that says nothing of itself may let the account in nevertheless.
        """
        self.server.accept()
        self.answer(self.only(), "forbidden")
        self.assertEqual(f"{ROOM}/bot", self.only()["to"])

    def test_refused(self) -> None:
        """
        Why a room doesn't let the account in is said in words, once; it is tried again after a pause.
        """
        self.server.accept()
        for condition, words in (
            ("forbidden", "it is banned there (forbidden)"),
            ("registration-required", "the room is for members alone: make it one (registration-required)"),
            ("not-authorized", "the room asks for a password, and accounts have none (not-authorized)"),
            ("service-unavailable", "the room is full, or takes nobody in now (service-unavailable)"),
            ("not-acceptable", "the room doesn't take the nickname (not-acceptable)"),
            ("payment-required", "the room doesn't let it in (payment-required)"),
        ):
            for _ in range(2):
                self.refuse(self.found(), condition)
                self.assertEqual([], self.sent())
                self.assertEqual(1, self.said(words), words)
                self.pause()
        self.assertFalse(self.others.taken)

    def test_nickname(self) -> None:
        """
        Who has somebody else's nickname appends a C{_}, twice at most; the next time the wanted one is tried
        first again.
        """
        self.server.accept()
        wanted = [self.found()]
        for nickname in ("bot_", "bot__"):
            self.refuse(wanted[-1], "conflict")
            wanted.append(self.only())
            self.assertEqual(f"{ROOM}/{nickname}", wanted[-1]["to"])
        self.refuse(wanted[-1], "conflict")
        self.assertEqual([], self.sent())
        self.assertEqual(1, self.said("others have the nickname bot"))
        self.wait(FIRST_PAUSE)
        self.refuse(self.found(), "conflict")
        self.only()
        self.presence("bot_", "110")
        self.assertEqual(1, self.said(f"is in the room {ROOM} as bot_"))
        self.presence("bot_", "307 110", "unavailable")
        self.pause()
        self.assertEqual(f"{ROOM}/bot", self.found()["to"])

    def test_otherNickname(self) -> None:
        """
        A room may give the account another nickname.
        """
        self.server.accept()
        self.found()
        self.presence("Bot 1", "110 210")
        self.assertEqual(1, self.said("as Bot 1"))
        self.assertTrue(self.message("Bot 1"))

    def test_silent(self) -> None:
        """
        A room that doesn't answer is asked again after a pause.
        """
        self.server.accept()
        self.only()
        self.wait(TIMEOUT + FIRST_PAUSE)
        self.found()
        self.assertEqual(1, self.said("no answer within 30 seconds"))
        self.wait(TIMEOUT + 2 * FIRST_PAUSE)
        self.found()

    def test_errorsOfOthers(self) -> None:
        """
        An error about presence that somebody else has sent from the same address is theirs.
        """
        self.server.accept()
        presence = self.found()
        presence["id"] = "other"
        self.refuse(presence, "forbidden")
        self.assertEqual(1, len(self.others.taken))
        self.presence("bot", "110")
        self.assertEqual(1, self.said("is in the room"))


class NicknameTests(BotsTestCase):
    nickname = "The Bot"

    def test_configured(self) -> None:
        """
        The account may be called otherwise than its name.
        """
        self.server.accept()
        self.assertEqual(f"{ROOM}/The Bot", self.found()["to"])


class StayingTests(BotsTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.enter()

    def ping(self, seconds: float = SILENCE) -> Element:
        self.wait(seconds)
        ping = self.only()
        self.assertEqual((BOT, f"{ROOM}/bot", NS_PING), (ping["from"], ping["to"], ping.ping.uri))
        return ping

    def assertOut(self, words: str) -> None:
        """
        The account is out, for the reason of these words, and comes back after a pause.
        """
        self.assertEqual(1, self.said(f"is not in the room {ROOM}: {words}"), self.logged)
        self.assertEqual([], self.sent())
        self.pause()
        self.found()
        self.presence("bot", "110")
        self.assertEqual([f"bot@{DOMAIN} is in the room {ROOM} as bot"], self.logged[-1:])

    def test_putOut(self) -> None:
        """
        Whoever is put out comes back after a pause; why is said.
        """
        for codes, words in (
            ("307 110", "it was kicked"),
            ("301 110", "it was banned"),
            ("321 110", "it is no member any more"),
            ("322 110", "the room is for members alone now"),
            ("332 110", "the service ends"),
            ("333 110", "the server has taken it out"),
            ("110", "it has left"),
        ):
            self.presence("bot", codes, "unavailable")
            self.assertOut(words)
            self.logged.clear()
        self.assertFalse(self.others.taken)

    def test_destroyed(self) -> None:
        """
        A room that was destroyed is looked for, but not made again.
        """
        self.presence("bot", "110", "unavailable", "<destroy/>")
        self.assertEqual(1, self.said("the room was destroyed"))
        self.wait(FIRST_PAUSE)
        self.answer(self.only(), "item-not-found")
        self.assertEqual(1, self.said("there is no such room"))

    def test_kickedAgain(self) -> None:
        """
        The pauses grow with each time, unless the account has been in the room for long.
        """
        for number in range(3):
            self.presence("bot", "307 110", "unavailable")
            self.assertEqual(number + 1, self.said("it was kicked"))
            self.wait(FIRST_PAUSE / 2 * 2**number - 1)
            self.assertEqual([], self.sent())
            self.wait(FIRST_PAUSE / 2 * 2**number + 5)
            self.found()
            self.presence("bot", "110")
        for _ in range(int(LONGEST_PAUSE / SILENCE) + 1):
            self.answer(self.ping())
        self.presence("bot", "307 110", "unavailable")
        self.wait(FIRST_PAUSE)
        self.found()

    def test_pings(self) -> None:
        """
        After a minute's silence the account asks itself through the room whether it is there; what proves
        that it is, or nothing at all, changes nothing.
        """
        for condition in ("", "service-unavailable", "feature-not-implemented", "remote-server-timeout"):
            self.answer(self.ping(), condition)
            self.assertEqual([], self.sent())
        self.ping()
        self.wait(TIMEOUT)
        self.answer(self.ping())
        self.assertFalse(self.said("is not in the room"))

    def test_speakingRoom(self) -> None:
        """
        A room that is heard of needs no ping.
        """
        for _ in range(5):
            self.wait(SILENCE - 10)
            self.message("alice")
            self.assertEqual([], self.sent())
        self.ping()

    def test_forgotten(self) -> None:
        """
        A room that doesn't know the account any more is entered again.
        """
        self.answer(self.ping(), "not-acceptable")
        self.assertOut("the room doesn't know it any more (not-acceptable)")

    def test_ownPing(self) -> None:
        """
        A ping to oneself that the room passes on is answered, and nobody else's; those of others are.
        """
        ping = f"<iq type='get' id='p' from='{ROOM}/{{}}' to='{BOT}'><ping xmlns='{NS_PING}'/></iq>"
        self.assertTrue(self.hear(ping.format("bot")))
        result = self.only()
        self.assertEqual(
            ("result", "p", BOT, f"{ROOM}/bot"), (result["type"], result["id"], result["from"], result["to"])
        )
        self.assertFalse(self.hear(ping.format("alice")))
        self.assertFalse(self.hear(f"<iq type='get' id='q' from='{ROOM}/bot' to='{BOT}'><x xmlns='y'/></iq>"))

    def test_doubt(self) -> None:
        """
        When the room refuses a message as from somebody who isn't there, it is asked at once; once, however
        many they are. The errors are for who has sent the messages.
        """
        self.assertFalse(self.refuseMessage("forbidden"))
        self.assertEqual([], self.sent())
        for _ in range(5):
            self.assertFalse(self.refuseMessage("not-acceptable"))
        self.answer(self.only())
        self.assertEqual([], self.sent())
        self.refuseMessage("not-acceptable")
        self.answer(self.only(), "not-acceptable")
        self.refuseMessage("not-acceptable")
        self.assertOut("the room doesn't know it any more (not-acceptable)")
        self.refuseMessage("item-not-found")
        self.assertEqual(NS_PING, self.only().ping.uri)

    def test_echo(self) -> None:
        """
        What the account itself has said in the room is not news; what others say is, also in private, and
        also those whose nickname is similar.
        """
        self.assertTrue(self.message("bot"))
        self.assertTrue(self.message("bot", "<subject>Milk</subject>"))
        for nickname in ("alice", "Bot", "bot_"):
            self.assertFalse(self.message(nickname), nickname)
        self.assertFalse(self.message("alice", kind="chat"))
        self.assertFalse(self.message("alice", "<subject>Milk</subject>"))
        self.assertFalse(self.message(""))

    def test_presence(self) -> None:
        """
        The account's own presence is not news; that of others is.
        """
        self.assertTrue(self.presence("bot", "110"))
        self.assertTrue(self.presence("bot"))
        self.assertFalse(self.presence("alice"))
        self.assertFalse(self.presence("alice", kind="unavailable"))

    def test_renamed(self) -> None:
        """
        By another nickname it is the same account.
        """
        self.assertTrue(self.presence("bot", "303 110", "unavailable"))
        self.assertTrue(self.presence("robot", "110"))
        self.assertTrue(self.message("robot"))
        self.assertFalse(self.message("bot"))
        self.wait(SILENCE)
        self.assertEqual(f"{ROOM}/robot", self.only()["to"])
        self.assertFalse(self.said("is not in the room"))


class SettlingTests(BotsTestCase):
    def test_subject(self) -> None:
        """
        The subject and the past, that a room tells whoever enters, are not news; what comes later is.
        """
        self.server.accept()
        self.found()
        self.presence("bot", "110")
        self.assertTrue(self.message("alice", f"<body>old</body>{DELAY}"))
        self.assertFalse(self.message("alice", "<body>new</body>"))
        self.assertTrue(self.message("alice", "<subject>Tea</subject>"))
        self.assertFalse(self.message("alice", "<subject>Milk</subject>"))
        self.assertFalse(self.message("alice", f"<body>slow</body>{DELAY}"))

    def test_late(self) -> None:
        """
        A room that tells no subject at first tells news when it tells one.
        """
        self.server.accept()
        self.found()
        self.presence("bot", "110")
        self.wait(SETTLING + 1)
        self.assertFalse(self.message("alice", "<subject>Tea</subject>"))
