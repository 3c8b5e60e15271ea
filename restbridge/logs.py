"""
The log: which events become lines, what a line looks like, and whose request it is about.

::

    Logger -> level of its part -> Text: 2026-11-22T13:00:00+0000 [restbridge.web#info 5f1c-1] ...
                                -> JSON: {"time":"2026-11-22T13:00:00.123Z", ..., "request":"5f1c-1"}

A line is written when its event happens, whole: nothing is lost with a process that is killed. Twisted's own
observer says the same in three times the time, most of it for the time of day.
"""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from datetime import UTC, datetime
from functools import partial
from importlib.util import find_spec
from time import time
from typing import Any, Protocol

import attrs
import msgspec
from constantly import NamedConstant
from twisted.logger import (
    ILogObserver,
    LogEvent,
    Logger,
    LogLevel,
    formatEvent,
    formatTime,
)
from twisted.python.logfile import LogFile
from zope.interface import implementer

requestId: ContextVar[str | None] = ContextVar("requestId", default=None)
"""The request that is being worked for, if any: coroutines keep it from their beginning to their end."""


class About:
    """
    While it is entered, what is logged is about a request.
    """

    def __init__(self, request: str) -> None:
        self._request = request

    def __enter__(self) -> None:
        self._token = requestId.set(self._request)

    def __exit__(self, *_: object) -> None:
        requestId.reset(self._token)


_RANKS: dict[NamedConstant, int] = {level: rank for rank, level in enumerate(LogLevel.iterconstants())}
_NAMES = {level.name: level for level in _RANKS}
_PART = re.compile(r"[a-z0-9_]+(\.[a-z0-9_]+)*")

_SHOWN = {code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))}
_SHOWN |= {0x2028: "\\u2028", 0x2029: "\\u2029", ord("\n"): "\n\t", ord("\t"): "\t"}
"""What else would end a line of the log, or write to the terminal what nobody has said."""

_PLAIN = (str, int, float, bool, type(None))
_TAKEN = frozenset(
    # The lines' own, then those of Twisted's legacy log.
    (
        *("time", "level", "namespace", "message", "request", "traceback"),
        *("system", "isError", "format", "failure", "why", "printed"),
    )
)


class Output(Protocol):
    """
    Where lines go.
    """

    def write(self, data: bytes, /) -> object: ...

    def flush(self) -> object: ...


@attrs.define
class Levels:
    """
    From which level on events are logged.

    @ivar parts: for single parts: names of modules.
    """

    default: NamedConstant = LogLevel.info
    parts: dict[str, NamedConstant] = attrs.field(factory=dict)

    def choose(self, said: str) -> None:
        """
        Take over what an operator says: C{LEVEL}, or C{PART=LEVEL}, as in C{web.site=warn}.

        @raise ValueError: in words, if there is no such part, or level.
        """
        part, named, name = said.rpartition("=")
        level = _NAMES.get(name)
        if level is None:
            raise ValueError(f"no level is called {name!r}; allowed: {', '.join(_NAMES)}")
        if not named:
            self.default = level
        elif _exists(part):
            self.parts[f"restbridge.{part}"] = level
        else:
            raise ValueError(f"restbridge has no part {part!r}; allowed: its modules, as web, web.site, xmpp")

    def of(self, namespace: str) -> NamedConstant:
        """
        The least level of a part that is logged.
        """
        part = namespace
        while part:
            if part in self.parts:
                return self.parts[part]
            part = part.rpartition(".")[0]
        return self.default


levels = Levels()
"""This process's."""


def wants(log: Logger, level: NamedConstant) -> bool:
    """
    Whether anybody reads what C{log} says at this level: for what is said so often that it costs something.
    """
    return _RANKS[level] >= _RANKS[levels.of(log.namespace)]


def tell(log: Logger, form: str, **fields: object) -> None:
    """
    Say at level info what is said so often that it costs something: C{Logger.info} in half the time, which
    takes the other half to make sure that there is such a level.
    """
    log.observer(
        {
            **fields,
            "log_logger": log,
            "log_level": LogLevel.info,
            "log_namespace": log.namespace,
            "log_source": log.source,
            "log_format": form,
            "log_time": time(),
        }
    )


def _exists(part: str) -> bool:
    if _PART.fullmatch(part) is None:
        return False
    try:
        return find_spec(f"restbridge.{part}") is not None
    except ModuleNotFoundError:
        return False


@implementer(ILogObserver)
class Lines:
    """
    Writes a line for each event of a level that is logged.
    """

    def __init__(self, output: Output, form: Callable[[LogEvent], bytes]) -> None:
        """
        @param form: an event as a line; empty for none.
        """
        self._output = output
        self._form = form
        self._least: dict[str, int] = {}

    def __call__(self, event: LogEvent) -> None:
        namespace = event.get("log_namespace", "")
        least = self._least.get(namespace)
        if least is None:
            least = self._least[namespace] = _RANKS[levels.of(namespace)]
        if _RANKS[event.get("log_level", LogLevel.info)] < least:
            return
        line = self._form(event)
        if line:
            self._output.write(line)
            self._output.flush()


