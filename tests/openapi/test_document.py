"""
L{restbridge.openapi.document}: the description says what is true.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import msgspec
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from werkzeug.routing import Map

from restbridge.clientapi.api import ClientAPI
from restbridge.config import HTTP, Configuration
from restbridge.openapi.document import document
from restbridge.openapi.parts import Part
from restbridge.rest.api import RestAPI
from restbridge.rest.batch import isBatch, split
from restbridge.stanzas.kinds import KINDS
from restbridge.stanzas.mapping import fromJSON, toJSON
from restbridge.stanzas.media import FORM, JSON, decode
from restbridge.tap import assemble
from tests.stanzas.strategies import stanzas
from tests.web.client import Client

DOCUMENT: Part = msgspec.json.decode(msgspec.json.encode(document()))
METHODS = ("get", "put", "post", "delete")


def operations() -> Iterator[tuple[str, str, Part]]:
    """
    The calls that are described: path, method, operation.
    """
    for path, item in DOCUMENT["paths"].items():
        for method in METHODS:
            if method in item:
                yield path, method.upper(), item[method]


def resolved(part: Part) -> Part:
    """
    What a reference points at.
    """
    for step in part.get("$ref", "").split("/")[1:]:
        part = (DOCUMENT if step == "components" else part)[step]
    return part


def contents() -> Iterator[tuple[str, Part]]:
    """
    All that is sent and answered: media type, and how it looks.
    """
    for _, _, operation in operations():
        yield from operation.get("requestBody", {}).get("content", {}).items()
        for response in operation["responses"].values():
            yield from resolved(response).get("content", {}).items()


def examples(content: Part) -> list[Any]:
    """
    The examples of a content.
    """
    one = [content["example"]] if "example" in content else []
    return one + [each["value"] for each in content.get("examples", {}).values()]


def validator(schema: Part) -> Draft202012Validator:
    """
    A validator that finds the schemas of the document.
    """
    return Draft202012Validator({**schema, "components": DOCUMENT["components"]})


STANZA = validator({"$ref": "#/components/schemas/Stanza"})
ANSWER = validator({"$ref": "#/components/schemas/Answer"})


class DocumentTests(SynchronousTestCase):
    def test_valid(self) -> None:
        """
        It is OpenAPI 3.1.
        """
        self.assertEqual(DOCUMENT["openapi"], "3.1.0")
        self.assertEqual(list(OpenAPIV31SpecValidator(DOCUMENT).iter_errors()), [])

    def test_names(self) -> None:
        """
        Each operation has a name of its own, by which programs call it.
        """
        names = [operation["operationId"] for _, _, operation in operations()]
        self.assertEqual(sorted(names), sorted(set(names)))

    def test_nothingIdle(self) -> None:
        """
        All that the document keeps is referred to.
        """
        written = msgspec.json.encode(DOCUMENT).decode()
        for kind in ("schemas", "responses"):
            for name in DOCUMENT["components"][kind]:
                self.assertIn(f'"#/components/{kind}/{name}"', written)

    def test_examples(self) -> None:
        """
        Every example is of the form that it is an example of.
        """
        found = [(content, example) for _, content in contents() for example in examples(content)]
        self.assertTrue(found)
        for content, example in found:
            validator(content["schema"]).validate(example)

    def test_stanzasToSend(self) -> None:
        """
        C{/rest} takes every example of what is sent there, and knows each of its keys.
        """
        paths = {path for path, _, operation in operations() if "requestBody" in operation}
        for path in [path for path in paths if path.startswith("/rest")]:
            for mediaType, content in DOCUMENT["paths"][path]["post"]["requestBody"]["content"].items():
                for example in examples(content):
                    for form, stanza in _each(mediaType, _written(mediaType, example)):
                        self.assertEqual(decode(form, stanza).ignored, (), example)

    def test_payloads(self) -> None:
        """
        So it does every example of a payload, and the schema allows it.
        """
        for kind in KINDS.values():
            for payload in kind.payloads:
                stanza = {"kind": kind.name, payload.key: payload.example}
                STANZA.validate(stanza)
                self.assertEqual(fromJSON(stanza).ignored, ())

    def test_refused(self) -> None:
        """
        The schema refuses what the declarations refuse.
        """
        for wrong in (
            {"kind": "message", "body": 5},
            {"kind": "message", "state": "sleeping"},
            {"kind": "presence", "priority": 1.5},
            {"kind": "presence", "priority": 10**18},
            {"kind": "iq", "disco": 5},
            {"kind": "iq", "disco": {"features": "urn:xmpp:ping"}},
            {"kind": "iq", "archive": {"ids": [1]}},
            {"kind": "iq", "error": {"condition": "bad-luck"}},
            {"kind": "message", "forwarded": {"message": {"body": True}}},
            {"kind": "gossip"},
        ):
            self.assertFalse(STANZA.is_valid(wrong), wrong)
            self.assertRaises(ValueError, fromJSON, wrong)


class ShownTests(SynchronousTestCase):
    @given(st.sampled_from(list(KINDS.values())).flatmap(stanzas))
    def test_shown(self, json: dict[str, Any]) -> None:
        """
        Whatever a stanza shows, the schema of answers allows.
        """
        ANSWER.validate(toJSON(fromJSON(json).stanza))


class RouteTests(SynchronousTestCase):
    """
    What is described is what is served.
    """

    def test_rest(self) -> None:
        """
        C{/rest}.
        """
        served = {
            (method, rule.rule)
            for rule in RestAPI.app.url_map.iter_rules()
            for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        }
        described = _described("/rest", RestAPI.app.url_map)
        self.assertEqual({(method, rule) for method, rules in described.items() for rule in rules}, served)

    def test_api(self) -> None:
        """
        C{/api}: each path of a resource is described, and each method at the path where it makes sense.
        """
        client = Client(assemble(Configuration(http=HTTP()), MemoryReactorClock()).site)
        rules = {rule.rule for rule in ClientAPI.app.url_map.iter_rules()}
        served = defaultdict[str, set[str]](set)
        for rule in rules:
            allowed = client.request("PATCH", re.sub("<[^>]*>", "x", rule)).headers["Allow"]
            served[_resource(rule)] |= set(allowed.split(", ")) - {"OPTIONS"}
        described = _described("/api", ClientAPI.app.url_map)
        self.assertEqual(set().union(*described.values()), rules)
        methods = defaultdict[str, set[str]](set)
        for method, found in described.items():
            for rule in found:
                methods[_resource(rule)].add(method)
        self.assertEqual(methods, served)

    def test_health(self) -> None:
        """
        What needs no credentials says so.
        """
        free = {path for path, _, operation in operations() if operation.get("security") == []}
        self.assertEqual(free, {"/healthz", "/readyz"})
        client = Client(assemble(Configuration(http=HTTP()), MemoryReactorClock()).site)
        for path in free:
            self.assertEqual(client.request("GET", path).status, 200)


def _described(prefix: str, routes: Map) -> dict[str, set[str]]:
    """
    The routes that the described paths lead to, by method.
    """
    adapter = routes.bind("localhost")
    found = defaultdict[str, set[str]](set)
    for path, method, _ in operations():
        if path.startswith(prefix):
            rule, _ = adapter.match(re.sub("{[^}]*}", "x", path), method, return_rule=True)
            found[method].add(rule.rule)
    return found


def _resource(rule: str) -> str:
    """
    A resource has a path, and one with a name after it.
    """
    return re.sub("/<[^/]*>$", "", rule)


def _each(mediaType: str, body: bytes) -> list[tuple[str, bytes]]:
    """
    The stanzas of a request, each with its media type.
    """
    if not isBatch(mediaType, body):
        return [(mediaType, body)]
    return [(JSON, stanza) for stanza in split(mediaType, body)]


def _written(mediaType: str, example: Any) -> bytes:
    if mediaType == JSON:
        return msgspec.json.encode(example)
    return urlencode(example).encode() if mediaType == FORM else example.encode()
