"""
What the demo's agents did in the weeks before the story: written to the books as the gateway would have.

Nobody is asked: a month of calls would take minutes. Each day's are the same whenever they are told, so that a second
telling adds nothing.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta
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
HOURS_WITHOUT_CACHE = 6  # at least five of them are over and settled whenever anomalies are looked for next


@dataclass(frozen=True, slots=True)
class Habit:
    """
    How an agent works, in tokens. `caches`: what is sent is written to the provider's cache, and read from there when
    it is sent again; where something new stands in front of the instructions, nothing is.
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
    caches: bool = False
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
        worker = _worker(organization, habit)
        record_calls(list(worker.day(day)))


def remember_lost_cache(organization: Organization, *, until: datetime) -> None:
    """
    Have it in the books that the agent with the largest requests lost its cache some hours ago: a job starts it every
    hour, with the time of day in front of its instructions.
    """
    worker = _worker(organization, next(habit for habit in HABITS if habit.caches))
    record_calls([each for each in worker.hours_without_cache(until) if each.call.started_at < until])


def _worker(organization: Organization, habit: Habit) -> _Worker:
    agent = Agent.objects.for_organization(organization).get(slug=habit.agent)
    rule = RoutingRule.objects.for_organization(organization).select_related("key").get(action=agent.slug)
    return _Worker(habit, rule, tokens_calling(agent)[-1])


@dataclass(frozen=True, slots=True)
class _Worker:
    """What an agent's runs have in common."""

    habit: Habit
    rule: RoutingRule
    token: ApiToken

    def day(self, day: date) -> Iterator[Finished]:
        chance = Random(f"{self.habit.agent} {day}")  # noqa: S311  # a story, no secret
        runs = round(self.habit.runs_a_day * chance.uniform(0.8, 1.2))
        for run in range(runs):
            at = start_of_day(day) + timedelta(hours=WORKING_HOURS.start)
            at += timedelta(seconds=round(len(WORKING_HOURS) * 3600 * run / runs) + chance.randrange(120))
            yield from self._run(at, chance, day, run)

    def hours_without_cache(self, until: datetime) -> Iterator[Finished]:
        """The same of each hour whenever they are told."""
        last = until.replace(minute=0, second=0, microsecond=0)
        for hours in range(HOURS_WITHOUT_CACHE, -1, -1):
            hour = last - timedelta(hours=hours)
            chance = Random(f"{self.habit.agent} {hour}")  # noqa: S311
            yield from self._run(hour + timedelta(seconds=20), chance, hour.date(), -hour.hour - 1, finds_cache=False)

    def _run(
        self, at: datetime, chance: Random, day: date, run: int, *, finds_cache: bool = True
    ) -> Iterator[Finished]:
        habit, rule = self.habit, self.rule
        run_id = _id(rule, day, run)
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
                facts=self._facts,
                run_id=run_id,
                iteration=iteration,
                started_at=at,
                deadline_at=deadline_of(at, TIMEOUT_SECONDS),
                rule_version=rule.version,
                is_stream=habit.is_stream,
                origin=Origin(self.token.pk, self.token.call_access.member_id, label),
            )
            at += timedelta(milliseconds=took, seconds=chance.randrange(5, 40))
            if not chance.randrange(ONE_FAILS_OF):
                yield Finished(
                    call, UsageEvent.Status.FAILED, took // 3, NOTHING_SAID, http_status=503, error_kind="overloaded"
                )
                continue
            usage = _usage(parts, cached if habit.caches else None, answer)
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
            cached = usage.input_total if finds_cache else 0
            history += parts.user + answer
            results += habit.result

    @property
    def _facts(self) -> CallFacts:
        return CallFacts(
            provider=self.rule.key.provider,
            model=self.rule.model,
            action=self.habit.agent,
            key_id=self.rule.key.pk,
            key_label=self.rule.key.label,
            mode=Mode.BYOK.value,
        )


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
