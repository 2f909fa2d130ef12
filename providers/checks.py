"""System checks: an installation with a missing or weak master key does not start."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, register

SHORTEST_MASTER_KEY = 32
HOW = "`manage.py init` makes one; or set KEYFARE_MASTER_KEYS to 32 or more random characters and back it up."


@register
def master_keys(**kwargs: Any) -> list[CheckMessage]:
    keys = settings.FERNET_KEYS
    if not keys:
        return [Error("KEYFARE_MASTER_KEYS is not set, so no provider key can be stored.", hint=HOW, id="keyfare.E001")]
    if any(len(key) < SHORTEST_MASTER_KEY for key in keys):
        return [Error("A key of KEYFARE_MASTER_KEYS is shorter than 32 characters.", hint=HOW, id="keyfare.E002")]
    if any(settings.SECRET_KEY in key or key in settings.SECRET_KEY for key in keys):
        return [Error("A key of KEYFARE_MASTER_KEYS equals the SECRET_KEY.", hint=HOW, id="keyfare.E003")]
    return []
