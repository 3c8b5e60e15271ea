"""
A comparison: who takes turns, and what is claimed of them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import attrs

from benchmarks.load import Measured
from benchmarks.table import Claim
from tests.live.bridge import Bridge

Turn = Callable[[float], Measured]
"""Does the work for so many seconds."""

Turns = Mapping[str, Turn]
"""By the contestants' names; the bridge's is the first."""


@attrs.frozen(kw_only=True)
class Race:
    """
    Ready to start.

    @ivar bridge: whose turn is the first.
    """

    turns: Turns
    claims: Sequence[Claim]
    bridge: Bridge
