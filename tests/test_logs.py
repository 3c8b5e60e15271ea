"""
L{restbridge.logs}: what becomes of an event.
"""

from __future__ import annotations

import json
import sys
from io import BytesIO, StringIO, TextIOWrapper
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import (
    LegacyLogObserverWrapper,
    LogEvent,
    Logger,
    LogLevel,
    LogPublisher,
    textFileLogObserver,
)
from twisted.python import log as legacy
from twisted.python.failure import Failure
from twisted.python.usage import UsageError
from twisted.scripts._twistd_unix import ServerOptions
from twisted.trial.unittest import SynchronousTestCase

from restbridge import logs
from restbridge.logs import JSON, About, Levels, Lines, Text, Twistd, chooseLog, requestId, wants
from restbridge.tap import Options

NAMESPACE = "restbridge.web.site.BridgeSite"
NOON = 1_800_000_000.1239


class Written:
    """
    Where lines go.

    @ivar lines: those that a killed process would have left.
    """

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self._pending: list[bytes] = []

    def write(self, data: bytes) -> None:
        self._pending.append(data)

    def flush(self) -> None:
        self.lines += self._pending
        self._pending.clear()


class Refusing:
    """
    What can't be told.
    """

    def __str__(self) -> str:
        raise RuntimeError("no")

    def __repr__(self) -> str:
        return "Refusing"


def event(form: str | None = "{what}", level: Any = LogLevel.info, **fields: Any) -> LogEvent:
    """
    An event as a L{Logger} makes it.
    """
    return {
        "log_time": NOON,
        "log_level": level,
        "log_namespace": NAMESPACE,
        "log_format": form,
        **fields,
    }


def failure() -> Failure:
    try:
        raise ValueError("a fault\nof two lines")
    except ValueError:
        return Failure()


class TextTests(SynchronousTestCase):
    def line(self, told: LogEvent) -> str:
        return Text()(told).decode()

    def test_asTwisted(self) -> None:
        """
        A line is what twistd itself would write.
        """
        for told in (
            event(what="something"),
            event("{a.b[c]} {d!r} {e:>5.1f} {f()}", a=Failure, d="'", e=1.0, f=lambda: 7),
            event("{a} {b}", a=1),
            event("{a", a=1),
            event(what=Refusing()),
            event(what="two\nlines\tand a tab"),
            event("failed", log_failure=failure()),
            event("", log_failure=failure()),
            event(log_format=b"bytes"),
            event(None),
            event(""),
            event(what="legacy", log_system="a system"),
        ):
            classic = StringIO()
            textFileLogObserver(classic)({**told})
            self.assertEqual(classic.getvalue(), self.line(told), told)

    def test_second(self) -> None:
        """
        Each line has the time of its own event, also where it goes back.
        """
        form = Text()
        times = [form({**event("x"), "log_time": time})[:19] for time in (0.9, 1.0, 1.99, 0.5, NOON)]
        self.assertEqual([times[0], times[1], times[1], times[0]], times[:4])
        self.assertEqual(4, len({*times, b""}))

    def test_request(self) -> None:
        """
        What happens on behalf of a request names it: that which it is said to be about, else that which is
        being worked for.
        """
        self.assertIn(f"[{NAMESPACE}#info] x", self.line(event("x")))
        with About("r-1"):
            self.assertIn(f"[{NAMESPACE}#info r-1] x", self.line(event("x")))
            self.assertIn(f"[{NAMESPACE}#info r-2] x", self.line(event("x", request="r-2")))
            self.assertIn("#info r-1] x", self.line(event("x", request=None)))
        self.assertIsNone(requestId.get())

    @given(st.text())
    def test_oneLine(self, text: str) -> None:
        """
        No text begins a line that could be taken for another event's, or speaks to the terminal.
        """
        for told in (event(what=text), event("x", log_system=text)):
            lines = Text()(told).decode().split("\n")
            self.assertEqual("", lines.pop())
            for line in lines[1:]:
                self.assertTrue(line.startswith("\t"))
            self.assertEqual(len(lines), len("\n".join(lines).splitlines()))
            self.assertNotRegex("".join(lines), "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")

    def test_surrogates(self) -> None:
        """
        What UTF-8 has no bytes for is written all the same.
        """
        self.assertIn(r"a\udcffb", self.line(event(what="a\udcffb")))


