"""
What the documents show, block by block: commands, files, configurations, documents.

A block's language says what is done with it. Where that isn't all, a comment in front of it, which readers
don't see, says the rest::

    <!-- file: try/bot.py -->       it is saved under that name
    <!-- terminal -->               the command goes on, in a terminal of its own, and listens at a port
    <!-- terminal: quiet -->        likewise, at no port
    <!-- prints -->                 it is what the last command before it prints; "..." stands for anything
    <!-- as root -->                it installs packages; who isn't root must have them
    <!-- not run: all tests -->     it can't be run; why stands in L{tests.docs.test_snippets.NOT_RUN}
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import attrs
from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).resolve().parents[2]
_MARK = re.compile(r"<!-- (file|terminal|prints|as root|not run)(?:: (.+))? -->\s*")


@attrs.frozen(kw_only=True)
class Snippet:
    """
    One block.

    @ivar page: the file, from the top of the checkout.
    @ivar line: where it begins, counted from 1.
    @ivar section: the heading of second level that it is under; empty before the first.
    @ivar language: as its fence has it; C{sh} for a block that is only indented.
    @ivar mark: C{file}, C{terminal}, C{prints}, C{as root}, C{not run} or nothing.
    @ivar name: what the mark names.
    """

    page: str
    line: int
    section: str
    language: str
    mark: str
    name: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[str]:
    """
    All documents for people who use, run or change this.
    """
    files = [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "SECURITY.md",
        *(ROOT / "docs").rglob("*.md"),
    ]
    return sorted(str(each.relative_to(ROOT)) for each in files if "_build" not in each.parts)


def snippets(page: str) -> list[Snippet]:
    """
    The blocks of a page, from top to bottom.
    """
    return list(_snippets(page, MarkdownIt("commonmark").parse((ROOT / page).read_text("utf-8"))))


def _snippets(page: str, tokens: list[Token]) -> Iterator[Snippet]:
    section, mark, name = "", "", ""
    for before, token in zip([None, *tokens], tokens, strict=False):
        if before and before.type == "heading_open" and before.tag == "h2":
            section = token.content
        if token.type in ("fence", "code_block") and not token.info.startswith("{"):
            yield Snippet(
                page=page,
                line=token.map[0] + 1 if token.map else 0,
                section=section,
                language="sh" if token.type == "code_block" else token.info.strip(),
                mark=mark,
                name=name,
                text=token.content,
            )
        found = _MARK.fullmatch(token.content) if token.type == "html_block" else None
        mark, name = (found[1], found[2] or "") if found else ("", "")
