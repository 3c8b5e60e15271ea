"""
What an operator sees of durable callbacks, and can do about it.
"""

from __future__ import annotations

import io
import json
import os
import sqlite3
import time
from contextlib import closing, redirect_stderr, redirect_stdout
from io import StringIO
from typing import Any

from twisted.internet.task import Clock

from restbridge import command, outbox
from restbridge.store import sqlite
from restbridge.store.journal import PAGE, Entry, Journal, Message
from restbridge.store.letters import ATTEMPTS, Letters, Retried, Which
from restbridge.store.letters import PAGE as STEP
from tests.store.case import StoreTestCase

HOLDER = "bridge.localhost"
HOUR = 3600.0


class OutboxTestCase(StoreTestCase):
    """
    A journal, as a bridge fills it, and the command beside it.
    """

    def setUp(self) -> None:
        super().setUp()
        self.configuration = self.path.parent / "restbridge.toml"
        self.configure(f"sqlite:{self.path}")
        self.clock = Clock()
        self.clock.advance(time.time())

    def configure(self, url: str) -> None:
        """
        Write a configuration with this store.
        """
        component = '[component]\ndomain = "bridge.localhost"\nsecret = "s"\n'
        self.configuration.write_text(f"{component}[store]\nurl = {json.dumps(url)}\n")

    def opened(self) -> Journal:
        """
        The journal of a bridge that runs until the end of the test.
        """
        self.journal = Journal(store=self.started(), holder=HOLDER, most=100_000, clock=self.clock)
        return self.journal

    async def written(
        self,
        text: str,
        *,
        callback: str = "events",
        sender: str = "romeo@example.net",
        recipient: str = "bot@bridge.localhost",
        hold: bool = True,
        age: float = 0.0,
    ) -> Message:
        """
        A message that waits.

        @param age: seconds since it came.
        """
        entry = Entry(
            callback=callback,
            sender=sender,
            recipient=recipient,
            webhook=f"msg_{text}",
            received=self.journal.now() - int(age * 1000),
            stanza=f"<message><body>{text}</body></message>",
        )
        return (await self.journal.accept(entry, hold=hold)).message

    async def dead(self, text: str, problem: str = "404 Not Found", **more: Any) -> Message:
        """
        A dead letter.
        """
        message = await self.written(text, **more)
        await self.journal.buried(message, problem, None)
        return message

    def outbox(self, *arguments: str, status: int = 0) -> list[str]:
        """
        What the command prints.
        """
        out, self.err = StringIO(), StringIO()
        with redirect_stdout(out), redirect_stderr(self.err):
            found = command.main(["outbox", str(self.configuration), *arguments])
        self.assertEqual(found, status, self.err.getvalue())
        return out.getvalue().splitlines()

    def records(self, *options: str) -> list[dict[str, Any]]:
        """
        What it lists for scripts.
        """
        return [json.loads(line) for line in self.outbox("list", "--json", *options)]

    def numbers(self, *options: str) -> list[int]:
        """
        The numbers of what it lists.
        """
        return [record["number"] for record in self.records(*options)]

    def query(self, statement: str) -> list[Any]:
        """
        What is in the file.
        """
        with closing(sqlite3.connect(self.path)) as connection:
            return connection.execute(statement).fetchall()


