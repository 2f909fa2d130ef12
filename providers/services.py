"""Saving and deleting provider keys. Replacing and validating have files of their own."""

from __future__ import annotations

from datetime import datetime

from django.db import IntegrityError, transaction
from django.views.decorators.debug import sensitive_variables

from organizations.audit import record
from organizations.models import Organization, User
from providers import custody
from providers.catalog import PROVIDERS, origin_of
from providers.custody import SealBroken, Secret
from providers.models import ProviderKey


class KeyLabelTaken(Exception):
    """Another key of the same provider has this label."""

    def __init__(self, label: str) -> None:
        super().__init__(f"There is already a key labelled “{label}”. Replace that one, or choose another label.")


@sensitive_variables("secret")
def save_provider_key(
    *,
    organization: Organization,
    provider: str,
    secret: Secret,
    actor: User | None,
    now: datetime,
    label: str = "Default",
) -> ProviderKey:
    """Seal and store a new key, not yet validated. Raises KeyLabelTaken."""
    key = ProviderKey(
        organization=organization,
        provider=provider,
        label=label,
        origin=origin_of(provider),
        created_by=actor,
        created_at=now,
    )
    try:
        with transaction.atomic():
            custody.seal(key, secret)
            key.save(force_insert=True)
            record_change(key, actor, "provider_key.saved")
    except IntegrityError:
        raise KeyLabelTaken(label) from None
    return key


@sensitive_variables("secret")
def keys_with_secret(*, organization: Organization, secret: Secret) -> list[ProviderKey]:
    """The keys of `organization` that hold the very same secret already, whatever their provider; oldest first."""
    try:
        fingerprint = custody.fingerprint(organization, secret)
    except SealBroken:  # saving it will say so
        return []
    keys = ProviderKey.objects.for_organization(organization).filter(fingerprint=fingerprint)
    return list(keys.defer("ciphertext").order_by("created_at", "pk"))


def delete_provider_key(*, key: ProviderKey, actor: User | None) -> None:
    """Delete the row and with it the sealed key. Rules must be gone first: `routing.services.remove_provider_key`."""
    with transaction.atomic():
        record_change(key, actor, "provider_key.removed")
        key.delete()


def locked(key: ProviderKey) -> ProviderKey:
    return ProviderKey.objects.select_related("organization").select_for_update(of=("self",)).get(pk=key.pk)


def record_change(key: ProviderKey, actor: User | None, action: str) -> None:
    record(
        organization=key.organization,
        actor=actor,
        action=action,
        target=f"{PROVIDERS[key.provider].name} · {key.label}",
        last4=key.last4,
    )
