from __future__ import annotations

import pytest
from django.urls import reverse

from organizations import audit
from organizations.models import AuditEvent, Membership, User

Role = Membership.Role
HTMX = {"HX-Request": "true"}


def url(name: str, *arguments: object) -> str:
    return reverse(f"organizations:{name}", args=["acme", *arguments])


def pk(user: User) -> int:
    return Membership.objects.get(user=user).pk


# Members ------------------------------------------------------------------------------------------------


def test_everybody_reads_the_list_of_members(as_bob, alice):
    page = as_bob.get(url("members")).content.decode()

    assert alice.email in page
    assert "Send invitation" not in page
    assert "Remove" not in page


def test_an_owner_changes_a_role(as_alice, bob):
    response = as_alice.post(url("change-role", pk(bob)), {"role": "admin"}, headers=HTMX)

    assert response.status_code == 200
    assert Membership.objects.get(user=bob).role == Role.ADMIN


def test_the_last_owner_cannot_step_down(as_alice, alice):
    response = as_alice.post(url("change-role", pk(alice)), {"role": "member"})

    assert response.status_code == 422
    assert "needs an owner" in response.content.decode()
    assert Membership.objects.get(user=alice).role == Role.OWNER


def test_who_changes_the_own_role_sees_the_page_anew(as_ada, ada, alice):
    response = as_ada.post(url("change-role", pk(ada)), {"role": "member"}, headers=HTMX)

    assert response["HX-Redirect"] == url("members")


def test_an_unknown_role_is_refused(as_alice, bob):
    response = as_alice.post(url("change-role", pk(bob)), {"role": "king"})

    assert response.status_code == 422
    assert Membership.objects.get(user=bob).role == Role.MEMBER


def test_removal_asks_first_and_then_removes(as_alice, bob):
    question = as_alice.get(url("remove-member", pk(bob)))
    answer = as_alice.post(url("remove-member", pk(bob)))

    assert "Remove bob@acme.example?" in question.content.decode()
    assert answer.status_code == 302
    assert not Membership.objects.filter(user=bob).exists()
    assert User.objects.filter(pk=bob.pk).exists()


def test_everybody_may_leave_once_they_said_so(as_bob, bob):
    assert f'href="{url("leave")}"' in as_bob.get(url("members")).content.decode()
    assert "Leave Acme?" in as_bob.get(url("leave")).content.decode()

    response = as_bob.post(url("leave"))

    assert response["Location"] == reverse("home")
    assert as_bob.get(url("members")).status_code == 404
    assert AuditEvent.objects.get(action="member.removed").target == bob.email


def test_the_last_owner_cannot_leave(as_alice, alice):
    response = as_alice.post(url("leave"))

    assert response.status_code == 422
    assert "Make somebody else an owner first." in response.content.decode()
    assert Membership.objects.filter(user=alice).exists()


@pytest.mark.parametrize("headers", [{}, HTMX])
def test_who_would_remove_themselves_is_asked_whether_to_leave(as_ada, ada, alice, headers):
    response = as_ada.post(url("remove-member", pk(ada)), headers=headers)

    assert response.headers.get("Location", response.headers.get("HX-Redirect")) == url("leave")
    assert Membership.objects.filter(user=ada).exists()


def test_a_member_of_another_organization_is_not_found(as_alice, charlie):
    assert as_alice.post(url("change-role", pk(charlie)), {"role": "member"}).status_code == 404
    assert as_alice.post(url("remove-member", pk(charlie))).status_code == 404
    assert Membership.objects.get(user=charlie).role == Role.OWNER


def test_the_list_takes_as_many_queries_for_many_members(as_alice, acme, bob, ada, django_assert_max_num_queries):
    for number in range(15):
        user = User.objects.create_user(f"person{number}@acme.example")
        Membership.objects.create(organization=acme, user=user)

    as_alice.get(url("members"))  # writes the organization into the session

    with django_assert_max_num_queries(9):
        as_alice.get(url("members"))


# Audit log ----------------------------------------------------------------------------------------------


def test_owners_and_admins_read_the_audit_log_of_their_organization(as_ada, acme, globex, alice):
    audit.record(organization=acme, actor=alice, action="member.added", target="x@acme.example", role="admin")
    audit.record(organization=globex, actor=None, action="member.added", target="secret@globex.example")

    page = as_ada.get(url("audit")).content.decode()

    assert "Member added" in page
    assert "x@acme.example" in page
    assert "secret@globex.example" not in page


def test_an_event_reads_as_words_and_shows_no_detail_without_a_value(as_alice, acme):
    audit.record(organization=acme, actor=None, action="api_token.created", target="CI", expires="never", last4="")

    page = as_alice.get(url("audit")).content.decode()

    assert "API token created" in page
    assert '<span class="muted">expires</span> never' in page
    assert "last4" not in page


