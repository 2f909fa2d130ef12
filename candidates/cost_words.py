"""
What a run costs beside its credits, in words: which provider bills for it, how much, and how sure that is.

Managed runs are the operator's to pay: of them credits are told, and USD only where the installation shows them.
"""

from __future__ import annotations

from datetime import datetime

from candidates.check_route import known_route_of_checks
from candidates.models import Briefing, CandidateCheck
from organizations.models import Organization
from providers.catalog import PROVIDERS
from providers.models import ProviderKey
from routing.resolve import Route, RouteUnavailable, known_route
from usage import amounts
from usage.audience import sees_usd
from usage.averages import averages_with_model
from usage.kept import may_have_left
from usage.models import Mode, UsageEvent
from usage.names import provider_name

NO_CHARGES = "no token charges"
NOT_BILLED = (UsageEvent.NoPrice.NOT_BILLED, UsageEvent.NoPrice.NOTHING_USED)


def expected_charge(
    *, organization: Organization, action: str, briefing: Briefing | None = None, runs: int = 1, now: datetime
) -> str:
    """
    What `runs` runs of `action` will cost on the organization's own key, to stand after the credits: "about $0.0021
    to OpenRouter (…)". Of checks the `briefing` is told, which may have a model of its own. Empty in Managed mode, for
    no runs, and where the action cannot run.
    """
    try:
        if briefing:
            route = known_route_of_checks(organization=organization, briefing=briefing)
        else:
            route = known_route(organization=organization, action=action)
    except RouteUnavailable:
        return ""
    if route.mode == Mode.MANAGED or not runs:
        return ""
    if _has_no_token_charges(organization, route):
        return NO_CHARGES
    averages = averages_with_model(
        organization=organization,
        today=now.date(),
        action=action,
        provider=route.provider,
        model=route.model,
        show_managed_usd=False,
    )
    if averages is None or averages.average_charge_nanousd is None:
        return "what your provider charges for the calls"
    with_model = route.model if route.is_own_model else "this model"
    basis = f"average of your last 30 days with {with_model}: {_counted(averages.charged_runs, 'run')}"
    amount = _usd(averages.average_charge_nanousd * runs)
    how_sure = "at least" if averages.is_incomplete else "about"
    return f"{how_sure} {amount} to {provider_name(route.provider)} ({basis})"


def charge_of_failed(check: CandidateCheck) -> str:
    """What a failed check cost, as sentences."""
    credits = "No credits were charged."
    if not sees_usd(check.mode):
        return credits
    calls = list(UsageEvent.objects.for_organization(check.organization).filter(run_id=check.run_id))
    if not calls:
        gone = "Whatever model calls it made are no longer kept."
        return f"{credits} {gone if may_have_left(check.accepted_at) else 'No model was called.'}"
    if all(call.has_no_token_charges for call in calls):
        return f"{credits} {_counted(len(calls), 'call')} to your own server, with {NO_CHARGES}."
    return f"{credits} {_billed(Route.from_json(check.route), calls)}"


def _billed(route: Route, calls: list[UsageEvent]) -> str:
    provider = provider_name(route.provider)
    key = "your key" if route.mode == Mode.BYOK else "the operator’s key"
    priced = [call for call in calls if call.cost_nanousd is not None and not call.has_no_token_charges]
    unknown = [call for call in calls if call.cost_nanousd is None and call.no_price not in NOT_BILLED]
    if not priced and not unknown:
        return f"{provider} does not bill a call that fails like this one."
    if not priced:
        is_sure = any(call.status == UsageEvent.Status.ANSWERED for call in unknown)
        billed = "billed" if is_sure else "may have billed"
        return f"{provider} {billed} {key} for {_counted(len(unknown), 'call')}, at a cost that is not known."
    is_reported = all(call.price_source == UsageEvent.PriceSource.PROVIDER for call in priced)
    amount = _usd(sum(call.cost_nanousd or 0 for call in priced))
    sure = (
        f"{provider} billed {key} {'' if is_reported else 'an estimated '}{amount} for {_counted(len(priced), 'call')}"
    )
    if not unknown:
        return f"{sure}."
    return f"{sure}, and {_counted(len(unknown), 'call')} more at a cost that is not known."


def _has_no_token_charges(organization: Organization, route: Route) -> bool:
    key = ProviderKey.objects.for_organization(organization).filter(pk=route.key_id).first()
    provider = PROVIDERS.get(route.provider)
    return key.has_no_token_charges if key else bool(provider and provider.has_no_key)


def _usd(nanousd: int) -> str:
    return amounts.dollars(nanousd, places=4)


def _counted(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
