from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from organizations.models import AuditEvent
from providers.adapters.secret import Secret
from providers.keys import validation
from providers.keys.asking import VALIDATION_TIMEOUT_SECONDS, ask_provider
from providers.keys.proof import TIMEOUT_SECONDS
from providers.keys.replacement import replace_provider_key
from providers.keys.saving import disable_provider_key, enable_provider_key, save_provider_key
from providers.keys.validation import KeyDisabled, request_validation, requeue_validations, validate_key
from providers.models import BROKEN_STATUSES, USABLE_STATUSES, AvailableModel, KeyValidation, ProviderKey
from tests.builders import PREFIXES

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
Status = ProviderKey.Status


def saved(organization, provider: str, kind: str) -> ProviderKey:
    return save_provider_key(
        organization=organization,
        provider=provider,
        secret=Secret(f"{PREFIXES[provider]}simulated-{kind}-0001"),
        actor=None,
        now=NOW,
    )


def validated(key: ProviderKey) -> ProviderKey:
    waiting = KeyValidation.objects.create(
        organization=key.organization, key=key, secret_version=key.secret_version, requested_at=NOW
    )
    validate_key(validation_id=waiting.pk, now=NOW)
    return ProviderKey.objects.get(pk=key.pk)


@pytest.mark.parametrize("provider", PREFIXES)
@pytest.mark.parametrize(
    ("kind", "status"),
    [
        ("valid", Status.CONNECTED),
        ("invalid", Status.INVALID),
        ("no-credit", Status.NO_CREDIT),
        ("rate-limited", Status.RATE_LIMITED),
        ("overloaded", Status.UNREACHABLE),
    ],
)
def test_a_validation_ends_at_what_the_provider_says(acme, simulated_providers, provider, kind, status):
    key = validated(saved(acme, provider, kind))

    assert key.status == status
    assert bool(key.state.detail) == (status != Status.CONNECTED)


@pytest.mark.parametrize("provider", PREFIXES)
def test_a_connected_key_lists_the_models_it_can_call(acme, simulated_providers, provider):
    key = validated(saved(acme, provider, "valid"))

    assert AvailableModel.objects.for_organization(acme).filter(key=key).count() >= 2


def test_validating_again_replaces_the_list_of_models(acme, simulated_providers):
    key = validated(saved(acme, "openai", "valid"))
    before = set(key.available_models.values_list("model", flat=True))

    key = validated(key)

    assert set(key.available_models.values_list("model", flat=True)) == before


def test_what_came_into_a_list_later_keeps_since_when(acme, simulated_providers):
    key = validated(saved(acme, "openai", "valid"))
    assert not key.available_models.exclude(listed_since=None).exists()  # of the first list nothing is new
    key.available_models.filter(model="gpt-5").delete()

    for _ in range(2):
        key = validated(key)

    assert list(key.available_models.exclude(listed_since=None).values_list("model", "listed_since")) == [
        ("gpt-5", NOW)
    ]


def test_an_unreachable_provider_does_not_break_a_connected_key(acme, simulated_providers, settings):
    base_url = settings.KEYFARE_PROVIDER_ORIGINS["openai"]
    key = saved(acme, "openai", "overloaded")
    ProviderKey.objects.update(status=Status.CONNECTED)

    key = validated(ProviderKey.objects.get())

    assert key.status == Status.CONNECTED
    assert key.last_check_failed_at == NOW
    assert "overloaded" in key.last_check
    assert base_url not in key.last_check


@pytest.mark.parametrize("kind", ["rate-limited", "overloaded"])
@pytest.mark.parametrize("verdict", sorted(USABLE_STATUSES | BROKEN_STATUSES))
def test_trouble_on_the_way_keeps_the_last_verdict_with_its_reason(acme, simulated_providers, verdict, kind):
    key = saved(acme, "openai", kind)
    ProviderKey.objects.update(status=verdict, status_detail="The reason.")

    request_validation(key=key, actor=None, now=NOW)
    assert ProviderKey.objects.get().status == verdict
    validate_key(validation_id=KeyValidation.objects.get().pk, now=NOW)

    key = ProviderKey.objects.get()
    assert (key.status, key.state.detail, key.validated_at) == (verdict, "The reason.", None)
    assert key.last_check_failed_at == NOW


