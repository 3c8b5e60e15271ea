"""
L{restbridge.webhook.verdict}
"""

from __future__ import annotations

from email.utils import formatdate

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.error import ConnectionRefusedError as Refusal
from twisted.internet.error import DNSLookupError, NoRouteError
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import ResponseNeverReceived

from restbridge.stanzas.errors import errorOf
from restbridge.stanzas.media import TEXT
from restbridge.webhook.post import ResponseTooLarge
from restbridge.webhook.receiver import Busy
from restbridge.webhook.verdict import (
    LONGEST_WAIT,
    Delivered,
    Failed,
    Refused,
    Verdict,
    verdictOn,
    verdictOnFailure,
)
from tests.webhook.fakes import CHAT, response, stanza

NOW = 1_800_000_000.0


def verdict(status: int, **headers: str) -> Verdict:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return verdictOn(stanza(CHAT), response(status, headers=named), NOW)


def after(value: str) -> float | None:
    answer = verdict(429, Retry_After=value)
    assert isinstance(answer, Failed)
    return answer.after


class StatusTests(SynchronousTestCase):
    def test_delivered(self) -> None:
        """
        With any 2xx a message is delivered; a stanza in the body goes back.
        """
        for status in (200, 201, 202, 204, 299):
            self.assertIsInstance(verdict(status), Delivered, status)
        answer = verdictOn(stanza(CHAT), response(200, "hi", TEXT), NOW)
        assert isinstance(answer, Delivered) and answer.reply is not None
        self.assertEqual(("hi", "romeo@example.net/r"), (str(answer.reply.body), answer.reply["to"]))
        self.assertEqual(Delivered(None), verdict(202))

    def test_words(self) -> None:
        """
        What is kept of a receiver's words can be kept anywhere, and shown on a terminal.
        """
        for status in (410, 500):
            answer = verdictOn(
                stanza(CHAT), attrs.evolve(response(status), phrase="a\0\x1b[2J\x9b" + "x" * 999), NOW
            )
            assert isinstance(answer, Refused | Failed)
            self.assertTrue(answer.problem.startswith(f"{status} a\ufffd\ufffd[2J\ufffdxx"), answer.problem)
            self.assertEqual(200, len(answer.problem))
        broken = verdictOnFailure(stanza(CHAT), ValueError("a\0"))
        self.assertEqual(Failed("ValueError: a\ufffd"), broken)

    def test_failed(self) -> None:
        """
        What may be different later is no end of a message; only a gateway's answer can't be its fault.
        """
        for status in (100, 301, 302, 307, 408, 425, 429, 500, 501, 502, 503, 504, 599):
            answer = verdict(status)
            assert isinstance(answer, Failed), status
            self.assertEqual((None, status in (502, 503, 504)), (answer.after, answer.wholly), status)
            self.assertIn(str(status), answer.problem)

    def test_refused(self) -> None:
        """
        All other 4xx are the end: an error goes back, unless nothing may.
        """
        for status in (400, 401, 403, 404, 405, 409, 410, 413, 415, 422, 451, 499):
            answer = verdict(status)
            assert isinstance(answer, Refused) and answer.reply is not None, status
            self.assertEqual("error", answer.reply["type"])
        error = verdictOn(stanza(CHAT.replace("'chat'", "'error'")), response(410), NOW)
        self.assertEqual(Refused("410 OK", None), error)

    def test_long(self) -> None:
        """
        What a receiver says is kept in part.
        """
        answer = verdictOn(stanza(CHAT), response(500, phrase="x" * 100_000), NOW)
        assert isinstance(answer, Failed)
        self.assertEqual(200, len(answer.problem))


class RetryAfterTests(SynchronousTestCase):
    def test_asks(self) -> None:
        """
        Seconds, or a date, as RFC 9110 has it.
        """
        self.assertEqual(7.0, after("7"))
        self.assertEqual(0.0, after("0"))
        self.assertEqual(90.0, after(formatdate(NOW + 90, usegmt=True)))
        self.assertEqual(90.0, after(formatdate(NOW + 90)))

    def test_past(self) -> None:
        """
        What is over is no pause.
        """
        self.assertEqual(0.0, after(formatdate(NOW - 90, usegmt=True)))

    def test_long(self) -> None:
        """
        Nobody may ask for a pause without end.
        """
        for value in ("86400", "9" * 300, "9" * 400, formatdate(NOW + 1e6, usegmt=True)):
            self.assertIn(after(value), (LONGEST_WAIT, None), value)
        self.assertEqual(LONGEST_WAIT, after("86400"))

    def test_nonsense(self) -> None:
        """
        What can't be understood counts as nothing.
        """
        for value in (
            "",
            " ",
            "soon",
            "-5",
            "1.5",
            "1e3",
            "inf",
            "nan",
            "²",
            "Mon, 99 Foo 2026 25:61:61 GMT",
        ):
            self.assertIsNone(after(value), value)

    def test_others(self) -> None:
        """
        Only 429 and 503 ask for a pause of all calls.
        """
        for status in (408, 500, 502):
            answer = verdict(status, Retry_After="7")
            assert isinstance(answer, Failed)
            self.assertIsNone(answer.after, status)
        answer = verdict(503, Retry_After="7")
        assert isinstance(answer, Failed)
        self.assertEqual(7.0, answer.after)

    @given(st.text(st.characters(max_codepoint=255, blacklist_categories=["Cc"])))
    def test_any(self, value: str) -> None:
        """
        Whatever a receiver says, it is a pause within the limit, or none.
        """
        pause = after(value)
        self.assertTrue(pause is None or 0 <= pause <= LONGEST_WAIT)


class NetworkTests(SynchronousTestCase):
    def test_absent(self) -> None:
        """
        Where nobody is there, it can't be the message's fault.
        """
        for problem in (Refusal(), DNSLookupError(), NoRouteError(), ConnectTimeout()):
            answer = verdictOnFailure(stanza(CHAT), problem)
            assert isinstance(answer, Failed)
            self.assertEqual((True, None), (answer.wholly, answer.after), problem)

    def test_noAnswer(self) -> None:
        """
        Who gives no answer may give one to another message.
        """
        for problem in (DeferredTimeout(), ResponseNeverReceived([]), Busy("full"), ValueError("x" * 1000)):
            answer = verdictOnFailure(stanza(CHAT), problem)
            assert isinstance(answer, Failed)
            self.assertFalse(answer.wholly)
            self.assertLessEqual(len(answer.problem), 200)

    def test_tooLarge(self) -> None:
        """
        Who gives too long an answer has taken the message: it isn't sent again.
        """
        answer = verdictOnFailure(stanza(CHAT), ResponseTooLarge())
        assert isinstance(answer, Refused) and answer.reply is not None
        error = errorOf(answer.reply)
        assert error is not None
        self.assertEqual("undefined-condition", error.condition)
