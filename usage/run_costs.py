"""What one execution of an action cost, by its calls."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from organizations.models import Organization
from usage.audience import sees_usd
from usage.models import Mode, UsageEvent


@dataclass(frozen=True, slots=True)
class RunCost:
    calls: int
    tokens: int
    cost_nanousd: int | None
    unpriced_calls: int
    mode: Mode | None  # None: the run made no call
    is_reported: bool  # every priced call's cost is the provider's own figure, not an estimate
    is_hidden: bool  # a Managed run, whose USD are not shown
    unknown_calls: int = 0  # without an answer; they may have been billed
    unreported_calls: int = 0  # whose tokens are not known
    own_server_calls: int = 0

    @property
    def is_incomplete(self) -> bool:
        return bool(self.unpriced_calls or self.unknown_calls)

    @property
    def has_no_token_charges(self) -> bool:
        return self.cost_nanousd == 0 and self.own_server_calls > 0 and not self.is_incomplete


def run_cost(*, organization: Organization, run_id: uuid.UUID, show_managed_usd: bool | None = None) -> RunCost:
    """One execution of an action, from its events."""
    return run_costs(organization=organization, run_ids=[run_id], show_managed_usd=show_managed_usd)[run_id]


def run_costs(
    *, organization: Organization, run_ids: Iterable[uuid.UUID], show_managed_usd: bool | None = None
) -> dict[uuid.UUID, RunCost]:
    """The same for many runs in one query; a run without calls is in it, too."""
    events: dict[uuid.UUID, list[UsageEvent]] = {run_id: [] for run_id in run_ids}
    for event in UsageEvent.objects.for_organization(organization).filter(run_id__in=list(events)):
        events[event.run_id].append(event)
    return {run_id: _run_cost(of_run, show_managed_usd) for run_id, of_run in events.items()}


def _run_cost(events: Sequence[UsageEvent], show_managed_usd: bool | None) -> RunCost:
    is_managed = any(event.mode == Mode.MANAGED for event in events)
    is_hidden = any(not sees_usd(event.mode, show_managed_usd=show_managed_usd) for event in events)
    priced = [event for event in events if event.cost_nanousd is not None]
    unpriced = sum(event.is_unpriced for event in events)
    unanswered = sum(event.is_unanswered for event in events)
    cost = sum(event.cost_nanousd or 0 for event in priced)
    is_unknown = not priced or (not cost and (unpriced or unanswered))
    charged = [event for event in priced if not event.has_no_token_charges]
    return RunCost(
        calls=sum(event.revision == 0 for event in events),
        tokens=sum(event.total_tokens for event in events),
        cost_nanousd=None if is_unknown or is_hidden else cost,
        unpriced_calls=unpriced,
        mode=(Mode.MANAGED if is_managed else Mode.BYOK) if events else None,
        is_reported=bool(charged) and all(event.price_source == UsageEvent.PriceSource.PROVIDER for event in charged),
        is_hidden=is_hidden,
        unknown_calls=unanswered,
        unreported_calls=sum(event.are_tokens_unknown for event in events),
        own_server_calls=len(priced) - len(charged),
    )
