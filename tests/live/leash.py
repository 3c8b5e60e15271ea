"""
Run a command that dies with the process that started it, even when that one was killed outright.

    python leash.py PARENT COMMAND ARGUMENT ...

The kernel (Linux, C{prctl(2)}) keeps the promise: neither C{atexit} nor a C{finally} runs in a killed
process. A script of its own, as code between fork and exec of a process with threads may deadlock. The
promise is tied to the I{thread} that started the command: start long-lived commands from the main thread.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(parent: int, command: list[str]) -> None:
    """
    Become C{command}, on the leash.

    @param parent: the process that must be our parent still; a later death is the kernel's to notice.
    """
    # Ignored where the tests run in the background of a shell, and by all that is started from there: nothing
    # would end by Ctrl-C.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            sys.exit("the process that started this is gone")
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
