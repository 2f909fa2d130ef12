"""API tokens: what they let a program do, when they end, and that nothing keeps them."""

from __future__ import annotations

import json
import re
import threading
from datetime import timedelta

import pytest
from django.db import IntegrityError, connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from config.onboarding import close_organization
from organizations import api_tokens, permissions, services
from organizations.api_tokens import NewToken, TokenRefused, make_token, revoke_token, use_token
from organizations.models import ApiToken, AuditEvent, Membership, Organization, User
from organizations.permissions import Permission
from tests.conftest import person

Role = Membership.Role
NOW = timezone.now()
HTMX = {"HX-Request": "true"}
CHECK = "/api/v1/candidate-check/00000000-0000-4000-8000-000000000001"
FORM = {"name": "ATS", "days": "90", "scopes": ["view", "check_candidates"]}
VIEW, WRITE = Permission.VIEW, Permission.CHECK_CANDIDATES


def make(organization: Organization, actor: User, name="ATS", scopes=(VIEW, WRITE), expires_at=None) -> NewToken:
    return make_token(organization=organization, name=name, scopes=scopes, expires_at=expires_at, actor=actor)


def use(value: str, permission=VIEW, now=NOW) -> ApiToken:
    return use_token(value=value, permission=permission, now=now)


def ask(value: str, header="Authorization"):
    """200 or 404 means that the token was taken: nobody has this check."""
    return Client().get(CHECK, headers={header: f"Bearer {value}" if header == "Authorization" else value})


def url(name: str, *arguments: object) -> str:
    app = "routing" if "api-token" in name else "organizations"
    return reverse(f"{app}:{name}", args=["acme", *arguments])


# What a token is ------------------------------------------------------------------------------------------


def test_a_token_is_a_prefix_to_know_it_by_and_32_random_bytes(acme, alice):
    values = [make(acme, alice, name=str(number)).value for number in range(20)]

    assert all(re.fullmatch(r"kf_[0-9A-Za-z]{8}_[0-9A-Za-z]{43}", value) for value in values)
    assert len({value[3:11] for value in values}) == len({value[12:] for value in values}) == 20
    assert api_tokens._base62(b"\xff" * 32) != api_tokens._base62(b"\xff" * 31 + b"\xfe")
    assert len(api_tokens._base62(b"\x00" * 32)) == len(api_tokens._base62(b"\xff" * 32)) == 43


def test_of_a_token_only_prefix_and_digest_are_stored(acme, alice):
    made = make(acme, alice)

    row = ApiToken.objects.values().get()
    assert row["prefix"] == made.value[3:11]
    assert row["digest"] == api_tokens.digest_of(made.value)
    secret = made.value.rpartition("_")[2]
    stored = str(row) + str(list(AuditEvent.objects.values()))
    assert not any(secret[start : start + 12] in stored for start in range(len(secret) - 11))
    assert secret not in repr(made)


def test_both_headers_lead_in_and_the_first_counts(acme, alice):
    value = make(acme, alice).value

    assert ask(value).status_code == 404
    assert ask(value, "x-api-key").status_code == 404
    both = {"Authorization": "Bearer kf_x", "x-api-key": value}
    assert Client().get(CHECK, headers=both).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer "},
        {"Authorization": "Basic a2Y6eA=="},
        {"Authorization": "Token kf_x"},
        {"Authorization": "kf_x"},
        {"Authorization": "Bearer two words"},
        {"x-api-key": ""},
        {"x-api-key": "two words"},
        {"Cookie": "Authorization=Bearer kf_x"},
    ],
    ids=str,
)
def test_a_missing_or_malformed_authorization_is_401(db, headers):
    response = Client().get(CHECK, headers=headers)

    assert response.status_code == 401
    assert response["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "value", ["x", "kf_", "kf_" + "0" * 52, "kf_00000000_" + "0" * 43, "k" * 5000, "kf_ä", "\x00", "'OR1=1--"]
)
def test_an_unknown_token_is_403(acme, alice, value):
    make(acme, alice)

    assert ask(value).status_code == 403


def test_who_knows_only_the_prefix_learns_nothing(acme, alice):
    """Not whether there is such a token, by answer, work or query; nor whether it expired or was revoked."""
    real = make(acme, alice, expires_at=NOW)
    wrong = real.value[:-1] + ("0" if real.value[-1] != "0" else "1")
    absent = "kf_00000000_" + real.value.rpartition("_")[2]

    told = []
    for value in (wrong, absent):
        with CaptureQueriesContext(connection) as queries:
            response = ask(value)
        told.append((response.status_code, response.content, sorted(response.headers), len(queries)))
        assert not any(real.value[12:24] in query["sql"] for query in queries)

    assert told[0] == told[1]
    assert told[0][0] == 403


