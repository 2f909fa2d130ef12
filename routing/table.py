"""The routing table as a page shows it: the choices, what stands in their way, and recent averages."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from django.db.models import Case, When, Window
from django.db.models.functions import RowNumber
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from organizations.models import Organization
from providers.cards import usd_text
from providers.models import AvailableModel, ProviderKey
from routing import own_models
from routing.actions import Action
from routing.allowed_models import is_allowed
from routing.forms import RouteForm, initial_of
from routing.key_models import PRICES, offered_by, selectable_keys
from routing.notices import Told, cheaper_told, ending_told, notices_of
from routing.own_models import MOST_LISTED, OwnModel
from routing.reasons import RouteReason
from routing.resolve import RoutingRow, resolve_all
from routing.rule_settings import words_of_settings
from usage.averages import ActionAverages, action_averages
from usage.days import MONTH, first_day
from usage.names import provider_name
from usage.what_if import Past

MOST_SUGGESTED = 1_000  # models of one key, in a list that the page holds whole; others can be typed


@dataclass(frozen=True, slots=True)
class Suggestion:
    """One entry of the list that a model field offers."""

    model: str
    label: str
    ends_on: date | None = None  # as its provider announced


@dataclass(frozen=True, slots=True)
class SuggestionList:
    """What one key can call; model fields offer the list of the key chosen beside them."""

    key_id: UUID
    suggestions: Sequence[Suggestion]

    @property
    def options(self) -> SafeString:
        """Hundreds of them: a template takes ten times as long."""
        return format_html_join(
            "",
            '<option value="{}" label="{}"></option>',
            ((suggestion.model, suggestion.label) for suggestion in self.suggestions),
        )


@dataclass(frozen=True, slots=True)
class RouteLine:
    row: RoutingRow
    form: RouteForm
    averages: ActionAverages | None
    trouble: str  # why the action does not run now, "" if it does
    is_unlisted: bool  # the key no longer lists the chosen model
    own_models: Sequence[OwnModel] = ()  # what under it is served otherwise, the newest
    has_more_own_models: bool = False
    told: Sequence[Told] = ()  # of its model, or of one that is cheaper

    @property
    def provider_name(self) -> str:
        source = self.row.rule.key if self.row.rule else self.row.default
        return provider_name(source.provider) if source else ""

    @property
    def states_of_own_models(self) -> list[tuple[OwnModel, str]]:
        """Each with what keeps it from running, in a word."""
        allowed = self.row.rule.allowed_models if self.row.rule else ()
        return [
            (own, "" if is_allowed(allowed, own.key.provider, own.model) else "Not allowed")
            if own.key.is_usable
            else (own, own.key.state.label)
            for own in self.own_models
        ]

    @property
    def sent_with(self) -> str:
        """What its rule says beside key and model."""
        return words_of_settings(self.row.rule) if self.row.rule else ""


@dataclass(frozen=True, slots=True)
class RoutingTable:
    lines: Sequence[RouteLine]
    suggestion_lists: Sequence[SuggestionList]
    first_day: date  # of the 30 days that the averages cover
    asked_at: datetime

    @property
    def is_managed(self) -> bool:
        return any(line.row.is_managed for line in self.lines)

    @property
    def has_own_models(self) -> bool:
        return any(line.own_models for line in self.lines)

    @property
    def has_keys(self) -> bool:
        return any(line.form.keys for line in self.lines)


def route_forms(
    organization: Organization,
    *,
    posted: Mapping[str, str] | None = None,
    unsaved: Mapping[str, str] | None = None,
    keys: Sequence[ProviderKey] | None = None,
) -> list[RouteForm]:
    """
    A form for every action: bound to `posted`, or showing what is stored with the `unsaved` input of the page
    laid over it. `keys` are all those of the organization, where they were read before.
    """
    rows = resolve_all(organization=organization, keys=keys or ())
    keys = selectable_keys(organization) if keys is None else [key for key in keys if key.is_usable]
    forms = []
    for row in rows:
        own = keys if row.rule is None or row.rule.key in keys else [*keys, row.rule.key]
        forms.append(RouteForm(posted, row=row, keys=own, initial=initial_of(row, own, unsaved or {})))
    return forms


def routing_page(
    organization: Organization,
    forms: Sequence[RouteForm],
    *,
    now: datetime,
    averages: Mapping[str, ActionAverages] | None = None,
) -> RoutingTable:
    """The table with these forms; `averages` of its month where they were asked for before."""
    today = now.date()
    lists = suggestion_lists(
        organization,
        keys={key for form in forms for key in form.keys.values() if key.is_usable},
        chosen={form.row.rule.model for form in forms if form.row.rule},
    )
    listed = {each.key_id: {one.model: one.ends_on for one in each.suggestions} for each in lists}
    rules = {form.row.action.slug: form.row.rule for form in forms if form.row.rule}
    names = {form.row.action.slug: form.row.action.name for form in forms}
    notices = notices_of(organization) if rules else []
    cheaper = cheaper_told(notices, rules, names)
    if averages is None:
        averages = action_averages(organization=organization, today=today)
    own = own_models.newest(organization)
    lines = []
    for form in forms:
        rule, others = form.row.rule, own.get(form.row.action.slug, [])
        models = listed.get(rule.key_id, {}) if rule else {}
        ends_on = models.get(rule.model) if rule else None
        ending = [(rule.key.provider, rule.model, ends_on, "this action")] if rule and ends_on else []
        lines.append(
            RouteLine(
                row=form.row,
                form=form,
                averages=averages.get(form.row.action.slug),
                trouble=next((trouble.sentence for trouble in troubles([form.row], own)), ""),
                is_unlisted=bool(rule and models and rule.model not in models),
                own_models=others[:MOST_LISTED],
                has_more_own_models=len(others) > MOST_LISTED,
                told=[
                    *ending_told(notices, ending),
                    *(told for told in cheaper if told.action == form.row.action.slug),
                ],
            )
        )
    return RoutingTable(lines, lists, first_day=first_day(today, MONTH), asked_at=now)


def listed_models(key: ProviderKey | None) -> set[str]:
    if key is None:
        return set()
    listed = key.available_models.filter(organization=key.organization_id)
    return set(listed.values_list("model", flat=True))


def suggestion_lists(
    organization: Organization,
    *,
    keys: Collection[ProviderKey],
    chosen: Collection[str] = (),
    past: Past | None = None,
) -> list[SuggestionList]:
    """
    The models of each of `keys`, by name: MOST_SUGGESTED of each at most, the `chosen` ones among them. With what each
    would have cost, where it is known what the action used.
    """
    by_key: dict[UUID, list[Suggestion]] = {}
    by_id = {key.pk: key for key in keys}
    unchosen = Case(When(model__in=chosen, then=0), default=1)
    place = Window(RowNumber(), partition_by="key", order_by=[unchosen, "model"])
    available = AvailableModel.objects.for_organization(organization).filter(key__in=keys)
    suggested = available.annotate(place=place).filter(place__lte=MOST_SUGGESTED).order_by("key", "model")
    columns = ("key_id", "model", "ends_on", "name", "context_tokens", *PRICES)
    for key_id, model, ends_on, *told in suggested.values_list(*columns):
        label = _label(model, *told)
        if past is not None and past.runs:
            estimate = past.estimate(offered_by(by_id[key_id], model, told[2:]))
            label = " · ".join(part for part in (label, estimate.short_words) if part)
        by_key.setdefault(key_id, []).append(Suggestion(model, label, ends_on))
    return [SuggestionList(key_id, suggestions) for key_id, suggestions in by_key.items()]


def _label(model: str, name: str, context_tokens: int | None, price_in: int | None, price_out: int | None) -> str:
    parts = [name] if name != model else []
    if context_tokens:
        parts.append(f"{context_tokens:,} tokens")
    if price_in is not None and price_out is not None:
        parts.append(f"{usd_text(price_in)} in, {usd_text(price_out)} out per million")
    return " · ".join(parts)


@dataclass(frozen=True, slots=True)
class Trouble:
    """
    An action that cannot run now. `key` is the one that it is routed to, broken unless the action `is_paused`; None: no
    model serves it yet, or only what `has_own_models` under it.
    """

    action: Action
    sentence: str
    key: ProviderKey | None
    is_paused: bool
    has_own_models: bool = False

    @property
    def is_meant(self) -> bool:
        """An agent that is not routed yet, or paused: somebody left it so, and nothing of ours waits for it."""
        return self.action.is_agent and (self.key is None or self.is_paused)


def troubles(rows: Iterable[RoutingRow], own: Mapping[str, Sequence[OwnModel]]) -> list[Trouble]:
    """The actions of these rows that cannot run now, in their order; `own` as `own_models.newest` has it, by action."""
    found = []
    for row in rows:
        if sentence := row.trouble:
            serving = _serve_alone(row, own.get(row.action.slug, ()))
            if serving:
                sentence = RouteReason("route.no_model.but_own", {"action": row.action.name}).sentence
            is_paused = bool(row.rule and row.rule.paused_at)
            found.append(Trouble(row.action, sentence, row.rule.key if row.rule else None, is_paused, serving))
    return found


def own_models_of_unserved(organization: Organization, rows: Iterable[RoutingRow]) -> dict[str, list[OwnModel]]:
    """What `troubles` needs of them, asked only where it has a part in it."""
    is_asked = any(row.is_unserved and not row.action.is_agent for row in rows)
    return own_models.newest(organization) if is_asked else {}


def _serve_alone(row: RoutingRow, own: Iterable[OwnModel]) -> bool:
    """Whether nothing serves the action but some `own` models under it."""
    return row.is_unserved and any(each.key.is_usable for each in own)
