"""The button that rotates an organization's key, and pages over keys that do not open."""

from __future__ import annotations

import pytest

from organizations.models import AuditEvent
from providers.custody.inspection import look_at_stored_keys
from providers.models import OrganizationKey, ProviderKey
from tests.providers.master_keys import NEW, OLD, master_keys
from tests.providers.test_rotation import opened, save, torn

ROTATE = "/o/acme/settings/keys/rotate/"
SETTINGS = "/o/acme/settings"


def text(response) -> str:
    return response.content.decode()


@pytest.mark.parametrize("client", ["as_alice", "as_ada"])
def test_owners_and_admins_rotate_the_organization_key_and_the_audit_log_names_them(request, acme, client):
    key = save(acme)

    response = request.getfixturevalue(client).post(ROTATE, follow=True)

    assert "Organization key rotated." in text(response)
    assert [each.version for each in OrganizationKey.objects.all()] == [2]
    assert opened(key).startswith("sk-or-v1")
    assert AuditEvent.objects.get(action="organization_key.rotated").actor is not None


def test_the_button_asks_first_and_works_without_its_dialog(as_alice, acme):
    assert f'href="{ROTATE}"' in text(as_alice.get(SETTINGS))
    assert f'action="{ROTATE}"' in text(as_alice.get(ROTATE))
    assert not OrganizationKey.objects.exists()


def test_members_see_no_button_and_may_not_rotate(as_bob, acme):
    assert ROTATE not in text(as_bob.get(SETTINGS))
    assert as_bob.post(ROTATE).status_code == 403
    assert not OrganizationKey.objects.exists()


def test_strangers_find_nothing_to_rotate(as_charlie, acme):
    assert as_charlie.post(ROTATE).status_code == 404


def test_a_rotation_answers_only_get_and_post(as_alice, acme):
    assert as_alice.put(ROTATE).status_code == 405


def test_a_rotation_tells_which_keys_have_to_be_entered_again(as_alice, acme):
    key = save(acme)
    ProviderKey.objects.update(ciphertext=torn(key))

    assert "some keys do not open" in text(as_alice.post(ROTATE, follow=True))


def test_under_a_foreign_master_key_rotating_says_what_is_wrong(as_alice, acme):
    save(acme)
    with master_keys(NEW):
        assert "master keys were changed" in text(as_alice.post(ROTATE, follow=True))


def test_with_a_removed_master_key_every_page_loads_and_says_needs_re_entry(as_alice, as_staff, acme):
    key = save(acme)
    ProviderKey.objects.update(status=ProviderKey.Status.CONNECTED)
    pages = [
        SETTINGS,
        "/o/acme/",
        f"/o/acme/settings/keys/{key.pk}/status/",
        f"/o/acme/settings/keys/{key.pk}/replace/",
        f"/o/acme/settings/keys/{key.pk}/models/",
    ]
    staff_pages = ["/admin/", "/admin/providers/providerkey/", "/admin/providers/organizationkey/"]

    with master_keys(NEW):
        look_at_stored_keys()
        answers = [as_alice.get(page) for page in pages]
        staff_answers = [as_staff.get(page) for page in staff_pages]
    with master_keys(NEW, OLD):
        look_at_stored_keys()
        mended = as_alice.get(SETTINGS)

    assert {answer.status_code for answer in [*answers, *staff_answers]} == {200}
    assert "Needs re-entry" in text(answers[0])
    assert "Needs re-entry" in text(answers[2])
    assert "Needs re-entry" not in text(mended)
    assert ProviderKey.objects.get().status == ProviderKey.Status.CONNECTED


@pytest.mark.parametrize("damage", [{"ciphertext": b""}, {"origin": "https://elsewhere.example"}, {"key_version": 9}])
def test_a_key_that_was_tampered_with_shows_needs_re_entry_and_the_others_stay(as_alice, acme, damage):
    bad = save(acme)
    save(acme, "good")
    ProviderKey.objects.filter(pk=bad.pk).update(**damage)
    look_at_stored_keys()

    assert text(as_alice.get(SETTINGS)).count("Needs re-entry") == 1
