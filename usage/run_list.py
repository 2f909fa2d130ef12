"""
Runs, as a list: those that a number of *Consumption* counts, the latest or the dearest first, each with all its calls.

A run is found by the call that counts it (usage/runs.py), so the indexes that find calls find runs; what its calls add
up to is summed for the few runs of a page by their ids.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Count, DateTimeField, Func, Max, Min, Q, Sum, Value
from django.db.models.functions import Coalesce
from django.db.models.sql.compiler import SQLCompiler

from organizations.models import Organization
from organizations.permissions import OrganizationHttpRequest
from organizations.reading import whole_number
from usage import gaps, kinds
from usage.audience import sees_usd
from usage.forms import UsageFilterForm
from usage.measures import TOKENS
from usage.models import Mode, UsageEvent
from usage.names import OwnNames, provider_names
from usage.querysets import UsageEventQuerySet
from usage.run_costs import RunCost
from usage.seldom import narrowed
from usage.views import Purpose

ROWS = 25
DEAREST_OF = 2000  # the latest ones, that are looked through
LATEST, DEAREST = "", "dearest"


class RunFilterForm(UsageFilterForm):
    order = forms.ChoiceField(required=False, choices=[(LATEST, "Latest first"), (DEAREST, "Dearest first")])

    @property
    def asks_for_kinds(self) -> bool:
        return not self.wanted.keys() <= {"from_", "to", "day", "by", "run", "order"}


class EndOfCall(Func):
    """When it was answered, or broke off."""

    output_field = DateTimeField()
    template = "%(expressions)s"

    def __init__(self) -> None:
        super().__init__("occurred_at", "latency_ms")

    def as_postgresql(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any) -> tuple[str, Any]:
        return self.as_sql(
            compiler, connection, template="(%(expressions)s * interval '1 millisecond')", arg_joiner=" + "
        )

    def as_sqlite(self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **context: Any) -> tuple[str, Any]:
        moment = "strftime('%%%%Y-%%%%m-%%%%d %%%%H:%%%%M:%%%%f', %(expressions)s))"
        return self.as_sql(compiler, connection, template=moment, arg_joiner=", printf('%%.3f seconds', 0.001 * ")


@dataclass(frozen=True, slots=True)
class Run:
    """`call` counts it; an action makes one run of an id, whatever else calls under the same id."""

    call: UsageEvent
    action: str
    cost: RunCost
    failed: int
    began: datetime
    took_ms: int
    purpose: Purpose | None = None


def runs_context(
    request: OrganizationHttpRequest,
    *,
    purposes: Callable[[set[uuid.UUID]], Mapping[uuid.UUID, Purpose]],
    names: OwnNames,
) -> dict[str, Any]:
    """What usage/runs.html needs."""
    organization = request.organization
    known = kinds.known_kinds(organization)
    form = RunFilterForm(request.GET, names=names, models={kind.model for kind in known})
    form.offer(
        provider=dict.fromkeys({*provider_names(), *(kind.provider for kind in known)}),
        action=dict.fromkeys({*names.actions, *(kind.action for kind in known)}),
    )
    calls = UsageEvent.objects.for_organization(organization)
    everything = calls
    calls, of_kinds = narrowed(form, organization, calls, calls.filter(pk__in=[kind.pk for kind in known]))
    after = whole_number(request.GET.get("after"))
    if form.wanted.get("order") == DEAREST:
        counting = latest_counting(form, calls, of_kinds, DEAREST_OF + 1)
        is_part, counting = len(counting) > DEAREST_OF, counting[:DEAREST_OF]
        found = sorted(_runs(organization, counting, names), key=_dearest_first)
        start = next((at for at, run in enumerate(found, start=1) if run.call.pk == after), 0)
        page, has_more = found[start : start + ROWS], len(found) > start + ROWS
    else:
        last = everything.filter(pk=after).first() if after else None
        counting = latest_counting(form, calls.before(last) if last else calls, of_kinds, ROWS + 1)
        is_part, has_more = False, len(counting) > ROWS
        page = _runs(organization, counting[:ROWS], names)
    of_runs = purposes({run.call.run_id for run in page})
    return {
        "form": form,
        "runs": [replace(run, purpose=of_runs.get(run.call.run_id)) for run in page],
        "after": page[-1].call.pk if has_more else None,
        "is_first_page": "after" not in request.GET,
        "looked_through": DEAREST_OF if is_part else None,
        "models": form.models,
    }


def latest_counting(
    form: UsageFilterForm, calls: UsageEventQuerySet, of_each_kind: UsageEventQuerySet, count: int
) -> list[UsageEvent]:
    """The calls that count the latest `count` runs which the form asks for, latest first."""
    counting = calls.filter(counts_run=True)
    within, *_ = form.of_time(counting)  # the call that counts a run leaves on the day of the run
    if "run" in form.wanted:  # by their ids, so that nothing but these is gone through in the order of the page
        return list(form.of_kinds(calls.filter(pk__in=within.values("pk"))).latest_first()[:count])
    if form.asks_for_kinds:
        return kinds.latest(within, count, of=form.of_kinds(of_each_kind))
    return list(within.latest_first()[:count])


def _dearest_first(run: Run) -> tuple[bool, int, datetime, int]:
    cost = run.cost.cost_nanousd
    return cost is None, -(cost or 0), run.call.occurred_at, run.call.pk


def _runs(organization: Organization, counting: Sequence[UsageEvent], names: OwnNames) -> list[Run]:
    sums = _sums(organization, {call.run_id for call in counting})
    return [_run(call, sums[call.run_id, call.action], names) for call in counting]


def _run(call: UsageEvent, sums: Mapping[str, Any], names: OwnNames) -> Run:
    is_hidden = any(sums[mode] and not sees_usd(mode) for mode in Mode.values)
    unknown = sums["unpriced"] + sums["unanswered"]
    is_unknown = not sums["priced"] or (not sums["cost"] and unknown)
    cost = RunCost(
        calls=sums["calls"],
        tokens=sums["tokens"],
        cost_nanousd=None if is_hidden or is_unknown else sums["cost"],
        unpriced_calls=sums["unpriced"],
        mode=Mode(call.mode),
        is_reported=False,
        is_hidden=is_hidden,
        unknown_calls=sums["unanswered"],
        unreported_calls=sums["unreported"],
        own_server_calls=sums["own_server"],
    )
    took = sums["ended"] - sums["began"]
    return Run(
        call=call,
        action=names.action(call.action),
        cost=cost,
        failed=sums["failed"],
        began=sums["began"],
        took_ms=took // timedelta(milliseconds=1),
    )


def _sums(organization: Organization, run_ids: Iterable[uuid.UUID]) -> dict[tuple[uuid.UUID, str], dict[str, Any]]:
    """Of all calls of these runs, by run and action."""
    rows = (
        UsageEvent.objects.for_organization(organization)
        .filter(run_id__in=list(run_ids))
        .order_by()
        .values("run_id", "action")
        .annotate(
            calls=Count("id", filter=Q(revision=0)),
            tokens=Sum(TOKENS),
            cost=Coalesce(Sum("cost_nanousd"), Value(0)),
            priced=Count("cost_nanousd"),
            unpriced=Count("id", filter=gaps.UNPRICED),
            unanswered=Count("id", filter=gaps.UNKNOWN),
            unreported=Count("id", filter=gaps.TOKENS_NOT_KNOWN),
            own_server=Count("id", filter=gaps.OWN_SERVER),
            failed=Count("id", filter=Q(status__in=UsageEvent.ERRORS)),
            began=Min("occurred_at"),
            ended=Max(EndOfCall()),
            **{mode: Count("id", filter=Q(mode=mode)) for mode in Mode.values},
        )
    )
    return {(row["run_id"], row["action"]): {**row} for row in rows}
