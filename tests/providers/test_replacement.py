"""A replaced key serves until the new one is accepted."""

from __future__ import annotations

import pytest
from django.db import IntegrityError, transaction

from gateway import dispatch
from organizations.models import AuditEvent
from providers.adapters.base import ErrorKind
from providers.adapters.reasons import reason
from providers.adapters.secret import Secret
from providers.custody import sealing
from providers.custody.sealing import SealBroken
from providers.keys.asking import Finding, ask_provider
from providers.keys.replacement import discard_replacement, replace_provider_key
from providers.keys.saving import delete_provider_key, disable_provider_key
from providers.keys.validation import mark_key_refused, request_validation, validate_key
from providers.models import KeyValidation, ProviderKey
from routing.actions import ACTIONS, CANDIDATE_CHECK
from routing.models import RoutingRule
from routing.resolve import resolve
from tests.builders import NOW, connect_key, route_to_own_key

pytestmark = pytest.mark.usefixtures("simulated_providers")
Status = ProviderKey.Status
REFUSED = reason("invalid", provider="OpenRouter", key_page="https://openrouter.ai/keys")


@pytest.fixture
def key(acme) -> ProviderKey:
    return connect_key(acme)


def replaced(key: ProviderKey, kind: str = "valid", number: str = "0002") -> ProviderKey:
    secret = Secret(f"sk-or-v1-simulated-{kind}-{number}")
    return replace_provider_key(key=key, secret=secret, actor=None, now=NOW)


def waiting_validation(key: ProviderKey) -> int:
    validation = KeyValidation.objects.create(
        organization=key.organization, key=key, secret_version=key.secret_version, requested_at=NOW
    )
    return validation.pk


def validated(key: ProviderKey) -> None:
    validate_key(validation_id=waiting_validation(key), now=NOW)


def secret_of(key: ProviderKey) -> str:
    return sealing.sealed_key(ProviderKey.objects.get(pk=key.pk)).open().reveal()


def test_the_old_key_serves_while_the_new_one_waits(acme):
    key = route_to_own_key(acme)

    pending = replaced(key)

    route = resolve(organization=acme, action=CANDIDATE_CHECK.slug)
    assert (route.key_id, secret_of(key)) == (key.pk, "sk-or-v1-simulated-valid-0001")
    assert (pending.replaces, pending.status) == (key, Status.SAVED)


@pytest.mark.parametrize(("kind", "status"), [("valid", Status.CONNECTED), ("limited", Status.LIMITED)])
def test_an_accepted_replacement_takes_over_row_label_and_rules(acme, kind, status):
    key = route_to_own_key(acme)

    validated(replaced(key, kind))

    only = ProviderKey.objects.for_organization(acme).get()
    assert (only.pk, only.label, only.last4, only.status, only.secret_version) == (key.pk, "Default", "0002", status, 2)
    assert secret_of(key) == f"sk-or-v1-simulated-{kind}-0002"
    assert RoutingRule.objects.filter(key=key).count() == len(ACTIONS)
    assert KeyValidation.objects.filter(key=key, outcome=status, secret_version=2).exists()
    assert AuditEvent.objects.filter(action="provider_key.replaced", details__last4="0002").exists()


@pytest.mark.parametrize("kind", ["invalid", "no-credit", "rate-limited", "overloaded"])
def test_a_refused_replacement_leaves_the_old_key_serving(key, kind):
    pending = replaced(key, kind)

    validated(pending)

    pending.refresh_from_db()
    key.refresh_from_db()
    assert key.status == Status.CONNECTED
    assert secret_of(key) == "sk-or-v1-simulated-valid-0001"
    assert key.available_models.exists()
    assert pending.state.detail


def test_a_pending_replacement_can_be_asked_about_again_until_it_takes_over(key, settings):
    pending = replaced(key)
    origins = settings.KEYFARE_PROVIDER_ORIGINS
    ProviderKey.objects.filter(pk=pending.pk).update(status=Status.UNREACHABLE)

    request_validation(key=ProviderKey.objects.get(pk=pending.pk), actor=None, now=NOW)
    validate_key(validation_id=pending.validations.get().pk, now=NOW)

    assert origins
    assert secret_of(key) == "sk-or-v1-simulated-valid-0002"