def test_the_whole_token_is_compared_in_constant_time_whether_its_prefix_is_known_or_not(acme, alice, monkeypatch):
    real, compared = make(acme, alice), []

    def spy(given: str, stored: str) -> bool:
        compared.append((len(given), len(stored)))
        return given == stored

    monkeypatch.setattr(api_tokens, "compare_digest", spy)
    for value in (real.value, real.value[:12] + "0" * 43, "kf_00000000_" + "0" * 43):
        ask(value)

    assert compared == [(64, 64)] * 3


# What it may ------------------------------------------------------------------------------------------------


def test_a_token_may_what_its_scopes_say(acme, alice):
    value = make(acme, alice, scopes=[VIEW]).value

    assert ask(value).status_code == 404
    response = Client().post("/api/v1/candidate-check", {}, headers={"Authorization": f"Bearer {value}"})
    assert response.status_code == 403
    assert "check_candidates" in response.json()["error"]


@pytest.mark.parametrize("scopes", [[], [Permission.MANAGE_KEYS], [VIEW, Permission.MANAGE_MEMBERS]])
def test_what_is_for_people_only_is_no_scope(acme, alice, scopes):
    with pytest.raises(api_tokens.ScopesRefused):
        make(acme, alice, scopes=scopes)

    assert not ApiToken.objects.exists()


def test_nobody_makes_a_token_that_may_more_than_they(acme, ada, charlie, monkeypatch):
    monkeypatch.setitem(permissions.PERMISSIONS, WRITE, frozenset({Role.OWNER}))

    with pytest.raises(api_tokens.ScopesRefused):
        make(acme, ada)
    with pytest.raises(api_tokens.ScopesRefused):
        make(acme, charlie, scopes=[VIEW])  # of another organization
    make(acme, ada, scopes=[VIEW])


def test_a_token_falls_with_the_role_of_its_creator(acme, alice, ada, monkeypatch):
    monkeypatch.setitem(permissions.PERMISSIONS, WRITE, frozenset({Role.OWNER, Role.ADMIN}))
    value = make(acme, ada).value
    use(value, WRITE)

    services.change_role(membership=Membership.objects.get(user=ada), role=Role.MEMBER, actor=alice)

    with pytest.raises(api_tokens.ScopeMissing):
        use(value, WRITE)
    use(value, VIEW)


def test_a_token_ends_with_the_membership_of_its_creator_and_is_not_revived_by_somebody_elses(acme, alice, ada, bob):
    value = make(acme, ada).value
    services.remove_member(membership=Membership.objects.get(user=ada), actor=alice)

    with pytest.raises(api_tokens.TokenWithoutCreator):
        use(value)
    assert ask(value).status_code == 403


def test_a_token_does_not_come_back_with_a_person_who_left_and_returned(acme, alice, ada):
    value = make(acme, ada).value
    services.remove_member(membership=Membership.objects.get(user=ada), actor=alice)
    services.add_member(organization=acme, email=ada.email, role=Role.ADMIN, actor=alice)

    with pytest.raises(api_tokens.TokenWithoutCreator):
        use(value)
    use(make(acme, ada, name="new").value)


def test_a_membership_elsewhere_does_not_keep_a_token_alive(acme, globex, alice, ada):
    value = make(acme, ada).value
    Membership.objects.create(organization=globex, user=ada, role=Role.OWNER)
    services.remove_member(membership=Membership.objects.get(user=ada, organization=acme), actor=alice)

    with pytest.raises(api_tokens.TokenWithoutCreator):
        use(value)


def test_a_token_ends_when_its_creator_is_made_inactive(acme, ada):
    value = make(acme, ada).value
    User.objects.filter(pk=ada.pk).update(is_active=False)

    assert ask(value).status_code == 403


def test_a_token_ends_when_its_organization_is_closed(acme, alice):
    value = make(acme, alice).value
    close_organization(organization=acme, actor=None, now=NOW)

    response = ask(value)

    assert response.status_code == 403
    assert "closed" in response.json()["error"]


def test_an_expired_token_is_refused_from_that_second_on(acme, alice):
    value = make(acme, alice, expires_at=NOW + timedelta(days=30)).value

    use(value, now=NOW + timedelta(days=30) - timedelta(microseconds=1))
    with pytest.raises(api_tokens.TokenExpired):
        use(value, now=NOW + timedelta(days=30))


