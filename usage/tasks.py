"""Scheduled work, for django-q2; each is also a management command."""

from __future__ import annotations

from django.utils import timezone

from usage import metering, rollups


def roll_up_usage() -> int:
    return rollups.roll_up(now=timezone.now()).events


def sweep_lost_calls() -> int:
    return metering.sweep_lost_calls(now=timezone.now())
