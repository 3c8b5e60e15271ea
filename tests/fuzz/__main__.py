"""
C{python -m tests.fuzz [SECONDS]}: all targets, in that time altogether; it fails where one of them does.

C{python -m tests.fuzz TARGET FILE}: one input, as a finding is looked at.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from time import monotonic

import atheris

# Before anything is imported that is to be watched.
with atheris.instrument_imports(include=["restbridge"], enable_loader_override=False):
    from tests.fuzz import growth
    from tests.fuzz.seeds import seeds
    from tests.fuzz.targets import TARGETS

SECONDS = 60

GROWTH = 0.25
"""The part of the time in which inputs grow."""

MAX_LENGTH = 4096
"""Bytes of an input."""

_EXECUTED = re.compile(r"stat::number_of_executed_units:\s*(\d+)")


def main(arguments: list[str]) -> int:
    if len(arguments) == 2:
        TARGETS[arguments[0]](Path(arguments[1]).read_bytes())
        return 0
    seconds = int(arguments[0]) if arguments else SECONDS
    corpus = seeds()
    failures = _grow(corpus, seconds * GROWTH) + _fuzz(corpus, seconds * (1 - GROWTH))
    sys.stdout.write(f"{len(TARGETS)} targets, {failures} findings\n")
    return 1 if failures else 0


def _grow(corpus: Mapping[str, list[bytes]], seconds: float) -> int:
    failures = 0
    for name, target in TARGETS.items():
        random, until, count = Random(), monotonic() + seconds / len(TARGETS), 0  # guards nothing
        try:
            while monotonic() < until or count == 0:
                growth.check(target, random.choice(corpus[name]), random)
                count += 1
        except Exception as problem:
            failures += 1
            sys.stdout.write(f"{name}: FINDING: {problem!r}\n")
        sys.stdout.write(f"{name}: {count} inputs grew\n")
    return failures


def _fuzz(corpus: Mapping[str, list[bytes]], seconds: float) -> int:
    atOnce = os.cpu_count() or 1
    each = max(1, int(seconds * atOnce / len(TARGETS)))
    waiting, failures = list(TARGETS), 0
    running: dict[int, str] = {}
    with TemporaryDirectory() as folder:
        while waiting or running:
            while waiting and len(running) < atOnce:
                name = waiting.pop(0)
                running[_started(name, corpus[name], each, Path(folder))] = name
            process, status = os.wait()
            name = running.pop(process)
            failures += status != 0
            _report(name, (Path(folder) / f"{name}.log").read_text("utf-8", "replace"), status)
    return failures


def _started(name: str, inputs: list[bytes], seconds: int, folder: Path) -> int:
    """
    A fuzzer in a process of its own: it never returns.
    """
    corpus = folder / name
    corpus.mkdir()
    for number, data in enumerate(inputs):
        (corpus / str(number)).write_bytes(data)
    findings = Path.cwd() / f"finding-{name}-"
    options = [f"-max_total_time={seconds}", "-timeout=10", "-print_final_stats=1", f"-max_len={MAX_LENGTH}"]
    sys.stdout.flush()
    process = os.fork()
    if process == 0:
        with (folder / f"{name}.log").open("wb") as log:
            os.dup2(log.fileno(), sys.stdout.fileno())
            os.dup2(log.fileno(), sys.stderr.fileno())
        atheris.Setup([name, f"-artifact_prefix={findings}", *options, str(corpus)], TARGETS[name])
        atheris.Fuzz()
    return process


def _report(name: str, log: str, status: int) -> None:
    executed = _EXECUTED.search(log)
    sys.stdout.write(f"{name}: {executed[1] if executed else 'no'} executions\n")
    if status != 0:
        sys.stdout.write(f"{name}: FINDING:\n{log[-4000:]}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
