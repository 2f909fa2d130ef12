"""The jobs that django-q2 starts by the clock. Each is a management command, so cron can run them as well."""

from __future__ import annotations

from django.core.management import call_command
from django_q.models import Schedule

from organizations.tenancy import EVERY, scope

# command → every so many minutes
JOBS = {
    "resume_work": 1,
    "send_mail_queue": 1,
    "roll_up_usage": 5,
    "sweep_lost_calls": 5,
    "remind_key_rotation": 24 * 60,
    "validate_provider_keys": 60,  # each key once a day: it asks about those whose last answer is a day old
}


@scope(EVERY, "jobs serve the whole installation")
def run(command: str) -> None:
    """What django-q2 runs for each of JOBS."""
    call_command(command)


def ensure_schedules() -> None:
    """Write the schedules to the database; one that staff changed in the admin keeps its times."""
    for command, minutes in JOBS.items():
        what = {"func": "config.schedules.run", "args": f"'{command}'"}
        Schedule.objects.update_or_create(
            name=command,
            defaults=what,
            create_defaults={**what, "schedule_type": Schedule.MINUTES, "minutes": minutes},
        )
