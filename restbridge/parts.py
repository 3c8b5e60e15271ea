"""
What a bridge is made of, once it is assembled.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
from twisted.application.service import Service

from restbridge.config import Configuration
from restbridge.web.site import BridgeSite


@attrs.frozen(kw_only=True)
class Parts:
    """
    A bridge that is neither started nor listening.

    @ivar site: what listens.
    @ivar services: what is started with it, in this order, and stopped in the reverse one.
    @ivar change: has the accounts and callbacks of another configuration come into force; nobody notices who
        is connected.
    @ivar metrics: what listens for Prometheus; L{None} where nobody asks.
    @ivar whyDown: the reason why nothing can be sent to the XMPP server now, if so.
    """

    site: BridgeSite
    services: tuple[Service, ...]
    whyDown: Callable[[], str | None]
    change: Callable[[Configuration], object]
    metrics: BridgeSite | None = None
