"""
When two answers to a recorded request agree: the rules of the recordings' C{replay.py}, said again.

An answer agrees if its status, media type and document are those recorded. These may differ: ids that
the server made up, the sender's resource, the order of attributes and siblings, the words of errors.
Where mod_rest failed, any answer below 500 agrees. Where mod_rest took a value of the wrong type, a
refusal agrees. Where it lost a value in JSON, keeping the value agrees.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import parse_qsl
from xml.etree import ElementTree as ET

import attrs

HERE = Path(__file__).parent
SENDER = "alice@localhost"

SENDERS = frozenset((SENDER, "alice@bridge.localhost"))
"""The address that a request goes out from: as it was recorded, and as an account of a component."""

LIVE = frozenset(("send", "query", "path"))
"""The groups in which another entity may have answered: it need not say what that one said."""

Node: TypeAlias = tuple[str, tuple[tuple[str, str], ...], str, tuple[Any, ...], tuple[str, ...]]

_STRINGS = ("body", "subject", "status", "show", "type", "to", "kind", "id", "lang")


@attrs.frozen(kw_only=True)
class Answer:
    """
    An answer: its status, its media type without parameters, its body.
    """

    status: int
    type: str
    body: str


@attrs.frozen(kw_only=True)
class Case:
    """
    A recorded request and its answer.

    @ivar auth: C{user}, C{bad} or C{none}.
    """

    group: str
    name: str
    method: str
    path: str
    headers: dict[str, str]
    body: str | None
    answer: Answer
    auth: str = "user"


def cases() -> list[Case]:
    """
    All recorded requests.
    """
    lines = (HERE / "mod_rest-requests.jsonl").read_text().splitlines()
    return [_case(json.loads(line)) for line in lines]


def _case(recorded: dict[str, Any]) -> Case:
    request = recorded["request"]
    body = request["body"]
    if isinstance(body, dict):
        text, times = body["repeat"]
        body = text * times
    return Case(
        group=recorded["group"],
        name=recorded["name"],
        method=request["method"],
        path=request["path"],
        headers=request["headers"],
        body=body,
        answer=Answer(**recorded["response"]),
        auth=request["auth"],
    )


def agree(case: Case, given: Answer) -> bool:
    """
    Whether C{given} is an answer that a client of mod_rest would take for mod_rest's.
    """
    recorded = case.answer
    if recorded.status >= 500:
        return given.status < 500
    if given.status in (400, 422) and _wronglyTyped(_asked(case)):
        return True
    if (given.status, given.type) != (recorded.status, recorded.type):
        return False
    if recorded.status >= 400:
        return recorded.type != "application/json" or _error(given) == _error(recorded)
    if not recorded.type:
        return True
    if case.group in LIVE and recorded.type == "application/json":
        return _agreeLive(json.loads(given.body), json.loads(recorded.body))
    return _DOCUMENTS[recorded.type](case, given.body, recorded.body)


def _asked(case: Case) -> Any:
    try:
        return json.loads(case.body or "")
    except ValueError:
        return None


def _wronglyTyped(asked: Any) -> bool:
    if not isinstance(asked, dict):
        return False
    strings = any(not isinstance(asked.get(key, ""), str) for key in _STRINGS)
    return strings or not isinstance(asked.get("priority", 0), int)


def _error(answer: Answer) -> tuple[Any, ...]:
    found = json.loads(answer.body)
    # mod_rest's 404 is Prosody's own, which names no condition.
    condition = found.get("error", {}).get("condition") if answer.status != 404 else None
    return found["type"], found["code"], condition


def _namesId(case: Case) -> bool:
    asked = _asked(case)
    if isinstance(asked, dict):
        return "id" in asked
    try:
        return "id" in ET.fromstring(case.body or "").attrib
    except ET.ParseError:
        return False


def _sender(address: str) -> str:
    return SENDER if address.partition("/")[0] in SENDERS else address


def _agreeLive(ours: dict[str, Any], theirs: dict[str, Any]) -> bool:
    """
    The same keys with values of the same types; another entity than the recorded one need not support what
    that one did not.
    """
    if theirs["type"] == "error":
        return ours["kind"] == theirs["kind"] and ours["type"] in ("error", "result")
    types = ({key: type(value) for key, value in each.items() if key != "to"} for each in (ours, theirs))
    return ours["type"] == theirs["type"] and next(types) == next(types)


def _agreeJSON(case: Case, given: str, recorded: str) -> bool:
    ours, theirs = json.loads(given), json.loads(recorded)
    if not _namesId(case):
        ours.pop("id", None)
        theirs.pop("id", None)
    for document in (ours, theirs):
        for key in document.keys() & {"to", "from"}:
            document[key] = _sender(document[key])
    return bool(ours == theirs) or _keeps(ours, theirs, _asked(case))


def _keeps(ours: Any, theirs: Any, asked: Any) -> bool:
    """
    Whether C{ours} holds all of C{theirs}, and beyond it only what was asked.
    """
    if isinstance(ours, dict) and isinstance(theirs, dict):
        asked = asked if isinstance(asked, dict) else {}
        return ours.keys() <= theirs.keys() | asked.keys() and all(
            key in ours and _keeps(ours[key], value, asked.get(key)) for key, value in theirs.items()
        )
    if isinstance(ours, list) and isinstance(theirs, list):
        asked = [*(asked if isinstance(asked, list) else ()), *([None] * len(theirs))]
        return len(ours) >= len(theirs) and all(map(_keeps, ours, theirs, asked))
    return bool(ours == theirs) or (asked is not None and bool(ours == asked))


def _agreeXML(case: Case, given: str, recorded: str) -> bool:
    ours, theirs = (_node(ET.fromstring(text), _namesId(case)) for text in (given, recorded))
    return ours == theirs


def _node(element: ET.Element, withId: bool = True) -> Node:
    attributes = {
        key: _sender(value) if key in ("to", "from") else value
        for key, value in element.attrib.items()
        if withId or key != "id"
    }
    children = sorted((_node(child) for child in element), key=repr)
    text = element.text or ""
    tails = tuple(tail for child in element if (tail := (child.tail or "").strip()))
    return (
        element.tag.removeprefix("{jabber:client}"),
        tuple(sorted(attributes.items())),
        text if text.strip() or not children else "",
        tuple(children),
        tails,
    )


def _agreeForm(case: Case, given: str, recorded: str) -> bool:
    ours, theirs = (
        {
            key: _sender(value)
            for key, value in parse_qsl(text, keep_blank_values=True)
            if key != "id" or _namesId(case)
        }
        for text in (given, recorded)
    )
    return ours == theirs


_DOCUMENTS = {
    "application/json": _agreeJSON,
    "application/xmpp+xml": _agreeXML,
    "application/x-www-form-urlencoded": _agreeForm,
}
