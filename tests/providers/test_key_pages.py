"""The provider cards: saving, replacing and validating keys in the browser."""

from __future__ import annotations

import re
import uuid
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from organizations.models import AuditEvent
from providers.cards import keys_of, provider_cards
from providers.models import KeyValidation, ProviderKey
from tests.builders import PREFIXES, connect_key

Status = ProviderKey.Status
KEY = "sk-or-v1-simulated-valid-c4n4ry7"
HTMX = {"HX-Request": "true"}
SAVE = "/o/acme/settings/keys/openrouter/save/"


@pytest.fixture
def key(acme, simulated_providers) -> ProviderKey:
    return connect_key(acme)


@pytest.fixture
def saved_key(acme, as_alice, simulated_providers) -> ProviderKey:
    as_alice.post(SAVE, {"key": KEY})
    return ProviderKey.objects.get()


def url(key: ProviderKey, verb: str) -> str:
    return f"/o/acme/settings/keys/{key.pk}/{verb}/"


def text(response) -> str:
    return response.content.decode()


# Saving ---------------------------------------------------------------------------------------------


def test_a_pasted_key_is_saved_sealed_and_the_page_shows_its_last_four(as_alice, acme, alice):
    response = as_alice.post(SAVE, {"key": f"  {KEY}\r\n"}, follow=True)

    key = ProviderKey.objects.for_organization(acme).get()
    assert response.redirect_chain == [("/o/acme/settings#provider-openrouter", 302)]
    assert (key.provider, key.label, key.status, key.created_by) == (
        "openrouter",
        "Default",
        Status.SAVED,
        alice,
    )
    assert "Key saved." in text(response)
    assert "…4ry7" in text(response)
    assert "Saved, not validated" in text(response)
    assert AuditEvent.objects.get(action="provider_key.saved").actor == alice


def test_saving_answers_htmx_with_the_card_and_a_toast(as_alice, acme):
    response = as_alice.post(SAVE, {"key": KEY}, headers=HTMX)

    assert response.status_code == 200
    assert "<html" not in text(response)
    assert 'id="provider-openrouter"' in text(response)
    assert 'hx-swap-oob="beforeend"' in text(response)
    assert "Key saved." in text(response)
    assert "keysChanged" in response["HX-Trigger"]
    assert re.search(r'id="validate-[^"]+"[^>]* autofocus', text(response)), "validating is the next step"


def test_a_short_key_shows_no_last_four(as_alice, acme):
    response = as_alice.post(SAVE, {"key": "short-key-19-chars1"}, follow=True)

    assert ProviderKey.objects.get().last4 == ""
    assert "ars1" not in text(response)


def test_several_keys_of_one_provider_live_under_their_labels(as_alice, acme):
    as_alice.post(SAVE, {"key": KEY})
    response = as_alice.post(SAVE, {"key": f"{KEY}-of-its-own", "label": "Batch work"}, follow=True)

    assert set(ProviderKey.objects.values_list("label", flat=True)) == {"Default", "Batch work"}
    assert "Batch work" in text(response)
    assert 'value="Key 2"' in text(response), "the next label is suggested"


@pytest.mark.parametrize("headers", [{}, HTMX], ids=["plain", "htmx"])
def test_a_taken_label_is_refused_beside_the_field_and_kept(as_alice, acme, headers):
    as_alice.post(SAVE, {"key": KEY, "label": "Ours"})
    response = as_alice.post(SAVE, {"key": f"{KEY}-of-its-own", "label": "Ours"}, headers=headers)

    assert response.status_code == 422
    assert "There is already a key labelled “Ours”." in text(response)
    assert 'value="Ours"' in text(response)
    assert re.search(r'<input[^>]*name="label"[^>]*aria-invalid="true"', text(response))
    assert ProviderKey.objects.count() == 1


@pytest.mark.parametrize(
    ("pasted", "sentence"),
    [
        ("", "Paste the key here."),
        ("   ", "Paste the key here."),
        ("sk-or-v1-canary 0123456789", "no spaces or line breaks"),
        ("sk-or-v1-canary\n0123456789", "no spaces or line breaks"),
        ("sk-or-v1-canary\t0123456789", "no spaces or line breaks"),
        ("sk-or-v1-canary\x000123456789", "Null characters are not allowed."),
        ("sk-or-v1-canary\x070123456789", "characters that no key has"),
        ("sk-or-v1-canary\u200b0123456789", "characters that no key has"),
        ("sk-or-v1-canаry0123456789", "characters that no key has"),
        ("sk-or-v1-canary…0123", "shortened form"),
        ("sk-or-v1-canary...0123", "shortened form"),
        ("canary7", "too short"),
        ("canary" * 86, "too long"),
        ('"sk-or-v1-canary0123456789"', "quotation marks"),
        ("OPENROUTER_API_KEY=sk-or-v1-canary0123456789", "after the equals sign"),
        ('export OPENROUTER_API_KEY="sk-or-v1-canary0123456789"', "after the equals sign"),
        ("sk-admin-canary0123456789", "This is an admin key"),
        ("sk-ant-admin01-canary0123456789", "This is an admin key"),
    ],
)
@pytest.mark.parametrize("headers", [{}, HTMX], ids=["plain", "htmx"])
def test_a_dirty_paste_is_refused_in_a_sentence_that_does_not_repeat_it(as_alice, acme, pasted, sentence, headers):
    response = as_alice.post(SAVE, {"key": pasted}, headers=headers)

    assert response.status_code == 422
    assert sentence in text(response)
    assert "canary" not in text(response)
    assert re.search(r'<input[^>]*name="key"[^>]*aria-invalid="true"', text(response))
    assert not ProviderKey.objects.exists()


