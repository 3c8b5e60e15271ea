"""
L{restbridge.xmpp.traffic}, by a component and by a user's stream.
"""

from __future__ import annotations

from twisted.logger import LogEvent, LogLevel, globalLogPublisher

from restbridge import logs
from restbridge.logs import About, Levels, Text
from restbridge.stanzas.errors import LinkDown
from restbridge.xmpp.traffic import FOLLOWED, LONGEST, Traffic
from tests.xmpp.fakes import stanza
from tests.xmpp.test_component import ComponentTestCase

TRAFFIC = "restbridge.xmpp.traffic"
PING = "<iq type='get' from='bot@bridge.localhost' to='localhost' id='1'><ping xmlns='urn:xmpp:ping'/></iq>"
SAYING = "<message from='bot@bridge.localhost' to='a@localhost' id='m1'><body>secret</body></message>"


class TrafficTests(ComponentTestCase):
    def setUp(self) -> None:
        self.patch(logs, "levels", Levels(parts={TRAFFIC: LogLevel.debug}))
        super().setUp()
        self.lines: list[str] = []

        def observe(event: LogEvent) -> None:
            if event["log_namespace"].startswith(TRAFFIC):
                self.lines.append(Text()(event).decode().partition("#")[2].rstrip())

        globalLogPublisher.addObserver(observe)  # type: ignore[arg-type]  # a function is an observer
        self.addCleanup(globalLogPublisher.removeObserver, observe)  # type: ignore[arg-type]

    def test_counted(self) -> None:
        """
        What was written, and what came, is counted by its kind; what was not written isn't, nor what is no
        stanza.
        """
        traffic = self.component.traffic
        with self.assertRaises(LinkDown):
            self.component.send(stanza(SAYING))
        self.connect()
        self.component.send(stanza(SAYING))
        self.component.request(stanza(PING), 10).addErrback(lambda _: None)
        self.server.write("<presence from='a@localhost' to='bot@bridge.localhost'/>")
        self.server.write("<nonsense from='a@localhost' to='bot@bridge.localhost'/>")
        self.assertEqual({"message": 1, "presence": 0, "iq": 1}, traffic.sent)
        self.assertEqual({"message": 0, "presence": 1, "iq": 0}, traffic.received)

    def test_streams(self) -> None:
        """
        Each time that the stream comes up is counted.
        """
        self.assertEqual(0, self.component.traffic.streams)
        self.connect()
        self.assertEqual(1, self.component.traffic.streams)

    def test_impostors(self) -> None:
        """
        So is an answer from somebody else than was asked.
        """
        self.connect()
        self.component.request(stanza(PING), 10).addErrback(lambda _: None)
        self.server.write("<iq type='result' from='evil.localhost' to='bot@bridge.localhost' id='1'/>")
        self.assertEqual(1, self.component.traffic.impostors)

    def test_told(self) -> None:
        """
        A stanza that is sent for a request, and what answers it, are told with the request's id and their
        own, and without what is in them.
        """
        self.connect()
        with About("r-1"):
            self.component.send(stanza(SAYING))
        with About("r-2"):
            self.component.request(stanza(PING), 10)
        self.server.write("<iq type='result' from='localhost' to='bot@bridge.localhost' id='1'/>")
        self.server.write(
            "<message from='a@localhost' to='bot@bridge.localhost'><body>secret</body></message>"
        )
        self.assertEqual(
            [
                "debug r-1] sent message type= id=m1 from=bot@bridge.localhost to=a@localhost",
                "debug r-2] sent iq type=get id=1 from=bot@bridge.localhost to=localhost",
                "debug r-2] received iq type=result id=1 from=localhost to=bot@bridge.localhost",
                "debug] received message type= id= from=a@localhost to=bot@bridge.localhost",
            ],
            self.lines,
        )

    def test_off(self) -> None:
        """
        Where nobody follows stanzas, nothing is told of them.
        """
        self.patch(logs, "levels", Levels())
        Traffic().out(stanza(SAYING))
        self.assertEqual([], self.lines)

    def test_bounded(self) -> None:
        """
        Neither long ids nor many of them fill the memory, or the log.
        """
        traffic = Traffic()
        with About("r-1"):
            for number in range(FOLLOWED + 10):
                traffic.out(stanza(f"<message id='{number}'/>"))
            traffic.out(stanza(f"<message id='{'x' * 1000}'/>"))
        self.assertEqual(FOLLOWED, len(traffic._requests))
        self.assertLess(max(map(len, traffic._requests)), LONGEST)
        self.lines.clear()
        traffic.came(stanza(f"<message id='{'x' * 1000}'/>"))
        self.assertLess(len(self.lines[0]), LONGEST + 100)
