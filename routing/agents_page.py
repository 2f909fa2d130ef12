"""What the pages of agents show of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from organizations.models import Organization
from routing.models import Agent
from routing.resolve import RoutingRow, resolve_all
from usage.cells import TOTALS, Cell, Grouping, Totals, grouped, read_groupings, totals
from usage.days import MONTH, first_day
from usage.kept import kept_from
from usage.kinds import last_moments
from usage.names import provider_name
from usage.sparklines import Sparkline, sparkline

ARCHIVED_SHOWN = 500
BY_ACTION_AND_DAY = Grouping(("action", "day", "mode"), TOTALS)


@dataclass(frozen=True, slots=True)
class AgentLine:
    agent: Agent
    row: RoutingRow
    month: Totals | None  # None without calls
    last_at: datetime | None  # of its last call, however long ago
    kept_from: date | None  # there may have been calls before that
    line: Sparkline

    @property
    def provider_name(self) -> str:
        source = self.row.rule.key if self.row.rule else self.row.default
        return provider_name(source.provider) if source else ""

    @property
    def model(self) -> str:
        if self.row.rule:
            return self.row.rule.model
        return self.row.default.model if self.row.default and self.row.is_managed else ""

    @property
    def state(self) -> tuple[str, str]:
        """In a word, and the tone of its badge."""
        if self.row.rule and self.row.rule.paused_at:
            return "Paused", "warn"
        if self.row.rule is None and not self.row.is_managed:
            return "Not routed", "warn"
        return ("Cannot run", "bad") if self.row.trouble else ("Ready", "ok")


def agents_context(organization: Organization, *, today: date) -> dict[str, Any]:
    """What `routing/agents.html` needs, in as many statements for many agents as for one."""
    agents = Agent.objects.for_organization(organization)
    live = {agent.slug: agent for agent in agents.filter(archived_at=None)}
    rows = [row for row in resolve_all(organization=organization) if row.action.slug in live]
    archived = list(agents.exclude(archived_at=None).order_by("-archived_at", "-pk")[: ARCHIVED_SHOWN + 1])
    return {
        "lines": agent_lines(organization, [(live[row.action.slug], row) for row in rows], today=today),
        "archived": archived[:ARCHIVED_SHOWN],
        "has_more_archived": len(archived) > ARCHIVED_SHOWN,
        "first_day": first_day(today, MONTH),
    }


def agent_lines(
    organization: Organization, agents: Sequence[tuple[Agent, RoutingRow]], *, today: date
) -> list[AgentLine]:
    (cells,) = read_groupings(organization, first_day(today, MONTH), today, BY_ACTION_AND_DAY) if agents else ([],)
    last = last_moments(organization) if agents else {}
    kept = kept_from() if any(agent.slug not in last for agent, _ in agents) else None
    used = grouped([cell for cell in cells if cell.sums.calls], lambda cell: cell.action)
    return [_line(agent, row, used.get(agent.slug, []), last.get(agent.slug), kept, today) for agent, row in agents]


def _line(
    agent: Agent, row: RoutingRow, cells: Sequence[Cell], last_at: datetime | None, kept: date | None, today: date
) -> AgentLine:
    first = first_day(today, MONTH)
    calls = {first + timedelta(days=at): 0 for at in range(MONTH)}
    for cell in cells:
        if cell.day in calls:
            calls[cell.day] += cell.sums.calls
    return AgentLine(
        agent=agent,
        row=row,
        month=totals(cells) if cells else None,
        last_at=last_at,
        kept_from=kept if kept and agent.created_at.date() < kept else None,
        line=sparkline(list(calls.values()), of="calls"),
    )