def test_a_discarded_replacement_is_gone_with_its_secret(key, alice):
    pending = replaced(key)

    assert discard_replacement(key=key, actor=alice) is True
    assert discard_replacement(key=key, actor=alice) is False
    assert not ProviderKey.objects.filter(pk=pending.pk).exists()
    assert AuditEvent.objects.filter(action="provider_key.replacement_discarded", actor=alice).count() == 1


def test_the_late_result_of_a_discarded_replacement_changes_nothing(key, monkeypatch):
    late = waiting_validation(replaced(key))
    ask = _then(monkeypatch, lambda: discard_replacement(key=key, actor=None))

    assert validate_key(validation_id=late, now=NOW) is None
    assert ask.called
    assert secret_of(key) == "sk-or-v1-simulated-valid-0001"


def test_a_second_replacement_gives_the_first_one_no_say(key, monkeypatch):
    late = waiting_validation(replaced(key, number="0002"))
    _then(monkeypatch, lambda: replaced(key, number="0003"))

    assert validate_key(validation_id=late, now=NOW) is None
    assert secret_of(key) == "sk-or-v1-simulated-valid-0001"
    assert key.replacements.get().last4 == "0003"


def test_a_late_result_about_the_old_secret_changes_nothing(key, monkeypatch):
    pending = replaced(key)
    late = waiting_validation(key)
    ProviderKey.objects.filter(pk=key.pk).update(status_reason=None)
    _then(monkeypatch, lambda: validated(pending), answer=Finding(Status.INVALID, REFUSED))

    validate_key(validation_id=late, now=NOW)

    key.refresh_from_db()
    assert (key.status, key.last4) == (Status.CONNECTED, "0002")
    assert KeyValidation.objects.get(pk=late).sentence == "The key was replaced."


def test_a_call_that_left_with_the_old_secret_says_nothing_about_the_new_one(key):
    validated(replaced(key))

    mark_key_refused(key_id=key.pk, secret_version=1, kind=ErrorKind.INVALID, why=REFUSED, now=NOW)
    key.refresh_from_db()
    assert key.status == Status.CONNECTED

    mark_key_refused(key_id=key.pk, secret_version=2, kind=ErrorKind.INVALID, why=REFUSED, now=NOW)
    key.refresh_from_db()
    assert key.status == Status.INVALID


def test_a_prepared_call_remembers_which_secret_it_leaves_with(acme, key):
    validated(replaced(key))
    route_to = ACTIONS[CANDIDATE_CHECK.slug].slug
    RoutingRule.objects.create(organization=acme, action=route_to, key=key, model="openai/gpt-4.1-mini")

    ticket = dispatch.prepare(
        organization=acme, route=resolve(organization=acme, action=route_to), run_id=key.pk, iteration=1, now=NOW
    )

    assert ticket.secret_version == 2


def test_removing_a_key_removes_its_pending_replacement(key):
    replaced(key)

    delete_provider_key(key=key, actor=None)

    assert not ProviderKey.objects.exists()


def test_a_replacement_of_a_broken_key_is_in_place_at_once_and_drops_what_was_pending(key):
    replaced(key)
    ProviderKey.objects.filter(pk=key.pk).update(status=Status.INVALID)

    new = replaced(key, number="0003")

    assert (new.pk, new.status) == (key.pk, Status.SAVED)
    assert ProviderKey.objects.get() == key


def test_a_replacement_that_takes_over_a_disabled_key_leaves_it_disabled(key):
    pending = replaced(key)
    disable_provider_key(key=key, actor=None, now=NOW)

    validated(pending)

    only = ProviderKey.objects.get()
    assert (only.pk, only.status, only.last4) == (key.pk, Status.DISABLED, "0002")
    assert replaced(key, number="0003").status == Status.DISABLED


def test_a_replacement_that_cannot_be_sealed_leaves_everything_as_it_was(key, monkeypatch):
    replaced(key)

    def broken(*_):
        raise SealBroken

    monkeypatch.setattr("providers.custody.sealing.seal", broken)
    with pytest.raises(SealBroken):
        replaced(key, number="0003")

    assert key.replacements.get().last4 == "0002"