class ListTests(OutboxTestCase):
    async def test_lines(self) -> None:
        """
        There is a line for each message, oldest first, dead or waiting.
        """
        self.opened()
        await self.dead("one", age=3 * HOUR)
        waiting = await self.written("two", age=90.0)
        await self.journal.postponed(waiting, "500 Internal Server Error", 30.0)
        heading, *lines = [line.split() for line in self.outbox()]
        who = ["events", "romeo@example.net", "->", "bot@bridge.localhost"]
        self.assertEqual(
            lines,
            [
                ["1", "dead", "3h", *who, "0", "404", "Not", "Found"],
                ["2", "waiting", "1m", *who, "1", "500", "Internal", "Server", "Error"],
            ],
        )
        self.assertEqual(heading[0], "NUMBER")
        self.assertEqual(self.outbox(), self.outbox("list"))
        self.assertEqual(self.err.getvalue(), "")

    async def test_filters(self) -> None:
        """
        Dead letters, what waits, and a callback's own are listed by themselves.
        """
        self.opened()
        for number in range(2):
            await self.dead(f"dead {number}", callback=f"c{number}")
            await self.written(f"waiting {number}", callback=f"c{number}")
        self.assertEqual(self.numbers(), [1, 2, 3, 4])
        self.assertEqual(self.numbers("--dead"), [1, 3])
        self.assertEqual(self.numbers("--waiting"), [2, 4])
        self.assertEqual(self.numbers("--callback", "c1"), [3, 4])
        self.assertEqual(self.numbers("--callback", "c1", "--dead"), [3])
        self.assertEqual(self.numbers("--callback", "nonesuch"), [])
        self.assertIn("no messages", self.err.getvalue())

    async def test_limit(self) -> None:
        """
        Of many a hundred are listed, and how many more there are is said apart; or as many as are asked for.
        """
        self.opened()
        for number in range(STEP + 1):
            await self.written(str(number), sender=f"{number}@example.net")
        self.assertEqual(self.numbers(), list(range(1, 101)))
        self.assertEqual(self.err.getvalue(), f"restbridge: {STEP - 99} more; --limit N lists N\n")
        self.assertEqual(self.numbers("--limit", str(STEP + 1)), list(range(1, STEP + 2)))
        self.assertEqual(self.err.getvalue(), "")

    async def test_forScripts(self) -> None:
        """
        With C{--json} there is an object a line, with all but the stanza.
        """
        self.opened()
        self.clock.advance(1_700_000_000.5 - self.clock.seconds())
        await self.dead("one", age=60.0)
        await self.written("two")
        common = {
            "callback": "events",
            "from": "romeo@example.net",
            "to": "bot@bridge.localhost",
            "failures": 0,
        }
        dead = common | {
            "number": 1,
            "state": "dead",
            "webhook_id": "msg_one",
            "received": "2023-11-14T22:12:20Z",
            "died": "2023-11-14T22:13:20Z",
            "problem": "404 Not Found",
        }
        waiting = common | {
            "number": 2,
            "state": "waiting",
            "webhook_id": "msg_two",
            "received": "2023-11-14T22:13:20Z",
            "died": None,
            "problem": "",
        }
        self.assertEqual(self.records(), [dead, waiting])

    async def test_hostile(self) -> None:
        """
        What a terminal would obey, and what would make a line look like two, is printed as escapes.
        """
        self.opened()
        await self.dead("one", "500 \x1b[2J\r\n7 dead \u202e\x9b", sender="a\x07b@example.net")
        (_, line) = self.outbox()
        self.assertTrue(line.endswith(r"500 \x1b[2J\r\n7 dead \u202e\x9b"), line)
        self.assertIn(r"a\x07b@example.net", line)

    async def test_narrowTerminal(self) -> None:
        """
        A terminal that can't show an address gets escapes, not a traceback.
        """
        self.opened()
        await self.dead("one", sender="юлия@example.net")
        terminal = io.TextIOWrapper(io.BytesIO(), "latin-1")
        with redirect_stdout(terminal):
            self.assertEqual(command.main(["outbox", str(self.configuration)]), 0)
        printed = terminal.buffer.getvalue()
        self.assertIn(rb"\u044e\u043b\u0438\u044f@example.net", printed)


