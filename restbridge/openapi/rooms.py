"""
C{/api/rooms}.
"""

from __future__ import annotations

from typing import Any

from restbridge.clientapi.groupchat import NO_AFFILIATIONS, NO_CONFIG, NO_ROOMS, STRANGER
from restbridge.clientapi.rooms import DEFAULT_MESSAGES, MAX_MESSAGES
from restbridge.openapi.client import (
    BEFORE,
    HISTORY,
    NO_ARCHIVE,
    NOTHING,
    TIMESTAMP,
    answersTo,
    limit,
    ok,
    once,
    responses,
    said,
    shown,
)
from restbridge.openapi.parts import (
    KEY,
    TEXT,
    Part,
    body,
    inJSON,
    operation,
    parameter,
    response,
    schema,
    shape,
)

TAG = "Rooms"

_MARKER = schema("ChatMarker")
_MEMBER: Part = {"type": "string", "enum": ["owner", "member"]}

SCHEMAS: dict[str, Part] = {
    "CreateRoom": shape(("name", "subject"), name=TEXT, subject=TEXT),
    "RoomInList": shape(("id", "name", "subject"), id=TEXT, name=TEXT, subject=TEXT),
    "Room": shape(
        ("name", "subject", "participants"),
        name=TEXT,
        subject=TEXT,
        participants={
            "type": "array",
            "items": shape(("user", "role"), user=schema("JID"), role=_MEMBER),
        },
    ),
    "AddUser": shape(("user",), user=schema("JID")),
    "ChatMarker": shape(
        ("type", "id"),
        type={"type": "string", "enum": ["received", "displayed", "acknowledged"]},
        id={**TEXT, "description": "Of the message that is marked."},
    ),
    "SendRoomMessage": {
        **shape(
            body=TEXT,
            markable={"type": "boolean", "description": "Counts with a body alone."},
            chat_marker=_MARKER,
        ),
        "anyOf": [{"required": ["body"]}, {"required": ["chat_marker"]}],
    },
    "RoomMessage": shape(
        ("type", "id", "from", "timestamp"),
        **{
            "type": {"const": "message"},
            "id": TEXT,
            "from": schema("JID"),
            "timestamp": TIMESTAMP,
            "body": TEXT,
            "markable": {"const": True},
            "chat_marker": _MARKER,
        },
    ),
    "RoomAffiliation": shape(
        ("type", "id", "from", "timestamp", "user", "affiliation"),
        **{
            "type": {"const": "affiliation"},
            "id": TEXT,
            "from": {"type": "string", "description": "The room's address."},
            "timestamp": TIMESTAMP,
            "user": schema("JID"),
            "affiliation": {"type": "string", "enum": ["owner", "member", "none"]},
        },
    ),
    "RecvRoomMessage": {"anyOf": [schema("RoomMessage"), schema("RoomAffiliation")]},
}

_ALICE, _RABBIT = "alice@wonderland.example", "rabbit@wonderland.example"
_ID = "1483-609513-293487"
_ROOM = {"name": "Tea party", "subject": "Riddles without an answer"}

SAID: dict[str, Any] = {
    "type": "message",
    "id": "9746c6d5-e014-4391-b559-b5581ee8e43b",
    "from": _ALICE,
    "timestamp": 1483609513435,
    "body": "Hi all!",
}
_JOINED: dict[str, Any] = {
    "type": "affiliation",
    "id": "e3e110a6-44ae-45ab-97e3-7ace25f52e53",
    "from": f"{_ID}@conference.wonderland.example",
    "timestamp": 1483609513429,
    "user": _RABBIT,
    "affiliation": "member",
}

_BAD_ID = ("Invalid room ID", "Invalid MUC Light domain")
_BAD_ROOM = (
    "Missing room name",
    "Missing room subject",
    "Validation failed for key: roomname with reason type_error",
)
_ABSENT = said(
    "There is no such room, or no service for rooms.", "Room not found", "MUC Light server not found"
)


def _forbidden(*texts: str) -> Part:
    return said("The user may not do that.", STRANGER, *texts)


def _made() -> dict[int, Part]:
    return {201: response("Made.", inJSON(schema("Id"), Room={"id": _ID}))}


def _json(name: str, example: object) -> Part:
    return body(inJSON(schema(name), Example=example))


