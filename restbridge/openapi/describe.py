"""
What may be called, for docs/api.md: out of the description that a bridge serves as C{/openapi.json}.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import groupby
from typing import Any
from urllib.parse import urlencode

from restbridge.openapi.document import document
from restbridge.stanzas.media import FORM

METHODS = ("get", "post", "put", "delete")
STANZAS = ("Error", "Message", "Presence", "IQ", "ForwardedMessage", "Stanza", "Answer", "Archive")
"""The schemas of what docs/json.md describes."""


def page() -> str:
    """
    Every call, by what it is about, in Markdown.
    """
    described = document()
    calls = [
        (operation["tags"][0], _call(described, path, method, operation))
        for path, item in described["paths"].items()
        for method, operation in item.items()
        if method in METHODS
    ]
    order = [tag["name"] for tag in described["tags"]]
    calls.sort(key=lambda call: order.index(call[0]))
    parts = []
    for tag, group in groupby(calls, key=lambda call: call[0]):
        parts += [f"\n## {tag}\n", *(call for _, call in group)]
    return "\n".join([*parts, *_documents(described)])


def _call(described: Any, path: str, method: str, operation: Any) -> str:
    return "\n".join(
        (
            f"### `{method.upper()} {path}`\n",
            f"{operation['summary']}. {operation.get('description', '')}".strip() + "\n",
            *_parameters(described, described["paths"][path].get("parameters", []), operation),
            *_body(described, operation),
            *_answers(described, operation),
        )
    )


def _parameters(described: Any, shared: list[Any], operation: Any) -> Iterator[str]:
    every = [_found(described, each) for each in (*shared, *operation.get("parameters", []))]
    if every:
        yield "| parameter | in | type | |\n| --- | --- | --- | --- |"
        for each in every:
            required = " (required)" if each.get("required") else ""
            kind, words = _type(each["schema"]), _cell(each.get("description", ""))
            yield f"| `{each['name']}`{required} | {each['in']} | {kind} | {words} |"
        yield ""


def _body(described: Any, operation: Any) -> Iterator[str]:
    body = _found(described, operation.get("requestBody", {}))
    for mediaType, content in body.get("content", {}).items():
        yield f"Body: `{mediaType}`, {_type(content.get('schema', {}))}\n"
        for example in list(content.get("examples", {}).values())[:1]:
            yield _example(_found(described, example)["value"], mediaType)


def _answers(described: Any, operation: Any) -> Iterator[str]:
    yield "| status | body | |\n| --- | --- | --- |"
    for status, reference in operation["responses"].items():
        answer = _found(described, reference)
        # What errors are written in is the same everywhere.
        types = ", ".join(f"`{each}`" for each in answer.get("content", {})) if status < "300" else ""
        yield f"| {status} | {types} | {_cell(answer['description'])} |"
    yield ""


def _example(value: Any, mediaType: str) -> str:
    if mediaType == FORM:
        return f"```text\n{urlencode(value)}\n```\n"
    if isinstance(value, str):
        return f"```text\n{value}\n```\n"
    return f"```json\n{json.dumps(value, indent=2, ensure_ascii=False)}\n```\n"


def _documents(described: Any) -> Iterator[str]:
    """
    The schemas that have a name; stanzas are described elsewhere, in both their forms.
    """
    yield "## Documents\n"
    for name, schema in described["components"]["schemas"].items():
        if name in STANZAS or "properties" not in schema:
            continue
        yield f"### {name}\n\n{schema.get('description', '')}\n\n| key | type | |\n| --- | --- | --- |"
        for key, each in schema["properties"].items():
            required = " (required)" if key in schema.get("required", ()) else ""
            yield f"| `{key}`{required} | {_type(each)} | {_cell(each.get('description', ''))} |"
        yield ""


def _found(described: Any, part: Any) -> Any:
    """
    What a part refers to, or the part itself.
    """
    if "$ref" not in part:
        return part
    for step in part["$ref"].removeprefix("#/").split("/"):
        described = described[step]
    return described


def _type(schema: Any) -> str:
    """
    A schema in a word or two; the document has the rest.
    """
    if "$ref" in schema:
        return schema["$ref"].rpartition("/")[2]  # type: ignore[no-any-return]
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    if "enum" in schema:
        return ", ".join(f"`{each}`" for each in schema["enum"])
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return " or ".join(map(_type, schema[several]))
    if "items" in schema:
        return f"array of {_type(schema['items'])}"
    return str(schema.get("type", "any"))


def _cell(words: str) -> str:
    return " ".join(words.split()).replace("|", r"\|")
