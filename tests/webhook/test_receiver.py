"""
L{restbridge.webhook.receiver}
"""

from __future__ import annotations

import json
from base64 import b64encode
from itertools import product
from typing import Any

from standardwebhooks import Webhook
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionRefusedError as Refused
from twisted.internet.task import Clock

from restbridge.config import Callback, Secret
from restbridge.stanzas.media import JSON, XML
from restbridge.webhook.post import Response
from restbridge.webhook.receiver import AT_ONCE, PROBE_AGAIN, USER_AGENT, WAITING, Busy, Receiver
from tests.web.client import LoggingTestCase
from tests.webhook.fakes import CHAT, DOMAIN, FakeCaller, response, stanza

URL = "https://app.example.com/{kind}/{type}"


class ReceiverTests(LoggingTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.clock = Clock()
        self.caller = FakeCaller()
        self.addCleanup(self.caller.finish)
        self.receiver = self.make()

    def make(self, url: str = URL, **settings: Any) -> Receiver:
        callback = Callback(url=url, **settings)
        return Receiver(settings=callback, domain=DOMAIN, caller=self.caller, clock=self.clock)

    def probe(self, *answers: Response | Exception) -> None:
        self.caller.answers.extend(answers)
        self.successResultOf(Deferred.fromCoroutine(self.receiver.probe()))

    def deliver(self, xml: str = CHAT) -> Deferred[Response]:
        return Deferred.fromCoroutine(self.receiver.call(stanza(xml)))

    def posted(self) -> str:
        """
        The media type of the last call.
        """
        self.assertEqual(self.caller.calls[-1].method, "POST")
        return self.caller.calls[-1].headers["Content-Type"]


class ProbeTests(ReceiverTests):
    def test_call(self) -> None:
        """
        The probe is mod_rest's: OPTIONS, of a stanza of the kind C{meta} from the domain to itself.
        """
        self.receiver = self.make("http://h/t/{kind}/{type}?to={to}&from={from}", timeout=7)
        self.probe(response(200))
        (call,) = self.caller.calls
        self.assertEqual((call.method, call.body, call.timeout), ("OPTIONS", b"", 7))
        self.assertEqual(call.url, f"http://h/t/meta/info?to={DOMAIN}&from={DOMAIN}")
        self.assertEqual(call.headers["User-Agent"], USER_AGENT)

    def test_prefers(self) -> None:
        """
        The media type that the answer's Accept names first is what the receiver gets.
        """
        for accept, expected in (
            (JSON, JSON),
            (XML, XML),
            (f"text/html, {JSON}, {XML}", JSON),
            ("", XML),
            ("*/*", XML),
            ("\xff", XML),
        ):
            self.receiver = self.make()
            self.probe(response(404 if expected == XML else 200, headers={"Accept": accept}))
            self.deliver()
            self.assertEqual(self.posted(), expected)

    def test_notUTF8(self) -> None:
        """
        An Accept header that isn't UTF-8 names nothing.
        """
        answer = response(200)
        answer.headers.addRawHeader(b"Accept", b"\xff\xfe, application/json")
        self.probe(answer)
        self.deliver()
        self.assertEqual(self.posted(), JSON)

    def test_configured(self) -> None:
        """
        A configured format stays, whatever the probe says, and needs no second one.
        """
        self.receiver = self.make(format=JSON)
        self.probe(response(200, headers={"Accept": XML}))
        self.deliver()
        self.assertEqual(self.posted(), JSON)

    def test_unreachable(self) -> None:
        """
        A receiver that doesn't answer, or fails, gets XML; the log says which one.
        """
        for answer in (Refused(), response(500, headers={"Accept": JSON})):
            self.receiver = self.make()
            self.probe(answer)
            self.deliver()
            self.assertEqual(self.posted(), XML)
        self.assertIn(URL, self.logged[0])

    def test_again(self) -> None:
        """
        After a while it is asked again, with the next stanza, and not before.
        """
        self.probe(Refused())
        self.deliver()
        self.clock.advance(PROBE_AGAIN - 0.1)
        self.deliver()
        self.assertEqual([call.method for call in self.caller.calls], ["OPTIONS", "POST", "POST"])
        self.clock.advance(0.1)
        self.caller.answers.append(response(200, headers={"Accept": JSON}))
        self.deliver()
        self.assertEqual(self.posted(), JSON)

    def test_stanzaWaits(self) -> None:
        """
        A stanza that comes while the probe is under way is sent in the form that the receiver asks for.
        """
        probe = Deferred.fromCoroutine(self.receiver.probe())
        delivery = self.deliver()
        self.assertEqual([call.method for call in self.caller.calls], ["OPTIONS"])
        self.caller.calls[0].answer.callback(response(200, headers={"Accept": JSON}))
        self.successResultOf(probe)
        self.assertEqual(self.posted(), JSON)
        self.caller.calls[1].answer.callback(response())
        self.successResultOf(delivery)


class CallTests(ReceiverTests):
    def test_call(self) -> None:
        """
        A stanza is POSTed to its URL, and what comes back is the answer.
        """
        self.receiver = self.make(format=JSON, timeout=7)
        delivery = self.deliver()
        (call,) = self.caller.calls
        self.assertEqual((call.method, call.timeout), ("POST", 7))
        self.assertEqual(call.url, "https://app.example.com/message/chat")
        self.assertEqual(json.loads(call.body)["body"], "hello")
        answer = response()
        call.answer.callback(answer)
        self.assertIs(self.successResultOf(delivery), answer)

    def test_headers(self) -> None:
        """
        The receiver learns who calls and what an answer may be; what is configured comes along.
        """
        self.receiver = self.make(format=XML, headers={"x-tenant": Secret("a")})
        self.deliver()
        (call,) = self.caller.calls
        expected = {
            "User-Agent": USER_AGENT,
            "Accept": f"{XML}, {JSON}, application/x-www-form-urlencoded, text/plain, application/cbor",
            "Content-Type": XML,
            "x-tenant": "a",
        }
        self.assertEqual(call.headers, expected)

    def test_language(self) -> None:
        """
        The stanza's language is said in Content-Language, if it can be one.
        """
        self.receiver = self.make(format=XML)
        for language, expected in (("de-CH", "de-CH"), ("", None), ("&#10;X: y", None), ("\u00fc", None)):
            self.deliver(CHAT.replace(" id=", f" xml:lang='{language}' id="))
            self.assertEqual(self.caller.calls[-1].headers.get("Content-Language"), expected)

    def test_signed(self) -> None:
        """
        With a secret, each call is signed, under an id of its own; with two, so that either verifies it.
        """
        secrets = [f"whsec_{b64encode(bytes([number]) * 24).decode()}" for number in (1, 2)]
        self.receiver = self.make(format=JSON, secret=tuple(map(Secret, secrets)))
        for _ in range(2):
            self.deliver()
        for call, secret in product(self.caller.calls, secrets):
            Webhook(secret).verify(call.body, dict(call.headers))
        first, second = (call.headers["webhook-id"] for call in self.caller.calls)
        self.assertNotEqual(first, second)
        self.assertNotIn(".", first + second)

    def test_webhookId(self) -> None:
        """
        A call that may be repeated says under which id, signed or not.
        """
        secret = f"whsec_{b64encode(bytes(24)).decode()}"
        for signing in (), (Secret(secret),):
            self.receiver = self.make(format=JSON, secret=signing)
            for _ in range(2):
                Deferred.fromCoroutine(self.receiver.call(stanza(CHAT), "msg_1"))
                self.assertEqual("msg_1", self.caller.calls[-1].headers["webhook-id"])
        Webhook(secret).verify(self.caller.calls[-1].body, dict(self.caller.calls[-1].headers))

    def test_busy(self) -> None:
        """
        Only so many calls are made at once, only so many stanzas wait, and the others are refused.
        """
        self.receiver = self.make(format=XML)
        deliveries = [self.deliver() for _ in range(AT_ONCE + WAITING)]
        self.assertEqual((len(self.caller.calls), self.receiver.waiting), (AT_ONCE, AT_ONCE + WAITING))
        self.failureResultOf(self.deliver(), Busy)
        self.caller.calls[0].answer.callback(response())
        self.successResultOf(deliveries[0])
        self.assertEqual(
            (len(self.caller.calls), self.receiver.waiting), (AT_ONCE + 1, AT_ONCE + WAITING - 1)
        )
        self.assertNoResult(self.deliver())

    def test_freed(self) -> None:
        """
        However a call ends, its place is free again.
        """
        self.receiver = self.make(format=XML)
        failed, cancelled = self.deliver(), self.deliver()
        self.caller.calls[0].answer.errback(Refused())
        self.failureResultOf(failed, Refused)
        cancelled.cancel()
        self.failureResultOf(cancelled, CancelledError)
        self.assertEqual(self.receiver.waiting, 0)
        for _ in range(AT_ONCE):
            self.deliver()
        self.assertEqual(len(self.caller.calls), 2 + AT_ONCE)
