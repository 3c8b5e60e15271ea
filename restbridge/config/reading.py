"""
The vocabulary in which the sections are declared.

A reader is a function of a value out of the TOML and of its L{Place}; it returns what the value means,
or raises L{ConfigurationRefused} with every fault in it. Readers of wholes call the readers of their
parts, and gather the faults of all of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, TypeAlias, TypeVar

import attrs

from restbridge.config.faults import ConfigurationRefused, Fault, Findings

T = TypeVar("T")

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SHOWN = 60
"""Characters of a wrong value that a fault repeats."""


@attrs.frozen(kw_only=True)
class Place:
    """
    Where in the configuration a value stands, and what its meaning depends on.

    @ivar path: the key's path; empty at the top.
    @ivar folder: what relative file names start from.
    @ivar environ: the environment variables.
    @ivar domain: the component's domain, normalised; L{None} when there is none or it is faulty.
    @ivar oauth2: whether an authorization server lets accounts in.
    """

    path: str = ""
    folder: Path
    environ: Mapping[str, str]
    domain: str | None = None
    oauth2: bool = False

    def key(self, name: str) -> Place:
        """
        The place of a key of the table here.
        """
        quoted = name if _BARE_KEY.fullmatch(name) else json.dumps(name, ensure_ascii=False)
        return attrs.evolve(self, path=f"{self.path}.{quoted}" if self.path else quoted)

    def item(self, index: int) -> Place:
        """
        The place of an item of the list here.
        """
        return attrs.evolve(self, path=f"{self.path}[{index}]")

    def fault(self, problem: str) -> Fault:
        """
        What is wrong here.
        """
        return Fault(self.path, problem)

    def refused(self, problem: str) -> ConfigurationRefused:
        """
        The exception to raise where this is all that is wrong.
        """
        return ConfigurationRefused(self.fault(problem))


Reader: TypeAlias = Callable[[object, Place], T]


def shown(value: object) -> str:
    """
    A wrong value as a fault repeats it. Not for a value that may hold a secret: see L{sort}.
    """
    if not isinstance(value, str | int | float):
        return sort(value)
    if isinstance(value, int) and abs(value) >= 10**18:
        # Python refuses to write out an integer of thousands of digits.
        return "such a large integer"
    repeated = json.dumps(value, ensure_ascii=False)
    return repeated if len(repeated) <= _SHOWN else f"{repeated[:_SHOWN]}…"


def sort(value: object) -> str:
    """
    What sort of value it is, in the words of TOML.
    """
    sorts = {bool: "a boolean", int: "an integer", float: "a float", str: "a string"}
    sorts |= {list: "an array", dict: "a table"}
    return sorts.get(type(value), "a date or time")


def tableAt(value: object, place: Place) -> dict[str, object]:
    """
    A table with any keys. What stands in its stead may be a secret, and isn't repeated.
    """
    if not isinstance(value, dict):
        raise place.refused(f"must be a table, not {sort(value)}")
    return value


def attribute(key: str) -> str:
    """
    The name in Python of a key: C{maxBody} for C{max_body}.
    """
    return re.sub("_(.)", lambda match: match[1].upper(), key)


def _agree(_values: Mapping[str, Any], _place: Place) -> Iterator[Fault]:
    return iter(())


@attrs.frozen
class Table(Generic[T]):
    """
    A table with known keys, each with its reader: a section.

    @ivar shape: the attrs class to build. A key whose attribute has no default must be given.
    @ivar keys: the readers, by the key's name on the wire.
    @ivar contradictions: the faults between values that are right by themselves, out of the attributes
        read so far, defaults included; an attribute that was refused is missing there.
    """

    shape: type[T]
    keys: Mapping[str, Reader[object]]
    contradictions: Callable[[Mapping[str, Any], Place], Iterator[Fault]] = _agree

    def __call__(self, value: object, place: Place, **known: object) -> T:
        """
        @param known: attributes that are no keys, or that go before the class's defaults.
        """
        table = tableAt(value, place)
        findings = Findings()
        findings.extend(self._unknown(name, place) for name in table if name not in self.keys)
        values = self._defaults() | known
        for name, read in self.keys.items():
            if name in table:
                # A default that is overruled by a faulty value contradicts nothing.
                values.pop(attribute(name), None)
                with findings.noted():
                    values[attribute(name)] = read(table[name], place.key(name))
            elif attribute(name) not in values:
                findings.extend([place.key(name).fault("missing, and has no default")])
        findings.extend(self.contradictions(values, place))
        findings.settle()
        return self.shape(**values)

    def _defaults(self) -> dict[str, object]:
        fields = attrs.fields_dict(self.shape)  # type: ignore[arg-type]  # a TypeVar can't say: an attrs class
        return {name: field.default for name, field in fields.items() if field.default is not attrs.NOTHING}

    def _unknown(self, name: str, place: Place) -> Fault:
        close = get_close_matches(name, self.keys, n=1)
        meant = f"did you mean {close[0]}? " if close else ""
        return place.key(name).fault(f"unknown key; {meant}allowed: {', '.join(sorted(self.keys))}")


def named(
    normalise: Callable[[str, Place], str], read: Callable[[str, object, Place], T]
) -> Reader[Mapping[str, T]]:
    """
    A table whose keys are names that the operator chose. Two that come to the same name are refused.

    @param normalise: takes a name and its place.
    @param read: takes the normalised name, what stands under it and its place.
    """

    def readNamed(value: object, place: Place) -> Mapping[str, T]:
        findings = Findings()
        written: dict[str, str] = {}
        found: dict[str, T] = {}
        for key, item in tableAt(value, place).items():
            with findings.noted():
                name = normalise(key, place.key(key))
                if written.setdefault(name, key) != key:
                    findings.extend([place.key(key).fault(f"means the same as {shown(written[name])}")])
                found[name] = read(name, item, place.key(key))
        findings.settle()
        return MappingProxyType(found)

    return readNamed


def listOf(read: Reader[T], least: int = 0) -> Reader[tuple[T, ...]]:
    """
    An array of at least so many items. What stands in its stead may be a secret, and isn't repeated.
    """

    def readList(value: object, place: Place) -> tuple[T, ...]:
        if not isinstance(value, list):
            raise place.refused(f"must be an array, not {sort(value)}")
        if len(value) < least:
            raise place.refused(f"must have at least {least} item{'s' if least > 1 else ''}")
        findings = Findings()
        items = []
        for index, item in enumerate(value):
            with findings.noted():
                items.append(read(item, place.item(index)))
        findings.settle()
        return tuple(items)

    return readList


def oneOrMore(read: Reader[T]) -> Reader[tuple[T, ...]]:
    """
    An array of at least one item, or the item alone.
    """
    readList = listOf(read, least=1)

    def readOneOrMore(value: object, place: Place) -> tuple[T, ...]:
        return readList(value, place) if isinstance(value, list) else (read(value, place),)

    return readOneOrMore


def text(value: object, place: Place) -> str:
    """
    A string that isn't empty.
    """
    if not isinstance(value, str) or not value:
        raise place.refused(f"must be a string that isn't empty, not {shown(value)}")
    return value


def flag(value: object, place: Place) -> bool:
    """
    A boolean.
    """
    if not isinstance(value, bool):
        raise place.refused(f"must be true or false, not {shown(value)}")
    return value


def integer(least: int) -> Reader[int]:
    """
    An integer, from C{least} up.
    """

    def readInteger(value: object, place: Place) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or value < least:
            raise place.refused(f"must be an integer of at least {least}, not {shown(value)}")
        return value

    return readInteger


def seconds(most: int) -> Reader[float]:
    """
    A time, an integer or a float, that is more than nothing.
    """

    def readSeconds(value: object, place: Place) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value <= most:
            raise place.refused(
                f"must be a number of seconds, more than 0 and at most {most}, not {shown(value)}"
            )
        return value

    return readSeconds


def oneOf(meanings: Mapping[str, str]) -> Reader[str]:
    """
    One of some words, or of other words for them.

    @param meanings: what each word stands for, by the word.
    """

    def readWord(value: object, place: Place) -> str:
        if not isinstance(value, str) or value not in meanings:
            allowed = ", ".join(f'"{word}"' for word in meanings)
            raise place.refused(f"must be one of {allowed}, not {shown(value)}")
        return meanings[value]

    return readWord


def words(*allowed: str) -> Mapping[str, str]:
    """
    Words that stand for themselves, for L{oneOf}.
    """
    return {word: word for word in allowed}


def setOf(read: Reader[T]) -> Reader[frozenset[T]]:
    """
    An array of at least one item, whose order means nothing.
    """
    readList = listOf(read, least=1)
    return lambda value, place: frozenset(readList(value, place))
