"""
What both APIs share.

::

    socket -> site (limits, CORS, access log) -> Klein route -> guard -> API -> Answer -> socket
"""
