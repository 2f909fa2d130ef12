"""What a rule says beside key and model: what calls are sent with, the models allowed, and whether it is paused."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal

from django.db import transaction

from organizations.audit import record
from organizations.edits import check_seen
from organizations.models import Organization, User
from routing import own_models
from routing.actions import Action, actions_of
from routing.allowed_models import ListRefused, checked, is_allowed, named_first
from routing.models import Effort, RoutingRule
from routing.own_models import OwnModel
from routing.services import RuleRefused, lock_routes

HOTTEST = Decimal(2)
MOST_OUTPUT_TOKENS = 10_000_000
MOST_ASKED_ABOUT = 1_000  # of what a list leaves out


@dataclass(frozen=True, slots=True)
class RuleSettings:
    """`temperature` has two decimals at most; empty values leave it to the client, or to the model."""

    temperature: Decimal | None = None
    most_output_tokens: int | None = None
    reasoning_effort: str = ""
    allowed_models: tuple[str, ...] = ()

    @property
    def parts(self) -> dict[str, object]:
        """What a form of them shows; a number is the same however it is written."""
        heat = None if self.temperature is None else f"{self.temperature:.2f}"
        return {**asdict(self), "temperature": heat, "allowed_models": list(self.allowed_models)}


class LeavesOut(Exception):
    """A list of allowed models would stop what has a model of its own under the action."""

    def __init__(self, action: Action, own: Sequence[OwnModel]) -> None:
        self.own = own
        named = named_first([f"{each.name} ({each.key.provider}/{each.model})" for each in own])
        super().__init__(
            f"With this list {action.name} would be refused for {named}. Add what is missing to the list, or save once "
            "more to have it so."
        )


def settings_of(rule: RoutingRule) -> RuleSettings:
    return RuleSettings(rule.temperature, rule.most_output_tokens, rule.reasoning_effort, tuple(rule.allowed_models))


def words_of_settings(rule: RoutingRule) -> str:
    """In a line, "" where a rule says nothing of this."""
    said = [
        f"temperature {rule.temperature.normalize():f}" if rule.temperature is not None else "",
        f"{rule.most_output_tokens:,} tokens at most" if rule.most_output_tokens is not None else "",
        f"effort {rule.get_reasoning_effort_display().lower()}" if rule.reasoning_effort else "",
        f"kept to a list of {len(rule.allowed_models)}" if rule.allowed_models else "",
    ]
    text = ", ".join(filter(None, said))
    return text[:1].upper() + text[1:]


def save_rule_settings(
    *,
    organization: Organization,
    action: str,
    settings: RuleSettings,
    actor: User | None,
    seen: str | None = None,
    told: Collection[str] | None = None,
) -> RoutingRule:
    """
    Have calls of `action` sent with these parameters, and its route kept within the allowed models. Raises RuleRefused,
    ChangedMeanwhile where they are not what the page had `seen`, and LeavesOut where they stop what has a model of its
    own that the page had not `told` of (None: whoever asks means all).
    """
    with transaction.atomic():
        named, rule = _routed(organization, action)
        _check(settings, rule, named)
        stored = settings_of(rule)
        if stored.parts == settings.parts:
            return rule
        check_seen(
            seen,
            stored.parts,
            what=f"what {named.name} is sent with",
            organization=organization,
            actions=["routing.settings_saved"],
            target=named.name,
            reader=actor,
        )
        left_out = _left_out(rule, settings)
        if told is not None and any(own.mark not in told for own in left_out):
            raise LeavesOut(named, left_out)
        rule.temperature, rule.most_output_tokens = settings.temperature, settings.most_output_tokens
        rule.reasoning_effort, rule.allowed_models = settings.reasoning_effort, list(settings.allowed_models)
        _save(rule, actor)
        record(
            organization=organization,
            actor=actor,
            action="routing.settings_saved",
            target=named.name,
            temperature=settings.parts["temperature"],  # type: ignore[arg-type]  # text or None
            most_output_tokens=settings.most_output_tokens,
            reasoning_effort=settings.reasoning_effort,
            allowed_models=", ".join(settings.allowed_models),
            version=rule.version,
        )
    return rule


def pause_routing(*, organization: Organization, action: str, actor: User | None, now: datetime) -> bool:
    """Nothing runs by the rule of `action` until it is resumed. Returns whether it ran before. Raises RuleRefused."""
    return _set_paused(organization, action, now, actor)


def resume_routing(*, organization: Organization, action: str, actor: User | None) -> bool:
    """Returns whether the rule was paused. Raises RuleRefused."""
    return _set_paused(organization, action, None, actor)


def _set_paused(organization: Organization, action: str, at: datetime | None, actor: User | None) -> bool:
    with transaction.atomic():
        named, rule = _routed(organization, action)
        if bool(rule.paused_at) == bool(at):
            return False
        rule.paused_at = at
        _save(rule, actor)
        record(
            organization=organization,
            actor=actor,
            action="routing.paused" if at else "routing.resumed",
            target=named.name,
            version=rule.version,
        )
    return True


def _routed(organization: Organization, action: str) -> tuple[Action, RoutingRule]:
    """The action and its rule, with routes locked."""
    lock_routes(organization)
    named = actions_of(organization).get(action)
    if named is None:
        raise RuleRefused("There is no such action.")
    rule = (
        RoutingRule.objects.for_organization(organization)
        .select_related("key", "organization")
        .filter(action=action)
        .first()
    )
    if rule is None:
        raise RuleRefused(f"{named.name} is not routed to a key of yours. Route it first.")
    return named, rule


def _check(settings: RuleSettings, rule: RoutingRule, named: Action) -> None:
    heat, most = settings.temperature, settings.most_output_tokens
    if heat is not None and not (heat.is_finite() and 0 <= heat <= HOTTEST and heat == round(heat, 2)):
        raise RuleRefused("A temperature is a number from 0 to 2, with two decimals at most.", field="temperature")
    if most is not None and not 1 <= most <= MOST_OUTPUT_TOKENS:
        raise RuleRefused(
            f"An output limit is a number of tokens from 1 to {MOST_OUTPUT_TOKENS:,}.", field="most_output_tokens"
        )
    if settings.reasoning_effort and settings.reasoning_effort not in Effort.values:
        raise RuleRefused("Choose a reasoning effort from the list.", field="reasoning_effort")
    try:
        checked(settings.allowed_models)
    except ListRefused as refusal:
        raise RuleRefused(str(refusal), field="allowed_models") from None
    if not is_allowed(settings.allowed_models, rule.key.provider, rule.model):
        raise RuleRefused(
            f"{named.name} is routed to “{rule.key.provider}/{rule.model}”, which is not in this list. Add it, or "
            "route it to another model first.",
            field="allowed_models",
        )


def _left_out(rule: RoutingRule, settings: RuleSettings) -> list[OwnModel]:
    """What has a model of its own that is allowed now and will not be."""
    if not settings.allowed_models:
        return []
    own = own_models.newest(rule.organization, most=MOST_ASKED_ABOUT).get(rule.action, [])
    return [
        each
        for each in own
        if is_allowed(rule.allowed_models, each.key.provider, each.model)
        and not is_allowed(settings.allowed_models, each.key.provider, each.model)
    ]


def _save(rule: RoutingRule, actor: User | None) -> None:
    rule.version += 1
    rule.updated_by = actor
    rule.save()
