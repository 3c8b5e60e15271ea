"""
Ad-hoc commands (XEP-0050) of the component's addresses: a user takes the steps, and a webhook answers each of
them in JSON.
"""

from __future__ import annotations

import json
from typing import Any
from xml.etree.ElementTree import Element

from tests.live.case import BRIDGE, LiveCase, Promises
from tests.live.ejabberd import Ejabberd
from tests.live.forms import AS_XML, FIELDS, FILLED_IN
from tests.live.prosody import Prosody
from tests.live.receiver import JSON, Receiver, Reply, Request

COMMANDS = "http://jabber.org/protocol/commands"
DATA = "jabber:x:data"
ITEMS = "http://jabber.org/protocol/disco#items"
SHOP = f"shop@{BRIDGE}"
EXECUTE = f"<command xmlns='{COMMANDS}' node='order' action='execute'/>"


class Served(Promises):
    """
    Commands of the component's addresses, answered by a webhook in JSON.
    """

    maxDiff = None

    @classmethod
    def callbacks(cls, receiver: Receiver) -> list[dict[str, Any]]:
        """
        A shop.
        """
        return [{"url": receiver.url("/shop"), "format": JSON, "to": [SHOP]}]

    def setUp(self) -> None:
        """
        A customer.
        """
        super().setUp()
        self.receiver.answer("/shop", _shop)
        self.alice = self.login("alice")

    def testDiscovered(self) -> None:
        """
        The webhook says which commands there are.
        """
        items = self.alice.request(SHOP, f"<query xmlns='{ITEMS}' node='{COMMANDS}'/>")
        self.assertEqual("result", items.get("type"))
        (item,) = items.iter(f"{{{ITEMS}}}item")
        self.assertEqual({"jid": SHOP, "node": "order", "name": "Order <now>"}, item.attrib)
        self.assertEqual(COMMANDS, self._called()["items"])

    def testForm(self) -> None:
        """
        A form with options that the webhook answers in JSON reaches the user whole. mod_rest fails there.
        """
        command = self._command(EXECUTE)
        self.assertEqual(("order", "s1", "executing"), _step(command))
        actions = command.find(f"{{{COMMANDS}}}actions")
        assert actions is not None
        self.assertEqual(("next", ["next"]), (actions.get("execute"), [_name(each) for each in actions]))
        form = command.find(f"{{{DATA}}}x")
        assert form is not None
        self.assertEqual(("form", "Your order"), (form.get("type"), form.findtext(f"{{{DATA}}}title")))
        self.assertEqual(AS_XML, [_field(field) for field in form.findall(f"{{{DATA}}}field")])
        self.assertEqual({"node": "order", "action": "execute"}, self._called()["command"])

    def testFilledIn(self) -> None:
        """
        What the user fills in reaches the webhook as JSON, step by step; its last answer completes it.
        """
        submitted = f"<x xmlns='{DATA}' type='submit'>{FILLED_IN}</x>"
        self._command(EXECUTE)
        self._called()
        step = f"<command xmlns='{COMMANDS}' node='order' sessionid='s1' action='%s'>{submitted}</command>"
        second = self._command(step % "next")
        self.assertEqual(("order", "s1", "executing"), _step(second))
        expected = {"colours": ["red", "a & b"], "size": ["m"], "gift": True, "text": "Hi\n\n<there>"}
        called = self._called()["command"]
        self.assertEqual(("order", "s1", "next"), (called["node"], called["sessionid"], called["action"]))
        self.assertEqual(expected, called["data"])
        last = self._command(step % "complete")
        self.assertEqual(("order", "s1", "completed"), _step(last))
        self.assertEqual("Ordered <&>", last.findtext(f"{{{COMMANDS}}}note"))
        result = last.find(f"{{{DATA}}}x")
        assert result is not None
        self.assertEqual("result", result.get("type"))
        self.assertEqual(
            [("number", ["42"]), ("paid", ["0"])],
            [(field.get("var"), [value.text for value in field]) for field in result],
        )

    def _command(self, xml: str) -> Element:
        """
        Take a step, as the user.
        """
        answer = self.alice.request(SHOP, xml, "set")
        self.assertEqual(("result", SHOP), (answer.get("type"), answer.get("from")))
        command = answer.find(f"{{{COMMANDS}}}command")
        assert command is not None
        return command

    def _called(self) -> dict[str, Any]:
        """
        What the webhook was called with.
        """
        stanza: dict[str, Any] = json.loads(self.receiver.expect(lambda one: True).body)
        self.assertEqual(("iq", self.alice.jid, SHOP), (stanza["kind"], stanza["from"], stanza["to"]))
        return stanza


def _shop(request: Request) -> Reply:
    """
    What the webhook answers.
    """
    stanza = json.loads(request.body)
    if "items" in stanza:
        return _answer({"items": [{"jid": SHOP, "node": "order", "name": "Order <now>"}]})
    command = {"node": "order", "sessionid": "s1"}
    if stanza["command"]["action"] == "complete":
        note = {"type": "info", "text": "Ordered <&>"}
        done = {"status": "completed", "note": note, "data": {"number": 42, "paid": False}}
        return _answer({"command": {**command, **done}})
    form = {"type": "form", "title": "Your order", "fields": FIELDS}
    asking = {"status": "executing", "actions": {"execute": "next", "next": True}, "form": form}
    return _answer({"command": {**command, **asking}})


def _answer(stanza: dict[str, Any]) -> Reply:
    return Reply(200, JSON, json.dumps(stanza))


def _name(element: Element) -> str:
    """
    Its name without its namespace.
    """
    return element.tag.rpartition("}")[2]


def _step(command: Element) -> tuple[str | None, ...]:
    """
    Which command, which session, and how far it is.
    """
    return command.get("node"), command.get("sessionid"), command.get("status")


def _field(field: Element) -> tuple[Any, ...]:
    """
    A field: var, type, label, whether it is required, values, options.
    """
    options = [
        (each.get("label"), each.findtext(f"{{{DATA}}}value")) for each in field.iter(f"{{{DATA}}}option")
    ]
    values = [value.text or "" for value in field.findall(f"{{{DATA}}}value")]
    required = field.find(f"{{{DATA}}}required") is not None
    return field.get("var"), field.get("type"), field.get("label"), required, values, options


class OnProsody(Served, LiveCase):
    """
    Commands of a webhook on Prosody.
    """

    makeServer = Prosody


class OnEjabberd(Served, LiveCase):
    """
    Commands of a webhook on ejabberd.
    """

    makeServer = Ejabberd
