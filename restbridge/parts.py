"""
What a bridge is made of, once it is assembled.
"""

from __future__ import annotations

import attrs
from twisted.application.service import Service

from restbridge.web.site import BridgeSite


@attrs.frozen(kw_only=True)
class Parts:
    """
    A bridge that is neither started nor listening.

    @ivar site: what listens.
    @ivar services: what is started and stopped with it.
    """

    site: BridgeSite
    services: tuple[Service, ...]
