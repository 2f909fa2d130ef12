"""Running under other master keys than the tests': the field remembers the ones it saw first."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.test import override_settings

from providers.models import OrganizationKey

OLD = "a-master-key-for-tests-only-0123456789abcdef"
NEW = "another-master-key-for-tests-9876543210-fedcba"
REMEMBERED = ("keys", "fernet_keys", "fernet")


@contextmanager
def master_keys(*keys: str) -> Iterator[None]:
    field: Any = OrganizationKey._meta.get_field("wrapped")
    before = {name: field.__dict__.pop(name) for name in REMEMBERED if name in field.__dict__}
    try:
        with override_settings(FERNET_KEYS=list(keys)):
            yield
    finally:
        for name in REMEMBERED:
            field.__dict__.pop(name, None)
        field.__dict__.update(before)
