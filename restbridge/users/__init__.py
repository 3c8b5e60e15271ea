"""
XMPP users of other domains: the logins that the bridge holds for them.

::

    guard -> sessions -> (open already, and the secret known)              -> the session's link
                      -> attempts -> xmpp/c2s: route, TLS, SASL, bind      -> the session's link
"""
