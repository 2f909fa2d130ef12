"""
What the processes of one cluster tell each other and their supervisor: a few numbers in shared memory, without a lock.

A process that is killed while it holds a lock of `multiprocessing` leaves it locked for all the others. Here every
number has one writer, and reading never waits.
"""

from __future__ import annotations

import ctypes
import time
from multiprocessing.sharedctypes import RawArray

STOPPING, GUARDED_AT, PROBED_AT, SLOTS = 0, 1, 2, 3
BEAT, TASK, IS_BUSY, SLOT_SIZE = 0, 1, 2, 3
BEAT_EVERY_SECONDS = 0.5
FRESH_SECONDS = 4.0  # a worker that is busy and has not beaten for longer is stuck or gone


class Board:
    """
    Times are those of `time.monotonic()`, in seconds; 0 is never. Each worker has a slot, numbered from 0.

    Make it before the fork: children inherit it.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._numbers: ctypes.Array[ctypes.c_double] = RawArray("d", SLOTS + SLOT_SIZE * workers)

    # By the supervisor

    def stop(self) -> None:
        """Nothing new is taken from now on."""
        self._numbers[STOPPING] = 1

    @property
    def is_stopping(self) -> bool:
        return bool(self._numbers[STOPPING])

    # By the sentinel

    def guarded(self) -> None:
        """The sentinel has looked at its processes."""
        self._numbers[GUARDED_AT] = time.monotonic()

    @property
    def guarded_at(self) -> float:
        return self._numbers[GUARDED_AT]

    # By the monitor

    def probe_returned(self) -> None:
        """A probe went the whole way: handed out by the pusher, run by a worker, acknowledged by the monitor."""
        self._numbers[PROBED_AT] = time.monotonic()

    @property
    def probed_at(self) -> float:
        return self._numbers[PROBED_AT]

    # By the worker of the slot

    def take(self, slot: int, task: int) -> None:
        self.beat(slot)
        self._numbers[self._at(slot, TASK)] = task
        self._numbers[self._at(slot, IS_BUSY)] = 1

    def beat(self, slot: int) -> None:
        self._numbers[self._at(slot, BEAT)] = time.monotonic()

    def rest(self, slot: int) -> None:
        self._numbers[self._at(slot, IS_BUSY)] = 0

    def is_busy(self, slot: int) -> bool:
        return bool(self._numbers[self._at(slot, IS_BUSY)])

    def last_task(self, slot: int) -> int:
        """The id of the task that the slot's worker runs, or ran last; 0 if none yet."""
        return int(self._numbers[self._at(slot, TASK)])

    # By whoever wants to know

    def has_rest(self) -> bool:
        """Whether a worker waits for a task."""
        return self.resting() > 0

    def resting(self) -> int:
        """How many workers wait for a task."""
        return sum(not self.is_busy(slot) for slot in range(self.workers))

    def last_sign(self) -> float:
        """
        When work last went on: a probe came back, or every worker was busy and alive, so that no probe could.

        What it says of busy workers holds while they are: who asks again and again keeps the latest answer.
        """
        return self.probed_at if self.has_rest() else max(self.probed_at, min(self._beats()))

    def all_busy(self) -> bool:
        """Whether all workers run a task and are alive."""
        return not self.has_rest() and time.monotonic() - min(self._beats()) < FRESH_SECONDS

    def last_busy_sign(self) -> float:
        """The last beat of a worker that has a task in hand."""
        return max((self.last_beat(slot) for slot in range(self.workers) if self.is_busy(slot)), default=0.0)

    def _beats(self) -> list[float]:
        return [self.last_beat(slot) for slot in range(self.workers)]

    def last_beat(self, slot: int) -> float:
        """When the slot's worker last beat; it does while it is busy."""
        return self._numbers[self._at(slot, BEAT)]

    def _at(self, slot: int, what: int) -> int:
        return SLOTS + SLOT_SIZE * slot + what
