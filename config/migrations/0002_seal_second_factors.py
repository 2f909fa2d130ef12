from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.db import migrations

from organizations import second_factors
from organizations.second_factors import FactorUnreadable
from providers.custody.shredding import sweep_after_commit


def _seal(value: str) -> str:
    try:
        second_factors.unseal(value)
    except FactorUnreadable:
        return second_factors.seal(value)
    return value  # by a server of this version, started before this migration ran


def seal(apps: Any, schema_editor: Any) -> None:
    _change(apps, _seal)


def unseal(apps: Any, schema_editor: Any) -> None:
    _change(apps, second_factors.unseal)


def _change(apps: Any, change: Callable[[str], str]) -> None:
    factors = apps.get_model("mfa", "Authenticator").objects.filter(type__in=["totp", "recovery_codes"])
    for factor in list(factors.order_by("pk")):
        try:
            factor.data = second_factors.change_sealed_values(factor.data, change)
        except FactorUnreadable:
            continue  # holds nothing to log in with, or nothing that opens
        factor.save(update_fields=["data"])
    sweep_after_commit()


class Migration(migrations.Migration):
    """The seeds of authenticator apps and recovery codes stood in clear so far."""

    dependencies = [
        ("config", "0001_row_level_security"),
        ("mfa", "0003_authenticator_type_uniq"),
    ]

    operations = [migrations.RunPython(seal, unseal)]
