"""What servers refuse of our optional fields: shown on the key's page, and forgotten when it may have changed."""

from __future__ import annotations

import re

import pytest

from organizations.models import AuditEvent
from providers.adapters.quirks import Quirk
from providers.adapters.secret import Secret
from providers.keys.model_quirks import quirks_of
from providers.keys.replacement import replace_provider_key
from providers.keys.validation import validate_key
from providers.models import KeyValidation, ModelQuirk, ProviderKey
from tests.builders import NOW, connect_key

PAGE = "/o/acme/settings/keys/{}/models/"
FORGET = "/o/acme/settings/keys/{}/models/ask-anew/"


@pytest.fixture
def key(acme, simulated_providers) -> ProviderKey:
    key = connect_key(acme, "openai_compatible")
    for model, field, instead, most in (
        ("a/model", "response_format", "", None),
        ("a/model", "max_tokens", "", 8192),
        ("b/model", "max_tokens", "max_completion_tokens", None),
        ("b/model", "system", "", None),
    ):
        ModelQuirk.objects.create(organization=acme, key=key, model=model, field=field, instead=instead, most=most)
    return key


def words(response) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", response.content.decode()).split())


def test_the_page_of_a_keys_models_says_what_was_refused(as_alice, key):
    page = words(as_alice.get(PAGE.format(key.pk)))

    assert "a/model is asked without response_format: the server refused it." in page
    assert "a/model is asked for at most 8,192 output tokens (max_tokens): the server refused more." in page
    assert "b/model is asked with max_completion_tokens instead of max_tokens: the server refused it." in page
    assert "b/model is asked without a system message: the server refused it." in page
    assert "Ask with every field again" in page


def test_members_see_it_and_cannot_change_it(as_bob, key):
    page = words(as_bob.get(PAGE.format(key.pk)))

    assert "response_format" in page
    assert "Ask with every field again" not in page
    assert as_bob.post(FORGET.format(key.pk)).status_code == 403


def test_on_request_everything_is_asked_with_again(as_alice, alice, key):
    response = as_alice.post(FORGET.format(key.pk), follow=True)

    assert not ModelQuirk.objects.exists()
    assert "The next calls ask with every field again." in words(response)
    assert AuditEvent.objects.get(action="provider_key.quirks_forgotten").actor == alice

    as_alice.post(FORGET.format(key.pk))
    assert AuditEvent.objects.filter(action="provider_key.quirks_forgotten").count() == 1


def test_a_strangers_key_is_not_found(as_alice, globex, simulated_providers):
    theirs = connect_key(globex)

    assert as_alice.post(FORGET.format(theirs.pk)).status_code == 404


def test_a_replaced_secret_forgets_what_was_refused(key):
    pending = replace_provider_key(
        key=key, secret=Secret("simulated-valid-0002"), actor=None, now=NOW, base_url=key.base_url
    )
    assert quirks_of(key=key, model="a/model") == (Quirk("response_format"), Quirk("max_tokens", most=8192))

    validation = KeyValidation.objects.create(
        organization=key.organization, key=pending, secret_version=pending.secret_version, requested_at=NOW
    )
    validate_key(validation_id=validation.pk, now=NOW)

    assert not ModelQuirk.objects.exists()


def test_a_replaced_secret_of_a_key_that_does_not_serve_forgets_it_at_once(key):
    ProviderKey.objects.update(status="invalid")

    replace_provider_key(key=key, secret=Secret("simulated-valid-0002"), actor=None, now=NOW, base_url=key.base_url)

    assert not ModelQuirk.objects.exists()
