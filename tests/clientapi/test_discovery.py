"""
L{restbridge.clientapi.discovery}: which service has a user's rooms.
"""

from __future__ import annotations

from typing import Any, cast

import attrs
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from restbridge.clientapi.discovery import DISCOVERY_TIMEOUT, RoomServices
from restbridge.config import UserDomain
from restbridge.stanzas.errors import NoAnswer
from restbridge.web.answer import Refusal
from tests.clientapi.roomlink import RoomLink

INFO = "http://jabber.org/protocol/disco#info"
ITEMS = "http://jabber.org/protocol/disco#items"


@attrs.frozen
class Made:
    """
    A service of a kind.
    """

    kind: str
    domain: str


def info(*features: str) -> str:
    listed = "".join(f"<feature var='{feature}'/>" for feature in features)
    return f"<query xmlns='{INFO}'>{listed}</query>"


class DiscoveryTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.link = RoomLink()
        self.link.says = {
            f"example.com {ITEMS}": f"<query xmlns='{ITEMS}'><item jid='PubSub.example.com'/>"
            "<item jid='a.example.com'/><item jid='light.example.com'/><item jid='b.example.com'/>"
            "<item jid='someone@example.com'/><item jid='@@'/><item/></query>",
            f"pubsub.example.com {INFO}": info("pubsub"),
            f"a.example.com {INFO}": info("x", "muc"),
            f"b.example.com {INFO}": info("muc"),
            f"light.example.com {INFO}": info("light"),
        }

    def services(self, rooms: str | None = None) -> RoomServices:
        kinds: Any = {
            "light": lambda domain: Made("light", domain),
            "muc": lambda domain: Made("muc", domain),
        }
        return RoomServices(
            domains={"example.com": UserDomain(domain="example.com", rooms=rooms)}, kinds=kinds
        )

    def found(self, services: RoomServices) -> Made:
        return cast(Made, self.successResultOf(Deferred.fromCoroutine(services.of(self.link))))

    def test_discovered(self) -> None:
        """
        Of the services that the server names the first of the best kind is taken; it is asked for once.
        """
        services = self.services()
        self.assertEqual(Made("light", "light.example.com"), self.found(services))
        asked = len(self.link.sent)
        self.assertEqual(Made("light", "light.example.com"), self.found(services))
        self.assertEqual(asked, len(self.link.sent))
        self.link.says[f"light.example.com {INFO}"] = "service-unavailable"
        self.assertEqual(Made("muc", "a.example.com"), self.found(self.services()))

    def test_configured(self) -> None:
        """
        What is configured is asked of which kind it is, and nobody else.
        """
        self.assertEqual(Made("muc", "b.example.com"), self.found(self.services("b.example.com")))
        self.assertEqual(["b.example.com"], [iq["to"] for iq in self.link.sent])

    def test_none(self) -> None:
        """
        Where there is none that is said, and looked for again the next time.
        """
        services = self.services("pubsub.example.com")
        refused = self.failureResultOf(Deferred.fromCoroutine(services.of(self.link)), Refusal).value
        self.assertEqual((404, "MUC Light server not found"), (refused.status, refused.text))
        self.link.says[f"pubsub.example.com {INFO}"] = info("muc")
        self.assertEqual(Made("muc", "pubsub.example.com"), self.found(services))

    def test_noItems(self) -> None:
        """
        A server that names none has none.
        """
        self.link.says[f"example.com {ITEMS}"] = "service-unavailable"
        self.failureResultOf(Deferred.fromCoroutine(self.services().of(self.link)), Refusal)

    def test_silent(self) -> None:
        """
        A service that doesn't answer is passed over before long.
        """
        self.link.says[f"light.example.com {INFO}"] = None
        services = self.services()
        finding = Deferred.fromCoroutine(services.of(self.link))
        self.assertNoResult(finding)
        self.assertEqual([DISCOVERY_TIMEOUT], self.link.timeouts)
        self.link.awaited[0].errback(NoAnswer(DISCOVERY_TIMEOUT))
        self.assertEqual(Made("muc", "a.example.com"), self.successResultOf(finding))
