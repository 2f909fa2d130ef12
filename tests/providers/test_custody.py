from __future__ import annotations

import base64
import json
import pickle
import resource
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from django.apps import apps
from django.core.management import call_command

from providers.adapters.secret import Secret
from providers.custody import sealing
from providers.custody.sealing import SealBroken, WrappedKey
from providers.keys.replacement import replace_provider_key
from providers.keys.saving import KeyLabelTaken, save_provider_key
from providers.models import OrganizationKey, ProviderKey

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
CANARY = "sk-or-v1-simulated-canary-0123456789"


def saved(organization, secret=CANARY, **fields) -> ProviderKey:
    return save_provider_key(
        organization=organization, provider="openrouter", secret=Secret(secret), actor=None, now=NOW, **fields
    )


def test_a_saved_key_opens_to_what_was_pasted(acme):
    key = ProviderKey.objects.get(pk=saved(acme).pk)

    assert sealing.sealed_key(key).open().reveal() == CANARY
    assert key.last4 == "6789"
    assert CANARY.encode() not in bytes(key.ciphertext)


def test_a_short_key_shows_no_last_four(acme):
    assert saved(acme, "simulated-1").last4 == ""


def test_a_row_moved_to_another_organization_does_not_open(acme, globex):
    saved(globex, label="their own")
    key = saved(acme)
    ProviderKey.objects.filter(pk=key.pk).update(organization=globex)

    with pytest.raises(SealBroken):
        sealing.sealed_key(ProviderKey.objects.get(pk=key.pk)).open()


def test_a_row_moved_together_with_its_organization_key_does_not_open(acme, globex):
    key = saved(acme)
    OrganizationKey.objects.update(organization=globex)
    ProviderKey.objects.filter(pk=key.pk).update(organization=globex)

    with pytest.raises(SealBroken):
        sealing.sealed_key(ProviderKey.objects.get(pk=key.pk))


def test_a_ciphertext_swapped_between_two_keys_does_not_open(acme):
    first, second = saved(acme), saved(acme, label="second")
    ProviderKey.objects.filter(pk=first.pk).update(ciphertext=second.ciphertext)

    with pytest.raises(SealBroken):
        sealing.sealed_key(ProviderKey.objects.get(pk=first.pk)).open()


@pytest.mark.parametrize("field", ["origin", "provider"])
def test_a_changed_destination_does_not_open(acme, field):
    key = saved(acme)
    ProviderKey.objects.filter(pk=key.pk).update(**{field: "https://elsewhere.example"})

    with pytest.raises(SealBroken):
        sealing.sealed_key(ProviderKey.objects.get(pk=key.pk)).open()


def test_no_flipped_bit_and_no_truncation_opens(acme):
    key = saved(acme)
    whole = bytes(key.ciphertext)
    broken = [whole[:n] for n in range(len(whole))]
    broken += [bytes([*whole[:n], whole[n] ^ 1, *whole[n + 1 :]]) for n in range(len(whole))]

    for ciphertext in broken:
        key.ciphertext = ciphertext
        with pytest.raises(SealBroken):
            sealing.sealed_key(key).open()


def test_without_its_organization_key_a_key_is_unreadable_for_good(acme):
    key = saved(acme)
    OrganizationKey.objects.all().delete()

    with pytest.raises(SealBroken):
        sealing.sealed_key(key)


def wrapped(key: ProviderKey, organization_id: int | None = None) -> WrappedKey:
    """What opens `key` later, under the wrapped data key of its organization, or of another one."""
    keys: Any = OrganizationKey.objects
    token = keys.with_token().get(organization=organization_id or key.organization_id).token
    return sealing.wrapped_under(key, bytes(token))


def test_a_key_opens_under_its_wrapped_data_key(acme):
    key = ProviderKey.objects.get(pk=saved(acme).pk)

    assert wrapped(key).opened() == sealing.sealed_key(key)
    assert wrapped(key).opened().open().reveal() == CANARY


def test_a_data_key_wrapped_for_another_organization_or_version_opens_nothing(acme, globex):
    saved(globex)
    key = ProviderKey.objects.get(pk=saved(acme).pk)
    ours = wrapped(key)

    for wrong in (wrapped(key, globex.pk), replace(ours, key_version=2), replace(ours, wrapped_data_key=b"gAAAAA")):
        with pytest.raises(SealBroken):
            wrong.opened()
    key.key_version = 2
    with pytest.raises(SealBroken):
        sealing.wrapped_under(key, ours.wrapped_data_key)


