"""
What may be configured: TOML into one frozen tree, once, at start.

The text goes through the modules like this::

    files     find, load, parse: the text, or why there is none
    sections  one declaration a section, and what must hold between sections
    reading   the vocabulary of the declarations: tables, lists, numbers, enumerations
    secrets, endpoints, addresses, calls, issuers
              what a value of that kind must look like
    values    the tree that comes out
    faults    all that is wrong, each with the path of its key

Nothing here binds, connects, resolves a name or imports the reactor.
"""

from __future__ import annotations

from restbridge.config.faults import ConfigurationRefused, Fault
from restbridge.config.files import find, load, parse
from restbridge.config.values import (
    HTTP,
    Account,
    Callback,
    Component,
    Configuration,
    Glob,
    Metrics,
    OAuth2,
    Rest,
    Secret,
    Store,
    UserDomain,
)

__all__ = [
    "HTTP",
    "Account",
    "Callback",
    "Component",
    "Configuration",
    "ConfigurationRefused",
    "Fault",
    "Glob",
    "Metrics",
    "OAuth2",
    "Rest",
    "Secret",
    "Store",
    "UserDomain",
    "find",
    "load",
    "parse",
]
