"""
C{GET /rest/archive/{to}} on real servers: the archive of a room that the account is a member of (XEP-0313).
"""

from __future__ import annotations

import itertools
from typing import Any
from urllib.parse import quote
from xml.etree.ElementTree import fromstring

from tests.live.case import BRIDGE, LiveCase, Promises
from tests.live.client import CLIENT, Client, body, kind
from tests.live.ejabberd import Ejabberd
from tests.live.prosody import Prosody
from tests.live.receiver import JSON, XML
from tests.live.servers import ROOMS

BOT_JID = f"bot@{BRIDGE}"
MAM = "{urn:xmpp:mam:2}"
MUC = "http://jabber.org/protocol/muc"
TEXTS = ["first", "<&> \U0001f642", "third", "fourth"]

numbers = itertools.count()


class Archives(Promises):
    """
    What an archive query promises.
    """

    def testAll(self) -> None:
        """
        All messages and the end of the results come in one answer, in their order.
        """
        room = self._room(TEXTS)
        *results, end = self._asked(room)
        self.assertEqual(TEXTS, list(map(_text, results)))
        for result in results:
            self.assertEqual((room, BOT_JID), (result["from"], result["to"].partition("/")[0]))
            self.assertTrue(result["archive"]["forward"]["delay"])
            self.assertEqual(f"{room}/alice", result["archive"]["forward"]["message"]["from"])
        self.assertEqual(("iq", "result"), (end["kind"], end["type"]))
        ids = [result["archive"]["id"] for result in results]
        page = end["result"]["page"]
        self.assertEqual((ids[0], ids[-1]), (page["first"], page["last"]))

    def testPages(self) -> None:
        """
        C{max}, C{after} and C{before} choose a page.
        """
        room = self._room(TEXTS)
        *first, end = self._asked(room, "?max=2")
        self.assertEqual(TEXTS[:2], list(map(_text, first)))
        last = quote(end["result"]["page"]["last"], safe="")
        *second, end = self._asked(room, f"?max=5&after={last}")
        self.assertEqual(TEXTS[2:], list(map(_text, second)))
        *final, _ = self._asked(room, "?max=1&before=")
        self.assertEqual(TEXTS[3:], list(map(_text, final)))

    def testCriteria(self) -> None:
        """
        C{start} and C{end} choose by time.
        """
        room = self._room(TEXTS)
        *results, _ = self._asked(room, "?start=2020-01-01T00:00:00Z&end=2999-01-01T00:00:00Z")
        self.assertEqual(TEXTS, list(map(_text, results)))

    def testAsXML(self) -> None:
        """
        As XML the stanzas stand in an element C{xmpp}.
        """
        room = self._room(TEXTS)
        answer = self.bridge.get(f"/rest/archive/{room}", accept=XML)
        self.assertEqual((200, XML), (answer.status, answer.type))
        document = fromstring(answer.body)
        self.assertEqual("xmpp", document.tag)
        self.assertEqual(["message"] * len(TEXTS) + ["iq"], [_kindOf(stanza.tag) for stanza in document])
        self.assertIsNotNone(document[-1].find(f"{MAM}fin"))

    def testRefused(self) -> None:
        """
        Where one may not look, the error is the answer.
        """
        answer = self.bridge.get("/rest/archive/alice@localhost")
        self.assertEqual((200, JSON), (answer.status, answer.type))
        self.assertEqual("error", answer.json()["type"])
        self.assertIn(
            answer.json()["error"]["condition"], ("not-allowed", "service-unavailable", "forbidden")
        )

    def _asked(self, room: str, parameters: str = "") -> list[dict[str, Any]]:
        """
        The stanzas of an answer.
        """
        answer = self.bridge.get(f"/rest/archive/{room}{parameters}")
        self.assertEqual((200, JSON), (answer.status, answer.type), answer.text())
        found: list[dict[str, Any]] = answer.json()["xmpp"]
        return found

    def _room(self, texts: list[str]) -> str:
        """
        A fresh room in which alice has said something, with the account as a member.
        """
        alice = self.login("alice")
        room = f"room{next(numbers)}@{ROOMS}"
        alice.send(f"<presence to='{room}/alice'><x xmlns='{MUC}'/></presence>")
        alice.expect(lambda one: kind(one) == "presence" and one.get("from") == f"{room}/alice")
        self._ask(alice, room, f"<query xmlns='{MUC}#owner'><x xmlns='jabber:x:data' type='submit'/></query>")
        member = f"<item affiliation='member' jid='{BOT_JID}'/>"
        self._ask(alice, room, f"<query xmlns='{MUC}#admin'>{member}</query>")
        for text in texts:
            alice.message(room, text, "groupchat")
            alice.expect(lambda one, said=text: body(one) == said)  # type: ignore[misc]
        return room

    def _ask(self, client: Client, room: str, query: str) -> None:
        """
        Change something in a room.
        """
        self.assertEqual("result", client.request(room, query, "set").get("type"))


def _text(result: dict[str, Any]) -> Any:
    """
    What was said.
    """
    return result["archive"]["forward"]["message"].get("body")


def _kindOf(tag: str) -> str:
    return tag.removeprefix(CLIENT)


class OnProsody(Archives, LiveCase):
    """
    Archives on Prosody.
    """

    makeServer = Prosody


class OnEjabberd(Archives, LiveCase):
    """
    Archives on ejabberd.
    """

    makeServer = Ejabberd
