"""
Whether a person was checked lately, by anyone on this installation.

A person is looked up by the normalized profile link, which names one person and so decides alone; without
one by e-mail (offices share those); without either as one candidate of one organization. A completed check
is noted under link and e-mail both, so that who has only the e-mail elsewhere is found too. What is shared
between organizations is a keyed digest and a time, nothing else. An organization's own completed checks of
the candidate count besides, whatever link or e-mail it had then.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connection

from candidates.models import Candidate, CandidateCheck, ProfileSighting
from organizations.models import Organization

Kind = CandidateCheck.Kind
BATCH = 1000  # candidates a query; SQLite allows some thousand parameters


def person_digest(candidate: Candidate) -> str:
    """Under which a person is looked up: a digest of the link, else of the e-mail, else of the candidate."""
    return _person_digests(candidate)[0]


def kind_for(*, candidates: Sequence[Candidate], organization: Organization, now: datetime) -> dict[int, Kind]:
    """
    Candidate id → whether a check accepted at `now` is new or existing recent. Two queries a thousand
    candidates.

    Recent: a completed check of the person at most `recency_window_days` × 24 hours before `now`, that
    moment included.
    """
    since = now - timedelta(hours=24 * organization.recency_window_days)
    kinds: dict[int, Kind] = {}
    for start in range(0, len(candidates), BATCH):
        batch = candidates[start : start + BATCH]
        digests = {candidate.pk: person_digest(candidate) for candidate in batch}
        seen = set(
            ProfileSighting.objects.filter(person_digest__in=digests.values(), last_checked_at__gte=since).values_list(
                "person_digest", flat=True
            )
        )
        own = set(
            CandidateCheck.objects.for_organization(organization)
            .filter(candidate__in=list(digests), status=CandidateCheck.Status.COMPLETED, completed_at__gte=since)
            .values_list("candidate_id", flat=True)
        )
        for pk, digest in digests.items():
            kinds[pk] = Kind.RECENT if pk in own or digest in seen else Kind.NEW
    return kinds


def record_sighting(*, candidate: Candidate, now: datetime) -> None:
    """
    Note that a check of this person was completed at `now`. An earlier time never replaces a later one.

    Safe when many workers note the same person: one statement, its rows in one order, so that none waits
    for another in a circle.
    """
    table = connection.ops.quote_name(ProfileSighting._meta.db_table)
    moment = connection.ops.adapt_datetimefield_value(now)
    digests = sorted(_person_digests(candidate))
    rows = ", ".join(["(%s, %s)"] * len(digests))
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} (person_digest, last_checked_at) VALUES {rows} "  # noqa: S608  # our own table
            "ON CONFLICT (person_digest) DO UPDATE SET last_checked_at = excluded.last_checked_at "
            f"WHERE {table}.last_checked_at < excluded.last_checked_at",
            [value for digest in digests for value in (digest, moment)],
        )


def _person_digests(candidate: Candidate) -> list[str]:
    """One hexadecimal HMAC-SHA256 for each way the person is known, best first; never empty."""
    known = []
    if candidate.link:
        known.append(f"link:{candidate.link}")
    if candidate.email:
        known.append(f"email:{candidate.email.strip().lower()}")
    if not known:
        return [_digest(f"candidate:{candidate.organization_id}:{candidate.pk}")]
    if not settings.KEYFARE_NETWORK_RECENCY:
        known = [f"organization:{candidate.organization_id}:{identity}" for identity in known]
    return [_digest(identity) for identity in known]


def _digest(identity: str) -> str:
    key = settings.KEYFARE_DIGEST_KEY
    if not key:
        raise ImproperlyConfigured("KEYFARE_DIGEST_KEY is not set. `manage.py init` makes one.")
    return hmac.new(key.encode(), identity.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()
