"""
What background workers run: the tasks below and nothing else.

django-q2 runs whatever function a task names, and the names come from rows: of schedules, of failed tasks that are
submitted again. A worker has the master keys in reach, so it is told here, in front of it, what it may be given. A
task that is not ours is not even located, as that alone would import it.
"""

from __future__ import annotations

import logging
from typing import Any

from django_q.models import OrmQ, Task
from django_q.signing import SignedPackage

from config.worker.turns import LANES
from organizations import clock

logger = logging.getLogger(__name__)

TASKS = frozenset(LANES)
# What a package may say beside its function. Not among them: `hook` and `chain`, which name more functions.
PARTS = frozenset(
    {"id", "name", "func", "args", "kwargs", "started", "group", "cluster", "timeout", "save", "ack_failure", "sync"}
)
NOT_OURS = "Not run: it is not one of Keyfare's own tasks."


class NotOurTask(Exception):
    def __init__(self, func: object) -> None:
        super().__init__(f"{str(func)[:100]!r} is not one of Keyfare's own tasks, or has a hook or a chain.")


def is_ours(package: Any) -> bool:
    """Whether an opened package is a task of ours, named by its path."""
    if not isinstance(package, dict) or not {"id", "name", "func"} <= package.keys() <= PARTS:
        return False
    return isinstance(package["func"], str) and package["func"] in TASKS


def refuse_foreign(task: dict[str, Any], **kwargs: Any) -> None:
    """Before a task is queued, or run at once where tasks run inline. Raises NotOurTask."""
    if not is_ours(task):
        raise NotOurTask(task.get("func"))


def refuse_waiting(row: OrmQ) -> bool:
    """Whether a row of the queue is no task of ours; then it leaves the queue and stands among the failed ones."""
    try:
        package = SignedPackage.loads(row.payload)
    except Exception:  # nothing that a payload holds may stop the queue
        package = None
    if is_ours(package):
        return False
    row.delete()
    func = package.get("func") if isinstance(package, dict) else None
    logger.error("A background task was not run, as it is not one of ours: %.200r", func)
    if isinstance(package, dict):
        _remember_refused(package)
    return True


def _remember_refused(package: dict[str, Any]) -> None:
    now = clock.now()
    Task.objects.update_or_create(
        id=str(package.get("id", ""))[:32],
        defaults={
            "name": str(package.get("name", ""))[:100],
            "func": str(package.get("func", ""))[:256],
            "started": now,
            "stopped": now,
            "result": NOT_OURS,
            "success": False,
        },
    )