def test_the_database_refuses_a_pending_replacement_that_serves_and_a_second_one(key):
    pending = replaced(key)

    with pytest.raises(IntegrityError), transaction.atomic():
        ProviderKey.objects.filter(pk=pending.pk).update(status=Status.CONNECTED)
    with pytest.raises(IntegrityError), transaction.atomic():
        ProviderKey.objects.create(
            organization=key.organization, provider="openrouter", replaces=key, ciphertext=b"", key_version=1
        )


# On the page ----------------------------------------------------------------------------------------


HTMX = {"HX-Request": "true"}


def text(response) -> str:
    return response.content.decode()


def post(client, key: ProviderKey, verb: str, data=None, **kwargs):
    return client.post(f"/o/acme/settings/keys/{key.pk}/{verb}/", data or {}, **kwargs)


def test_replacing_on_the_page_validates_and_takes_over(as_alice, key, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=False) as callbacks:
        asked = post(as_alice, key, "replace", {"key": "sk-or-v1-simulated-valid-0002"}, headers=HTMX)
    for run in callbacks:
        run()

    assert "It takes over as soon as it is validated." in text(asked)
    assert 'hx-trigger="every 2s"' in text(asked)
    assert "…0001" in text(asked)
    assert "…0002" in text(asked)
    polled = text(as_alice.get(f"/o/acme/settings/keys/{key.pk}/status/", headers=HTMX))
    assert "…0002" in polled
    assert "…0001" not in polled
    assert "Connected" in polled


def test_a_refused_replacement_shows_its_sentence_beside_the_serving_key(
    as_alice, as_bob, key, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        post(as_alice, key, "replace", {"key": "sk-or-v1-simulated-invalid-0002"})
    page, of_member = (text(client.get("/o/acme/settings")) for client in (as_alice, as_bob))

    assert "…0001 goes on serving." in page
    assert "does not accept this key" in page
    assert "Try again" in page
    assert "Discard" in page
    assert "does not accept this key" in of_member
    assert "Discard" not in of_member


@pytest.mark.parametrize("headers", [{}, HTMX], ids=["plain", "htmx"])
def test_a_refused_replacement_is_tried_again_or_discarded(as_alice, key, headers, django_capture_on_commit_callbacks):
    pending = replaced(key, "invalid")
    validated(pending)
    with django_capture_on_commit_callbacks(execute=True):
        again = post(as_alice, key, "replacement/validate", headers=headers)
    discarded = post(as_alice, key, "replacement/discard", headers=headers)

    assert pending.validations.count() == 0
    assert again.status_code == discarded.status_code == (200 if headers else 302)
    assert not key.replacements.exists()
    assert KeyValidation.objects.filter(key=key).count() == 1


def test_only_managers_of_the_organization_decide_about_a_replacement(as_bob, as_charlie, key):
    replaced(key)

    for verb in ("replacement/validate", "replacement/discard"):
        assert post(as_bob, key, verb).status_code == 403
        assert post(as_charlie, key, verb).status_code == 404
        assert as_bob.get(f"/o/acme/settings/keys/{key.pk}/{verb}/").status_code in (403, 405)
    assert key.replacements.exists()


def test_a_pending_replacement_has_no_page_of_its_own(as_alice, key):
    pending = replaced(key)

    assert post(as_alice, pending, "validate").status_code == 404
    assert as_alice.get(f"/o/acme/settings/keys/{pending.pk}/models/").status_code == 404
    assert as_alice.get(f"/o/acme/settings/keys/{pending.pk}/remove/").status_code == 404


class _Ask:
    called = False


def _then(monkeypatch, meanwhile, answer=None) -> _Ask:
    """The provider answers, and before that is written down, `meanwhile` happens (once)."""
    from providers.keys import validation

    ask, seen = ask_provider, _Ask()

    def asked(key, *, now):
        result = answer if answer and not seen.called else ask(key, now=now)
        if not seen.called:
            seen.called = True
            meanwhile()
        return result

    monkeypatch.setattr(validation, "ask_provider", asked)
    return seen
