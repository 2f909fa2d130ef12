"""
Changing the keys that guard keys.

Master keys: the new one is put first in KEYFARE_MASTER_KEYS everywhere, then every organization key is wrapped anew
under it, and every seed of a second factor sealed anew; no provider key is opened. Tokens carry no key id, so what is
still under an older master key is found by trying the first one alone.

Organization keys: a new version is made and every provider key sealed anew under it, each by compare-and-swap, so
that a Replace of the same moment wins; the old version goes when nothing refers to it.

Both can be killed anywhere and started again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.db import models, transaction
from django.views.decorators.debug import sensitive_variables

from organizations import second_factors
from organizations.audit import record
from organizations.models import Organization, User
from organizations.once import Once, do_once
from organizations.outbox.sending import rotate_outgoing_mail
from organizations.second_factors import FactorRotation
from providers.custody import sealing
from providers.custody.inspection import look_at, opens
from providers.custody.sealing import SealBroken
from providers.custody.shredding import sweep_after_commit
from providers.models import OrganizationKey, ProviderKey
from usage.episodes.webhooks import rotate_webhook_secrets

BATCH = 200
PASSES = 10  # of an organization's rotation; each picks up what was saved under the old version meanwhile


@dataclass(frozen=True, slots=True)
class MasterRotation:
    """
    How many organization keys were wrapped anew; which remain under an older master key, or under none we have.

    `second_factors` says the same of the seeds that people log in with.
    """

    total: int
    rewrapped: int
    under_old_key: Sequence[int]  # ids of OrganizationKey
    unreadable: Sequence[int]
    second_factors: FactorRotation

    @property
    def is_complete(self) -> bool:
        return not self.under_old_key and not self.unreadable and self.second_factors.is_complete


@dataclass(frozen=True, slots=True)
class OrganizationRotation:
    """`deleted_versions` are unreadable for good; `broken` keys did not open and need to be entered again."""

    version: int
    resealed: int
    deleted_versions: Sequence[int]
    broken: Sequence[UUID]

    @property
    def is_complete(self) -> bool:
        return not self.broken


def rotate_master_key(*, batch: int = BATCH) -> MasterRotation:
    """
    Bring every organization key and second factor under the first master key; those that are already stay as they are.

    Each batch is a transaction of its own, and calls go on meanwhile: every process opens what either key wrapped.
    """
    fernets = [Fernet(key) for key in _wrapped_field().fernet_keys]
    first, every = fernets[0], MultiFernet(fernets)
    rewrapped = 0
    for rows in _batches(batch):
        with transaction.atomic():
            for pk, token in rows:
                if not _opens(first, token) and _opens(every, token):
                    rewrapped += _store_token(pk, token, every.rotate(token))
    under_old_key, unreadable, total = [], [], 0
    for rows in _batches(batch):
        for pk, token in rows:
            total += 1
            if not _opens(every, token):
                unreadable.append(pk)
            elif not _opens(first, token):
                under_old_key.append(pk)
    factors = second_factors.rotate_second_factors(batch=batch)
    rotate_outgoing_mail()
    rotate_webhook_secrets()
    if rewrapped or factors.resealed:
        sweep_after_commit()
    return MasterRotation(total, rewrapped, under_old_key, unreadable, factors)


def rotate_organization_key(
    *, organization: Organization, actor: User | None, once: Once | None = None
) -> OrganizationRotation:
    """
    Seal all keys of `organization` under a new data key and delete the old one; finishes an interrupted rotation.
    Under `once` a second time there is no other data key.

    Raises SealBroken if the organization's data key cannot be opened or the organization is closed.
    """
    current = _version_to_move_to(organization, actor, once)
    resealed = 0
    broken: list[UUID] = []
    deleted: list[int] = []
    for _ in range(PASSES):
        moved, broken = _reseal_older(organization, current)
        resealed += moved
        deleted += _delete_unused_versions(organization, current)
        older = ProviderKey.objects.for_organization(organization).filter(key_version__lt=current.version)
        if not older.exclude(pk__in=broken).exists():
            break
    if resealed or deleted:
        sweep_after_commit()
    return OrganizationRotation(current.version, resealed, deleted, broken)


def _version_to_move_to(organization: Organization, actor: User | None, once: Once | None) -> OrganizationKey:
    """The newest data key if an interrupted rotation left work to do under it, else a new one."""

    def renew() -> str:
        current = sealing.current_organization_key(organization)
        older = OrganizationKey.objects.for_organization(organization).with_token().filter(version__lt=current.version)
        if not any(_has_work(key) for key in older):
            current = sealing.new_organization_key(organization, version=current.version + 1)
            record(
                organization=organization,
                actor=actor,
                action="organization_key.rotated",
                target=f"version {current.version}",
            )
        return str(current.version)

    with transaction.atomic():
        do_once(organization=organization, once=once, act=renew)
        return sealing.current_organization_key(organization)


def _has_work(organization_key: OrganizationKey) -> bool:
    """Whether something is to be done about an older version: a key to move, or the unused version to delete."""
    keys = ProviderKey.objects.filter(
        organization_id=organization_key.organization_id, key_version=organization_key.version
    )
    return not keys or any(opens(key) for key in keys)


@sensitive_variables()
def _reseal_older(organization: Organization, current: OrganizationKey) -> tuple[int, list[UUID]]:
    """How many keys were moved to `current`, and which do not open."""
    moved, broken = 0, []
    older = ProviderKey.objects.for_organization(organization).filter(key_version__lt=current.version)
    for pk in older.order_by("pk").values_list("pk", flat=True):
        key = older.filter(pk=pk).first()
        if key is None:
            continue
        before = bytes(key.ciphertext)
        try:
            sealing.reseal(key, current)
        except SealBroken:
            # It may have been replaced or moved since it was read; the next pass finds out.
            if ProviderKey.objects.filter(pk=key.pk, ciphertext=before).exists():
                broken += look_at([key])
            continue
        values = {name: getattr(key, name) for name in sealing.SEALED_FIELDS}
        moved += ProviderKey.objects.filter(pk=key.pk, ciphertext=before).update(**values)
    return moved, broken


def _delete_unused_versions(organization: Organization, current: OrganizationKey) -> list[int]:
    with transaction.atomic():
        # Whoever seals holds this lock until the sealed key is committed, so the count below is final.
        Organization.objects.select_for_update(no_key=True).get(pk=organization.pk)
        in_use = ProviderKey.objects.for_organization(organization).values("key_version")
        unused = OrganizationKey.objects.for_organization(organization).filter(version__lt=current.version)
        versions = list(unused.exclude(version__in=in_use).values_list("version", flat=True))
        OrganizationKey.objects.for_organization(organization).filter(version__in=versions).delete()
    return versions


def _wrapped_field() -> Any:
    return OrganizationKey._meta.get_field("wrapped")


def _batches(size: int) -> Iterator[list[tuple[int, bytes]]]:
    """(id, token) of all organization keys in the order of their ids, each batch read when it is asked for."""
    last = 0
    while True:
        tokens: Any = OrganizationKey.objects.with_token()  # mypy sees no annotation of a queryset's own method
        rows = tokens.filter(pk__gt=last).order_by("pk").values_list("pk", "token")
        found = [(pk, bytes(token)) for pk, token in rows[:size]]
        if not found:
            return
        yield found
        last = found[-1][0]


def _opens(fernet: Fernet | MultiFernet, token: bytes) -> bool:
    try:
        fernet.decrypt(token)
    except InvalidToken:
        return False
    return True


def _store_token(pk: int, before: bytes, after: bytes) -> int:
    """Compare and swap; returns whether it took place, as 0 or 1."""
    tokens: Any = OrganizationKey.objects.with_token()
    stored = models.Value(after, output_field=models.BinaryField())  # an expression goes past the field's encryption
    return int(tokens.filter(pk=pk, token=before).update(wrapped=stored))
