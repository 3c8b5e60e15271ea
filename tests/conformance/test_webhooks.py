"""
The recorded webhook exchanges of mod_rest, replayed without a socket: a user's stanza, the callback that
goes out for it, its answer, and the stanzas that go back.

Ids that were made up, the order of attributes and siblings, and the wording of errors don't count. By
design (docs/compatibility.md) an answer of 4xx or 5xx is always an error here: mod_rest takes one with a
text for a message, and loses an error that is given in the body.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, TypeAlias

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.words.xish.domish import Element

from restbridge.config import Callback
from restbridge.stanzas.errors import NS_STANZAS
from restbridge.stanzas.media import JSON, TEXT
from restbridge.stanzas.xml import NS_CLIENT, NS_XML, parseDocument
from restbridge.webhook.callbacks import Callbacks
from restbridge.webhook.receiver import Receiver
from tests.conformance.agree import HERE
from tests.webhook.fakes import Called, FakeCaller, response

BASE = "http://receiver.example"
SENDER = "alice@localhost"

Tree: TypeAlias = tuple[str, str, tuple[tuple[str, str], ...], str, tuple[Any, ...]]

ERRORS: dict[str, list[str]] = json.loads((HERE / "mod_rest-http-status-to-stanza-error.json").read_text())
"""Status -> type and condition, as recorded."""

BY_DESIGN = {
    *(f"chat {status} restmod" for status in (400, 401, 402, 403, 405, 410, 424, 451, 501)),
    *("chat 503-json restmod", "chat-noid 404 restmod", "chat 404 restxml", "hostmsg 503 restmod"),
    *(f"{kind} {status} restmod" for kind in ("normal", "groupchat") for status in (404, 503)),
}
"""The recordings that an answer of 4xx or 5xx with a text or an error makes differ, and no others."""


@attrs.frozen(kw_only=True)
class Exchange:
    """
    A recorded exchange.
    """

    name: str
    component: str
    stanza: str
    webhook_reply: dict[str, Any]
    callbacks: list[dict[str, Any]]
    stanzas_back: list[str]

    def received(self) -> Element:
        """
        The stanza as the component gets it: with its sender, the language of the stream, and what the
        server adds to presence.
        """
        stanza = parseDocument(self.stanza.encode())
        subscribes = stanza.getAttribute("type") == "subscribe"
        stanza["from"] = SENDER if subscribes else f"{SENDER}/rec"
        stanza.attributes.setdefault((NS_XML, "lang"), "en")
        if stanza.name == "presence" and not stanza.hasAttribute("type"):
            stanza.addElement(("vcard-temp:x:update", "x")).addElement("photo")
        return stanza

    def refused(self) -> Tree | None:
        """
        The error that goes back by design; L{None} where the recording is right.
        """
        stanza, answer = self.received(), self.webhook_reply
        if answer["status"] < 400 or stanza.getAttribute("type") in ("error", "result"):
            return None
        type_, condition = ERRORS[str(answer["status"])]
        given = json.loads(answer["body"]) if answer.get("type") == JSON else {}
        if given.get("kind") == stanza.name and "error" in given:
            type_, condition = given["error"]["type"], given["error"]["condition"]
        error = Element((NS_CLIENT, stanza.name))
        error.attributes = {"type": "error", "from": stanza["to"], "to": stanza["from"]}
        if stanza.hasAttribute("id"):
            error["id"] = stanza["id"]
        details = error.addElement("error")
        details["type"] = type_
        details.addElement((NS_STANZAS, condition))
        return tree(error, self.ids())

    def ids(self) -> str:
        """
        A text with the ids in it that were not made up.
        """
        return f"{self.stanza} {self.webhook_reply.get('body')}"


def exchanges() -> Iterator[Exchange]:
    """
    All of them.
    """
    for line in (HERE / "mod_rest-webhooks.jsonl").read_text().splitlines():
        yield Exchange(**json.loads(line))


def tree(element: Element, ids: str) -> Tree:
    """
    What counts of an element.
    """
    attributes = {str(key): value for key, value in element.attributes.items() if key != "id" or value in ids}
    children = [
        tree(child, ids) for child in element.elements() if (child.uri, child.name) != (NS_STANZAS, "text")
    ]
    text = "".join(child for child in element.children if isinstance(child, str))
    return (
        element.uri,
        element.name,
        tuple(sorted(attributes.items())),
        text,
        tuple(sorted(children, key=repr)),
    )


def document(mediaType: str, body: str | bytes) -> Any:
    """
    What counts of the body of a callback.
    """
    if mediaType == JSON:
        return json.loads(body)
    return tree(parseDocument(body.encode() if isinstance(body, str) else body), str(body))


def receiver(component: str, caller: FakeCaller) -> Receiver:
    """
    The callback of a recorded component, after its probe.
    """
    path, mediaType, accept = {
        "restmod.localhost": ("/stanzas", JSON, ""),
        "restxml.localhost": ("/t/{kind}/{type}?to={to}&from={from}", None, ""),
        "restprobe.localhost": ("/probe", None, JSON),
    }[component]
    made = Receiver(
        settings=Callback(url=BASE + path, format=mediaType), domain=component, caller=caller, clock=Clock()
    )
    caller.answers.append(response(200, headers={"Accept": accept}))
    probing = Deferred.fromCoroutine(made.probe())
    assert probing.called
    return made


class WebhookTests(SynchronousTestCase):
    """
    A callback that was written for mod_rest serves restbridge.
    """

    def replay(self, exchange: Exchange) -> tuple[Called, list[Element]]:
        """
        @return: the call that was made, and the stanzas that went back.
        """
        caller, sent = FakeCaller(), list[Element]()
        callbacks = Callbacks(receivers=[receiver(exchange.component, caller)], send=sent.append)
        answer = exchange.webhook_reply
        caller.answers.append(response(answer["status"], answer.get("body", ""), answer.get("type")))
        self.assertTrue(callbacks.take(exchange.received()))
        _, call = caller.calls
        return call, sent

    def test_callbacks(self) -> None:
        """
        Each stanza is POSTed as recorded: the URL, the media type, the language and the document.
        """
        for exchange in exchanges():
            call, _ = self.replay(exchange)
            for recorded in exchange.callbacks:
                headers = recorded["headers"]
                mediaType = headers["content-type"]
                self.assertEqual((call.method, call.url), (recorded["method"], BASE + recorded["uri"]))
                self.assertEqual(call.headers["Content-Type"], mediaType)
                self.assertEqual(call.headers.get("Content-Language"), headers.get("content-language"))
                self.assertTrue(call.headers["Accept"].startswith(headers["accept"]))
                self.assertEqual(document(mediaType, call.body), document(mediaType, recorded["body"]))

    def test_replies(self) -> None:
        """
        The stanzas that go back are those recorded, or by design an error.
        """
        differing = set()
        for exchange in exchanges():
            _, sent = self.replay(exchange)
            ours = [tree(reply, exchange.ids()) for reply in sent]
            recorded = [tree(parseDocument(back.encode()), exchange.ids()) for back in exchange.stanzas_back]
            refused = exchange.refused()
            self.assertEqual(ours, recorded if refused is None else [refused], exchange.name)
            if ours != recorded:
                differing.add(exchange.name)
        self.assertEqual(differing, BY_DESIGN)

    def test_texts(self) -> None:
        """
        A text that comes with a status of an error is the error's text.
        """
        for exchange in exchanges():
            answer = exchange.webhook_reply
            if exchange.refused() is not None and answer.get("type") == TEXT:
                _, (reply,) = self.replay(exchange)
                self.assertEqual(str(reply.error.text), answer["body"])

    def test_given(self) -> None:
        """
        An error given in the body goes back with its own words.
        """
        (given,) = (exchange for exchange in exchanges() if exchange.name == "chat 503-json restmod")
        _, (reply,) = self.replay(given)
        self.assertEqual(str(reply.error.text), "later")

    def test_probes(self) -> None:
        """
        The probes that go out at the start are those recorded.
        """
        recorded = json.loads((HERE / "mod_rest-probes.json").read_text())
        caller = FakeCaller()
        for component in ("restmod.localhost", "restprobe.localhost", "restxml.localhost"):
            receiver(component, caller)
        expected = [(probe["method"], BASE + probe["uri"], probe["body"].encode()) for probe in recorded]
        self.assertEqual([(call.method, call.url, call.body) for call in caller.calls], expected)
