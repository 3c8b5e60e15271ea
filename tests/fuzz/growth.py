"""
Whether four times as long an input takes about four times as much, and not sixteen.

Steps of Python are counted, not timed. What C code takes (expat, regular expressions, codecs) is bounded by
processor time so amply that only work beyond all measure passes it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from random import Random
from time import thread_time
from types import FrameType
from typing import Any

from tests.fuzz.targets import Target

SHORT = 1024
"""Bytes that are counted, and four times as many."""

LONG = 128 * 1024
"""Bytes that are timed."""

MOST = 10.0
"""How many times the steps four times the input may take: 4 is linear, 16 quadratic."""

FLOOR = 200
"""Steps for each byte that are nothing: an address that is remembered takes none."""

ALLOWED = 4.0
"""Seconds of processor time for L{LONG}. What is linear takes a tenth of it at most."""


class TooSlow(Exception):
    """
    A parser that takes out of all proportion.
    """


def steps(target: Target, data: bytes) -> int:
    """
    How many instructions of Python a target takes.
    """
    count = 0

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += 1
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        target(data)
    finally:
        sys.settrace(before)
    return count


def stretched(seed: bytes, random: Random) -> Iterator[bytes]:
    """
    An input in growing lengths: 1, 4 and then 128 times L{SHORT}, by a piece of it that is repeated.
    """
    start = random.randrange(len(seed))
    piece = seed[start : start + random.randint(1, 24)]
    for size in (SHORT, 4 * SHORT, LONG):
        yield seed[:start] + piece * (size // len(piece)) + seed[start + len(piece) :]


def check(target: Target, seed: bytes, random: Random) -> None:
    """
    Let one input grow.

    @raise TooSlow: the target takes too much of it.
    """
    short, longer, long = stretched(seed, random)
    # What is made at the first call is not to count; and of code that was never traced before, Pythons from
    # 3.12 on trace next to nothing.
    steps(target, longer)
    few, many = steps(target, short), steps(target, longer)
    if many > FLOOR * len(longer) and many > MOST * few:
        raise TooSlow(f"{few} steps become {many} when the input is four times as long: {short[:200]!r}")
    began = thread_time()
    target(long)
    taken = thread_time() - began
    if taken > ALLOWED:
        raise TooSlow(f"{taken:.1f} s of processor time for {len(long)} bytes: {long[:200]!r}")
