"""What nobody could have been given is refused by its form: no query, so no connection, and nothing is written."""

from __future__ import annotations

import pytest
from django.contrib.sessions.models import Session
from django.db import connection
from django.test.utils import CaptureQueriesContext

from organizations.api_tokens import make_token
from organizations.permissions import API_SCOPES

CHECK = "/api/v1/candidate-check/0b5f1d0e-0000-4000-8000-000000000000"
RIGHT = f"kf_{'a' * 8}_{'b' * 43}"
INVENTED_TOKENS = [
    "kf_",
    "kf_abc",
    RIGHT[:-1],
    f"{RIGHT}b",
    RIGHT.replace("b", "-"),
    RIGHT.upper(),
    "sk-proj-something",
]
INVENTED_SESSIONS = ["x", "s" * 31, "s" * 33, "S" * 32, "../" * 10 + "ab", "s" * 4000]
PAGES = ["/accounts/login/", "/accounts/password/reset/", "/invitations/accept/", "/o/acme/", "/", "/nowhere/"]


def statements(client, path: str, **headers: str) -> tuple[int, list[str]]:
    with CaptureQueriesContext(
        connection,
    ) as captured:
        response = client.get(path, headers=headers)
    return response.status_code, [query["sql"] for query in captured]


@pytest.mark.parametrize("token", INVENTED_TOKENS)
@pytest.mark.parametrize("header", ["Authorization", "x-api-key"])
def test_a_token_of_another_form_costs_no_query(client, db, token, header):
    value = f"Bearer {token}" if header == "Authorization" else token

    assert statements(client, CHECK, **{header: value}) == (403, [])


@pytest.mark.parametrize("token", ["wrong", "i" * 42, "i" * 44, "i" * 42 + "!", "ä" * 43, "i" * 3000])
def test_an_invitation_link_of_another_form_costs_no_query_and_makes_no_session(client, db, token):
    assert statements(client, f"/invitations/{token}/") == (410, [])
    assert client.cookies == {}


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize("session", [None, *INVENTED_SESSIONS])
def test_pages_ask_the_database_nothing_for_a_stranger_whose_cookie_is_none_of_ours(client, db, path, session):
    if session is not None:
        client.cookies["sessionid"] = session

    status, asked = statements(client, path)

    assert status in (200, 302, 404, 410)
    assert asked == []


def test_what_only_looks_right_costs_one_look_and_writes_nothing(client, db):
    token = statements(client, CHECK, Authorization=f"Bearer {RIGHT}")
    invitation = statements(client, f"/invitations/{'i' * 43}/")
    client.cookies["sessionid"] = "s" * 32
    page = statements(client, "/o/acme/")

    assert [(status, len(asked)) for status, asked in (token, invitation, page)] == [(403, 1), (410, 1), (302, 1)]
    for _, asked in (token, invitation, page):
        assert asked[0].startswith("SELECT")
    assert not Session.objects.exists()


def test_a_file_that_is_not_there_costs_no_query_either(as_alice):
    status, asked = statements(as_alice, "/static/keyfare/nothing.js")

    assert (status, asked) == (404, [])


def test_what_was_given_still_opens(acme, alice, as_alice, client):
    made = make_token(organization=acme, name="robot", scopes=list(API_SCOPES), expires_at=None, actor=alice)

    assert as_alice.get("/o/acme/").status_code == 200
    assert client.get(CHECK, headers={"Authorization": f"Bearer {made.value}"}).status_code == 404
