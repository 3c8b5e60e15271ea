"""
What every key means, for docs/configuration.md: out of the declarations and of the commented sample.

The sample has the words and an example; the declarations have the default, and what is allowed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import attrs

from restbridge.config import sections
from restbridge.config.faults import ConfigurationRefused
from restbridge.config.reading import Place, Reader, Table, attribute
from restbridge.config.values import Glob, Secret

TABLES: Mapping[str, Table[Any]] = {
    "component": sections.COMPONENT,
    "http": sections.WEB,
    "metrics": sections.METRICS,
    "store": sections.STORE,
    "rest": sections.REST,
    "accounts": sections.ACCOUNT,
    "oauth2": sections.OAUTH2,
    "users": sections.USER_DOMAIN,
    "callbacks": sections.CALLBACK,
}

_HEADING = re.compile(r"\[+(\w+).*\]+")
_KEY = re.compile(r"(\w+) *= *(.*?)(?: +# (.*)|$)")
_CONTINUED = re.compile(r"#? +# (.*)")
_IMPOSSIBLE = datetime(1970, 1, 1, tzinfo=UTC)
"""No key takes a time; what a reader says of it is what it would take."""


def page(sample: str) -> str:
    """
    The sections and their keys, in Markdown.

    @param sample: etc/restbridge.toml.
    """
    _, *paragraphs = re.split(r"\n\n+", sample.strip())
    return "\n".join(line for each in paragraphs for line in _section(each))


def _section(paragraph: str) -> Iterator[str]:
    lines = _plain(paragraph)
    at = next(number for number, line in enumerate(lines) if _HEADING.fullmatch(line))
    name = _HEADING.fullmatch(lines[at])[1]  # type: ignore[index]  # it is what was looked for
    yield f"\n## `{lines[at]}`\n"
    yield " ".join(line.removeprefix("#").strip() for line in lines[:at])
    table = TABLES[name]
    for key, (example, words) in _keys(lines[at + 1 :]).items():
        yield from _key(f"{name}.{key}", table.keys[key], _default(table, key), example, words)


def _plain(paragraph: str) -> list[str]:
    """
    The lines of a section that may be commented out as a whole.
    """
    lines = paragraph.splitlines()
    if any(_HEADING.fullmatch(line) for line in lines):
        return lines
    return [line.removeprefix("#").removeprefix(" ") for line in lines]


def _keys(lines: list[str]) -> dict[str, tuple[str, list[str]]]:
    """
    What the sample shows for each key, and says about it.
    """
    found: dict[str, tuple[str, list[str]]] = {}
    for line in lines:
        if match := _KEY.fullmatch(line):
            found[match[1]] = match[2].strip(), [match[3]] if match[3] else []
        elif match := _CONTINUED.fullmatch(line):
            found[list(found)[-1]][1].append(match[1])
    return found


def _key(path: str, read: Reader[object], default: str, example: str, words: list[str]) -> Iterator[str]:
    yield f"\n### `{path}`\n"
    yield f"```toml\n{path.partition('.')[2]} = {example}\n```\n"
    if words:
        yield f"{_sentence(' '.join(words))}\n"
    known = default in ("", example, f"[{example}]")
    yield _sentence(allowed(read)) + ("" if known else f" Default: `{default}`.")


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:].removesuffix('.')}.".replace("*", r"\*")


def _default(table: Table[Any], key: str) -> str:
    default = attrs.fields_dict(table.shape)[attribute(key)].default
    return "" if default in (attrs.NOTHING, None, "", (), {}) else _toml(default)


def _toml(value: object) -> str:
    """
    A default, as the operator would write it.
    """
    match value:
        case Secret():
            return _toml(value.reveal())
        case Glob():
            return _toml(value.pattern)
        case tuple() | frozenset():
            items = sorted(map(_toml, value)) if isinstance(value, frozenset) else map(_toml, value)
            return f"[{', '.join(items)}]"
        case _:
            return json.dumps(value)


def allowed(read: Reader[object]) -> str:
    """
    What a reader takes, in its own words.
    """
    whole = _refusal(read, _IMPOSSIBLE)
    if whole != "must be an array":
        return whole
    return f"{whole}, each item of which {_refusal(read, [_IMPOSSIBLE])}"


def _refusal(read: Reader[object], value: object) -> str:
    place = Place(folder=Path(), environ={}, domain="rest.example.com")
    try:
        read(value, place)
    except ConfigurationRefused as refused:
        return refused.faults[0].problem.removesuffix(", not a date or time")
    raise AssertionError("a key takes a time")
