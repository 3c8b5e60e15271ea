"""
What both APIs share.

::

    socket -> channel, serving (deadlines, sizes, connections) -> site (body, CORS, access log) -> Klein route
           -> guard (credentials, oauth2, quota) -> idempotency -> API -> Answer -> socket
"""
