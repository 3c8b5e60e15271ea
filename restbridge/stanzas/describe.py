"""
docs/json.md, made of the declarations: C{python -m restbridge.stanzas.describe > docs/json.md}.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any

from twisted.words.xish.domish import Element

from restbridge.stanzas.kinds import KINDS, TYPES, Kind
from restbridge.stanzas.mapping import fromJSON
from restbridge.stanzas.payloads.commands import STEPS
from restbridge.stanzas.writing import elementsOf
from restbridge.stanzas.xml import serialize

_INTRODUCTION = """\
# Stanzas as JSON

<!-- Made by `python -m restbridge.stanzas.describe > docs/json.md`; a test keeps it true. -->

A stanza is one JSON object. What JSON can't express can be sent and received as XML, with the media
type `application/xmpp+xml`.

| key | what |
| --- | --- |
| `kind` | `message`, `presence` or `iq`. Left out, it follows from `type` or the payload; else a message. |
| `type` | %s. Left out of an IQ, it is `get`; for `archive`, `block`, `command` and `unblock` it is `set`. |
| `to`, `from` | Addresses. |
| `id` | Made up if left out. |
| `lang` | The language of the stanza's texts: `xml:lang`. |

A known key with a value of the wrong type is refused with the status 422 and the path of the value, as in
`dataform.fields[0].options: must be a list`. Unknown keys are ignored, and named in the header
`Restbridge-Ignored` of the answer. A value that arrives by XMPP and can't be read, such as a priority that
is no number, is left out.

The same objects can be sent and received as `application/cbor`. Of a form
(`application/x-www-form-urlencoded`) the top-level strings and numbers count.

In an archive's answer the stanzas stand in a list: `{"xmpp": [...]}`.
"""

_STEPS = """\
## A command of several steps

Ad-hoc commands (XEP-0050) are found among the items of an entity, executed, and carried on with `next`
until they are complete. The answer's `form` says what to fill in and its `actions` what can be done next;
what is filled in goes out as `data`, an object of values, with the `sessionid` of the answer. It may also
go out as `form`, field by field: `{"type": "submit", "fields": [{"var": "name", "value": "Oracle"}]}`.
"""


def page() -> str:
    """
    The whole page, in Markdown.
    """
    types = "; ".join(f"{kind}: {', '.join(f'`{each}`' for each in each)}" for kind, each in TYPES.items())
    parts = [_INTRODUCTION % types]
    for kind in KINDS.values():
        parts += _kind(kind)
    parts.append(_STEPS)
    parts += [_step(words, stanza) for words, stanza in STEPS]
    return "\n".join(parts)


def _kind(kind: Kind) -> Iterator[str]:
    yield f"## {kind.name.capitalize() if kind.name != 'iq' else 'IQ'}\n"
    for payload in kind.payloads:
        lines = [f"### `{payload.key}`\n", f"{payload.title}\n"]
        if payload.note:
            lines.append(f"{payload.note}\n")
        example = {"kind": kind.name, payload.key: payload.example}
        payloads = elementsOf(fromJSON(example).stanza)
        lines.append(_json({payload.key: payload.example}))
        lines += [_xml(each) for each in payloads]
        yield "\n".join(lines)


def _step(words: str, stanza: dict[str, Any]) -> str:
    return f"{words}\n\n{_json(stanza)}\n{_xml(fromJSON(stanza).stanza)}"


def _json(value: Any) -> str:
    return f"```json\n{json.dumps(value, indent=2, ensure_ascii=False)}\n```\n"


def _xml(element: Element) -> str:
    return f"```xml\n{_indented(element)}```\n"


def _indented(element: Element, levels: int = 0, scope: str = "jabber:client") -> str:
    """
    An element with its children on lines of their own; what holds text stays on one.
    """
    indent = "  " * levels
    children = [child for child in element.children if not isinstance(child, str)]
    if not children or len(children) != len(element.children) or element.name == "html":
        return f"{indent}{serialize(element, scope)}\n"
    shell = Element((element.uri, element.name))
    shell.attributes = element.attributes
    opening = serialize(shell, scope).removesuffix("/>")
    inner = "".join(_indented(child, levels + 1, element.uri) for child in children)
    return f"{indent}{opening}>\n{inner}{indent}</{element.name}>\n"


if __name__ == "__main__":
    sys.stdout.write(page())
