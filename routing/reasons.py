"""Why an action has no route now, or its route serves no call."""

from __future__ import annotations

from providers.adapters.reasons import Reason
from providers.adapters.sentences import SENTENCES
from providers.models import ProviderKey
from usage.names import provider_name


class RouteReason(Reason):
    sentences = {
        **SENTENCES,
        **{f"key_status.{status.value}": str(status.label) for status in ProviderKey.Status},
        "route.closed": "This organization was closed.",
        "route.no_model": "No model serves {work} yet: connect a key in Settings and route {action} to it.",
        "route.no_model.but_own": (
            "Only briefings with a model of their own can be checked: no model serves the others yet. Connect a key in "
            "Settings and route {action} to it."
        ),
        "route.no_model.agent": "No model serves {work} yet: route it to a connected key on its page under Agents.",
        "route.gone": "There is no such agent any more: it was archived, or never made. Make one under Agents.",
        "route.paused": (
            "{action} is paused since {since} UTC. An owner or admin can resume it in Settings, LLM Routing by Action."
        ),
        "route.paused.agent": (
            "{action} is paused since {since} UTC. An owner or admin can resume it on its page under Agents."
        ),
        "route.broken": (
            "{action} is routed to your {provider} key “{label}”, whose status is {status}. {detail.of_key} An owner "
            "or admin can {mend} the key in Settings, or {instead}."
        ),
        "route.broken.no_detail": (
            "{action} is routed to your {provider} key “{label}”, whose status is {status}. An owner or admin can "
            "{mend} the key in Settings, or {instead}."
        ),
        "route.mend.enable": "enable",
        "route.mend.replace": "validate or replace",
        "route.instead.reset": "reset the action to the managed default",
        "route.instead.other": "choose another",
        # Of a model that a briefing has of its own
        "route.own_broken": (
            "This briefing has a model of its own, on your {provider} key “{label}”, whose status is {status}. "
            "{detail.of_key} An owner or admin can {mend} the key in Settings, or choose another model on the page of "
            "the briefing."
        ),
        "route.own_broken.no_detail": (
            "This briefing has a model of its own, on your {provider} key “{label}”, whose status is {status}. An "
            "owner or admin can {mend} the key in Settings, or choose another model on the page of the briefing."
        ),
        "route.own_not_allowed": (
            "This briefing has a model of its own, “{model}”, to which {action} may not be routed. An owner or admin "
            "can choose another on the page of the briefing, or change the list of allowed models in Settings."
        ),
        "route.own_removed": "The key of this briefing’s model was removed meanwhile. Load the page again.",
        # Of a route that was pinned before, {key} being one of the first two
        "route.own_key": "Your {provider} key “{label}”",
        "route.managed_key": "The managed {provider} key",
        "route.removed": "{key} was removed.",
        "route.has_status": "{key} has the status {status}. {detail.of_key}",
        "route.has_status.no_detail": "{key} has the status {status}.",
        "route.refused": "{key} cannot be used. {why}",
    }


def named_key(provider: str, label: str, *, is_own: bool) -> RouteReason:
    """A key in a sentence. How the operator calls its keys is no business of customers."""
    name = provider_name(provider)
    if is_own:
        return RouteReason("route.own_key", {"provider": name, "label": label})
    return RouteReason("route.managed_key", {"provider": name})


def of_state(code: str, of: ProviderKey, /, **parameters: str | Reason) -> RouteReason:
    """A reason that names how the key `of` stands, and why if that is known."""
    state = of.state
    status = RouteReason(f"key_status.{state.status.value}", {})
    if state.why:
        return RouteReason(code, {**parameters, "status": status, "detail": state.why})
    return RouteReason(f"{code}.no_detail", {**parameters, "status": status})
