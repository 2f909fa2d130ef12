"""Every page, found or refused, carries the security headers; an installation on https passes Django's own audit."""

from __future__ import annotations

import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.contrib.admindocs.views import simplify_regex
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from config.headers import PERMISSIONS_POLICY

ROOT = Path(__file__).resolve().parents[2]
PARAMETER = re.compile(r"<(?:\w+:)?(\w+)>")
SAMPLES = {"slug": "acme", "provider": "openai", "action": "candidate_check"}
SAMPLES_OF_TYPE = {"<int:": "1", "<uuid:": "00000000-0000-4000-8000-000000000000"}


def all_paths(resolver: URLResolver | None = None, prefix: str = "/") -> Iterator[str]:
    """One address for every URL pattern of the installation."""
    for pattern in (resolver or get_resolver()).url_patterns:
        route = str(pattern.pattern)
        if "^" in route or "(" in route or "$" in route:
            route = simplify_regex(route).removeprefix("/")
        if isinstance(pattern, URLPattern):
            yield prefix + re.sub(r"<[^>]+>", _sample, route)
        else:
            yield from all_paths(pattern, prefix + route)


def _sample(parameter: re.Match[str]) -> str:
    for start, sample in SAMPLES_OF_TYPE.items():
        if parameter[0].startswith(start):
            return sample
    name = PARAMETER.fullmatch(parameter[0])
    return SAMPLES.get(name[1] if name else "", "x")


PATHS = [re.sub(r"<[^>]+>", _sample, path) for path in dict.fromkeys(all_paths())]
OWN = [path for path in PATHS if not path.startswith("/admin/")]
ADMIN = [path for path in PATHS if path.startswith("/admin/")]


def assert_headers(response, *, is_admin: bool = False) -> None:
    headers = response.headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Referrer-Policy"] == "same-origin"
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Permissions-Policy"] == PERMISSIONS_POLICY
    assert headers["X-Frame-Options"] == "DENY"
    assert "no-store" in headers["Cache-Control"]
    policy = headers["Content-Security-Policy"]
    for directive in ("default-src 'self'", "object-src 'none'", "base-uri 'none'", "frame-ancestors 'none'"):
        assert directive in policy
    for source in ("*", "http:", "https:", "blob:"):
        assert source not in policy
    if is_admin:
        assert "script-src 'self' 'unsafe-eval';" in policy + ";"
        assert "'unsafe-inline'" not in policy.partition("script-src")[2].partition(";")[0]
    else:
        assert "unsafe" not in policy
        assert "data:" not in policy.replace("img-src 'self' data:", "")


def test_the_list_of_addresses_covers_every_app():
    for start in ("/o/acme/settings", "/o/acme/audit/", "/o/acme/candidates/", "/accounts/login/", "/admin/login/"):
        assert any(path.startswith(start) for path in PATHS), start
    assert len(OWN) > 40
    assert not [path for path in PATHS if "<" in path]


@pytest.mark.parametrize("path", OWN)
def test_every_own_address_answers_with_all_headers(as_alice, client, path):
    as_alice.raise_request_exception = client.raise_request_exception = False

    for browser in (as_alice, client):
        for method in (browser.get, browser.post, browser.delete):
            assert_headers(method(path))
    if path not in ("/", "/accounts/logout/"):
        assert_headers(as_alice.get(path, headers={"HX-Request": "true"}))


def test_every_admin_address_answers_with_all_headers_and_its_own_policy(as_staff):
    as_staff.raise_request_exception = False

    for path in ADMIN:
        if path != "/admin/logout/":
            assert_headers(as_staff.get(path), is_admin=True)


def test_the_weaker_policy_of_the_admin_is_for_staff_only(as_alice, client):
    for path in ADMIN:
        for browser in (as_alice, client):
            assert_headers(browser.get(path))


