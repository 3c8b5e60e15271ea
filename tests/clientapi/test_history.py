"""
L{restbridge.clientapi.history}: the newest messages that are wanted, from archives of all kinds.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import accumulate
from typing import Any

from hypothesis import given, settings
from hypothesis.strategies import booleans, integers, lists, tuples

from restbridge.clientapi import history
from restbridge.stanzas.errors import StanzaError
from tests.clientapi.account import NS_MAM, OWN
from tests.clientapi.case import ClientAPITestCase

BOB = "bob@example.com"
START = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def said(text: str, sender: str = f"{BOB}/phone", to: str = OWN, used: str | None = None) -> str:
    """
    A message with a text.
    """
    name = text if used is None else used
    return (
        f"<message xmlns='jabber:client' type='chat' from='{sender}' to='{to}' id='{name}'>"
        f"<body>{text}</body></message>"
    )


def receipt() -> str:
    """
    A message without one.
    """
    return f"<message xmlns='jabber:client' type='chat' from='{BOB}/phone' to='{OWN}'/>"


def exact(milliseconds: int) -> str:
    """
    The time stamp of a moment after C{START}, as ejabberd writes it.
    """
    return f"{START + timedelta(milliseconds=milliseconds, microseconds=7):%Y-%m-%dT%H:%M:%S.%fZ}"


def whole(seconds: int) -> str:
    """
    As Prosody writes it.
    """
    return f"{START + timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%SZ}"


class HistoryTestCase(ClientAPITestCase):
    def page(self, parameters: str = "", path: str = "/messages") -> list[dict[str, Any]]:
        """
        A page of the history.
        """
        found: list[dict[str, Any]] = self.got("GET", f"{path}?{parameters}")
        return found

    def texts(self, parameters: str = "", path: str = "/messages") -> list[str]:
        return [item["body"] for item in self.page(parameters, path)]

    def walk(self, limit: int, less: int = 0) -> list[str]:
        """
        The whole history, from page to page.

        @param less: milliseconds that are taken from the time of a page's first message.
        """
        texts: list[str] = []
        parameters = f"limit={limit}"
        while page := self.page(parameters):
            self.assertLessEqual(len(page), limit)
            texts = [*(item["body"] for item in page), *texts]
            parameters = f"limit={limit}&before={page[0]['timestamp'] - less}"
        return texts


class PagesTests(HistoryTestCase):
    def test_newest(self) -> None:
        """
        The newest messages, up to the limit, in the order of time.
        """
        self.account.archive = [(exact(number), said(f"m{number}")) for number in range(7)]
        self.assertEqual(self.texts("limit=3"), ["m4", "m5", "m6"])
        self.assertEqual(self.texts("limit=7"), [f"m{number}" for number in range(7)])
        self.assertEqual(self.texts("limit=50"), [f"m{number}" for number in range(7)])

    def test_cap(self) -> None:
        """
        Without a limit, or with one past 50, there are 50.
        """
        self.account.archive = [(exact(number), said(f"m{number}")) for number in range(60)]
        for parameters in ("", "limit=50", "limit=51", "limit=100000000000000000000"):
            self.assertEqual(self.texts(parameters), [f"m{number}" for number in range(10, 60)])

    def test_nothingAsked(self) -> None:
        """
        With a limit of 0, or before all time, nothing is asked for.
        """
        self.account.archive = [(exact(0), said("m"))]
        for parameters in ("limit=0", "before=0", "before=-1", "before=-99999999999999999999"):
            self.assertEqual(self.page(parameters), [])
        self.assertEqual(self.account.sent, [])

    def test_empty(self) -> None:
        """
        An empty archive holds nothing.
        """
        self.assertEqual(self.page(), [])
        self.assertEqual(self.page("limit=3&before=1795333015521"), [])

    def test_smallPages(self) -> None:
        """
        However few messages a server gives at once, there are as many as are wanted.
        """
        self.account.archive = [(exact(number), said(f"m{number}")) for number in range(60)]
        for size in (1, 2, 7, 49, 50, 250):
            self.account.pageSize = size
            self.assertEqual(self.texts("limit=20"), [f"m{number}" for number in range(40, 60)])

    def test_manyWithoutText(self) -> None:
        """
        However many messages in between have no text, too.
        """
        self.account.archive = [
            (exact(number), said(f"m{number}") if number % 400 == 0 else receipt()) for number in range(2000)
        ]
        self.assertEqual(self.texts("limit=1"), ["m1600"])
        self.assertEqual(self.texts("limit=3"), ["m800", "m1200", "m1600"])
        self.assertEqual(self.texts(), ["m0", "m400", "m800", "m1200", "m1600"])

    def test_tooManyWithoutText(self) -> None:
        """
        Where that takes too long, it is not said that there are none; some that were found are shown.
        """
        self.patch(history, "MAX_PAGES", 3)
        self.account.archive = [(exact(number * 500), receipt()) for number in range(1000)]
        text = "The newest 111 entries of the archive hold nothing that is shown"
        self.refused(503, text, "GET", "/messages?limit=1")
        self.account.archive[950] = (exact(950 * 500), said("found"))
        self.assertEqual(self.texts("limit=2"), ["found"])

    def test_onePage(self) -> None:
        """
        What a server gives at once is asked for at once.
        """
        self.account.pageSize = 250
        self.account.archive = [(exact(number * 500), said(f"m{number}")) for number in range(300)]
        self.page()
        self.assertEqual(self.account.pages, 1)

    def test_noArchive(self) -> None:
        """
        A server without an archive: 501, in words.
        """
        for condition in ("service-unavailable", "feature-not-implemented"):
            self.account.refusals[NS_MAM] = StanzaError.of(condition)
            self.refused(501, "The server keeps no archive of messages (XEP-0313)", "GET", "/messages")

    def test_unreadable(self) -> None:
        """
        An archive that can't be read now: 503, in words.
        """
        self.account.refusals[NS_MAM] = StanzaError.of("internal-server-error")
        self.refused(503, "The archive can't be read: internal-server-error", "GET", "/messages")

    def test_malformed(self) -> None:
        """
        What an archive should not hold is left out.
        """
        self.account.archive = [
            ("no time", said("m0")),
            (exact(1), "<presence xmlns='jabber:client'/>"),
            (exact(2), "text"),
            (exact(3), said("m3")),
        ]
        self.assertEqual(self.texts(), ["m3"])


class WithTests(HistoryTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.account.archive = [
            (exact(0), said("from the phone")),
            (exact(1), said("from the tablet", f"{BOB}/tablet")),
            (exact(2), said("to all", f"{OWN}/r", BOB)),
            (exact(3), said("to the phone", f"{OWN}/r", f"{BOB}/phone")),
            (exact(4), said("from kate", "kate@example.com/phone")),
        ]

    def test_bare(self) -> None:
        """
        Of one other: all of that one's clients, in both directions.
        """
        expected = ["from the phone", "from the tablet", "to all", "to the phone"]
        for other in (BOB, f"{BOB}/", "BOB@Example.COM", "bob%40example.com", "bob%40Example%2ecom"):
            self.assertEqual(self.texts("", f"/messages/{other}"), expected)
            self.assertEqual(self.texts("limit=2", f"/messages/{other}"), expected[2:])

    def test_full(self) -> None:
        """
        Of one client, whether or not the archive tells them apart; resources have upper and lower case.
        """
        expected = ["from the phone", "to the phone"]
        for full in (f"{BOB}/phone", f"{BOB}/phone/", f"{BOB}%2Fphone"):
            self.assertEqual(self.texts("", f"/messages/{full}"), expected)
        self.assertEqual(self.texts("limit=1", f"/messages/{BOB}%2Ftablet"), ["from the tablet"])
        self.assertEqual(self.texts("", f"/messages/{BOB}%2FTablet"), [])

    def test_unknown(self) -> None:
        """
        With somebody unknown there was nothing.
        """
        self.assertEqual(self.page("", "/messages/nobody@example.com"), [])

    def test_invalid(self) -> None:
        """
        What is no address is refused.
        """
        for other in ("@invalid", "a%40b%40", "bob@example.com//", "%00@example.com", "x" * 5000):
            self.refused(400, "Invalid interlocutor JID", "GET", f"/messages/{other}")

    def test_oneself(self) -> None:
        """
        What one writes to oneself is in the archive as sent and as received, and shown once.
        """
        notes = [(exact(number), said(f"n{number // 2}", f"{OWN}/r", OWN)) for number in range(10, 16)]
        self.account.archive += notes
        self.assertEqual(self.texts("limit=4"), ["from kate", "n5", "n6", "n7"])
        self.assertEqual(self.walk(2)[-3:], ["n5", "n6", "n7"])

    def test_sameIds(self) -> None:
        """
        Others may use an id as often as they like.
        """
        self.account.archive = [(exact(number), said(f"m{number}", used="1")) for number in range(3)]
        self.assertEqual(self.texts(), ["m0", "m1", "m2"])


class TimeTests(HistoryTestCase):
    def test_before(self) -> None:
        """
        C{before} the time that is shown of a message, that message is not there; a millisecond later it is.
        """
        self.account.archive = [(exact(number * 100), said(f"m{number}")) for number in range(5)]
        times = [item["timestamp"] for item in self.page()]
        self.assertEqual(times, [1767323045000 + number * 100 for number in range(5)])
        self.assertEqual(self.texts(f"before={times[3]}"), ["m0", "m1", "m2"])
        self.assertEqual(self.texts(f"before={times[3] + 1}"), ["m0", "m1", "m2", "m3"])
        self.assertEqual(self.texts(f"before={times[3]}&limit=2"), ["m1", "m2"])
        self.assertEqual(len(self.page("before=99999999999999999999")), 5)

    def test_oneMoment(self) -> None:
        """
        Messages of one millisecond are told apart; none comes before its time, and later ones keep theirs.
        """
        self.account.archive = [(exact(number // 3), said(f"m{number}")) for number in range(6)]
        self.account.archive.append((exact(30), said("m6")))
        times = [item["timestamp"] - 1767323045000 for item in self.page()]
        self.assertEqual(times, [0, 2, 4, 6, 8, 10, 30])

    def test_endOfASecond(self) -> None:
        """
        So are those of the last milliseconds of a second.
        """
        self.account.archive = [(exact(990 + number // 3), said(f"m{number}")) for number in range(30)]
        for limit in (1, 7):
            self.assertEqual(self.walk(limit), [f"m{number}" for number in range(30)])

    def test_wholeSeconds(self) -> None:
        """
        So are those of one second, where an archive tells no more, and stay within it.
        """
        self.account.archive = [(whole(number // 5), said(f"m{number}")) for number in range(10)]
        times = [item["timestamp"] for item in self.page()]
        self.assertEqual(sorted(set(times)), times)
        self.assertEqual({time // 1000 for time in times}, {1767323045, 1767323046})
        for number, time in enumerate(times):
            self.assertEqual(self.texts(f"before={time}"), [f"m{each}" for each in range(number)])
            self.assertEqual(self.texts(f"before={time + 1}"), [f"m{each}" for each in range(number + 1)])

    def test_sameTimes(self) -> None:
        """
        These times are the same on every page.
        """
        self.account.archive = [
            (whole(number // 30), said(f"m{number}") if number % 3 else receipt()) for number in range(100)
        ]
        everything = {
            item["body"]: item["timestamp"] for item in [*self.page(), *self.page("before=1767323046010")]
        }
        for limit in (1, 2, 17):
            for item in self.page(f"limit={limit}"):
                self.assertEqual(item["timestamp"], everything[item["body"]])

    def test_crowdedSecond(self) -> None:
        """
        However many messages one second holds, none gets another second's time.
        """
        self.account.archive = [(whole(0), said(f"m{number}")) for number in range(700)]
        self.assertEqual({item["timestamp"] for item in self.page()}, {1767323045997})

    @settings(deadline=None)
    @given(
        times=lists(tuples(integers(0, 9) | integers(0, 1500), booleans()), max_size=40),
        inSeconds=booleans(),
        pageSize=integers(1, 20),
        limit=integers(1, 12),
        less=integers(0, 1),
    )
    def test_nothingLost(
        self, times: list[tuple[int, bool]], *, inSeconds: bool, pageSize: int, limit: int, less: int
    ) -> None:
        """
        Whoever goes back from page to page, by the time of a page's first message or one millisecond less,
        sees each message once, in their order.

        @param times: milliseconds between a message and the one before, and whether it has a text.
        """
        moments = list(accumulate(gap for gap, _ in times))
        self.account.pageSize = pageSize
        self.account.archive = [
            (whole(moment // 1000) if inSeconds else exact(moment), said(f"m{moment}") if text else receipt())
            for moment, (_, text) in zip(moments, times, strict=True)
        ]
        expected = [f"m{moment}" for moment, (_, text) in zip(moments, times, strict=True) if text]
        self.assertEqual(self.walk(limit, less), expected)
