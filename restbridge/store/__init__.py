"""
What must outlive a restart: a database, and what is kept in it.

::

    rooms (what is kept of rooms) -> run(work) -> the database's own thread -> committed, or rolled back
"""
