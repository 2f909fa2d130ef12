"""The second step at log in: authenticator app and recovery codes. Passkeys are tested in the browser."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.mfa.totp.internal import auth
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.urls import reverse

from config import one_time_codes
from config.onboarding import ensure_platform
from organizations import second_factors
from organizations.models import AuditEvent
from tests.config.test_pages_are_strict import assert_strict
from tests.conftest import logged_in

PASSWORD = "correct horse battery"


def code_of(secret: str, *, later: int = 0) -> str:
    """What the app shows now, or `later` codes from now."""
    return auth.format_hotp_value(auth.hotp_value(secret, int(auth.time.time()) // 30 + later))


@pytest.fixture
def confirmed(alice) -> None:
    EmailAddress.objects.create(user=alice, email=alice.email, primary=True, verified=True)


@pytest.fixture
def as_guarded_alice(alice, confirmed) -> Client:
    """Alice, who has just turned on her authenticator app."""
    client = logged_in(alice)
    page = client.get(reverse("mfa_activate_totp"))
    response = client.post(reverse("mfa_activate_totp"), {"code": code_of(page.context["form"].secret)})
    assert response["Location"] == reverse("mfa_view_recovery_codes")
    return client


def test_setting_up_an_app_gives_recovery_codes_and_shows_it_is_on(as_guarded_alice):
    codes = as_guarded_alice.get(reverse("mfa_view_recovery_codes"))
    security = as_guarded_alice.get(reverse("mfa_index")).content.decode()

    assert codes.content.decode().count("<li><code>") == 10
    assert "10 left" in security
    assert "Turn off" in security


def test_the_qr_code_is_a_picture_that_the_policy_allows(as_alice, confirmed):
    page = as_alice.get(reverse("mfa_activate_totp"))

    assert 'src="data:image/svg+xml;base64,' in page.content.decode()
    assert "img-src 'self' data:" in page["Content-Security-Policy"]


def test_a_password_alone_no_longer_logs_in(as_guarded_alice, client, alice):
    response = client.post(reverse("account_login"), {"login": alice.email, "password": PASSWORD})

    assert response.url == reverse("mfa_authenticate")
    assert client.get("/o/acme/").status_code == 302
    page = client.get(reverse("mfa_authenticate")).content.decode()
    assert "Second step" in page
    assert "Use a passkey" in page
    assert client.post(reverse("mfa_authenticate"), {"code": "000000"}).status_code == 200
    assert client.get("/o/acme/").status_code == 302


def test_a_recovery_code_logs_in_once(as_guarded_alice, alice):
    code = Authenticator.objects.get(type="recovery_codes").wrap().get_unused_codes()[0]

    for first in (True, False):
        client = Client()
        client.post(reverse("account_login"), {"login": alice.email, "password": PASSWORD})
        client.post(reverse("mfa_authenticate"), {"code": code})
        assert (client.get("/o/acme/").status_code == 200) is first


def test_an_app_is_set_up_only_by_who_has_just_confirmed_that_it_is_them(client, alice, confirmed):
    client.force_login(alice, backend="allauth.account.auth_backends.AuthenticationBackend")

    response = client.get(reverse("mfa_activate_totp"))

    assert response.url.startswith(reverse("account_reauthenticate"))
    page = client.get(response.url).content.decode()
    assert "Confirm that it is you" in page
    response = client.post(response.url, {"password": PASSWORD})
    assert response.url == reverse("mfa_activate_totp")
    assert client.get(response.url).status_code == 200


def test_who_has_just_logged_in_is_not_asked_again(client, alice, confirmed):
    client.post(reverse("account_login"), {"login": alice.email, "password": PASSWORD})

    assert client.get(reverse("mfa_activate_totp")).status_code == 200


@pytest.mark.parametrize(
    "name",
    ["mfa_index", "mfa_deactivate_totp", "mfa_generate_recovery_codes", "mfa_list_webauthn", "mfa_reauthenticate"],
)
def test_pages_of_second_factors_hold_no_inline_script(as_guarded_alice, name):
    response = as_guarded_alice.get(reverse(name))

    assert response.status_code == 200
    assert_strict(response)


def test_a_passkey_is_not_called_master_key(as_alice, confirmed):
    page = as_alice.get(reverse("mfa_add_webauthn")).content.decode()

    assert 'value="Passkey"' in page
    assert "Master key" not in page


def test_a_passkey_is_renamed(as_alice, alice, confirmed):
    passkey = Authenticator.objects.create(user=alice, type="webauthn", data={"name": "Old phone", "credential": {}})
    page = reverse("mfa_edit_webauthn", args=[passkey.pk])

    assert "Rename passkey" in as_alice.get(page).content.decode()
    as_alice.post(page, {"name": "New phone"})

    passkey.refresh_from_db()
    assert passkey.data["name"] == "New phone"


def test_the_account_menu_links_the_page(as_bob):
    assert f'href="{reverse("mfa_index")}"' in as_bob.get("/o/acme/").content.decode()


def test_staff_remove_a_lost_second_factor_and_never_see_its_secret(as_guarded_alice, as_staff, alice):
    secret = Authenticator.objects.get(user=alice, type="totp").data["secret"]
    authenticator = Authenticator.objects.get(user=alice, type="totp")

    page = as_staff.get(f"/admin/mfa/authenticator/{authenticator.pk}/change/").content.decode()
    as_staff.post(f"/admin/mfa/authenticator/{authenticator.pk}/delete/", {"post": "yes"})

    assert secret not in page
    assert not Authenticator.objects.filter(pk=authenticator.pk).exists()


def test_what_staff_remove_stands_in_the_log_of_the_platform(as_guarded_alice, as_staff, staff, alice):
    platform = ensure_platform()
    app, codes = Authenticator.objects.filter(user=alice).order_by("type")[::-1]

    as_staff.post(f"/admin/mfa/authenticator/{app.pk}/delete/", {"post": "yes"})
    chosen = {"action": "delete_selected", "_selected_action": codes.pk, "post": "yes"}
    as_staff.post("/admin/mfa/authenticator/", chosen)

    events = AuditEvent.objects.for_organization(platform).filter(action="second_factor.removed").order_by("seq")
    assert [event.details["type"] for event in events] == ["totp", "recovery_codes"]
    assert {(event.target, event.actor) for event in events} == {(alice.email, staff)}
    assert not Authenticator.objects.filter(user=alice).exists()


UNREADABLE = {"deep": "[" * 10**5 + "]" * 10**5, "deep and cut": '{"a":' * 10**5, "a long number": "9" * 10**5}


@pytest.mark.parametrize("credential", UNREADABLE.values(), ids=UNREADABLE)
def test_a_passkey_that_no_parser_reads_is_refused_with_a_sentence(client, as_alice, credential):
    client.get(reverse("mfa_login_webauthn"))
    at_login = client.post(reverse("mfa_login_webauthn"), {"credential": credential}, follow=True)
    as_alice.get(reverse("mfa_add_webauthn"))
    added = as_alice.post(reverse("mfa_add_webauthn"), {"credential": credential, "name": "Laptop"})
    again = as_alice.post(reverse("mfa_reauthenticate_webauthn"), {"credential": credential}, follow=True)

    assert "Enter a valid JSON." in at_login.content.decode()
    assert added.context["form"].errors["credential"]
    assert at_login.status_code == added.status_code == again.status_code == 200
    assert not Authenticator.objects.exists()


def test_a_passkey_that_no_parser_reads_is_no_second_step(client, alice, as_guarded_alice):
    client.post(reverse("account_login"), {"login": alice.email, "password": PASSWORD})

    answer = client.post(reverse("mfa_authenticate"), {"credential": UNREADABLE["deep"]}, follow=True)

    assert answer.status_code == 200
    assert "_auth_user_id" not in client.session


# Codes of the app ---------------------------------------------------------------------------------------


@pytest.fixture
def clock(monkeypatch) -> SimpleNamespace:
    """allauth's; it moves when it is told to, and starts in the middle of 30 seconds."""
    clock = SimpleNamespace(now=1_800_000_015.0)
    monkeypatch.setattr(auth, "time", SimpleNamespace(time=lambda: clock.now))
    monkeypatch.setattr(one_time_codes, "time", auth.time)
    return clock


