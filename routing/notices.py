"""
What is told once of models: those that are new since somebody last looked, one that is cheaper by what an action itself
used, and one that its provider announced to end. It is told until somebody has read it.

Whether something is cheaper is looked at once a day (`manage.py note_cheaper_models`), not while a page waits, and of
few models only: the same one at another provider, those that already serve something here, and the quick and cheap ones
of each provider (`usual_models` of providers/catalog.py). Any small model is cheaper than a large one; nobody needs to
be told that of each.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from django.db import transaction

from organizations.models import Organization, User
from organizations.tenancy import scope
from providers.catalog import PROVIDERS
from providers.models import AvailableModel
from routing.allowed_models import is_allowed
from routing.key_models import KeyModel, models_of_keys, selectable_keys
from routing.models import ModelNotice, RoutingRule
from routing.resolve import RoutingRow, resolve_all
from usage import amounts
from usage.audience import sees_any_usd
from usage.cells import read_groupings
from usage.days import MONTH, first_day
from usage.model_names import undated
from usage.names import action_name, provider_name
from usage.what_if import BY_ACTION_MODEL_AND_DAY, Offered, Past, is_same_model, past_by_action

CHEAPER_BY = 20  # percent, at the dearest end of the band
LEAST_SAVED = amounts.ONE_USD  # in the month, so that nobody is told of cents
SILENT_FOR = timedelta(days=30)  # after somebody has read that an action could be cheaper
ALWAYS = datetime.min.replace(tzinfo=UTC)
Kind = ModelNotice.Kind


@dataclass(frozen=True, slots=True)
class Told:
    """One notice, as it is shown; `mark` names it to who has read it."""

    mark: str
    sentence: str
    action: str = ""
    url_query: str = ""


def cheaper_told(
    notices: Iterable[ModelNotice], rules: Mapping[str, RoutingRule], names: Mapping[str, str]
) -> list[Told]:
    """Of those not read, for actions that are still routed to something else."""
    told = []
    for notice in notices:
        rule = rules.get(notice.action)
        is_open = notice.kind == Kind.CHEAPER and notice.dismissed_at is None
        if is_open and rule and (rule.key.provider, rule.model) != (notice.provider, notice.model):
            name = action_name(notice.action, names)
            told.append(Told(mark_of(notice), _cheaper_sentence(notice, name), notice.action))
    return told


def ending_told(notices: Iterable[ModelNotice], uses: Iterable[tuple[str, str, date, str]]) -> Iterator[Told]:
    """Of `uses`: provider, model, the day on which it ends, and who uses it, in words."""
    read = {(n.provider, n.model, n.detail.get("ends_on")) for n in notices if n.kind == Kind.ENDING and n.dismissed_at}
    for provider, model, ends_on, who in uses:
        if (provider, model, ends_on.isoformat()) not in read:
            sentence = (
                f"{provider_name(provider)} announced that “{model}” ends on {ends_on:%-d %B %Y}. It serves {who}."
            )
            yield Told(f"{Kind.ENDING} - {provider} {model}", sentence)


def last_look(notices: Iterable[ModelNotice]) -> datetime | None:
    """When the organization last looked at what is new."""
    return next((notice.dismissed_at for notice in notices if notice.kind == Kind.NEW), None)


def notices_of(organization: Organization) -> list[ModelNotice]:
    return list(ModelNotice.objects.for_organization(organization).order_by("action", "pk"))


def mark_of(notice: ModelNotice) -> str:
    return f"{notice.kind} {notice.action or '-'} {notice.provider} {notice.model}"


def dismiss(*, organization: Organization, mark: str, actor: User, now: datetime) -> None:
    """What the mark names is not told from now on; a mark of nothing, or of what was read before, changes nothing."""
    kind, action, provider, model = [*mark.split(" ", 3), "", "", ""][:4]
    notices = ModelNotice.objects.for_organization(organization)
    read = {"dismissed_at": now, "dismissed_by": actor}
    if kind == Kind.CHEAPER:
        of_action = notices.filter(kind=kind, action=action, provider=provider, model=model)
        of_action.filter(dismissed_at=None).update(**read)
        return
    listed = AvailableModel.objects.for_organization(organization)
    named, detail = {"provider": "", "model": ""}, {}
    if kind == Kind.NEW:
        since = last_look(notices.filter(kind=kind)) or ALWAYS
        is_news = listed.filter(listed_since__gt=since).exists()
    else:
        ends = listed.filter(key__provider=provider, model=model).exclude(ends_on=None)
        ends_on = ends.values_list("ends_on", flat=True).first() if kind == Kind.ENDING else None
        named, detail = {"provider": provider, "model": model}, {"ends_on": ends_on.isoformat() if ends_on else ""}
        is_news = ends_on is not None and not notices.filter(kind=kind, **named, detail=detail).exists()
    if is_news:
        read = {**read, "detail": detail}
        notices.update_or_create(
            organization=organization,
            kind=kind,
            action="",
            **named,
            defaults=read,
            create_defaults={**read, "noted_at": now},
        )


def note_cheaper_models(*, now: datetime) -> int:
    """Look at what every organization has routed; how many notices there are that nobody has read."""
    organizations = Organization.objects.filter(closed_at=None, pk__in=RoutingRule.objects.values("organization"))
    noted = 0
    for organization in organizations.order_by("pk"):
        with scope(organization, "what this organization could pay less for"):
            noted += _note_of(organization, now=now)
    return noted


def _note_of(organization: Organization, *, now: datetime) -> int:
    today = now.date()
    (cells,) = read_groupings(organization, first_day(today, MONTH), today, BY_ACTION_MODEL_AND_DAY)
    pasts = past_by_action(cells, today=today, show_managed_usd=False)
    rows = [row for row in resolve_all(organization=organization) if row.rule and row.action.slug in pasts]
    offered = models_of_keys(organization, selectable_keys(organization))
    serving = {(row.rule.key.provider, row.rule.model) for row in rows if row.rule}
    before = notices_of(organization)
    wanted = {}
    for row in rows:
        of_action = [notice for notice in before if notice.kind == Kind.CHEAPER and notice.action == row.action.slug]
        read = [notice for notice in of_action if notice.dismissed_at]
        if any(notice.dismissed_at and notice.dismissed_at > now - SILENT_FOR for notice in read):
            continue
        told = {(notice.provider, notice.model) for notice in read}
        found = _cheapest(row, pasts[row.action.slug], offered, serving, told)
        if found:
            wanted[row.action.slug, found.provider, found.model] = _detail(pasts[row.action.slug], found.offered, today)
    with transaction.atomic():
        stale = [
            notice.pk
            for notice in before
            if notice.kind == Kind.CHEAPER
            and notice.dismissed_at is None
            and (notice.action, notice.provider, notice.model) not in wanted
        ]
        ModelNotice.objects.for_organization(organization).filter(pk__in=stale).delete()
        for (action, provider, model), detail in wanted.items():
            ModelNotice.objects.update_or_create(
                organization=organization,
                kind=Kind.CHEAPER,
                action=action,
                provider=provider,
                model=model,
                defaults={"detail": detail},
                create_defaults={"detail": detail, "noted_at": now},
            )
    return len(wanted)


def _cheapest(
    row: RoutingRow, past: Past, offered: Iterable[KeyModel], serving: set[tuple[str, str]], told: set[tuple[str, str]]
) -> KeyModel | None:
    """Of the models that are looked at, the one whose band ends lowest."""
    assert row.rule is not None  # noqa: S101  # of rows with a rule
    rule = row.rule
    now = Offered(rule.key.provider, rule.model)
    cheaper = []
    for each in offered:
        named = (each.provider, each.model)
        is_looked_at = (
            named in serving
            or undated(each.model) in {undated(model) for model in PROVIDERS[each.provider].usual_models}
            or is_same_model(now, each.offered)
        )
        if not is_looked_at or named in told or named == (rule.key.provider, rule.model):
            continue
        if not is_allowed(rule.allowed_models, *named) or each.offered.has_no_token_charges:
            continue
        most, cost = past.paid.estimate(each.offered).high or 0, past.paid.totals.cost_nanousd or 0
        if past.is_cheaper(each.offered, by_percent=CHEAPER_BY) and cost - most >= LEAST_SAVED:
            cheaper.append((most, named, each))
    return min(cheaper, key=lambda found: found[:2])[2] if cheaper else None


def _detail(past: Past, offered: Offered, today: date) -> dict[str, int | str]:
    estimate, cost = past.paid.estimate(offered), past.paid.totals.cost_nanousd or 1
    least = 100 - -(-(estimate.high or 0) * 100 // cost)
    return {
        "as_of": today.isoformat(),
        "nanousd": estimate.nanousd or 0,
        "cost_nanousd": cost,
        "least_percent": least,
        "most_percent": max(100 - (estimate.low or 0) * 100 // cost, least),
    }


def _cheaper_sentence(notice: ModelNotice, name: str) -> str:
    detail = notice.detail
    least, most = detail["least_percent"], detail["most_percent"]
    cost, instead = (_usd(detail[key]) for key in ("cost_nanousd", "nanousd"))
    how = f"about {instead} instead of {cost}" if sees_any_usd() else "less"
    share = f"{least} to {most} %" if least != most else f"{least} %"
    whose, until = provider_name(notice.provider), f"{date.fromisoformat(detail['as_of']):%-d %B}"
    return (
        f"“{notice.model}” of {whose} would have cost {name} {how} in the {MONTH} days up to {until}: {share} less. "
        "It may answer otherwise."
    )


def _usd(nanousd: int) -> str:
    return amounts.dollars(nanousd, places=2 if nanousd >= amounts.ONE_USD // 10 else 4)
