"""
What background workers run: the tasks below and nothing else.

django-q2 runs whatever function a task names, and the names come from rows: of schedules, of failed tasks that are
submitted again. A worker has the master keys in reach, so it is told here, in front of it, what it may be given. A
task that is not ours is not even located, as that alone would import it.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import datetime
from enum import IntEnum
from functools import lru_cache
from typing import Any

from django.db import transaction
from django_q.models import OrmQ, Task
from django_q.signing import SignedPackage

from organizations import clock
from organizations.storable import storable

logger = logging.getLogger(__name__)


class Lane(IntEnum):
    """Kinds of tasks by how long they take and who waits for them; the first come first."""

    SHORT = 0  # a person waits for a verdict on a key
    DRAFT = 1
    CHECKS = 2
    JOB = 3


LANES = {
    "providers.tasks.validate_key": Lane.SHORT,
    "providers.tasks.tell_key_broke": Lane.SHORT,
    "organizations.tasks.send_mails": Lane.SHORT,
    "candidates.tasks.draft_briefing": Lane.DRAFT,
    "candidates.tasks.run_trial": Lane.DRAFT,
    "candidates.tasks.run_checks": Lane.CHECKS,
    "config.schedules.run": Lane.JOB,
}
TASKS = frozenset(LANES)
NEEDED = frozenset({"id", "name", "func", "args", "kwargs", "started"})
# Not among them: `hook` and `chain`, which name more functions, nor anything else that changes how a task is run, as
# what is wrong with that breaks the worker and not the task. `sync` is set where tasks run inline, and never waits.
PARTS = NEEDED | {"group", "sync"}
LENGTHS = {"id": 32, "name": 100, "group": 100}  # as they are written down
LARGEST_PAYLOAD = 16 * 1024  # ours carry ids only
NOT_OURS = "Not run: it is not one of Keyfare's own tasks."


class NotOurTask(Exception):
    def __init__(self, func: object) -> None:
        super().__init__(f"{str(func)[:100]!r} is not one of Keyfare's own tasks, or has a hook or a chain.")


def is_ours(package: Any) -> bool:
    """Whether an opened package is a task of ours, named by its path, that can be run and written down."""
    if not isinstance(package, dict) or not NEEDED <= package.keys() <= PARTS:
        return False
    return (
        isinstance(package["func"], str)
        and package["func"] in TASKS
        and isinstance(package["args"], tuple | list)
        and all(type(argument) in (int, float, str) for argument in package["args"])
        and package["kwargs"] == {}
        and isinstance(package["started"], datetime)
        and all(_is_text(package[part], length) for part, length in LENGTHS.items() if part in package)
    )


@lru_cache(10_000)
def ours(payload: str) -> Mapping[str, Any] | None:
    """The task of ours that a payload of the queue holds, or nothing if it holds anything else."""
    if len(payload) > LARGEST_PAYLOAD:
        return None
    package = _opened(payload)
    return package if is_ours(package) and not package.get("sync") else None


def refuse_foreign(task: dict[str, Any], **kwargs: Any) -> None:
    """Before a task is queued, or run at once where tasks run inline. Raises NotOurTask."""
    if not is_ours(task):
        raise NotOurTask(task.get("func"))


def refuse(row: OrmQ) -> None:
    """Take what is no task of ours out of the queue and put it among the failed ones. Inside a transaction."""
    row.delete()
    package = _opened(row.payload)
    if not isinstance(package, dict):
        logger.error("What waited for a worker and is no task was deleted.")
        return
    logger.error("A background task was not run, as it is not one of ours: %s", ascii(_text(package.get("func"), 200)))
    try:
        with transaction.atomic():
            _remember_refused(package)
    except Exception:  # nothing that a payload holds may stop the queue
        logger.exception("A task that was refused could not be written down.")


def _remember_refused(package: dict[str, Any]) -> None:
    now = clock.now()
    Task.objects.update_or_create(
        id=_text(package.get("id"), LENGTHS["id"]),
        defaults={
            "name": _text(package.get("name"), LENGTHS["name"]),
            "func": _text(package.get("func"), 256),
            "started": now,
            "stopped": now,
            "result": NOT_OURS,
            "success": False,
        },
    )


def _opened(payload: str) -> Any:
    try:
        return SignedPackage.loads(payload)
    except Exception:  # whatever is wrong with it
        return None


def _is_text(value: Any, length: int) -> bool:
    return value is None or (isinstance(value, str) and value == _text(value, length))


def _text(value: Any, length: int) -> str:
    try:
        text = "" if value is None else str(value)
    except Exception:
        text = "?"
    return storable(text)[:length]
