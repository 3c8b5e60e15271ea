"""
C{restbridge outbox}: what an operator sees of durable callbacks, and can do about it, beside bridges that run
or without any.
"""

from __future__ import annotations

import json
import os
import sys
import time
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime
from io import TextIOWrapper
from itertools import islice
from pathlib import Path

from restbridge.config import ConfigurationRefused, load
from restbridge.config.files import isThere
from restbridge.store.database import Engine
from restbridge.store.engines import SQLITE, engineAt
from restbridge.store.letters import PAGE, Letter, Letters, Retried, Which
from restbridge.store.sqlite import sqliteEngine

LISTED = 100
"""Messages that are listed, if the operator asks for no other number."""

PAUSE = 0.05
"""Seconds between two steps of a long operation, in which a bridge gets at the store."""

HEADING = " NUMBER  STATE     AGE  CALLBACK  FROM -> TO  FAILURES  PROBLEM"
UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))

ABOUT_RETRY = """
Dead letters wait again, at their old places in their conversations, as if they had come now; what was
postponed is due at once. A running bridge takes them up within seconds. What waits for a callback that is
down, or for what is in front of it, waits on: it is called for in its turn.
"""
ABOUT_DROP = """
They are deleted for good; their senders hear nothing of it. A message that a bridge is calling for right
now, or has read in the last ten seconds, may still go out.
"""


def describe(parser: ArgumentParser) -> None:
    """
    Say what the command takes.

    @param parser: the command's own.
    """
    parser.add_argument("file", metavar="FILE", type=Path, help="the bridge's configuration")
    parser.set_defaults(command=outbox, check=lambda _: None)
    parser.set_defaults(act=_list, waiting=False, dead=False, callback=None, limit=LISTED, json=False)
    commands = parser.add_subparsers(metavar="COMMAND", title="commands")
    _describeList(commands.add_parser("list", help="a line for each message, oldest first (the default)"))
    show = commands.add_parser("show", help="all about one message, its stanza included")
    show.add_argument("number", metavar="NUMBER", type=_number)
    show.set_defaults(act=_show)
    words = "have messages tried again, dead or postponed"
    _describeRetry(commands.add_parser("retry", help=words, description=ABOUT_RETRY))
    _describeDrop(commands.add_parser("drop", help="delete messages", description=ABOUT_DROP))


def _describeList(parser: ArgumentParser) -> None:
    _addKinds(parser, "only dead letters", "only what waits")
    parser.add_argument("--callback", metavar="NAME", help="only of this callback: its name, or else its url")
    parser.add_argument(
        "--limit", metavar="N", type=_number, default=LISTED, help=f"at most so many: {LISTED} by default"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a line, for scripts")
    parser.set_defaults(act=_list)


def _describeRetry(parser: ArgumentParser) -> None:
    _addNumbers(parser, "all of them")
    parser.set_defaults(act=_retry, check=lambda options: _checkNumbers(parser, options))


def _describeDrop(parser: ArgumentParser) -> None:
    _addNumbers(parser, "all that --dead, --waiting or both mean")
    _addKinds(parser, "with --all: dead letters", "with --all: what waits")

    def check(options: Namespace) -> None:
        _checkNumbers(parser, options)
        if options.all and not (options.dead or options.waiting):
            parser.error("--all needs --dead, --waiting or both")

    parser.set_defaults(act=_drop, check=check)


def _addKinds(parser: ArgumentParser, dead: str, waiting: str) -> None:
    parser.add_argument("--dead", action="store_true", help=dead)
    parser.add_argument("--waiting", action="store_true", help=waiting)


def _addNumbers(parser: ArgumentParser, meaningOfAll: str) -> None:
    meant = parser.add_mutually_exclusive_group(required=True)
    # Only with a default may it be left out.
    meant.add_argument("numbers", metavar="NUMBER", type=_number, nargs="*", default=[])
    meant.add_argument("--all", action="store_true", help=meaningOfAll)
    words = "with --all: only of this callback; its name, or else its url"
    parser.add_argument("--callback", metavar="NAME", help=words)


def _checkNumbers(parser: ArgumentParser, options: Namespace) -> None:
    if not options.all and (options.dead or options.waiting or options.callback is not None):
        parser.error("--callback, --dead and --waiting need --all")


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text) < 1 << 63):
        raise ArgumentTypeError(f"{text!r} is no number that a message could have")
    return int(text)


def outbox(options: Namespace) -> int:
    """
    Do what the operator asks for.

    @return: the exit status: 1 where it could not be done, or not with all of the messages.
    """
    options.check(options)
    if isinstance(sys.stdout, TextIOWrapper):
        # Addresses are in Unicode, terminals not always.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        url = load(options.file).store.url.reveal()
    except ConfigurationRefused as refused:
        print(refused)
        return 1
    try:
        return _do(options, _engine(url))
    except BrokenPipeError:
        # Whoever reads has seen enough; what Python has still to write would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        _say(str(error))
        return 1


def _do(options: Namespace, engine: Engine) -> int:
    try:
        with closing(engine.connect()) as connection:
            status: int = options.act(options, Letters(connection, engine.failure))
    except engine.failure as error:
        _say(f"the store {engine.name} can't be used: {' '.join(str(error).split())}")
        return 1
    sys.stdout.flush()
    return status