def test_a_revoked_token_is_refused_from_the_next_request_on(acme, alice):
    made = make(acme, alice)
    assert ask(made.value).status_code == 404

    revoke_token(token=made.token, actor=alice, now=NOW)

    assert ask(made.value).status_code == 403


def test_last_used_is_written_at_most_once_a_minute(acme, alice):
    made = make(acme, alice)

    def used(seconds: float):
        with CaptureQueriesContext(connection) as queries:
            use(made.value, now=NOW + timedelta(seconds=seconds))
        made.token.refresh_from_db()
        assert made.token.last_used_at is not None
        return made.token.last_used_at - NOW, sum(query["sql"].startswith("UPDATE") for query in queries)

    assert used(0) == (timedelta(0), 1)
    assert used(59) == (timedelta(0), 0)
    assert used(60) == (timedelta(seconds=60), 1)
    assert used(61) == (timedelta(seconds=60), 0)


def test_a_refused_token_counts_as_unused(acme, alice):
    made = make(acme, alice, scopes=[VIEW])

    with pytest.raises(TokenRefused):
        use(made.value, WRITE)

    made.token.refresh_from_db()
    assert made.token.last_used_at is None


def test_names_are_unique_among_tokens_that_are_not_revoked(acme, globex, alice, charlie):
    make(acme, alice)
    make(globex, charlie)

    with pytest.raises(api_tokens.TokenNameTaken):
        make(acme, alice)
    with pytest.raises(IntegrityError):
        ApiToken.objects.create(
            organization=acme, name="ATS", prefix="x", digest="x", scopes=["view"], created_by=alice
        )


def test_a_name_is_free_again_after_the_revocation(acme, alice):
    revoke_token(token=make(acme, alice).token, actor=alice, now=NOW)

    make(acme, alice)

    assert ApiToken.objects.filter(name="ATS").count() == 2


def test_revoking_twice_is_one_event_and_keeps_the_first_time(acme, alice, ada):
    token = make(acme, alice).token

    assert revoke_token(token=token, actor=alice, now=NOW)
    assert not revoke_token(token=token, actor=ada, now=NOW + timedelta(days=1))

    token.refresh_from_db()
    assert token.revoked_at == NOW
    assert AuditEvent.objects.get(action="api_token.revoked").actor == alice


@pytest.mark.postgresql
@pytest.mark.skipif(connection.vendor != "postgresql", reason="real concurrency")
@pytest.mark.django_db(transaction=True)
def test_one_of_many_simultaneous_revocations_is_recorded_while_the_token_is_in_use(acme, alice):
    made = make(acme, alice)
    start, outcomes, answers = threading.Barrier(8), [], []

    def revoke() -> None:
        try:
            start.wait()
            outcomes.append(revoke_token(token=ApiToken.objects.get(), actor=alice, now=NOW))
            answers.append(ask(made.value).status_code)
        finally:
            connection.close()

    threads = [threading.Thread(target=revoke) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes) == [False] * 7 + [True]
    assert answers == [403] * 8
    assert AuditEvent.objects.filter(action="api_token.revoked").count() == 1


# Staff -------------------------------------------------------------------------------------------------------------


def test_staff_see_no_digest_and_can_only_revoke(as_staff, staff, acme, alice):
    made = make(acme, alice)
    listed, one = "/admin/organizations/apitoken/", f"/admin/organizations/apitoken/{made.token.pk}/change/"

    assert made.token.prefix in as_staff.get(listed).content.decode()
    assert made.token.digest not in as_staff.get(listed).content.decode() + as_staff.get(one).content.decode()
    assert as_staff.get(f"{listed}add/").status_code == 403
    assert as_staff.post(one, {"name": "Mine"}).status_code == 403
    as_staff.post(listed, {"action": "revoke", "_selected_action": [made.token.pk]})

    assert ask(made.value).status_code == 403
    assert AuditEvent.objects.get(action="api_token.revoked").actor == staff


def test_the_audit_log_names_the_token_and_what_it_may(acme, alice):
    made = make(acme, alice, expires_at=NOW)

    event = AuditEvent.objects.get(action="api_token.created")
    assert (event.actor, event.target) == (alice, f"ATS (kf_{made.token.prefix}…)")
    assert event.details == {"scopes": "check_candidates, view", "expires": NOW.date().isoformat()}
    assert json.dumps(event.details).find(made.value[12:]) == -1


def test_a_second_owners_token_is_untouched_by_the_first_ones_leaving(acme, alice):
    olga = person("olga@acme.example", acme, Role.OWNER)
    value = make(acme, olga).value
    services.remove_member(membership=Membership.objects.get(user=alice), actor=alice)

    use(value, WRITE)