def test_error_pages_carry_all_headers(as_alice, monkeypatch):
    def crash(**_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("config.overview.cost_and_cells", crash)
    as_alice.raise_request_exception = False

    crashed, missing = as_alice.get("/o/acme/"), as_alice.get("/no/such/page/")
    expired = Client(enforce_csrf_checks=True).post("/accounts/login/", {"login": "x"})

    assert [crashed.status_code, missing.status_code, expired.status_code] == [500, 404, 403]
    for response in (crashed, missing, expired):
        assert_headers(response)


def test_static_files_may_be_kept_but_not_sniffed(client):
    response = client.get("/static/keyfare/app.css")

    if response.status_code == 200:  # whitenoise finds it without collectstatic in DEBUG only
        assert "no-store" not in response.get("Cache-Control", "")
    assert response["X-Content-Type-Options"] == "nosniff"


def test_no_address_is_open_to_posts_without_a_token(alice, staff):
    """
    Every unsafe request without a CSRF token is refused, at every address, for everybody.

    The API takes no session: it answers 401, whoever is logged in.
    """
    for person in (None, alice, staff):
        browser = Client(enforce_csrf_checks=True)
        if person:
            browser.force_login(person, backend="allauth.account.auth_backends.AuthenticationBackend")
        browser.raise_request_exception = False
        for path in PATHS:
            for method in (browser.post, browser.delete):
                response = method(path)
                refused = (401, 404, 405) if path.startswith("/api/") else (302, 403, 404, 405)
                assert response.status_code in refused, (path, response.status_code)
                if response.status_code == 302:
                    assert "/login/" in response["Location"], path  # asked to log in before anything is read


# Cookies and https ----------------------------------------------------------------------------------------


def test_cookies_are_out_of_reach_of_scripts_and_other_sites(client, alice):
    client.get("/accounts/login/")
    client.post("/accounts/login/", {"login": alice.email, "password": "correct horse battery"})

    for name in ("sessionid", "csrftoken"):
        cookie = client.cookies[name]
        assert cookie["httponly"], name
        assert cookie["samesite"] == "Lax", name


PRODUCTION = {
    "KEYFARE_ENV_FILE": "none",
    "SITE_URL": "https://keyfare.example.com",
    "ALLOWED_HOSTS": "keyfare.example.com",
    "BEHIND_TLS_PROXY": "1",
    "DATABASE_URL": "sqlite:///:memory:",
    "EMAIL_URL": "memorymail://",
}


def in_production(*command: str) -> subprocess.CompletedProcess[str]:
    """Runs in the environment of an installation on https, and in nothing else's."""
    drawn = {name: secrets.token_urlsafe(48) for name in ("SECRET_KEY", "KEYFARE_MASTER_KEYS", "KEYFARE_DIGEST_KEY")}
    environment = {"PATH": os.environ["PATH"], **PRODUCTION, **drawn}
    return subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_the_deployment_check_is_clean_on_https():
    check = in_production("manage.py", "check", "--deploy", "--fail-level", "WARNING")

    assert check.returncode == 0, check.stdout + check.stderr
    assert "no issues (0 silenced)" in check.stdout


HTTPS_ANSWERS = """
import django
django.setup()
from django.conf import settings
from django.test import Client
settings.STORAGES["staticfiles"]["BACKEND"] = "django.contrib.staticfiles.storage.StaticFilesStorage"
browser = Client(SERVER_NAME="keyfare.example.com")
plain = browser.get("/accounts/login/", headers={"X-Forwarded-Proto": "http"})
page = browser.get("/no/such/page/", headers={"X-Forwarded-Proto": "https"})
print(plain.status_code, plain["Location"])
print(page.status_code, page["Strict-Transport-Security"])
print(settings.SESSION_COOKIE_SECURE, settings.CSRF_COOKIE_SECURE, settings.DEBUG)
print(Client(SERVER_NAME="other.example").get("/", headers={"X-Forwarded-Proto": "https"}).status_code)
"""


def test_on_https_plain_requests_are_redirected_cookies_secure_and_other_hosts_refused():
    answers = in_production("-c", "import os; os.environ['DJANGO_SETTINGS_MODULE'] = 'config.settings'" + HTTPS_ANSWERS)

    assert answers.stdout.splitlines() == [
        "301 https://keyfare.example.com/accounts/login/",
        "404 max-age=31536000; includeSubDomains; preload",
        "True True False",
        "400",
    ], answers.stderr


# Too much at once -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/accounts/login/", "/o/acme/candidates/import/"])
def test_a_post_that_is_too_large_gets_a_page_with_a_sentence(db, settings, path):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
    browser = Client(enforce_csrf_checks=True)
    browser.get("/accounts/login/")  # for the cookie, without which nothing of the body is read

    response = browser.post(path, {"text": "x" * 2000})

    assert response.status_code == 413
    assert "That was too much at once" in response.content.decode()
    assert_headers(response)


def test_a_form_with_too_many_fields_gets_the_same_page(as_alice):
    fields = {f"field{number}": "" for number in range(1001)}

    response = as_alice.post("/o/acme/candidates/import/", fields)

    assert response.status_code == 413
    assert "That was too much at once" in response.content.decode()


def test_a_request_for_another_host_gets_a_page_that_does_not_repeat_it(client):
    response = client.get("/", headers={"Host": "evil.example"})

    assert response.status_code == 400
    assert "does not answer to this name" in response.content.decode()
    assert "evil.example" not in response.content.decode()
