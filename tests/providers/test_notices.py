"""What owners and admins are told about their keys by e-mail, and how often."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import pytest
from django.core import mail
from django.core.management import CommandError, call_command
from django.utils import timezone

from organizations.models import AuditEvent
from providers import tasks
from providers.adapters.base import ErrorKind
from providers.custody import Secret
from providers.models import KeyValidation, ProviderKey
from providers.notices import send_due_break_notices, tell_key_broke
from providers.services import disable_provider_key, save_provider_key
from providers.validation import mark_key_refused, validate_due_keys
from tests.builders import NOW, connect_key, connect_managed_key

pytestmark = pytest.mark.usefixtures("simulated_providers", "alice", "ada", "bob", "charlie")
Status = ProviderKey.Status


@pytest.fixture
def committed(django_capture_on_commit_callbacks):
    return partial(django_capture_on_commit_callbacks, execute=True)


@pytest.fixture
def key(acme) -> ProviderKey:
    """Connected; and its provider refuses it from now on."""
    return broken_at_provider(connect_key(acme, label="Revoked", kind="invalid"))


def broken_at_provider(key: ProviderKey) -> ProviderKey:
    ProviderKey.objects.filter(pk=key.pk).update(status=Status.CONNECTED, status_detail="")
    return ProviderKey.objects.get(pk=key.pk)


def revalidate(hours: int = 0):
    return validate_due_keys(now=NOW + timedelta(minutes=1), older_than=timedelta(hours=hours))


def receivers() -> list[str]:
    return sorted(address for message in mail.outbox for address in message.to)


def test_owners_and_admins_are_told_once_that_a_key_broke(key, committed):
    for hour in range(3):
        with committed():
            validate_due_keys(now=NOW + timedelta(hours=hour), older_than=timedelta())

    assert KeyValidation.objects.count() == 4
    assert receivers() == ["ada@acme.example", "alice@acme.example"]
    message = mail.outbox[0]
    assert message.subject == "OpenRouter key “Revoked” of Acme stopped working"
    assert "does not accept this key" in message.body
    assert "http://localhost:8000/o/acme/settings#llm-providers" in message.body
    assert AuditEvent.objects.filter(action="provider_key.broke", actor=None).count() == 1


def test_the_e_mail_holds_no_part_of_the_key(key, committed):
    with committed():
        revalidate()

    for message in mail.outbox:
        assert "simulated" not in f"{message.subject} {message.body}"
        assert "0001" not in f"{message.subject} {message.body}"


def test_they_are_told_again_only_when_it_worked_in_between(key, committed):
    with committed():
        revalidate()
    assert len(mail.outbox) == 2

    ProviderKey.objects.update(status=Status.CONNECTED, break_notice="")
    with committed():
        validate_due_keys(now=NOW + timedelta(hours=1), older_than=timedelta())
    assert len(mail.outbox) == 4


def test_a_key_that_never_worked_is_no_news(acme, committed):
    with committed():
        connect_key(acme, kind="invalid")

    assert mail.outbox == []


@pytest.mark.parametrize("kind", [ErrorKind.INVALID, ErrorKind.NO_CREDIT])
def test_a_refused_call_tells_it_too_and_once(acme, committed, kind):
    key = connect_key(acme)

    for _ in range(2):
        with committed():
            mark_key_refused(key_id=key.pk, secret_version=1, kind=kind, detail="The reason.", now=NOW)

    assert receivers() == ["ada@acme.example", "alice@acme.example"]
    assert "The reason." in mail.outbox[0].body


@pytest.mark.parametrize("kind", ["rate-limited", "overloaded"])
def test_trouble_on_the_way_is_no_news(acme, committed, kind):
    broken_at_provider(connect_key(acme, kind=kind))

    with committed():
        revalidate()

    assert mail.outbox == []
    assert ProviderKey.objects.get().status == Status.CONNECTED


def test_nothing_is_told_where_the_change_did_not_stand(key, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=False):
        revalidate()

    assert mail.outbox == []


def test_a_task_that_runs_twice_sends_once_and_one_that_was_lost_is_caught_up(key, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=False):
        revalidate()

    assert send_due_break_notices() == 1
    tasks.tell_key_broke(str(key.pk))
    assert len(mail.outbox) == 2


def test_a_mail_server_out_of_reach_leaves_the_notice_due(key, django_capture_on_commit_callbacks, settings):
    with django_capture_on_commit_callbacks(execute=False):
        revalidate()
    settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
    settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 1

    with pytest.raises(OSError, match="refused"):
        tell_key_broke(key_id=key.pk)

    assert ProviderKey.objects.get().break_notice == "due"


def test_of_a_managed_key_the_staff_are_told(staff, committed):
    broken_at_provider(connect_managed_key("invalid"))

    with committed():
        revalidate()

    assert receivers() == [staff.email]
    assert "/admin/" in mail.outbox[0].body


# Scheduled validation -------------------------------------------------------------------------------


def test_keys_are_asked_about_again_when_their_last_answer_is_old(acme):
    connect_key(acme)
    connect_key(acme, label="Broke", kind="no-credit")
    KeyValidation.objects.update(finished_at=NOW - timedelta(hours=23))

    assert revalidate(hours=24).outcomes == {}
    assert revalidate(hours=22).outcomes == {"connected": 1, "no_credit": 1}
    assert revalidate(hours=22).outcomes == {}


def test_keys_that_wait_for_a_person_are_left_alone(acme):
    save_provider_key(
        organization=acme, provider="openai", secret=Secret("sk-proj-simulated-valid-1"), actor=None, now=NOW
    )
    disable_provider_key(key=connect_key(acme), actor=None, now=NOW)

    assert revalidate().outcomes == {}


def test_a_run_out_of_time_leaves_the_rest_for_the_next_one(acme, monkeypatch):
    connect_key(acme)
    monkeypatch.setattr("providers.validation.RUN_FOR_SECONDS", -1)

    assert (revalidate().outcomes, revalidate().left) == ({}, 1)


def test_the_command_says_what_came_out(acme, capsys):
    connect_key(acme)
    KeyValidation.objects.update(finished_at=timezone.now() - timedelta(hours=23))

    call_command("validate_provider_keys", "--older-than", "0")
    assert "1 keys validated: 1 Connected. 0 left" in capsys.readouterr().out
    call_command("validate_provider_keys", "--json")
    assert '"validated": 0' in capsys.readouterr().out
    with pytest.raises(CommandError, match="whole number"):
        call_command("validate_provider_keys", "--older-than", "-1")