class Text:
    """
    Lines for people, in twistd's own form; those about a request name it.
    """

    def __init__(self) -> None:
        self._second = -1
        self._time = ""

    def __call__(self, event: LogEvent) -> bytes:
        text = said(event)
        failure = event.get("log_failure")
        if failure is not None:
            text = f"{text}\n{failure.getTraceback()}"
        if not text:
            return b""
        if not text.isprintable():
            text = text.translate(_SHOWN)
        second = int(event["log_time"])
        if second != self._second:
            self._second, self._time = second, formatTime(second)
        request = _request(event)
        about = "" if request is None else f" {request}"
        return f"{self._time} [{_system(event)}{about}] {text}\n".encode("utf-8", "backslashreplace")


class JSON:
    """
    Lines for programs: one object each, with the event's own fields.
    """

    def __init__(self) -> None:
        self._second = -1
        self._time = ""
        self._encode = msgspec.json.Encoder().encode

    def __call__(self, event: LogEvent) -> bytes:
        time = event["log_time"]
        second = int(time)
        if second != self._second:
            self._second = second
            self._time = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        line: dict[str, Any] = {
            "time": f"{self._time}.{int((time - second) * 1000):03d}Z",
            "level": event.get("log_level", LogLevel.info).name,
            "namespace": event.get("log_namespace", ""),
            "message": said(event),
        }
        request = _request(event)
        if request is not None:
            line["request"] = request
        line |= {name: event[name] for name in event if _isOwn(name, event[name])}
        failure = event.get("log_failure")
        if failure is not None:
            line["traceback"] = failure.getTraceback()
        try:
            return self._encode(line) + b"\n"
        except (UnicodeEncodeError, OverflowError):
            return self._encode({name: _encodable(value) for name, value in line.items()}) + b"\n"


FORMS: Mapping[str, Callable[[], Callable[[LogEvent], bytes]]] = {"text": Text, "json": JSON}


def said(event: LogEvent) -> str:
    """
    An event in words.
    """
    form = event.get("log_format")
    if type(form) is not str or "()" in form:
        return formatEvent(event)
    try:
        return form.format_map(event)
    except Exception:
        # It says in words what could not be said, and why.
        return formatEvent(event)


def _isOwn(name: str, value: object) -> bool:
    """
    Whether a field is the event's own, and one that JSON has a form for.
    """
    return type(value) in _PLAIN and name not in _TAKEN and not name.startswith("log_")


def _request(event: LogEvent) -> str | None:
    request = event.get("request")
    return request if type(request) is str else requestId.get()


def _system(event: LogEvent) -> str:
    system = event.get("log_system")
    if system is not None:
        return str(system).translate(_SHOWN)
    return f"{event.get('log_namespace', '-')}#{event.get('log_level', LogLevel.info).name}"


def _encodable(value: object) -> object:
    """
    A value that JSON has no form for as text: a lone surrogate, an integer of more than 64 bits.
    """
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value


@attrs.define
class Twistd:
    """
    How twistd writes the log.

    @ivar options: its own.
    @ivar form: a name in L{FORMS}.
    """

    options: Mapping[str, Any] = attrs.field(factory=dict)
    form: str = "text"

    def observer(self) -> Lines:
        """
        What writes where the options say: to standard output, or to a file that SIGUSR1 rotates.
        """
        return Lines(_output(self.options), FORMS[self.form]())


twistd = Twistd()
"""This process's: twistd knows what writes its log by a name alone."""


def _output(options: Mapping[str, Any]) -> Output:
    path = options["logfile"]
    if path == "-" and not options["nodaemon"]:
        sys.exit("Daemons cannot log to stdout, exiting!")
    if path == "-" or (options["nodaemon"] and not path):
        return sys.stdout.buffer
    file: LogFile = LogFile.fromFullPath(path or "twistd.log")
    if not signal.getsignal(signal.SIGUSR1):
        signal.signal(signal.SIGUSR1, partial(_rotate, file))
    return file


def _rotate(file: LogFile, *_: object) -> None:
    from twisted.internet import reactor

    reactor.callFromThread(file.rotate)  # type: ignore[attr-defined]  # a module that is the reactor


def chooseLog(options: dict[str, Any], form: str | None, chosen: Sequence[str]) -> None:
    """
    Have twistd log as an operator says.

    @param options: twistd's own.
    @param form: a name in L{FORMS}; L{None} for lines for people.
    @param chosen: see L{Levels.choose}.
    @raise ValueError: in words; it can't be done.
    """
    for each in chosen:
        levels.choose(each)
    if form not in (None, *FORMS):
        raise ValueError(f"no form of the log is called {form!r}; allowed: {', '.join(FORMS)}")
    if not (options.get("syslog") or options.get("logger")):
        twistd.options, twistd.form = options, form or "text"
        options["logger"] = f"{__name__}.twistd.observer"
    elif form or chosen:
        raise ValueError("--log-format and --log-level have no effect on --syslog and --logger: choose")
