"""What django-q2 runs; each line is a service. Payloads carry ids only."""

from __future__ import annotations

from uuid import UUID

from organizations import clock
from organizations.tenancy import EVERY, scope
from providers.keys import notices, validation


@scope(EVERY, "the validation of the task tells its organization")
def validate_key(validation_id: int) -> None:
    validation.validate_key(validation_id=validation_id, now=clock.now())


@scope(EVERY, "the key of the task tells its organization")
def tell_key_broke(key_id: str) -> None:
    notices.tell_key_broke(key_id=UUID(key_id))