class ShowTests(OutboxTestCase):
    async def test_dead(self) -> None:
        """
        All about a dead letter is shown, its stanza as well.
        """
        self.opened()
        self.clock.advance(1_700_000_000.5 - self.clock.seconds())
        await self.dead("wherefore", age=60.0)
        *facts, heading, stanza = self.outbox("show", "1")
        told = dict(fact.split(":", 1) for fact in facts)
        names = "number state callback from to webhook-id received died failures problem"
        self.assertEqual(list(told), names.split())
        self.assertEqual(told["webhook-id"].strip(), "msg_wherefore")
        self.assertIn("2023-11-14T22:13:20Z", told["died"])
        self.assertEqual([heading, stanza], ["stanza:", "<message><body>wherefore</body></message>"])

    async def test_waiting(self) -> None:
        """
        Of what waits is said who holds it, or when it is due.
        """
        self.opened()
        held = await self.written("one")
        self.assertIn("held by:    bridge.localhost", self.outbox("show", "1"))
        await self.journal.postponed(held, "500", 30.0)
        self.assertIn("due", [line.partition(":")[0] for line in self.outbox("show", "1")])

    async def test_hostile(self) -> None:
        """
        What a terminal would obey is shown as the references of XML that mean the same.
        """
        self.opened()
        await self.dead("a\x9b2J\u202eb\nc")
        self.assertEqual(
            self.outbox("show", "1")[-2:], ["<message><body>a&#155;2J&#8238;b", "c</body></message>"]
        )

    async def test_missing(self) -> None:
        """
        A number that isn't there is one line, and 1.
        """
        self.opened()
        await self.written("one")
        self.assertEqual(self.outbox("show", "2", status=1), [])
        self.assertEqual(self.err.getvalue(), "restbridge: neither waiting nor dead: 2\n")


class RetryTests(OutboxTestCase):
    async def claimed(self, callback: str = "events") -> list[str]:
        """
        The webhook ids of what a bridge would call for now.
        """
        self.clock.advance(max(0.0, time.time() - self.clock.seconds()))
        claimed = await self.journal.claim(callback, 100)
        return [message.webhook for page in claimed.values() for message in page]

    async def test_dead(self) -> None:
        """
        A dead letter waits again, under its old number and webhook id, as if it had come now; a bridge finds
        it, though the conversation was over.
        """
        self.opened()
        await self.dead("one", age=80 * HOUR)
        await self.journal.finish([1])
        self.assertEqual(self.outbox("retry", "1"), ["1 dead letters wait again, 0 messages are due now"])
        (record,) = self.records()
        self.assertEqual(
            [record["number"], record["state"], record["failures"], record["problem"]], [1, "waiting", 0, ""]
        )
        ((received,),) = self.query("SELECT received FROM messages")
        self.assertLess(abs(received / 1000 - time.time()), 60.0)
        self.assertEqual(await self.claimed(), ["msg_one"])

    async def test_order(self) -> None:
        """
        It waits at its old place: what came behind it comes behind it again, in the same conversation.
        """
        self.opened()
        await self.dead("one", hold=False)
        await self.written("two", hold=False)
        self.outbox("retry", "1")
        self.assertEqual(await self.claimed(), ["msg_one", "msg_two"])
        self.assertEqual(self.query("SELECT count(*) FROM conversations"), [(1,)])

    async def test_held(self) -> None:
        """
        A conversation that a bridge holds is its own still; what was revived waits in it.
        """
        self.opened()
        await self.dead("one")
        await self.written("two")
        before = self.query("SELECT * FROM conversations")
        self.outbox("retry", "1")
        self.assertEqual(self.query("SELECT * FROM conversations"), before)
        self.assertEqual(await self.journal.finish([1]), {1})
        self.assertEqual([each.webhook for each in await self.journal.page(1)], ["msg_one", "msg_two"])

    async def test_behindPostponed(self) -> None:
        """
        A dead letter whose conversation is postponed now, for the sake of another message, is due at once.
        """
        self.opened()
        await self.dead("one")
        await self.journal.postponed(await self.written("two"), "500", HOUR)
        self.outbox("retry", "1")
        self.assertEqual(await self.claimed(), ["msg_one", "msg_two"])

    async def test_postponed(self) -> None:
        """
        What is postponed becomes due at once, and all behind it; what a bridge holds is left alone.
        """
        self.opened()
        await self.journal.postponed(await self.written("one"), "500", HOUR)
        await self.written("two")
        await self.written("held", sender="juliet@example.net")
        self.assertEqual(await self.claimed(), [])
        self.assertEqual(
            self.outbox("retry", "1", "2", "3"),
            [
                "0 dead letters wait again, 2 messages are due now",
                "1 messages were not postponed: they are called for in their turn",
            ],
        )
        self.assertEqual(await self.claimed(), ["msg_one", "msg_two"])

    async def test_all(self) -> None:
        """
        With C{--all} everything is retried, however much; or all of one callback.
        """
        self.patch(outbox, "PAUSE", 0)
        self.opened()
        for number in range(STEP + 1):
            await self.dead(str(number), sender=f"{number % PAGE}@example.net")
        await self.dead("other", callback="other")
        await self.journal.postponed(await self.written("postponed"), "500", HOUR)
        self.assertEqual(
            self.outbox("retry", "--all", "--callback", "events"),
            [f"{STEP + 1} dead letters wait again, 1 messages are due now"],
        )
        self.assertEqual(self.numbers("--dead"), [STEP + 2])
        self.assertEqual(self.outbox("retry", "--all")[0][:26], "1 dead letters wait again,")
        self.assertEqual(self.numbers("--dead"), [])

    async def test_longConversation(self) -> None:
        """
        A conversation that takes several steps is due once, and counts as such to its end.
        """
        self.opened()
        first, *_ = [await self.written(str(number)) for number in range(STEP + 1)]
        await self.journal.postponed(first, "500", HOUR)
        self.assertEqual(
            self.outbox("retry", "--all"), [f"0 dead letters wait again, {STEP + 1} messages are due now"]
        )

    async def test_missing(self) -> None:
        """
        The others are retried all the same.
        """
        self.opened()
        await self.dead("one")
        self.outbox("retry", "9", "1", "8", status=1)
        self.assertEqual(self.err.getvalue(), "restbridge: neither waiting nor dead: 8, 9\n")
        self.assertEqual(self.numbers("--waiting"), [1])


