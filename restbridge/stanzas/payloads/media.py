"""
Files: XEP-0066 (out of band data), XEP-0363 (HTTP upload).
"""

from __future__ import annotations

from typing import Any

from twisted.words.xish.domish import Element

from restbridge.stanzas.compounds import Each, Object, Payload
from restbridge.stanzas.fields import Attribute, ChildText, Content, Custom
from restbridge.stanzas.values import INTEGER, TEXT
from restbridge.stanzas.writing import Writing, childOf

_OOB = "jabber:x:oob"
_UPLOAD = "urn:xmpp:http:upload:0"

OOB = Payload(
    key="oob",
    field=Object(uri=_OOB, name="x", members={"url": ChildText(), "desc": ChildText()}),
    title="XEP-0066: Out of Band Data",
    example={"url": "https://media.example.com/cat.jpg", "desc": "A cat"},
    note="Shown together with its `oob_url`.",
)


def _writeURL(parent: Element, value: Any, context: Writing) -> None:
    childOf(childOf(parent, "x", _OOB), "url", text=context.text(value))


OOB_URL = Payload(
    key="oob_url",
    field=Custom(takesText=True, writer=_writeURL, schema=TEXT.schema),
    title="XEP-0066: Out of Band Data, the URL alone",
    example="https://media.example.com/cat.jpg",
    note="Shown together with its `oob`.",
)


def withoutSecondURL(json: dict[str, Any]) -> dict[str, Any]:
    """
    The JSON of a message without C{oob_url} where C{oob} holds the same.
    """
    oob = json.get("oob")
    if "oob_url" in json and isinstance(oob, dict) and oob.get("url") == json["oob_url"]:
        json = {key: value for key, value in json.items() if key != "oob_url"}
    return json


OOB_QUERY = Payload(
    key="oob",
    field=Object(
        uri="jabber:iq:oob",
        name="query",
        orTrue=True,
        members={"url": ChildText(), "desc": ChildText()},
    ),
    title="XEP-0066: Out of Band Data",
    example={"url": "https://media.example.com/cat.jpg", "desc": "A cat"},
)

UPLOAD_REQUEST = Payload(
    key="upload_request",
    field=Object(
        uri=_UPLOAD,
        name="request",
        members={
            "filename": Attribute(),
            "size": Attribute(value=INTEGER),
            "content-type": Attribute(),
        },
    ),
    title="XEP-0363: HTTP File Upload, request of a slot",
    example={"filename": "cat.jpg", "size": 23456, "content-type": "image/jpeg"},
)

UPLOAD_SLOT = Payload(
    key="upload_slot",
    field=Object(
        uri=_UPLOAD,
        name="slot",
        members={
            "put": Object(
                members={
                    "url": Attribute(),
                    "headers": Each(
                        name="header", item=Object(members={"name": Attribute(), "value": Content()})
                    ),
                }
            ),
            "get": Object(members={"url": Attribute()}),
        },
    ),
    title="XEP-0363: HTTP File Upload, the slot",
    example={
        "put": {
            "url": "https://upload.example.com/4a771ac1/cat.jpg",
            "headers": [{"name": "Authorization", "value": "Basic Base64String=="}],
        },
        "get": {"url": "https://download.example.com/4a771ac1/cat.jpg"},
    },
)
