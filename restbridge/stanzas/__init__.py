"""
What a stanza is: as XML, as JSON, as an error. Knows no wire, no reactor, no HTTP.
"""