@pytest.fixture
def seed(clock, alice, confirmed) -> str:
    """Of Alice's app, whose newest code was never used."""
    seed = auth.generate_totp_secret()
    Authenticator.objects.create(user=alice, type="totp", data={"secret": second_factors.seal(seed)})
    return seed


def logs_in(user, code: str) -> bool:
    client = Client()
    client.post(reverse("account_login"), {"login": user.email, "password": PASSWORD})
    client.post(reverse("mfa_authenticate"), {"code": code})
    return "_auth_user_id" in client.session


def test_a_code_of_the_thirty_seconds_before_is_accepted_once(seed, alice):
    before = code_of(seed, later=-1)

    assert logs_in(alice, before)
    assert not logs_in(alice, before)
    assert logs_in(alice, code_of(seed))


@pytest.mark.parametrize("later", [-3, -2, 2, 3])
def test_codes_that_are_older_or_still_to_come_are_not(seed, alice, later):
    assert not logs_in(alice, code_of(seed, later=later))


def test_a_used_code_stays_used_as_long_as_it_would_be_good_whatever_the_cache_forgets(seed, alice, clock):
    ahead = code_of(seed, later=1)
    assert logs_in(alice, ahead)

    for _ in range(3):
        cache.clear()
        assert not logs_in(alice, ahead)
        clock.now += 30
    assert logs_in(alice, code_of(seed))