@pytest.mark.parametrize("written", ["", "no data key", "{organization}:{version}", "{organization}:x:AAAA"])
def test_what_the_master_key_wraps_and_is_no_data_key_of_the_organization_opens_nothing(acme, written):
    key = saved(acme)
    OrganizationKey.objects.update(wrapped=written.format(organization=acme.pk, version=1))

    with pytest.raises(SealBroken):
        sealing.sealed_key(ProviderKey.objects.get(pk=key.pk))
    with pytest.raises(SealBroken):
        saved(acme, label="another")


def test_a_key_opens_under_its_own_data_key_only(acme, globex):
    key, theirs = saved(acme), saved(globex)
    ours = OrganizationKey.objects.get(organization=acme)
    newer = sealing.new_organization_key(acme, version=2)

    assert sealing.sealed_under(key, ours).open().reveal() == CANARY
    for wrong in (newer, OrganizationKey.objects.get(organization=globex)):
        with pytest.raises(SealBroken):
            sealing.sealed_under(key, wrong)
    with pytest.raises(SealBroken):
        sealing.sealed_under(theirs, ours)


def test_with_another_master_key_a_key_does_not_open(acme, settings):
    key = saved(acme)
    field: Any = OrganizationKey._meta.get_field("wrapped")
    before: dict[str, Any] = {
        name: field.__dict__.pop(name) for name in ("keys", "fernet_keys", "fernet") if name in field.__dict__
    }
    settings.FERNET_KEYS = ["another-master-key-0123456789-0123456789-ab"]
    try:
        with pytest.raises(SealBroken):
            sealing.sealed_key(key)
    finally:
        for name in ("keys", "fernet_keys", "fernet"):
            field.__dict__.pop(name, None)
        field.__dict__.update(before)


def test_a_secret_prints_as_stars_and_refuses_pickle_and_json():
    secret = Secret(CANARY)

    assert CANARY not in f"{secret} {secret!r} {secret:>80} {[secret]}"
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        json.dumps(secret)


def test_a_dump_of_the_database_holds_no_key_and_no_data_key(acme, tmp_path):
    saved(acme)
    organization_key = OrganizationKey.objects.get()
    target = tmp_path / "dump.json"

    call_command("dumpdata", "providers", output=str(target))

    assert CANARY not in target.read_text()
    assert organization_key.wrapped.split(":")[2] not in target.read_text()


def test_bulk_update_leaves_a_wrapped_key_whole(acme):
    saved(acme)
    row = OrganizationKey.objects.get()
    before = row.wrapped

    OrganizationKey.objects.bulk_update([row], ["wrapped"])

    assert OrganizationKey.objects.get().wrapped == before


def test_a_label_is_unique_for_a_provider(acme):
    saved(acme)

    with pytest.raises(KeyLabelTaken):
        saved(acme)
    assert ProviderKey.objects.count() == 1


def test_a_replaced_key_has_to_be_validated_anew_and_opens_to_the_new_one(acme):
    key = saved(acme)
    ProviderKey.objects.update(status=ProviderKey.Status.INVALID)

    replaced = replace_provider_key(key=key, secret=Secret("sk-or-v1-simulated-another-9999"), actor=None, now=NOW)

    assert replaced.pk == key.pk
    assert replaced.status == ProviderKey.Status.SAVED
    assert sealing.sealed_key(replaced).open().reveal() == "sk-or-v1-simulated-another-9999"


def test_a_fingerprint_is_the_same_for_the_same_secret_of_one_organization_only(acme, globex):
    first, second, other = (
        sealing.fingerprint(organization, Secret(value))
        for organization, value in ((acme, "sk-one-0001"), (acme, "sk-one-0001"), (acme, "sk-one-0002"))
    )

    assert first == second != other
    assert first != sealing.fingerprint(globex, Secret("sk-one-0001"))
    assert len(first) == 32


def test_servers_without_a_key_are_not_taken_for_one_another(acme):
    assert sealing.fingerprint(acme, Secret("")) == ""


def test_sealing_under_a_new_organization_key_writes_its_fingerprint(acme):
    key = saved(acme)
    before = key.fingerprint
    OrganizationKey.objects.create(
        organization=acme, version=2, wrapped=f"{acme.pk}:2:{base64.b64encode(bytes(32)).decode()}"
    )

    secret = sealing.sealed_key(key).open()
    sealing.seal(key, secret)

    assert key.fingerprint == sealing.fingerprint(acme, secret) != before


def test_a_crash_writes_no_memory_that_may_hold_a_key_to_a_file():
    resource.setrlimit(resource.RLIMIT_CORE, (most := resource.getrlimit(resource.RLIMIT_CORE)[1], most))

    apps.get_app_config("providers").ready()

    assert resource.getrlimit(resource.RLIMIT_CORE) == (0, most)
