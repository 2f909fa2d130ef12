"""A call's receipt as JSON, for who made the call, or may see what others of the organization called."""

from __future__ import annotations

import json
import logging
import uuid
from concurrent.futures import ThreadPoolExecutor

from asgiref.sync import sync_to_async
from django.db import DatabaseError, connection

from gateway.callers import Caller
from gateway.door.errors import DoorError
from gateway.receipts import as_json, read_receipt
from organizations.models import Organization
from organizations.tenancy import scope

logger = logging.getLogger(__name__)

# One after another, and not where calls are written: whoever reads receipts holds no call up.
_thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="receipts")


async def receipt(caller: Caller, call: str) -> bytes:
    """Raises DoorError."""
    try:
        call_id = uuid.UUID(call)
    except ValueError:
        raise _unknown() from None
    try:
        return await sync_to_async(_read, thread_sensitive=False, executor=_thread)(caller, call_id)
    except DatabaseError:
        logger.exception("A receipt could not be read")
        raise DoorError(503, "books_closed", "The books cannot be read now. Try again.", can_retry=True) from None


def _read(caller: Caller, call_id: uuid.UUID) -> bytes:
    try:
        with scope(caller.organization_id, "the organization of the caller's token"):
            found = read_receipt(organization=Organization.objects.get(pk=caller.organization_id), call_id=call_id)
            if found is None or (found.token_id != caller.token_id and not caller.may_view):
                raise _unknown()
            return json.dumps(as_json(found), ensure_ascii=False).encode()
    finally:
        connection.close()  # nobody may ask again for hours


def _unknown() -> DoorError:
    return DoorError(404, "unknown_call", "There is no call of that id here, or this token may not see it.")
