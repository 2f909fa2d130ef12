"""What a key's models were found to refuse (`adapters.quirks`), remembered so that no call is refused for it twice."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

from django.db import transaction
from django.db.models import QuerySet

from organizations.models import User
from providers.adapters.quirks import Quirk
from providers.keys.saving import locked, record_change
from providers.models import ModelQuirk, ProviderKey

# Not a field of its own in every protocol; its text goes into the question then.
NAMES = {"system": "a system message"}


@dataclass(frozen=True, slots=True)
class QuirkLine:
    model: str
    sentence: str


def quirks_of(*, key: ProviderKey, model: str) -> tuple[Quirk, ...]:
    return tuple(Quirk(row.field, row.instead, row.most) for row in _of(key).filter(model=model).order_by("pk"))


def quirk_lines(key: ProviderKey) -> list[QuirkLine]:
    """What is remembered of the models of `key`, for its page."""
    return [QuirkLine(row.model, _sentence(row)) for row in _of(key).order_by("model", "field")]


def remember_quirks(
    *, organization_id: int, key_id: UUID, secret_version: int, model: str, quirks: Iterable[Quirk]
) -> None:
    """Keep what is about the model. Nothing is kept for a key that was removed, or whose secret was replaced."""
    with transaction.atomic():
        # The key is held, so that a replacement, which forgets them all, comes before or after.
        keys = ProviderKey.objects.filter(organization=organization_id).select_for_update(no_key=True)
        if keys.filter(pk=key_id, secret_version=secret_version).values_list("pk").first() is None:
            return
        for quirk in quirks:
            if quirk.is_lasting:
                ModelQuirk.objects.update_or_create(
                    organization_id=organization_id,
                    key_id=key_id,
                    model=model,
                    field=quirk.field,
                    defaults={"instead": quirk.instead, "most": quirk.most},
                )


def forget_quirks(*, key: ProviderKey, actor: User | None) -> bool:
    """Ask with every field again, as the server may take them now. Returns whether any was left out."""
    with transaction.atomic():
        key = locked(key)
        forgotten, _ = _of(key).delete()
        if forgotten:
            record_change(key, actor, "provider_key.quirks_forgotten")
    return bool(forgotten)


def _sentence(quirk: ModelQuirk) -> str:
    if quirk.most is not None:
        return f"asked for at most {quirk.most:,} output tokens ({quirk.field}): the server refused more"
    instead = f"with {quirk.instead} instead of" if quirk.instead else "without"
    return f"asked {instead} {NAMES.get(quirk.field, quirk.field)}: the server refused it"


def _of(key: ProviderKey) -> QuerySet[ModelQuirk]:
    return ModelQuirk.objects.filter(organization=key.organization_id, key=key)
