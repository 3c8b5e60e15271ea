"""
Where the bridge's time goes: a flame graph by py-spy, where that is installed and may look into processes;
else what cProfile counts, of which some is its own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.race import Turn
from benchmarks.races import RACES
from benchmarks.stage import Stage
from tests.live.bridge import Bridge

WARM_UP = 2
"""Seconds before anybody looks."""


def profile(name: str, seconds: int) -> None:
    """
    Have the bridge of a race take its turn, look into it, and write what there is to see to this folder.
    """
    if name not in RACES:
        raise SystemExit(f"no race is called {name}")
    spy = _spy()
    with Stage(None if spy else Path.cwd()) as stage:
        race = RACES[name](stage)
        turn = next(iter(race.turns.values()))
        turn(WARM_UP)
        if spy:
            _watch(spy, race.bridge, turn, seconds, Path(f"profile-{name}.svg"))
        else:
            turn(seconds)
    if not spy:
        print(
            "No py-spy that could look into processes: cProfile wrote a .pstats for each bridge", flush=True
        )


def _spy() -> str | None:
    """
    Its program, if it works: containers may forbid it.
    """
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    spy = shutil.which("py-spy", path=path)
    if spy is None:
        return None
    command = [spy, "dump", "--pid", str(os.getpid())]
    done = subprocess.run(command, capture_output=True, check=False)
    return spy if done.returncode == 0 else None


def _watch(spy: str, bridge: Bridge, turn: Turn, seconds: int, file: Path) -> None:
    command = [spy, "record", "--output", str(file), "--duration", str(seconds), "--rate", "500"]
    command += ["--pid", str(bridge.process.pid)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as watching:
        turn(seconds)
        watching.wait()
    print(f"{file}: a flame graph", flush=True)