def test_the_audit_log_comes_in_pages(as_alice, acme):
    for number in range(51):
        audit.record(organization=acme, actor=None, action="test.counted", target=f"row {number}")

    newest = as_alice.get(url("audit"))
    oldest = as_alice.get(url("audit"), {"after": newest.context["page"].after})

    assert "row 50" in newest.content.decode()
    assert "row 0" not in newest.content.decode()
    assert "row 0" in oldest.content.decode()


# Recency window -----------------------------------------------------------------------------------------


def test_the_recency_window_is_saved(as_ada, acme, alice):
    response = as_ada.post(url("recency-window"), {"days": "60"})

    acme.refresh_from_db()
    assert acme.recency_window_days == 60
    assert response.url == "/o/acme/settings#candidate-recency-window"


def test_htmx_gets_the_saved_panel_and_the_toast(as_alice):
    fragment = as_alice.post(url("recency-window"), {"days": "90"}, headers=HTMX).content.decode()

    assert "<html" not in fragment
    assert 'id="candidate-recency-window"' in fragment
    assert "Recency window saved." in fragment


@pytest.mark.parametrize("headers", [{}, HTMX])
@pytest.mark.parametrize("days", ["45", "", "many"])
def test_another_window_is_refused_with_a_sentence(as_alice, acme, days, headers):
    response = as_alice.post(url("recency-window"), {"days": days}, headers=headers)

    acme.refresh_from_db()
    assert response.status_code == 422
    assert acme.recency_window_days == 30
    assert 'role="alert"' in response.content.decode()


# Shared recency ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [{}, HTMX])
def test_an_owner_joins_and_leaves_shared_recency_on_the_settings_page(as_alice, acme, settings, headers):
    settings.KEYFARE_NETWORK_RECENCY = True
    assert "Acme does not take part." in as_alice.get("/o/acme/settings").content.decode()

    for answer, said in (("yes", "Acme takes part in shared recency now."), ("no", "no longer takes part")):
        response = as_alice.post(url("recency-sharing"), {"shares": answer}, headers=headers, follow=True)

        acme.refresh_from_db()
        assert acme.shares_recency == (answer == "yes")
        assert said in response.content.decode()
        assert 'id="candidate-recency-window"' in response.content.decode()


def test_only_owners_see_the_switch_and_use_it(as_ada, as_bob, alice, acme, settings):
    settings.KEYFARE_NETWORK_RECENCY = True

    for client in (as_ada, as_bob):
        page = client.get("/o/acme/settings").content.decode()
        assert "owners can change this" in page
        assert 'name="shares"' not in page
        assert client.post(url("recency-sharing"), {"shares": "yes"}).status_code == 403
    acme.refresh_from_db()
    assert acme.shares_recency is False


def test_where_the_installation_shares_no_recency_the_page_says_so_and_joining_is_refused(as_alice, acme):
    page = as_alice.get("/o/acme/settings").content.decode()
    response = as_alice.post(url("recency-sharing"), {"shares": "yes"})

    assert 'name="shares"' not in page
    assert "This installation does not share recency between organizations." in page
    assert response.status_code == 422
    assert "This installation does not share recency between organizations." in response.content.decode()


@pytest.mark.parametrize("shares", ["", "maybe", "on\x00"])
def test_another_answer_is_refused_with_a_sentence(as_alice, acme, settings, shares):
    settings.KEYFARE_NETWORK_RECENCY = True

    response = as_alice.post(url("recency-sharing"), {"shares": shares})

    assert response.status_code == 422
    assert "Choose whether this organization takes part." in response.content.decode()


# Who may come in ----------------------------------------------------------------------------------------

PAGES = ["members", "audit"]
ACTIONS = ["invite", "change-role", "remove-member", "recency-window", "recency-sharing"]


def path(name: str, bob: User) -> str:
    return url(name, pk(bob)) if name in ("change-role", "remove-member") else url(name)


@pytest.mark.parametrize("name", [*PAGES, *ACTIONS])
def test_anonymous_people_log_in_first(client, bob, name):
    for method in (client.get, client.post):
        response = method(path(name, bob))

        assert response.status_code == 302
        assert response.url.startswith("/accounts/login/")


@pytest.mark.parametrize("name", [*PAGES, *ACTIONS])
def test_strangers_find_nothing(as_charlie, bob, name):
    for method in (as_charlie.get, as_charlie.post):
        assert method(path(name, bob)).status_code == 404


@pytest.mark.parametrize("name", ["audit", *ACTIONS])
def test_members_may_not_manage(as_bob, bob, alice, name):
    method = as_bob.get if name == "audit" else as_bob.post

    assert method(path(name, bob), {"role": "owner", "days": "90"}).status_code == 403
    assert Membership.objects.get(user=bob).role == Role.MEMBER


@pytest.mark.parametrize("name", ["invite", "change-role", "recency-window", "recency-sharing"])
def test_actions_are_posts(as_alice, bob, name):
    assert as_alice.get(path(name, bob)).status_code == 405


@pytest.mark.parametrize("name", PAGES)
def test_pages_are_read_only(as_alice, bob, name):
    assert as_alice.post(path(name, bob)).status_code == 405
