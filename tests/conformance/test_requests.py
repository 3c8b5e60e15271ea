"""
The recorded requests to mod_rest's C{/rest/echo}, replayed without a socket: media types and mapping
alone, between them the least of addressing that an answer needs.
"""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase
from twisted.words.xish.domish import Element

from restbridge.stanzas import media
from restbridge.stanzas.jid import JID, InvalidJID
from restbridge.stanzas.mapping import MappingRefused
from tests.conformance.agree import SENDER, Answer, Case, agree, cases

LIMIT = 196608


class _Refused(Exception):
    def __init__(self, status: int, condition: str) -> None:
        super().__init__(condition)
        self.status = status
        self.condition = condition


def _address(stanza: Element) -> None:
    """
    The least that the echo does to a stanza: see L{restbridge.rest}.
    """
    if stanza.name not in ("message", "presence", "iq"):
        raise _Refused(422, "unsupported-stanza-type")
    try:
        if "to" in stanza.attributes:
            stanza["to"] = str(JID.parse(stanza["to"]))
    except InvalidJID:
        raise _Refused(422, "improper-addressing") from None
    if JID.parse(stanza.attributes.get("from", SENDER)).bare != SENDER:
        raise _Refused(403, "not-authorized")
    stanza["from"] = SENDER
    stanza.attributes.setdefault("id", "made-up")


def _answer(case: Case) -> Answer:
    accept, contentType = case.headers.get("Accept"), case.headers.get("Content-Type")
    body = (case.body or "").encode()
    try:
        if len(body) > LIMIT:
            raise _Refused(413, "resource-constraint")
        stanza = media.decode(contentType, body, asModRest=True).stanza
        _address(stanza)
    except media.UnknownMediaType:
        return _error(case, 415, "bad-format")
    except media.Unreadable:
        return _error(case, 400, "not-well-formed")
    except MappingRefused:
        return _error(case, 422, "bad-request")
    except _Refused as refused:
        return _error(case, refused.status, refused.condition)
    chosen = media.answerType(accept, contentType)
    return Answer(status=200, type=chosen, body=media.encode(chosen, stanza, asModRest=True).decode())


def _error(case: Case, status: int, condition: str) -> Answer:
    chosen = media.choose(case.headers.get("Accept"), None, media.ERRORS)
    body = {"type": "error", "code": status, "error": {"condition": condition}}
    return Answer(status=status, type=chosen, body=json.dumps(body))


class EchoTests(SynchronousTestCase):
    """
    What a client of mod_rest sends is understood as mod_rest understands it.
    """

    def test_recorded(self) -> None:
        """
        Every recorded request to the echo gets the recorded answer.
        """
        echoed = [case for case in cases() if case.path == "/rest/echo"]
        differing = {(case.group, case.name) for case in echoed if not agree(case, _answer(case))}
        self.assertEqual(differing, set())

    def test_kept(self) -> None:
        """
        A prefix for the namespace of stanzas changes nothing in what is sent, unlike in mod_rest.
        """
        body = b"<x:message xmlns:x='jabber:client'><x:body>hello</x:body></x:message>"
        stanza = media.decode(media.XML, body).stanza
        self.assertEqual(json.loads(media.encode(media.JSON, stanza)), {"kind": "message", "body": "hello"})
