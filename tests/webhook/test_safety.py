"""
L{restbridge.webhook.receiver} over L{restbridge.webhook.post}: what a stanza can't do to its call.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from restbridge.config import Callback, Secret
from restbridge.stanzas.media import JSON, XML
from restbridge.stanzas.xml import NS_XML
from restbridge.webhook.post import Response
from restbridge.webhook.receiver import Receiver
from tests.webhook.fakes import CHAT, DOMAIN, stanza
from tests.webhook.wire import OK, PosterTestCase

BREAKS = (
    *("", "\r\nX-Evil: 1", "\nX-Evil: 1", "\r\n\r\nGET / HTTP/1.1\r\n\r\n", "\0", "\x85"),
    # The last becomes CR and LF where characters are cut down to a byte.
    *("\u2028", "\u560d\u560a"),
)
HEADERS = {
    *(b"host", b"user-agent", b"accept", b"accept-encoding", b"content-type", b"content-length", b"x-own"),
    *(b"content-language", b"webhook-id", b"webhook-timestamp", b"webhook-signature"),
}


class HeaderTests(PosterTestCase):
    def deliver(self, values: list[str], mediaType: str) -> Deferred[Response]:
        settings = Callback(
            url="http://h/{kind}/{type}?to={to}&from={from}",
            format=mediaType,
            headers={"x-own": Secret("own")},
            secret=(Secret("whsec_" + "A" * 32),),
        )
        receiver = Receiver(settings=settings, domain=DOMAIN, caller=self.poster, clock=self.reactor)
        hostile = stanza(CHAT)
        for name, value in zip(("from", "id", "type", (NS_XML, "lang")), values, strict=True):
            hostile.attributes[name] = value
        return Deferred.fromCoroutine(receiver.call(hostile))

    @given(
        st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=20), min_size=4, max_size=4),
        st.sampled_from(BREAKS),
        st.sampled_from([JSON, XML]),
    )
    def test_anything(self, values: list[str], breaks: str, mediaType: str) -> None:
        """
        Whatever its attributes hold, the call is one request with the headers that a call has, or none.
        """
        self.setUp()
        call = self.deliver([value + breaks for value in values], mediaType)
        if not self.reactor.tcpClients:
            # It could not be written as XML or JSON at all.
            self.failureResultOf(call)
            return
        connection = self.accept()
        head, _, body = connection.read().partition(b"\r\n\r\n")
        self.assertNotRegex(head.replace(b"\r\n", b""), rb"[^ -~]")
        _, *lines = head.split(b"\r\n")
        headers = dict(line.lower().split(b": ", 1) for line in lines)
        self.assertLessEqual(set(headers), HEADERS)
        self.assertEqual((len(headers), headers[b"host"], headers[b"x-own"]), (len(lines), b"h", b"own"))
        self.assertEqual(int(headers[b"content-length"]), len(body))
        connection.answer(OK)
        self.successResultOf(call)
