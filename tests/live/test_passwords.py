"""
Who is let in with an XMPP account's password, how often a wrong one may be tried, and what nobody learns.
"""

from __future__ import annotations

import base64
import hashlib
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from urllib.parse import quote
from xml.sax.saxutils import escape

from tests.live.bridge import BEARER, BOT, PASSWORD, TOKEN, Bridge, usersTable
from tests.live.case import LiveCase
from tests.live.ejabberd import Ejabberd
from tests.live.process import LOOPBACK, eventually
from tests.live.prosody import Prosody
from tests.live.receiver import JSON
from tests.live.servers import HOST, passwordOf
from tests.live.users import WHOLE_SECONDS, WithUsers
from tests.live.web import Answer, ask, asUser

RIGHT, WRONG, CHANGED = "p\u00e4ss <w\u00f6rd> & 1", "wr\u00f6ng/2 %", "ch\u00e4nged=3"
USELESS = "a-token-that-opens-nothing"
DIGESTS = ("md5", "sha1", "sha224", "sha256", "sha384", "sha512", "blake2b", "blake2s")


class Passwords(WithUsers):
    """
    Who is let in.
    """

    def testChanged(self) -> None:
        """
        A password changed on the server works at once; the old one doesn't any more, once the new one was
        used.
        """
        name = self.newUser("the old one")
        self.assertEqual(200, self.ping(name, "the old one").status)
        self.server.changePassword(name, "the new one")
        self.assertEqual(200, self.ping(name, "the new one").status)
        self.assertEqual(403, self.ping(name, "the old one").status)
        self.assertEqual(200, self.ping(name, "the new one").status)

    def testWrong(self) -> None:
        """
        A wrong password is refused, and does an open session no harm.
        """
        name = self.newUser()
        self.assertEqual(403, self.ping(name, "wrong").status)
        full = self.fullJid(name)
        wrong = self.ping(name, "wrong")
        self.assertEqual((403, JSON), (wrong.status, wrong.type))
        self.assertEqual((full, 1), (self.fullJid(name), self.server.logins(name)))

    def testWrongAtOnce(self) -> None:
        """
        Of requests that come at once, those with the right password are served, and only those.
        """
        name = self.newUser()
        passwords = ["wrong", *[passwordOf(name)] * 10, "also wrong", *[passwordOf(name)] * 10]
        with ThreadPoolExecutor(len(passwords)) as threads:
            answers = list(threads.map(lambda password: self.ping(name, password), passwords))
        expected = [200 if password == passwordOf(name) else 403 for password in passwords]
        self.assertEqual(expected, [answer.status for answer in answers])
        self.assertEqual(1, self.server.logins(name))

    def testGuessing(self) -> None:
        """
        Who guesses gets 403, then 429 with the seconds to wait, whomever the next guess is about.
        """
        bridge, name, other = self.usersBridge(), self.newUser(), self.newUser()
        answers = self._guesses(bridge, name)
        self.assertEqual({403, 429}, {answer.status for answer in answers})
        self.assertLess(len([answer for answer in answers if answer.status == 403]), 20)
        answers += [self.ping(each, "one more", bridge) for each in (name, other)]
        self.assertEqual([429, 429], [answer.status for answer in answers[-2:]])
        for answer in answers:
            if answer.status == 429:
                self._assertThrottled(answer)

    def testGuessedAt(self) -> None:
        """
        The user whose password is guessed doesn't notice, though it be from the same address, and may log in
        again when the session has ended.
        """
        bridge, name = self.usersBridge(), self.newUser()
        full = self.fullJid(name, bridge)
        with ThreadPoolExecutor(1) as thread:
            guesses = thread.submit(self._guesses, bridge, name)
            own = [self.ping(name, bridge=bridge)]
            while not guesses.done():
                own.append(self.ping(name, bridge=bridge))
        self.assertEqual({200}, {answer.status for answer in own})
        self.assertLess(median(answer.seconds for answer in own), 1)
        self.assertIn(429, {answer.status for answer in guesses.result()})
        self.assertEqual((full, 1), (self.fullJid(name, bridge), self.server.logins(name)))
        self.server.endSession(name)

        def again() -> bool:
            self.assertIn(self.ping(name, bridge=bridge).status, (200, 503))
            return self.server.logins(name) == 2

        eventually(again, "another login")

    def testGuessingElsewhere(self) -> None:
        """
        Who guesses from other addresses, through a proxy, doesn't lock the user out, session or none.
        """
        name = self.newUser()
        bridge = self.usersBridge(http={"trusted_proxies": [LOOPBACK]})

        def get(address: str, password: str) -> Answer:
            headers = {"Authorization": asUser(name, password), "X-Forwarded-For": address, "Accept": JSON}
            return ask(bridge.port, "GET", "/rest/ping/", headers=headers)

        with ThreadPoolExecutor(45) as threads:
            guesses = list(threads.map(lambda n: get(f"192.0.2.{n % 3}", f"guess {n}"), range(45)))
        self.assertEqual({403, 429}, {answer.status for answer in guesses})
        self.assertEqual(200, get("198.51.100.7", passwordOf(name)).status)
        self.assertEqual(1, self.server.logins(name))

    def _guesses(self, bridge: Bridge, name: str) -> list[Answer]:
        """
        Thirty wrong passwords at once.
        """
        with ThreadPoolExecutor(30) as threads:
            return list(threads.map(lambda guess: self.ping(name, f"guess {guess}", bridge), range(30)))

    def _assertThrottled(self, answer: Answer) -> None:
        """
        429 that says when to come again, in the caller's format.
        """
        self.assertEqual((429, JSON), (answer.status, answer.type), answer.text())
        self.assertRegex(answer.headers.get("retry-after", ""), WHOLE_SECONDS)
        self.assertEqual(("error", 429), (answer.json()["type"], answer.json()["code"]))


