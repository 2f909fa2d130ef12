"""
What one candidate checked, one strong fit, one briefing and one run of an agent cost, over some days.

USD are of calls on the organization's own keys, divided by what came of these; credits are divided by all that was
charged for. The two never stand in one sum. A sum of USD that misses calls reads "at least".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from candidates.ended_checks import Ended, briefings_checked, ended_checks, total
from organizations.models import Organization
from providers.keys.proof import ACTION as KEY_VALIDATION
from routing.actions import ACTIONS, CANDIDATE_CHECK, DIRECT, REQUIREMENT_GENERATION, TRIAL
from usage import amounts
from usage.audience import OF_OWNERS, sees_any_usd, sees_usd
from usage.averages import averages_of
from usage.cells import TOTALS, Cell, Grouping, read_groupings, shown, totals
from usage.measures import RUN_MEASURES
from usage.models import Mode

BY_ACTION = Grouping(("action", "mode"), (*TOTALS, *RUN_MEASURES))
NOT_OF_AGENTS = frozenset({*ACTIONS, DIRECT, TRIAL, KEY_VALIDATION})
OF_CHECKS = (CANDIDATE_CHECK.slug,)
OF_BRIEFINGS = (CANDIDATE_CHECK.slug, REQUIREMENT_GENERATION.slug)


@dataclass(frozen=True, slots=True)
class UnitCost:
    """`usd` and `credits` are of one; `usd_of` and `credits_of` say of how many it is the mean, and what is missing."""

    name: str
    usd: str
    usd_of: str
    credits: str
    credits_of: str
    actions: tuple[str, ...]  # whose calls the USD are of; empty: agents


def unit_costs(*, organization: Organization, first: date, last: date) -> list[UnitCost]:
    """Of the days from `first` to `last`; three statements."""
    (cells,) = read_groupings(organization, first, last, BY_ACTION)
    ended = ended_checks(organization=organization, first=first, last=last)
    briefings = briefings_checked(organization=organization, first=first, last=last)
    return unit_costs_of(cells, ended, briefings)


def unit_costs_of(cells: Sequence[Cell], ended: Sequence[Ended], briefings: dict[str, int]) -> list[UnitCost]:
    """
    The same of what was read before: cells by BY_ACTION, and what `candidates.ended_checks` found of the same days.
    What there was none of is left out.
    """
    own_mode = "" if sees_usd(Mode.MANAGED) else Mode.BYOK  # whose USD are shown
    charged = total(ended, lambda each: each.charged)
    checks, own_checks = (total(ended, lambda each: each.count, mode=mode) for mode in ("", own_mode))
    strong, own_strong = (total(ended, lambda each: each.strong, mode=mode) for mode in ("", own_mode))
    rows = [
        _unit("Candidate checked", "check", cells, OF_CHECKS, own_checks, charged, checks),
        _unit("Strong fit", "strong fit", cells, OF_CHECKS, own_strong, charged, strong),
        _unit("Briefing", "briefing", cells, OF_BRIEFINGS, briefings.get(own_mode, 0), charged, briefings.get("", 0)),
        _agent_run(cells),
    ]
    return [row for row in rows if row is not None]


def _unit(
    name: str, thing: str, cells: Iterable[Cell], actions: tuple[str, ...], own: int, charged: int, every: int
) -> UnitCost | None:
    if not every:
        return None
    spent = totals(shown([cell for cell in cells if cell.action in actions]))
    usd, usd_of = "–", "none on your own keys" if sees_any_usd() else OF_OWNERS
    if own and spent.usd_calls:
        usd_of = _counted(own, thing) + ("" if own == every else " on your own keys")
        if spent.has_no_token_charges:
            usd = amounts.WITHOUT_CHARGES
        elif spent.cost_nanousd is None:
            usd = amounts.NOT_KNOWN
        else:
            mean = round(Decimal(spent.cost_nanousd) / own)
            usd = amounts.at_least(amounts.dollars(mean, places=4), if_incomplete=spent.is_incomplete)
        if spent.is_incomplete:
            missing = amounts.not_covered(unpriced=spent.unpriced_calls, unanswered=spent.unknown_calls)
            usd_of += f"; without {missing}"
    credits = f"{Decimal(charged) / every:.2f}"
    return UnitCost(name, usd, usd_of, credits, f"{charged:,} credits, {_counted(every, thing)}", actions)


def _agent_run(cells: Iterable[Cell]) -> UnitCost | None:
    """As the page of an agent has it: the average of the runs that began in these days, with all their calls."""
    of_agents = [cell for cell in cells if cell.action not in NOT_OF_AGENTS]
    averages = averages_of([cell._replace(action="") for cell in of_agents], None).get("")
    if averages is None:
        return None
    return UnitCost("Agent run", averages.usd, averages.base, "–", "agents cost no credits", ())


def _counted(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
