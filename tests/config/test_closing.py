from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction

from config import onboarding
from config.onboarding import CloseRefused, close_organization, ensure_platform
from organizations.models import AuditEvent, Organization
from providers.custody import sealing
from providers.custody.sealing import SealBroken
from providers.models import OrganizationKey, ProviderKey
from routing.models import RoutingRule
from routing.services import remove_provider_key
from tests.builders import NOW, connect_managed_key, route_to_own_key
from tests.providers.test_rotation import opened, save


def copied_keys() -> list[ProviderKey]:
    """The rows as a backup would hold them."""
    return list(ProviderKey.objects.select_related("organization"))


def test_closing_takes_the_keys_the_rules_and_everybodys_access(acme, alice, as_alice, simulated_providers):
    route_to_own_key(acme)
    assert as_alice.get("/o/acme/settings").status_code == 200

    assert close_organization(organization=acme, actor=alice, now=NOW)

    assert not OrganizationKey.objects.filter(organization=acme).exists()
    assert not ProviderKey.objects.filter(organization=acme).exists()
    assert not RoutingRule.objects.filter(organization=acme).exists()
    assert Organization.objects.get(pk=acme.pk).closed_at == NOW
    assert as_alice.get("/o/acme/settings").status_code == 404
    event = AuditEvent.objects.get(action="organization.closed")
    assert (event.actor, event.target) == (alice, "Acme")
    assert AuditEvent.objects.filter(action="provider_key.removed").count() == 1


def test_a_restored_copy_without_the_organization_keys_opens_nothing(acme, globex):
    for label in ("Default", "second", "third"):
        save(acme, label)
    theirs = save(globex)
    copies = [key for key in copied_keys() if key.organization_id == acme.pk]

    close_organization(organization=acme, actor=None, now=NOW)
    ProviderKey.objects.bulk_create(copies)

    assert len(copies) == 3
    for key in ProviderKey.objects.filter(organization=acme):
        with pytest.raises(SealBroken):
            sealing.sealed_key(key)
    assert opened(theirs)


def test_a_copy_does_not_open_under_a_newer_organization_key_either(acme):
    save(acme)
    (copy,) = copied_keys()
    OrganizationKey.objects.all().delete()
    save(acme, "made after the shred")
    ProviderKey.objects.filter(pk=copy.pk).delete()
    ProviderKey.objects.bulk_create([copy])

    with pytest.raises(SealBroken):
        sealing.sealed_key(copy).open()


def test_the_organization_keys_are_gone_for_good_even_if_the_rest_is_interrupted(acme, monkeypatch):
    save(acme)

    def killed(**arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(onboarding, "remove_provider_key", killed)
    with pytest.raises(KeyboardInterrupt):
        close_organization(organization=acme, actor=None, now=NOW)
    assert not OrganizationKey.objects.exists()
    monkeypatch.setattr(onboarding, "remove_provider_key", remove_provider_key)

    again = close_organization(organization=acme, actor=None, now=NOW + timedelta(days=1))

    assert not again
    assert not ProviderKey.objects.exists()
    assert Organization.objects.get(pk=acme.pk).closed_at == NOW
    assert AuditEvent.objects.filter(action="organization.closed").count() == 1


def test_nothing_can_be_sealed_for_a_closed_organization(acme):
    close_organization(organization=acme, actor=None, now=NOW)

    with pytest.raises(SealBroken), transaction.atomic():
        save(acme)
    assert not OrganizationKey.objects.exists()
    assert not ProviderKey.objects.exists()


def test_the_platform_cannot_be_closed(db, simulated_providers):
    key = connect_managed_key()

    with pytest.raises(CloseRefused):
        close_organization(organization=ensure_platform(), actor=None, now=NOW)
    assert opened(key)


def test_the_command_closes_only_when_it_is_told_yes(acme, capsys):
    save(acme)
    with pytest.raises(CommandError, match="--yes"):
        call_command("close_organization", "acme")
    assert ProviderKey.objects.exists()

    call_command("close_organization", "acme", "--yes")
    call_command("close_organization", "acme", "--yes")

    assert not ProviderKey.objects.exists()
    assert capsys.readouterr().out == "Acme is closed.\nAcme was already closed.\n"


def test_the_command_names_what_it_cannot_close(db):
    ensure_platform()
    with pytest.raises(CommandError, match="no organization"):
        call_command("close_organization", "nobody", "--yes")
    with pytest.raises(CommandError, match="cannot be closed"):
        call_command("close_organization", "platform", "--yes")


def test_staff_close_an_organization_and_cannot_merely_date_it(as_staff, staff, acme):
    save(acme)
    url = f"/admin/organizations/organization/{acme.pk}/change/"
    page = as_staff.get(url).content.decode()

    assert "Close organization" in page
    assert 'name="closed_at' not in page
    as_staff.post(f"/admin/organizations/organization/{acme.pk}/close/", {"_form_submitted": "1"})

    assert not OrganizationKey.objects.exists()
    assert Organization.objects.get(pk=acme.pk).closed_at is not None
    assert AuditEvent.objects.get(action="organization.closed").actor == staff
    assert "Close organization" not in as_staff.get(url).content.decode()


def test_staff_cannot_close_the_platform(as_staff, db):
    platform = ensure_platform()

    as_staff.post(f"/admin/organizations/organization/{platform.pk}/close/")

    assert Organization.objects.get(pk=platform.pk).closed_at is None


@pytest.mark.skipif(connection.vendor != "sqlite", reason="a pragma of SQLite")
def test_deleted_rows_are_overwritten_on_sqlite(db):
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA secure_delete")
        assert cursor.fetchone()[0] == 1
