"""
How the processes of a cluster learn that their supervisor is gone, however it ended.

The supervisor holds the one writing end of a pipe; the kernel closes it with the supervisor. All of the cluster hold
the reading end, and whoever sees it close first kills the whole process group. On Linux the kernel kills, besides,
each process whose parent has ended: that ends even those that are stopped, and so see nothing.
"""

from __future__ import annotations

import ctypes
import os
import select
import signal
import sys
import threading

PR_SET_PDEATHSIG = 1
_prctl = ctypes.CDLL(None).prctl if sys.platform == "linux" else None


class Lifeline:
    def __init__(self) -> None:
        self._reading, self._writing = os.pipe()

    def hold(self) -> None:
        """In the cluster's first process: from here on, only the supervisor keeps the pipe open."""
        os.close(self._writing)

    def let_go(self) -> None:
        """In the supervisor, when the cluster has ended."""
        os.close(self._reading)
        os.close(self._writing)

    def wait(self, seconds: float) -> None:
        """Sleep, unless the supervisor is gone."""
        if select.select([self._reading], [], [], seconds)[0]:
            _end_all()

    def watch(self) -> None:
        """Look after it in a thread of this process."""
        threading.Thread(target=self._watch, name="lifeline", daemon=True).start()

    def _watch(self) -> None:
        os.read(self._reading, 1)
        _end_all()


def end_with_parent() -> None:
    """In a process just forked: be killed when the thread that forked it ends."""
    if _prctl:
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _end_all() -> None:
    os.killpg(os.getpgrp(), signal.SIGKILL)
