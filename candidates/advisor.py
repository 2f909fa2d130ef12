"""
What the checks of the last days would have cost under other choices: Managed or own keys, and each recency window.

Each check is priced anew from the checks before it, by the rules of `candidates.recency`: the person's own completed
checks within the window, of a text that is like theirs. What the recency network lowered is not known afterwards, and
counts as new. USD are those of the organization's own calls; what Managed calls cost is the operator's.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cache
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from candidates.check_route import ACTIONS_OF_A_CHECK
from candidates.credit_costs import CREDIT_COSTS
from candidates.ended_checks import ended_checks, total
from candidates.models import CandidateCheck, Profile
from candidates.profiles.likeness import Traits, are_alike, traits
from organizations.models import Organization
from routing.resolve import mode_of
from usage.audience import sees_any_usd
from usage.cells import TOTALS, Grouping, Totals, read_groupings, shown, totals
from usage.days import first_day, start_of_day
from usage.models import Mode

Kind = CandidateCheck.Kind
WINDOWS = (30, 60, 90)  # days
PERIODS = (30, 60, 90)
LEAST_CHECKS = 20  # for any advice
LEAST_OWN_CHECKS = 5  # for what a check costs on own keys
MOST_CHECKS = 2_000  # the newest; of each the person's history is read
BATCH = 1_000
PEOPLE_AT_ONCE = 100  # whose texts are compared


class Past(NamedTuple):
    """A completed check, as far as recency asks about it."""

    pk: object
    candidate_id: int
    profile_id: int
    accepted_at: datetime
    completed_at: datetime


@dataclass(frozen=True, slots=True)
class Choice:
    """What the checks would have cost under one recency window."""

    window: int
    new: int
    recent: int

    def credits(self, mode: str) -> int:
        return self.new * CREDIT_COSTS[mode, Kind.NEW] + self.recent * CREDIT_COSTS[mode, Kind.RECENT]

    @property
    def managed(self) -> int:
        return self.credits(Mode.MANAGED)

    @property
    def byok(self) -> int:
        return self.credits(Mode.BYOK)


@dataclass(frozen=True, slots=True)
class OwnCost:
    """What the calls of checks on own keys came to, and how many checks completed there."""

    checks: int
    spent: Totals
    is_hidden: bool = False  # from whoever looks

    @property
    def can_say(self) -> bool:
        return not self.is_hidden and self.checks >= LEAST_OWN_CHECKS and self.spent.cost_nanousd is not None

    def of(self, checks: int) -> int | None:
        """What so many checks would have cost, failed ones and retries included; nano-USD."""
        if not self.can_say or self.spent.cost_nanousd is None:
            return None
        return round(Decimal(self.spent.cost_nanousd) * checks / self.checks)


@dataclass(frozen=True, slots=True)
class Advice:
    """Figures of the last `days` days, and what follows from them. `mode` and `window` are what holds now."""

    days: int
    first: date
    last: date
    checks: int
    has_more: bool  # checks than were looked at: the newest were
    charged: int  # credits, as it was
    mode: Mode
    window: int
    choices: tuple[Choice, ...]
    own: OwnCost
    first_check_at: datetime | None

    @property
    def can_say(self) -> bool:
        return self.checks >= LEAST_CHECKS

    @property
    def now(self) -> Choice:
        return next(each for each in self.choices if each.window == self.window)

    @property
    def best(self) -> Choice:
        """The cheapest window; of those that cost the same the one that holds now, else the shortest."""
        return min(self.choices, key=lambda each: (each.credits(self.mode), each.window != self.window, each.window))

    @property
    def saved_by_window(self) -> int:
        return self.now.credits(self.mode) - self.best.credits(self.mode)

    @property
    def saved_by_own_keys(self) -> int:
        """Credits that own keys save at the window of now."""
        return self.now.managed - self.now.byok

    @property
    def own_nanousd(self) -> int | None:
        return self.own.of(self.checks)

    @property
    def break_even_nanousd(self) -> int | None:
        """What a credit has to cost for own keys to be as dear as Managed mode."""
        if self.own_nanousd is None or not self.saved_by_own_keys:
            return None
        return round(Decimal(self.own_nanousd) / self.saved_by_own_keys)

    @property
    def is_history_short(self) -> bool:
        """A longer window may save more than it could show in these days."""
        if self.first_check_at is None:
            return False
        return self.first_check_at > start_of_day(self.first) - timedelta(days=max(WINDOWS))

    def bill(self, mode: str, credit_nanousd: int) -> int | None:
        """What the checks would have come to in nano-USD, with a credit at such a price."""
        credits = self.now.credits(mode) * credit_nanousd
        if mode == Mode.MANAGED:
            return credits
        return None if self.own_nanousd is None else credits + self.own_nanousd


def advise(*, organization: Organization, days: int, now: datetime) -> Advice:
    """Of the checks that completed in the last `days` days, the newest MOST_CHECKS at most."""
    today = now.date()
    first = first_day(today, days)
    completed = CandidateCheck.objects.for_organization(organization).filter(status=CandidateCheck.Status.COMPLETED)
    in_period = completed.filter(completed_at__gte=start_of_day(first), completed_at__lte=now)
    rows = list(in_period.order_by("-completed_at", "pk").values_list(*Past._fields, "charged")[: MOST_CHECKS + 1])
    checks = [Past(*row[:-1]) for row in rows[:MOST_CHECKS]]
    history = _history(organization, {check.candidate_id for check in checks})
    asked = {check.pk for check in checks}
    counts: Counter[tuple[int, Kind]] = Counter()
    for past, alike in _with_texts(organization, history):
        for window in WINDOWS:
            priced = price_anew(past, window, alike).items()
            counts.update((window, kind) for pk, kind in priced if pk in asked)
    return Advice(
        days=days,
        first=first,
        last=today,
        checks=len(checks),
        has_more=len(rows) > MOST_CHECKS,
        charged=sum(row[-1] or 0 for row in rows[:MOST_CHECKS]),
        mode=mode_of(organization=organization, actions=ACTIONS_OF_A_CHECK),
        window=organization.recency_window_days,
        choices=tuple(Choice(each, counts[each, Kind.NEW], counts[each, Kind.RECENT]) for each in WINDOWS),
        own=_own_cost(organization, first, today),
        first_check_at=completed.filter(completed_at__isnull=False)  # as the index has it
        .order_by("completed_at")
        .values_list("completed_at", flat=True)
        .first(),
    )


def price_anew(past: Sequence[Past], window: int, alike: Callable[[int, int], bool]) -> dict[object, Kind]:
    """
    Of all completed checks of one person: what each would have been priced as under a window of so many days, had it
    held from the first. `alike` compares two profiles.
    """
    kinds: dict[object, Kind] = {}
    in_order = sorted(past, key=lambda check: (check.accepted_at, check.completed_at))
    for at, check in enumerate(in_order):
        since = check.accepted_at - timedelta(hours=24 * window)
        seen: set[int] = set()  # the texts checked within the window, back to the last full price
        for earlier in reversed(in_order[:at]):
            if since <= earlier.completed_at <= check.accepted_at:
                seen.add(earlier.profile_id)
                if kinds[earlier.pk] == Kind.NEW:
                    break
        is_known = check.profile_id in seen or (bool(seen) and all(alike(check.profile_id, each) for each in seen))
        kinds[check.pk] = Kind.RECENT if is_known else Kind.NEW
    return kinds


def _history(organization: Organization, people: Iterable[int]) -> Mapping[int, list[Past]]:
    """All completed checks of these people, by person."""
    found: dict[int, list[Past]] = defaultdict(list)
    ids = sorted(people)
    checks = CandidateCheck.objects.for_organization(organization).filter(status=CandidateCheck.Status.COMPLETED)
    for start in range(0, len(ids), BATCH):
        rows = checks.filter(candidate__in=ids[start : start + BATCH]).order_by()
        for row in rows.values_list(*Past._fields).iterator():
            found[row[1]].append(Past(*row))
    return found


def _with_texts(
    organization: Organization, history: Mapping[int, Sequence[Past]]
) -> Iterator[tuple[Sequence[Past], Callable[[int, int], bool]]]:
    """Everybody's checks, and what compares their texts: those of people whose text has changed are read."""
    changed = [pk for pk, past in history.items() if len({check.profile_id for check in past}) > 1]
    for pk in history.keys() - changed:
        yield history[pk], lambda one, other: one == other
    profiles = Profile.objects.for_organization(organization)
    for start in range(0, len(changed), PEOPLE_AT_ONCE):
        people = changed[start : start + PEOPLE_AT_ONCE]
        texts = profiles.filter(pk__in={check.profile_id for pk in people for check in history[pk]})
        rows = texts.order_by("candidate_id").values_list("candidate_id", "pk", "content")
        for pk, versions in groupby(rows.iterator(chunk_size=PEOPLE_AT_ONCE), key=itemgetter(0)):
            yield history[pk], _likeness({profile: content for _, profile, content in versions})


def _likeness(contents: Mapping[int, dict[str, Any]]) -> Callable[[int, int], bool]:
    @cache
    def traits_of(profile: int) -> Traits:
        return traits(contents[profile])

    return lambda one, other: are_alike(traits_of(one), traits_of(other))


def _own_cost(organization: Organization, first: date, last: date) -> OwnCost:
    by_mode = Grouping(("mode",), TOTALS)
    (cells,) = read_groupings(organization, first, last, by_mode, where={"action": ACTIONS_OF_A_CHECK})
    ended = ended_checks(organization=organization, first=first, last=last)
    own = shown([cell for cell in cells if cell.mode == Mode.BYOK])
    return OwnCost(total(ended, lambda each: each.count, mode=Mode.BYOK), totals(own), not sees_any_usd())
