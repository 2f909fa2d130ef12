"""What django-q2 runs; each line is a service. Payloads carry ids only."""

from __future__ import annotations

from django.utils import timezone

from providers import validation


def validate_key(validation_id: int) -> None:
    validation.validate_key(validation_id=validation_id, now=timezone.now())


def requeue_validations() -> None:
    validation.requeue_validations(now=timezone.now())
