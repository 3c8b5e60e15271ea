"""
Data forms, and the ad-hoc commands that are made of them.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from restbridge.stanzas.mapping import fromJSON, toJSON
from restbridge.stanzas.xml import parseDocument, serialize


def formXML(form: dict[str, Any]) -> str:
    """
    The XML of a form, without the message around it.
    """
    return serialize(next(iter(fromJSON({"dataform": form}).stanza.elements())), "jabber:x:data")


def formJSON(xml: str) -> Any:
    """
    The JSON of a form.
    """
    return toJSON(parseDocument(f"<message>{xml}</message>".encode()))["dataform"]


class WriteTests(SynchronousTestCase):
    """
    Forms that are sent.
    """

    def _field(self, **field: Any) -> str:
        return formXML({"fields": [field]}).removeprefix("<x>").removesuffix("</x>")

    def test_value(self) -> None:
        """
        A value is a string, a number, a boolean, or a list of them.
        """
        self.assertEqual(self._field(var="a", value="b"), "<field var='a'><value>b</value></field>")
        self.assertEqual(self._field(value=True), "<field><value>1</value></field>")
        self.assertEqual(self._field(value=5), "<field><value>5</value></field>")
        self.assertEqual(self._field(value=["a", "b"]), "<field><value>a</value><value>b</value></field>")
        self.assertEqual(self._field(value=None), "<field/>")

    def test_values(self) -> None:
        """
        C{values} is a list whatever the type.
        """
        self.assertEqual(self._field(values=["a", "b"]), "<field><value>a</value><value>b</value></field>")

    def test_lines(self) -> None:
        """
        The lines of a text-multi are values each, wherever its type stands among the keys.
        """
        self.assertEqual(
            self._field(value="a\nb", type="text-multi"),
            "<field type='text-multi'><value>a</value><value>b</value></field>",
        )

    def test_options(self) -> None:
        """
        Options have a value and a label; several fields stand beside one another.
        """
        options = [{"label": "One", "value": "1"}, {"value": "2"}]
        self.assertEqual(
            formXML({"type": "form", "fields": [{"options": options, "required": True}, {"var": "z"}]}),
            "<x type='form'><field><option label='One'><value>1</value></option>"
            "<option><value>2</value></option><required/></field><field var='z'/></x>",
        )


class ReadTests(SynchronousTestCase):
    """
    Forms that arrive.
    """

    def _field(self, xml: str) -> Any:
        return formJSON(f"<x xmlns='jabber:x:data'>{xml}</x>")["fields"][0]

    def test_single(self) -> None:
        """
        One value is a string.
        """
        self.assertEqual(self._field("<field var='a'><value>b</value></field>"), {"var": "a", "value": "b"})

    def test_lists(self) -> None:
        """
        The values of lists are lists, be they one or none.
        """
        one = self._field("<field type='list-multi'><value>b</value></field>")
        self.assertEqual(one, {"type": "list-multi", "value": ["b"], "options": []})
        self.assertEqual(self._field("<field type='jid-multi'/>"), {"type": "jid-multi", "value": []})

    def test_lines(self) -> None:
        """
        A text-multi is one text.
        """
        found = self._field("<field type='text-multi'><value>a</value><value>b</value></field>")
        self.assertEqual(found, {"type": "text-multi", "value": "a\nb"})

    def test_several(self) -> None:
        """
        Where one value is due and several stand there, none is lost.
        """
        found = self._field("<field><value>a</value><value>b</value></field>")
        self.assertEqual(found, {"values": ["a", "b"]})


class CommandTests(SynchronousTestCase):
    """
    Ad-hoc commands (XEP-0050) of several steps.
    """

    def _sent(self, command: Any) -> str:
        stanza = fromJSON({"command": command, "to": "example.com"}).stanza
        self.assertEqual(stanza["type"], "set")
        return serialize(next(iter(stanza.elements())), "http://jabber.org/protocol/commands")

    def _shown(self, xml: str) -> Any:
        command = f"<command xmlns='http://jabber.org/protocol/commands' {xml}</command>"
        return toJSON(parseDocument(f"<iq>{command}</iq>".encode()))["command"]

    def test_execute(self) -> None:
        """
        The node alone executes a command.
        """
        self.assertEqual(self._sent("config"), "<command node='config'/>")

    def test_form(self) -> None:
        """
        The answer shows the form to fill in and what can be done next.
        """
        shown = self._shown(
            "node='config' sessionid='s1' status='executing'><actions execute='next'><next/></actions>"
            "<x xmlns='jabber:x:data' type='form'><field var='a'/></x>"
        )
        self.assertEqual(
            shown,
            {
                "node": "config",
                "sessionid": "s1",
                "status": "executing",
                "actions": {"execute": "next", "next": True},
                "form": {"type": "form", "fields": [{"var": "a"}]},
            },
        )

    def test_next(self) -> None:
        """
        What is filled in is sent as data or as a form, to the same effect.
        """
        step = {"node": "config", "sessionid": "s1", "action": "next"}
        data = self._sent({**step, "data": {"a": "1", "b": ["2", "3"], "c": False}})
        fields = [
            {"var": "a", "value": "1"},
            {"var": "b", "values": ["2", "3"]},
            {"var": "c", "value": False},
        ]
        self.assertEqual(data, self._sent({**step, "form": {"type": "submit", "fields": fields}}))
        self.assertEqual(
            data,
            "<command node='config' sessionid='s1' action='next'><x xmlns='jabber:x:data' type='submit'>"
            "<field var='a'><value>1</value></field><field var='b'><value>2</value><value>3</value></field>"
            "<field var='c'><value>0</value></field></x></command>",
        )

    def test_submit(self) -> None:
        """
        A form that doesn't say so is submitted.
        """
        sent = self._sent({"node": "c", "form": {"fields": []}})
        self.assertIn("<x xmlns='jabber:x:data' type='submit'/>", sent)

    def test_result(self) -> None:
        """
        A result is shown as its data, with the note.
        """
        shown = self._shown(
            "status='completed'><note type='info'>Done</note><x xmlns='jabber:x:data' type='result'>"
            "<field var='n' type='text-single'><value>7</value></field></x>"
        )
        note = {"type": "info", "text": "Done"}
        self.assertEqual(shown, {"status": "completed", "note": note, "data": {"n": "7"}})

    def test_answer(self) -> None:
        """
        Who answers a command, which its status tells, sends its data as a result.
        """
        self.assertIn("type='result'", self._sent({"data": {"a": "1"}, "status": "completed"}))
