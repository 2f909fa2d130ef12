"""The second step of real people, with their seeds sealed: in the browser, in the database, and under other keys."""

from __future__ import annotations

from io import StringIO

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from django.contrib.sessions.models import Session
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.urls import reverse

from organizations.second_factors import unseal
from tests.config.test_mfa import PASSWORD, code_of
from tests.config.test_pages_are_strict import assert_strict
from tests.conftest import logged_in
from tests.providers.master_keys import NEW, OLD, master_keys


@pytest.fixture
def seeds(alice) -> tuple[str, list[str]]:
    """Alice's new authenticator app and recovery codes, as she sees them when she sets them up."""
    EmailAddress.objects.create(user=alice, email=alice.email, primary=True, verified=True)
    client = logged_in(alice)
    seed = client.get(reverse("mfa_activate_totp")).context["form"].secret
    client.post(reverse("mfa_activate_totp"), {"code": code_of(seed)})
    codes = client.get(reverse("mfa_view_recovery_codes")).context["unused_codes"]
    return seed, codes


def after_the_password(user) -> Client:
    client = Client()
    client.post(reverse("account_login"), {"login": user.email, "password": PASSWORD})
    return client


def is_in(client: Client) -> bool:
    return client.get("/o/acme/").status_code == 200


def test_no_seed_stands_in_the_database_in_clear(seeds):
    seed, codes = seeds
    out = StringIO()
    call_command("dumpdata", stdout=out)
    rows = [str(row) for row in Authenticator.objects.values_list("data", flat=True)]
    with connection.cursor() as cursor:
        cursor.execute("SELECT data FROM mfa_authenticator")
        rows += [str(row) for row in cursor.fetchall()]
    code_seed = unseal(Authenticator.objects.get(type="recovery_codes").data["seed"])

    for value in (seed, code_seed, *codes):
        assert value not in out.getvalue()
        assert not any(value in row for row in rows)


def test_nor_in_the_session_while_the_app_is_set_up(alice):
    client = logged_in(alice)
    seed = client.get(reverse("mfa_activate_totp")).context["form"].secret
    page = client.post(reverse("mfa_activate_totp"), {"code": "000000"})

    assert page.context["form"].secret == seed
    assert seed not in str([session.get_decoded() for session in Session.objects.all()])
    client.post(reverse("mfa_activate_totp"), {"code": code_of(seed)})
    assert "mfa.totp.secret" not in client.session
    assert unseal(Authenticator.objects.get(user=alice, type="totp").data["secret"]) == seed


def test_the_code_of_the_app_logs_in(seeds, alice):
    client = after_the_password(alice)

    client.post(reverse("mfa_authenticate"), {"code": code_of(seeds[0], later=1)})

    assert is_in(client)


@pytest.mark.parametrize("keys", [(NEW, OLD), (NEW,)])
def test_after_a_rotation_app_and_codes_log_in_as_before(seeds, alice, keys):
    with master_keys(NEW, OLD):
        call_command("rotate_master_key", stdout=StringIO())
    with master_keys(*keys):
        for code in (code_of(seeds[0], later=1), seeds[1][0]):
            client = after_the_password(alice)
            client.post(reverse("mfa_authenticate"), {"code": code})
            assert is_in(client)


def test_without_the_master_key_nobody_is_let_in_and_the_page_says_what_to_do(seeds, alice):
    with master_keys(NEW):
        for code in (code_of(seeds[0]), seeds[1][0], "000000"):
            client = after_the_password(alice)
            assert client.get(reverse("mfa_authenticate")).status_code == 200

            response = client.post(reverse("mfa_authenticate"), {"code": code})

            assert response.status_code == 403
            assert "ask those who run this installation" in response.content.decode()
            assert_strict(response)
            assert not is_in(client)


def test_a_seed_in_clear_lets_nobody_in(seeds, alice):
    Authenticator.objects.filter(user=alice, type="totp").update(data={"secret": seeds[0]})
    client = after_the_password(alice)

    response = client.post(reverse("mfa_authenticate"), {"code": code_of(seeds[0])})

    assert response.status_code == 403
    assert not is_in(client)


@pytest.mark.parametrize(
    "name",
    ["mfa_index", "mfa_view_recovery_codes", "mfa_download_recovery_codes", "mfa_generate_recovery_codes"],
)
def test_pages_that_would_open_a_lost_seed_offer_to_replace_it(seeds, alice, name):
    client = logged_in(alice)
    with master_keys(NEW):
        response = client.get(reverse(name))

    page = response.content.decode()
    assert response.status_code == 403
    assert reverse("mfa_deactivate_totp") in page
    assert "Make new recovery codes" in page


def test_who_is_logged_in_replaces_what_does_not_open(seeds, alice):
    client = logged_in(alice)
    with master_keys(NEW):
        client.post(reverse("mfa_generate_recovery_codes"))
        assert client.get(reverse("mfa_index")).status_code == 200
        client.post(reverse("mfa_deactivate_totp"))
        seed = client.get(reverse("mfa_activate_totp")).context["form"].secret
        client.post(reverse("mfa_activate_totp"), {"code": code_of(seed)})

        again = after_the_password(alice)
        again.post(reverse("mfa_authenticate"), {"code": code_of(seed, later=1)})
        assert is_in(again)


def test_staff_remove_a_factor_that_does_not_open(seeds, alice, as_staff):
    with master_keys(NEW):
        app = Authenticator.objects.get(user=alice, type="totp")

        assert as_staff.get("/admin/mfa/authenticator/").status_code == 200
        as_staff.post(f"/admin/mfa/authenticator/{app.pk}/delete/", {"post": "yes"})

        assert is_in(after_the_password(alice))
