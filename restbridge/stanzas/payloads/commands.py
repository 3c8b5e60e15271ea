"""
XEP-0050: ad-hoc commands, of one step or several.
"""

from __future__ import annotations

from typing import Any

from twisted.words.xish.domish import Element

from restbridge.stanzas.compounds import Object, Payload
from restbridge.stanzas.fields import Attribute, Content, Custom, Flag
from restbridge.stanzas.payloads.forms import DATA, FORM, NS_FORMS, readData, writeData
from restbridge.stanzas.values import TEXT
from restbridge.stanzas.writing import Writing, childOf, elementsOf

_URI = "http://jabber.org/protocol/commands"


def _writeForm(command: Element, value: Any, context: Writing) -> None:
    FORM.write(command, "x", value, context)
    form = list(elementsOf(command))[-1]
    if not context.asModRest:
        # What a client fills in; the type of a form is mandatory (XEP-0004, section 3.1).
        form.attributes.setdefault("type", "submit")


def _writeData(command: Element, value: Any, context: Writing) -> None:
    # Only who executes a command says how far it is.
    answer = "status" in command.attributes
    writeData(command, "result" if answer else "submit", value, context)


def _statusFirst(command: dict[str, Any], context: Writing) -> dict[str, Any]:
    return {"status": command["status"], **command} if "status" in command else command


SHAPE = Object(
    uri=_URI,
    name="command",
    prepare=_statusFirst,
    members={
        "node": Attribute(),
        "action": Attribute(),
        "sessionid": Attribute(),
        "status": Attribute(),
        "actions": Object(
            members={"execute": Attribute(), "prev": Flag(), "next": Flag(), "complete": Flag()}
        ),
        "note": Object(members={"type": Attribute(), "text": Content()}),
        "form": Custom(writer=_writeForm, schema=FORM.schema),
        "data": Custom(writer=_writeData, schema=DATA),
    },
)


def _read(element: Element, levels: int) -> Any:
    found = SHAPE.read(element, levels)
    for form in element.elements(NS_FORMS, "x"):
        if form.attributes.get("type", "form") in ("result", "submit"):
            found["data"] = readData(form)
        else:
            found["form"] = FORM.read(form, levels)
        break
    return found


def _write(parent: Element, value: Any, context: Writing) -> None:
    if type(value) is str:
        childOf(parent, "command", _URI)["node"] = context.text(value)
    else:
        SHAPE.write(parent, "command", value, context)


COMMAND = Payload(
    key="command",
    field=Custom(
        takesText=True,
        reads=((_URI, "command"),),
        reader=_read,
        writer=_write,
        schema={"anyOf": [TEXT.schema, SHAPE.schema]},
    ),
    title="XEP-0050: Ad-Hoc Commands",
    example={"node": "uptime", "action": "execute"},
    note="A string is short for its `node`. What is filled in goes out as `form` or, simpler, as `data`:"
    " an object of values.",
)

_COMMANDS = {"kind": "iq", "to": "example.com"}
_ANSWERS = {"kind": "iq", "type": "result", "from": "example.com"}

STEPS: tuple[tuple[str, dict[str, Any]], ...] = (
    (
        "Which commands are there?",
        {**_COMMANDS, "type": "get", "items": _URI},
    ),
    (
        "The answer:",
        {**_ANSWERS, "items": [{"jid": "example.com", "node": "new-bot", "name": "Set up a bot"}]},
    ),
    (
        "Execute one:",
        {**_COMMANDS, "type": "set", "command": {"node": "new-bot", "action": "execute"}},
    ),
    (
        "It asks for more; `next` is the only way on:",
        {
            **_ANSWERS,
            "command": {
                "node": "new-bot",
                "sessionid": "6380880a",
                "status": "executing",
                "actions": {"execute": "next", "next": True},
                "form": {
                    "type": "form",
                    "title": "A new bot",
                    "fields": [
                        {"type": "text-single", "var": "name", "label": "Its name", "required": True},
                        {
                            "type": "list-multi",
                            "var": "rooms",
                            "value": [],
                            "options": [{"label": "Hall", "value": "hall"}, {"value": "yard"}],
                        },
                    ],
                },
            },
        },
    ),
    (
        "Fill in the fields of `form`, and go on with `next`:",
        {
            **_COMMANDS,
            "type": "set",
            "command": {
                "node": "new-bot",
                "sessionid": "6380880a",
                "action": "next",
                "data": {"name": "Oracle", "rooms": ["hall", "yard"]},
            },
        },
    ),
    (
        "The last question: it can be completed now, or gone back from:",
        {
            **_ANSWERS,
            "command": {
                "node": "new-bot",
                "sessionid": "6380880a",
                "status": "executing",
                "actions": {"execute": "complete", "prev": True, "complete": True},
                "form": {
                    "type": "form",
                    "fields": [{"type": "boolean", "var": "public", "label": "In public?", "value": "0"}],
                },
            },
        },
    ),
    (
        "Answer it, and `complete`:",
        {
            **_COMMANDS,
            "type": "set",
            "command": {
                "node": "new-bot",
                "sessionid": "6380880a",
                "action": "complete",
                "data": {"public": True},
            },
        },
    ),
    (
        "Done; `data` would hold a result with values:",
        {
            **_ANSWERS,
            "command": {
                "node": "new-bot",
                "sessionid": "6380880a",
                "status": "completed",
                "note": {"type": "info", "text": "Oracle is in the hall and in the yard"},
            },
        },
    ),
)
"""A command of several steps, for docs/json.md: what is said, and the stanza."""
