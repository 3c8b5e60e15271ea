"""
C{python -m benchmarks}, which is C{tox run -e bench}.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Mapping
from fnmatch import fnmatch

from benchmarks.flames import profile
from benchmarks.load import Failed, Measured
from benchmarks.memory import watch
from benchmarks.race import Race
from benchmarks.races import RACES
from benchmarks.stage import Stage
from benchmarks.table import table
from tests.live.process import NotInTime

WARM_UP = 2
"""Seconds of each contestant's work that count for nothing."""


def arguments() -> Namespace:
    """
    What is asked for.
    """
    races = "\n".join(f"  {name:<18} {_purpose(race.__doc__)}" for name, race in RACES.items())
    parser = ArgumentParser(
        prog="python -m benchmarks",
        description="The bridge beside its peers: ratios, and what they should be.",
        epilog=f"races:\n{races}",
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "command", nargs="?", choices=("compare", "memory"), default="compare", help="default: compare"
    )
    parser.add_argument("--rounds", type=int, default=5, help="turns of each contestant (default: 5)")
    parser.add_argument("--seconds", type=int, default=3, help="of each turn (default: 3)")
    parser.add_argument("--profile", metavar="RACE", help="look into the bridge of a race instead")
    parser.add_argument("--only", nargs="+", metavar="RACE", default=["*"], help="names or patterns")
    parser.add_argument(
        "--requests", type=int, default=1_000_000, help="over which memory is watched (default: 1000000)"
    )
    return parser.parse_args()


def _purpose(docstring: str | None) -> str:
    return (docstring or "").strip().partition("\n")[0]


def run(name: str, race: Race, rounds: int, seconds: int) -> str:
    """
    Let the contestants take turns. One that fails takes no more of them.

    @return: the table.
    """
    failures: dict[str, str] = {}

    def each(label: str, seconds: int) -> Mapping[str, Measured]:
        found = {}
        for side, turn in race.turns.items():
            if side in failures:
                continue
            print(f"{label}: {side} …", file=sys.stderr, flush=True)
            try:
                found[side] = turn(seconds)
            except (Failed, NotInTime) as failure:
                failures[side] = str(failure)
        return found

    each(name, WARM_UP)
    measured = [each(f"{name}, {number + 1} of {rounds}", seconds) for number in range(rounds)]
    return table(name, measured, race.claims, failures)


def compare(asked: Namespace) -> None:
    """
    Run what is asked for, and print a table for each.
    """
    with Stage() as stage:
        for name, prepare in RACES.items():
            if not any(fnmatch(name, pattern) for pattern in asked.only):
                continue
            try:
                print(run(name, prepare(stage), asked.rounds, asked.seconds), flush=True)
            except (Failed, NotInTime, OSError) as failure:
                print(f"{name}\n  failed: {failure}", flush=True)


def main() -> None:
    """
    Do what is asked for. However a race turns out, that is no failure of this program.
    """
    asked = arguments()
    if asked.command == "memory":
        watch(asked.requests)
    elif asked.profile:
        profile(asked.profile, asked.seconds)
    else:
        compare(asked)


if __name__ == "__main__":
    main()
