"""One cluster: django-q2's sentinel, pusher, workers and monitor, in a process group of their own."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing import Value
from multiprocessing.context import ForkProcess
from typing import Any, NoReturn
from uuid import uuid4

from django.conf import settings
from django.db import DatabaseError
from django_q import cluster
from django_q.monitor import monitor
from django_q.pusher import pusher
from django_q.worker import worker

from candidates import tasks
from config.worker.board import BEAT_EVERY_SECONDS, Board
from config.worker.broker import Broker, is_probe
from config.worker.lifeline import Lifeline, end_with_parent
from config.worker.messages import MessageQueue
from config.worker.orphans import free_task

# A task whose worker was killed is tried again after this: at once, a task that kills workers would kill many.
TRIED_AGAIN_AFTER = timedelta(seconds=60)

logger = logging.getLogger(__name__)


def serve(broker: Broker, lifeline: Lifeline) -> NoReturn:
    """What the first process of a cluster does, just forked: it becomes the sentinel, and ends as that ends."""
    code = 1
    try:
        os.setsid()
        lifeline.hold()
        _leave_signals_to_the_supervisor()
        Sentinel(broker, lifeline)
        code = 0
    except Exception:
        logger.exception("The worker broke")
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)  # what would run at exit belongs to the supervisor


class Sentinel(cluster.Sentinel):  # type: ignore[misc]  # published without types
    """
    django-q2's own, with nothing between its processes that a killed one could leave locked.

    Its constructor returns when the cluster has stopped.
    """

    def __init__(self, broker: Broker, lifeline: Lifeline) -> None:
        self.board, self.lifeline = broker.board, lifeline
        stop = _Stop(broker.board, lifeline, self._end_the_silent)
        super().__init__(stop, threading.Event(), broker.cluster, broker)

    def start(self) -> None:
        _leave_signals_to_the_supervisor()
        self.task_queue, self.result_queue = MessageQueue(), MessageQueue()
        self.event_out = self.stop_event
        super().start()

    def spawn_worker(self) -> None:
        taken = {process.slot for process in self.pool}
        slot = next(slot for slot in range(self.board.workers) if slot not in taken)
        timer = Value("f", -1)
        hands = _Hands(self.board, slot, self.task_queue, self.result_queue)
        process = self._start(_work, hands, timer, self.timeout)
        process.timer, process.slot, process.beat, process.silent = timer, slot, 0.0, 0.0
        self.pool.append(process)

    def spawn_pusher(self) -> Any:
        return self._start(pusher, self.task_queue, self.event_out, self.broker)

    def spawn_monitor(self) -> Any:
        return self._start(monitor, self.result_queue, self.broker)

    def reincarnate(self, process: Any) -> None:
        """A new process for one that died, or for a worker whose task ran too long."""
        lost = 0
        if process in self.pool:
            if process.timer.value == 0:
                process.kill()  # it hears no SIGTERM
            elif self.board.is_busy(process.slot):
                lost = self.board.last_task(process.slot)
            self.board.rest(process.slot)
        super().reincarnate(process)
        if lost and not is_probe(lost):
            try:
                free_task(lost, after=TRIED_AGAIN_AFTER)
            except DatabaseError as error:
                logger.warning("The task of a worker that died is tried again later than it should be: %s", error)

    def _end_the_silent(self, seconds: float) -> None:
        """
        Kill who is stuck at a task; the next look puts another one in its place. `seconds`: since the last look.

        Sooner than the supervisor would kill the whole cluster, and with it what others have in hand. Silence is what
        we were awake for: after a pause of the whole machine, nobody has beaten for long.
        """
        for process in self.pool:
            beat = self.board.last_beat(process.slot)
            is_at_task = self.board.is_busy(process.slot) and not is_probe(self.board.last_task(process.slot))
            process.silent = process.silent + seconds if is_at_task and beat == process.beat else 0.0
            process.beat = beat
            if process.silent > settings.KEYFARE_WORKER_SILENCE_SECONDS / 2:
                logger.error("A worker is killed: it has shown no sign of life at its task.")
                process.kill()

    def _start(self, target: Callable[..., None], *args: Any) -> Any:
        process = ForkProcess(
            target=_begin, args=(self.lifeline, target, args), name=f"Process-{uuid4().hex}", daemon=True
        )
        process.start()
        return process


def _leave_signals_to_the_supervisor() -> None:
    """Whoever tells all processes to end (systemd does) tells the supervisor, too, which ends us in order."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _begin(lifeline: Lifeline, target: Callable[..., None], args: tuple[Any, ...]) -> None:
    end_with_parent()
    lifeline.watch()
    target(*args)


def _work(hands: _Hands, timer: Any, timeout: int) -> None:
    threading.Thread(target=hands.beat, name="beat", daemon=True).start()
    tasks.is_stopping = lambda: hands.board.is_stopping
    worker(hands, hands, timer, timeout)


@dataclass(frozen=True, slots=True)
class _Stop:
    """The sentinel's order to stop, which is the supervisor's."""

    board: Board
    lifeline: Lifeline
    look: Callable[[float], None]

    def is_set(self) -> bool:
        return self.board.is_stopping

    def set(self) -> None:
        self.board.stop()

    def wait(self, seconds: float) -> bool:
        """The sentinel's pause between two looks at its processes."""
        self.board.guarded()
        self.look(seconds)
        self.lifeline.wait(seconds)
        return self.is_set()


@dataclass(frozen=True, slots=True)
class _Hands:
    """What a worker takes tasks from and gives results to: the queues, with the board told of both."""

    board: Board
    slot: int
    tasks: MessageQueue
    results: MessageQueue

    def get(self) -> Any:
        """The next task. One that was handed out before the order to stop goes back with all the cluster holds."""
        self.board.rest(self.slot)
        task = self.tasks.get()
        if task == "STOP" or self.board.is_stopping:
            return "STOP"
        self.board.take(self.slot, task["ack_id"])
        return task

    def put(self, result: Any) -> None:
        self.results.put(result)
        self.board.rest(self.slot)

    def beat(self) -> NoReturn:
        """The beat of a running task: as long as this process gets to run, its task is under way, not stuck."""
        while True:
            if self.board.is_busy(self.slot):
                self.board.beat(self.slot)
            time.sleep(BEAT_EVERY_SECONDS)