class DropTests(OutboxTestCase):
    async def test_numbers(self) -> None:
        """
        What is dropped is gone, dead or waiting, and nothing else is.
        """
        self.opened()
        await self.dead("one")
        for text in ("two", "three"):
            await self.written(text)
        self.assertEqual(self.outbox("drop", "1", "2"), ["2 messages dropped"])
        self.assertEqual(self.numbers(), [3])
        self.outbox("drop", "1", status=1)
        self.assertEqual(self.err.getvalue(), "restbridge: neither waiting nor dead: 1\n")

    async def test_conversation(self) -> None:
        """
        A conversation goes with its last message, unless a bridge holds it.
        """
        self.opened()
        await self.written("free", hold=False)
        await self.written("also free", hold=False)
        await self.written("held", sender="juliet@example.net")
        self.outbox("drop", "1")
        self.assertEqual(self.query("SELECT number FROM conversations"), [(1,), (2,)])
        self.outbox("drop", "2", "3")
        self.assertEqual(self.query("SELECT number FROM conversations"), [(2,)])

    async def test_all(self) -> None:
        """
        With C{--all} goes what is dead, or what waits, or both; of one callback, or of all.
        """
        self.patch(outbox, "PAUSE", 0)
        self.opened()
        for number in range(STEP + 1):
            await self.written(str(number), sender=f"{number % PAGE}@example.net")
        await self.written("other", callback="other")
        await self.dead("dead")
        await self.dead("other dead", callback="other")
        dropped = self.outbox("drop", "--all", "--waiting", "--callback", "events")
        self.assertEqual(dropped, [f"{STEP + 1} messages dropped"])
        self.assertEqual(self.numbers(), [STEP + 2, STEP + 3, STEP + 4])
        self.outbox("drop", "--all", "--dead")
        self.assertEqual(self.numbers(), [STEP + 2])
        await self.dead("last")
        self.assertEqual(self.outbox("drop", "--all", "--dead", "--waiting"), ["2 messages dropped"])
        self.assertEqual(self.numbers(), [])


