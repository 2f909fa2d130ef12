"""
The jobs that run by the clock. Each is a management command, so cron can run them as well.

A schedule's row says when; what runs stands here. So a row whose function, arguments or hook somebody wrote starts
nothing else, one that is gone comes back, and one that cannot be read keeps the pace of JOBS and holds up no other.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from datetime import datetime, timedelta
from io import StringIO
from typing import Any

from django.core.management import call_command
from django.db import close_old_connections, connection, transaction
from django_q.models import Schedule
from django_q.tasks import async_task

from organizations import clock
from organizations.tenancy import EVERY, scope

logger = logging.getLogger(__name__)

# command → every so many minutes
JOBS = {
    "resume_work": 1,
    "send_mail_queue": 1,
    "roll_up_usage": 5,
    "sweep_lost_calls": 5,
    "seal_months": 60,
    "detect_anomalies": 60,
    "remind_key_rotation": 24 * 60,
    "check_usage": 24 * 60,
    "note_cheaper_models": 24 * 60,
    "validate_provider_keys": 60,  # each key once a day: it asks about those whose last answer is a day old
}
RUN = "config.schedules.run"
# How often a row may say; django-q2's "once" would end a job, and "cron" needs a library of its own.
REPEATED = (Schedule.MINUTES, Schedule.HOURLY, Schedule.DAILY, Schedule.WEEKLY, Schedule.MONTHLY)
LONGEST = timedelta(days=62)  # a time further away than this is nobody's wish


class NoSuchJob(Exception):
    def __init__(self, command: str) -> None:
        super().__init__(f"{command[:60]!r} is none of the jobs that run by the clock.")


@scope(EVERY, "jobs serve the whole installation")
def run(command: str) -> None:
    """What a worker runs for each of JOBS, and for nothing else."""
    if command not in JOBS:
        raise NoSuchJob(command)
    with suppress(SystemExit):  # by which it tells who calls it by hand, a shell, that something is wrong
        call_command(command, stdout=StringIO())  # so is what it found; trouble is logged


def ensure_schedules() -> None:
    """Write the schedules to the database; one that staff changed in the admin keeps its times."""
    now = clock.now()
    for command in JOBS:
        Schedule.objects.filter(pk=_row_of(command, now).pk).update(**_what(command))


def start_due_jobs(broker: Any = None) -> None:
    """
    Queue the jobs that are due and set when each is next: what the cluster calls about every 30 seconds.

    Each in a transaction of its own. A time that was missed is not made up for. Several clusters start a job once.
    """
    if not connection.in_atomic_block:
        close_old_connections()
    for command in JOBS:
        try:
            _start_if_due(command, clock.now(), broker)
        except Exception:
            logger.exception("The job %s could not be started.", command)


def next_time(schedule: Schedule, now: datetime) -> datetime:
    """The first time after `now` that keeps the schedule's pace; by JOBS where the row makes no sense."""
    minutes = JOBS.get(schedule.name or "", 1)
    if schedule.schedule_type == Schedule.MINUTES:
        minutes = schedule.minutes or minutes
    elif schedule.schedule_type in REPEATED and schedule.next_run and now - schedule.next_run < LONGEST:
        following: datetime = schedule.next_run
        while following <= now:
            following = schedule.calculate_next_run(following)
        return following
    pace = timedelta(minutes=minutes)
    if schedule.next_run is None or schedule.next_run > now:
        return now + pace
    following = schedule.next_run + ((now - schedule.next_run) // pace + 1) * pace
    return following


def _start_if_due(command: str, now: datetime, broker: Any) -> None:
    row = _row_of(command, now)
    if not _is_due(row, now):
        return
    with transaction.atomic():
        schedule = Schedule.objects.select_for_update().get(pk=row.pk)
        if _is_due(schedule, now):  # another cluster may have been faster
            task = async_task(RUN, command, q_options={"group": command, "broker": broker})
            Schedule.objects.filter(pk=row.pk).update(next_run=next_time(schedule, now), task=task)


def _is_due(schedule: Schedule, now: datetime) -> bool:
    if schedule.repeats == 0:  # switched off
        return False
    return schedule.next_run is None or not now < schedule.next_run < now + LONGEST


def _row_of(command: str, now: datetime) -> Schedule:
    """Due from `now` if it is new."""
    when = {"schedule_type": Schedule.MINUTES, "minutes": JOBS[command], "next_run": now}
    row = Schedule.objects.filter(name=command).order_by("pk").first()
    return row or Schedule.objects.create(name=command, **_what(command), **when)


def _what(command: str) -> dict[str, str | None]:
    """What a row shows; nothing is run by it."""
    return {"func": RUN, "args": f"'{command}'", "kwargs": None, "hook": None, "cluster": None}
