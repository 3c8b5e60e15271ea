"""
The forms of the commands in L{tests.live.test_commands} and of
L{tests.live.test_served_commands}, as they are written and as they are read.
"""

from __future__ import annotations

from typing import Any

FIRST: dict[str, Any] = {
    "type": "form",
    "title": "A new bot",
    "instructions": "Say what it is",
    "fields": [
        {"type": "hidden", "var": "FORM_TYPE", "value": "urn:example:bot"},
        {
            "type": "text-single",
            "var": "name",
            "label": "Its name",
            "desc": "A <short> one",
            "required": True,
        },
        {
            "type": "list-multi",
            "var": "rooms",
            "value": ["hall", "yard"],
            "options": [{"label": "The hall", "value": "hall"}, {"value": "yard"}],
        },
        {"type": "jid-multi", "var": "owners", "value": ["kate@localhost"]},
    ],
}
"""What is read of the first form of L{tests.live.commandowner}."""

SECOND: dict[str, Any] = {
    "type": "form",
    "title": "How is it?",
    "fields": [
        {
            "type": "list-single",
            "var": "mood",
            "value": "a b",
            "options": [
                {"label": "10 %", "value": "10"},
                {"label": '\u00fcber <all> & "more"', "value": "a b"},
            ],
        },
        {"type": "boolean", "var": "public", "value": "1"},
        {"type": "text-multi", "var": "greeting", "value": "Hello\n\nand <welcome>"},
        {"type": "fixed", "value": "That's it"},
    ],
}
"""What is read of its second."""

FIELDS: list[dict[str, Any]] = [
    {"type": "hidden", "var": "FORM_TYPE", "value": "urn:example:shop"},
    {
        "type": "list-multi",
        "var": "colours",
        "label": "Colours",
        "required": True,
        "value": ["red", "a & b"],
        "options": [{"label": "Red <1>", "value": "red"}, {"value": "a & b"}, {"label": "None", "value": ""}],
    },
    {
        "type": "list-single",
        "var": "size",
        "value": "m",
        "options": [{"value": "s"}, {"label": "Medium", "value": "m"}],
    },
    {"type": "boolean", "var": "gift", "value": True},
    {"type": "text-multi", "var": "text", "value": "Hello\n\nthere"},
]
"""The fields of a webhook's form, in JSON."""

AS_XML = [
    ("FORM_TYPE", "hidden", None, False, ["urn:example:shop"], []),
    (
        "colours",
        "list-multi",
        "Colours",
        True,
        ["red", "a & b"],
        [("Red <1>", "red"), (None, "a & b"), ("None", "")],
    ),
    ("size", "list-single", None, False, ["m"], [(None, "s"), ("Medium", "m")]),
    ("gift", "boolean", None, False, ["1"], []),
    ("text", "text-multi", None, False, ["Hello", "", "there"], []),
]
"""The same fields in XML: var, type, label, whether it is required, values, options."""

FILLED_IN = (
    "<field var='colours' type='list-multi'><value>red</value><value>a &amp; b</value></field>"
    "<field var='size' type='list-single'><value>m</value></field>"
    "<field var='gift' type='boolean'><value>true</value></field>"
    "<field var='text' type='text-multi'><value>Hi</value><value/><value>&lt;there></value></field>"
)
"""What a user fills in there."""
