"""
What Prometheus is told.

::

    collector  what there is to be told, read where it is counted, when it is asked for
    page       /metrics, on a port of its own

Nothing here is called for each request or stanza: whoever does the work counts it, in numbers of its own.
"""
