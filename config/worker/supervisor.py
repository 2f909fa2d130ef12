"""
Keeps one cluster alive: watches it from outside, kills it whole when it has gone silent, starts another one.

The supervisor touches neither the database nor anything that processes of the cluster lock, so that nothing can stop
it from watching.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from django.conf import settings
from django.db import connections
from django_q.conf import Conf

from config.worker import cluster, heartbeat
from config.worker.board import Board
from config.worker.broker import Broker
from config.worker.lifeline import Lifeline, end_with_parent

LOOK_EVERY_SECONDS = 0.2
LONGEST_SLEEP_SECONDS = 2.0
# Told to stop, a cluster that neither ends nor has a task under way for so long is stuck.
STUCK_AFTER_SECONDS = 4.0
NOTE_WITHIN_SECONDS = 2.0
GIVE_UP_AFTER = 5  # short lives in a row
LONGEST_PAUSE_SECONDS = 8.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Patience:
    """In seconds: how long a cluster may be silent, and how long tasks under way may take to finish at the end."""

    silence: float
    grace: float


def run() -> int:
    """
    Work until SIGTERM or SIGINT; a second SIGINT ends what is still under way.

    The exit code: 0 after an orderly stop, 1 if the cluster had to be killed then, or does not live at all.
    """
    supervisor = Supervisor(Patience(settings.KEYFARE_WORKER_SILENCE_SECONDS, settings.KEYFARE_STOP_GRACE_SECONDS))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, supervisor.hear)
    return supervisor.run()


class Supervisor:
    def __init__(self, patience: Patience) -> None:
        self.patience = patience
        self.told_at = 0.0  # to stop
        self.is_impatient = False

    def hear(self, number: int, frame: object) -> None:
        self.is_impatient = bool(self.told_at) and number == signal.SIGINT
        self.told_at = self.told_at or time.monotonic()

    def run(self) -> int:
        short_lives = 0
        while not self.told_at:
            life = Life()
            is_orderly = self._watch(life)
            life.end()
            if self.told_at:
                return 0 if is_orderly else 1
            # Silence counts as a life if there was anything before it; work goes on in between.
            has_lived = life.board.probed_at and time.monotonic() - life.started_at > self.patience.silence
            short_lives = 0 if has_lived else short_lives + 1
            if short_lives >= GIVE_UP_AFTER:
                logger.critical("The worker ended %s times right after its start. Giving up.", short_lives)
                return 1
            self._pause(min(2.0 ** (short_lives - 2), LONGEST_PAUSE_SECONDS))
        return 0

    def _watch(self, life: Life) -> bool:
        """Return when the cluster has ended or has to; whether it ended in order."""
        while not life.look():
            if self.told_at:
                life.board.stop()
            if reason := self._reason_to_kill(life):
                logger.error("The worker is killed: %s", reason)
                return False
            asleep_at = time.monotonic()
            time.sleep(LOOK_EVERY_SECONDS)
            # Silence while we did not run either, as in a container that is paused, is none.
            life.last_sign += max(time.monotonic() - asleep_at - LONGEST_SLEEP_SECONDS, 0.0)
        if life.exit_code or not self.told_at:
            logger.error("The worker ended by itself (exit code %s).", life.exit_code)
        return life.exit_code == 0

    def _reason_to_kill(self, life: Life) -> str:
        now = time.monotonic()
        if not self.told_at:
            silent = now - life.last_sign
            return f"no task got through it for {silent:.0f} seconds." if silent > self.patience.silence else ""
        if self.is_impatient:
            return "it was told to stop twice."
        if now - self.told_at > self.patience.grace:
            return "tasks under way took longer than KEYFARE_STOP_GRACE_SECONDS."
        if now - max(self.told_at, life.board.last_busy_sign()) > STUCK_AFTER_SECONDS:
            return "it did not stop, and nothing is under way."
        return ""

    def _pause(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self.told_at and time.monotonic() < until:
            time.sleep(min(seconds, LOOK_EVERY_SECONDS))


class Life:
    """A cluster from its first fork to the end of its last process."""

    def __init__(self) -> None:
        self.id = uuid4()
        self.board = Board(Conf.WORKERS)
        self.exit_code: int | None = None
        self.started_at = self.last_sign = time.monotonic()
        self._lifeline = Lifeline()
        broker = Broker()
        broker.serve(self.id, self.board)
        self._first = _fork(cluster.serve, broker, self._lifeline)

    def look(self) -> bool:
        """Take note of signs of life; whether the cluster's first process has ended."""
        while self.exit_code is None:
            # Any child: as the first process of a container, we inherit what others leave behind.
            pid, status = _reap(-1)
            if pid == self._first:
                self.exit_code = os.waitstatus_to_exitcode(status)
            elif not pid:
                break
        self.last_sign = max(self.last_sign, min(self.board.last_sign(), self.board.guarded_at))
        return self.exit_code is not None

    def end(self) -> None:
        """Nothing of it is left afterwards, and what it held is noted as free."""
        if self.exit_code is None:
            os.kill(self._first, signal.SIGKILL)
        until = time.monotonic() + NOTE_WITHIN_SECONDS
        while self._kill_group() and time.monotonic() < until:
            self.look()
            time.sleep(0.02)
        self._lifeline.let_go()
        _run_apart(heartbeat.note_stopped, self.id)

    def _kill_group(self) -> bool:
        """Whether there was anybody left to kill."""
        try:
            os.killpg(self._first, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):  # macOS says the latter of those that are dead, not buried
            return False
        return True


def _run_apart(call: Callable[..., None], *args: Any) -> None:
    """Run what asks the database in a process of its own, not for long: it may hang, we must not."""
    pid = _fork(_call_and_exit, call, *args)
    until = time.monotonic() + NOTE_WITHIN_SECONDS
    while not _reap(pid)[0]:
        if time.monotonic() > until:
            logger.warning("The database did not take note of the end of the worker; others will notice by themselves.")
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return
        time.sleep(0.02)


def _call_and_exit(call: Callable[..., None], *args: Any) -> None:
    try:
        call(*args)
    except Exception as error:
        logger.warning("The end of the worker was not written down: %s", error)


def _fork(call: Callable[..., None], *args: Any) -> int:
    connections.close_all()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if not pid:
        end_with_parent()
        try:
            call(*args)
        finally:
            os._exit(0)
    return pid


def _reap(pid: int) -> tuple[int, int]:
    try:
        return os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return 0, 0
