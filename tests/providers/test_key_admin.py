"""Keys in the staff admin: the state of every key, and the page on which staff paste managed keys."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import Permission
from django.db import connection
from django.test.utils import CaptureQueriesContext

from config.onboarding import ensure_platform
from organizations.models import AuditEvent, User
from providers.adapters.secret import Secret
from providers.keys.replacement import replace_provider_key
from providers.models import AvailableModel, KeyValidation, OrganizationKey, ProviderKey
from routing.models import ManagedDefault, RoutingRule
from routing.services import save_routing
from tests.builders import NOW, connect_key, connect_managed_key
from tests.conftest import logged_in

KEY = "sk-or-v1-simulated-valid-c4n4ry7"
LIST = "/admin/providers/providerkey/"
ADD = "/admin/providers/providerkey/managed/add/"
Status = ProviderKey.Status


@pytest.fixture
def platform(db, simulated_providers):
    return ensure_platform()


@pytest.fixture
def managed_key(platform) -> ProviderKey:
    return connect_managed_key()


@pytest.fixture
def as_viewer(db):
    """Staff who may look at keys, and no more."""
    viewer = User.objects.create_user("viewer@keyfare.example", "correct horse battery", is_staff=True)
    viewer.user_permissions.add(Permission.objects.get(codename="view_providerkey"))
    return logged_in(viewer)


def replace_url(key: ProviderKey) -> str:
    return f"{LIST}{key.pk}/managed/"


def text(response) -> str:
    return response.content.decode()


def test_staff_add_a_managed_key_which_is_validated_at_once(
    as_staff, staff, platform, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        response = as_staff.post(ADD, {"slug": "openrouter", "key": KEY})
    page = as_staff.get(response.headers["Location"])

    key = ProviderKey.objects.get()
    assert (key.organization, key.provider, key.label) == (platform, "openrouter", "Default")
    assert key.status == Status.CONNECTED
    assert "Connected" in text(page)
    assert "4ry7" in text(page)
    assert AuditEvent.objects.get(action="provider_key.saved").actor == staff


def test_the_form_for_managed_keys_offers_every_provider(as_staff, platform):
    page = text(as_staff.get(ADD))

    assert re.search(r'<input[^>]*type="password"[^>]*name="key"', page)
    for name in ("OpenRouter", "OpenAI", "Anthropic", "Google"):
        assert f"Make a key at {name}" in page


@pytest.mark.parametrize(
    ("posted", "sentence"),
    [
        ({"slug": "openrouter", "key": "canary with spaces"}, "no spaces or line breaks"),
        ({"slug": "openrouter", "key": ""}, "Paste the key here."),
        ({"slug": "nobody", "key": "sk-or-v1-canary0123456789"}, "Select a valid choice"),
        ({"slug": "google", "key": "sk-or-v1-canary0123456789"}, "This looks like a key from OpenRouter."),
    ],
)
def test_a_bad_managed_key_is_refused_in_a_sentence_that_does_not_repeat_it(as_staff, platform, posted, sentence):
    response = as_staff.post(ADD, posted)

    assert response.status_code == 422
    assert sentence in text(response)
    assert "canary" not in text(response)
    assert not ProviderKey.objects.exists()


def test_a_taken_label_is_refused(as_staff, managed_key):
    response = as_staff.post(ADD, {"slug": "openrouter", "key": KEY, "label": "Default"})

    assert response.status_code == 422
    assert "There is already a key labelled “Default”." in text(response)


def test_staff_replace_a_managed_key(as_staff, managed_key, django_capture_on_commit_callbacks):
    page = as_staff.get(replace_url(managed_key))
    with django_capture_on_commit_callbacks(execute=True):
        as_staff.post(replace_url(managed_key), {"key": "sk-or-v1-simulated-invalid-0002"})

    assert "Replace managed key “Default”" in text(page)
    assert 'name="slug"' not in text(page)
    managed_key.refresh_from_db()
    assert (managed_key.secret_version, managed_key.last4, managed_key.status) == (1, "0001", Status.CONNECTED)
    refused = text(as_staff.get(f"{LIST}{managed_key.pk}/change/"))
    assert "…0002: Invalid." in refused
    assert "…0002" not in text(as_staff.get(LIST))

    with django_capture_on_commit_callbacks(execute=True):
        as_staff.post(replace_url(managed_key), {"key": "sk-or-v1-simulated-valid-0003"})

    managed_key.refresh_from_db()
    assert (managed_key.secret_version, managed_key.last4, managed_key.status) == (2, "0003", Status.CONNECTED)


def test_staff_cannot_replace_or_remove_a_customers_key(as_staff, acme, platform):
    key = connect_key(acme)

    assert as_staff.post(replace_url(key), {"key": KEY}).status_code == 404
    assert as_staff.post(f"{LIST}{key.pk}/delete/", {"post": "yes"}).status_code == 403
    assert "Replace key" not in text(as_staff.get(f"{LIST}{key.pk}/change/"))
    assert ProviderKey.objects.get().secret_version == 1


def test_staff_remove_a_managed_key_with_an_audit_event(as_staff, staff, managed_key):
    page = as_staff.get(f"{LIST}{managed_key.pk}/delete/")
    as_staff.post(f"{LIST}{managed_key.pk}/delete/", {"post": "yes"})

    assert page.status_code == 200
    assert not ProviderKey.objects.exists()
    assert AuditEvent.objects.get(action="provider_key.removed").actor == staff


def test_without_a_platform_organization_staff_read_what_to_do(as_staff):
    response = as_staff.get(ADD, follow=True)

    assert "manage.py init" in text(response)


def test_staff_who_may_only_look_cannot_paste_or_validate(as_viewer, managed_key):
    assert as_viewer.get(LIST).status_code == 200
    assert "Add managed key" not in text(as_viewer.get(LIST))
    assert as_viewer.get(ADD).status_code == 403
    assert as_viewer.post(ADD, {"slug": "google", "key": KEY}).status_code == 403
    assert as_viewer.post(replace_url(managed_key), {"key": KEY}).status_code == 403
    as_viewer.post(LIST, {"action": "validate", "_selected_action": [str(managed_key.pk)]})
    assert KeyValidation.objects.count() == 1


def test_others_are_sent_to_the_login(as_alice, client, managed_key):
    for someone in (as_alice, client):
        assert someone.get(ADD).status_code == 302
        assert someone.post(ADD, {"slug": "google", "key": KEY}).status_code == 302


def test_validating_selected_keys_asks_the_provider(as_staff, managed_key, acme, django_capture_on_commit_callbacks):
    theirs = connect_key(acme)
    ProviderKey.objects.update(status=Status.INVALID)
    with django_capture_on_commit_callbacks(execute=True):
        as_staff.post(LIST, {"action": "validate", "_selected_action": [str(managed_key.pk), str(theirs.pk)]})

    assert set(ProviderKey.objects.values_list("status", flat=True)) == {Status.CONNECTED}


def test_one_key_is_validated_from_its_own_page_by_a_post(as_staff, managed_key, django_capture_on_commit_callbacks):
    ProviderKey.objects.update(status=Status.INVALID)
    url = f"{LIST}{managed_key.pk}/validate"
    asked = as_staff.get(f"{url}/", follow=True)
    before = KeyValidation.objects.count()
    with django_capture_on_commit_callbacks(execute=True):
        done = as_staff.post(f"{url}/", {"_form_submitted": "True"}, follow=True)

    assert "Validate this key?" in text(asked)
    assert done.headers["HX-Redirect"] == f"{LIST}{managed_key.pk}/change/"
    assert KeyValidation.objects.count() == before + 1
    assert ProviderKey.objects.get().status == Status.CONNECTED


def test_the_list_tells_where_keys_travel_and_when_the_environment_says_so(as_staff, managed_key, settings):
    page = f"{LIST}{managed_key.pk}/change/"
    overridden, overridden_list = text(as_staff.get(page)), text(as_staff.get(LIST))
    settings.KEYFARE_PROVIDER_ORIGINS = {}
    original, original_list = text(as_staff.get(page)), text(as_staff.get(LIST))

    assert "set by KEYFARE_PROVIDER_ORIGINS" in overridden
    assert "https://openrouter.ai/api/v1" in original
    assert "set by KEYFARE_PROVIDER_ORIGINS" not in original
    assert "has to be entered again" in original
    assert "Set by environment" in overridden_list
    assert "Needs re-entry" in original_list


@pytest.mark.parametrize(
    "query",
    ["", "?q=acme", "?q=openrouter", "?q=default", "?managed=yes", "?managed=no", "?provider=openrouter"],
)
def test_keys_are_found_and_filtered(as_staff, acme, managed_key, query):
    connect_key(acme)

    assert as_staff.get(f"{LIST}{query}").status_code == 200


def test_no_row_of_providers_or_routing_can_be_added_or_changed_by_hand(as_staff, acme, managed_key):
    own = connect_key(acme)
    rule = save_routing(organization=acme, action="candidate_check", key=own, model="openai/gpt-4.1-mini", actor=None)
    rows = {
        "providers/providerkey": own,
        "providers/organizationkey": OrganizationKey.objects.earliest("pk"),
        "providers/keyvalidation": KeyValidation.objects.earliest("pk"),
        "providers/availablemodel": AvailableModel.objects.earliest("pk"),
        "routing/routingrule": rule,
    }
    for model, row in rows.items():
        page = as_staff.get(f"/admin/{model}/{row.pk}/change/")
        assert as_staff.get(f"/admin/{model}/").status_code == 200
        assert as_staff.get(f"/admin/{model}/?q=acme").status_code == 200
        assert page.status_code == 200
        assert 'name="_save"' not in text(page)
        assert as_staff.get(f"/admin/{model}/add/").status_code == 403
        assert as_staff.post(f"/admin/{model}/{row.pk}/change/", {"status": "connected"}).status_code == 403
    assert RoutingRule.objects.get().version == 1


def test_no_admin_page_holds_a_key_or_what_seals_it(as_staff, acme, platform):
    as_staff.post(ADD, {"slug": "openrouter", "key": KEY})
    key, wrapping = ProviderKey.objects.get(), OrganizationKey.objects.get()
    pages = [
        as_staff.get(LIST),
        as_staff.get(f"{LIST}{key.pk}/change/"),
        as_staff.get(f"{LIST}{key.pk}/history/"),
        as_staff.get("/admin/providers/organizationkey/"),
        as_staff.get(f"/admin/providers/organizationkey/{wrapping.pk}/change/"),
        as_staff.get("/admin/organizations/auditevent/"),
    ]

    for page in pages:
        assert page.status_code == 200
        assert "c4n4ry" not in text(page)
        assert bytes(key.ciphertext).hex() not in text(page)
        assert wrapping.wrapped.rsplit(":", 1)[1] not in text(page)


def test_staff_change_a_managed_default_to_a_listed_model(as_staff, managed_key):
    default = ManagedDefault.objects.get(action="candidate_check")
    url = f"/admin/routing/manageddefault/{default.pk}/change/"
    refused = as_staff.post(url, {"provider": "openrouter", "model": "openai/gpt-nonsense"})
    listed = managed_key.available_models.order_by("model").first().model
    as_staff.post(url, {"provider": "openrouter", "model": listed})

    assert "lists this model" in text(refused)
    assert ManagedDefault.objects.get(pk=default.pk).model == listed
    assert AuditEvent.objects.get(action="managed_default.changed").details["model"] == listed


def test_a_managed_default_without_a_working_key_says_so_in_the_list(as_staff, managed_key):
    served = text(as_staff.get("/admin/routing/manageddefault/"))
    ProviderKey.objects.update(status=Status.INVALID)
    unserved = text(as_staff.get("/admin/routing/manageddefault/"))

    assert "No working key" not in served
    assert "No working key" in unserved


def test_the_list_of_managed_defaults_asks_once_for_the_keys_of_all(as_staff, managed_key):
    assert ManagedDefault.objects.count() > 1

    with CaptureQueriesContext(connection) as asked:
        as_staff.get("/admin/routing/manageddefault/")

    of_keys = [query["sql"] for query in asked if 'FROM "providers_providerkey"' in query["sql"]]
    assert len(of_keys) == 1


def test_staff_read_in_our_words_what_is_wrong_with_the_model_of_a_managed_default(as_staff, managed_key):
    default = ManagedDefault.objects.get(action="candidate_check")

    url = f"/admin/routing/manageddefault/{default.pk}/change/"
    refused = text(as_staff.post(url, {"provider": "openrouter", "model": "openai/gpt\x00"}))

    assert "letters, digits and signs only" in refused
    assert "Null characters" not in refused


def test_staff_discard_the_new_key_that_waits_beside_a_managed_one(as_staff, staff, managed_key):
    url = f"{LIST}{managed_key.pk}/change/"
    before = text(as_staff.get(url))
    replace_provider_key(key=managed_key, secret=Secret(KEY), actor=staff, now=NOW)
    waiting = text(as_staff.get(url))
    discard = f"{LIST}{managed_key.pk}/discard-replacement/"
    assert "Discard the new key?" in text(as_staff.get(discard))
    assert ProviderKey.objects.filter(replaces=managed_key).exists()

    done = as_staff.post(discard, {"_form_submitted": "True"})

    assert "Discard new key" not in before
    assert "Discard new key" in waiting
    assert done.headers["HX-Redirect"] == url
    assert ProviderKey.objects.get() == managed_key
    assert AuditEvent.objects.get(action="provider_key.replacement_discarded").actor == staff
    assert "Discard new key" not in text(as_staff.get(url))


def test_only_staff_who_may_change_keys_discard_and_only_managed_ones(as_staff, as_viewer, acme, staff, managed_key):
    theirs = connect_key(acme)
    for key in (managed_key, theirs):
        replace_provider_key(key=key, secret=Secret(KEY), actor=staff, now=NOW)

    as_viewer.post(f"{LIST}{managed_key.pk}/discard-replacement/", {"_form_submitted": "True"})
    as_staff.post(f"{LIST}{theirs.pk}/discard-replacement/", {"_form_submitted": "True"})

    assert ProviderKey.objects.exclude(replaces=None).count() == 2
