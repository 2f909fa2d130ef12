"""The page on which owners and admins make API tokens, see and revoke them; and the way from there to a result."""

from __future__ import annotations

import logging
import time
from datetime import timedelta

import httpx
import pytest
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.urls import reverse
from django.utils import timezone

from organizations import services
from organizations.api_tokens import revoke_token
from organizations.models import ApiToken, Membership
from organizations.permissions import Permission
from tests.builders import connect_managed_key, give_credits, import_people, write_briefing
from tests.organizations.test_api_tokens import ask, make, url, use

NOW = timezone.now()
HTMX = {"HX-Request": "true"}
FORM = {"name": "ATS", "days": "90", "scopes": ["view", "check_candidates"]}
VIEW = Permission.VIEW


@pytest.mark.django_db(transaction=True)
def test_the_way_of_docs_api_from_the_page_to_a_result(as_alice, acme, simulated_providers, live_server):
    """Over real sockets, as the curl lines of docs/api.md do it."""
    connect_managed_key()
    give_credits(acme, 10)
    briefing = write_briefing(acme, ("Django", "must"), ("Kubernetes", "nice"))
    (maya,) = import_people(acme, "Builds Django services.")
    shown = as_alice.post(url("make-api-token"), FORM).context["made"].value
    headers = {"Authorization": f"Bearer {shown}", "Idempotency-Key": "order-1"}

    with httpx.Client(base_url=live_server.url, headers=headers, trust_env=False) as program:
        body = {"candidateId": maya.pk, "briefingId": briefing.pk}
        accepted, again = (program.post("/api/v1/candidate-check", json=body) for _ in range(2))
        check_id, deadline = accepted.json()["candidateCheckId"], time.monotonic() + 20
        while (found := program.get(f"/api/v1/candidate-check/{check_id}").json())["status"] != "Completed":
            assert time.monotonic() < deadline, found
        revoked = as_alice.post(reverse("routing:revoke-api-token", args=["acme", ApiToken.objects.get().pk]))
        after = program.get(f"/api/v1/candidate-check/{check_id}")

    assert accepted.content == again.content
    assert [each["verdict"] for each in found["result"]["verdicts"]] == ["met", "not_met"]
    assert found["charged"] == 4
    assert (revoked.status_code, after.status_code) == (302, 403)


@pytest.mark.parametrize("headers", [{}, HTMX], ids=["page", "fragment"])
def test_a_new_token_is_shown_once_with_a_control_to_copy_it_and_kept_nowhere(as_ada, acme, headers, caplog):
    caplog.set_level(logging.DEBUG)
    response = as_ada.post(url("make-api-token"), FORM, headers=headers)

    value = response.context["made"].value
    page = response.content.decode()
    assert response.status_code == 200
    assert page.count(value) == 2  # the field, and what the button copies
    assert f'data-copy="{value}"' in page
    assert ("<html" in page) == (not headers)
    assert "no-store" in response["Cache-Control"]
    assert ask(value).status_code == 404
    for later in (as_ada.get(url("api-tokens")), as_ada.get(url("audit")), as_ada.get(url("members"))):
        assert value[12:] not in later.content.decode()
        assert value[:11] in later.content.decode() or later.wsgi_request.path == url("members")
    kept = repr([session.get_decoded() for session in Session.objects.all()]) + repr(as_ada.cookies) + caplog.text
    assert value[12:] not in kept


def test_a_dump_of_the_database_holds_no_token(acme, alice, capsys):
    value = make(acme, alice).value

    call_command("dumpdata")

    dump = capsys.readouterr().out
    assert value[3:11] in dump
    assert value[12:24] not in dump


def test_sending_the_form_again_makes_no_second_token(as_alice):
    as_alice.post(url("make-api-token"), FORM)

    again = as_alice.post(url("make-api-token"), FORM)

    assert again.status_code == 422
    assert "already" in again.content.decode()
    assert ApiToken.objects.count() == 1


