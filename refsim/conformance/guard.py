"""Becomes the program named on the command line, after seeing to it that the program dies with the process that asked for it.

Run as a script, by path and without site packages: it stands between the harness and every launch of a ``cmd:`` target.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def bound(parent: int) -> None:
    """Die with `parent`, where the system can arrange it: a harness that was killed leaves no target behind."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it was gone before we asked
        sys.exit(1)


if __name__ == "__main__":
    bound(int(sys.argv[1]))
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, and what is ignored stays so across exec
        signal.signal(number, signal.SIG_DFL)
    os.execv(sys.argv[2], sys.argv[2:])
