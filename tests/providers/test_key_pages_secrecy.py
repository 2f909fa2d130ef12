"""No response, log or error report ever holds a key."""

from __future__ import annotations

import secrets

import pytest
from django.contrib.messages.storage.cookie import CookieStorage
from django.views.debug import ExceptionReporter

from providers import views
from providers.models import ProviderKey
from tests.conftest import logged_in

KEY = "sk-or-v1-simulated-valid-c4n4ry7"
HTMX = {"HX-Request": "true"}
SAVE = "/o/acme/settings/keys/openrouter/save/"


def url(key: ProviderKey, verb: str) -> str:
    return f"/o/acme/settings/keys/{key.pk}/{verb}/"


def text(response) -> str:
    return response.content.decode()


@pytest.mark.parametrize("headers", [{}, HTMX], ids=["plain", "htmx"])
def test_no_response_ever_holds_the_key(
    as_alice, as_bob, as_staff, acme, simulated_providers, django_capture_on_commit_callbacks, headers
):
    responses = [as_alice.post(SAVE, {"key": KEY}, headers=headers, follow=True)]
    key = ProviderKey.objects.get()
    with django_capture_on_commit_callbacks(execute=True):
        responses.append(as_alice.post(url(key, "validate"), headers=headers, follow=True))
    for client in (as_alice, as_bob):
        responses += [
            client.get("/o/acme/settings"),
            client.get(url(key, "status"), headers=headers),
            client.get(url(key, "models"), headers=headers),
        ]
    responses += [
        as_alice.post(SAVE, {"key": KEY}, headers=headers),  # label taken
        as_alice.post("/o/acme/settings/keys/google/save/", {"key": KEY}, headers=headers),
        as_alice.post(url(key, "replace"), {"key": KEY}, headers=headers, follow=True),
        as_bob.post(SAVE, {"key": KEY}, headers=headers),
        as_alice.post("/o/acme/settings/keys/nobody/save/", {"key": KEY}, headers=headers),
        as_staff.get("/admin/providers/providerkey/"),
        as_staff.get(f"/admin/providers/providerkey/{key.pk}/change/"),
    ]

    for response in responses:
        assert "c4n4ry" not in text(response), response.request


def test_neither_the_error_page_nor_the_log_holds_the_key(as_alice, acme, monkeypatch, caplog):
    def broken(**kwargs):
        raise RuntimeError("The database is on fire.")

    monkeypatch.setattr("providers.keys.saving.save_provider_key", broken)
    as_alice.raise_request_exception = False
    response = as_alice.post(SAVE, {"key": KEY})

    assert response.status_code == 500
    assert "c4n4ry" not in text(response)
    assert "The database is on fire." in caplog.text
    assert "c4n4ry" not in caplog.text


def test_an_error_report_with_all_local_variables_does_not_hold_the_key(acme, alice, rf, monkeypatch):
    def broken(**kwargs):
        raise RuntimeError("The database is on fire.")

    monkeypatch.setattr("providers.keys.saving.save_provider_key", broken)
    secret = secrets.token_hex(20)  # a literal would stand in the report as source code
    request = rf.post(SAVE, {"key": f"sk-or-v1-{secret}"})
    request.user, request.session, request.htmx = alice, logged_in(alice).session, False
    request._messages = CookieStorage(request)
    with pytest.raises(RuntimeError) as raised:
        views.save(request, "acme", provider="openrouter")
    reporter = ExceptionReporter(request, raised.type, raised.value, raised.tb.tb_next)  # without this test
    reports = reporter.get_traceback_html() + reporter.get_traceback_text()

    assert "The database is on fire." in reports
    assert secret not in reports
