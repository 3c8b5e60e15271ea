"""
restbridge: a REST API for every XMPP server.
"""

from restbridge._version import __version__

__all__ = ["__version__"]
