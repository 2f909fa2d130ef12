"""The jobs that django-q2 starts by the clock. Each is a management command, so cron can run them as well."""

from __future__ import annotations

from django_q.models import Schedule

# command → every so many minutes
JOBS = {
    "resume_work": 1,
    "roll_up_usage": 5,
    "sweep_lost_calls": 5,
    "remind_key_rotation": 24 * 60,
    "validate_provider_keys": 60,  # each key once a day: it asks about those whose last answer is a day old
}


def ensure_schedules() -> None:
    """Write the schedules to the database; one that staff changed in the admin keeps its times."""
    for command, minutes in JOBS.items():
        Schedule.objects.get_or_create(
            name=command,
            defaults={
                "func": "django.core.management.call_command",
                "args": f"'{command}'",
                "schedule_type": Schedule.MINUTES,
                "minutes": minutes,
            },
        )
