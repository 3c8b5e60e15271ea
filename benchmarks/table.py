"""
What was measured, as ratios of what was measured in the same round.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

import attrs

from benchmarks.load import Measured

Rounds = Sequence[Mapping[str, Measured]]
"""What each contestant did, round by round."""


@attrs.frozen(kw_only=True)
class Claim:
    """
    What is compared, and what the ratio should be.

    @ivar of: the contestant.
    @ivar to: against which other one; L{None} for the figure itself.
    @ivar what: an attribute of L{Measured}.
    @ivar least: what the ratio should be at least.
    @ivar most: likewise, at most.
    """

    of: str
    to: str | None = None
    what: str = "rate"
    least: float | None = None
    most: float | None = None

    def line(self, rounds: Rounds, failures: Mapping[str, str]) -> str:
        """
        A line of the table.

        @param failures: of contestants, which then have no ratios.
        """
        sides = [side for side in (self.of, self.to) if side is not None]
        name = f"{self.what}: {' / '.join(sides)}"
        missing = [side for side in sides if side in failures or side not in rounds[0]]
        if missing:
            reasons = (f"{side} {'failed' if side in failures else 'not here'}" for side in missing)
            return f"  {name:<60} {', '.join(reasons)}"
        figures = [self._figure(each) for each in rounds]
        middle, least, most = (self._written(each) for each in (median(figures), min(figures), max(figures)))
        spread = f"({least} to {most})"
        return f"  {name:<60} {middle:>6} {spread:<18} {self._verdict(median(figures))}".rstrip()

    def _figure(self, measured: Mapping[str, Measured]) -> float:
        found: float = getattr(measured[self.of], self.what)
        return found if self.to is None else found / getattr(measured[self.to], self.what)

    def _written(self, figure: float) -> str:
        return f"{figure:,.0f}" if self.to is None else f"{figure:.2f}"

    def _verdict(self, figure: float) -> str:
        if self.least is not None:
            return f">= {self._written(self.least)}  {_met(figure >= self.least)}"
        if self.most is not None:
            return f"<= {self._written(self.most)}  {_met(figure <= self.most)}"
        return ""


def _met(truth: bool) -> str:
    return "met" if truth else "MISSED"


def table(name: str, rounds: Rounds, claims: Sequence[Claim], failures: Mapping[str, str]) -> str:
    """
    The contestants, for orientation, and then what counts.

    @param failures: why those have failed who have, at whatever turn.
    """
    sides = [_side(side, rounds) for side in rounds[0] if side not in failures]
    failed = [f"  {side:<60} failed: {why}" for side, why in failures.items()]
    return "\n".join([name, *sides, *failed, *(claim.line(rounds, failures) for claim in claims)])


def _side(side: str, rounds: Rounds) -> str:
    rate = median(each[side].rate for each in rounds)
    others = (_told(form, side, rounds) for form in ("p99 {:.1f} ms", "cpu {:.0f} us"))
    return f"  {side:<60} {rate:8,.0f}/s   {'   '.join(filter(None, others))}".rstrip()


def _told(form: str, side: str, rounds: Rounds) -> str:
    """
    A figure that not everybody has.
    """
    found = [getattr(each[side], form.partition(" ")[0]) for each in rounds]
    known = [figure for figure in found if figure is not None]
    return form.format(median(known)) if known else ""
