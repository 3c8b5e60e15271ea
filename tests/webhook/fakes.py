"""
What the tests of webhook/ stand on: stanzas by hand, and a caller whose answers the test gives.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs
from twisted.internet.defer import Deferred
from twisted.web.http_headers import Headers
from twisted.words.xish.domish import Element

from restbridge.stanzas.xml import parseDocument
from restbridge.webhook.post import Response

DOMAIN = "bridge.localhost"
CHAT = (
    f"<message type='chat' from='romeo@example.net/r' to='bot@{DOMAIN}' id='m1'><body>hello</body></message>"
)
PING = (
    f"<iq type='get' from='romeo@example.net/r' to='bot@{DOMAIN}' id='i1'><ping xmlns='urn:xmpp:ping'/></iq>"
)


def stanza(xml: str) -> Element:
    """
    The stanza that C{xml} writes.
    """
    return parseDocument(xml.encode())


def response(
    status: int = 202,
    body: str | bytes = b"",
    mediaType: str | None = None,
    headers: Mapping[str, str] | None = None,
    phrase: str = "OK",
) -> Response:
    """
    An answer of a receiver.
    """
    return Response(
        status=status,
        phrase=phrase,
        mediaType=mediaType,
        body=body.encode() if isinstance(body, str) else body,
        headers=Headers({name: [value] for name, value in (headers or {}).items()}),
    )


@attrs.frozen(kw_only=True)
class Called:
    """
    A call that was made, and the Deferred of its answer.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    timeout: float
    answer: Deferred[Response] = attrs.field(factory=Deferred)


class FakeCaller:
    """
    A L{restbridge.webhook.receiver.Caller}.

    @ivar calls: those that were made.
    @ivar answers: what the next ones are answered with, at once; when none are left, calls wait.
    """

    def __init__(self, *answers: Response | Exception) -> None:
        self.calls: list[Called] = []
        self.answers = list(answers)

    def finish(self) -> None:
        """
        Answer all that wait, and those that come of it: what is left waiting would end with the garbage.
        """
        for called in self.calls:
            if not called.answer.called:
                called.answer.callback(response())

    async def call(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, timeout: float
    ) -> Response:
        called = Called(method=method, url=url, headers=headers, body=body, timeout=timeout)
        self.calls.append(called)
        if not self.answers:
            return await called.answer
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer
