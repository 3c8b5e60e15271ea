"""
The webhook exchanges that were recorded with mod_rest, and what of them is promised on another server.

A recording holds a user's stanza, the callback that it became, the answer that the callback got, and what
came back to the user. Of these, three things differ here:

  - the components' names;
  - a refusal: a status past 2xx becomes a stanza error for messages too, with the error that its body
    holds, or else with the status' own and the text of the body, if it is plain text;
  - what a component can't have: see L{Exchange.bounced}.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element, SubElement, fromstring

import attrs

from tests.live.client import CLIENT, STANZAS, kind
from tests.live.receiver import JSON, XML, Reply

RECORDINGS = Path(__file__).parents[1] / "conformance"

DOMAINS = {
    "restmod.localhost": "bridge.localhost",
    "restxml.localhost": "bridge2.localhost",
    "restprobe.localhost": "probe.localhost",
}
"""The recorded components, and those of L{tests.live.servers} that stand for them."""


@attrs.frozen(kw_only=True)
class Exchange:
    """
    A recorded exchange.

    @ivar recorded: what came back to the user then.
    """

    name: str
    component: str
    stanza: Element
    sent: str
    called: dict[str, Any]
    reply: Reply
    recorded: Element | None

    @property
    def repliesTo(self) -> bool:
        """
        Whether the stanza takes a reply at all.
        """
        return self.stanza.get("type") not in ("error", "result")

    @property
    def expected(self) -> Element | None:
        """
        What comes back to the user.
        """
        refused = not 200 <= self.reply.status < 300
        return self._error() if refused and self.repliesTo else self.recorded

    @property
    def bounced(self) -> bool:
        """
        Whether the server hands the reply back to the component: it takes no group chat for a user's bare
        address. mod_rest, inside the server, got past that.
        """
        reply = self.recorded
        groupChat = reply is not None and reply.get("type") == "groupchat"
        return groupChat and reply is not None and "/" not in reply.attrib["to"]

    def isCalledBy(self, body: bytes) -> bool:
        """
        Whether the body of a call holds the exchange's stanza.
        """
        return _identity(body) == _identity(self.called["body"].encode())

    def _error(self) -> Element:
        """
        The stanza error of a refusal.
        """
        error = Element(
            CLIENT + kind(self.stanza),
            {
                "type": "error",
                "from": self.stanza.attrib["to"],
                "to": self.called["from"],
                **({"id": self.stanza.attrib["id"]} if "id" in self.stanza.attrib else {}),
            },
        )
        errorType, condition, text = self._given() or self._standing()
        child = SubElement(error, f"{CLIENT}error", {"type": errorType})
        SubElement(child, STANZAS + condition)
        SubElement(child, f"{STANZAS}text").text = text
        return error

    def _given(self) -> tuple[str, str, str] | None:
        """
        The error in the answer's body, if that is a stanza of the same kind.
        """
        body = self.reply.body
        if self.reply.type == JSON:
            given = json.loads(body)
            if given.get("kind") == kind(self.stanza) and "error" in given:
                return given["error"]["type"], given["error"]["condition"], given["error"]["text"]
        if self.reply.type == XML:
            stanza = fromstring(body)
            error = stanza.find("error")
            if stanza.tag == kind(self.stanza) and error is not None:
                return error.attrib["type"], error[0].tag.removeprefix(STANZAS), error.findtext("*[2]") or ""
        return None

    def _standing(self) -> tuple[str, str, str]:
        """
        The error that the answer's status stands for.
        """
        status = self.reply.status
        errorType, condition = json.loads(
            (RECORDINGS / "mod_rest-http-status-to-stanza-error.json").read_text()
        )[str(status)]
        plain = str(self.reply.body) if self.reply.type == "text/plain" else ""
        return errorType, condition, plain or f"{status} {HTTPStatus(status).phrase}"


def exchanges() -> list[Exchange]:
    """
    All recorded exchanges, with the components renamed.
    """
    return [_exchange(json.loads(line)) for line in _renamed("mod_rest-webhooks.jsonl").splitlines()]


def probes() -> list[dict[str, Any]]:
    """
    The OPTIONS requests that mod_rest made at its start.
    """
    found: list[dict[str, Any]] = json.loads(_renamed("mod_rest-probes.json"))
    return found


def _renamed(name: str) -> str:
    text = (RECORDINGS / name).read_text()
    for theirs, ours in DOMAINS.items():
        text = text.replace(theirs, ours)
    return text


def _exchange(recorded: dict[str, Any]) -> Exchange:
    reply = recorded["webhook_reply"]
    back = [fromstring(stanza) for stanza in recorded["stanzas_back"]]
    call = recorded["callbacks"][0]
    return Exchange(
        name=recorded["name"],
        component=recorded["component"],
        stanza=fromstring(_asClient(recorded["stanza"])),
        sent=recorded["stanza"],
        called={**call, "from": _sender(call)},
        reply=Reply(reply["status"], reply.get("type"), reply.get("body", "")),
        recorded=back[0] if back else None,
    )


def _sender(call: dict[str, Any]) -> str:
    """
    From whom the stanza was when it came to the callback.
    """
    body = call["body"]
    return str(json.loads(body)["from"] if body.startswith("{") else fromstring(body).attrib["from"])


def _identity(body: bytes) -> tuple[str | None, ...]:
    """
    Kind, type and id of the stanza that a callback is called with.
    """
    if body.startswith(b"{"):
        stanza = json.loads(body)
        return stanza["kind"], stanza.get("type"), stanza.get("id")
    element = fromstring(body)
    return element.tag, element.get("type"), element.get("id")


def _asClient(stanza: str) -> str:
    """
    With the namespace that the stream of a client gives it.
    """
    name, rest = stanza.split(" ", 1)
    return f"{name} xmlns='jabber:client' {rest}"
