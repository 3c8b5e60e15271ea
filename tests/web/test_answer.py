"""
L{restbridge.web.answer}
"""

from __future__ import annotations

import json
from http import HTTPStatus

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from restbridge.stanzas.xml import parseDocument
from restbridge.web.answer import NS_STREAM_ERRORS, Refusal, notFound, refusalAnswer, unavailable

REFUSAL = Refusal(422, "modify", "bad-request", "<b> & 'c'", {"key": "body"}, (("Retry-After", "1"),))


class RefusalAnswerTests(SynchronousTestCase):
    def test_html(self) -> None:
        """
        A browser gets a page in which nothing of the text is markup.
        """
        for accept in ("", "*/*", "text/html,application/xhtml+xml"):
            answer = refusalAnswer(REFUSAL, accept)
            self.assertEqual(answer.mediaType, "text/html; charset=utf-8")
            # Python 3.13 has another name for it.
            title = b"<h1>422 %s</h1>" % HTTPStatus(422).phrase.encode()
            self.assertIn(title + b"<p>&lt;b&gt; &amp; &#x27;c&#x27;</p>", answer.body)

    def test_json(self) -> None:
        """
        A program gets mod_rest's document.
        """
        answer = refusalAnswer(REFUSAL, "application/json")
        self.assertEqual(answer.mediaType, "application/json")
        error = {
            "type": "modify",
            "condition": "bad-request",
            "text": "<b> & 'c'",
            "code": 422,
            "source": "restbridge",
            "context": {"key": "body"},
        }
        self.assertEqual(json.loads(answer.body), {"type": "error", "code": 422, "error": error})

    def test_jsonWithoutCondition(self) -> None:
        """
        Where there is only a status, the document holds nothing else.
        """
        answer = refusalAnswer(Refusal(404), "application/json")
        self.assertEqual(json.loads(answer.body), {"type": "error", "code": 404})

    def test_xml(self) -> None:
        """
        An XMPP program gets a stream error.
        """
        answer = refusalAnswer(REFUSAL, "application/xmpp+xml")
        self.assertEqual(answer.mediaType, "application/xmpp+xml")
        condition, text = parseDocument(answer.body).elements()
        self.assertEqual((condition.uri, condition.name), (NS_STREAM_ERRORS, "bad-request"))
        self.assertEqual(str(text), "<b> & 'c'")

    def test_xmlWithoutCondition(self) -> None:
        """
        An error always has a condition (RFC 6120, section 4.9.2).
        """
        (condition,) = parseDocument(refusalAnswer(Refusal(404), "application/xmpp+xml").body).elements()
        self.assertEqual(condition.name, "undefined-condition")

    def test_headers(self) -> None:
        """
        Status and headers stay, whatever the form.
        """
        for accept in ("", "application/json", "application/xmpp+xml"):
            answer = refusalAnswer(REFUSAL, accept)
            self.assertEqual((answer.status, answer.headers), (422, (("Retry-After", "1"),)))

    @given(
        st.text(st.characters(exclude_categories=["Cs"])),
        st.sampled_from(["", "application/json", "application/xmpp+xml"]),
    )
    def test_anyText(self, text: str, accept: str) -> None:
        """
        Whatever the caller sent and the text repeats, it can be written.
        """
        self.assertEqual(refusalAnswer(notFound("GET", text), accept).status, 404)

    def test_unavailable(self) -> None:
        """
        What is down may come back: the caller is told to try again.
        """
        refusal = unavailable("restarting")
        self.assertEqual((refusal.status, refusal.headers), (503, (("Retry-After", "1"),)))