def test_a_key_that_looks_like_another_providers_is_questioned_then_saved_anyway(as_alice, acme):
    questioned = as_alice.post("/o/acme/settings/keys/openai/save/", {"key": KEY}, headers=HTMX)

    assert questioned.status_code == 422
    assert "This looks like a key from OpenRouter." in text(questioned)
    assert "#provider-openrouter" in text(questioned)
    assert re.search(r'<input[^>]*name="key"[^>]*hx-preserve', text(questioned)), "the browser keeps its input"
    assert KEY not in text(questioned)
    assert not ProviderKey.objects.exists()

    as_alice.post("/o/acme/settings/keys/openai/save/", {"key": KEY, "anyway": "on"}, headers=HTMX)

    assert ProviderKey.objects.get().provider == "openai"


def test_a_prefix_that_many_providers_share_raises_no_question(as_alice, acme):
    for provider in PREFIXES:
        pasted = {"key": f"sk-some0123456789{provider}", "base_url": "https://llm.example.com/v1"}
        as_alice.post(f"/o/acme/settings/keys/{provider}/save/", pasted)

    assert ProviderKey.objects.count() == len(PREFIXES)


def test_a_key_refused_before_is_not_preserved_as_a_faulty_field(as_alice, acme):
    response = as_alice.post("/o/acme/settings/keys/openai/save/", {"key": KEY, "key_was_refused": "1"}, headers=HTMX)

    assert "hx-preserve" not in text(response)


@pytest.mark.parametrize("headers", [{}, HTMX], ids=["plain", "htmx"])
def test_a_key_pasted_a_second_time_is_asked_about_then_saved_anyway(as_alice, acme, headers):
    as_alice.post(SAVE, {"key": KEY, "label": "Ours"})
    asked = as_alice.post(SAVE, {"key": f" {KEY} ", "label": "Twin"}, headers=headers)

    assert asked.status_code == 422
    assert "This very key is saved already, as the OpenRouter key “Ours”." in text(asked)
    assert KEY not in text(asked)
    assert ProviderKey.objects.get().fingerprint not in text(asked)
    assert bool(re.search(r'<input[^>]*name="key"[^>]*hx-preserve', text(asked))) == bool(headers)

    as_alice.post(SAVE, {"key": KEY, "label": "Twin", "anyway": "on"}, headers=headers)

    assert ProviderKey.objects.count() == 2


def test_replacing_a_key_by_itself_is_asked_about(as_alice, key):
    same = as_alice.post(url(key, "replace"), {"key": "sk-or-v1-simulated-valid-0001"}, headers=HTMX)
    as_alice.post(url(key, "replace"), {"key": KEY}, headers=HTMX)
    pending = as_alice.post(url(key, "replace"), {"key": KEY}, headers=HTMX)

    assert "This very key is saved already" in text(same)
    assert "This very key waits already to replace the OpenRouter key “Default”." in text(pending)


def test_another_organizations_key_raises_no_question(as_alice, acme, globex, simulated_providers):
    connect_key(globex)

    as_alice.post(SAVE, {"key": "sk-or-v1-simulated-valid-0001"})

    assert ProviderKey.objects.for_organization(acme).count() == 1


def test_an_unknown_provider_is_not_found(as_alice):
    assert as_alice.post("/o/acme/settings/keys/nobody/save/", {"key": KEY}).status_code == 404


# Replacing ------------------------------------------------------------------------------------------


def test_a_key_that_does_not_serve_is_replaced_at_once_and_waits_for_validation(as_alice, key):
    ProviderKey.objects.update(status=Status.INVALID)

    response = as_alice.post(url(key, "replace"), {"key": KEY}, follow=True)

    key.refresh_from_db()
    assert (key.status, key.last4, key.secret_version) == (Status.SAVED, "4ry7", 2)
    assert "Key replaced." in text(response)
    assert "Saved, not validated" in text(response)


