"""Whatever is sent to a page, by query or by form, is answered with a page; never with a server error."""

from __future__ import annotations

import itertools
import re
import uuid

import pytest
from django.contrib import admin
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.utils import timezone

from candidates.acceptance import accept_checks
from candidates.worker import run_pending_checks
from organizations.api_tokens import make_token
from organizations.permissions import API_SCOPES
from tests.builders import connect_managed_key, give_credits, import_people, route_to_own_key, write_briefing
from tests.conftest import logged_in

GARBAGE = ["\x00", "9" * 30, "🦄" * 300, "' OR 1=1 --"]
# Every name that a form or a filter of ours reads.
FIELDS = (
    *("q", "show", "page", "tab", "candidates", "others", "first", "shown", "agreed", "count", "title", "text"),
    *("job_description", "kind", "weight", "key", "label", "anyway", "role", "email", "recency_window_days", "model"),
    *("from", "to", "day", "provider", "action", "mode", "status", "run", "price", "profiles", "reset_actions", "next"),
    *("name", "days", "scopes", "briefingId", "candidateId", "linkedinProfileLink", "profile"),
    *("form-TOTAL_FORMS", "form-INITIAL_FORMS", "form-0-text", "form-0-weight", "form-0-kind", "form-0-id"),
)
HUGE = 10**30


def patterns(resolver: URLResolver, prefix: str = "") -> list[str]:
    found = []
    for entry in resolver.url_patterns:
        route = prefix + str(entry.pattern)
        if isinstance(entry, URLPattern):
            found.append(route)
        elif not route.startswith(("admin", "accounts")):
            found += patterns(entry, route)
    return found


@pytest.mark.parametrize("garbage", GARBAGE, ids=["nul", "huge number", "unicode", "sql"])
def test_no_page_answers_garbage_with_a_server_error(acme, alice, simulated_providers, garbage):
    connect_managed_key()
    key = route_to_own_key(acme)
    give_credits(acme, 10)
    checked, fresh = write_briefing(acme, ("Django", "must")), write_briefing(acme, ("Python", "nice"))
    (person,) = import_people(acme, "Builds Django services.")
    (check,) = accept_checks(
        organization=acme, briefing=checked, candidates=[person], actor=alice, now=timezone.now()
    ).checks
    run_pending_checks(organization_id=acme.pk)
    token = make_token(organization=acme, name="robot", scopes=list(API_SCOPES), expires_at=None, actor=alice)
    known: dict[str, list[object]] = {
        "slug": ["acme"],
        "candidate_id": [person.pk, HUGE],
        "briefing_id": [checked.pk, fresh.pk, HUGE],
        "check_id": [check.pk, uuid.uuid4()],
        "key_id": [key.pk],
        "provider": ["openrouter", "nobody"],
        "action": ["candidate_check", "nothing"],
        "membership_id": [HUGE],
        "token_id": [token.token.pk, HUGE],
    }
    client = logged_in(alice)
    client.defaults["HTTP_AUTHORIZATION"] = f"Bearer {token.value}"  # for the API; pages do not read it
    client.raise_request_exception = False

    failed = []
    for route in patterns(get_resolver()):
        names = re.findall(r"<(?:\w+:)?(\w+)>", route)
        for values in itertools.product(*(known.get(name, [1]) for name in names)):
            url = "/" + route
            for name, value in zip(names, values, strict=True):
                url = re.sub(rf"<(?:\w+:)?{name}>", str(value), url, count=1)
            for method in (client.get, client.post):
                if method(url, dict.fromkeys(FIELDS, garbage)).status_code >= 500:
                    failed.append((method.__name__, url))

    assert failed == []


@pytest.mark.parametrize("huge", [HUGE, -HUGE], ids=["beyond", "below"])
def test_a_number_that_no_row_can_have_is_no_row_in_forms_and_lists_of_staff(as_staff, bob, huge):
    """Many ids at once are looked up by `IN`, which databases refuse for numbers that no column holds."""
    user = reverse("admin:organizations_user_change", args=[bob.pk])
    refused = as_staff.post(user, {"name": "Bob", "is_active": "on", "user_permissions": [str(huge)]})

    assert refused.status_code == 200
    assert f"{huge} is not one of the available choices" in refused.text
    as_staff.raise_request_exception = False
    answers = set()
    for model, model_admin in admin.site._registry.items():
        url = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
        request = as_staff.get(url).wsgi_request
        for action in model_admin.get_actions(request):
            for ticked in (str(huge), "\x00", "1.5"):
                answers.add(as_staff.post(url, {"action": action, "_selected_action": [ticked]}).status_code)
    assert 404 in answers
    assert max(answers) < 500
