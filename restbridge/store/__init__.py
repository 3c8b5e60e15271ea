"""
What must outlive a restart: a database, and what is kept in it.

::

    rooms, journal, answers -> run(work) -> the database's own thread -> committed with what else was waiting
                                                                      -> rolled back, all of it
"""
