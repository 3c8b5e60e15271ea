"""
How the documentation is built: C{tox run -e docs}.

Two pages are filled in here, so that there is no copy of the code to keep up: the configuration, and the HTTP
API.
"""

from __future__ import annotations

import ast
import re
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

from restbridge._version import __version__
from restbridge.config import describe as configuration
from restbridge.openapi import describe as api

ROOT = Path(__file__).resolve().parents[1]
temporary = tempfile.TemporaryDirectory()

project = "restbridge"
author = "The restbridge authors"
version = release = __version__

extensions = ["myst_parser", "pydoctor.sphinx_ext.build_apidocs"]
exclude_patterns = ["_build"]
myst_heading_anchors = 3
# Quotation marks are those of the configuration.
smartquotes = False

html_theme = "furo"
html_title = f"restbridge {release}"
html_copy_source = False
html_show_copyright = False

OUTSIDE = {
    "None": "docs.python.org/3/library/constants.html#None",
    "gc.set_threshold": "docs.python.org/3/library/gc.html#gc.set_threshold",
    "werkzeug.exceptions.HTTPException": "werkzeug.palletsprojects.com/en/stable/exceptions/",
    "wokkel.subprotocols.StreamManager": "github.com/ralphm/wokkel/blob/master/wokkel/subprotocols.py",
}
"""What our docstrings link to elsewhere, beside Twisted. Written down, as the build asks nobody."""


def imported() -> Iterator[str]:
    """
    The names that our modules import from Twisted, or link to by their full names.
    """
    for path in (ROOT / "restbridge").rglob("*.py"):
        code = path.read_text("utf-8")
        yield from re.findall(r"L\{(twisted\.[\w.]+)\}", code)
        for node in ast.walk(ast.parse(code)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("twisted."):
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


def inventory() -> str:
    """
    Write down where all these are, as Sphinx does.

    @return: the file.
    """
    twisted = {name: f"docs.twisted.org/en/stable/api/{name}.html" for name in imported()}
    rows = "".join(f"{name} py:class 1 {where} -\n" for name, where in {**twisted, **OUTSIDE}.items())
    head = "# Sphinx inventory version 2\n# Project: elsewhere\n# Version: 0\n"
    head += "# The remainder of this file is compressed using zlib.\n"
    file = Path(temporary.name) / "objects.inv"
    file.write_bytes(head.encode() + zlib.compress(rows.encode()))
    return str(file)


pydoctor_args = [
    f"--project-base-dir={ROOT}",
    "--project-name=restbridge",
    f"--project-version={release}",
    "--docformat=epytext",
    "--theme=readthedocs",
    f"--intersphinx-file={inventory()}::https://",
    "--html-output={outdir}/code",
    str(ROOT / "restbridge"),
]


def complete(app: Sphinx, page: str, source: list[str]) -> None:
    """
    Append what is made of the code to the pages that announce it; what they link to outside of this folder
    becomes a file to download.
    """
    if page == "configuration":
        source[0] += configuration.page((ROOT / "etc" / "restbridge.toml").read_text("utf-8"))
    elif page == "api":
        source[0] += api.page()
    if "/" not in page:
        source[0] = source[0].replace("](../", "](path:../")


def setup(app: Sphinx) -> None:
    """
    Called by Sphinx.
    """
    app.add_lexer("haproxy", TextLexer)  # Pygments knows none
    app.connect("source-read", complete)
