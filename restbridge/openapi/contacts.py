"""
C{/api/contacts}.
"""

from __future__ import annotations

from restbridge.openapi.client import NOTHING, answersTo, ok, once, responses, said, shown
from restbridge.openapi.parts import KEY, Part, body, inJSON, operation, parameter, schema, shape

TAG = "Contacts"

_JIDS: Part = {"type": "array", "items": schema("JID")}

SCHEMAS: dict[str, Part] = {
    "Contact": shape(
        ("jid", "subscription", "ask"),
        jid=schema("JID"),
        subscription={
            "type": "string",
            "enum": ["none", "to", "from", "both"],
            "description": "`to`: the user sees the contact's presence; `from`: the contact the user's.",
        },
        ask={
            "type": "string",
            "enum": ["none", "out", "in", "both"],
            "description": "`out`: the user waits for the contact; `in`: the contact for the user.",
        },
    ),
    "AddContact": shape(("jid",), jid=schema("JID")),
    "ManageContact": shape(("action",), action={"type": "string", "enum": ["invite", "accept"]}),
    "RemoveContacts": shape(("to_delete",), to_delete=_JIDS),
    "NotRemoved": shape(("not_deleted",), not_deleted=_JIDS),
}

_RABBIT = "rabbit@wonderland.example"
_INVALID = "Invalid JID: @"

_REFUSED = {
    403: said("The user's server refuses it.", "The server refuses it: forbidden"),
    501: said("There is no roster.", "The server keeps no roster (RFC 6121, section 2)"),
}


def _answers(absent: str, *bad: str) -> dict[int, Part]:
    return answersTo({**NOTHING, 404: said("There is nobody there.", absent), **_REFUSED}, *bad, _INVALID)


def _body(schemaName: str, example: object) -> Part:
    return body(inJSON(schema(schemaName), Example=example))


def _all() -> Part:
    listed = ok(
        {"type": "array", "items": schema("Contact")},
        Contacts=[{"jid": _RABBIT, "subscription": "to", "ask": "none"}],
    )
    return {
        "get": operation(TAG, "getContacts", "All contacts", shown({**listed, **_REFUSED})),
        "post": operation(
            TAG,
            "addContact",
            "Add a contact",
            once(_answers(f"The user {_RABBIT} does not exist", "Missing JID")),
            parameters=[KEY],
            requestBody=_body("AddContact", {"jid": _RABBIT}),
        ),
        "delete": operation(
            TAG,
            "removeContacts",
            "Remove contacts; the answer names those that were none",
            responses(
                {**ok(schema("NotRemoved"), Result={"not_deleted": []}), **_REFUSED},
                ("Invalid request body", "Missing to_delete", _INVALID),
            ),
            requestBody=body(inJSON(schema("RemoveContacts"), Example={"to_delete": [_RABBIT]})),
        ),
    }


def _one() -> Part:
    managed = operation(
        TAG,
        "manageContact",
        "Ask a contact to show its presence, or consent to show the own",
        _answers("Given contact does not exist", "Missing action", "Invalid action"),
        requestBody=_body("ManageContact", {"action": "invite"}),
    )
    absent = said("It is no contact.", f"Cannot remove {_RABBIT} contact that does not exist")
    removed = operation(
        TAG, "removeContact", "Remove a contact", responses({**NOTHING, 404: absent, **_REFUSED}, (_INVALID,))
    )
    contact = parameter("path", "contact", "Its address.", schema("JID"), example=_RABBIT)
    return {"parameters": [contact], "put": managed, "delete": removed}


def paths() -> dict[str, Part]:
    """
    The paths of the roster.
    """
    return {"/api/contacts": _all(), "/api/contacts/{contact}": _one()}