def test_replacing_from_the_dialog_answers_with_the_whole_card(as_alice, key):
    response = as_alice.post(url(key, "replace"), {"key": KEY}, headers=HTMX)

    assert response["HX-Retarget"] == "#provider-openrouter"
    assert response["HX-Reswap"] == "outerHTML"
    assert text(response).lstrip().startswith('<section class="card" id="provider-openrouter"')


@pytest.mark.parametrize("headers", [{}, HTMX], ids=["plain", "htmx"])
def test_a_dirty_replacement_leaves_the_old_key(as_alice, key, headers):
    before = bytes(ProviderKey.objects.get().ciphertext)
    response = as_alice.post(url(key, "replace"), {"key": "canary with spaces"}, headers=headers)

    assert response.status_code == 422
    assert "no spaces" in text(response)
    assert "canary" not in text(response)
    assert bytes(ProviderKey.objects.get().ciphertext) == before


def test_replacing_works_on_a_page_of_its_own_without_scripts(as_alice, key):
    response = as_alice.get(url(key, "replace"))

    assert response.status_code == 200
    assert "Replace OpenRouter key “Default”" in text(response)
    assert 'type="password"' in text(response)


# Validating -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "status", "words"),
    [
        ("valid", "Connected", "accepts this key"),
        ("invalid", "Invalid", "does not accept this key"),
        ("no-credit", "No credit", "spending limit"),
        ("rate-limited", "Rate limited", "Wait a minute"),
    ],
)
def test_a_validation_ends_at_the_precise_state(
    as_alice, acme, simulated_providers, django_capture_on_commit_callbacks, kind, status, words
):
    as_alice.post(SAVE, {"key": f"sk-or-v1-simulated-{kind}-0001"})
    key = ProviderKey.objects.get()

    with django_capture_on_commit_callbacks(execute=True):
        asked = as_alice.post(url(key, "validate"), headers=HTMX)
    polled = as_alice.get(url(key, "status"), headers=HTMX)

    assert "Validating" in text(asked)
    assert 'hx-trigger="every 2s"' in text(asked)
    assert polled.status_code == 200
    assert status in text(polled)
    assert words in text(polled)
    assert "every 2s" not in text(polled), "polling ends"
    assert "keysChanged" in polled["HX-Trigger"]


