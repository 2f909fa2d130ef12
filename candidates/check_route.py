"""Where checks against a briefing go: to the briefing's own key and model, else as the action is routed."""

from __future__ import annotations

from collections.abc import Callable

from candidates.models import Briefing
from organizations.models import Organization
from providers.catalog import PROVIDERS
from providers.custody.inspection import try_again
from providers.models import ProviderKey
from routing.actions import CANDIDATE_CHECK
from routing.allowed_models import is_allowed
from routing.models import RoutingRule
from routing.reasons import RouteReason, of_state
from routing.resolve import CLOSED, Paused, Route, RouteUnavailable, known_route, mode_of, resolve
from usage.models import Mode

# A check is BYOK only if each of these runs on the organization's own key.
ACTIONS_OF_A_CHECK = (CANDIDATE_CHECK.slug,)


def route_of_checks(*, organization: Organization, briefing: Briefing) -> Route:
    """
    The route of checks against `briefing` as set now. Raises RouteUnavailable; never falls back: a model of its own
    that is out of order is not replaced by that of the action, nor by a managed one.

    Who pauses the action, or lists the models that it may be routed to, means these checks as well. How the rule has
    calls sent is of its own model.
    """
    own = _own_route(organization, briefing, try_again)
    return own or resolve(organization=organization, action=CANDIDATE_CHECK.slug)


def known_route_of_checks(
    *, organization: Organization, briefing: Briefing, action: str = CANDIDATE_CHECK.slug
) -> Route:
    """The same by what is known of keys, for pages; or of another `action` that a check calls."""
    own = _own_route(organization, briefing, lambda key: None) if action == CANDIDATE_CHECK.slug else None
    return own or known_route(organization=organization, action=action)


def mode_of_checks(*, organization: Organization, briefing: Briefing) -> Mode:
    routed = [slug for slug in ACTIONS_OF_A_CHECK if briefing.key_id is None or slug != CANDIDATE_CHECK.slug]
    return mode_of(organization=organization, actions=routed)


def _own_route(organization: Organization, briefing: Briefing, and_try: Callable[[ProviderKey], None]) -> Route | None:
    """None: the briefing has no model of its own."""
    if briefing.key_id is None:
        return None
    if organization.closed_at is not None:
        raise RouteUnavailable(CLOSED)
    rule = RoutingRule.objects.for_organization(organization).filter(action=CANDIDATE_CHECK.slug).first()
    if rule and rule.paused_at:
        raise Paused(CANDIDATE_CHECK, rule.paused_at)
    key = ProviderKey.objects.for_organization(organization).filter(pk=briefing.key_id).first()
    if key is None:
        raise RouteUnavailable(RouteReason("route.own_removed", {}))
    if rule and not is_allowed(rule.allowed_models, key.provider, briefing.model):
        named = {"model": f"{key.provider}/{briefing.model}", "action": CANDIDATE_CHECK.name}
        raise RouteUnavailable(RouteReason("route.own_not_allowed", named))
    and_try(key)
    if not key.is_usable:
        raise _broken(key)
    return Route(
        action=CANDIDATE_CHECK.slug,
        provider=key.provider,
        model=briefing.model,
        key_id=key.pk,
        key_label=key.label,
        mode=Mode.BYOK,
        is_own_model=True,
    )


def _broken(key: ProviderKey) -> RouteUnavailable:
    is_disabled = key.state.status == ProviderKey.Status.DISABLED
    return RouteUnavailable(
        of_state(
            "route.own_broken",
            key,
            provider=PROVIDERS[key.provider].name,
            label=key.label,
            mend=RouteReason("route.mend.enable" if is_disabled else "route.mend.replace", {}),
        )
    )
