"""
The payloads of stanzas, one module per family of XEPs: declarations, no logic but what a XEP needs.
"""
