"""What a rule says beside key and model: what calls are sent with, the models allowed, and whether it is paused."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal

from django.db import transaction

from organizations.audit import record
from organizations.edits import check_seen
from organizations.models import Organization, User
from routing.actions import Action, actions_of
from routing.allowed_models import ListRefused, checked, is_allowed
from routing.models import Effort, RoutingRule
from routing.services import RuleRefused, lock_routes

HOTTEST = Decimal(2)
MOST_OUTPUT_TOKENS = 10_000_000


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


def settings_of(rule: RoutingRule) -> RuleSettings:
    return RuleSettings(rule.temperature, rule.most_output_tokens, rule.reasoning_effort, tuple(rule.allowed_models))


def words_of_settings(rule: RoutingRule) -> str:
    """In a line, "" where a rule says nothing of this."""
    said = [
        f"temperature {rule.temperature.normalize():f}" if rule.temperature is not None else "",
        f"{rule.most_output_tokens:,} tokens at most" if rule.most_output_tokens is not None else "",
        f"effort {rule.get_reasoning_effort_display().lower()}" if rule.reasoning_effort else "",
        f"of {len(rule.allowed_models)} allowed" if rule.allowed_models else "",
    ]
    text = ", ".join(filter(None, said))
    return text[:1].upper() + text[1:]


def save_rule_settings(
    *, organization: Organization, action: str, settings: RuleSettings, actor: User | None, seen: str | None = None
) -> RoutingRule:
    """
    Have calls of `action` sent with these parameters, and its route kept within the allowed models. Raises RuleRefused,
    and ChangedMeanwhile where they are not what the page had `seen`.
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
    rule = RoutingRule.objects.for_organization(organization).select_related("key").filter(action=action).first()
    if rule is None:
        raise RuleRefused(f"{named.name} is not routed to a key of yours. Route it first.")
    return named, rule


def _check(settings: RuleSettings, rule: RoutingRule, named: Action) -> None:
    heat, most = settings.temperature, settings.most_output_tokens
    if heat is not None and not (heat.is_finite() and 0 <= heat <= HOTTEST and heat == round(heat, 2)):
        raise RuleRefused("A temperature is a number from 0 to 2, with two decimals at most.")
    if most is not None and not 1 <= most <= MOST_OUTPUT_TOKENS:
        raise RuleRefused(f"An output limit is a number of tokens from 1 to {MOST_OUTPUT_TOKENS:,}.")
    if settings.reasoning_effort and settings.reasoning_effort not in Effort.values:
        raise RuleRefused("Choose a reasoning effort from the list.")
    try:
        checked(settings.allowed_models)
    except ListRefused as refusal:
        raise RuleRefused(str(refusal)) from None
    if not is_allowed(settings.allowed_models, rule.key.provider, rule.model):
        raise RuleRefused(
            f"{named.name} is routed to “{rule.key.provider}/{rule.model}”, which is not in this list. Add it, or "
            "route it to another model first."
        )


def _save(rule: RoutingRule, actor: User | None) -> None:
    rule.version += 1
    rule.updated_by = actor
    rule.save()
