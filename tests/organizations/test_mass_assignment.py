"""
Every form of an organization, posted rightly and then once more with a field for every column of every table.

Both have to leave the same rows. What a form does read beyond its required fields is allowed here by name.
"""

from __future__ import annotations

import json
from itertools import islice
from typing import Any

from django.apps import apps
from django.db import models, transaction
from django.test import Client
from django.urls import reverse

from organizations.models import Membership, User
from providers.models import ProviderKey
from tests.builders import write_briefing
from tests.conftest import logged_in
from tests.test_urls_and_roles import OF_AN_ORGANIZATION, ORGANIZATION_URLS, Tenant, strangers_own, world
from usage.models import UsageEvent

__all__ = ["strangers_own", "world"]

KEY = "sk-or-v1-simulated-valid-0077"
MODEL = "openai/gpt-4o-mini"
PEOPLE = json.dumps([{"basics": {"name": "Nora", "email": "nora@people.example", "summary": "Writes Go."}}])
# URL name → a form that is accepted. Those not named here take no field.
FORMS: dict[str, dict[str, str]] = {
    "organizations:invite": {"email": "new@x.example", "role": "member"},
    "organizations:change-role": {"role": "admin"},
    "save-view": {"name": "Mine", "query": "metric=calls"},
    "expect-anomaly": {"days": "30", "why": "A launch"},
    "anomaly-webhook": {"url": "https://hooks.example.com/keyfare"},
    "organizations:recency-window": {"days": "60"},
    "organizations:recency-sharing": {"shares": "yes"},
    "providers:save": {"key": KEY, "label": "Second"},
    "providers:replace": {"key": KEY},
    "providers:prove": {"model": MODEL},
    "candidates:briefing-model": {"key": "{key_id}", "model": MODEL},
    "routing:save": {
        "candidate_check-key": "{key_id}",
        "candidate_check-model": MODEL,
        "requirement_generation-key": "{key_id}",
        "requirement_generation-model": "openai/gpt-4.1-mini",
    },
    "routing:reset": {"candidate_check-key": "{key_id}"},
    "routing:save-rule": {
        "temperature": "1",
        "most_output_tokens": "1000",
        "reasoning_effort": "low",
        "allowed_models": "openrouter",
        "seen": "",
    },
    "routing:new-agent": {
        "name": "New",
        "description": "",
        "slug": "new-one",
        "key": "{key_id}",
        "model": MODEL,
        "makes_token": "",
        "days": "30",
    },
    "routing:edit-agent": {"name": "Renamed", "description": "", "seen": ""},
    "routing:route-agent": {"globex-agent-key": "{key_id}", "globex-agent-model": "openai/gpt-4o-mini"},
    "candidates:import": {"text": PEOPLE},
    "candidates:briefing-new": {"hand-title": "New", "how": "hand"},
    "candidates:quote": {"candidates": "{candidate_id}", "shown": "{candidate_id}", "show": "all"},
    "candidates:run": {"candidates": "{candidate_id}", "show": "all", "agreed": "4", "count": "1"},
    "candidates:briefing": {
        "title": "Renamed",
        "requirements-TOTAL_FORMS": "1",
        "requirements-INITIAL_FORMS": "0",
        "requirements-0-text": "Knows Go",
        "requirements-0-kind": "must",
        "requirements-0-weight": "1",
    },
}
# Fields that a form reads though it is accepted without them.
OPTIONAL = {
    "save-view": {"is_shared"},
    "candidates:briefing-new": {"job_description"},
    "candidates:briefing": {"id"},  # of a requirement; foreign ones are asked for in tests/test_urls_and_roles.py
    "candidates:briefing-draft": {"job_description", "title"},
}
MOST_AT_ONCE = 500  # Django takes no more than 1,000 fields
# Those that have to change something, or the comparison would say nothing.
CHANGES = {
    "organizations:invite",
    "organizations:send-invitation-again",
    "organizations:withdraw-invitation",
    "organizations:change-role",
    "organizations:remove-member",
    "organizations:recency-window",
    "organizations:recency-sharing",
    "providers:save",
    "providers:replace",
    "providers:validate",
    "providers:disable",
    "providers:rotate-organization-key",
    "routing:save",
    "routing:new-agent",
    "routing:route-agent",
    "routing:pause",
    "routing:archive-agent",
    "candidates:import",
    "candidates:briefing-new",
    "candidates:briefing",
}
HARM = {
    "role": "owner",
    "is_staff": "on",
    "is_superuser": "on",
    "is_active": "",
    "is_platform": "on",
    "status": "connected",
    "state": "ready",
    "mode": "managed",
    "origin": "https://collector.example",
    "base_url": "https://collector.example/v1",
    "host": "127.0.0.1",
    "posted": "1000000",
    "amount": "1000000",
    "slug": "taken-over",
}
# Differ from one time to the next by themselves.
VOLATILE_TYPES = (models.DateTimeField, models.AutoField, models.UUIDField, models.BinaryField)
VOLATILE = {
    "fingerprint",
    "sealed_secret",
    "hash",
    "prev_hash",
    "token_digest",
    "details",
    "wrapped",
    "ciphertext",
    "key_version",
    "version",
}


