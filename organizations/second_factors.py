"""
Second factors at rest: the seeds of authenticator apps and of recovery codes.

allauth keeps them in `Authenticator.data` as our adapter (config/accounts.py) seals them: Fernet tokens under keys
derived from the master keys, the first of which seals while all open. The derivation is another one than that of
wrapped organization keys, so a token of one kind never opens as the other. Passkeys are public keys and stay as they
are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from allauth.mfa.models import Authenticator
from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings
from django.db import transaction
from django.views.decorators.debug import sensitive_variables

from organizations import audit, people, sealing
from organizations.models import User

PURPOSE = b"keyfare/second-factor/1"
SEALED_TYPES = (Authenticator.Type.TOTP, Authenticator.Type.RECOVERY_CODES)
SEALED_VALUES = ("secret", "seed")  # of Authenticator.data; beside them "migrated_codes", a list
BATCH = 200


class FactorUnreadable(Exception):
    """A seed cannot be opened: altered, in clear, or sealed under a master key that is gone."""

    def __init__(self) -> None:
        super().__init__("The stored second factor cannot be opened any more.")


@dataclass(frozen=True, slots=True)
class FactorsReport:
    """How many second factors hold something sealed, and the ids of those that do not open."""

    total: int
    broken: Sequence[int]


@dataclass(frozen=True, slots=True)
class FactorRotation:
    """How many second factors were sealed anew; which remain under an older master key, or under none we have."""

    total: int
    resealed: int
    under_old_key: Sequence[int]
    unreadable: Sequence[int]

    @property
    def is_complete(self) -> bool:
        return not self.under_old_key and not self.unreadable


def seal(seed: str) -> str:
    return _every_master_key().encrypt(seed.encode()).decode()


@sensitive_variables()
def unseal(token: str) -> str:
    """Raises FactorUnreadable, also for a seed in clear."""
    try:
        return _every_master_key().decrypt(token).decode()
    except (InvalidToken, TypeError, ValueError):
        raise FactorUnreadable from None


def change_sealed_values(data: dict[str, Any], change: Callable[[str], str]) -> dict[str, Any]:
    """`Authenticator.data` with `change` applied to what is sealed in it. Raises FactorUnreadable if nothing is."""
    changed: dict[str, Any] = {name: change(data[name]) for name in SEALED_VALUES if name in data}
    if "migrated_codes" in data:
        changed["migrated_codes"] = [change(code) for code in data["migrated_codes"]]
    if not changed:
        raise FactorUnreadable
    return {**data, **changed}


def check_second_factors() -> FactorsReport:
    """Open every seed, one after the other, and keep none of it."""
    every, broken, total = _every_master_key(), [], 0
    for factors in _batches(BATCH):
        total += len(factors)
        broken += [factor.pk for factor in factors if not _opens(every, factor)]
    return FactorsReport(total, broken)


def rotate_second_factors(*, batch: int = BATCH) -> FactorRotation:
    """
    Seal every seed anew under the first master key; those that are already stay as they are.

    Each batch is a transaction that locks its rows and reads them there: a recovery code that is used at that moment
    is used before or after, and stays used.
    """
    first, every = sealing.fernets(PURPOSE)[0], _every_master_key()
    resealed = 0
    for factors in _batches(batch):
        with transaction.atomic():
            for factor in _locked(factors):
                if not _opens(first, factor) and _opens(every, factor):
                    factor.data = change_sealed_values(factor.data, lambda token: every.rotate(token).decode())
                    factor.save(update_fields=["data"])
                    resealed += 1
    under_old_key, unreadable, total = [], [], 0
    for factors in _batches(batch):
        for factor in factors:
            total += 1
            if not _opens(every, factor):
                unreadable.append(factor.pk)
            elif not _opens(first, factor):
                under_old_key.append(factor.pk)
    return FactorRotation(total, resealed, under_old_key, unreadable)


def remove_second_factor(*, factor: Authenticator, actor: User | None) -> None:
    """For a person who lost it: they are told by mail, and it stands in the logs of those concerned. Done once."""
    person = factor.user
    with transaction.atomic():
        if not Authenticator.objects.filter(pk=factor.pk).delete()[0]:
            return  # somebody was faster
        people.record_about(person, actor=actor, action="second_factor.removed", type=factor.type)
        people.tell(
            person.email,
            subject="A second step at log in was removed",
            template="organizations/email/second_factor_removed.txt",
            what=factor.get_type_display(),
            others=Authenticator.objects.filter(user=person).exists(),
            actor=actor,
            site=settings.SITE_URL,
        )


def forget_unreadable_factors() -> list[str]:
    """
    Delete the second factors that no master key opens: only if that master key is lost. Returns whose, by e-mail.

    Who has no passkey logs in with the password alone from then on.
    """
    every = _every_master_key()
    people = set()
    for factors in _batches(BATCH):
        with transaction.atomic(), audit.events_last():
            for factor in _locked(factors):
                if not _opens(every, factor):
                    people.add(factor.user.email)
                    remove_second_factor(factor=factor, actor=None)
    return sorted(people)


def _every_master_key() -> MultiFernet:
    return sealing.every_fernet(PURPOSE)


def _batches(size: int) -> Iterator[list[Authenticator]]:
    """All factors with something sealed in the order of their ids, each batch read when it is asked for."""
    last = 0
    while True:
        factors = Authenticator.objects.filter(type__in=SEALED_TYPES, pk__gt=last).order_by("pk")
        found = list(factors[:size])
        if not found:
            return
        yield found
        last = found[-1].pk


def _locked(factors: Sequence[Authenticator]) -> Iterator[Authenticator]:
    """The same rows as they are now, those that are gone left out; the user with each."""
    rows = Authenticator.objects.select_related("user").select_for_update(of=("self",))
    yield from rows.filter(pk__in=[factor.pk for factor in factors]).order_by("pk")


@sensitive_variables()
def _opens(keys: Fernet | MultiFernet, factor: Authenticator) -> bool:
    try:
        change_sealed_values(factor.data, lambda token: keys.decrypt(token).decode())
    except (FactorUnreadable, InvalidToken, TypeError, ValueError):
        return False
    return True