@pytest.mark.parametrize(
    ("kind", "status"),
    [("invalid", Status.INVALID), ("no-credit", Status.NO_CREDIT), ("limited", Status.LIMITED)],
)
def test_a_verdict_changes_a_connected_key_and_ends_what_is_said_of_failed_checks(
    acme, simulated_providers, kind, status
):
    key = saved(acme, "openai", kind)
    ProviderKey.objects.update(status=Status.CONNECTED, last_check_failed_at=NOW, last_check_failure="Overloaded.")

    key = validated(key)

    assert (key.status, key.last_check_failed_at, key.last_check) == (status, None, "")


def test_a_disabled_key_is_asked_about_only_when_it_is_enabled_again(acme, alice, simulated_providers):
    key = validated(saved(acme, "openai", "valid"))
    waiting = request_validation(key=key, actor=None, now=NOW)

    disable_provider_key(key=key, actor=alice, now=NOW)
    disable_provider_key(key=key, actor=alice, now=NOW)
    assert validate_key(validation_id=waiting.pk, now=NOW) is None
    with pytest.raises(KeyDisabled, match="Enable it first"):
        request_validation(key=key, actor=alice, now=NOW)
    assert ProviderKey.objects.get().status == Status.DISABLED

    enable_provider_key(key=key, actor=alice)
    assert ProviderKey.objects.get().status == Status.SAVED
    assert validated(key).status == Status.CONNECTED
    assert AuditEvent.objects.filter(action__in=["provider_key.disabled", "provider_key.enabled"]).count() == 2


def test_a_key_disabled_while_its_provider_is_asked_stays_disabled(acme, simulated_providers, monkeypatch):
    key = saved(acme, "openai", "valid")
    ask = ask_provider

    def asked(key, *, now):
        disable_provider_key(key=key, actor=None, now=NOW)
        return ask(key, now=now)

    monkeypatch.setattr(validation, "ask_provider", asked)

    assert validated(key).status == Status.DISABLED


def test_a_changed_origin_needs_the_key_again_and_sends_it_nowhere(acme, simulated_providers, settings):
    key = saved(acme, "openai", "valid")
    settings.KEYFARE_PROVIDER_ORIGINS = {"openai": "http://127.0.0.1:1/v1"}

    key = validated(key)

    assert key.status == Status.NEEDS_REENTRY


def test_the_late_result_of_a_replaced_key_changes_nothing(acme, simulated_providers):
    key = saved(acme, "openai", "invalid")
    validation = KeyValidation.objects.create(organization=acme, key=key, secret_version=1, requested_at=NOW)
    replace_provider_key(key=key, secret=Secret("sk-proj-simulated-valid-0002"), actor=None, now=NOW)
    KeyValidation.objects.filter(pk=validation.pk).update(state=KeyValidation.State.QUEUED)

    validate_key(validation_id=validation.pk, now=NOW)

    assert ProviderKey.objects.get().status == Status.SAVED


def test_a_validation_runs_once(acme, simulated_providers):
    key = saved(acme, "openai", "valid")
    validation = KeyValidation.objects.create(organization=acme, key=key, secret_version=1, requested_at=NOW)

    assert validate_key(validation_id=validation.pk, now=NOW) is not None
    assert validate_key(validation_id=validation.pk, now=NOW) is None


def test_asking_runs_in_the_background_and_is_written_down(
    acme, alice, simulated_providers, django_capture_on_commit_callbacks
):
    key = saved(acme, "openrouter", "valid")

    with django_capture_on_commit_callbacks(execute=False) as callbacks:
        request_validation(key=key, actor=alice, now=NOW)
        assert ProviderKey.objects.get().status == Status.VALIDATING
    for run in callbacks:
        run()

    key = ProviderKey.objects.get()
    assert key.status == Status.CONNECTED
    assert key.provider_limits
    assert AuditEvent.objects.filter(action="provider_key.validation_requested", actor=alice).count() == 1


def test_asking_twice_validates_once(acme, simulated_providers):
    key = saved(acme, "openrouter", "valid")

    first = request_validation(key=key, actor=None, now=NOW)

    assert request_validation(key=key, actor=None, now=NOW) == first


def test_a_validation_whose_task_was_lost_is_queued_again(acme, simulated_providers):
    key = saved(acme, "openrouter", "valid")
    request_validation(key=key, actor=None, now=NOW)

    assert requeue_validations(now=NOW + timedelta(seconds=30)) == 0
    # One may take as long as its free calls and the call that proves the key together.
    assert requeue_validations(now=NOW + timedelta(seconds=VALIDATION_TIMEOUT_SECONDS + TIMEOUT_SECONDS)) == 0
    assert requeue_validations(now=NOW + timedelta(seconds=90)) == 1
    assert ProviderKey.objects.get().status == Status.CONNECTED
