"""At most ten validations a minute and organization, counted in the database; and for how long results are kept."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import pytest
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from organizations.models import AuditEvent
from providers.adapters.secret import Secret
from providers.keys.replacement import replace_provider_key
from providers.keys.saving import delete_provider_key
from providers.keys.validation import (
    MAX_VALIDATIONS_A_MINUTE,
    TooManyValidations,
    forget_old_validations,
    request_validation,
    validate_due_keys,
    validate_key,
)
from providers.models import KeyValidation, ProviderKey
from tests.builders import connect_key
from tests.providers.test_key_concurrency import at_once

pytestmark = pytest.mark.usefixtures("simulated_providers")
HTMX = {"HX-Request": "true"}
SENTENCE = "Your organization asked for 10 validations within a minute"
Status = ProviderKey.Status


def validate(key: ProviderKey, actor=None, later: float = 0) -> KeyValidation:
    now = timezone.now() + timedelta(seconds=later)
    asked = request_validation(key=key, actor=actor, now=now)
    validate_key(validation_id=asked.pk, now=now)
    return asked


@pytest.fixture
def worn_out(acme) -> ProviderKey:
    """A key of an organization that has just validated as often as it may."""
    key = connect_key(acme)
    for _ in range(MAX_VALIDATIONS_A_MINUTE):
        validate(key)
    return key


def test_the_eleventh_within_a_minute_is_refused_and_changes_nothing(worn_out, simulator):
    before = ProviderKey.objects.values().get(), KeyValidation.objects.count(), AuditEvent.objects.count()

    with pytest.raises(TooManyValidations, match=SENTENCE):
        validate(worn_out)

    assert (ProviderKey.objects.values().get(), KeyValidation.objects.count(), AuditEvent.objects.count()) == before


def test_after_a_minute_it_goes_on_and_another_organization_never_waited(worn_out, globex):
    assert validate(connect_key(globex)).pk
    assert validate(worn_out, later=61).pk


def test_removing_and_replacing_keys_gives_no_more_of_them(worn_out, acme):
    replace_provider_key(key=worn_out, secret=Secret("sk-or-v1-simulated-valid-0002"), actor=None, now=timezone.now())
    pending = worn_out.replacements.get()
    with pytest.raises(TooManyValidations):
        validate(pending)
    delete_provider_key(key=worn_out, actor=None)

    with pytest.raises(TooManyValidations):
        validate(connect_key(acme))


def test_asking_again_while_one_waits_counts_once(acme):
    key = connect_key(acme)

    for _ in range(MAX_VALIDATIONS_A_MINUTE + 5):
        request_validation(key=key, actor=None, now=timezone.now())

    assert AuditEvent.objects.filter(action="provider_key.validation_requested").count() == 1


def test_staff_and_the_schedule_are_neither_limited_nor_counted(worn_out, globex, staff):
    theirs = connect_key(globex)
    for _ in range(MAX_VALIDATIONS_A_MINUTE + 1):
        validate(theirs, actor=staff)
        validate_due_keys(now=timezone.now() + timedelta(hours=1), older_than=timedelta(0))

    assert validate(theirs).pk
    assert validate(worn_out, actor=staff).pk


@pytest.mark.parametrize("headers", [{}, HTMX], ids=["plain", "htmx"])
def test_the_page_says_so_beside_the_key(as_alice, worn_out, headers):
    answer = as_alice.post(f"/o/acme/settings/keys/{worn_out.pk}/validate/", headers=headers)
    page = answer.content.decode()

    assert answer.status_code == 429
    assert SENTENCE in page
    assert "Connected" in page
    assert ("<html" in page) == (not headers)


def test_a_replacement_is_saved_all_the_same_and_can_be_tried_again(as_alice, worn_out):
    keys = f"/o/acme/settings/keys/{worn_out.pk}"
    saved = as_alice.post(f"{keys}/replace/", {"key": "sk-or-v1-simulated-valid-0002"}, follow=True)
    again = as_alice.post(f"{keys}/replacement/validate/", headers=HTMX)

    assert "New key saved, but not validated yet" in saved.content.decode()
    assert worn_out.replacements.exists()
    assert (again.status_code, SENTENCE in again.content.decode()) == (429, True)


def test_an_enabled_key_that_cannot_be_validated_yet_says_why(as_alice, worn_out):
    keys = f"/o/acme/settings/keys/{worn_out.pk}"
    as_alice.post(f"{keys}/disable/")

    answer = as_alice.post(f"{keys}/enable/", headers=HTMX)

    assert (answer.status_code, SENTENCE in answer.content.decode()) == (429, True)
    assert ProviderKey.objects.get().status == Status.SAVED


@pytest.mark.postgresql
@pytest.mark.skipif(connection.vendor != "postgresql", reason="needs PostgreSQL: SQLite has one writer")
@pytest.mark.django_db(transaction=True)
def test_requests_at_once_get_ten_in_all(acme, monkeypatch):
    monkeypatch.setattr("providers.keys.validation._queue", lambda *_: None)
    keys = [connect_key(acme, label=f"Key {number}") for number in range(MAX_VALIDATIONS_A_MINUTE + 6)]

    def ask(key):
        try:
            request_validation(key=key, actor=None, now=timezone.now())
        except TooManyValidations:
            return False
        return True

    answers = at_once(*(partial(ask, key) for key in keys))

    assert sum(answers) == MAX_VALIDATIONS_A_MINUTE
    assert KeyValidation.objects.filter(state="queued").count() == MAX_VALIDATIONS_A_MINUTE


# How long results are kept ------------------------------------------------------------------------------


def test_results_are_kept_90_days_and_the_newest_of_each_key_for_good(acme, globex):
    now = timezone.now()
    mine, theirs = connect_key(acme), connect_key(globex)
    KeyValidation.objects.all().delete()

    def attempt(key, days):
        at = now - timedelta(days=days)
        return KeyValidation.objects.create(
            organization=key.organization,
            key=key,
            secret_version=1,
            state="done",
            requested_at=at,
            finished_at=at,
        ).pk

    attempt(mine, 200)
    attempt(mine, 91)
    kept = {attempt(mine, 89), attempt(mine, 1)}
    attempt(theirs, 400)
    kept.add(attempt(theirs, 300))

    assert forget_old_validations(now=now) == 3
    assert set(KeyValidation.objects.values_list("pk", flat=True)) == kept


def test_one_that_still_waits_is_never_forgotten(acme):
    key = connect_key(acme)
    waiting = request_validation(key=key, actor=None, now=timezone.now())
    KeyValidation.objects.filter(pk=waiting.pk).update(state="queued", finished_at=None)
    KeyValidation.objects.create(
        organization=acme, key=key, secret_version=1, state="done", requested_at=timezone.now()
    )

    forget_old_validations(now=timezone.now() + timedelta(days=100))

    assert KeyValidation.objects.filter(pk=waiting.pk).exists()


def test_the_hourly_schedule_forgets_them(acme, capsys):
    connect_key(acme)
    old = timezone.now() - timedelta(days=100)
    first = KeyValidation.objects.get()
    KeyValidation.objects.update(finished_at=old)
    validate(first.key)

    call_command("validate_provider_keys")

    assert not KeyValidation.objects.filter(pk=first.pk).exists()
    assert KeyValidation.objects.count() == 1