def _engine(url: str) -> Engine:
    """
    The store; an empty one in the stead of a file that isn't there, since it isn't for us to make it.
    """
    path = Path(url.removeprefix(SQLITE))
    if not url.startswith(SQLITE) or isThere(path):
        return engineAt(url)
    _say(f"nothing waits: there is no store yet at {path.absolute()}")
    return sqliteEngine(Path(":memory:"))


def _list(options: Namespace, letters: Letters) -> int:
    which = _which(options)
    shown = 0
    for shown, letter in enumerate(islice(letters.select(which), options.limit), 1):
        if options.json:
            print(json.dumps(_record(letter)))
        else:
            if shown == 1:
                print(HEADING)
            print(_line(letter))
    left = letters.count(which) - shown if shown == options.limit else 0
    if left > 0:
        _say(f"{left} more; --limit N lists N")
    elif not shown:
        _say("no messages")
    return 0


def _which(options: Namespace) -> Which:
    both = options.dead == options.waiting
    return Which(waiting=options.waiting or both, dead=options.dead or both, callback=options.callback)


def _line(letter: Letter) -> str:
    start = f"{letter.number:>7}  {_state(letter):<7}  {_age(letter.received):>4}  {letter.callback}"
    end = f"{letter.sender} -> {letter.recipient}  {letter.failures}  {letter.problem}"
    return _printable(f"{start}  {end}".rstrip())


def _record(letter: Letter) -> dict[str, object]:
    return {
        "number": letter.number,
        "state": _state(letter),
        "callback": letter.callback,
        "from": letter.sender,
        "to": letter.recipient,
        "webhook_id": letter.webhook,
        "received": _date(letter.received),
        "died": None if letter.died is None else _date(letter.died),
        "failures": letter.failures,
        "problem": letter.problem,
    }


def _show(options: Namespace, letters: Letters) -> int:
    found = letters.find(options.number)
    if found is None:
        return _missing([options.number])
    letter, stanza = found
    for name, value in _facts(letter):
        print(_printable(f"{name + ':':<12}{value}"))
    print("stanza:", _harmless(stanza), sep="\n")
    return 0


def _facts(letter: Letter) -> Iterator[tuple[str, object]]:
    yield "number", letter.number
    yield "state", _state(letter)
    yield "callback", letter.callback
    yield "from", letter.sender
    yield "to", letter.recipient
    yield "webhook-id", letter.webhook
    yield "received", f"{_date(letter.received)}, {_age(letter.received)} ago"
    if letter.died is not None:
        yield "died", f"{_date(letter.died)}, {_age(letter.died)} ago"
    yield "failures", letter.failures
    yield "problem", letter.problem
    if letter.holder is not None:
        yield "held by", letter.holder
    elif letter.due is not None:
        yield "due", _date(letter.due)


def _retry(options: Namespace, letters: Letters) -> int:
    counts: Counter[Retried] = Counter()
    missing: set[int] = set(options.numbers)
    # All in the same moment: what a step has hastened counts as such in the next one, too.
    now = _now()
    for numbers in _steps(options, letters):
        outcomes = letters.retry(numbers, now)
        counts.update(outcomes.values())
        missing -= outcomes.keys()
    print(
        f"{counts[Retried.REVIVED]} dead letters wait again, {counts[Retried.HASTENED]} messages are due now"
    )
    if counts[Retried.IN_TURN]:
        print(f"{counts[Retried.IN_TURN]} messages were not postponed: they are called for in their turn")
    return _missing(missing) if missing else 0


def _drop(options: Namespace, letters: Letters) -> int:
    which = _which(options)
    count = 0
    missing: set[int] = set(options.numbers)
    for numbers in _steps(options, letters):
        dropped = letters.drop(numbers, which)
        count += len(dropped)
        missing -= dropped
    print(f"{count} messages dropped")
    return _missing(missing) if missing else 0


def _steps(options: Namespace, letters: Letters) -> Iterator[Sequence[int]]:
    """
    The numbers of what is meant, not too many at once.
    """
    if not options.all:
        given = sorted(set(options.numbers))
        yield from (given[start : start + PAGE] for start in range(0, len(given), PAGE))
        return
    for numbers in letters.numbers(_which(options)):
        yield numbers
        time.sleep(PAUSE)


def _missing(numbers: set[int] | list[int]) -> int:
    _say(f"neither waiting nor dead: {', '.join(map(str, sorted(numbers)))}")
    return 1


def _state(letter: Letter) -> str:
    return "waiting" if letter.died is None else "dead"


def _now() -> int:
    return int(time.time() * 1000)


def _date(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _age(milliseconds: int) -> str:
    seconds = max(0, _now() - milliseconds) // 1000
    return next((f"{seconds // size}{unit}" for unit, size in UNITS if seconds >= size), "0s")


def _printable(text: str) -> str:
    """
    Without what a terminal would obey: addresses and problems come from anybody.
    """
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text
    )


def _harmless(xml: str) -> str:
    """
    The same document, likewise.
    """
    return "".join(
        letter if letter.isprintable() or letter == "\n" else f"&#{ord(letter)};" for letter in xml
    )


def _say(text: str) -> None:
    print(f"restbridge: {_printable(text)}", file=sys.stderr)
