"""Saving and deleting provider keys. Replacing and validating have files of their own."""

from __future__ import annotations

from datetime import datetime

from django.db import IntegrityError, transaction
from django.views.decorators.debug import sensitive_variables

from organizations.audit import record
from organizations.edits import check_seen
from organizations.models import Organization, User
from providers.adapters.reasons import Reason, reason
from providers.adapters.secret import Secret
from providers.catalog import PROVIDERS, origin_of
from providers.custody import sealing
from providers.custody.sealing import SealBroken
from providers.custody.shredding import sweep_after_commit
from providers.keys.destinations import normalized_base_url
from providers.models import KeyValidation, ProviderKey

STATUS_FIELDS = ("status", "status_reason", "status_detail")  # of ProviderKey: what `set_status` sets
LAST_CHECK_FIELDS = ("last_check_failed_at", "last_check_reason", "last_check_failure")


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
    base_url: str = "",
    is_own_server: bool = False,
) -> ProviderKey:
    """
    Seal and store a new key, not yet validated. Raises KeyLabelTaken and BaseUrlRefused.

    A server that expects no key has an empty secret.
    """
    base_url = normalized_base_url(organization=organization, provider=provider, base_url=base_url)
    key = ProviderKey(
        organization=organization,
        provider=provider,
        label=label,
        base_url=base_url,
        is_own_server=is_own_server,
        origin=origin_of(provider, base_url),
        created_by=actor,
        created_at=now,
    )
    try:
        with transaction.atomic():
            sealing.seal(key, secret)
            key.save(force_insert=True)
            details = {"is_own_server": True} if is_own_server else {}
            record_change(key, actor, "provider_key.saved", **details)
    except IntegrityError:
        raise KeyLabelTaken(label) from None
    return key


@sensitive_variables("secret")
def keys_with_secret(*, organization: Organization, secret: Secret) -> list[ProviderKey]:
    """The keys of `organization` that hold the very same secret already, whatever their provider; oldest first."""
    try:
        fingerprint = sealing.fingerprint(organization, secret)
    except SealBroken:  # saving it will say so
        return []
    keys = ProviderKey.objects.for_organization(organization).filter(fingerprint=fingerprint)
    return list(keys.defer("ciphertext").order_by("created_at", "pk"))


def disable_provider_key(*, key: ProviderKey, actor: User | None, now: datetime) -> ProviderKey:
    """Stop every use of `key` until it is enabled; what is being asked about it changes nothing any more."""
    with transaction.atomic():
        key = locked(key)
        if key.status == ProviderKey.Status.DISABLED:
            return key
        key.set_status(ProviderKey.Status.DISABLED, reason("disabled"))
        key.set_last_check()
        key.save(update_fields=[*STATUS_FIELDS, *LAST_CHECK_FIELDS])
        close_validations(key, why=reason("closed.disabled"), now=now)
        record_change(key, actor, "provider_key.disabled")
    return key


def enable_provider_key(*, key: ProviderKey, actor: User | None) -> ProviderKey:
    """Make a disabled key an ordinary one again. It has to be validated anew: much may have happened meanwhile."""
    with transaction.atomic():
        key = locked(key)
        if key.status == ProviderKey.Status.DISABLED:
            key.set_status(ProviderKey.Status.SAVED)
            key.validated_at = None
            key.save(update_fields=[*STATUS_FIELDS, "validated_at"])
            record_change(key, actor, "provider_key.enabled")
    return key


def proof_parts(key: ProviderKey) -> dict[str, object]:
    """What the form that asks for a model is built from."""
    return {"model": key.proof_model}


def type_proof_model(*, key: ProviderKey, model: str, actor: User | None, seen: str | None = None) -> ProviderKey:
    """
    Prove `key` from now on with `model` where its server lists none; "" takes that back. Validating does it.

    Raises ChangedMeanwhile where the page had `seen` another model.
    """
    with transaction.atomic():
        key = locked(key)
        if key.proof_model != model:
            check_seen(
                seen,
                proof_parts(key),
                what=f"the model to “{key.proof_model}”" if key.proof_model else "the model to none",
                organization=key.organization,
                actions=["provider_key.model_typed"],
                target=target_of(key),
                reader=actor,
                what_to_do="What you typed is still here: send it again to overrule.",
            )
            key.available_models.filter(organization=key.organization, model=key.proof_model).delete()
            key.proof_model = model
            key.save(update_fields=["proof_model"])
            record_change(key, actor, "provider_key.model_typed", model=model)
    return key


def set_own_server(*, key: ProviderKey, is_own_server: bool, actor: User | None) -> ProviderKey:
    """Whether the organization runs the server behind `key` itself, so that its tokens cost nothing."""
    with transaction.atomic():
        key = locked(key)
        if key.is_own_server != is_own_server:
            key.is_own_server = is_own_server
            key.save(update_fields=["is_own_server"])
            record_change(key, actor, "provider_key.own_server_changed", is_own_server=is_own_server)
    return key


def close_validations(key: ProviderKey, *, why: Reason, now: datetime) -> None:
    """End what is still being asked about `key` without a result."""
    key.validations.filter(state=KeyValidation.State.QUEUED).update(
        state=KeyValidation.State.DONE, reason=why.as_json(), finished_at=now
    )


def delete_provider_key(*, key: ProviderKey, actor: User | None) -> None:
    """
    Delete the row and with it the sealed key; one that is gone already changes nothing.

    Rules must be gone first: `routing.services.remove_provider_key`.
    """
    keys = ProviderKey.objects.for_organization(key.organization).filter(pk=key.pk)
    with transaction.atomic():
        if not keys.select_for_update().exists():
            return
        key.delete()
        record_change(key, actor, "provider_key.removed")
        sweep_after_commit()


def locked(key: ProviderKey) -> ProviderKey:
    return ProviderKey.objects.select_related("organization").select_for_update(of=("self",)).get(pk=key.pk)


def target_of(key: ProviderKey) -> str:
    """How the audit log names a key."""
    return f"{PROVIDERS[key.provider].name} · {key.label}"


def record_change(key: ProviderKey, actor: User | None, action: str, **details: str | bool) -> None:
    record(
        organization=key.organization,
        actor=actor,
        action=action,
        target=target_of(key),
        last4=key.last4,
        **({"base_url": key.base_url} if key.base_url else {}),
        **details,
    )
