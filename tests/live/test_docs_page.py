"""
C{/docs/}: the page on which one logs in and tries each call, in a real browser.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from restbridge.openapi.document import document
from tests.live.bridge import PASSWORD
from tests.live.browser import Browser
from tests.live.case import LiveCase
from tests.live.process import LOOPBACK
from tests.live.prosody import Prosody
from tests.live.servers import passwordOf
from tests.live.users import WithUsers, saying

METHODS = ("get", "put", "post", "delete")


class PageOnProsody(WithUsers, LiveCase):
    """
    What a newcomer does.
    """

    makeServer = Prosody

    def setUp(self) -> None:
        super().setUp()
        self.origin = f"http://{LOOPBACK}:{self.bridge.port}"
        self.browser = self.enterContext(Browser())
        self.browser.open(f"{self.origin}/docs")

    def assertAtHome(self) -> None:
        """
        The page kept to its own policy, and asked nobody but the bridge.
        """
        self.assertEqual([], self.browser.complaints())
        self.assertEqual(
            {urlsplit(self.origin).netloc}, {urlsplit(url).netloc for url in self.browser.requests()}
        )

    def testEverything(self) -> None:
        """
        The page shows every call of the description.
        """
        self.assertEqual("restbridge", self.browser.title)
        paths = document()["paths"].items()
        described = {(method.upper(), path) for path, item in paths for method in item if method in METHODS}
        self.assertEqual(described, self.browser.operations())
        self.assertAtHome()

    def testAccount(self) -> None:
        """
        An account logs in and sends a stanza, which arrives; so does the answer to a question.
        """
        bob = self.login("bob")
        self.browser.authorize("bot", PASSWORD)
        message = {"kind": "message", "type": "chat", "to": bob.jid, "body": "from the page"}
        self.assertEqual(202, self.browser.tryOut("sendStanza", message)[0])
        self.assertEqual("bot@bridge.localhost", bob.expect(saying("from the page")).get("from"))
        status, shown = self.browser.tryOut("echoStanza", message)
        self.assertEqual(200, status)
        self.assertIn('"body": "from the page"', shown)
        self.assertAtHome()

    def testUser(self) -> None:
        """
        An XMPP user with a wrong password reads so on the page, and isn't asked by the browser; with the
        right one the user sends a message.
        """
        bob = self.login("bob")
        message = {"to": bob.jid, "body": "from alice's page"}
        self.browser.authorize("alice@localhost", "wrong")
        self.assertEqual(401, self.browser.tryOut("sendMessage", message)[0])
        (complaint,) = self.browser.complaints()
        self.assertIn("status of 401", complaint)
        self.browser.authorize("alice@localhost", passwordOf("alice"))
        self.assertEqual(200, self.browser.tryOut("sendMessage", message)[0])
        self.assertEqual(
            "alice@localhost", bob.expect(saying("from alice's page")).get("from", "").split("/")[0]
        )
        self.assertAtHome()

    def testNobodyElse(self) -> None:
        """
        The browser would let the page ask nobody else, and says so.
        """
        self.assertEqual("200", self.browser.fetch(f"{self.origin}/healthz"))
        self.assertEqual([], self.browser.complaints())
        self.assertEqual("TypeError", self.browser.fetch(f"http://{LOOPBACK}:{self.server.c2sPort}/"))
        self.assertRegex("\n".join(self.browser.complaints()), "Content Security Policy")
