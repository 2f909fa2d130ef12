"""Whether what is stored sealed still opens; never what it opens to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from cryptography.fernet import InvalidToken
from django.db import transaction
from django.views.decorators.debug import sensitive_variables

from organizations import second_factors
from organizations.audit import events_last, record
from providers.catalog import PROVIDERS, origin_of
from providers.custody import sealing
from providers.custody.sealing import SealBroken
from providers.models import OrganizationKey, ProviderKey

SENTINELS = 100
AT_ONCE = 500  # provider keys


@dataclass(frozen=True, slots=True)
class SecretsReport:
    """How many organization keys, provider keys and second factors there are, and the ids of those that do not open."""

    organization_keys: int
    provider_keys: int
    second_factors: int
    broken_organization_keys: Sequence[int]
    broken_provider_keys: Sequence[UUID]
    broken_second_factors: Sequence[int]

    @property
    def is_sound(self) -> bool:
        return not (self.broken_organization_keys or self.broken_provider_keys or self.broken_second_factors)


@dataclass(frozen=True, slots=True)
class Forgotten:
    """How many organization keys are gone, and the e-mails of the people whose second factors are."""

    organization_keys: int
    people: Sequence[str]


def check_secrets(*, track: Callable[[Sequence[Any]], Iterable[Any]] = iter) -> SecretsReport:
    """Open everything that is stored sealed, some after others, and keep none of it; `track` shows how far it is."""
    organization_keys = list(OrganizationKey.objects.order_by("pk").values_list("pk", flat=True))
    broken_organization_keys = [pk for pk in track(organization_keys) if not _unwraps(pk)]
    keys = list(ProviderKey.objects.order_by("organization", "pk").values_list("pk", flat=True))
    broken = []
    for start in track(range(0, len(keys), AT_ONCE)):
        batch = ProviderKey.objects.filter(pk__in=keys[start : start + AT_ONCE]).order_by("organization", "pk")
        broken += [pk for pk in unreadable(list(batch)) if not _opens(pk)]
    factors = second_factors.check_second_factors()
    return SecretsReport(
        len(organization_keys), len(keys), factors.total, broken_organization_keys, broken, factors.broken
    )


def master_keys_open_something() -> bool:
    """
    Whether the master keys fit this database: one of the newest organization keys opens, or a second factor does, or
    there is neither.
    """
    newest = list(OrganizationKey.objects.order_by("-pk").values_list("pk", flat=True)[:SENTINELS])
    if any(_unwraps(pk) for pk in newest):
        return True
    factors = second_factors.check_second_factors()
    return len(factors.broken) < factors.total if factors.total else not newest


def forget_unreadable() -> Forgotten:
    """
    Delete the organization keys and second factors that no master key opens: only if that master key is lost.

    The provider keys under them, unreadable already, stay as Needs re-entry; only with their organization key out of
    the way can another one be made for what is pasted again.
    """
    forgotten = [pk for pk in OrganizationKey.objects.values_list("pk", flat=True) if not _unwraps(pk)]
    with transaction.atomic(), events_last():
        for key in OrganizationKey.objects.defer("wrapped").select_related("organization").filter(pk__in=forgotten):
            record(
                organization=key.organization,
                actor=None,
                action="organization_key.forgotten",
                target=f"version {key.version}",
            )
            key.delete()
    return Forgotten(len(forgotten), second_factors.forget_unreadable_factors())


def show_unreadable(keys: Iterable[ProviderKey]) -> list[ProviderKey]:
    """
    The same keys; one that does not open, or not for where calls go now, shows as Needs re-entry.

    Every place that shows or goes by a status asks here. It is not written down, so that a key is as good as before
    once a missing master key is back. What comes from here is not to be saved.
    """
    keys = list(keys)
    broken = set(unreadable(keys))
    for key in keys:
        is_moved = key.provider in PROVIDERS and key.origin != origin_of(key.provider, key.base_url)
        if key.pk in broken or is_moved:
            key.status, key.status_detail = ProviderKey.Status.NEEDS_REENTRY, str(SealBroken())
            key.validated_at = None
    return keys


@sensitive_variables()
def unreadable(keys: Sequence[ProviderKey]) -> list[UUID]:
    """Those of `keys` that do not open; reads all organization keys in one query."""
    organization_keys = _organization_keys({(key.organization_id, key.key_version) for key in keys})
    found = []
    for key in keys:
        organization_key = organization_keys.get((key.organization_id, key.key_version))
        try:
            if organization_key is None:
                raise SealBroken
            sealing.sealed_under(key, organization_key).open()
        except SealBroken:
            if not opens(key):  # nor after a rotation that came between
                found.append(key.pk)
    return found


@sensitive_variables()
def opens(key: ProviderKey) -> bool:
    try:
        sealing.sealed_key(key).open()
    except SealBroken:
        return False
    return True


def _opens(pk: UUID) -> bool:
    """A key that was removed since its id was read is no failure."""
    key = ProviderKey.objects.filter(pk=pk).first()
    return key is None or opens(key)


def _organization_keys(places: set[tuple[int, int]]) -> dict[tuple[int, int], OrganizationKey]:
    """Those that unwrap, of the organizations and versions named."""
    wanted = OrganizationKey.objects.filter(organization_id__in={place[0] for place in places})
    try:
        found = list(wanted.filter(version__in={place[1] for place in places}))
    except InvalidToken:  # of one of them: so each by itself
        found = [key for place in places if (key := _organization_key(*place))]
    return {(key.organization_id, key.version): key for key in found}


def _organization_key(organization_id: int, version: int) -> OrganizationKey | None:
    try:
        return OrganizationKey.objects.filter(organization_id=organization_id, version=version).first()
    except InvalidToken:
        return None


@sensitive_variables()
def _unwraps(pk: int) -> bool:
    try:
        key = OrganizationKey.objects.filter(pk=pk).first()
        if key is not None:
            sealing.unwrap(key)
    except (InvalidToken, SealBroken):
        return False
    return True
