"""Time comes from the database, whatever the clock of this process says."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
from django.db import transaction
from django.utils import timezone

from organizations import audit, clock
from organizations.models import AuditEvent

HOUR = 3600.0


def shift(monkeypatch, seconds: float) -> None:
    """What a machine whose clock is off sees."""
    truth, now = time.time, timezone.now
    monkeypatch.setattr(time, "time", lambda: truth() + seconds)
    monkeypatch.setattr(timezone, "now", lambda: now() + timedelta(seconds=seconds))


@pytest.mark.django_db
@pytest.mark.parametrize("seconds", [HOUR, -HOUR])
def test_a_wrong_clock_changes_nothing_of_the_time(monkeypatch, seconds):
    truth = datetime.now(UTC)
    shift(monkeypatch, seconds)

    told = clock.now()

    assert told.utcoffset() == timedelta()
    assert abs(told - truth) < timedelta(seconds=60)


@pytest.mark.django_db
def test_time_goes_on_within_a_transaction():
    with transaction.atomic():
        first = clock.now()
        time.sleep(0.005)
        assert clock.now() > first


@pytest.mark.django_db
def test_what_the_audit_log_counts_by_is_the_databases_time(monkeypatch, acme):
    shift(monkeypatch, HOUR)

    audit.record(organization=acme, actor=None, action="provider_key.validation_requested")

    assert AuditEvent.objects.get(organization=acme).created_at < datetime.now(UTC) + timedelta(minutes=1)


@pytest.mark.django_db
@pytest.mark.parametrize(("seconds", "words"), [(HOUR, "3,600 seconds ahead of"), (-45, "45 seconds behind")])
def test_a_clock_that_is_off_is_said_with_the_figure_and_what_to_do(monkeypatch, seconds, words):
    shift(monkeypatch, seconds)

    assert clock.clock_skew_seconds() == pytest.approx(seconds, abs=0.5)
    assert words in clock.clock_warning()
    assert "NTP" in clock.clock_warning()


@pytest.mark.django_db
@pytest.mark.parametrize("seconds", [0, 20, -20])
def test_a_clock_that_is_nearly_right_is_not_spoken_of(monkeypatch, seconds):
    shift(monkeypatch, seconds)

    assert clock.clock_warning() == ""
