"""
What the tests of the outbox stand on: a journal in memory, and calls that the test answers.
"""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.words.xish.domish import Element

from restbridge.config import Callback
from restbridge.store.journal import Journal
from restbridge.webhook import health
from restbridge.webhook.outbox import Outbox
from restbridge.webhook.post import Response
from tests.store.fakes import FakeStore
from tests.web.client import LoggingTestCase
from tests.webhook.fakes import DOMAIN, response, stanza

NOW = 1_800_000_000.0


@attrs.frozen(eq=False)
class Call:
    """
    A call that was made.
    """

    text: str
    webhook: str
    time: float
    answer: Deferred[Response] = attrs.field(factory=Deferred)


class OutboxTestCase(LoggingTestCase):
    """
    @ivar calls: all that were made; C{open} are those without an answer.
    @ivar replied: how often the journal has got a reply.
    """

    def setUp(self) -> None:
        super().setUp()
        self.patch(health, "uniform", lambda least, most: (least + most) / 2)
        self.clock = Clock()
        self.clock.advance(NOW)
        self.store = FakeStore()
        self.calls: list[Call] = []
        self.replied = 0
        self.start()

    def start(self, **settings: Any) -> None:
        """
        A bridge, on the same database as the one before, if there was one.
        """
        self.make(**settings)
        self.renew(release=True)
        self.outbox.start()

    def make(self, **settings: Any) -> None:
        self.journal = Journal(store=self.store, holder=DOMAIN, most=1000, clock=self.clock)
        self.outbox = Outbox(
            settings=Callback(url="http://h/", delivery="durable", **settings),
            call=self.call,
            journal=self.journal,
            replied=self.reply,
            clock=self.clock,
        )

    def renew(self, *, release: bool = False) -> None:
        work = self.journal.release() if release else self.journal.renew()
        self.successResultOf(Deferred.fromCoroutine(work))

    def reply(self) -> None:
        self.replied += 1

    async def call(self, stanza: Element, webhook: str) -> Response:
        call = Call(str(stanza.body), webhook, self.clock.seconds() - NOW)
        self.calls.append(call)
        return await call.answer

    def arrive(self, *texts: str, kind: str = "chat") -> None:
        """
        Messages come in, each from whom its first letter names.
        """
        for text in texts:
            self.successResultOf(self.arriving(text, kind))

    def arriving(self, text: str, kind: str = "chat") -> Deferred[None]:
        xml = (
            f"<message type='{kind}' from='{text[0]}@example.net/r' to='bot@{DOMAIN}' id='{text}'>"
            f"<body>{text}</body></message>"
        )
        return Deferred.fromCoroutine(self.outbox.accept(stanza(xml)))

    def answer(self, text: str, with_: Response | Exception | int) -> None:
        """
        Answer the oldest open call for it.
        """
        call = next(each for each in self.calls if each.text == text and not each.answer.called)
        if isinstance(with_, Exception):
            call.answer.errback(with_)
        else:
            call.answer.callback(response(with_) if isinstance(with_, int) else with_)

    def open(self) -> list[str]:
        return [each.text for each in self.calls if not each.answer.called]

    def made(self, since: int = 0) -> list[tuple[str, float]]:
        """
        All calls: for what, and when.
        """
        return [(each.text, each.time) for each in self.calls[since:]]

    def wait(self, seconds: float) -> None:
        """
        Time passes, in which the journal is kept.
        """
        whole, rest = divmod(seconds, 0.5)
        for step in [0.5] * int(whole) + ([rest] if rest else []):
            self.clock.advance(step)
            if self.store.broken or int(self.clock.seconds()) % 20:
                continue
            Deferred.fromCoroutine(self.journal.renew())

    def waiting(self) -> list[str]:
        return self.texts("messages")

    def dead(self) -> list[str]:
        return self.texts("dead_letters")

    def texts(self, table: str) -> list[str]:
        rows = self.store.rows(f"SELECT stanza FROM {table} ORDER BY number")
        return [str(stanza(xml).body) for (xml,) in rows]

    def replies(self) -> list[Element]:
        return [stanza(xml) for (xml,) in self.store.rows("SELECT stanza FROM replies ORDER BY number")]
