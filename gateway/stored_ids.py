"""
Ids of what providers keep of answers, and to which token each belongs: responses of OpenAI's, and their items.

A key may serve many tokens, and a provider lets whoever has the key go on from all of it. So an id is good for the
token that it was given to, with the key that it was made with. Only a keyed digest of all three is stored.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings

from gateway.models import StoredId
from organizations.many_rows import insert_rows

KEPT_FOR = timedelta(days=30)  # as OpenAI says of responses (API reference, checked 2026-11-28)


@dataclass(frozen=True, slots=True)
class Holder:
    """Who may name an id: a token, and only while its calls leave with this key."""

    organization_id: int
    token_id: int
    key_id: UUID

    def digest_of(self, stored_id: str) -> UUID:
        """Half of an HMAC-SHA256, which nobody who reads the table can make or undo."""
        whose = f"{self.organization_id} {self.token_id} {self.key_id}"
        named = f"{whose} {stored_id}".encode("utf-8", "surrogatepass")
        key = f"keyfare/stored ids/{settings.KEYFARE_DIGEST_KEY}".encode()
        return UUID(bytes=hmac.digest(key, named, hashlib.sha256)[:16])


@dataclass(frozen=True, slots=True)
class NewIds:
    """Ids that an answer gave its caller at `now`."""

    holder: Holder
    ids: Collection[str]
    now: datetime


def store_ids(new: Sequence[NewIds]) -> None:
    """Storing twice is as good as once."""
    rows = {
        each.holder.digest_of(stored_id): (each.holder.organization_id, each.now)
        for each in new
        for stored_id in each.ids
    }
    # In one order, so that two who store the same wait for one another.
    ordered = [(digest, *rows[digest]) for digest in sorted(rows)]
    insert_rows(StoredId, ("id", "organization_id", "stored_at"), ordered, ignore_conflicts=True)


def are_all_known(holder: Holder, ids: Collection[str]) -> bool:
    digests = {holder.digest_of(stored_id) for stored_id in ids}
    found = StoredId.objects.filter(organization=holder.organization_id, pk__in=digests)
    return found.count() == len(digests)


def forget_old_ids(*, now: datetime) -> None:
    StoredId.objects.filter(stored_at__lt=now - KEPT_FOR).delete()
