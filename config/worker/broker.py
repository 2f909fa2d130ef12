"""Where tasks wait: django-q2's table, with a note of who holds which, taken by turns and by the database's clock."""

from __future__ import annotations

import logging
import time
from datetime import UTC, datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from django_q.brokers.orm import ORM
from django_q.conf import Conf
from django_q.models import OrmQ
from django_q.signing import SignedPackage

from config.models import HeldTask
from config.own_tasks import ours, refuse
from config.worker import heartbeat
from config.worker.board import Board
from config.worker.orphans import Orphans
from config.worker.turns import Choice, Running, choose, turn_of

LOOK_FOR_ORPHANS_EVERY_SECONDS = 5.0
PICKED_UP_WITHIN_SECONDS = 2.0
MOST_LOOKED_AT = 10_000
MOST_REFUSED = 100
HELD_BACK_SECONDS = 10.0  # so old is the time from which such a task counts as waiting, at most

logger = logging.getLogger(__name__)

Handed = list[tuple[int, str]]


class Broker(ORM):  # type: ignore[misc]  # published without types
    """
    django-q2's ORM broker for our clusters; everybody else only enqueues.

    A task leaves the table only for a worker that is free to run it, so none waits in a process that may die; and none
    leaves any more once the cluster is told to stop.
    """

    board: Board
    cluster: UUID

    def serve(self, cluster: UUID, board: Board) -> None:
        """Belong to a cluster, whose pusher and monitor use this broker."""
        self.cluster, self.board = cluster, board
        self.orphans = Orphans(cluster)
        self._looked_at = self._probed_at = self._beaten_at = float("-inf")
        self._handed: tuple[int, float] = (0, 0.0)  # task, and when
        self._served: dict[tuple[str, str], float] = {}

    def enqueue(self, task: str) -> int:
        row = self.get_connection().create(key=self.list_key or Conf.CLUSTER_NAME, payload=task, lock=Now())
        return int(row.pk)

    def dequeue(self) -> Handed:
        """One task as (id, payload), or nothing after a short sleep."""
        handed: Handed = []
        is_picked_up = self._is_picked_up()
        if is_picked_up and not self.board.is_stopping:
            handed = self._hand_out()
        if handed:
            self._handed = handed[0][0], time.monotonic()
        else:
            time.sleep(Conf.POLL if is_picked_up else min(Conf.POLL, 0.01))
        return handed

    def acknowledge(self, task_id: int) -> None:
        if is_probe(task_id):
            self.board.probe_returned()
            try:
                self.get_connection()
                heartbeat.beat(self.cluster)
            except DatabaseError as error:  # the monitor has results to write down when it is back
                logger.warning("The worker's heartbeat was not written: %s", error)
        else:
            self.delete(task_id)  # and with it the note of who holds it

    def set_stat(self, key: str, value: str, timeout: int) -> None:
        """django-q2's own sign of life, twice a second into the cache: the heartbeat takes its place."""

    def _hand_out(self) -> Handed:
        now = time.monotonic()
        has_rest = self.board.has_rest()
        if has_rest and now - self._probed_at >= settings.KEYFARE_WORKER_PROBE_SECONDS:
            self._probed_at = now
            return [_probe()]  # before the database is asked for anything: this is not about it
        self.get_connection()
        if self._beaten_at < 0:
            heartbeat.note_started(self.cluster)
            self._beaten_at = now
        elif now - self._beaten_at >= settings.KEYFARE_WORKER_PROBE_SECONDS and self.board.all_busy():
            heartbeat.beat(self.cluster)  # of the others, the monitor writes when a probe comes back
            self._beaten_at = now
        if now - self._looked_at >= LOOK_FOR_ORPHANS_EVERY_SECONDS:
            self.orphans.free()
            self._looked_at = now
        return self._take() if has_rest else []

    def _take(self) -> Handed:
        waiting = list(self.waiting().values_list("pk", "payload")[:MOST_LOOKED_AT])
        if not waiting:  # without the lock that a transaction takes on SQLite
            return []
        self._refuse([pk for pk, payload in waiting if ours(payload) is None])
        turns = {pk: turn_of(payload) for pk, payload in waiting if ours(payload)}
        choice = choose(turns.items(), self._running(), free=self.board.resting(), served=self._served)
        self._tidy(choice)
        if choice.task is None:
            return []
        with transaction.atomic():
            task = self.waiting().select_for_update(skip_locked=True).filter(pk=choice.task).first()
            if task is None or ours(task.payload) is None:  # another cluster was faster, or it was changed
                return []
            HeldTask.objects.update_or_create(task=task, defaults={"cluster_id": self.cluster})
            OrmQ.objects.filter(pk=task.pk).update(lock=Now() + timedelta(seconds=Conf.RETRY))
        if turn := turns[task.pk]:
            if len(self._served) > MOST_LOOKED_AT:
                self._served.clear()
            self._served[turn.line] = time.monotonic()
        return [(task.pk, task.payload)]

    def _refuse(self, foreign: list[int]) -> None:
        """So many at a time that they keep no task of ours waiting."""
        if foreign:
            with transaction.atomic():
                for row in self.waiting().select_for_update(skip_locked=True).filter(pk__in=foreign[:MOST_REFUSED]):
                    refuse(row)

    def _running(self) -> list[Running]:
        """What the workers of this cluster have in hand."""
        slots = range(self.board.workers)
        busy = [self.board.last_task(slot) for slot in slots if self.board.is_busy(slot)]
        rows = OrmQ.objects.filter(pk__in=[task for task in busy if not is_probe(task)])
        running = []
        for payload, lock, now in rows.annotate(now=Now()).values_list("payload", "lock", "now"):
            if turn := turn_of(payload):
                running.append(Running(turn, Conf.RETRY - (lock - now).total_seconds()))
        return running

    def _tidy(self, choice: Choice) -> None:
        """One of several that do the same is enough; and what waits behind its own kind is not late."""
        if choice.doubled:
            self.waiting().filter(pk__in=choice.doubled).delete()
        if choice.held_back:
            late = Now() - timedelta(seconds=HELD_BACK_SECONDS)
            self.waiting().filter(pk__in=choice.held_back, lock__lt=late).update(lock=Now())

    def waiting(self) -> QuerySet[OrmQ]:
        """The tasks that may be handed out now, first to last."""
        rows: QuerySet[OrmQ] = OrmQ.objects.filter(key=self.list_key, lock__lte=Now())
        return rows.order_by("pk")

    def _is_picked_up(self) -> bool:
        """Whether a worker has what was handed out last; if none took it in time, it is not waited for."""
        task, at = self._handed
        taken = any(self.board.last_task(slot) == task for slot in range(self.board.workers))
        return not task or taken or time.monotonic() - at > PICKED_UP_WITHIN_SECONDS


def _probe() -> tuple[int, str]:
    """A task like any other, which does nothing but show that tasks get through. Its success is not kept."""
    task = {
        "id": "probe",
        "name": "probe",
        "func": "config.worker.broker.probe",
        "args": (),
        "kwargs": {},
        "started": datetime.now(UTC),
        "save": False,
    }
    return -(time.monotonic_ns() // 1_000_000), str(SignedPackage.dumps(task))


def is_probe(task_id: int) -> bool:
    return task_id < 0


def probe() -> None:
    """What a probe runs: nothing."""
