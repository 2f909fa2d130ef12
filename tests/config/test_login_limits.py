"""Guessing passwords is slowed down, in all processes together and whatever address the guesser claims."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from allauth.account.models import EmailAddress
from django.conf import settings
from django.db import connection
from django.test import Client
from django.urls import reverse

PASSWORD = "correct horse battery"
ROOT = Path(__file__).parents[2]
TOO_MANY = "Too many failed login attempts"


@pytest.fixture
def confirmed(alice) -> None:
    EmailAddress.objects.create(user=alice, email=alice.email, primary=True, verified=True)


def log_in(email: str, password: str, **extra: Any) -> str:
    response = Client().post(reverse("account_login"), {"login": email, "password": password}, **extra)
    return "logged in" if response.status_code == 302 else response.content.decode()


def test_after_five_wrong_passwords_the_right_one_waits(alice, confirmed):
    for _ in range(5):
        assert TOO_MANY not in log_in(alice.email, "wrong")

    assert TOO_MANY in log_in(alice.email, PASSWORD)


def test_the_right_password_ends_the_count(alice, confirmed):
    for _ in range(4):
        log_in(alice.email, "wrong")

    assert log_in(alice.email, PASSWORD) == "logged in"


def test_an_invented_x_forwarded_for_does_not_help_a_guesser(db):
    for number in range(10):
        page = log_in(f"person{number}@acme.example", "wrong", HTTP_X_FORWARDED_FOR=f"203.0.113.{number}")
        assert TOO_MANY not in page

    assert TOO_MANY in log_in("one-more@acme.example", "wrong", HTTP_X_FORWARDED_FOR="203.0.113.99")


def test_behind_one_trusted_proxy_only_what_it_appended_counts(db, settings):
    settings.ALLAUTH_TRUSTED_PROXY_COUNT = 1
    for number in range(10):
        log_in(f"person{number}@acme.example", "wrong", HTTP_X_FORWARDED_FOR=f"203.0.113.{number}, 198.51.100.7")

    invented = log_in("one-more@acme.example", "wrong", HTTP_X_FORWARDED_FOR="203.0.113.99, 198.51.100.7")
    neighbour = log_in("one-more@acme.example", "wrong", HTTP_X_FORWARDED_FOR="198.51.100.8")

    assert TOO_MANY in invented
    assert TOO_MANY not in neighbour


def test_no_proxy_is_trusted_unless_the_operator_says_so():
    assert settings.ALLAUTH_TRUSTED_PROXY_COUNT == 0


def test_a_page_tells_who_asks_too_often(db):

    for _ in range(31):
        response = Client().post(reverse("account_login"), {"login": "x@acme.example", "password": "wrong"})

    assert response.status_code == 429
    assert "Wait a few minutes" in response.content.decode()
    assert "unsafe" not in response["Content-Security-Policy"]


@pytest.mark.skipif(connection.vendor != "sqlite", reason="the processes share a file of their own")
def test_processes_count_together(tmp_path, migrated_file):
    """Each process fails three times; the second one is stopped by the failures of the first."""
    own = {"DATABASE_URL": f"sqlite:///{tmp_path}/shared.sqlite3", "DJANGO_SETTINGS_MODULE": "config.settings"}
    environment = {**os.environ, **own, "DEBUG": "1"}  # static files without their manifest

    def run(code: str) -> str:
        setup = "import django; django.setup()\n"
        command = [sys.executable, "-c", setup + code]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout

    shutil.copy(migrated_file, tmp_path / "shared.sqlite3")
    guess = (
        "from django.test import Client\n"
        "for _ in range(3):\n"
        "    answer = {'login': 'alice@acme.example', 'password': 'wrong'}\n"
        "    page = Client(SERVER_NAME='localhost').post('/accounts/login/', answer).content.decode()\n"
        f"    print({TOO_MANY!r} in page)\n"
    )

    assert run(guess).split() == ["False"] * 3
    assert run(guess).split() == ["False", "False", "True"]


# Known browsers --------------------------------------------------------------------------------------------


def known_browser(email: str) -> Client:
    """One in which the person has logged in, and out again."""
    client = Client()
    assert client.post(reverse("account_login"), {"login": email, "password": PASSWORD}).status_code == 302
    client.post(reverse("account_logout"))
    return client


def tries(client: Client, email: str, password: str) -> str:
    response = client.post(reverse("account_login"), {"login": email, "password": password})
    return "logged in" if response.status_code == 302 else response.content.decode()


@pytest.mark.parametrize("wrong", [5, 40])
def test_wrong_passwords_from_elsewhere_lock_nobody_out_of_a_browser_they_used_before(alice, confirmed, wrong):
    """Nor do they when they come from the same address, as behind one proxy."""
    own = known_browser(alice.email)
    for _ in range(wrong):
        log_in(alice.email, "wrong")

    assert log_in(alice.email, PASSWORD) != "logged in"
    assert tries(own, alice.email, PASSWORD) == "logged in"


def test_whoever_guesses_at_many_accounts_locks_no_known_browser_of_the_same_address(alice, confirmed):
    own = known_browser(alice.email)
    for number in range(40):
        log_in(f"person{number}@acme.example", "wrong")

    assert tries(own, alice.email, PASSWORD) == "logged in"


def test_a_known_browser_has_few_guesses_too(alice, confirmed):
    own = known_browser(alice.email)
    for _ in range(10):
        tries(own, alice.email, "wrong")

    assert TOO_MANY in tries(own, alice.email, PASSWORD)
    assert log_in(alice.email, PASSWORD) == "logged in"  # and locks nobody elsewhere


def test_ones_own_browser_is_a_stranger_to_other_accounts(alice, bob, confirmed):
    EmailAddress.objects.create(user=bob, email=bob.email, primary=True, verified=True)
    own = known_browser(alice.email)
    for _ in range(5):
        tries(own, bob.email, "wrong")

    assert TOO_MANY in tries(own, bob.email, PASSWORD)


def test_many_logins_give_no_more_guesses_at_others(alice, confirmed):
    """All browsers of one person count as one address."""
    tried = [tries(known_browser(alice.email), f"person{number}@acme.example", "wrong") for number in range(12)]

    assert TOO_MANY not in tried[0]
    assert TOO_MANY in tried[-1]


@pytest.mark.parametrize("forged", ["nonsense", "WzFd:1:x", "", '[[1, "x"]]'])
def test_a_cookie_that_we_did_not_sign_makes_no_browser_known(alice, confirmed, forged):
    for _ in range(5):
        log_in(alice.email, "wrong")
    client = Client()
    client.cookies["keyfare_browser"] = forged

    assert TOO_MANY in tries(client, alice.email, PASSWORD)


def test_two_people_share_a_browser(alice, bob, confirmed):
    EmailAddress.objects.create(user=bob, email=bob.email, primary=True, verified=True)
    shared = known_browser(alice.email)
    assert tries(shared, bob.email, PASSWORD) == "logged in"
    shared.post(reverse("account_logout"))
    for email in (alice.email, bob.email):
        for _ in range(5):
            log_in(email, "wrong")

    assert tries(shared, alice.email, PASSWORD) == "logged in"


def test_the_cookie_is_out_of_reach_of_scripts_and_other_sites(alice, confirmed):
    cookie = known_browser(alice.email).cookies["keyfare_browser"]

    assert cookie["httponly"]
    assert cookie["samesite"] == "Lax"
    assert cookie["max-age"] == 365 * 24 * 60 * 60


def test_who_is_logged_in_confirms_the_password_whatever_others_guess(alice, as_alice, confirmed):
    for _ in range(5):
        log_in(alice.email, "wrong")

    assert as_alice.post(reverse("account_reauthenticate"), {"password": PASSWORD}).status_code == 302


def test_others_who_ask_for_resets_keep_nobody_from_a_reset_in_a_known_browser(alice, confirmed):
    own = known_browser(alice.email)
    for number in range(25):
        last = Client().post(reverse("account_reset_password"), {"email": f"person{number}@acme.example"})

    assert last.status_code == 429
    assert own.post(reverse("account_reset_password"), {"email": alice.email}).status_code == 302