class JSONTests(SynchronousTestCase):
    def line(self, told: LogEvent) -> dict[str, Any]:
        written = JSON()(told)
        self.assertEqual([b"\n"], [written[-1:]])
        self.assertNotIn(b"\n", written[:-1])
        line: dict[str, Any] = json.loads(written)
        return line

    def test_fields(self) -> None:
        """
        An event is an object: when, how grave, from where, in words, and its own fields as they are.
        """
        self.assertEqual(
            {
                "time": "2027-01-15T08:00:00.123Z",
                "level": "warn",
                "namespace": NAMESPACE,
                "message": "a 1",
                "s": "a",
                "i": 1,
                "f": 0.5,
                "b": True,
                "n": None,
            },
            self.line(event("{s} {i}", LogLevel.warn, s="a", i=1, f=0.5, b=True, n=None)),
        )

    def test_others(self) -> None:
        """
        What is no plain value is only in the words, if at all; nothing of an event takes the place of what
        every line has.
        """
        told = event("{bytes} {list}", bytes=b"b", list=[1], time=0, message=("m",), namespace="n")
        line = self.line({**told, "level": "x"})
        self.assertEqual({"time", "level", "namespace", "message"}, set(line))
        self.assertEqual(("info", NAMESPACE, "b'b' [1]"), (line["level"], line["namespace"], line["message"]))

    def test_request(self) -> None:
        """
        Likewise the request.
        """
        self.assertNotIn("request", self.line(event("x")))
        with About("r-1"):
            self.assertEqual("r-1", self.line(event("x"))["request"])
            self.assertEqual("r-2", self.line(event("x", request="r-2"))["request"])

    def test_traceback(self) -> None:
        """
        A failure is a field, with its traceback.
        """
        line = self.line(event("it failed", log_failure=failure()))
        self.assertEqual("it failed", line["message"])
        self.assertIn("ValueError: a fault\nof two lines", line["traceback"])

    @given(st.dictionaries(st.text(), st.text(st.characters()) | st.integers() | st.floats()))
    def test_anything(self, fields: dict[str, Any]) -> None:
        """
        Any plain field can be told, also where JSON has no form for it.
        """
        fields = {name: value for name, value in fields.items() if not name.startswith("log_")}
        self.line(event("x", big=2**80, lone="\udcff", **{f"x{name}": fields[name] for name in fields}))

    def test_unsayable(self) -> None:
        """
        What can't be said in words is told of, as Twisted does.
        """
        self.assertIn("Unable to format", self.line(event(what=Refusing()))["message"])


class LinesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(logs, "levels", Levels())
        self.written = Written()

    def log(self, *namespaces: str) -> list[Logger]:
        lines = LogPublisher(Lines(self.written, lambda told: f"{told['log_format']}\n".encode()))
        return [Logger(namespace, observer=lines) for namespace in namespaces]

    def said(self) -> list[str]:
        return [line.decode().strip() for line in self.written.lines]

    def test_levels(self) -> None:
        """
        Each part says what it shall say, the innermost one that is named; the rest what is said by default,
        which is info.
        """
        namespaces = (
            "restbridge.web.site.BridgeSite",
            "restbridge.web.guard",
            "restbridge.webhook",
            "twisted",
        )
        for chosen in ("web.site=error", "web=debug"):
            logs.levels.choose(chosen)
        for log in self.log(*namespaces):
            for level in LogLevel.iterconstants():
                log.emit(level, f"{log.namespace} {level.name}")
                told = f"{log.namespace} {level.name}" in self.said()
                self.assertEqual(told, wants(log, level), (log.namespace, level))
        counts = [sum(line.startswith(f"{namespace} ") for line in self.said()) for namespace in namespaces]
        self.assertEqual([2, 5, 4, 4], counts)

    def test_atOnce(self) -> None:
        """
        A line is out before anything else happens.
        """
        (log,) = self.log("restbridge")
        log.info("one")
        self.assertEqual(["one"], self.said())

    def test_nothing(self) -> None:
        """
        What has nothing to say writes nothing.
        """
        lines = Lines(self.written, Text())
        lines(event(""))
        self.assertEqual([], self.written.lines)

    def test_legacy(self) -> None:
        """
        Twisted's old log is read too.
        """
        lines = Lines(self.written, JSON())
        publisher = legacy.LogPublisher(publishPublisher=LogPublisher(lines))
        publisher.addObserver(lambda _: None)
        publisher.msg("an old", "message", number=1)
        (line,) = map(json.loads, self.written.lines)
        self.assertEqual(("an old message", "info", 1), (line["message"], line["level"], line["number"]))

    def test_refused(self) -> None:
        """
        A level or part that doesn't exist is refused, in words.
        """
        for said, word in (
            ("loud", "'loud'"),
            ("web=loud", "'loud'"),
            ("", "''"),
            ("nose=info", "'nose'"),
            ("web.nose=info", "'web.nose'"),
            ("=info", "''"),
            ("..=info", "'..'"),
            ("web.site.BridgeSite=info", "BridgeSite"),
            ("restbridge.web=info", "restbridge.web"),
        ):
            with self.assertRaises(ValueError) as caught:
                logs.levels.choose(said)
            self.assertIn(word, str(caught.exception))
        self.assertEqual(Levels(), logs.levels)


