"""
C{GET /rest/{query}/{to}}: each query reaches a user's client as the XMPP question that it stands for, and the
answer comes back as JSON. Which of them a server answers is the server's affair.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar
from urllib.parse import quote
from xml.etree.ElementTree import Element

import attrs

from tests.live.case import BRIDGE, LiveCase, Promises
from tests.live.client import Client, kind, parse
from tests.live.ejabberd import Ejabberd
from tests.live.prosody import Prosody
from tests.live.questions import QUESTIONS, Question
from tests.live.receiver import JSON, XML
from tests.live.web import Answer

BOT_JID = f"bot@{BRIDGE}"

SHAPES: dict[str, tuple[bool, Callable[[Any], bool]]] = {
    "ping": (True, lambda found: found is None),
    "version": (True, lambda found: found.keys() >= {"name", "version"}),
    "disco": (True, lambda found: bool(found["identities"] and found["features"])),
    "items": (True, lambda found: {"jid": "conference.localhost"} in found),
    "lastactivity": (True, lambda found: found["seconds"] >= 0),
    "stats": (False, lambda found: isinstance(found, list)),
    "extdisco": (False, lambda found: isinstance(found["services"], list)),
    "oob": (False, lambda found: found is None),
    "payload": (False, lambda found: found is None),
}
"""Whether both servers of the tests know the query, and what its result looks like."""


class Queries(Promises):
    """
    What the queries promise.

    @cvar withheld: those that the server lets no stranger ask a user.
    """

    withheld: ClassVar[frozenset[str]] = frozenset()

    def testAnswered(self) -> None:
        """
        Each query asks what it stands for, with its parameters, and is answered in JSON.
        """
        alice = self._silent()
        for question in self._questions():
            with self.part(question.name):
                given = self._asked(alice, question, JSON)
                self.assertEqual((200, JSON), (given.status, given.type))
                stanza = given.json()
                self.assertEqual(
                    ("iq", "result", alice.jid), tuple(map(stanza.get, ("kind", "type", "from")))
                )
                self.assertEqual(question.json, stanza.get(question.key))

    def testAnsweredAsXML(self) -> None:
        """
        To who prefers XML the answer comes as it was given.
        """
        alice = self._silent()
        for question in self._questions():
            with self.part(question.name):
                given = self._asked(alice, question, XML)
                self.assertEqual((200, XML), (given.status, given.type))
                self.assertEqual(_trees(question.answer), [*map(_tree, given.xml())])

    def testRefused(self) -> None:
        """
        An error is an answer too: 200, with the stanza error.
        """
        alice = self._silent()
        error = (
            "<error type='auth'><forbidden xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"
            "<text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>No &lt;you></text></error>"
        )
        question = attrs.evolve(QUESTIONS[1], answer=error)
        given = self._asked(alice, question, JSON, "error")
        stanza = given.json()
        self.assertEqual((200, "error"), (given.status, stanza["type"]))
        self.assertEqual({"type": "auth", "condition": "forbidden", "text": "No <you>"}, stanza["error"])

    def testServers(self) -> None:
        """
        The server answers what it knows with a result of the documented shape, and the rest with an error.
        """
        for query, (known, fits) in SHAPES.items():
            with self.part(query):
                answer = self.bridge.get(f"/rest/{query}/localhost")
                stanza = answer.json()
                self.assertEqual((200, "iq", "localhost"), (answer.status, stanza["kind"], stanza["from"]))
                if stanza["type"] == "result":
                    self.assertTrue(fits(stanza.get(query)), stanza)
                else:
                    self.assertFalse(known, stanza)
                    self.assertEqual({"type", "condition"}, stanza["error"].keys() - {"text"})

    def _questions(self) -> list[Question]:
        """
        Those that reach a user.
        """
        return [question for question in QUESTIONS if question.query not in self.withheld]

    def _silent(self) -> Client:
        """
        A user whose client leaves the answers to us.
        """
        alice = self.login("alice")
        alice.keepSilent()
        return alice

    def _asked(self, alice: Client, question: Question, accept: str, answerType: str = "result") -> Answer:
        """
        Ask while the user answers.
        """
        path = f"/rest/{question.query}/{quote(alice.jid, safe='')}{question.parameters}"
        with ThreadPoolExecutor(1) as pool:
            pending = pool.submit(self.bridge.get, path, accept)
            asked = alice.expect(lambda one: kind(one) == "iq" and one.get("from") == BOT_JID)
            addressed = f"type='{answerType}' id='{asked.get('id')}' to='{asked.get('from')}'"
            alice.send(f"<iq {addressed}>{question.answer}</iq>")
            given = pending.result(10)
        self.assertEqual(_trees(question.asks), [*map(_tree, asked)])
        return given


def _trees(payload: str) -> Any:
    """
    A payload, for comparison.
    """
    return [*map(_tree, parse(f"<iq xmlns='jabber:client'>{payload}</iq>"))]


def _tree(element: Element) -> Any:
    """
    An element, for comparison.
    """
    return element.tag, element.attrib, (element.text or "").strip(), [*map(_tree, element)]


class OnProsody(Queries, LiveCase):
    """
    Queries on Prosody.
    """

    makeServer = Prosody


class OnEjabberd(Queries, LiveCase):
    """
    Queries on ejabberd, which tells nobody who isn't in the roster how long a user has been idle.
    """

    makeServer = Ejabberd
    withheld = frozenset(("lastactivity",))
