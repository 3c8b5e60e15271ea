"""
Makes C{twistd restbridge} known.
"""

from twisted.application.service import ServiceMaker

restbridge = ServiceMaker(
    "restbridge",
    "restbridge.tap",
    "A REST API for every XMPP server.",
    "restbridge",
)
