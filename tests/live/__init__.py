"""
The bridge against real servers, with a real XMPP client and a real webhook: C{python -m twisted.trial
tests.live}.

Prosody and ejabberd, as Debian packages them, are started by the tests themselves; see L{tests.live.servers}.
"""
