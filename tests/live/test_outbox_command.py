"""
What an operator does about durable callbacks, beside a running bridge.

Each promise is kept on SQLite and on PostgreSQL.
"""

from __future__ import annotations

import json
import time
from typing import Any

from tests.live.bridge import Bridge
from tests.live.case import BRIDGE, LiveCase
from tests.live.deliverycase import DeliveryCase
from tests.live.moody import FAILS, OK, Mood, Moody, always
from tests.live.postgresql import postgresql
from tests.live.process import eventually
from tests.live.prosody import Prosody

FRESH = 10.0
"""Seconds for which a bridge may call for what was dropped."""


class Operator(DeliveryCase):
    """
    What C{restbridge outbox} promises.
    """

    def testRetried(self) -> None:
        """
        A dead letter is listed and shown; retried, it is delivered under the same webhook-id.
        """
        moody = self.moody()
        bridge = self.durable(self.calling(moody, name="events"))
        moody.mood = always(Mood(404))
        alice = self.login("alice")
        alice.message(f"bot@{BRIDGE}", "wherefore")
        (dead,) = eventually(lambda: self._records(bridge, "--dead"), "a dead letter")
        self.assertEqual(["events", "alice@localhost"], [dead["callback"], dead["from"]])
        self.assertTrue(dead["problem"].startswith("404 "), dead["problem"])
        number = str(dead["number"])
        shown = self.outbox(bridge, "show", number)
        self.assertIn("<body>wherefore</body>", shown)
        self.assertIn(dead["webhook_id"], shown)
        moody.mood = always(OK)
        self.outbox(bridge, "retry", number)
        self._expectTexts(moody, "wherefore")
        self.assertEqual([dead["webhook_id"]] * 2, [call.webhookId for call in moody.calls])
        eventually(lambda: not self._records(bridge), "nothing to be left")

    def testHastened(self) -> None:
        """
        A message that is postponed for long comes at once when it is retried.
        """
        moody = self.moody()
        bridge = self.durable(self.calling(moody, retries=[600]))
        moody.mood = lambda call: FAILS if call.text == "poison" else OK
        alice = self.login("alice")
        alice.message(f"bot@{BRIDGE}", "poison")
        eventually(lambda: moody.calls, "a call")
        alice.message(f"other@{BRIDGE}", "passes")
        (postponed,) = eventually(
            lambda: [record for record in self._records(bridge) if record["failures"]], "a failure"
        )
        moody.mood = always(OK)
        said = self.outbox(bridge, "retry", str(postponed["number"]))
        self.assertIn("1 messages are due now", said)
        self._expectTexts(moody, "passes", "poison")

    def testDropped(self) -> None:
        """
        What is dropped while nobody answers never comes, and what waits besides does, be it younger.
        """
        moody = self.moody()
        bridge = self.durable(self.calling(moody))
        moody.goAway()
        alice = self.login("alice")
        for number, text in enumerate(("dropped", "kept", "dropped, too")):
            alice.message(f"bot{number}@{BRIDGE}", text)
        waiting = eventually(lambda: self._three(bridge), "three messages")
        said = self.outbox(bridge, "drop", *(str(waiting[place]["number"]) for place in (0, 2)))
        self.assertEqual("2 messages dropped\n", said)
        time.sleep(FRESH + 1)
        moody.comeBack()
        alice.message(f"bot0@{BRIDGE}", "later")
        eventually(lambda: {"kept", "later"} <= set(moody.texts()), "what was not dropped", 15)
        self.assertEqual({"kept", "later"}, {call.text for call in moody.calls})

    def _three(self, bridge: Bridge) -> list[dict[str, Any]] | None:
        records = self._records(bridge, "--waiting")
        return records if len(records) == 3 else None

    def _records(self, bridge: Bridge, *options: str) -> list[dict[str, Any]]:
        listed = self.outbox(bridge, "list", "--json", *options)
        return [json.loads(line) for line in listed.splitlines()]

    def _expectTexts(self, moody: Moody, *texts: str) -> None:
        eventually(lambda: moody.texts() == [*texts], f"{texts}", 5)


class OnSQLite(Operator, LiveCase):
    """
    The promises on SQLite.
    """

    makeServer = Prosody

    def freshStore(self) -> dict[str, Any]:
        """
        In the bridge's own folder.
        """
        return {"url": "sqlite:outbox.sqlite"}


class OnPostgreSQL(Operator, LiveCase):
    """
    The promises on PostgreSQL.
    """

    makeServer = Prosody

    def freshStore(self) -> dict[str, Any]:
        """
        A database of its own.
        """
        return {"url": postgresql().freshDatabase()}
