"""
What the resources of C{/api} have in common: one JSON string says what is wrong, or nothing does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from restbridge.openapi.parts import (
    REPLAYED,
    RETRY,
    TOO_LARGE,
    Part,
    inJSON,
    parameter,
    ref,
    response,
    schema,
    shape,
)

_IN_WORDS = schema("InWords")


def said(description: str, *texts: str) -> Part:
    """
    A refusal in words.

    @param texts: how it may read.
    """
    return response(description, inJSON(_IN_WORDS, **{text.replace(" ", "_"): text for text in texts}))


SCHEMAS: dict[str, Part] = {
    "InWords": {"type": "string", "description": "What is wrong."},
    "JID": {
        "type": "string",
        "description": "The address of a user.",
        "examples": ["alice@wonderland.example"],
    },
    "Id": shape(("id",), id={"type": "string"}),
}

RESPONSES: dict[str, Part] = {
    "APIAnonymous": response("No credentials, or none that are accepted.", WWW_Authenticate="Basic."),
    "APIUnacceptable": response("The answer would be JSON, which Accept leaves out."),
    "APIUnchanged": response("The request forbids an answer, by `If-None-Match: *`."),
    "APIPrecondition": response("The request asks for what isn't so: nothing here has an entity tag."),
    "APITooLarge": TOO_LARGE,
    "APIUnknownType": response("The body is not said to be JSON."),
    "APITooMany": response(
        "Too many failed logins, requests or event streams.",
        inJSON(_IN_WORDS, Example="too many failed logins"),
        Retry_After=RETRY,
    ),
    "APIOwnFault": said("restbridge failed.", "restbridge failed; its log says why"),
    "APIDown": response(
        "The user's server can't be reached, or doesn't do it.",
        inJSON(_IN_WORDS, Example="the server closed the connection"),
        Retry_After=RETRY,
    ),
    "APIUnderWay": response(
        "A request with the same Idempotency-Key is under way.",
        inJSON(_IN_WORDS, Example="the first request with this Idempotency-Key is still under way"),
        Retry_After=RETRY,
    ),
    "APIOtherKey": said(
        "The Idempotency-Key was used for another request.",
        "this Idempotency-Key was used for another request",
    ),
    "APIUnanswered": said("The user's server did not answer in time.", "no answer within 30 seconds"),
}

_WRONG = (
    "Something in the request is wrong. Of the headers Authorization and Accept it is said without words."
)

_ALWAYS = {
    401: "APIAnonymous",
    406: "APIUnacceptable",
    412: "APIPrecondition",
    413: "APITooLarge",
    429: "APITooMany",
    500: "APIOwnFault",
    503: "APIDown",
    504: "APIUnanswered",
}


def responses(own: Mapping[int, Part], bad: Sequence[str] = ()) -> dict[int, Part]:
    """
    The answers of an operation: its C{own}, and those that every one has.

    @param bad: what a 400 may say.
    """
    return {
        **{status: ref("responses", name) for status, name in _ALWAYS.items()},
        400: said(_WRONG, *bad),
        **own,
    }


def shown(own: Mapping[int, Part], bad: Sequence[str] = ()) -> dict[int, Part]:
    """
    The answers of a GET.
    """
    return responses({**own, 304: ref("responses", "APIUnchanged")}, bad)


def answersTo(own: Mapping[int, Part], *bad: str) -> dict[int, Part]:
    """
    The answers of an operation that has a body in JSON.
    """
    unknown = ref("responses", "APIUnknownType")
    return responses({**own, 415: unknown}, ("Invalid request body", *bad))


def once(found: Mapping[int, Part]) -> dict[int, Part]:
    """
    The answers of an operation that takes an Idempotency-Key.
    """
    replayed = response("", Idempotent_Replayed=REPLAYED)["headers"]
    shown = {
        status: {**each, "headers": {**each.get("headers", {}), **replayed}} if status < 300 else each
        for status, each in found.items()
    }
    return {**shown, 409: ref("responses", "APIUnderWay"), 422: ref("responses", "APIOtherKey")}


def ok(shown: Part, **examples: Any) -> dict[int, Part]:
    """
    200, with something to read.
    """
    return {200: response("Done.", inJSON(shown, **examples))}


NOTHING = {204: response("Done; there is nothing to say.")}

BEFORE = parameter(
    "query", "before", "Milliseconds since 1970: messages up to then.", {"type": "integer", "format": "int64"}
)


def limit(description: str, default: int, **bounds: int) -> Part:
    """
    The parameter C{limit}.
    """
    return parameter(
        "query", "limit", description, {"type": "integer", "minimum": 0, "default": default, **bounds}
    )


HISTORY = ("Invalid query string", "Invalid limit", "Invalid value of 'before'")
"""What is wrong with the parameters of a history."""

NO_ARCHIVE = said("There is no archive.", "The server keeps no archive of messages (XEP-0313)")

TIMESTAMP: Part = {"type": "integer", "description": "Milliseconds since 1970."}