@pytest.mark.parametrize(
    ("days", "lasts"), [("30", 30), ("90", 90), ("365", 365), ("0", None)], ids=["30", "90", "365", "never"]
)
def test_a_token_lasts_as_long_as_chosen(as_alice, days, lasts):
    as_alice.post(url("make-api-token"), {**FORM, "days": days})

    token = ApiToken.objects.get()
    if lasts is None:
        assert token.expires_at is None
    else:
        assert token.expires_at is not None
        assert abs(token.expires_at - token.created_at - timedelta(days=lasts)) < timedelta(minutes=1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "x" * 101},
        {"name": "\x00"},
        {"days": "31"},
        {"days": "-1"},
        {"days": ""},
        {"scopes": []},
        {"scopes": ["manage_keys"]},
        {"scopes": ["view", "owner"]},
    ],
    ids=str,
)
@pytest.mark.parametrize("headers", [{}, HTMX], ids=["page", "fragment"])
def test_a_wrong_answer_makes_nothing_and_says_so_beside_the_field(as_alice, wrong, headers):
    response = as_alice.post(url("make-api-token"), {**FORM, **wrong}, headers=headers)

    assert response.status_code == 422
    assert 'role="alert"' in response.content.decode() or "aria-invalid" in response.content.decode()
    assert not ApiToken.objects.exists()


def test_fields_that_the_form_does_not_show_cannot_be_posted(as_ada, ada, alice, acme, globex):
    posted = {
        **FORM,
        "prefix": "00000000",
        "digest": "0" * 64,
        "created_by": str(alice.pk),
        "created_by_id": str(alice.pk),
        "organization": str(globex.pk),
        "organization_id": str(globex.pk),
        "last_used_at": "2020-01-01",
        "revoked_at": "2020-01-01",
        "expires_at": "2099-01-01",
    }

    as_ada.post(url("make-api-token"), posted)

    token = ApiToken.objects.get()
    assert (token.organization, token.created_by, token.revoked_at, token.last_used_at) == (acme, ada, None, None)
    assert token.prefix != "00000000"
    assert token.digest != "0" * 64
    assert token.expires_at is not None
    assert token.expires_at < NOW + timedelta(days=100)


def test_the_list_says_of_each_token_what_it_may_and_whether_it_works(as_alice, acme, alice, ada, globex, charlie):
    used, left = make(acme, alice, name="In use", scopes=[VIEW]), make(acme, ada, name="Adas")
    use(used.value)
    make(acme, alice, name="Over", expires_at=NOW - timedelta(days=1))
    revoke_token(token=make(acme, alice, name="Gone").token, actor=alice, now=NOW)
    make(globex, charlie, name="Theirs")
    services.remove_member(membership=Membership.objects.get(user=ada), actor=alice)
    services.add_member(organization=acme, email=ada.email, role=Membership.Role.ADMIN, actor=alice)

    page = as_alice.get(url("api-tokens"))

    states = {line.token.name: line.state for line in page.context["lines"]}
    assert states == {"In use": "Active", "Adas": "Creator left", "Over": "Expired", "Gone": "Revoked"}
    text = page.content.decode()
    assert f"kf_{used.token.prefix}" in text
    assert f"kf_{left.token.prefix}" in text
    assert "Read checks and their results" in text
    assert text.count('data-dialog="revoke-') == 3


def test_the_list_takes_as_many_queries_for_many_tokens(as_alice, acme, alice, django_assert_max_num_queries):
    for number in range(15):
        make(acme, alice, name=str(number))
    as_alice.get(url("api-tokens"))  # writes the organization into the session

    with django_assert_max_num_queries(9):
        as_alice.get(url("api-tokens"))


@pytest.mark.parametrize("headers", [{}, HTMX], ids=["page", "fragment"])
def test_an_admin_revokes_the_token_of_an_owner(as_ada, acme, alice, headers):
    made = make(acme, alice)
    question = as_ada.get(url("revoke-api-token", made.token.pk))

    answer = as_ada.post(url("revoke-api-token", made.token.pk), headers=headers)

    assert "Revoke “ATS”?" in question.content.decode()
    assert answer.status_code == (200 if headers else 302)
    assert ask(made.value).status_code == 403


def test_a_token_of_another_organization_is_not_found(as_alice, globex, charlie):
    made = make(globex, charlie)

    assert as_alice.post(url("revoke-api-token", made.token.pk)).status_code == 404
    assert ask(made.value).status_code == 404


def test_members_neither_see_nor_make_tokens(as_bob, acme, alice):
    token = make(acme, alice).token

    assert as_bob.get(url("api-tokens")).status_code == 403
    assert as_bob.post(url("make-api-token"), FORM).status_code == 403
    assert as_bob.post(url("revoke-api-token", token.pk)).status_code == 403
    assert url("api-tokens") not in as_bob.get("/o/acme/settings").content.decode()


def test_owners_get_there_from_members_and_settings(as_alice):
    for page in (url("members"), url("audit"), "/o/acme/settings"):
        assert url("api-tokens") in as_alice.get(page).content.decode()
