"""
Ad-hoc commands of several steps (XEP-0050), in JSON as docs/json.md shows them: a caller of C{/rest} uses the
command of a user's client. The other way round: L{tests.live.test_served_commands}.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from tests.live.case import LiveCase, Promises
from tests.live.commandowner import NAME, NODE, CommandOwner
from tests.live.ejabberd import Ejabberd
from tests.live.forms import FIRST, SECOND
from tests.live.prosody import Prosody
from tests.live.servers import passwordOf

COMMANDS = "http://jabber.org/protocol/commands"
DATA = "jabber:x:data"


class Owned(Promises):
    maxDiff = None
    """
    Commands of others, used over HTTP.
    """

    def setUp(self) -> None:
        """
        A user who offers a command.
        """
        super().setUp()
        self.owner = CommandOwner()
        self.addCleanup(self.owner.close)
        self.owner.connect("kate@localhost/office", passwordOf("kate"), self.server.c2sPort)
        self.owner.offer()

    def testDiscovered(self) -> None:
        """
        The commands are found among the items of their node, by GET and by POST.
        """
        expected = [{"jid": self.owner.jid, "node": NODE, "name": NAME}]
        path = f"/rest/items/{quote(self.owner.jid, safe='')}?node={quote(COMMANDS, safe='')}"
        self.assertEqual(expected, self.bridge.get(path).json()["items"])
        asked = {"kind": "iq", "type": "get", "to": self.owner.jid, "items": COMMANDS}
        self.assertEqual(expected, self._ask(asked)["items"])

    def testForms(self) -> None:
        """
        The forms of each step arrive whole: labels, options, what is required, what is filled in already.
        """
        first = self._command({"node": NODE})
        self.assertEqual("executing", first["status"])
        self.assertTrue(first["actions"]["next"])
        self.assertEqual(FIRST, first["form"])
        second = self._command(self._step(first, "next", data={"name": "Oracle"}))
        self.assertEqual({"prev": True, "complete": True}, second["actions"])
        self.assertEqual(SECOND, second["form"])

    def testFilledIn(self) -> None:
        """
        What is filled in as C{data} arrives: several values, booleans, several lines, any characters.
        """
        data = {
            "FORM_TYPE": "urn:example:bot",
            "name": "  Orac\u00f6le <&> \"'\U0001f642",
            "rooms": ["yard", "", "hall"],
            "owners": ["alice@localhost", "bob@localhost"],
        }
        second = self._command(self._step(self._command(NODE), "next", data=data))
        more = {"mood": "10", "public": False, "greeting": ["Hi", "", "<there>"]}
        last = self._command(self._step(second, "complete", data=more))
        self.assertEqual("completed", last["status"])
        first, again = self.owner.filledIn
        self.assertEqual(data, first)
        self.assertEqual({**more, "public": "0"}, again)

    def testFilledInAsForm(self) -> None:
        """
        What is filled in as C{form}, fields with their types, arrives too; the form is of type submit.
        """
        form = {
            "fields": [
                {"type": "text-single", "var": "name", "value": "Oracle"},
                {"type": "list-multi", "var": "rooms", "value": ["hall", "yard"]},
            ]
        }
        second = self._command(self._step(self._command(NODE), "next", form=form))
        fields = [
            {"type": "boolean", "var": "public", "value": True},
            {"type": "text-multi", "var": "greeting", "value": "Hi\n\nthere"},
            {"type": "list-single", "var": "mood", "value": "a b"},
        ]
        self._command(self._step(second, "complete", form={"type": "submit", "fields": fields}))
        first, again = self.owner.filledIn
        self.assertEqual({"name": "Oracle", "rooms": ["hall", "yard"]}, first)
        self.assertEqual({"public": True, "greeting": ["Hi", "", "there"], "mood": "a b"}, again)
        for submitted in self.owner.mailbox.all(lambda one: one.find(f".//{{{DATA}}}x") is not None):
            self.assertEqual("submit", submitted.find(f".//{{{DATA}}}x").get("type"))  # type: ignore[union-attr]

    def testCompleted(self) -> None:
        """
        The last answer tells that it is the last, its note, and its result as C{data}.
        """
        second = self._command(self._step(self._command(NODE), "next", data={"name": "Oracle"}))
        last = self._command(self._step(second, "complete", data={"public": True}))
        self.assertEqual(("completed", NODE), (last["status"], last["node"]))
        self.assertEqual({"type": "info", "text": "Oracle is <there>"}, last["note"])
        expected = {"jid": "oracle@localhost", "rooms": ["hall", "yard"], "public": False}
        self.assertEqual(expected, last["data"])

    def testBack(self) -> None:
        """
        C{prev} leads back to the step before.
        """
        second = self._command(self._step(self._command(NODE), "next", data={"name": "Oracle"}))
        self.assertEqual(FIRST, self._command(self._step(second, "prev"))["form"])

    def testCancelled(self) -> None:
        """
        C{cancel} ends it.
        """
        first = self._command(NODE)
        ended = self._command(self._step(first, "cancel"))
        self.assertEqual(("canceled", first["sessionid"]), (ended["status"], ended["sessionid"]))
        self.assertEqual([], self.owner.filledIn)

    def testUnknown(self) -> None:
        """
        A command that isn't there is answered with its owner's error.
        """
        answer = self._ask({"to": self.owner.jid, "command": "nonsense"})
        self.assertEqual(("error", "item-not-found"), (answer["type"], answer["error"]["condition"]))

    def testServers(self) -> None:
        """
        The commands of the server itself are told; one that anyone may use can be used.
        """
        (offered,) = self.bridge.get(f"/rest/items/localhost?node={quote(COMMANDS, safe='')}").json()["items"]
        self.assertEqual("localhost", offered["jid"])
        used = self._ask({"to": offered["jid"], "command": offered["node"]})["command"]
        self.assertEqual((offered["node"], "completed"), (used["node"], used["status"]))
        self.assertTrue(used["note"]["text"])

    def _ask(self, asked: dict[str, Any]) -> dict[str, Any]:
        """
        Post a stanza, for the stanza that answers it.
        """
        answer = self.bridge.post("/rest", json.dumps(asked))
        self.assertEqual(200, answer.status, answer.text())
        stanza: dict[str, Any] = answer.json()
        return stanza

    def _command(self, command: str | dict[str, Any]) -> dict[str, Any]:
        """
        Take a step; kind and type of the stanza are known by what it holds.
        """
        answer = self._ask({"to": self.owner.jid, "command": command})
        self.assertEqual(("iq", "result"), (answer["kind"], answer["type"]), answer)
        taken: dict[str, Any] = answer["command"]
        return taken

    def _step(self, before: dict[str, Any], action: str, **filledIn: Any) -> dict[str, Any]:
        """
        The step after another one.
        """
        return {"node": before["node"], "sessionid": before["sessionid"], "action": action, **filledIn}


class OwnedOnProsody(Owned, LiveCase):
    """
    Commands of others on Prosody.
    """

    makeServer = Prosody


class OwnedOnEjabberd(Owned, LiveCase):
    """
    Commands of others on ejabberd.
    """

    makeServer = Ejabberd
