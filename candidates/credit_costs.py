"""What candidate checks cost in credits, a quote of it before anything runs, and what may make them cheaper then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from billing.ledger import NotEnoughCredits, balance
from candidates import recency
from candidates.models import Briefing, Candidate, CandidateCheck
from organizations.models import Organization
from routing.actions import CANDIDATE_CHECK
from routing.resolve import NoModel, RouteUnavailable, mode_of, resolve
from usage.models import Mode

Kind = CandidateCheck.Kind

# A check is BYOK only if each of these runs on the organization's own key.
ACTIONS_OF_A_CHECK = (CANDIDATE_CHECK.slug,)

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


def quote(*, organization: Organization, briefing: Briefing, candidates: Sequence[Candidate], now: datetime) -> Quote:
    """
    What checking `candidates` against `briefing` would cost now, by what this organization itself checked. Who is being
    checked already is left out.
    """
    mode, refusal = _served_by(organization)
    kinds = [kind for _, kind in _not_busy(organization, briefing, candidates, now)]
    lines = (QuoteLine(kind, kinds.count(kind), CREDIT_COSTS[mode, kind]) for kind in (Kind.NEW, Kind.RECENT))
    return Quote(
        mode=mode,
        lines=tuple(line for line in lines if line.count),
        skipped=len(candidates) - len(kinds),
        available=balance(organization=organization).available,
        refusal=refusal,
    )


def _served_by(organization: Organization) -> tuple[Mode, RouteUnavailable | None]:
    """The mode of a check now, as `mode_of` has it, and why none could run. A broken key is a route all the same."""
    modes, refused = set(), None
    for action in ACTIONS_OF_A_CHECK:
        try:
            modes.add(resolve(organization=organization, action=action).mode)
        except RouteUnavailable as refusal:
            modes.add(Mode.MANAGED if isinstance(refusal, NoModel) else Mode.BYOK)
            refused = refused or refusal
    return (Mode.BYOK if modes == {Mode.BYOK} else Mode.MANAGED), refused


def affordable(
    *, organization: Organization, briefing: Briefing, candidates: Sequence[Candidate], now: datetime
) -> list[Candidate]:
    """
    As many of `candidates` as the available credits pay for now, in their order; of those of one price the first ones.

    Checks of 0 credits are always among them. Who is being checked already is left out.
    """
    mode = mode_of(organization=organization, actions=ACTIONS_OF_A_CHECK)
    left = balance(organization=organization).available
    paid = set()
    priced = [
        (CREDIT_COSTS[mode, kind], candidate) for candidate, kind in _not_busy(organization, briefing, candidates, now)
    ]
    for price, candidate in sorted(priced, key=lambda each: each[0]):
        if price > left:
            break
        left -= price
        paid.add(candidate.pk)
    return [candidate for candidate in candidates if candidate.pk in paid]


def _not_busy(
    organization: Organization, briefing: Briefing, candidates: Sequence[Candidate], now: datetime
) -> list[tuple[Candidate, CandidateCheck.Kind]]:
    """Those of `candidates` who are not being checked already, and as what a check of them counts."""
    busy = set(
        CandidateCheck.objects.for_organization(organization)
        .filter(briefing=briefing, status__in=[CandidateCheck.Status.PENDING, CandidateCheck.Status.IN_PROGRESS])
        .values_list("candidate_id", flat=True)
    )
    wanted = [candidate for candidate in candidates if candidate.pk not in busy]
    kinds = recency.kind_for(candidates=wanted, organization=organization, now=now)
    return [(candidate, kinds[candidate.pk]) for candidate in wanted]


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
