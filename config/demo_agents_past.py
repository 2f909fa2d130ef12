"""
What the demo's agents did in the weeks before the story: written to the books as the gateway would have.

Nobody is asked: a month of calls would take minutes. Each day's are the same whenever they are told, so that a second
telling adds nothing.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from random import Random

from organizations.models import ApiToken, Organization
from routing.call_access import tokens_calling
from routing.models import Agent, RoutingRule
from usage.days import start_of_day
from usage.facts import Admission, CallFacts, Origin, deadline_of
from usage.input_parts import InputParts
from usage.metering import Finished, record_calls
from usage.models import Mode, UsageEvent
from usage.tokens import NOTHING_SAID, Report, TokenUsage

WORKING_HOURS = range(8, 18)
TIMEOUT_SECONDS = 120
SATURDAY = 5
ONE_FAILS_OF = 60


@dataclass(frozen=True, slots=True)
class Habit:
    """
    How an agent works, in tokens. `reads_cache`: what was sent before is read from the provider's cache; where
    something new stands in front of the instructions, nothing is.
    """

    agent: str
    runs_a_day: int
    calls_a_run: int
    system: int
    tools: int
    result: int  # of a tool, in each call but the first
    retrieved: int
    question: int
    answer: int
    label: str
    values: tuple[str, ...]
    reads_cache: bool = False
    is_stream: bool = False


HABITS = (
    Habit("support-replies", 48, 3, 5_400, 0, 0, 900, 110, 180, "channel", ("mail", "chat", "web form")),
    Habit("code-assistant", 7, 12, 2_600, 9_800, 900, 0, 140, 320, "repository", ("web", "api"), True, True),
)


def remember(organization: Organization, day: date) -> None:
    """Have the calls of one working day in the books."""
    if day.weekday() >= SATURDAY:
        return
    for habit in HABITS:
        agent = Agent.objects.for_organization(organization).get(slug=habit.agent)
        rule = RoutingRule.objects.for_organization(organization).select_related("key").get(action=agent.slug)
        token = tokens_calling(agent)[-1]
        record_calls(list(_calls(habit, rule, token, day)))


def _calls(habit: Habit, rule: RoutingRule, token: ApiToken, day: date) -> Iterator[Finished]:
    """Of one agent, run after run."""
    chance = Random(f"{habit.agent} {day}")  # noqa: S311  # a story, no secret
    facts = CallFacts(
        provider=rule.key.provider,
        model=rule.model,
        action=habit.agent,
        key_id=rule.key.pk,
        key_label=rule.key.label,
        mode=Mode.BYOK.value,
    )
    runs = round(habit.runs_a_day * chance.uniform(0.8, 1.2))
    for run in range(runs):
        run_id = _id(rule, day, run)
        at = start_of_day(day) + timedelta(hours=WORKING_HOURS.start)
        at += timedelta(seconds=round(len(WORKING_HOURS) * 3600 * run / runs) + chance.randrange(120))
        label = {habit.label: chance.choice(habit.values)}
        results = history = cached = 0
        for iteration in range(1, round(habit.calls_a_run * chance.uniform(0.7, 1.3)) + 1):
            parts = InputParts(
                system=habit.system,
                tools=habit.tools + results,
                retrieved=habit.retrieved and round(habit.retrieved * chance.uniform(0.5, 1.5)),
                history=history,
                user=round(habit.question * chance.uniform(0.5, 1.5)),
            )
            answer = round(habit.answer * chance.uniform(0.5, 1.8))
            took = round(900 + 14 * answer * chance.uniform(0.7, 1.6))
            call = Admission(
                id=_id(rule, day, run, iteration),
                organization_id=rule.organization_id,
                facts=facts,
                run_id=run_id,
                iteration=iteration,
                started_at=at,
                deadline_at=deadline_of(at, TIMEOUT_SECONDS),
                rule_version=rule.version,
                is_stream=habit.is_stream,
                origin=Origin(token.pk, token.call_access.member_id, label),
            )
            at += timedelta(milliseconds=took, seconds=chance.randrange(5, 40))
            if not chance.randrange(ONE_FAILS_OF):
                yield Finished(
                    call, UsageEvent.Status.FAILED, took // 3, NOTHING_SAID, http_status=503, error_kind="overloaded"
                )
                continue
            usage = _usage(parts, cached if habit.reads_cache else None, answer)
            report = Report(usage=usage, served_model=rule.model, finish_reason="stop")
            yield Finished(
                call,
                UsageEvent.Status.ANSWERED,
                took,
                report,
                http_status=200,
                first_byte_ms=took // 4,
                input_parts=parts,
            )
            cached = usage.input_total
            history += parts.user + answer
            results += habit.result


def _usage(parts: InputParts, cached: int | None, answer: int) -> TokenUsage:
    """`cached` None: this agent's requests are not written to a cache either."""
    sent = parts.system + parts.tools + parts.retrieved + parts.history + parts.user
    if cached is None:
        return TokenUsage(uncached_input=sent, output=answer)
    new = sent - min(cached, sent)
    return TokenUsage(
        uncached_input=min(parts.user, new), cache_read=sent - new, cache_write=max(new - parts.user, 0), output=answer
    )


def _id(rule: RoutingRule, day: date, *numbers: int) -> uuid.UUID:
    return uuid.uuid5(uuid.NAMESPACE_OID, f"{rule.organization_id} {rule.action} {day} {numbers}")
