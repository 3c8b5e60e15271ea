"""
What a request is called, by its client or by the bridge: in the log, and in the header C{X-Request-ID}.
"""

from __future__ import annotations

import re
from itertools import count
from secrets import token_hex

HEADER = b"X-Request-ID"

_TAKEN = re.compile(rb"[A-Za-z0-9._~+/=-]{1,128}")
_PREFIX = token_hex(5)
_numbers = count(1)


def requestIdOf(given: bytes | None) -> str:
    """
    The id that a client, or a proxy, gives in the header; a new one, unlike those of any other process, where
    there is none, or one that could be mistaken for more than an id.
    """
    if given is not None and _TAKEN.fullmatch(given) is not None:
        return given.decode("ascii")
    return f"{_PREFIX}-{next(_numbers):x}"
