"""
XEP-0004: data forms, whole (C{dataform}, a command's C{form}) and as values alone (C{formdata}, a command's
C{data}, the extensions of service discovery).

A field's C{value} is a string, or a list of strings for the types that hold several; C{values} is a
list whatever the type. What is read shows C{values} only where C{value} can't hold them.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import attrs
from twisted.words.xish.domish import Element

from restbridge.stanzas.compounds import Each, Object, Payload
from restbridge.stanzas.fields import Attribute, ChildText, Custom, Field, Flag
from restbridge.stanzas.values import Schema
from restbridge.stanzas.writing import Writing, childOf, textOf

NS_FORMS = "jabber:x:data"

_LISTS = ("jid-multi", "list-multi")
_CHOICES = ("list-multi", "list-single")

_DATUM: Schema = {"type": ["string", "boolean", "integer"]}
_HELD: Schema = {"anyOf": [{"type": [*_DATUM["type"], "null"]}, {"type": "array", "items": _DATUM}]}

DATA: Schema = {"type": "object", "additionalProperties": _HELD}
"""The values of a form alone: C{{var: value}}."""


def _valuesOf(field: Element) -> list[str]:
    return [textOf(value) for value in field.elements(NS_FORMS, "value")]


def _valueText(value: Any, context: Writing) -> str:
    if type(value) is bool:
        return "1" if value else "0"
    if type(value) is int:
        return str(value)
    return context.text(value)


def _writeValues(field: Element, value: Any, context: Writing) -> None:
    """
    Add what a field holds: nothing, one value, or a list of them.
    """
    if type(value) is list:
        context.each(value, lambda item: childOf(field, "value", text=_valueText(item, context)))
        return
    if value is None:
        return
    text = _valueText(value, context)
    lines = [text]
    if field.attributes.get("type") == "text-multi":
        lines = text.split("\n") if text else []
    for line in lines:
        childOf(field, "value", text=line)


_NESTED_FIELDS = 16

_VALUE = ChildText()


@attrs.frozen(kw_only=True)
class _Values(Each):
    """
    The values of a field as a list, which mod_rest forgets when it writes them.
    """

    name: str = "value"
    item: Field = _VALUE

    def write(self, parent: Element, key: str, value: Any, context: Writing) -> None:
        if context.asModRest:
            context.ignore()
        else:
            super().write(parent, key, value, context)


def _typeFirst(field: dict[str, Any], context: Writing) -> dict[str, Any]:
    # How a value is written hangs on the type of its field.
    return {"type": field["type"], **field} if "type" in field else field


def _asTyped(field: dict[str, Any]) -> None:
    """
    Show the values of a field in the form that its type asks for.
    """
    kind, values = field.get("type"), field.pop("values", [])
    if kind == "text-multi":
        field["value"] = "\n".join(values)
    elif kind in _LISTS:
        field["value"] = values
    elif len(values) > 1:
        field["values"] = values
    elif values:
        field["value"] = values[0]
    if kind in _CHOICES:
        field.setdefault("options", [])


_OPTIONS = Each(name="option", item=Object(members={"label": Attribute(), "value": ChildText()}))

_FIELD = Object(
    prepare=_typeFirst,
    finish=_asTyped,
    members={
        "type": Attribute(),
        "var": Attribute(),
        "label": Attribute(),
        "desc": ChildText(),
        "required": Flag(),
        "value": Custom(writer=_writeValues, schema=_HELD),
        "values": _Values(),
        "options": _OPTIONS,
    },
)


@attrs.frozen(kw_only=True)
class _Fields(Each):
    """
    The fields of a form, which mod_rest writes one within the other.
    """

    name: str = "field"
    item: Field = _FIELD

    def write(self, parent: Element, key: str, value: Any, context: Writing) -> None:
        super().write(parent, key, value, context)
        if context.asModRest:
            nest(parent, "field")


def nest(around: Element, name: str) -> None:
    """
    Move each child called C{name} into the one before it; as far as XML may be nested.
    """
    elements = list(around.elements(around.uri, name))
    for outer, inner in pairwise(elements[:_NESTED_FIELDS]):
        around.children.remove(inner)
        outer.addChild(inner)


FORM = Object(
    uri=NS_FORMS,
    name="x",
    finish=lambda form: form.setdefault("fields", []),
    members={
        "type": Attribute(),
        "title": ChildText(),
        "instructions": ChildText(),
        "fields": _Fields(),
    },
)
"""A whole form, as dataform and the form of a command show it."""

DATAFORM = Payload(
    key="dataform",
    field=FORM,
    title="XEP-0004: Data Forms",
    example={
        "type": "form",
        "title": "Bot",
        "instructions": "Fill out this form",
        "fields": [
            {"type": "hidden", "var": "FORM_TYPE", "value": "jabber:bot"},
            {"type": "text-single", "var": "name", "label": "Its name", "required": True},
            {"type": "text-multi", "var": "greeting", "value": "Hello\nand welcome"},
            {"type": "boolean", "var": "public", "label": "May anyone talk to it?", "value": "1"},
            {
                "type": "list-single",
                "var": "maxsubs",
                "value": "20",
                "options": [{"label": "10", "value": "10"}, {"label": "20", "value": "20"}],
            },
        ],
    },
    note="`value` is a string; for `list-multi` and `jid-multi` a list of strings; for `text-multi` a string"
    " with line feeds. A list under `values` does for every type.",
)


def readData(form: Element) -> dict[str, Any]:
    """
    The values of a form: C{{var: value}}; a list where the type says so, or says nothing.
    """
    fields = (field for field in form.elements(NS_FORMS, "field") if "var" in field.attributes)
    return {field["var"]: _datum(field.attributes.get("type"), _valuesOf(field)) for field in fields}


def _datum(kind: str | None, values: list[str]) -> Any:
    if kind is None or kind in _LISTS or kind in _CHOICES or (len(values) > 1 and kind != "text-multi"):
        return values
    if kind == "text-multi":
        return "\n".join(values)
    if kind == "boolean":
        return values[:1] in (["1"], ["true"])
    return values[0] if values else None


def writeData(parent: Element, formType: str | None, value: Any, context: Writing) -> Element:
    """
    Add a form with the values C{{var: value}} alone.

    @param formType: the type of the form.
    """
    if not isinstance(value, dict):
        raise context.refuse("must be an object")
    form = childOf(parent, "x", NS_FORMS)
    if formType is not None:
        form["type"] = formType
    for var, item in value.items():
        context.path.append(var)
        field = childOf(form, "field")
        field["var"] = context.text(var)
        _writeValues(field, item, context)
        context.path.pop()
    return form


def _write(parent: Element, value: Any, context: Writing) -> None:
    writeData(parent, None, value, context)


FORMDATA = Payload(
    key="formdata",
    field=Custom(writer=_write, schema=DATA),
    title="XEP-0004: Data Forms, the values alone",
    example={"name": "Romeo's bot", "features": ["weather", "news"]},
    note="Shown as `dataform`.",
)