def test_no_older_code_is_accepted_after_a_newer_one(seed, alice):
    assert logs_in(alice, code_of(seed))
    assert not logs_in(alice, code_of(seed, later=-1))


def test_the_code_that_turned_the_app_on_does_not_log_in(clock, alice, confirmed):
    client = logged_in(alice)
    seed = client.get(reverse("mfa_activate_totp")).context["form"].secret
    client.post(reverse("mfa_activate_totp"), {"code": code_of(seed, later=1)})

    assert not logs_in(alice, code_of(seed, later=1))
    clock.now += 30
    assert not logs_in(alice, code_of(seed))
    clock.now += 30
    assert logs_in(alice, code_of(seed))


def test_a_code_that_logged_in_does_not_confirm_that_it_is_them(seed, alice):
    assert logs_in(alice, code_of(seed))
    client = logged_in(alice)

    page = client.post(reverse("mfa_reauthenticate"), {"code": code_of(seed)})

    assert "was used before. Wait for the next one" in page.content.decode()


def test_used_codes_count_as_failures_so_that_nobody_guesses_on_behind_one(seed, alice):
    code = code_of(seed)
    assert logs_in(alice, code)

    for _ in range(10):
        logs_in(alice, code)

    assert not logs_in(alice, code_of(seed, later=1))


@pytest.mark.skipif(connection.vendor == "sqlite", reason="SQLite lets one transaction write at a time")
@pytest.mark.django_db(transaction=True)
def test_of_two_doors_at_the_same_time_one_accepts_the_code(alice):
    seed = auth.generate_totp_secret()
    factor = Authenticator.objects.create(user=alice, type="totp", data={"secret": second_factors.seal(seed)})
    code = code_of(seed, later=1)  # good for a minute at least
    barrier = threading.Barrier(2, timeout=30)

    def accepts() -> bool:
        wrapped = Authenticator.objects.get(pk=factor.pk).wrap()
        barrier.wait()
        try:
            return bool(wrapped.validate_code(code))
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as both:
        accepted = [each.result() for each in [both.submit(accepts), both.submit(accepts)]]

    assert sorted(accepted) == [False, True]