def columns() -> set[str]:
    ours = [model for model in apps.get_models() if model.__module__.partition(".")[0] in ("organizations", "billing")]
    others = [model for model in apps.get_models() if hasattr(model, "organization")]
    return {name for model in (*ours, *others) for field in model._meta.fields for name in (field.name, field.attname)}


def smuggled(form: dict[str, str], other: Tenant, own: Tenant) -> dict[str, str]:
    """A value for every column, plainly and under each prefix that the form uses; harmful where we know how."""
    ids = {name: str(value) for name, value in other.ids.items()}
    values = {
        name: HARM.get(name, str(other.organization.pk) if name.startswith("organization") else ids.get(name, "7"))
        for name in columns()
    }
    prefixes = {"", *(field.rpartition("-")[0] + "-" for field in form if "-" in field and "FORMS" not in field)}
    return {prefix + name: value for prefix in prefixes for name, value in values.items()}


def rows() -> list[str]:
    """What every table says, apart from times, random values and numbers that only count."""
    found: list[tuple[Any, ...]] = []
    for model in apps.get_models():
        if hasattr(model, "organization") or model is User or model._meta.label == "organizations.Organization":
            names = [
                field.attname
                for field in model._meta.concrete_fields
                if field.name not in VOLATILE and not isinstance(field, VOLATILE_TYPES) and not field.is_relation
            ]
            owner = ["organization_id"] if hasattr(model, "organization") else []
            found += [(model._meta.label, *row) for row in model._default_manager.values_list(*owner, *names)]
    return sorted(repr(row) for row in found)


def filled(value: str, ids: dict[str, object]) -> str:
    return str(ids[value[1:-1]]) if value[1:-1] in ids else value


def left_by(client: Client, address: str, form: dict[str, str]) -> list[Any]:
    with transaction.atomic():
        response = client.post(address, form)
        assert response.status_code < 500, address
        left = [response.status_code, *rows()]
        transaction.set_rollback(True)
    return left


POSTS = [url for url in ORGANIZATION_URLS if "POST" in OF_AN_ORGANIZATION[url.name][1]]


def test_fields_beyond_a_form_change_nothing_of_what_it_does(world, strangers_own, charlie, settings):
    settings.KEYFARE_NETWORK_RECENCY = True
    client = logged_in(charlie)
    bert = User.objects.create_user("bert@globex.example", "correct horse battery")
    member = Membership.objects.create(organization=strangers_own.organization, user=bert, role="member")
    unchecked = write_briefing(strangers_own.organization, ("Knows Python", "must"))
    ids = {**strangers_own.ids, "membership_id": member.pk, "briefing_id": unchecked.pk}
    own = Tenant(strangers_own.organization, ids)
    before, changed = rows(), set()
    for url in POSTS:
        form = {field: filled(value, own.ids) for field, value in FORMS.get(url.name, {}).items()}
        extra = {
            name: value
            for name, value in smuggled(form, world, own).items()
            if name.rpartition("-")[2] not in OPTIONAL.get(url.name, ())
        }
        rightly = left_by(client, url.address(own.ids), form)
        for start in range(0, len(extra), MOST_AT_ONCE):
            some = dict(islice(extra.items(), start, start + MOST_AT_ONCE))
            smuggling = left_by(client, url.address(own.ids), {**some, **form})
            assert smuggling == rightly, (url.name, set(smuggling) ^ set(rightly))
        if rightly[1:] != before:
            changed.add(url.name)

    assert CHANGES - changed == set()


def test_signing_up_and_changing_the_own_account_gives_no_rights(settings, client, bob, as_bob, strangers_own, world):
    settings.KEYFARE_SIGNUP_OPEN = True
    extra = smuggled({}, world, strangers_own)
    password = "a long enough passphrase"
    form = {"email": "eve@evil.example", "password1": password, "password2": password}

    assert client.post(reverse("account_signup"), {**extra, **form}).status_code == 302
    as_bob.post(reverse("account_email"), {**extra, "action_add": "", "email": "bob@other.example"})
    as_bob.post(
        reverse("account_change_password"),
        {**extra, "oldpassword": "correct horse battery", "password1": password, "password2": password},
    )

    for user in (User.objects.get(email="eve@evil.example"), User.objects.get(pk=bob.pk)):
        assert (user.is_staff, user.is_superuser, user.is_active) == (False, False, True)
    assert not Membership.objects.filter(user__email="eve@evil.example").exists()
    assert Membership.objects.get(user=bob).role == "member"


def test_the_columns_of_keys_and_money_are_among_what_is_smuggled():
    assert {"role", "organization", "organization_id", "is_staff", "status", "ciphertext", "base_url"} <= columns()
    assert {field.name for model in (ProviderKey, UsageEvent) for field in model._meta.fields} <= columns()
