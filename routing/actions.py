"""What a model can be chosen for. An action is listed once it is implemented."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from organizations.models import Organization
from routing.models import Agent


@dataclass(frozen=True, slots=True)
class Action:
    slug: str
    name: str
    description: str
    work: str  # what it makes, in a sentence: "No model serves checks yet"
    # The managed default of a new installation; staff change it in the admin. Of an agent: what staff opened for it.
    managed_provider: str = ""
    managed_model: str = ""
    # The URL name of the page that lists its runs by day; without one, their calls are listed.
    runs_page: str = ""
    is_agent: bool = False


CANDIDATE_CHECK = Action(
    slug="candidate_check",
    name="Candidate check",
    description="Judges a profile against each requirement of a briefing, with a quote as evidence.",
    work="checks",
    managed_provider="openrouter",
    managed_model="openai/gpt-4.1-mini",
    runs_page="candidates:checks",
)
REQUIREMENT_GENERATION = Action(
    slug="requirement_generation",
    name="Requirement generation",
    description="Drafts the requirements of a briefing from a job description.",
    work="drafts of requirements",
    managed_provider="openrouter",
    managed_model="openai/gpt-4.1-mini",
)

# What calls are counted by that name a provider and a model themselves. It is routed by nobody, and no agent's slug.
DIRECT, DIRECT_NAME = "direct", "Direct calls"
# Finished checks asked once more of another model, which a trial names: routed by nobody, and no runs of checks.
TRIAL, TRIAL_NAME = "check_trial", "Trials of models"

# The built-in ones, for what is the same in every organization. What one of them can choose: `actions_of`.
ACTIONS: dict[str, Action] = {action.slug: action for action in (CANDIDATE_CHECK, REQUIREMENT_GENERATION)}


def actions_of(organization: Organization | int) -> dict[str, Action]:
    """
    The actions of an organization (or its id) by slug, in the order of pages: those built in, then its agents that are
    not archived. Ask once for what is done at once.
    """
    agents = Agent.objects.for_organization(organization).filter(archived_at=None).order_by("name", "pk")
    return {**ACTIONS, **{agent.slug: action_of(agent) for agent in agents}}


def action_names_of(organization: Organization) -> dict[str, str]:
    """What calls of an organization are counted by, by slug: for lists of them. Archived agents are among them."""
    agents = Agent.objects.for_organization(organization).values_list("slug", "name")
    return {
        **{slug: action.name for slug, action in ACTIONS.items()},
        DIRECT: DIRECT_NAME,
        TRIAL: TRIAL_NAME,
        **dict(agents),
    }


def agent_names(organizations: Collection[int], slugs: Collection[str]) -> dict[int, dict[str, str]]:
    """By organization and slug, of several organizations at once: for lists of staff."""
    names: dict[int, dict[str, str]] = {}
    if own := {slug for slug in slugs if slug not in ACTIONS}:
        agents = Agent.objects.filter(organization__in=organizations, slug__in=own)
        for organization, slug, name in agents.values_list("organization_id", "slug", "name"):
            names.setdefault(organization, {})[slug] = name
    return names


def action_of(agent: Agent) -> Action:
    return Action(
        slug=agent.slug,
        name=agent.name,
        description=agent.description,
        work=f"the agent {agent.name}",
        managed_provider=agent.managed_provider,
        managed_model=agent.managed_model,
        is_agent=True,
    )
