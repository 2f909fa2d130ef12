from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from candidates import acceptance, briefings, trials
from organizations import clock
from providers.keys.validation import requeue_validations


class Command(BaseCommand):
    help = "Queues again what waits too long: checks, drafts and validations whose task or worker was lost."

    def handle(self, *args: Any, **options: Any) -> None:
        now = clock.now()
        organizations = acceptance.organizations_with_waiting_checks(now=now)
        if organizations:
            acceptance.queue_checks()
        drafts = briefings.requeue_drafts(now=now)
        tried = trials.requeue_trials(now=now)
        validations = requeue_validations(now=now)
        self.stdout.write(
            f"Queued again: checks of {len(organizations)} organizations, {drafts} drafts, {tried} trials, "
            f"{validations} validations."
        )
