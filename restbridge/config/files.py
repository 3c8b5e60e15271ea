"""
Where the configuration is, and its text.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path

from restbridge.config.faults import ConfigurationRefused, Fault
from restbridge.config.reading import Place
from restbridge.config.sections import read
from restbridge.config.values import Configuration

VARIABLE = "RESTBRIDGE_CONFIG"
NAME = "restbridge.toml"
SYSTEM_WIDE = Path("/etc/restbridge/restbridge.toml")


def find(environ: Mapping[str, str], folder: Path, systemWide: Path = SYSTEM_WIDE) -> Path:
    """
    The configuration file to use where none is named.

    @param folder: the current one.
    @return: what C{$RESTBRIDGE_CONFIG} names, whether it is there or not; else the first file that is.
    @raise ConfigurationRefused: there is none, with what to do.
    """
    if environ.get(VARIABLE):
        return folder / environ[VARIABLE]
    for path in (folder / NAME, systemWide):
        if isThere(path):
            return path
    problem = f"no configuration: ${VARIABLE} is not set, and there is no ./{NAME} and no {systemWide}"
    raise ConfigurationRefused(Fault("", f"{problem}; name one with --config FILE, or try --demo"))


def isThere(path: Path) -> bool:
    """
    Whether there is something at a path; also where nobody may tell, since who reads it learns why.
    """
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        pass
    return True


def load(path: Path, environ: Mapping[str, str] = os.environ) -> Configuration:
    """
    The configuration in a file.

    @raise ConfigurationRefused: the file can't be read, or with every fault in it.
    """
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise ConfigurationRefused(Fault("", f"{path} can't be read: {error.strerror}")) from None
    except ValueError:
        raise ConfigurationRefused(Fault("", f"{path} can't be read: it must be a file in UTF-8")) from None
    return parse(text, path.parent, environ)


def parse(text: str, folder: Path, environ: Mapping[str, str]) -> Configuration:
    """
    The configuration in a text.

    @param folder: what relative file names in it start from.
    @raise ConfigurationRefused: with every fault in it.
    """
    try:
        tree = tomllib.loads(text)
    except RecursionError:
        raise ConfigurationRefused(Fault("", "not TOML: nested too deeply")) from None
    except ValueError as error:
        last = text.count("\n") + 1
        problem = str(error).replace("at end of document", f"at line {last}, the end of the file")
        raise ConfigurationRefused(Fault("", f"not TOML: {problem}")) from None
    return read(tree, Place(folder=folder, environ=environ))
