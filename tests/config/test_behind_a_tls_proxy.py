"""An installation on https: what it says of a proxy that is not set up, and of forms that come from another address."""

from __future__ import annotations

import logging
from html import unescape
from typing import Any

import pytest
from django.test import Client

from config import https
from tests.config.test_headers import assert_headers

SITE = "https://keyfare.example.com"
FROM_BROWSER = {"HTTP_SEC_FETCH_MODE": "navigate"}


@pytest.fixture
def on_https(settings):
    settings.SITE_URL, settings.HTTPS, settings.SECURE_SSL_REDIRECT = SITE, True, True
    settings.ALLOWED_HOSTS, settings.CSRF_TRUSTED_ORIGINS = ["keyfare.example.com"], [SITE]
    https._log_once.cache_clear()
    return settings


@pytest.fixture
def behind_proxy(on_https):
    on_https.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    return on_https


def browser(**headers: Any) -> Client:
    return Client(SERVER_NAME="keyfare.example.com", enforce_csrf_checks=True, **headers)


@pytest.mark.parametrize("sent", [{}, {"HTTP_X_FORWARDED_PROTO": "https"}, {"HTTP_X_FORWARDED_PROTO": "http"}])
@pytest.mark.parametrize("path", ["/", "/accounts/login/", "/api/v1/candidate-check", "/admin/"])
def test_without_the_setting_a_page_names_it_instead_of_a_redirect_to_itself(on_https, caplog, sent, path):
    response = browser(**sent).get(path)

    assert response.status_code == 400
    assert "BEHIND_TLS_PROXY=1" in said(response)
    assert f'href="{SITE}"' in said(response) or (path.startswith("/api/") and SITE in response.json()["error"])
    assert_headers(response)
    assert "BEHIND_TLS_PROXY" in caplog.text


def said(response: Any) -> str:
    return unescape(response.content.decode())


def test_where_the_proxy_does_not_send_the_header_the_page_says_how_it_does(behind_proxy):
    assert "proxy_set_header X-Forwarded-Proto $scheme;" in said(browser().get("/"))


def test_where_an_inner_proxy_overwrites_what_the_outer_one_said_the_browser_is_not_sent_in_circles(behind_proxy):
    response = browser(HTTP_X_FORWARDED_PROTO="http", **FROM_BROWSER).get("/accounts/login/")

    assert response.status_code == 400
    assert "passed on" in said(response)


def test_who_really_came_by_http_is_redirected_and_who_came_by_https_is_served(behind_proxy, db):
    plain = browser(HTTP_X_FORWARDED_PROTO="http").get("/accounts/login/")
    page = browser(HTTP_X_FORWARDED_PROTO="https", **FROM_BROWSER).get("/accounts/login/")

    assert (plain.status_code, plain["Location"]) == (301, f"{SITE}/accounts/login/")
    assert page.status_code == 200


def test_uvicorn_with_a_certificate_of_its_own_needs_no_proxy(on_https, db):
    assert browser().get("/accounts/login/", secure=True).status_code == 200


def test_the_cause_is_logged_once_not_at_every_request(on_https, caplog):
    for _ in range(3):
        browser().get("/")

    assert [record.levelno for record in caplog.records if record.name == "config.https"] == [logging.ERROR]


def test_signs_of_life_and_style_are_given_without_https(on_https, db):
    assert browser().get("/healthz").status_code == 200
    assert browser().get("/static/keyfare/app.css").status_code in (200, 404)


@pytest.mark.parametrize(
    ("site", "header", "word"),
    [
        (SITE, None, "BEHIND_TLS_PROXY is not set"),
        ("http://keyfare.example.com", ("HTTP_X_FORWARDED_PROTO", "https"), "SITE_URL does not begin with https://"),
        (SITE, ("HTTP_X_FORWARDED_PROTO", "https"), None),
        ("http://localhost:8000", None, None),
    ],
)
def test_settings_that_do_not_fit_each_other_are_said_at_start(settings, site, header, word):
    settings.SITE_URL, settings.HTTPS, settings.SECURE_PROXY_SSL_HEADER = site, site.startswith("https"), header

    warning = https.start_warning()

    assert (warning is None) if word is None else (warning is not None and word in warning)


# Forms that come from elsewhere -------------------------------------------------------------------------


def post(origin: str | None, **headers: Any):
    client = browser(**headers)
    client.get("/accounts/login/")
    sent: dict[str, Any] = {} if origin is None else {"HTTP_ORIGIN": origin}
    token = client.cookies["csrftoken"].value
    return client.post("/accounts/login/", {"login": "a@b.example", "csrfmiddlewaretoken": token}, **sent)


@pytest.mark.parametrize(
    "origin", ["https://other.example.com", "http://keyfare.example.com:8080", "https://[::1]:8443"]
)
def test_a_form_from_another_address_is_refused_with_both_addresses_and_the_setting(settings, db, caplog, origin):
    settings.SITE_URL, settings.ALLOWED_HOSTS = SITE, ["keyfare.example.com"]
    settings.CSRF_TRUSTED_ORIGINS = [SITE, "https://keyfare.internal"]

    response = post(origin)

    assert response.status_code == 403
    assert f"the form was sent from {origin}, but this Keyfare is at {SITE}" in said(response)
    assert "SITE_URL" in said(response)
    assert f"A form came from {origin}, the trusted origins are {SITE}, https://keyfare.internal." in caplog.text
    assert "BEHIND_TLS_PROXY" in caplog.text
    assert_headers(response)


@pytest.mark.parametrize("origin", ["null", "https://a b", "javascript:alert(1)", "https://<b>x"])
def test_what_is_no_address_is_not_repeated(settings, db, caplog, origin):
    settings.ALLOWED_HOSTS = ["keyfare.example.com"]

    response = post(origin)

    assert response.status_code == 403
    assert "without saying from where" in said(response)
    assert "A form came from an unknown address" in caplog.text


def test_htmx_shows_the_sentence(settings, db):
    settings.ALLOWED_HOSTS = ["keyfare.example.com"]

    response = post("https://other.example.com", HTTP_HX_REQUEST="true")

    assert response["Content-Type"].startswith("text/plain")
    assert response.content.decode().startswith("Nothing was changed")


def test_on_https_the_address_may_come_in_the_referer(behind_proxy, db):
    response = post(None, HTTP_X_FORWARDED_PROTO="https", HTTP_REFERER="https://other.example.com/x?token=of-theirs")

    assert "sent from https://other.example.com, but" in said(response)
    assert "of-theirs" not in said(response)


def test_a_form_without_its_token_is_still_one_that_expired(settings, db):
    settings.ALLOWED_HOSTS = ["keyfare.example.com"]

    response = browser().post("/accounts/login/", {"login": "a@b.example"})

    assert "This form has expired" in said(response)


def test_the_address_of_the_site_is_trusted_whatever_name_the_proxy_passes_on(settings, db):
    settings.ALLOWED_HOSTS, settings.CSRF_TRUSTED_ORIGINS = (
        ["keyfare.example.com"],
        ["https://keyfare.example.com:8443"],
    )

    assert post("https://keyfare.example.com:8443").status_code == 200


def test_a_name_that_is_not_allowed_is_said_with_the_setting(db):
    response = Client(SERVER_NAME="elsewhere.example").get("/accounts/login/")

    assert response.status_code == 400
    assert "does not answer to this name" in said(response)
    assert "ALLOWED_HOSTS" in said(response)
    assert "elsewhere.example" not in said(response)
