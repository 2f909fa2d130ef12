"""
Whether a person was checked lately, so that a new check of them is cheaper.

Inside an organization its own completed checks of the candidate say so, as long as the text is still that person's:
one that shares almost nothing with what was checked since the last full price is priced as new, whatever its name and
link are. So a link and a name under which people take turns are no discount, and neither is a stub between them.

Across organizations (KEYFARE_NETWORK_RECENCY, off by default) those take part whose owner joined. What they share is a
keyed digest of profile link and name, and a time; only checks that were charged are noted, so that invented ones cost
what they would give. What others checked lowers a price when a check is accepted and is never quoted: asking for a
price must not tell whom others check.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta
from itertools import groupby
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from django.db.models import Exists, OuterRef, QuerySet

from candidates.models import Candidate, CandidateCheck, Profile, ProfileSighting
from candidates.profiles.likeness import Traits, are_alike, traits
from candidates.profiles.links import names_somebody
from candidates.profiles.names import name_words
from organizations.models import Organization
from usage.models import Mode

Kind = CandidateCheck.Kind
BATCH = 1000  # candidates a query; SQLite allows some thousand parameters
PROFILES_AT_ONCE = 100  # in memory; one may have 256 KB


def kind_for(*, candidates: Sequence[Candidate], organization: Organization, now: datetime) -> dict[int, Kind]:
    """
    Candidate id → whether a check accepted at `now` is new or existing recent, by the organization's own checks. At
    most three queries a thousand candidates; of more, `recent_among` asks the database.

    Recent: a completed check of the person at most `recency_window_days` × 24 hours before `now`, that moment included,
    of a text that is like the newest profile.
    """
    kinds: dict[int, Kind] = {}
    for batch in _batches([candidate.pk for candidate in candidates]):
        recent = _with_known_text(organization, _checked_since_full_price(organization, batch, now))
        kinds |= {pk: Kind.RECENT if pk in recent else Kind.NEW for pk in batch}
    return kinds


def recent_among(*, people: QuerySet[Candidate], organization: Organization, now: datetime) -> set[int]:
    """
    Ids of those of `people`, however many, whose check accepted at `now` is existing recent, as `kind_for` says it.

    One query, and two a thousand of those who were checked lately and have more than one profile.
    """
    other_texts = Profile.objects.for_organization(organization).filter(candidate=OuterRef("candidate"), version__gt=1)
    checked = _own_checks(organization, people.order_by().values("pk"), now).order_by()
    has_others = dict(checked.values_list("candidate_id").annotate(has_others=Exists(other_texts)).distinct())
    recent = {pk for pk, others in has_others.items() if not others}  # what was checked is all there is
    for batch in _batches(list(has_others.keys() - recent)):
        recent |= _with_known_text(organization, _checked_since_full_price(organization, batch, now))
    return recent


def checked_elsewhere(*, candidates: Sequence[Candidate], organization: Organization, now: datetime) -> set[int]:
    """
    Ids of those whom another organization of the network checked within the window of this one.

    Nobody whom this organization checked itself in that time is among them: its own checks say what they cost. Two
    queries a thousand candidates.
    """
    found: set[int] = set()
    if not _takes_part(organization):
        return found
    digests = {candidate.pk: digest for candidate in candidates if (digest := network_digest(candidate))}
    for batch in _batches(list(digests)):
        seen = set(
            ProfileSighting.objects.filter(
                person_digest__in=[digests[pk] for pk in batch], last_checked_at__gte=_since(organization, now)
            ).values_list("person_digest", flat=True)
        )
        known = {pk for pk in batch if digests[pk] in seen}
        if known:
            found |= known - set(_own_checks(organization, known, now).values_list("candidate_id", flat=True))
    return found


def note_for_network(*, checks: Iterable[CandidateCheck], now: datetime) -> None:
    """
    Note for the network that charged checks of these people were completed at `now`, where the organization takes part.

    An earlier time never replaces a later one. Safe when many workers note the same people: one statement, which takes
    the rows in one order.
    """
    digests = {
        digest
        for check in checks
        if settings.KEYFARE_NETWORK_RECENCY
        and (check.charged or check.mode == Mode.MANAGED)
        and _takes_part(check.organization)
        and (digest := network_digest(check.candidate))
    }
    if not digests:
        return
    table = connection.ops.quote_name(ProfileSighting._meta.db_table)
    moment = connection.ops.adapt_datetimefield_value(now)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} (person_digest, last_checked_at) "  # noqa: S608  # our own table
            f"VALUES {', '.join(['(%s, %s)'] * len(digests))} "
            "ON CONFLICT (person_digest) DO UPDATE SET last_checked_at = excluded.last_checked_at "
            f"WHERE {table}.last_checked_at < excluded.last_checked_at",
            [value for digest in sorted(digests) for value in (digest, moment)],
        )


def network_digest(candidate: Candidate) -> str:
    """Hexadecimal HMAC-SHA256 of link and name, under which organizations mean one person; "" without either."""
    words = name_words(candidate.name)
    if not words or not names_somebody(candidate.link):
        return ""
    key = settings.KEYFARE_DIGEST_KEY
    if not key:
        raise ImproperlyConfigured("KEYFARE_DIGEST_KEY is not set. `manage.py init` makes one.")
    identity = f"link and name:{candidate.link}\n{' '.join(sorted(words))}"
    return hmac.new(key.encode(), identity.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()


def _takes_part(organization: Organization) -> bool:
    return bool(settings.KEYFARE_NETWORK_RECENCY and organization.shares_recency)


def _checked_since_full_price(organization: Organization, ids: Collection[int], now: datetime) -> dict[int, set[int]]:
    """Candidate id → the profiles checked within the window, back to the last check that was priced as new."""
    checked: dict[int, set[int]] = {}
    complete: set[int] = set()
    rows = _own_checks(organization, ids, now).order_by("candidate_id", "-accepted_at", "-completed_at")
    for pk, profile, kind in rows.values_list("candidate_id", "profile_id", "kind"):
        if pk not in complete:
            checked.setdefault(pk, set()).add(profile)
            if kind == Kind.NEW:
                complete.add(pk)
    return checked


def _with_known_text(organization: Organization, checked: dict[int, set[int]]) -> set[int]:
    """Those of the `checked` whose newest profile is one of the checked ones, or like all of them."""
    if not checked:
        return set()
    profiles = Profile.objects.for_organization(organization)
    newest = dict(profiles.filter(candidate__in=checked).order_by("version").values_list("candidate_id", "pk"))
    same = {pk for pk in checked if newest.get(pk) in checked[pk]}
    changed = [pk for pk in checked if pk in newest and pk not in same]
    if not changed:
        return same
    texts = profiles.filter(pk__in=[each for pk in changed for each in (newest[pk], *checked[pk])])
    rows = texts.order_by("candidate_id").values_list("candidate_id", "pk", "content")
    for pk, versions in groupby(rows.iterator(chunk_size=PROFILES_AT_ONCE), key=lambda row: row[0]):
        known: dict[int, Traits] = {profile: traits(content) for _, profile, content in versions}
        if all(are_alike(known[newest[pk]], known[earlier]) for earlier in checked[pk]):
            same.add(pk)
    return same


def _own_checks(
    organization: Organization, ids: Iterable[int] | QuerySet[Candidate, Any], now: datetime
) -> QuerySet[CandidateCheck]:
    return CandidateCheck.objects.for_organization(organization).filter(
        candidate__in=ids, status=CandidateCheck.Status.COMPLETED, completed_at__gte=_since(organization, now)
    )


def _since(organization: Organization, now: datetime) -> datetime:
    return now - timedelta(hours=24 * organization.recency_window_days)


def _batches(ids: Sequence[int]) -> Iterable[Sequence[int]]:
    return (ids[start : start + BATCH] for start in range(0, len(ids), BATCH))
