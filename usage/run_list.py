"""
Runs, as a list: those that a number of *Consumption* counts, the latest or the dearest first, each with all its calls.

A run is found by the call that counts it (usage/runs.py), so the indexes that find calls find runs; what its calls add
up to is summed for the few runs of a page by their ids. What goes on for longer than 24 hours is counted once more for
every 24 hours, and is one row all the same: that of the first call that counts it of those that are asked for.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, cast

from django import forms
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Count, DateTimeField, Func, Max, Min, Q, Sum, Value
from django.db.models.functions import Coalesce
from django.db.models.sql.compiler import SQLCompiler

from organizations.models import Organization
from organizations.permissions import OrganizationHttpRequest
from organizations.reading import whole_number
from usage import gaps, kinds
from usage.audience import sees_any_usd, sees_usd
from usage.filter_counts import filter_counts
from usage.forms import UsageFilterForm
from usage.kept import kept_from
from usage.measures import TOKENS
from usage.models import Mode, UsageEvent
from usage.names import OwnNames, provider_names
from usage.querysets import UsageEventQuerySet
from usage.run_costs import RunCost
from usage.seldom import narrowed
from usage.views import Purpose

ROWS = 25
DEAREST_OF = 2000  # the latest ones, that are looked through
AT_ONCE = 500  # where a page is not filled by as many calls as it has rows
LATEST, DEAREST = "", "dearest"
RunKey = tuple[uuid.UUID, str]


class RunFilterForm(UsageFilterForm):
    order = forms.ChoiceField(required=False, choices=[(LATEST, "Latest first"), (DEAREST, "Dearest first")])

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not sees_any_usd():
            cast(forms.ChoiceField, self.fields["order"]).choices = [(LATEST, "Latest first")]

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
    """
    `call` counts it; an action makes one run of an id, whatever else calls under the same id. All figures are of the
    whole run. `counted` is how often the numbers that lead here count it, and `counted_in_all` how often others may.
    """

    call: UsageEvent
    action: str
    cost: RunCost
    failed: int
    began: datetime
    took_ms: int
    counted: int
    counted_in_all: int
    purpose: Purpose | None = None


def runs_context(
    request: OrganizationHttpRequest,
    *,
    purposes: Callable[[set[uuid.UUID]], Mapping[uuid.UUID, Purpose]],
    names: OwnNames,
    now: datetime,
) -> dict[str, Any]:
    """What usage/runs.html needs."""
    organization = request.organization
    known = kinds.known_kinds(organization)
    form = RunFilterForm(request.GET, names=names, models={kind.model for kind in known})
    counts = filter_counts(organization, form, "runs", today=now.date())
    form.offer(
        **counts.of
        | {
            "provider": dict.fromkeys({*provider_names(), *(kind.provider for kind in known)}, 0)
            | counts.of["provider"],
            "action": dict.fromkeys({*names.actions, *(kind.action for kind in known)}, 0) | counts.of["action"],
        }
    )
    everything = UsageEvent.objects.for_organization(organization)
    calls, of_kinds = narrowed(form, organization, everything, everything.filter(pk__in=[kind.pk for kind in known]))
    found = _Found(organization, form, calls, of_kinds, names)
    after = whole_number(request.GET.get("after"))
    last = everything.filter(pk=after).first() if after else None
    if form.wanted.get("order") == DEAREST:
        latest = found.latest(DEAREST_OF + 1)
        is_part = len(latest) > DEAREST_OF
        dearest = sorted(latest[:DEAREST_OF], key=_dearest_first)
        start = next((at for at, run in enumerate(dearest, start=1) if run.call.pk == after), 0)
        page, has_more = dearest[start : start + ROWS], len(dearest) > start + ROWS
    else:
        latest = found.latest(ROWS + 1, after=last)
        is_part, page, has_more = False, latest[:ROWS], len(latest) > ROWS
    of_runs = purposes({run.call.run_id for run in page})
    return {
        "form": form,
        "runs": [replace(run, purpose=of_runs.get(run.call.run_id)) for run in page],
        "after": page[-1].call.pk if has_more else None,
        "is_first_page": "after" not in request.GET,
        "looked_through": DEAREST_OF if is_part else None,
        "models": [(model, counts.of["model"][model]) for model in form.models],
        "counted_days": counts.days,
        "kept_from": None if page else kept_from(),
    }


class _Found:
    """The runs that a form asks for."""

    def __init__(
        self,
        organization: Organization,
        form: RunFilterForm,
        calls: UsageEventQuerySet,
        of_each_kind: UsageEventQuerySet,
        names: OwnNames,
    ) -> None:
        self._organization, self._form, self._names = organization, form, names
        self._calls, self._of_each_kind = calls, of_each_kind

    def latest(self, count: int, *, after: UsageEvent | None = None) -> list[Run]:
        """At most `count`, latest first; `after` is the call that counts the run before them."""
        calls, asked = self._calls.before(after) if after else self._calls, count
        runs: list[Run] = []
        sums: dict[RunKey, dict[str, Any]] = {}
        of_long: dict[RunKey, list[int]] = {}
        while True:
            counting = self._counting(calls, asked)
            sums |= _sums(self._organization, {call.run_id for call in counting if _key(call) not in sums})
            long = {call.run_id for call in counting if sums[_key(call)]["counted"] > 1 and _key(call) not in of_long}
            of_long |= self._counting_long(long)
            for call in counting:
                (*_, first) = counted = of_long.get(_key(call), [call.pk])
                if call.pk == first:
                    runs.append(_run(call, sums[_key(call)], len(counted), self._names))
            if len(counting) < asked or len(runs) >= count:
                return runs[:count]
            others = [pk for counted in of_long.values() for pk in counted[:-1]]
            calls, asked = calls.before(counting[-1]).exclude(pk__in=others), max(asked, AT_ONCE)

    def _counting(self, calls: UsageEventQuerySet, count: int) -> list[UsageEvent]:
        """The latest `count` of `calls` that count a run."""
        form, within = self._form, self._within(calls)
        if "run" in form.wanted:  # by their ids, so that nothing but these is gone through in the order of the page
            return list(form.of_kinds(calls.filter(pk__in=within.values("pk"))).latest_first()[:count])
        if form.asks_for_kinds:
            return kinds.latest(within, count, of=form.of_kinds(self._of_each_kind))
        return list(within.latest_first()[:count])

    def _within(self, calls: UsageEventQuerySet) -> UsageEventQuerySet:
        within, *_ = self._form.of_time(calls.filter(counts_run=True))  # it leaves on the day of the run
        return within

    def _counting_long(self, run_ids: set[uuid.UUID]) -> dict[RunKey, list[int]]:
        """All calls that count these runs and are asked for, latest first."""
        found: defaultdict[RunKey, list[int]] = defaultdict(list)
        if run_ids:
            counting = self._form.of_kinds(self._within(self._calls).filter(run_id__in=run_ids)).latest_first()
            for run_id, action, pk in counting.values_list("run_id", "action", "pk"):
                found[run_id, action].append(pk)
        return found


def _dearest_first(run: Run) -> tuple[bool, int, datetime, int]:
    cost = run.cost.cost_nanousd
    return cost is None, -(cost or 0), run.call.occurred_at, run.call.pk


def _key(call: UsageEvent) -> RunKey:
    return call.run_id, call.action


def _run(call: UsageEvent, sums: Mapping[str, Any], counted: int, names: OwnNames) -> Run:
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
        counted=counted,
        counted_in_all=sums["counted"],
    )


def _sums(organization: Organization, run_ids: Iterable[uuid.UUID]) -> dict[RunKey, dict[str, Any]]:
    """Of all calls of these runs, by run and action."""
    rows = (
        UsageEvent.objects.for_organization(organization)
        .filter(run_id__in=list(run_ids))
        .order_by()
        .values("run_id", "action")
        .annotate(
            calls=Count("id", filter=Q(revision=0)),
            counted=Count("id", filter=Q(counts_run=True)),
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