def test_a_plain_validation_comes_back_to_the_card(as_alice, saved_key, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        response = as_alice.post(url(saved_key, "validate"))
    page = as_alice.get("/o/acme/settings")

    assert response.headers["Location"] == "/o/acme/settings#provider-openrouter"
    assert "Connected" in text(page)
    assert "models this key can call" in text(page)


def test_while_a_validation_runs_polling_changes_nothing_on_the_page(as_alice, saved_key):
    as_alice.post(url(saved_key, "validate"), headers=HTMX)
    since = int(timezone.now().timestamp())

    response = as_alice.get(url(saved_key, "status"), {"since": since}, headers=HTMX)

    assert response.status_code == 204
    assert response.content == b""


@pytest.mark.parametrize("since", ["", "nonsense", "-5", "٣", "9" * 30, "0"])
def test_polling_gives_up_after_a_minute_or_at_once_on_a_senseless_start(as_alice, saved_key, since):
    as_alice.post(url(saved_key, "validate"), headers=HTMX)

    response = as_alice.get(url(saved_key, "status"), {"since": since}, headers=HTMX)

    assert response.status_code == 200
    assert "The validation is still running." in text(response)
    assert "every 2s" not in text(response)


def test_polling_goes_on_for_just_under_a_minute(as_alice, saved_key):
    as_alice.post(url(saved_key, "validate"), headers=HTMX)
    since = int((timezone.now() - timedelta(seconds=55)).timestamp())

    assert as_alice.get(url(saved_key, "status"), {"since": since}, headers=HTMX).status_code == 204


def test_a_connected_key_stays_connected_while_it_is_validated_again(as_alice, key):
    response = as_alice.post(url(key, "validate"), headers=HTMX)

    assert "Connected" in text(response)
    assert "Being validated again." in text(response)
    assert 'hx-trigger="every 2s"' in text(response)


def test_asking_twice_queues_one_validation(as_alice, saved_key):
    as_alice.post(url(saved_key, "validate"), headers=HTMX)
    as_alice.post(url(saved_key, "validate"), headers=HTMX)

    assert KeyValidation.objects.count() == 1


def test_the_models_of_a_key_are_listed_with_size_and_price(as_alice, key):
    fragment = as_alice.get(url(key, "models"), headers=HTMX)
    page = as_alice.get(url(key, "models"))

    assert "<html" not in text(fragment)
    assert "openai/gpt-4.1-mini" in text(page)
    assert "1,047,576" in text(page)
    assert "$0.40" in text(page)
    assert "$1.60" in text(page)
    assert page["Vary"].count("HX-Request") == 1


def test_more_keys_cost_no_more_queries(acme, key, django_assert_num_queries):
    for number in range(3):
        connect_key(acme, label=f"Key {number}")

    with django_assert_num_queries(2):
        provider_cards(list(keys_of(acme)), now=timezone.now())


def test_limits_are_shown_as_the_provider_reported_them(as_alice, key):
    key.provider_limits = {
        "limit_nanousd": 20_000_000_000,
        "limit_remaining_nanousd": 12_345_000_000,
        "limit_reset": "monthly",
        "usage_nanousd": 7_655_000_000,
        "expires_at": "2027-01-31T00:00:00Z",
    }
    key.save()

    page = text(as_alice.get("/o/acme/settings"))

    assert "$20.00 monthly" in page
    assert "$12.345" in page
    assert "31 Jan 2027" in page


@pytest.mark.parametrize("headers", [{}, HTMX], ids=["plain", "htmx"])
def test_a_key_is_disabled_and_enabled_again(as_alice, key, headers, django_capture_on_commit_callbacks):
    as_alice.post(url(key, "disable"), headers=headers)
    page = text(as_alice.get("/o/acme/settings"))
    as_alice.post(url(key, "validate"), headers=headers)
    key.refresh_from_db()
    assert key.status == Status.DISABLED
    assert "It was switched off here; enable it to use it." in page
    assert f'action="{url(key, "enable")}"' in page
    assert f'action="{url(key, "disable")}"' not in page

    with django_capture_on_commit_callbacks(execute=True):
        as_alice.post(url(key, "enable"), headers=headers)
    key.refresh_from_db()
    assert key.status == Status.CONNECTED


def test_a_failed_check_is_shown_beside_the_verdict_it_did_not_change(as_alice, key):
    ProviderKey.objects.update(last_check_failed_at=timezone.now(), last_check_failure="OpenRouter is overloaded.")

    page = text(as_alice.get("/o/acme/settings"))

    assert "Last check failed" in page
    assert "OpenRouter is overloaded." in page
    assert "accepts this key" in page


# Who may ----------------------------------------------------------------------------------------------


def test_a_member_sees_keys_but_no_forms(as_bob, key):
    page = text(as_bob.get("/o/acme/settings"))
    panel = page[page.index('id="llm-providers"') : page.index('id="llm-routing"')]

    assert "Connected" in panel
    assert "…0001" in panel
    assert "<form" not in panel
    assert 'type="password"' not in panel


def test_a_member_may_look_at_status_and_models_only(as_bob, key):
    assert as_bob.get(url(key, "status"), headers=HTMX).status_code == 200
    assert as_bob.get(url(key, "models")).status_code == 200
    assert as_bob.post(SAVE, {"key": KEY}).status_code == 403
    assert as_bob.post(url(key, "replace"), {"key": KEY}).status_code == 403
    assert as_bob.get(url(key, "replace")).status_code == 403
    for verb in ("validate", "disable", "enable"):
        assert as_bob.post(url(key, verb)).status_code == 403


@pytest.mark.parametrize(
    ("method", "verb"),
    [
        ("post", "replace"),
        ("get", "replace"),
        ("post", "validate"),
        ("post", "disable"),
        ("post", "enable"),
        ("get", "status"),
        ("get", "models"),
    ],
)
def test_a_stranger_finds_nothing_here_nor_under_their_own_organization(as_charlie, key, method, verb):
    data = {"key": KEY} if method == "post" else {}

    assert getattr(as_charlie, method)(url(key, verb), data).status_code == 404
    assert getattr(as_charlie, method)(f"/o/globex/settings/keys/{key.pk}/{verb}/", data).status_code == 404
    key.refresh_from_db()
    assert key.secret_version == 1


def test_a_stranger_cannot_save_a_key(as_charlie, acme):
    assert as_charlie.post(SAVE, {"key": KEY}).status_code == 404
    assert not ProviderKey.objects.exists()


@pytest.mark.parametrize(
    ("method", "verb"),
    [
        ("put", "replace"),
        ("get", "validate"),
        ("get", "disable"),
        ("get", "enable"),
        ("post", "status"),
        ("post", "models"),
    ],
)
def test_a_wrong_method_is_refused(as_alice, key, method, verb):
    assert getattr(as_alice, method)(url(key, verb)).status_code == 405
    assert as_alice.get(SAVE).status_code == 405


def test_an_unknown_key_is_not_found(as_alice):
    assert as_alice.post(f"/o/acme/settings/keys/{uuid.uuid4()}/validate/").status_code == 404


def test_forms_are_refused_without_their_token(alice, acme):
    client = Client(enforce_csrf_checks=True)
    client.force_login(alice, backend="allauth.account.auth_backends.AuthenticationBackend")

    response = client.post(SAVE, {"key": KEY})

    assert response.status_code == 403
    assert KEY not in text(response)