class OptionsTests(SynchronousTestCase):
    """
    What twistd makes of the command line.
    """

    def setUp(self) -> None:
        self.patch(logs, "levels", Levels())
        self.patch(logs, "twistd", Twistd())

    def read(self, *arguments: str, before: tuple[str, ...] = ("-n",)) -> ServerOptions:
        options = ServerOptions()
        options.parseOptions([*before, "restbridge", "--demo", *arguments])
        return options

    def test_default(self) -> None:
        """
        Lines are for people; from info on.
        """
        output = BytesIO()
        self.patch(sys, "stdout", TextIOWrapper(output))
        lines = self.read()["logger"]()
        lines(event(what="a line"))
        lines(event(what="a detail", level=LogLevel.debug))
        self.assertRegex(output.getvalue(), rb"\A\S+ \[\S+#info\] a line\n\Z")

    def test_chosen(self) -> None:
        """
        Or for programs, and from other levels on.
        """
        output = BytesIO()
        self.patch(sys, "stdout", TextIOWrapper(output))
        arguments = ("--log-format", "json", "--log-level", "error", "--log-level", "web.site=debug")
        lines = self.read(*arguments)["logger"]()
        lines(event(what="a detail", level=LogLevel.debug))
        lines({**event(what="a warning", level=LogLevel.warn), "log_namespace": "restbridge.web"})
        (line,) = output.getvalue().splitlines()
        self.assertEqual("a detail", json.loads(line)["message"])

    def test_file(self) -> None:
        """
        Lines go to the file that twistd is told.
        """
        path = self.mktemp()
        lines = self.read(before=("--logfile", path))["logger"]()
        lines(event(what="a line"))
        with open(path) as file:
            self.assertIn("a line", file.read())

    def test_faulty(self) -> None:
        """
        What can't be chosen ends the start.
        """
        for arguments in (("--log-format", "xml"), ("--log-level", "loud"), ("--log-level", "nose=info")):
            with self.assertRaises(UsageError) as caught:
                self.read(*arguments)
            self.assertIn(arguments[1].partition("=")[0], str(caught.exception))

    def test_others(self) -> None:
        """
        A log that goes elsewhere is left alone; and nobody may believe to have chosen its form.
        """
        for before in (("-n", "--syslog"), ("-n", "--logger", "twisted.logger.FileLogObserver")):
            self.assertNotIsInstance(getattr(self.read(before=before)["logger"], "__self__", None), Twistd)
            for arguments in (("--log-format", "text"), ("--log-level", "warn")):
                with self.assertRaises(UsageError):
                    self.read(*arguments, before=before)

    def test_noTwistd(self) -> None:
        """
        Without twistd the options are read all the same.
        """
        Options().parseOptions(["--demo", "--log-level", "xmpp=debug"])
        self.assertEqual({"restbridge.xmpp": LogLevel.debug}, logs.levels.parts)
        chooseLog({}, None, [])

    def test_observer(self) -> None:
        """
        Twisted takes what writes for one of its own observers, not for one of its old log's.
        """
        self.assertNotIsInstance(self.read()["logger"](), LegacyLogObserverWrapper)
