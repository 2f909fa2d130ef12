"""Sealed keys under random damage: nothing that was touched opens, and it fails in one way."""

from __future__ import annotations

import base64
import random

import pytest
from django.db import models

from providers.adapters.secret import Secret
from providers.custody import sealing
from providers.custody.inspection import check_secrets
from providers.custody.sealing import SealBroken
from providers.keys.saving import save_provider_key
from providers.models import OrganizationKey, ProviderKey
from tests.builders import NOW
from tests.security.budget import IS_FULL

MUTATIONS = 10_000 if IS_FULL else 1_000
WRAPPED_MUTATIONS = 2_000 if IS_FULL else 200


def save(organization, label="Default") -> ProviderKey:
    return save_provider_key(
        organization=organization,
        provider="openrouter",
        secret=Secret("sk-or-v1-simulated-mutation-0123456789"),
        label=label,
        actor=None,
        now=NOW,
    )


def damaged(whole: bytes, chance: random.Random) -> bytes:
    """`whole` with one to four random changes of random kinds; never `whole` itself."""
    while True:
        changed = bytearray(whole)
        for _ in range(chance.randint(1, 4)):
            at = chance.randrange(len(changed)) if changed else 0
            match chance.randrange(6):
                case 0 if changed:
                    changed[at] ^= 1 << chance.randrange(8)
                case 1 if changed:
                    changed[at] = chance.randrange(256)
                case 2:
                    changed.insert(at, chance.randrange(256))
                case 3:
                    del changed[at : at + chance.randint(1, 20)]
                case 4:
                    changed += chance.randbytes(chance.randint(1, 40))
                case _:
                    end = min(len(changed), at + chance.randint(1, 24))
                    changed[at:end] = chance.randbytes(end - at)
        if changed != whole:
            return bytes(changed)


def test_no_random_mutation_of_a_sealed_key_opens(acme, globex):
    key, sibling, stranger = save(acme), save(acme, "second"), save(globex)
    chance = random.Random(20261121)
    wholes = [bytes(key.ciphertext), bytes(sibling.ciphertext), bytes(stranger.ciphertext)]

    for _ in range(MUTATIONS):
        key.ciphertext = damaged(chance.choice(wholes), chance)
        with pytest.raises(SealBroken):
            sealing.sealed_key(key).open()


def test_no_change_of_what_a_seal_is_bound_to_opens(acme, globex):
    key = save(acme)
    save(globex, "theirs")
    whole = ProviderKey.objects.filter(pk=key.pk).values().get()
    columns = {
        "origin": ["https://openrouter.ai.evil.example", "https://openrouter.ai:8443", "http://openrouter.ai", ""],
        "provider": ["openai", "anthropic", "google", ""],
        "organization_id": [globex.pk],
        "key_version": [0, 2, 10**6],
    }
    for column, values in columns.items():
        for value in values:
            ProviderKey.objects.filter(pk=key.pk).update(**{**whole, column: value})
            with pytest.raises(SealBroken):
                sealing.sealed_key(ProviderKey.objects.get(pk=key.pk)).open()


def test_no_random_mutation_of_a_wrapped_organization_key_opens_anything(acme):
    key = save(acme)
    rows: models.QuerySet = OrganizationKey.objects.with_token()
    token = bytes(rows.values_list("token", flat=True).get())
    chance = random.Random(20261122)

    for _ in range(WRAPPED_MUTATIONS):
        changed = damaged(token, chance)
        if _decoded(changed) == _decoded(token):  # base64 ignores some characters: the same token, written differently
            continue
        stored = models.Value(changed, output_field=models.BinaryField())
        OrganizationKey.objects.update(wrapped=stored)
        with pytest.raises(SealBroken):
            sealing.sealed_key(key).open()
    report = check_secrets()
    assert len(report.broken_organization_keys) == len(report.broken_provider_keys) == 1


def _decoded(token: bytes) -> bytes:
    try:
        return base64.urlsafe_b64decode(token)
    except ValueError:
        return token
