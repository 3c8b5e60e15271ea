"""
C{/rest}, as mod_rest has it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from restbridge.openapi.parts import (
    ERROR,
    KEY,
    REPLAYED,
    RETRY,
    TEXT,
    TOO_LARGE,
    Part,
    body,
    inJSON,
    operation,
    parameter,
    ref,
    refused,
    response,
    schema,
    shape,
)
from restbridge.openapi.stanzas import ANSWERED, TO_SEND
from restbridge.rest.batch import MAX_STANZAS, NDJSON
from restbridge.stanzas.kinds import KINDS
from restbridge.stanzas.media import CBOR, FORM, QUERIES, XML
from restbridge.stanzas.media import TEXT as PLAIN
from restbridge.stanzas.queries import parameters

TAG = "Stanzas"

_IGNORED = "The keys of the request that mean nothing, percent-encoded."
_CHALLENGE = "Basic and Bearer."

_UNASKED = ("lastactivity", "oob", "version")
"""The members of these are answers."""

_ANSWER: Part = {"anyOf": [schema("Answer"), schema("Archive")]}

_RESULT = shape(
    ("status",),
    status={"type": "integer", "description": "HTTP's, as if the stanza had come alone."},
    answer=_ANSWER,
    error=ERROR["properties"]["error"],
    ignored={"type": "array", "items": TEXT, "description": "Its keys that mean nothing."},
)

_SOME: Part = {"type": "array", "minItems": 1, "maxItems": MAX_STANZAS}

_BATCH = (
    {"kind": "message", "to": "juliet@example.com", "body": "Hello, World!"},
    {"kind": "iq", "type": "get", "to": "example.com", "ping": True},
    {"kind": "message", "to": "@example.com", "body": "Good night!"},
)
_RESULTS = (
    {"status": 202},
    {
        "status": 200,
        "answer": {
            "kind": "iq",
            "type": "result",
            "from": "example.com",
            "to": "bot@rest.example.com",
            "id": "q1",
        },
    },
    {
        "status": 422,
        "error": {
            "type": "modify",
            "condition": "improper-addressing",
            "text": "Invalid destination JID: its local part is empty",
            "code": 422,
            "source": "restbridge",
            "context": {},
        },
    },
)

_XML_MESSAGE = "<message type='chat' to='juliet@example.com'><body>Hello, World!</body></message>"
_XML_RESULT = "<iq type='result' from='example.com' to='bot@rest.example.com' id='q1'/>"

_ANSWERED: Part = {
    XML: {"schema": TEXT, "examples": {"A result": {"value": _XML_RESULT}}},
    **inJSON(_ANSWER, **ANSWERED),
    FORM: {"schema": schema("Answer")},
    CBOR: {"schema": _ANSWER},
}


def _lines(documents: Sequence[Any]) -> Part:
    """
    Content of one document in JSON on each line.
    """
    text = "".join(f"{json.dumps(document)}\n" for document in documents)
    return {NDJSON: {"schema": TEXT, "examples": {"A batch": {"value": text}}}}


RESPONSES: dict[str, Part] = {
    "Taken": response(
        "The server took it, and said nothing.", Restbridge_Ignored=_IGNORED, Idempotent_Replayed=REPLAYED
    ),
    "Answered": response(
        "What answers it: a result, an error, or the stanzas of an archive.",
        _ANSWERED,
        Restbridge_Ignored=_IGNORED,
        Idempotent_Replayed=REPLAYED,
    ),
    "AnsweredOrBatch": response(
        "What answers it: a result, an error, or the stanzas of an archive. Of a batch: a result for each"
        " stanza, in their order.",
        {
            **_ANSWERED,
            **inJSON({"anyOf": [_ANSWER, {**_SOME, "items": _RESULT}]}, **ANSWERED, A_batch=list(_RESULTS)),
            **_lines(_RESULTS),
        },
        Restbridge_Ignored=_IGNORED,
        Idempotent_Replayed=REPLAYED,
    ),
    "Unreadable": refused(
        400,
        "The body is not what its media type promises, or a header or the path can't be read.",
        "not-well-formed",
        "modify",
        "Failed to parse payload: invalid-json",
    ),
    "Anonymous": refused(
        401,
        "No credentials.",
        "not-authorized",
        "auth",
        "No credentials provided",
        WWW_Authenticate=_CHALLENGE,
    ),
    "Forbidden": refused(
        403,
        "The credentials aren't accepted, or their owner may not send from that address.",
        "not-authorized",
        "auth",
        "Credentials not accepted",
    ),
    "Absent": refused(
        404,
        "Nothing is there.",
        "item-not-found",
        "cancel",
        "nothing answers to GET /rest/nothing/example.com",
    ),
    "Awaited": refused(
        409,
        "An IQ with the same addresses and id awaits its answer still, or a request with the same"
        " Idempotency-Key is under way.",
        "conflict",
        "cancel",
        "an IQ with the id q1 awaits its answer still",
        Retry_After=RETRY,
    ),
    "TooLarge": TOO_LARGE,
    "UnknownType": refused(415, "An unknown media type.", "bad-format", "cancel", "Unsupported media type"),
    "Unsendable": refused(
        422,
        "Readable, but no stanza that can be sent; the text names the key. Or the Idempotency-Key was used"
        " for another request.",
        "bad-request",
        "modify",
        "dataform.fields[0].options: must be a list",
    ),
    "TooMany": refused(
        429,
        "Too many failed logins, requests, or IQs that wait for their answers.",
        "policy-violation",
        "wait",
        "too many failed logins",
        Retry_After=RETRY,
    ),
    "OwnFault": refused(
        500,
        "restbridge failed.",
        "internal-server-error",
        "cancel",
        "restbridge failed; its log says why",
    ),
    "Down": refused(
        503,
        "No connection to the XMPP server, or nobody can log in there now.",
        "service-unavailable",
        "wait",
        "the connection to the XMPP server is down",
        Retry_After=RETRY,
    ),
    "Unanswered": refused(
        504,
        "Nobody answered the IQ in time.",
        "remote-server-timeout",
        "wait",
        "no answer within 120 seconds",
    ),
}

_NAMES = {
    200: "Answered",
    202: "Taken",
    400: "Unreadable",
    401: "Anonymous",
    403: "Forbidden",
    404: "Absent",
    409: "Awaited",
    413: "TooLarge",
    415: "UnknownType",
    422: "Unsendable",
    429: "TooMany",
    500: "OwnFault",
    503: "Down",
    504: "Unanswered",
}

_TIMEOUT = parameter(
    "header",
    "Prosody-Rest-Timeout",
    "Seconds to wait for the answer to an IQ.",
    {"type": "number", "exclusiveMinimum": 0},
)
_TO = parameter("path", "to", "An address.", TEXT, example="example.com")


def _responses(*left: int) -> Mapping[int, Part]:
    """
    All but those that are C{left} out.
    """
    return {status: ref("responses", name) for status, name in _NAMES.items() if status not in left}


def _stanza(written: Mapping[str, Part]) -> Part:
    return body(
        {
            **inJSON(schema("Stanza"), **TO_SEND),
            XML: {"schema": TEXT, "examples": {"A message": {"value": _XML_MESSAGE}}},
            FORM: {
                "schema": {"type": "object", "additionalProperties": TEXT},
                "examples": {"A message": {"value": {"to": "juliet@example.com", "body": "Hello, World!"}}},
            },
            CBOR: {"schema": schema("Stanza")},
            **written,
        }
    )


def _several() -> Part:
    """
    The content of a request that may be a batch.
    """
    either = {"anyOf": [schema("Stanza"), {**_SOME, "items": schema("Stanza")}]}
    return {**inJSON(either, **TO_SEND, A_batch=list(_BATCH)), **_lines(_BATCH)}


def _parameters() -> list[Part]:
    """
    What may follow the question mark, and in which queries.
    """
    asked: dict[str, list[str]] = {}
    shown: dict[str, Part] = {}
    for query in QUERIES:
        for key, each in {} if query in _UNASKED else parameters(query):
            asked.setdefault(key, []).append(query)
            shown[key] = each
    return [
        parameter("query", key, f"For {', '.join(asked[key])}.", shown[key], explode=False) for key in asked
    ]


def _get(name: str, summary: str, *path: Part) -> Part:
    query = parameter(
        "path", "query", "The question.", {"type": "string", "enum": list(QUERIES)}, example="ping"
    )
    return operation(
        TAG, name, summary, _responses(202, 415), parameters=[query, *path, _TIMEOUT, *_parameters()]
    )


def paths() -> dict[str, Part]:
    """
    The paths of C{/rest}.
    """
    text = {PLAIN: {"schema": TEXT, "example": "Hello, World!"}}
    kind = parameter(
        "path", "kind", "What it is.", {"type": "string", "enum": list(KINDS)}, example="message"
    )
    what = parameter("path", "type", "Its type; of an IQ also the key of its payload.", TEXT, example="chat")
    return {
        "/rest": {
            "post": operation(
                TAG,
                "sendStanza",
                "Send a stanza, or many",
                {**_responses(), 200: ref("responses", "AnsweredOrBatch")},
                description="A message or presence is answered with 202 once the server has taken it, or with"
                " the error that the server sent back at once; an IQ with what answers it."
                " As text/plain it is the text of a chat message.\n\n"
                f"A batch is an array in JSON, or lines of {NDJSON}: up to {MAX_STANZAS} stanzas, sent in"
                " their order. It is answered with 200, and each stanza has a result of its own: `status`,"
                " and what answers it, as if it had come alone.",
                parameters=[_TIMEOUT, KEY],
                requestBody=_stanza({**text, **_several()}),
            )
        },
        "/rest/{kind}/{type}/{to}": {
            "post": operation(
                TAG,
                "sendStanzaTo",
                "Send a stanza, its kind, type and receiver in the path",
                _responses(),
                description="What the path says outweighs the body; XML ignores it. The text is the body of a"
                " message, the show of a presence.",
                parameters=[kind, what, {**_TO, "example": "juliet@example.com"}, _TIMEOUT, KEY],
                requestBody=_stanza(text),
            )
        },
        "/rest/echo": {
            "post": operation(
                TAG,
                "echoStanza",
                "Show what would be sent, and send nothing",
                _responses(202, 409, 504),
                requestBody=_stanza(text),
            )
        },
        "/rest/{query}/{to}": {"get": _get("ask", "Ask an address", _TO)},
        "/rest/{query}/": {"get": _get("askOwnAccount", "Ask the own account")},
    }
