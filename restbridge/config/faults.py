"""
What is wrong with a configuration, in lines for the operator.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import attrs


@attrs.frozen
class Fault:
    """
    One mistake.

    @ivar path: the key, as C{callbacks[1].format} (counted from 0) or C{users."example.com".tls};
        empty when the mistake is the whole file's.
    @ivar problem: what is wrong and what is allowed, without the value of any secret.
    """

    path: str
    problem: str

    def __str__(self) -> str:
        line = f"{self.path}: {self.problem}" if self.path else self.problem
        return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


class ConfigurationRefused(Exception):
    """
    The configuration can't be used.

    @ivar faults: every mistake found, in the order of the sections.
    """

    def __init__(self, *faults: Fault) -> None:
        super().__init__(*faults)
        self.faults = faults

    def __str__(self) -> str:
        return "\n".join(str(fault) for fault in self.faults)


class Findings:
    """
    The faults met while the parts of a whole are read, so that one doesn't hide the next.
    """

    def __init__(self) -> None:
        self._faults: list[Fault] = []

    @contextmanager
    def noted(self) -> Iterator[None]:
        """
        Note the faults of what is read inside, and go on behind it.
        """
        try:
            yield
        except ConfigurationRefused as refused:
            self._faults.extend(refused.faults)

    def extend(self, faults: Iterable[Fault]) -> None:
        """
        Note more of them.
        """
        self._faults.extend(faults)

    def settle(self) -> None:
        """
        @raise ConfigurationRefused: anything was noted.
        """
        if self._faults:
            raise ConfigurationRefused(*self._faults)
