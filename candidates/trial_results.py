"""What came of a trial beside the checks it was made of: verdicts that differ, the shift of score, cost and time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from django.db.models import Sum

from candidates.models import CandidateCheck, Requirement, RequirementVerdict, Trial, TrialCheck
from candidates.result_writer import requirements_of
from candidates.scoring import score
from organizations.models import Organization
from usage.models import UsageEvent
from usage.run_costs import RunCost, run_costs

Answer = RequirementVerdict.Verdict


@dataclass(frozen=True, slots=True)
class Difference:
    """One requirement on which the two models do not agree; `quote` and `reason` are the other model's."""

    requirement: str
    before: str
    after: str
    quote: str
    reason: str


@dataclass(frozen=True, slots=True)
class Compared:
    """One check and what the other model said. `score` and `category` of it are None and "" until it said something."""

    check: CandidateCheck
    row: TrialCheck
    score: int | None
    category: str
    differences: tuple[Difference, ...]
    cost_before: RunCost
    cost: RunCost
    ms_before: int
    ms: int

    @property
    def shift(self) -> int | None:
        return None if self.score is None or self.check.score is None else self.score - self.check.score

    @property
    def is_other_category(self) -> bool:
        return self.score is not None and self.category != self.check.category


@dataclass(frozen=True, slots=True)
class Result:
    rows: tuple[Compared, ...]
    requirements: int

    @property
    def answered(self) -> list[Compared]:
        return [row for row in self.rows if row.score is not None]

    @property
    def waiting(self) -> int:
        return sum(row.row.status == TrialCheck.Status.PENDING for row in self.rows)

    @property
    def failed(self) -> int:
        return sum(row.row.status == TrialCheck.Status.FAILED for row in self.rows)

    @property
    def verdicts(self) -> int:
        return len(self.answered) * self.requirements

    @property
    def differing(self) -> int:
        return sum(len(row.differences) for row in self.answered)

    @property
    def other_categories(self) -> int:
        return sum(row.is_other_category for row in self.answered)

    @property
    def mean_shift(self) -> str:
        shifts = [row.shift for row in self.answered if row.shift is not None]
        if not shifts:
            return "–"
        mean = round(Decimal(sum(shifts)) / len(shifts), 1)
        return f"{mean:+}" if mean else "0"

    @property
    def mean_ms_before(self) -> int:
        return _mean([row.ms_before for row in self.answered])

    @property
    def mean_ms(self) -> int:
        return _mean([row.ms for row in self.answered])

    @property
    def cost(self) -> RunCost:
        """Of all of it, failed ones included."""
        return together(row.cost for row in self.rows)

    @property
    def cost_before(self) -> RunCost:
        """Of the checks themselves."""
        return together(row.cost_before for row in self.rows)

    @property
    def is_partly_hidden(self) -> bool:
        """What some of the checks cost is shown, and of others not, so that there is no sum."""
        return len({row.cost_before.is_hidden for row in self.rows}) > 1


def compare(*, organization: Organization, trial: Trial) -> Result:
    """Five statements, however many checks. Scores of both go by the weights of now."""
    rows = list(
        TrialCheck.objects.for_organization(organization)
        .filter(trial=trial)
        .select_related("check_row__candidate")
        .order_by("check_row__rank", "pk")
    )
    requirements = requirements_of(organization.pk, {trial.briefing_id})[trial.briefing_id]
    before: dict[UUID, dict[int, str]] = {}
    given = RequirementVerdict.objects.for_organization(organization).filter(
        check_row__in=[row.check_row_id for row in rows]
    )
    for check_id, requirement_id, verdict in given.values_list("check_row_id", "requirement_id", "verdict"):
        before.setdefault(check_id, {})[requirement_id] = verdict
    runs = [run for row in rows for run in (row.run_id, row.check_row.run_id)]
    costs = run_costs(organization=organization, run_ids=runs)
    took = dict(
        UsageEvent.objects.for_organization(organization)
        .filter(run_id__in=runs)
        .order_by()
        .values_list("run_id")
        .annotate(ms=Sum("latency_ms"))
    )
    compared = [_compared(row, requirements, before.get(row.check_row_id, {}), costs, took) for row in rows]
    return Result(tuple(compared), len(requirements))


def _compared(
    row: TrialCheck,
    requirements: Sequence[Requirement],
    before: dict[int, str],
    costs: dict[UUID, RunCost],
    took: dict[UUID, int],
) -> Compared:
    check, points, category = row.check_row, None, ""
    differences: list[Difference] = []
    if row.status == TrialCheck.Status.COMPLETED:
        after = {int(pk): told["verdict"] for pk, told in row.verdicts.items()}
        points, category = score(requirements, after)
        for requirement in requirements:
            was, told = before.get(requirement.pk, Answer.UNKNOWN), row.verdicts[str(requirement.pk)]
            if was != told["verdict"]:
                differences.append(
                    Difference(
                        requirement=requirement.text,
                        before=str(Answer(was).label),
                        after=str(Answer(told["verdict"]).label),
                        quote=told["quote"],
                        reason=told["reason"],
                    )
                )
    return Compared(
        check=check,
        row=row,
        score=points,
        category=str(category),
        differences=tuple(differences),
        cost_before=costs[check.run_id],
        cost=costs[row.run_id],
        ms_before=took.get(check.run_id, 0),
        ms=took.get(row.run_id, 0),
    )


def together(costs: Iterable[RunCost]) -> RunCost:
    """Several runs as one: hidden where one of them is, unknown where nothing of any is known."""
    runs = list(costs)
    known = [run.cost_nanousd for run in runs if run.cost_nanousd is not None]
    is_hidden = any(run.is_hidden for run in runs)
    return RunCost(
        calls=sum(run.calls for run in runs),
        tokens=sum(run.tokens for run in runs),
        cost_nanousd=None if is_hidden or not known else sum(known),
        unpriced_calls=sum(run.unpriced_calls for run in runs),
        mode=None,
        is_reported=all(run.is_reported for run in runs),
        is_hidden=is_hidden,
        unknown_calls=sum(run.unknown_calls for run in runs),
        unreported_calls=sum(run.unreported_calls for run in runs),
        own_server_calls=sum(run.own_server_calls for run in runs),
    )


def _mean(numbers: Sequence[int]) -> int:
    return round(sum(numbers) / len(numbers)) if numbers else 0
