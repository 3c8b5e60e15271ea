"""
The parsers against anything at all: C{python -m tests.fuzz [SECONDS]}.

::

    recordings, samples -> seeds -> atheris, which changes them -> a target: a parser and what it promises
                                 -> growth: four times as long must not take sixteen times as much
"""
