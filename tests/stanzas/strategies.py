"""
Hypothesis strategies for the JSON of stanzas, made of the declarations themselves: what a declaration
can express, its strategy produces, in the form in which the mapping shows it.
"""

from __future__ import annotations

from functools import singledispatch
from typing import Any

from hypothesis import strategies as st

from restbridge.stanzas.compounds import Each, Member, Nested, Object, Wrapped
from restbridge.stanzas.errors import CONDITIONS, TYPES
from restbridge.stanzas.fields import (
    Attribute,
    ChildText,
    Content,
    Custom,
    Flag,
    NameIsValue,
    SingleAttribute,
)
from restbridge.stanzas.kinds import KINDS, Kind
from restbridge.stanzas.kinds import TYPES as STANZA_TYPES
from restbridge.stanzas.payloads import commands, disco, error, forms, html, json, muc
from restbridge.stanzas.payloads import media as files
from restbridge.stanzas.values import BOOLEAN, DATETIME, INTEGER, NUMBER, TEXT, Value

Strategy = st.SearchStrategy[Any]

texts = st.text(
    st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="\ufffe\uffff")
    | st.sampled_from("\t\n\r<>&'\"]"),
    max_size=12,
)

_VALUES: dict[Value, Strategy] = {
    TEXT: texts,
    DATETIME: st.datetimes().map(lambda moment: f"{moment.isoformat()}Z"),
    INTEGER: st.integers(-(10**17), 10**17),
    NUMBER: st.integers(-(10**17), 10**17) | st.floats(-1e15, 1e15).filter(lambda n: not n.is_integer()),
    BOOLEAN: st.booleans(),
}

jsons: Strategy = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(-1e300, 1e300) | texts,
    lambda below: st.lists(below, max_size=3) | st.dictionaries(texts, below, max_size=3),
    max_leaves=6,
)


CUSTOM: dict[int, Strategy] = {}
"""By the id of a declaration with a codec of its own: what it shows."""


@singledispatch
def valuesOf(member: Member, levels: int) -> Strategy:
    """
    What C{member} shows.

    @param levels: how many more stanzas may be nested.
    """
    raise NotImplementedError(repr(member))


@valuesOf.register(Attribute)
@valuesOf.register(Content)
@valuesOf.register(ChildText)
@valuesOf.register(SingleAttribute)
def _(member: Any, levels: int) -> Strategy:
    return _VALUES[member.value]


@valuesOf.register
def _(member: Flag, levels: int) -> Strategy:
    return st.just(True)


@valuesOf.register
def _(member: NameIsValue, levels: int) -> Strategy:
    return st.sampled_from(member.choices)


@valuesOf.register
def _(member: Each, levels: int) -> Strategy:
    return st.lists(valuesOf(member.item, levels), min_size=1, max_size=3)


@valuesOf.register
def _(member: Wrapped, levels: int) -> Strategy:
    return st.lists(valuesOf(member.item, levels), max_size=3)


@valuesOf.register
def _(member: Nested, levels: int) -> Strategy:
    return valuesOf(member.stanza(), levels - 1)


@valuesOf.register
def _(member: Object, levels: int) -> Strategy:
    always = {key for key, each in member.members.items() if isinstance(each, Content)}
    strategies = {key: valuesOf(each, levels) for key, each in member.members.items() if _shown(each, levels)}
    return objects(strategies, always).map(lambda found: _finished(member, found))


@valuesOf.register
def _(member: Custom, levels: int) -> Strategy:
    return CUSTOM[id(member)]


def _shown(member: Member, levels: int) -> bool:
    if isinstance(member, Custom):
        return id(member) in CUSTOM
    return levels > 0 or not isinstance(member, Nested)


def objects(members: dict[str, Strategy], always: set[str] = frozenset()) -> Strategy:  # type: ignore[assignment]
    """
    JSON objects with up to five of C{members}, and those of C{always}.
    """
    keys = st.sets(st.sampled_from(sorted(members)), max_size=5) if members else st.just(set())
    return keys.flatmap(
        lambda chosen: st.fixed_dictionaries({key: members[key] for key in sorted(chosen | always)})
    )


def _finished(member: Object, found: dict[str, Any]) -> dict[str, Any]:
    found = dict(found)
    if member.finish is not None:
        member.finish(found)
    return found


def stanzas(kind: Kind) -> Strategy:
    """
    The JSON of stanzas of a kind.
    """
    types = st.sampled_from(STANZA_TYPES[kind.name])
    return st.builds(
        lambda stanza, chosen: {**stanza, "kind": kind.name, "type": chosen}, valuesOf(kind.stanza, 2), types
    )


def _html(text: str) -> str:
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r", "&#13;")
    return f"<body><p>{escaped}</p><br/></body>" if text else "<body/>"


_data = st.dictionaries(texts, st.lists(texts, max_size=3), max_size=3)
_COMMAND = valuesOf(commands.SHAPE, 0)
_FORMS = valuesOf(forms.FORM, 0)

CUSTOM |= {
    id(html.HTML.field): texts.map(_html),
    id(error.ERROR.field): st.builds(
        lambda found, condition, kind: {**found, "condition": condition, "type": kind},
        objects({"text": texts, "by": texts}),
        st.sampled_from(sorted(CONDITIONS)),
        st.sampled_from(TYPES),
    ),
    id(json.PAYLOAD.field): objects({"datatype": texts, "data": jsons}),
    id(disco.ITEMS.field): st.just(True) | texts | st.lists(valuesOf(disco.ITEM, 0), min_size=1, max_size=3),
    id(disco.DISCO.field): st.just(True)
    | texts
    | st.builds(
        lambda found, extensions, identity: {
            "features": [],
            **found,
            "identities": [identity],
            **({"extensions": extensions} if extensions else {}),
        },
        valuesOf(disco.SHAPE, 0),
        st.dictionaries(texts, _data.map(lambda data: {k: v for k, v in data.items() if k != "FORM_TYPE"})),
        objects({"category": texts, "type": texts, "name": texts}),
    ),
    id(commands.COMMAND.field): _COMMAND
    | st.builds(lambda command, form: {**command, "form": {**form, "type": "form"}}, _COMMAND, _FORMS)
    | st.builds(lambda command, data: {**command, "data": data}, _COMMAND, _data),
}

WRITTEN_ONLY = {id(payload.field) for payload in (muc.JOIN, files.OOB_URL, forms.FORMDATA)}
"""Abbreviations, which are shown as something else."""

assert all(
    id(payload.field) in CUSTOM.keys() | WRITTEN_ONLY
    for kind in KINDS.values()
    for payload in kind.payloads
    if isinstance(payload.field, Custom)
), "a codec without a strategy"
