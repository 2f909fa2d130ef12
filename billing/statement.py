"""What the credits page shows: the balance in four numbers, and the entries in words."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from uuid import UUID

from django.db.models import Q, QuerySet, Sum
from django.db.models.functions import Coalesce

from billing import ledger
from billing.models import CreditHold, LedgerEntry
from organizations.models import Organization

Kind = LedgerEntry.Kind

SPENT_DAYS = 30
OVERTAKEN = 1_000  # so many movements may wait for the account while others that began later are written
_TONES = {
    Kind.GRANT: "ok",
    Kind.HOLD: "info",
    Kind.CAPTURE: "",
    Kind.RELEASE: "muted",
    Kind.ADJUST: "warn",
}
_GIVEN = Q(d_held=0)  # grants and adjustments, as a constraint says; SQLite finds no index by a list of kinds


@dataclass(frozen=True, slots=True)
class CreditSummary:
    """
    All in credits. `granted` is everything ever given, adjustments included; `spent` is of `SPENT_DAYS`
    days.
    """

    available: int
    held: int
    spent: int
    granted: int


@dataclass(frozen=True, slots=True)
class StatementLine:
    """
    One ledger entry. `change` moves the balance, `held` what is set aside of it; both with their sign.

    `url` is where the thing stands that the credits of `hold_id` are for; the apps above know.
    """

    seq: int
    created_at: dt.datetime
    label: str
    tone: str
    purpose: str
    actor: str
    change: int
    held: int
    available_after: int
    hold_id: UUID | None
    url: str = ""


def credit_summary(*, organization: Organization, today: dt.date) -> CreditSummary:
    balance = ledger.balance(organization=organization)
    spent, granted = (  # each has its own index
        LedgerEntry.objects.for_organization(organization)
        .filter(which)
        .aggregate(credits=Coalesce(Sum("d_posted"), 0))["credits"]
        for which in (_spent_since(today), _GIVEN)
    )
    return CreditSummary(available=balance.available, held=balance.held, spent=-spent, granted=granted)


def entries(*, organization: Organization, show: str, today: dt.date) -> QuerySet[LedgerEntry]:
    """
    The entries behind a number, newest first: of `show` "held", "spent" or "granted" as in CreditSummary,
    else all.
    """
    of_organization = LedgerEntry.objects.for_organization(organization)
    pending = CreditHold.objects.for_organization(organization).filter(state=CreditHold.State.PENDING)
    which = {
        "held": Q(kind=Kind.HOLD, hold__in=pending),  # few: joined, all entries might be looked through for them
        "spent": _spent_since(today),
        "granted": _GIVEN,
    }.get(show, Q())
    if show == "spent":  # by their number, too: the entries are read in its order, and end with the last ones before
        before = of_organization.filter(created_at__lt=_first_moment(today)).order_by("-created_at")
        which &= Q(seq__gt=(before.values_list("seq", flat=True).first() or 0) - OVERTAKEN)
    return of_organization.filter(which).select_related("hold", "actor").order_by("-seq")


def line(entry: LedgerEntry) -> StatementLine:
    return StatementLine(
        seq=entry.seq,
        created_at=entry.created_at,
        label=entry.get_kind_display(),
        tone=_TONES[Kind(entry.kind)],
        purpose=entry.hold.purpose if entry.hold else entry.reason,
        actor=entry.actor.get_full_name() if entry.actor else "",
        change=entry.d_posted,
        held=entry.d_held,
        available_after=entry.available_after,
        hold_id=entry.hold_id,
    )


def _spent_since(today: dt.date) -> Q:
    """The last days count whole UTC days and include today."""
    return Q(kind=Kind.CAPTURE, created_at__gte=_first_moment(today))


def _first_moment(today: dt.date) -> dt.datetime:
    return dt.datetime.combine(today - dt.timedelta(days=SPENT_DAYS - 1), dt.time.min, tzinfo=dt.UTC)
