"""
What the tests of bots/ stand on: an account in its rooms by a component's stream, at whose other end the test
plays the server and the rooms.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.words.xish.domish import Element

from restbridge.bots.service import Bots
from restbridge.config import Account, Glob
from restbridge.stanzas.errors import NS_STANZAS
from restbridge.stanzas.jid import JID
from restbridge.stanzas.muc import NS_MUC_USER
from restbridge.xmpp.component import Component
from restbridge.xmpp.entity import Entity
from tests.web.client import LoggingTestCase
from tests.xmpp.fakes import Server, Taking, stanzas

DOMAIN = "bridge.localhost"
BOT = f"bot@{DOMAIN}/restbridge"
ROOM = "team@conference.localhost"


class BotsTestCase(LoggingTestCase):
    """
    The account C{bot} is to be in one room.

    @ivar others: takes what the bots leave.
    """

    nickname = ""
    rooms: tuple[str, ...] = (ROOM,)

    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self._unread: list[Element] = []
        self.server = Server()
        self.component = Component(
            domain=DOMAIN,
            secret="secret",
            confirm=True,
            entity=Entity(domain=DOMAIN, accounts=("bot",)),
            endpoint=self.server,
            clock=self.clock,
        )
        account = Account(
            name="bot",
            sendAs=(Glob(f"bot@{DOMAIN}"),),
            rooms=tuple(map(JID.parse, self.rooms)),
            nickname=self.nickname,
        )
        self.bots = Bots(domain=DOMAIN, accounts=[account], wire=self.component, clock=self.clock)
        self.component.offerFirst(self.bots)
        self.others = Taking()
        self.component.offerTo([self.others])
        self.component.startService()
        self.bots.startService()
        self.addCleanup(self._stop)

    def _stop(self) -> None:
        self.bots.stopService()
        self.component.stopService()
        self.server.drop()

    def sent(self) -> list[Element]:
        """
        What the bridge has sent since the last time.
        """
        self._read()
        sent, self._unread = self._unread, []
        return sent

    def _read(self) -> None:
        """
        What the component sends to itself comes back, as from any server.
        """
        for each in stanzas(self.server.read()):
            if each["from"] == each["to"]:
                self.server.write(each.toXml())
            else:
                self._unread.append(each)

    def only(self) -> Element:
        """
        The one stanza that it has sent.
        """
        (found,) = self.sent()
        return found

    def pause(self) -> float:
        """
        Time passes until it sends something.

        @return: how many seconds.
        """
        began = self.clock.seconds()
        while not self._unread:
            self.wait(1)
        return self.clock.seconds() - began

    def hear(self, xml: str) -> bool:
        """
        The server sends something.

        @return: whether the bots took it.
        """
        before = len(self.others.taken)
        self.server.write(xml)
        return len(self.others.taken) == before

    def answer(self, iq: Element, condition: str = "") -> None:
        """
        Answer a request; with an error, if a condition is given, beside what it is about.
        """
        asked = next(iq.elements()).toXml()
        kind, payload = ("error", asked + error(condition)) if condition else ("result", "")
        self.hear(f"<iq type='{kind}' id='{iq['id']}' from='{iq['to']}' to='{iq['from']}'>{payload}</iq>")

    def refuse(self, presence: Element, condition: str) -> None:
        """
        The room doesn't let the account in.
        """
        self.hear(
            f"<presence type='error' id='{presence['id']}' from='{presence['to']}' to='{BOT}'>"
            f"{error(condition)}</presence>"
        )

    def found(self) -> Element:
        """
        There is such a room.

        @return: the presence that is to enter it.
        """
        self.answer(self.only())
        return self.only()

    def presence(self, nickname: str, codes: str = "", kind: str = "", more: str = "") -> bool:
        """
        The room tells of somebody in it.
        """
        given = f" type='{kind}'" if kind else ""
        status = "".join(f"<status code='{code}'/>" for code in codes.split())
        return self.hear(
            f"<presence from='{ROOM}/{nickname}' to='{BOT}'{given}>"
            f"<x xmlns='{NS_MUC_USER}'><item affiliation='none' role='none'/>{status}{more}</x></presence>"
        )

    def refuseMessage(self, condition: str, used: str = "m") -> bool:
        """
        The room doesn't take something that is said.

        @param used: the id of that message.
        """
        return self.hear(
            f"<message type='error' id='{used}' from='{ROOM}' to='{BOT}'>{error(condition)}</message>"
        )

    def message(self, nickname: str, content: str = "<body>x</body>", kind: str = "groupchat") -> bool:
        """
        The room passes on what somebody says.
        """
        sender = f"{ROOM}/{nickname}" if nickname else ROOM
        return self.hear(f"<message type='{kind}' from='{sender}' to='{BOT}'>{content}</message>")

    def enter(self) -> None:
        """
        Attach, and let the account into the room, as whom it wants to be.
        """
        self.server.accept()
        presence = self.found()
        self.presence(presence["to"].partition("/")[2], "110")
        self.message("", "<subject>Tea</subject>")

    def wait(self, seconds: float) -> None:
        """
        Time passes, on a stream that lives.
        """
        while seconds > 0:
            self.clock.advance(min(5.0, seconds))
            seconds -= 5.0
            if self.server.connected:
                self._read()

    def said(self, words: str) -> int:
        """
        How many lines of the log hold these words.
        """
        return sum(words in line for line in self.logged)


def error(condition: str) -> str:
    return f"<error type='cancel'><{condition} xmlns='{NS_STANZAS}'/></error>"
