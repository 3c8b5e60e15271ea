"""
The pieces that a description is put together from (OpenAPI 3.1).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from restbridge.stanzas.media import HTML, JSON, XML

Part: TypeAlias = dict[str, Any]

TEXT: Part = {"type": "string"}


def ref(kind: str, name: str) -> Part:
    """
    What the document keeps once, under C{components}.
    """
    return {"$ref": f"#/components/{kind}/{name}"}


def schema(name: str) -> Part:
    """
    A schema of the document.
    """
    return ref("schemas", name)


def shape(required: Sequence[str] = (), **members: Part) -> Part:
    """
    The schema of an object.
    """
    found: Part = {"type": "object", "properties": members}
    return {**found, "required": list(required)} if required else found


def inJSON(shown: Part, **examples: Any) -> Part:
    """
    Content in JSON alone.

    @param examples: by their names, in which C{_} stands for a space.
    """
    return {JSON: _content(shown, examples)}


def _content(shown: Part, examples: Mapping[str, Any]) -> Part:
    named = {name.replace("_", " "): {"value": value} for name, value in examples.items()}
    return {"schema": shown, "examples": named} if named else {"schema": shown}


def body(content: Part) -> Part:
    """
    The body that a request must have.
    """
    return {"required": True, "content": content}


def response(description: str, content: Part | None = None, **headers: str) -> Part:
    """
    @param headers: by their names, in which C{_} stands for a hyphen: what they say.
    """
    found: Part = {"description": description}
    if headers:
        found["headers"] = {
            name.replace("_", "-"): {"description": says, "schema": TEXT} for name, says in headers.items()
        }
    return {**found, "content": content} if content else found


def parameter(place: str, name: str, description: str, shown: Part = TEXT, **more: Any) -> Part:
    """
    @param place: path, query or header; what stands in the path is required.
    """
    required = {"required": True} if place == "path" else {}
    return {"name": name, "in": place, "description": description, "schema": shown, **required, **more}


def operation(
    tag: str,
    name: str,
    summary: str,
    responses: Mapping[int, Part],
    *,
    description: str = "",
    parameters: Sequence[Part] = (),
    requestBody: Part | None = None,
) -> Part:
    """
    What a method does.

    @param name: for programs that are made of the document.
    """
    given = {"description": description, "parameters": list(parameters), "requestBody": requestBody}
    return {
        "tags": [tag],
        "operationId": name,
        "summary": summary,
        **{key: value for key, value in given.items() if value},
        "responses": {str(status): responses[status] for status in sorted(responses)},
    }


ERROR = shape(
    ("type", "code"),
    type={"const": "error"},
    code={"type": "integer", "description": "HTTP's status."},
    error=shape(
        ("type", "condition", "text", "code", "source", "context"),
        type={"type": "string", "enum": ["auth", "cancel", "modify", "wait"]},
        condition={"type": "string", "description": "RFC 6120, sections 4.9.3 and 8.3.3."},
        text={"type": "string", "description": "What is wrong, in words."},
        code={"type": "integer"},
        source={"const": "restbridge"},
        context={"type": "object", "description": "Details for programs."},
    ),
)
"""The schema of a refusal, as L{restbridge.web.answer.refusalAnswer} writes it."""


def refused(status: int, description: str, condition: str, kind: str, text: str, **headers: str) -> Part:
    """
    A refusal in each of its three forms.
    """
    error = {
        "type": kind,
        "condition": condition,
        "text": text,
        "code": status,
        "source": "restbridge",
        "context": {},
    }
    content = {
        HTML: {"schema": TEXT},
        XML: {"schema": TEXT},
        **inJSON(schema("Error"), refusal={"type": "error", "code": status, "error": error}),
    }
    return response(description, content, **headers)


RETRY = "Seconds after which to try again."

KEY = parameter(
    "header",
    "Idempotency-Key",
    "What this names is done once: the same request with the same key gets, for a day, the answer that the"
    " first one got. Another request needs another key.",
    {"type": "string", "examples": ['"8e03978e-40d5-43dd-bc93-6894a57f9324"']},
)

REPLAYED = "`true`, where the answer is that of an earlier request with the same Idempotency-Key."

TOO_LARGE = refused(
    413,
    "The body, or the stanza that it makes, is too large.",
    "resource-constraint",
    "modify",
    "Payload too large",
)
