"""
The requests that were recorded with mod_rest, sent to a running bridge.

L{tests.conformance.agree} says when two answers agree. Another server than the recorded one is let differ
where it is the server that answers: a request whose recorded answer is a stanza with a sender.
"""

from __future__ import annotations

import http.client
import json
from typing import Any, ClassVar

from tests.conformance.agree import SENDER, Answer, Case, agree, cases
from tests.live.bridge import PASSWORD, botTable, usersTable
from tests.live.case import BRIDGE, LiveCase, Promises
from tests.live.ejabberd import Ejabberd
from tests.live.process import LOOPBACK
from tests.live.prosody import Prosody
from tests.live.receiver import JSON, Receiver
from tests.live.servers import HOST, Server
from tests.live.web import askOver, asUser, basic

WRONG = "definitely-wrong"


def serverAnswers(case: Case) -> bool:
    """
    Whether the recorded answer is a stanza that someone sent, and not mod_rest's own. The own account's
    answer to C{GET /rest/ping/} names no sender.
    """
    sent = case.path != "/rest/echo" and case.answer.status == 200
    return sent and "from" in json.loads(case.answer.body)


class Recorded(Promises):
    """
    What a client of mod_rest may rely on.

    @cvar recordedHere: whether this is the server that the recordings were made with.
    @cvar right: the credentials for what was recorded with good ones.
    @cvar wrong: those for what was recorded with bad ones.
    @cvar sender: the bare address that they stand for.
    @cvar hearsLater: whether the callback gets what is sent to that address.
    """

    hearsLater: ClassVar[bool]
    recordedHere: ClassVar[bool]
    right: ClassVar[str]
    wrong: ClassVar[str]
    sender: ClassVar[str]

    @classmethod
    def callbacks(cls, receiver: Receiver) -> list[dict[str, Any]]:
        """
        One, for what comes later than an answer can wait.
        """
        return [{"url": receiver.url("/late"), "format": JSON, "stanzas": ["message"]}]

    def setUp(self) -> None:
        """
        One connection for all requests.
        """
        super().setUp()
        self.connection = http.client.HTTPConnection(LOOPBACK, self.bridge.port, timeout=20)
        self.addCleanup(self.connection.close)

    def testRecorded(self) -> None:
        """
        Every recorded request gets an answer that agrees with mod_rest's, wherever it isn't the server's.
        """
        compared = [case for case in cases() if self.recordedHere or not serverAnswers(case)]
        self.assertEqual(452 if self.recordedHere else 442, len(compared))
        for case in compared:
            with self.part(f"{case.group} | {case.name}"):
                given = self._given(case)
                self.assertTrue(agree(case, given), _difference(case, given))
        self.assertAttached()

    def testSender(self) -> None:
        """
        What names no sender of its own goes out from the address of whoever asks.
        """
        echoed = [case for case in cases() if _showsSender(case)]
        self.assertGreater(len(echoed), 100)
        for case in echoed:
            with self.part(f"{case.group} | {case.name}"):
                given = self._given(case)
                if given.status == 200:
                    shown = json.loads(given.body)["from"]
                    self.assertEqual(self.sender, shown.partition("/")[0])

    def testServerAnswers(self) -> None:
        """
        What someone answers comes back as theirs, a result or an error, whatever the server. A message that
        they have not refused at once is taken; a later error goes to the callback, if there is one.
        """
        asked = [case for case in cases() if serverAnswers(case)]
        self.assertEqual(10, len(asked))
        for case in asked:
            with self.part(f"{case.group} | {case.name}"):
                given, recorded = self._given(case), json.loads(case.answer.body)
                if recorded["kind"] == "message" and given.status == 202:
                    if not self.hearsLater:
                        continue
                    answer = json.loads(self.receiver.expect(lambda one: b'"error"' in one.body).body)
                else:
                    self.assertEqual(200, given.status)
                    answer = json.loads(given.body)
                self.assertEqual((recorded["kind"], recorded["from"]), (answer["kind"], answer["from"]))
                self.assertIn(answer["type"], ("result", "error"))
                self.assertEqual(self.sender, answer["to"].partition("/")[0])

    def _given(self, case: Case) -> Answer:
        """
        The bridge's answer.
        """
        headers = dict(case.headers)
        if case.auth != "none":
            headers["Authorization"] = self.right if case.auth == "user" else self.wrong
        body = (case.body or "").encode()
        answer = askOver(self.connection, case.method, case.path, body, headers)
        return Answer(status=answer.status, type=answer.type, body=answer.text())

    def assertAttached(self) -> None:
        """
        The stream to the server has lived through it all.
        """
        self.assertEqual(200, self.bridge.waitFor("/readyz", 200).status)
        self.assertEqual(self._attachments, self.relay.connections, "the stream to the server dropped")


class AsAccount(Recorded):
    """
    The requests of an account of the component.
    """

    sections: ClassVar[dict[str, Any]] = {"accounts": {"alice": botTable()}}
    right = basic("alice", PASSWORD)
    wrong = basic("alice", WRONG)
    sender = f"alice@{BRIDGE}"
    hearsLater = True


class AsUser(Recorded):
    """
    The requests of an XMPP user, as they were recorded.
    """

    right = asUser("alice")
    wrong = asUser("alice", WRONG)
    sender = SENDER
    hearsLater = False

    @classmethod
    def users(cls, server: Server) -> dict[str, Any]:
        """
        All of the server's.
        """
        return {HOST: usersTable(server.c2sPort)}

    def assertAttached(self) -> None:
        """
        One login was enough for it all.
        """
        super().assertAttached()
        self.assertEqual(1, self.server.logins("alice"))


def _showsSender(case: Case) -> bool:
    """
    Whether the recorded answer shows, in JSON, from whom the stanza would go out.
    """
    if (case.path, case.answer.status, case.answer.type) != ("/rest/echo", 200, JSON):
        return False
    return bool(json.loads(case.answer.body)["from"] == SENDER)


def _difference(case: Case, given: Answer) -> str:
    """
    Request, wanted and got, for people.
    """
    sent = f"{case.method} {case.path} {case.headers} {(case.body or '')[:300]}"
    lines = [
        f"  {name} {each.status} {each.type} {each.body[:400]}"
        for name, each in (("wanted", case.answer), ("got   ", given))
    ]
    return "\n".join(["", f"  sent   {sent}", *lines])


class AccountOnProsody(AsAccount, LiveCase):
    """
    An account on the server that the requests were recorded with.
    """

    makeServer = Prosody
    recordedHere = True


class AccountOnEjabberd(AsAccount, LiveCase):
    """
    An account on ejabberd.
    """

    makeServer = Ejabberd
    recordedHere = False


class UserOnProsody(AsUser, LiveCase):
    """
    A user of the server that the requests were recorded with.
    """

    makeServer = Prosody
    recordedHere = True


class UserOnEjabberd(AsUser, LiveCase):
    """
    A user of ejabberd.
    """

    makeServer = Ejabberd
    recordedHere = False