class Secrecy(WithUsers):
    """
    What nobody may learn, though the log holds all that it can.
    """

    options = ("--log-level", "debug")

    def testLogs(self) -> None:
        """
        No log, and no answer, holds a password, a token, or what is made of one.
        """
        name = self.newUser(RIGHT)
        broken = self.usersBridge(users={HOST: usersTable(self._brokenServer())})
        answers = [
            *(self.ping(name, password) for password in (WRONG, RIGHT, WRONG, RIGHT)),
            self.bridge.get("/rest/ping/", auth=BOT),
            self.bridge.get("/rest/ping/", auth=BEARER),
            self.bridge.post("/rest", "{", auth=asUser(name, RIGHT)),
            self.bridge.post("/rest", '{"kind": "message", "body": "\\u0000"}', auth=asUser(name, RIGHT)),
            self.ping(name, RIGHT, broken),
        ]
        self.server.changePassword(name, CHANGED)
        answers += [self.ping(name, password) for password in (CHANGED, RIGHT)]
        self.server.deleteAccount(name)
        eventually(lambda: self.ping(name, CHANGED).status == 403, "the account to be gone", pause=0.5)
        wanted = [403, 200, 403, 200, 200, 200, 400, 422, 503, 200, 403]
        self.assertEqual(wanted, [answer.status for answer in answers])
        answers.append(self._byToken(name, USELESS))
        self.assertIn("#debug]", self.bridge.process.log(), "the log leaves out what is unimportant")
        said = {f"answer {number}": answer.text() for number, answer in enumerate(answers)}
        for place, text in (*said.items(), *_written(self.bridge), *_written(broken)):
            for secret in (RIGHT, WRONG, CHANGED, USELESS, PASSWORD, TOKEN):
                for what, trace in _traces(name, secret):
                    with self.part(f"{what} of {secret} in {place}"):
                        self.assertNotIn(trace, text)

    def _byToken(self, name: str, token: str) -> Answer:
        """
        A token that opens nothing.
        """
        headers = {"Authorization": f"Bearer {token}", "X-XMPP-JID": f"{name}@{HOST}", "Accept": JSON}
        return ask(self.bridge.port, "GET", "/rest/ping/", headers=headers)

    def _brokenServer(self) -> int:
        """
        A server that takes a password, and then talks nonsense.

        @return: its port.
        """
        listener = socket.create_server((LOOPBACK, 0))
        self.addCleanup(listener.close)

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(
                    b"<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'"
                    b" id='1' from='localhost' version='1.0'><stream:features>"
                    b"<mechanisms xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><mechanism>PLAIN</mechanism>"
                    b"</mechanisms></stream:features>"
                )
                connection.recv(4096)
                connection.sendall(b"<success xmlns='urn:ietf:params:xml:ns:xmpp-sasl'></failure>&")

        threading.Thread(target=serve, daemon=True).start()
        return int(listener.getsockname()[1])


def _written(bridge: Bridge) -> Iterator[tuple[str, str]]:
    """
    All that a bridge has written, by the files' names.
    """
    for path in bridge.process.logFile.parent.rglob("*"):
        if path.is_file() and path.suffix != ".toml":
            yield path.name, path.read_text(errors="replace")


def _traces(name: str, secret: str) -> Iterator[tuple[str, str]]:
    """
    What a log might hold of a secret, and what to call it.
    """
    raw = secret.encode()
    yield "text", secret
    yield "escaped text", ascii(secret)[1:-1]
    yield "escaped bytes", ascii(raw)[2:-1]
    yield "text in XML", escape(secret)
    yield "text in a URL", quote(secret)
    for what, said in (
        ("password", raw),
        ("Basic, user", f"{name}@{HOST}:{secret}".encode()),
        ("Basic, account", f"bot:{secret}".encode()),
        ("SASL PLAIN", f"\0{name}\0{secret}".encode()),
        ("SASL PLAIN with identity", f"{name}@{HOST}\0{name}\0{secret}".encode()),
    ):
        yield f"{what} in base64", base64.b64encode(said).decode().rstrip("=")
        for digest in DIGESTS:
            hashed = hashlib.new(digest, said).digest()
            yield f"{what}, {digest}", hashed.hex()
            yield f"{what}, {digest} in base64", base64.b64encode(hashed).decode().rstrip("=")


class OnProsody(Passwords, Secrecy, LiveCase):
    """
    Passwords of Prosody's users.
    """

    makeServer = Prosody


class OnEjabberd(Passwords, Secrecy, LiveCase):
    """
    Passwords of ejabberd's users.
    """

    makeServer = Ejabberd
