"""
Replacing the secret of a key while calls are using it.

A key that serves keeps serving: the new secret waits in a row of its own (`ProviderKey.replaces`, at most one a key),
is validated there, and takes the old one's place in one transaction as soon as the provider accepts it. The row that
stays is the old one, with its id, label, rules and history, so that work which pinned the key goes on; the new
secret is sealed anew into it, because a seal binds the row. What the provider refuses never serves: its verdict
stays beside the serving key until somebody tries again, discards it or pastes another.

A key that does not serve has nothing to protect: its secret is replaced at once.

Whoever needs both rows locks the serving one first.
"""

from __future__ import annotations

from datetime import datetime

from django.db import transaction
from django.views.decorators.debug import sensitive_variables

from organizations.models import Organization, User
from providers.adapters.reasons import reason
from providers.adapters.secret import Secret
from providers.catalog import origin_of
from providers.custody import sealing
from providers.custody.shredding import sweep_after_commit
from providers.keys.destinations import normalized_base_url
from providers.keys.saving import close_validations, locked, record_change
from providers.models import USABLE_STATUSES, ProviderKey

Status = ProviderKey.Status


@sensitive_variables("secret")
def replace_provider_key(
    *, key: ProviderKey, secret: Secret, actor: User | None, now: datetime, base_url: str = ""
) -> ProviderKey:
    """
    Put another secret in the place of `key`'s. Returns the key to validate now.

    That is a pending replacement where `key` serves, else `key` itself. A replacement that was pending before gives
    way. Sealed for the provider's origin as it is now, so this also mends a key whose origin changed. `base_url` is
    where it goes from now on, for a server that the organization names (default: where it went).
    Raises SealBroken and BaseUrlRefused, with nothing changed.
    """
    with transaction.atomic():
        # Sealing locks it against a rotation of its keys, which comes before any key (docs/locking.md).
        Organization.objects.select_for_update(no_key=True).get(pk=key.organization_id)
        key = locked(key)
        base_url = normalized_base_url(
            organization=key.organization, provider=key.provider, base_url=base_url or key.base_url
        )
        origin = origin_of(key.provider, base_url)
        key.replacements.all().delete()
        sweep_after_commit()
        if key.status in USABLE_STATUSES:
            pending = ProviderKey(
                organization=key.organization,
                provider=key.provider,
                label=key.label,
                base_url=base_url,
                origin=origin,
                replaces=key,
                proof_model=key.proof_model,
                created_by=actor,
            )
            sealing.seal(pending, secret)
            pending.save(force_insert=True)
            record_change(pending, actor, "provider_key.replacement_saved")
            return pending
        key.base_url, key.origin = base_url, origin
        sealing.seal(key, secret)
        _start_over(key, now=now)
        if key.status != Status.DISABLED:
            key.set_status(Status.SAVED)
            key.validated_at = None
        key.save()
        record_change(key, actor, "provider_key.replaced")
    return key


def take_over(*, pending: ProviderKey, now: datetime) -> ProviderKey:
    """
    Put the validated secret of `pending` into the key it replaces, and drop the pending row.

    In the caller's transaction, which holds both rows; the caller sets the status. Raises SealBroken.
    """
    key = pending.replaces
    assert key is not None  # noqa: S101  # only pending replacements take over
    key.base_url, key.origin, key.proof_model = pending.base_url, pending.origin, pending.proof_model
    sealing.move_secret(pending, key)
    _start_over(key, now=now)
    pending.validations.update(key=key, secret_version=key.secret_version)
    pending.delete()
    record_change(key, pending.created_by, "provider_key.replaced")
    sweep_after_commit()
    return key


def discard_replacement(*, key: ProviderKey, actor: User | None, pending_id: str | None = None) -> bool:
    """Drop the pending replacement of `key`, that of `pending_id` if given. Returns whether it was there."""
    with transaction.atomic():
        key = locked(key)
        pending = key.replacements.select_related("organization").first()
        if pending is None or pending_id not in (None, str(pending.pk)):
            return False
        pending.delete()
        sweep_after_commit()
        record_change(pending, actor, "provider_key.replacement_discarded")
    return True


def _start_over(key: ProviderKey, *, now: datetime) -> None:
    """Forget what the provider said about the old secret. What is still asked about it will change nothing."""
    key.secret_version += 1
    key.replaced_at, key.rotation_reminded_at = now, None
    key.provider_limits, key.must_prove_by_call = {}, False
    key.set_last_check()
    key.available_models.all().delete()
    key.model_quirks.all().delete()
    close_validations(key, why=reason("closed.replaced"), now=now)