def _all() -> Part:
    listed = ok({"type": "array", "items": schema("RoomInList")}, Rooms=[{"id": _ID, **_ROOM}])
    noService = said("There is no service for rooms.", "MUC Light server not found")
    return {
        "get": operation(TAG, "getRooms", "The user's rooms", shown({**listed, 404: noService})),
        "post": operation(
            TAG,
            "createRoom",
            "Make a room",
            once(
                answersTo(
                    {**_made(), 403: said("Nobody may make rooms there.", NO_ROOMS), 404: noService},
                    *_BAD_ROOM,
                )
            ),
            parameters=[KEY],
            requestBody=_json("CreateRoom", _ROOM),
        ),
    }


def _one() -> Part:
    details = ok(schema("Room"), Room={**_ROOM, "participants": [{"user": _ALICE, "role": "owner"}]})
    return {
        "get": operation(
            TAG, "getRoom", "A room", shown({**details, 403: _forbidden(), 404: _ABSENT}, _BAD_ID)
        ),
        "put": operation(
            TAG,
            "createRoomWithId",
            "Make a room of this id",
            answersTo(
                {
                    **_made(),
                    403: said("It is there already, or nobody may make it.", "Room already exists", NO_ROOMS),
                    404: _ABSENT,
                },
                *_BAD_ID,
                *_BAD_ROOM,
            ),
            requestBody=_json("CreateRoom", _ROOM),
        ),
    }


def _config() -> Part:
    changed = answersTo({**NOTHING, 403: _forbidden(NO_CONFIG), 404: _ABSENT}, *_BAD_ID, *_BAD_ROOM)
    return {
        "put": operation(
            TAG, "configureRoom", "Change name and subject", changed, requestBody=_json("CreateRoom", _ROOM)
        )
    }


def _users() -> Part:
    added = answersTo(
        {**NOTHING, 403: _forbidden(NO_AFFILIATIONS), 404: _ABSENT},
        *_BAD_ID,
        "Missing JID",
        "Invalid user JID: @",
    )
    return {
        "post": operation(
            TAG,
            "addUser",
            "Add a user",
            once(added),
            parameters=[KEY],
            requestBody=_json("AddUser", {"user": _RABBIT}),
        )
    }


def _user() -> Part:
    removed = responses(
        {**NOTHING, 403: _forbidden(NO_AFFILIATIONS), 404: _ABSENT},
        (*_BAD_ID, "Missing JID", "Invalid user JID: @"),
    )
    user = parameter("path", "user", "Whom.", schema("JID"), example=_RABBIT)
    summary = "Remove a user; members may remove themselves"
    return {"delete": operation(TAG, "removeUser", summary, removed, parameters=[user])}


def _messages() -> Part:
    sent = answersTo(
        {**ok(schema("Id"), Sent={"id": SAID["id"]}), 403: _forbidden(), 404: _ABSENT},
        *_BAD_ID,
        "Invalid message body",
        "Invalid chat marker",
        "No valid message elements",
    )
    found = ok({"type": "array", "items": schema("RecvRoomMessage")}, Messages=[_JOINED, SAID])
    most = limit("The most messages to bring.", DEFAULT_MESSAGES, maximum=MAX_MESSAGES)
    return {
        "get": operation(
            TAG,
            "getRoomMessages",
            "The newest messages, the newest last",
            shown({**found, 403: _forbidden(), 404: _ABSENT, 501: NO_ARCHIVE}, (*_BAD_ID, *HISTORY)),
            parameters=[most, BEFORE],
        ),
        "post": operation(
            TAG,
            "sendRoomMessage",
            "Send a message",
            once(sent),
            parameters=[KEY],
            requestBody=_json("SendRoomMessage", {"body": "Hi all!", "markable": True}),
        ),
    }


def paths() -> dict[str, Part]:
    """
    The paths of rooms.
    """
    room = parameter("path", "id", "The room's id, or its address.", TEXT, example=_ID)
    within = {"": _one(), "/config": _config(), "/users": _users(), "/users/{user}": _user()}
    within["/messages"] = _messages()
    inRoom = {f"/api/rooms/{{id}}{path}": {"parameters": [room], **item} for path, item in within.items()}
    return {"/api/rooms": _all(), **inRoom}
