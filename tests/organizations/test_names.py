"""A name is one line, in which nothing is unseen, by whatever door it comes."""

from __future__ import annotations

import pytest
from django.db import models
from django.urls import reverse

from candidates.briefings import create_briefing
from candidates.models import Briefing, Candidate
from organizations.models import ApiToken, AuditEvent, Organization, User
from organizations.names import NameField, clean_name
from providers.adapters.secret import Secret
from providers.keys.saving import save_provider_key
from providers.models import AvailableModel, ProviderKey
from tests.builders import NOW
from tests.conftest import logged_in
from tests.page_forms import form_of

TURNED = "Zoom \u202e(cba_fk)\u202c"
SEEN = "Zoom (cba_fk)"
NAMES = [
    (User, "name"),
    (Organization, "name"),
    (ApiToken, "name"),
    (ProviderKey, "label"),
    (AvailableModel, "name"),
    (Candidate, "name"),
    (Candidate, "headline"),
    (Briefing, "title"),
]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (TURNED, SEEN),
        ("Ac\u200bme\ufeff\u2060 \u00adLtd\u200e\u061c", "Acme Ltd"),
        ("a\u200db", "ab"),  # nothing is joined in Latin
        ("Acme\u200d", "Acme"),
        ("\u2066Acme\u2069\r\n\tLtd\u2028Inc\x00", "Acme Ltd Inc"),
        ("\u3164\u2800\u200d", ""),
        ("Acme\U000e0041\U000e007f", "Acme"),
        ("half \ud83d", "half"),
    ],
)
def test_what_is_not_seen_is_dropped(given, kept):
    assert clean_name(given) == kept


@pytest.mark.parametrize(
    "name",
    [
        "می\u200cخواهم",  # Persian
        "क्\u200dष",  # Hindi
        "👩\u200d💻 team",
        "🏳️\u200d🌈",
        "👩🏽\u200d🚀",
        "❤️\u200d🔥",
        "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",  # England
        "日本語 · Ærø & Co. (№ 5)",
        "עברית",
        "؀١٢",
    ],
)
def test_what_scripts_and_emoji_need_stays(name):
    assert clean_name(name) == name


def test_every_name_that_people_give_is_such_a_field():
    assert all(isinstance(model._meta.get_field(field), NameField) for model, field in NAMES)


def test_migrations_know_a_name_as_text():
    assert NameField(max_length=5).deconstruct()[1:] == (models.CharField(max_length=5).deconstruct()[1:])


def make_token(owner: User, name: str):
    browser, address = logged_in(owner), reverse("routing:make-api-token", args=["acme"])
    page = browser.get(reverse("routing:api-tokens", args=["acme"]))
    return browser.post(address, form_of(page, address) | {"name": name})


def test_a_token_is_named_by_what_is_seen(acme, alice):
    make_token(alice, TURNED)

    assert ApiToken.objects.get().name == SEEN
    assert AuditEvent.objects.get(action="api_token.created").target.startswith(SEEN)


def test_a_name_of_nothing_seen_is_asked_for_again(acme, alice):
    answer = make_token(alice, "\u202e\u200b")

    assert "Give the token a name." in answer.content.decode()
    assert not ApiToken.objects.exists()


def test_services_and_bulk_changes_store_what_is_seen(acme, alice):
    save_provider_key(
        organization=acme, provider="openai", secret=Secret("sk-simulated"), actor=alice, now=NOW, label=TURNED
    )
    briefing = create_briefing(organization=acme, title=TURNED, actor=alice, now=NOW)
    User.objects.filter(pk=alice.pk).update(name=TURNED)
    (made,) = Organization.objects.bulk_create([Organization(name=TURNED, slug="other")])

    alice.refresh_from_db()
    made.refresh_from_db()
    assert ProviderKey.objects.get().label == briefing.title == alice.name == made.name == SEEN
    assert ProviderKey.objects.filter(label=TURNED).exists()


def test_staff_cannot_give_a_name_that_turns(acme, staff):
    browser, address = logged_in(staff), reverse("admin:organizations_organization_change", args=[acme.pk])

    browser.post(address, form_of(browser.get(address), address) | {"name": TURNED})

    acme.refresh_from_db()
    assert acme.name == SEEN
