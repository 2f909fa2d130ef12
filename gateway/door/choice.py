"""Which route serves a call: by the model that the client names, and what its token may call."""

from __future__ import annotations

from dataclasses import dataclass, replace

from gateway.callers import Caller, Refusal, Target
from gateway.door.endpoints import RESPONSES, Endpoint
from gateway.door.errors import DoorError
from providers.adapters.dialects.request import Body
from providers.catalog import PROVIDERS
from routing.allowed_models import is_allowed

LONGEST_MODEL = 200
MOST_NAMED = 12
# What lets OpenRouter, LiteLLM and Anthropic serve a call by other models than the one it names.
CHOOSES_MODELS = ("models", "route", "plugins", "preset", "fallbacks")


@dataclass(frozen=True, slots=True)
class Chosen:
    """Who serves a call, and by which model."""

    target: Target
    model: str
    agent: str  # its slug, or "direct"


def choose(caller: Caller, asked: str, endpoint: Endpoint, body: Body) -> Chosen:
    """Raises DoorError where nothing serves `asked`, or may."""
    chosen = _chosen(caller, asked.removeprefix("models/"))
    provider = PROVIDERS[chosen.target.facts.provider]
    if endpoint.name not in provider.adapter.speaks:
        speaks = " or ".join(sorted(provider.adapter.speaks))
        raise DoorError(
            400,
            "wrong_wire",
            f"“{chosen.agent}” runs on {provider.name}, which is asked by {speaks}, not by {endpoint.name}. Point this "
            "client at another agent, or route the agent to a provider that speaks so.",
        )
    _refuse_what_is_not_allowed(caller, chosen, body)
    if endpoint is RESPONSES and body.value("background") not in (None, False):
        raise DoorError(
            400,
            "background",
            "A response in the background cannot be fetched here, and nobody would be told its tokens. Leave "
            "“background” out; “stream” keeps a long answer alive.",
        )
    return chosen


def _chosen(caller: Caller, asked: str) -> Chosen:
    if caller.is_bound and caller.agents:
        ((slug, target),) = caller.agents.items()
        return _by_agent(slug, target)
    if (found := caller.agents.get(asked)) is not None:
        return _by_agent(asked, found)
    provider, _, model = asked.partition("/")
    if provider in PROVIDERS and model:
        found = caller.direct.get(provider)
        if found is None:
            raise DoorError(
                400,
                "no_key_for_provider",
                f"This token names no key for {PROVIDERS[provider].name}. An owner or admin can make one that does "
                "under Members, API tokens.",
            )
        if isinstance(found, Refusal):
            raise _refused(found)
        if len(model) > LONGEST_MODEL or not model.isprintable():
            raise DoorError(400, "unknown_model", "No model has a name that long, or with such characters.")
        return Chosen(replace(found, facts=replace(found.facts, model=model)), model, found.facts.action)
    raise _unknown(caller, asked)


def _by_agent(slug: str, found: Target | Refusal) -> Chosen:
    if isinstance(found, Refusal):
        raise _refused(found)
    return Chosen(found, found.facts.model, slug)


def _refused(refusal: Refusal) -> DoorError:
    """No 503: opencode and Gemini CLI send what has that status again and again, whatever a header says."""
    return DoorError(400, refusal.code, refusal.sentence)


def _unknown(caller: Caller, asked: str) -> DoorError:
    names = [*caller.agents, *(f"{provider}/…" for provider in caller.direct)]
    if names:
        more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
        told = f"This token can call: {', '.join(names[:MOST_NAMED])}{more}."
    else:
        told = "This token can call nothing yet: its agents are archived, or none was chosen."
    return DoorError(404, "unknown_model", f"There is no model “{asked[:LONGEST_MODEL]}” here. {told}")


def _refuse_what_is_not_allowed(caller: Caller, chosen: Chosen, body: Body) -> None:
    if not caller.allowed_models and not chosen.target.is_closed:
        return
    provider = chosen.target.facts.provider
    if not is_allowed(caller.allowed_models, provider, chosen.model):
        raise DoorError(
            403,
            "model_not_allowed",
            f"This token may not reach {provider}/{chosen.model}: its list of models is closed.",
        )
    for name in CHOOSES_MODELS:
        if body.value(name) is not None:
            raise DoorError(
                400,
                "model_not_allowed",
                f"“{name}” could bring in other models than this call may reach. Leave it out.",
            )
    tools = body.value("tools")
    if isinstance(tools, list) and any(isinstance(tool, dict) and "model" in tool for tool in tools):
        raise DoorError(400, "model_not_allowed", "A tool that names a model could bring in others. Leave it out.")
