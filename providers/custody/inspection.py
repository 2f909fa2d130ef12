"""Whether what is stored sealed still opens; never what it opens to."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from cryptography.fernet import InvalidToken
from django.db import DatabaseError, transaction
from django.db.models import F
from django.views.decorators.debug import sensitive_variables

from organizations import clock, second_factors
from organizations.audit import events_last, record
from providers.custody import sealing
from providers.custody.sealing import SealBroken, SealedKey
from providers.models import OrganizationKey, ProviderKey

logger = logging.getLogger(__name__)
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
    """
    Open everything that is stored sealed, some after others, and keep none of it; `track` shows how far it is.

    What is found of provider keys is remembered on their rows, unless the master keys fit nothing here.
    """
    organization_keys = list(OrganizationKey.objects.order_by("pk").values_list("pk", flat=True))
    broken_organization_keys = [pk for pk in track(organization_keys) if not _unwraps(pk)]
    look = look_at if len(broken_organization_keys) < len(organization_keys) else unreadable
    keys = list(ProviderKey.objects.order_by("organization", "pk").values_list("pk", flat=True))
    broken = [pk for start in track(range(0, len(keys), AT_ONCE)) for pk in look(_read(keys[start : start + AT_ONCE]))]
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
        now = clock.now()
        for key in OrganizationKey.objects.defer("wrapped").select_related("organization").filter(pk__in=forgotten):
            keys = ProviderKey.objects.for_organization(key.organization).filter(key_version=key.version)
            keys.filter(unreadable_since=None).update(unreadable_since=now)
            record(
                organization=key.organization,
                actor=None,
                action="organization_key.forgotten",
                target=f"version {key.version}",
            )
            key.delete()
    return Forgotten(len(forgotten), second_factors.forget_unreadable_factors())


def look_at_stored_keys(*, at_most: int | None = None) -> int:
    """Try the stored keys, `at_most` those that were used last, and remember what comes of it; how many do not open."""
    used_last = ProviderKey.objects.order_by(F("last_used_at").desc(nulls_last=True), "organization", "pk")
    keys = list(used_last.values_list("pk", flat=True)[:at_most])
    return sum(len(look_at(_read(keys[start : start + AT_ONCE]))) for start in range(0, len(keys), AT_ONCE))


def look_at(keys: Sequence[ProviderKey]) -> list[UUID]:
    """Those of `keys` that do not open, which is remembered on their rows; so is that others open again."""
    broken = unreadable(keys)
    _remember(keys, broken)
    return broken


@sensitive_variables()
def tried_seal(key: ProviderKey) -> SealedKey:
    """What opens `key`, and did just now. Raises SealBroken. Either is remembered on its row."""
    try:
        sealed = sealing.sealed_key(key)
        sealed.open()
    except SealBroken:
        _remember([key], [key.pk])
        raise
    _remember([key], [])
    return sealed


def try_again(key: ProviderKey) -> None:
    """Find out whether a key that did not open does now; nothing of one that is not known to be unreadable."""
    if key.unreadable_since is not None:
        with suppress(SealBroken):
            tried_seal(key)


@sensitive_variables()
def unreadable(keys: Sequence[ProviderKey]) -> list[UUID]:
    """Those of `keys` that do not open; reads all organization keys in one query."""
    organization_keys = _organization_keys(keys)
    broken = [key for key in keys if not _opens_under(organization_keys.get(_place(key)), key)]
    if not broken:
        return []
    read = {key.pk: (key.key_version, bytes(key.ciphertext)) for key in broken}
    now = ProviderKey.objects.filter(pk__in=read.keys())
    # A rotation or a Replace may have sealed them anew since they were read; one that was removed is no failure.
    return [key.pk for key in now if (key.key_version, bytes(key.ciphertext)) == read[key.pk] or not opens(key)]


def _read(ids: Sequence[UUID]) -> list[ProviderKey]:
    return list(ProviderKey.objects.filter(pk__in=ids).order_by("organization", "pk"))


def _remember(keys: Sequence[ProviderKey], broken: Collection[UUID]) -> None:
    """
    Write down what changed of `keys`, which were all tried, unless their secret was replaced meanwhile.

    Where nothing can be written, what was found holds for this process all the same.
    """
    changed = [key for key in keys if (key.pk in broken) != (key.unreadable_since is not None)]
    if not changed:
        return
    now = clock.now()
    groups: dict[tuple[int, datetime | None], list[UUID]] = defaultdict(list)
    for key in changed:
        key.unreadable_since = now if key.pk in broken else None
        groups[key.secret_version, key.unreadable_since].append(key.pk)
    try:
        with transaction.atomic():
            for (version, since), ids in groups.items():
                ProviderKey.objects.filter(pk__in=ids, secret_version=version).update(unreadable_since=since)
    except DatabaseError as error:
        logger.warning("Which provider keys do not open could not be written down: %s", error)


@sensitive_variables()
def opens(key: ProviderKey) -> bool:
    try:
        sealing.sealed_key(key).open()
    except SealBroken:
        return False
    return True


def _place(key: ProviderKey) -> tuple[int, int]:
    return key.organization_id, key.key_version


@sensitive_variables()
def _opens_under(organization_key: OrganizationKey | None, key: ProviderKey) -> bool:
    try:
        if organization_key is not None:
            sealing.sealed_under(key, organization_key).open()
    except SealBroken:
        return False
    return organization_key is not None


@sensitive_variables()
def _organization_keys(keys: Iterable[ProviderKey]) -> dict[tuple[int, int], OrganizationKey]:
    """Those under which `keys` are sealed, as far as they unwrap, each by itself."""
    places = {_place(key) for key in keys}
    field: Any = OrganizationKey._meta.get_field("wrapped")
    wanted: Any = OrganizationKey.objects.with_token().filter(
        organization_id__in={place[0] for place in places}, version__in={place[1] for place in places}
    )
    found = {}
    for key in wanted:
        with suppress(InvalidToken):
            key.wrapped = field.fernet.decrypt(bytes(key.token)).decode()
            found[key.organization_id, key.version] = key
    return found


@sensitive_variables()
def _unwraps(pk: int) -> bool:
    try:
        key = OrganizationKey.objects.filter(pk=pk).first()
        if key is not None:
            sealing.unwrap(key)
    except (InvalidToken, SealBroken):
        return False
    return True
