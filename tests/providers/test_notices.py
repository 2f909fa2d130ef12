"""What owners and admins are told about their keys by e-mail, and how often."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import pytest
from django.contrib.auth.models import Permission
from django.core import mail
from django.core.management import CommandError, call_command
from django.utils import timezone

from organizations import clock
from organizations.models import AuditEvent, User
from providers import tasks
from providers.adapters.base import ErrorKind
from providers.adapters.reasons import reason
from providers.adapters.secret import Secret
from providers.keys.notices import remind_key_rotation, send_due_break_notices, tell_key_broke
from providers.keys.replacement import replace_provider_key
from providers.keys.saving import disable_provider_key, save_provider_key
from providers.keys.validation import mark_key_refused, validate_due_keys, validate_key
from providers.models import KeyValidation, ProviderKey
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
    ProviderKey.objects.filter(pk=key.pk).update(status=Status.CONNECTED, status_reason=None)
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
    assert "http://localhost:8000/o/acme/settings/llm-providers" in message.body
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
            mark_key_refused(
                key_id=key.pk,
                secret_version=1,
                kind=kind,
                why=reason("invalid", provider="OpenRouter", key_page="there"),
                now=NOW,
            )

    assert receivers() == ["ada@acme.example", "alice@acme.example"]
    assert "OpenRouter does not accept this key." in mail.outbox[0].body


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


@pytest.fixture
def disk_is_full(monkeypatch):
    def fail(*arguments: object) -> None:
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr("django.core.mail.backends.locmem.EmailBackend.send_messages", fail)
        yield patch


def test_a_notice_that_could_not_be_written_stays_due(key, django_capture_on_commit_callbacks, disk_is_full):
    with django_capture_on_commit_callbacks(execute=False):
        revalidate()

    with pytest.raises(OSError, match="disk"):
        tell_key_broke(key_id=key.pk)

    assert ProviderKey.objects.get().break_notice == "due"


def staff_member(name: str, *rights: str, is_active: bool = True) -> User:
    person = User.objects.create_user(f"{name}@keyfare.example", is_staff=True, is_active=is_active)
    person.user_permissions.set(Permission.objects.filter(codename__in=rights))
    return person


def test_of_a_managed_key_those_staff_are_told_who_may_change_it(staff, committed):
    staff_member("keys", "change_providerkey")
    staff_member("reader", "view_providerkey")
    staff_member("gone", "change_providerkey", is_active=False)
    left = staff_member("left", "change_providerkey")
    User.objects.filter(pk=left.pk).update(is_staff=False)
    broken_at_provider(connect_managed_key("invalid"))

    with committed():
        revalidate()

    assert receivers() == ["keys@keyfare.example", staff.email]
    assert "/admin/" in mail.outbox[0].body


def test_where_nobody_may_change_managed_keys_the_operators_are_told(committed, settings):
    settings.ADMINS = [("operator@example.com", "operator@example.com")]
    staff_member("reader", "view_providerkey")
    broken_at_provider(connect_managed_key("invalid"))

    with committed():
        revalidate()

    assert receivers() == ["operator@example.com"]


# Rotation -------------------------------------------------------------------------------------------


def aged(key: ProviderKey, days: int) -> ProviderKey:
    ProviderKey.objects.filter(pk=key.pk).update(created_at=NOW - timedelta(days=days))
    return ProviderKey.objects.get(pk=key.pk)


def test_each_old_key_is_reminded_of_once_a_period_in_one_e_mail_a_person(acme, globex):
    aged(connect_key(acme, label="Old"), 180)
    aged(connect_key(acme, "openai", label="Older"), 400)
    aged(connect_key(acme, label="Young"), 179)

    told = [remind_key_rotation(now=NOW + timedelta(hours=hours)) for hours in (0, 1, 12)]

    assert told == [2, 0, 0]
    assert receivers() == ["ada@acme.example", "alice@acme.example"]
    message = mail.outbox[0]
    assert message.subject == "Time to replace 2 provider keys of Acme"
    assert "OpenRouter key “Old”, 180 days." in message.body
    assert "OpenAI key “Older”, 400 days." in message.body
    assert "Young" not in message.body
    assert "simulated" not in message.body
    assert remind_key_rotation(now=NOW + timedelta(days=180)) == 3


def test_replacing_a_key_makes_it_young_again(acme):
    key = aged(connect_key(acme), 200)

    new = replace_provider_key(key=key, secret=Secret("sk-or-v1-simulated-valid-0002"), actor=None, now=NOW)
    assert remind_key_rotation(now=NOW) == 1
    waiting = KeyValidation.objects.create(organization=acme, key=new, secret_version=1, requested_at=NOW)
    validate_key(validation_id=waiting.pk, now=NOW)

    assert remind_key_rotation(now=NOW + timedelta(days=179)) == 0
    assert remind_key_rotation(now=NOW + timedelta(days=180)) == 1


def test_nobody_is_reminded_of_disabled_keys_or_where_it_is_switched_off(acme, settings):
    key = aged(connect_key(acme), 200)
    settings.KEYFARE_KEY_ROTATION_DAYS = 0
    assert remind_key_rotation(now=NOW) == 0

    settings.KEYFARE_KEY_ROTATION_DAYS = 180
    disable_provider_key(key=key, actor=None, now=NOW)
    assert remind_key_rotation(now=NOW) == 0


def test_a_reminder_that_could_not_be_written_is_written_by_the_next_run(acme, disk_is_full):
    aged(connect_key(acme), 200)

    with pytest.raises(OSError, match="disk"):
        remind_key_rotation(now=NOW)

    disk_is_full.undo()
    assert remind_key_rotation(now=NOW) == 1


def test_the_card_shows_the_age_of_an_old_key(acme, as_alice):
    key = connect_key(acme)
    young = as_alice.get("/o/acme/settings").content.decode()
    ProviderKey.objects.filter(pk=key.pk).update(created_at=clock.now() - timedelta(days=200))
    old = as_alice.get("/o/acme/settings").content.decode()

    assert "In use for 200 days." in old
    assert "In use for" not in young


def test_the_reminding_command_says_how_many(acme, capsys):
    aged(connect_key(acme), 400)

    call_command("remind_key_rotation", "--json")
    call_command("remind_key_rotation")

    assert capsys.readouterr().out == '{"reminded": 1}\nReminded of 0 keys.\n'


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
    monkeypatch.setattr("providers.keys.validation.RUN_FOR_SECONDS", -1)

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
