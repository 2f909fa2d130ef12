"""What candidate checks cost in credits, a quote of it before anything runs, and what may make them cheaper then."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from django.db.models import Count, Q, QuerySet

from billing.ledger import NotEnoughCredits, balance
from candidates import recency
from candidates.check_endings import OPEN
from candidates.check_route import ACTIONS_OF_A_CHECK, known_route_of_checks, mode_of_checks
from candidates.models import Briefing, Candidate, CandidateCheck
from organizations.models import Organization
from routing.resolve import NoModel, RouteUnavailable
from usage.models import Mode

Kind = CandidateCheck.Kind

MOST_AT_ONCE = 5_000  # checks accepted in one transaction, some seconds for which somebody waits

CREDIT_COSTS: dict[tuple[str, str], int] = {
    (Mode.MANAGED, Kind.NEW): 4,
    (Mode.MANAGED, Kind.RECENT): 2,
    (Mode.BYOK, Kind.NEW): 1,
    (Mode.BYOK, Kind.RECENT): 0,
}


@dataclass(frozen=True, slots=True)
class QuoteLine:
    """So many checks of one kind at one price."""

    kind: CandidateCheck.Kind
    count: int
    price: int

    @property
    def credits(self) -> int:
        return self.count * self.price


@dataclass(frozen=True, slots=True)
class Quote:
    """What a batch of checks would cost if it were accepted now, in credits."""

    mode: Mode
    lines: tuple[QuoteLine, ...]  # kinds that occur, new first
    skipped: int  # candidates with a check against this briefing that still runs
    available: int
    refusal: RouteUnavailable | None = None  # why no check could run now

    @property
    def has_model(self) -> bool:
        """Whether a model serves checks: the organization's route, be it as it may, or a managed default that works."""
        return not isinstance(self.refusal, NoModel)

    @property
    def count(self) -> int:
        return sum(line.count for line in self.lines)

    @property
    def total(self) -> int:
        return sum(line.credits for line in self.lines)

    @property
    def missing(self) -> int:
        """Credits that lack; 0 when the balance is enough."""
        return max(0, self.total - self.available) if self.total else 0

    def count_of(self, kind: str) -> int:
        return sum(line.count for line in self.lines if line.kind == kind)


def quote(
    *,
    organization: Organization,
    briefing: Briefing,
    candidates: Sequence[Candidate] | QuerySet[Candidate],
    now: datetime,
) -> Quote:
    """
    What checking `candidates` against `briefing` would cost now, by what this organization itself checked. Who is being
    checked already is left out. However many they are, the database counts them.
    """
    mode, refusal = _served_by(organization, briefing)
    people, busy = _people(organization, candidates), _busy(briefing)
    asked = people.order_by().aggregate(all=Count("pk"), busy=Count("pk", filter=Q(pk__in=busy)))
    recent = len(recency.recent_among(people=people.exclude(pk__in=busy), organization=organization, now=now))
    # A check may end between the two questions: then somebody is counted as busy and as recent.
    counts = {Kind.NEW: max(0, asked["all"] - asked["busy"] - recent), Kind.RECENT: recent}
    return Quote(
        mode=mode,
        lines=tuple(QuoteLine(kind, count, CREDIT_COSTS[mode, kind]) for kind, count in counts.items() if count),
        skipped=asked["busy"],
        available=balance(organization=organization).available,
        refusal=refusal,
    )


def _served_by(organization: Organization, briefing: Briefing) -> tuple[Mode, RouteUnavailable | None]:
    """The mode of a check now, as `mode_of_checks` has it, and why none could run. A broken key is a route as well."""
    modes, refused = set(), None
    for action in ACTIONS_OF_A_CHECK:
        try:
            modes.add(known_route_of_checks(organization=organization, briefing=briefing, action=action).mode)
        except RouteUnavailable as refusal:
            modes.add(Mode.MANAGED if isinstance(refusal, NoModel) else Mode.BYOK)
            refused = refused or refusal
    return (Mode.BYOK if modes == {Mode.BYOK} else Mode.MANAGED), refused


def affordable(
    *,
    organization: Organization,
    briefing: Briefing,
    candidates: Sequence[Candidate] | QuerySet[Candidate],
    now: datetime,
) -> QuerySet[Candidate]:
    """
    As many of `candidates` as the available credits pay for now, MOST_AT_ONCE at most, newest first; of those of one
    price the newest.

    Checks of 0 credits are always among them. Who is being checked already is left out.
    """
    mode = mode_of_checks(organization=organization, briefing=briefing)
    left = balance(organization=organization).available
    waiting = _people(organization, candidates).exclude(pk__in=_busy(briefing)).order_by("-pk")
    recent = recency.recent_among(people=waiting, organization=organization, now=now)
    of_kind = {Kind.RECENT: iter(sorted(recent, reverse=True)), Kind.NEW: _others(waiting, recent)}
    paid: list[int] = []
    for kind in sorted(of_kind, key=lambda each: CREDIT_COSTS[mode, each]):
        price, places = CREDIT_COSTS[mode, kind], MOST_AT_ONCE - len(paid)
        chosen = list(islice(of_kind[kind], min(places, left // price) if price else places))
        left -= price * len(chosen)
        paid += chosen
    return Candidate.objects.for_organization(organization).filter(pk__in=paid).order_by("-pk")


def _others(people: QuerySet[Candidate], some: Collection[int]) -> Iterator[int]:
    return (pk for pk in people.values_list("pk", flat=True).iterator() if pk not in some)


def _people(organization: Organization, candidates: Sequence[Candidate] | QuerySet[Candidate]) -> QuerySet[Candidate]:
    if isinstance(candidates, QuerySet):
        return candidates
    found: QuerySet[Candidate] = Candidate.objects.for_organization(organization)
    return found.filter(pk__in=[candidate.pk for candidate in candidates])


def _busy(briefing: Briefing) -> QuerySet[CandidateCheck, Any]:
    """Who is being checked against it already."""
    return briefing.checks.filter(organization=briefing.organization_id, status__in=OPEN).values("candidate_id")


def lower_prices(*, organization: Organization, checks: Sequence[CandidateCheck], now: datetime) -> int:
    """
    Give those of the new `checks` (not stored yet) the recent price whose person another organization of the recency
    network checked lately; returns how many those are. Raises NotEnoughCredits.
    """
    new = [check.candidate for check in checks if check.kind == Kind.NEW]
    elsewhere = recency.checked_elsewhere(candidates=new, organization=organization, now=now)
    if not elsewhere:
        return 0
    # Who could not pay what was quoted must not learn from a yes whom others check.
    quoted, available = sum(check.price for check in checks), balance(organization=organization).available
    if quoted > available:
        raise NotEnoughCredits(needed=quoted, available=available)
    for check in checks:
        if check.candidate_id in elsewhere:
            check.kind, check.price = Kind.RECENT, CREDIT_COSTS[check.mode, Kind.RECENT]
    return len(elsewhere)