class StoreTests(OutboxTestCase):
    def test_noStoreYet(self) -> None:
        """
        A file that isn't there isn't made: nothing waits in it.
        """
        self.assertEqual(self.outbox(), [])
        said = f"restbridge: nothing waits: there is no store yet at {self.path.absolute()}\n"
        self.assertIn(said, self.err.getvalue())
        self.assertEqual(self.outbox("drop", "--all", "--dead"), ["0 messages dropped"])
        self.outbox("retry", "1", status=1)
        self.assertFalse(self.path.exists())

    def test_unusable(self) -> None:
        """
        A store that can't be opened is one line, without a password, and 1.
        """
        self.path.write_text("This is no database at all, however long one looks at it.")
        for url in (f"sqlite:{self.path}", "postgresql://romeo:balcony@127.0.0.1:1/rest"):
            self.configure(url)
            self.assertEqual(self.outbox(status=1), [])
            (line,) = self.err.getvalue().splitlines()
            self.assertTrue(line.startswith("restbridge: the store "), line)
            self.assertNotIn("balcony", line)

    def test_forbidden(self) -> None:
        """
        So is one that can't even be looked for.
        """
        self.configure(f"sqlite:{self.path.parent}/{'x' * 300}")
        self.outbox(status=1)
        self.assertEqual(len(self.err.getvalue().splitlines()), 1)

    def test_badConfiguration(self) -> None:
        """
        The faults of a configuration are printed as C{check-config} does it, and nothing is done.
        """
        self.configuration.write_text('[component]\ndomian = "a"\n[store]\nurl = "mysql:"')
        check = StringIO()
        with redirect_stdout(check):
            command.main(["check-config", str(self.configuration)])
        self.assertEqual(self.outbox(status=1), check.getvalue().splitlines())
        self.assertEqual(len(check.getvalue().splitlines()), 4)

    async def test_busy(self) -> None:
        """
        While a bridge writes there is something to see all the same; where it takes too long over it, nothing
        is changed, and that is said.
        """
        self.patch(sqlite, "BUSY_TIMEOUT", 0.05)
        self.opened()
        await self.dead("one")
        with closing(sqlite3.connect(self.path, isolation_level=None)) as bridge:
            bridge.execute("BEGIN IMMEDIATE")
            self.assertEqual(self.numbers(), [1])
            self.outbox("retry", "1", status=1)
            self.assertIn("locked", self.err.getvalue())
        self.assertEqual(self.numbers("--dead"), [1])

    async def test_seenEnough(self) -> None:
        """
        A reader that goes away is no traceback.
        """
        self.opened()
        await self.dead("one")
        reading, writing = os.pipe()
        os.close(reading)
        with open(writing, "w") as pipe, redirect_stdout(pipe):
            self.assertEqual(command.main(["outbox", str(self.configuration)]), 1)

    async def test_comesToAnEnd(self) -> None:
        """
        What comes while everything is gone through is left out, however fast it comes.
        """
        self.opened()
        await self.written("first")
        with closing(sqlite.SQLiteConnection(self.path)) as connection:
            pages = Letters(connection, sqlite3.Error).numbers(Which())
            self.assertEqual(next(pages), [1])
            await self.written("second")
            self.assertEqual(list(pages), [])

    async def test_undone(self) -> None:
        """
        What the database has undone, since somebody else was in the way, is done again.
        """
        self.opened()
        await self.dead("one")
        with closing(Troubled(self.path)) as connection:
            letters = Letters(connection, sqlite3.Error)
            self.assertEqual(letters.retry([1], 0), {1: Retried.REVIVED})
        self.assertEqual(self.numbers("--waiting"), [1])


class Troubled(sqlite.SQLiteConnection):
    """
    A connection whose first transactions come to nothing.
    """

    troubles = ATTEMPTS - 1

    def commit(self) -> None:
        if self.troubles:
            self.troubles -= 1
            raise sqlite3.OperationalError("deadlock")
        super().commit()


class UsageTests(OutboxTestCase):
    def test_bad(self) -> None:
        """
        What makes no sense is bad usage: 2, before anything is looked at.
        """
        for line in (
            *("nonesuch", "show", "show x", "show 0", "list --limit 0", f"show {1 << 63}"),
            *("retry", "drop", "retry 1 --all", "drop 1 --all", "drop --all", "drop --all --callback c"),
            *("retry 1 --callback c", "drop 1 --dead", "retry --all --dead"),
        ):
            left = self.assertRaises(SystemExit, self.outbox, *line.split())
            self.assertEqual(left.code, 2, line)
        self.assertFalse(self.path.exists())
