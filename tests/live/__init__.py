"""
The bridge against real servers, with a real XMPP client and a real webhook: C{python -m tests.live} for all
of it, several modules at once; trial for one of them.

Prosody and ejabberd, as Debian packages them, are started by the tests themselves; see L{tests.live.servers}.
"""
