"""
Guesses at the passwords of accounts: how many there may be, and whom they don't disturb.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from statistics import median
from typing import Any, ClassVar

from argon2 import PasswordHasher

from tests.live.bridge import BOT, PASSWORD
from tests.live.case import LiveCase
from tests.live.process import LOOPBACK
from tests.live.prosody import Prosody
from tests.live.web import Answer, ask, basic

GUESSER, OTHER = "192.0.2.1", "198.51.100.1"
OWNER = basic("clerk", PASSWORD)


class Guesses(LiveCase):
    """
    What guessers get, behind a proxy that says who they are.
    """

    makeServer = Prosody
    sections: ClassVar[dict[str, Any]] = {
        "http": {"trusted_proxies": [LOOPBACK]},
        "accounts": {
            # As costly as they are by default.
            "bot": {"password": PasswordHasher().hash(PASSWORD)},
            "clerk": {"password": PasswordHasher().hash(PASSWORD)},
        },
    }

    def get(self, client: str, authorization: str, **headers: str) -> Answer:
        sent = {"X-Forwarded-For": client, "Authorization": authorization, "Accept": "application/json"}
        return ask(self.bridge.port, "GET", "/rest/ping/localhost", headers={**sent, **headers})

    def testGuessing(self) -> None:
        """
        About ten guesses are refused, then there is 429 with the seconds to wait, whether the account exists
        or not; what the guesser says of itself in the other header doesn't help. Who has used the right
        password before goes on, from anywhere, at once; who hasn't does so from elsewhere.
        """
        self.assertEqual(200, self.get(GUESSER, BOT).status)

        def guess(number: int) -> Answer:
            name = ("bot", "clerk", "nobody")[number % 3]
            spoofed = {"Forwarded": f"for=203.0.113.{number}"} if number % 2 else {}
            return self.get(GUESSER, basic(name, f"guess {number}"), **spoofed)

        with ThreadPoolExecutor(60) as threads:
            guesses = [threads.submit(guess, number) for number in range(60)]
            own = [self.get(GUESSER, BOT)]
            while not all(each.done() for each in guesses):
                own.append(self.get(GUESSER, BOT))
        self.assertEqual({200}, {answer.status for answer in own})
        self.assertLess(median(answer.seconds for answer in own), 1)
        answers = [each.result() for each in guesses]
        statuses = [answer.status for answer in answers]
        self.assertEqual({403, 429}, set(statuses))
        # Of two addresses: the guesser's, and the proxy's where the headers don't agree.
        self.assertLess(statuses.count(403), 30)
        for answer in answers:
            if answer.status == 429:
                self.assertGreater(int(answer.headers["retry-after"]), 0)
                self.assertEqual("policy-violation", answer.json()["error"]["condition"])
        for client in (OTHER, GUESSER):
            self.assertEqual(200, self.get(client, OWNER).status)

    def testManyRight(self) -> None:
        """
        A program that begins with many requests at once is served.
        """
        with ThreadPoolExecutor(50) as threads:
            answers = list(threads.map(lambda _: self.get("203.0.113.200", BOT), range(100)))
        self.assertEqual({200}, {answer.status for answer in answers})
