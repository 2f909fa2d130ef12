"""What a run of an action costs on average, and how many tokens it takes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from organizations.models import Organization
from usage import amounts
from usage.audience import OF_OWNERS, sees_any_usd
from usage.cells import Cell, Grouping, add_up, grouped, read_groupings, shown
from usage.days import MONTH, first_day
from usage.measures import RUN_MEASURES

BY_ACTION = Grouping(("action", "mode"), RUN_MEASURES)
BY_ACTION_AND_MODEL = Grouping(("provider", "model", "action", "mode"), RUN_MEASURES)


@dataclass(frozen=True, slots=True)
class ActionAverages:
    """
    Per run of one action. The average cost is over `priced_runs`, those with a known and shown price.

    `usd` and `base` are the average cost and what it is an average of, in words.
    """

    runs: int
    priced_runs: int
    average_cost_nanousd: int | None
    average_tokens: int | None
    hidden_runs: int  # Managed runs, whose USD are not shown
    partly_priced_runs: int = 0  # a part of their cost is not known
    own_server_runs: int = 0  # priced runs on a server that charges no tokens
    unreported_calls: int = 0  # whose tokens are not known

    @property
    def charged_runs(self) -> int:
        """Priced runs that somebody charged for: what a run costs where it is not on a server of one's own."""
        return self.priced_runs - self.own_server_runs

    @property
    def average_charge_nanousd(self) -> int | None:
        """The average over `charged_runs` alone."""
        return _mean((self.average_cost_nanousd or 0) * self.priced_runs, self.charged_runs)

    @property
    def usd_runs(self) -> int:
        """Runs whose USD may be shown."""
        return self.runs - self.hidden_runs

    @property
    def is_incomplete(self) -> bool:
        return self.partly_priced_runs > 0

    @property
    def has_no_token_charges(self) -> bool:
        return self.average_cost_nanousd == 0 and self.own_server_runs > 0 and not self.is_incomplete

    @property
    def usd(self) -> str:
        if self.has_no_token_charges:
            return amounts.WITHOUT_CHARGES
        if self.average_cost_nanousd is None and not self.usd_runs:
            return "Managed" if sees_any_usd() else OF_OWNERS
        return amounts.at_least(amounts.dollars(self.average_cost_nanousd, places=4), if_incomplete=self.is_incomplete)

    @property
    def misses_runs(self) -> bool:
        """It is not the average of all that was spent."""
        return self.is_incomplete or self.priced_runs < self.usd_runs

    @property
    def base(self) -> str:
        """Such as "average of 40 priced runs of 43"; "" where all runs are Managed."""
        if not self.priced_runs:
            return f"{self.usd_runs:,} run{'s' if self.usd_runs != 1 else ''} without a price" if self.usd_runs else ""
        if self.priced_runs == self.usd_runs:
            text = f"average of {self.priced_runs:,} run{'s' if self.priced_runs != 1 else ''}"
        else:
            plural = "s" if self.priced_runs != 1 else ""
            text = f"average of {self.priced_runs:,} priced run{plural} of {self.usd_runs:,}"
        if self.own_server_runs and not self.has_no_token_charges:
            text += f", {self.own_server_runs:,} of them on your own server"
        return text

    @property
    def tokens(self) -> str:
        return amounts.at_least(amounts.count(self.average_tokens), if_incomplete=bool(self.unreported_calls))


def action_averages(
    *, organization: Organization, today: date, days: int = MONTH, show_managed_usd: bool | None = None
) -> dict[str, ActionAverages]:
    """By action, of the runs that began in the period, with all their calls; an action without runs is not in it."""
    (by_action,) = read_groupings(organization, first_day(today, days), today, BY_ACTION)
    return averages_of(by_action, show_managed_usd)


def averages_with_model(
    *,
    organization: Organization,
    today: date,
    action: str,
    provider: str,
    model: str,
    show_managed_usd: bool | None = None,
) -> ActionAverages | None:
    """`action_averages` of those runs of one action that began with a call of `model`; None without such a run."""
    (cells,) = read_groupings(organization, first_day(today, MONTH), today, BY_ACTION_AND_MODEL)
    of_model = [cell for cell in cells if (cell.action, cell.provider, cell.model) == (action, provider, model)]
    return averages_of(of_model, show_managed_usd).get(action)


def averages_of(cells: Iterable[Cell], show_managed_usd: bool | None) -> dict[str, ActionAverages]:
    averages = {}
    for action, of_action in grouped(cells, lambda cell: cell.action).items():
        everything, own = add_up(of_action), add_up(shown(of_action, show_managed_usd))
        if not everything.runs:
            continue
        are_tokens_known = everything.run_tokens or not everything.run_unreported_calls
        averages[action] = ActionAverages(
            runs=everything.runs,
            priced_runs=own.priced_runs,
            average_cost_nanousd=_mean(own.run_cost_nanousd, own.priced_runs),
            average_tokens=_mean(everything.run_tokens, everything.runs) if are_tokens_known else None,
            hidden_runs=everything.runs - own.runs,
            partly_priced_runs=own.partly_priced_runs,
            own_server_runs=own.own_server_runs,
            unreported_calls=everything.run_unreported_calls,
        )
    return averages


def _mean(total: int, count: int) -> int | None:
    """Rounded half to even; None of nothing."""
    return round(Decimal(total) / count) if count else None
