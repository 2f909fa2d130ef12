"""What the input of calls was made of, and what each part cost: figures by hand, and sums that are the totals."""

from __future__ import annotations

import uuid
from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.usage.conftest import NOON, TODAY, event, lost_or_failed, roll_up
from usage.anatomy import LEAST_CACHED_TOKENS, MOST_CALLS_OF_A_RUN, Anatomy, anatomy_of, of_period, of_run
from usage.anatomy_words import sentences
from usage.cells import Cell, add_up
from usage.measures import Sums
from usage.models import Mode, UsageEvent

FIRST = TODAY.replace(day=1)
SHORT, LONG = LEAST_CACHED_TOKENS // 2, 8 * LEAST_CACHED_TOKENS


def anatomy(organization, action: str = "") -> Anatomy:
    found = of_period(organization, FIRST, TODAY, action=action).anatomy
    assert found
    return found


def parts(of: Anatomy) -> dict[str, tuple[int, int | None]]:
    return {part.slug.removesuffix("_tokens"): (part.tokens, part.cost_nanousd) for part in of.parts}


def test_the_cost_of_input_is_shared_by_the_tokens_of_its_parts(acme):
    event(
        acme,
        uncached_input_tokens=1_000,
        system_tokens=600,
        retrieved_tokens=300,
        user_tokens=100,
        output_tokens=50,
        cost_nanousd=3_000,
        input_cost_nanousd=2_000,
    )

    of = anatomy(acme)

    assert parts(of) == {
        "system": (600, 1_200),
        "tools": (0, 0),
        "retrieved": (300, 600),
        "history": (0, 0),
        "user": (100, 200),
        "not_counted": (0, 0),
    }
    assert (of.input_nanousd, of.output_nanousd, of.untold_nanousd) == (2_000, 1_000, 0)
    assert [part.share for part in of.counted] == ["60%", "30%", "10%"]
    assert (of.input_share, of.output_share) == ("67%", "33%")


def test_what_was_read_from_a_cache_weighs_as_little_as_it_costs(acme):
    # gpt-4o: $2.50 a million tokens, $1.25 of those that are read from the cache, which is filled from the front.
    event(
        acme,
        uncached_input_tokens=2_000,
        cache_read_tokens=8_000,
        system_tokens=8_000,
        user_tokens=2_000,
        cost_nanousd=15_000_000,
        input_cost_nanousd=15_000_000,
    )

    of = anatomy(acme)

    assert parts(of)["system"] == (8_000, 10_000_000)
    assert parts(of)["user"] == (2_000, 5_000_000)
    assert of.caching.unread_tokens == 0
    assert "All that a cache can hold of them was read from one." in " ".join(sentences(of))


def test_what_a_cache_could_have_read_is_told_with_what_it_would_save(acme):
    for cached in (0, LONG):
        event(
            acme,
            uncached_input_tokens=LONG - cached,
            cache_read_tokens=cached,
            system_tokens=LONG // 2,
            tools_tokens=LONG // 2,
            cost_nanousd=0,
            input_cost_nanousd=0,
        )
    event(acme, action="short", uncached_input_tokens=SHORT, system_tokens=SHORT, cost_nanousd=1, input_cost_nanousd=1)

    caching = anatomy(acme).caching

    assert (caching.tokens, caching.unread_tokens, caching.short_tokens) == (2 * LONG + SHORT, LONG, SHORT)
    assert caching.saving_nanousd == LONG * 1_250
    assert "too few for any provider’s cache" in " ".join(sentences(anatomy(acme, "short")))


def test_what_was_not_counted_and_what_is_not_told_apart_have_rows_of_their_own(acme):
    told = {"uncached_input_tokens": 10, "cost_nanousd": 100, "output_tokens": 1}
    event(acme, **told, input_cost_nanousd=60, user_tokens=10)
    event(acme, **told, input_cost_nanousd=60)
    event(acme, **told)  # whose cost is one sum
    lost_or_failed(acme, UsageEvent.Status.LOST)

    of = anatomy(acme)

    assert parts(of)["user"][0] == 10
    assert of.not_counted.tokens == 20
    assert (of.input_nanousd, of.output_nanousd, of.untold_nanousd) == (120, 80, 100)
    assert sum(part.cost_nanousd or 0 for part in of.parts) == 120
    assert of.totals.is_incomplete
    said = list(sentences(of))
    assert said[0].startswith("What was sent cost more than $0, what was answered more than $0. Not in it: 1 without")
    assert said[-1].startswith("67% of what was sent was not counted")


def test_usd_of_managed_calls_are_the_operators(acme):
    both = {"uncached_input_tokens": 10, "user_tokens": 10, "cost_nanousd": 100, "input_cost_nanousd": 100}
    event(acme, **both, mode=Mode.MANAGED)

    alone = anatomy(acme)
    event(acme, **both)
    beside = anatomy(acme)
    shown = of_period(acme, FIRST, TODAY, show_managed_usd=True).anatomy

    assert {part.cost_nanousd for part in alone.parts} == {alone.input_nanousd, alone.totals.cost_nanousd} == {None}
    assert next(sentences(alone)) == "What these calls cost is paid by the operator. Their tokens stand below."
    assert parts(beside)["user"] == (20, 100)
    assert shown
    assert parts(shown)["user"] == (20, 200)


def test_an_action_is_told_apart_from_the_others(acme):
    event(acme, action="one", uncached_input_tokens=10, system_tokens=10, cost_nanousd=5, input_cost_nanousd=5)
    run = uuid.uuid4()
    for iteration in (1, 2, 3):
        event(
            acme,
            action="two",
            run_id=run,
            iteration=iteration,
            uncached_input_tokens=10,
            history_tokens=10,
            cost_nanousd=5,
            input_cost_nanousd=5,
        )

    period = of_period(acme, FIRST, TODAY, action="one")

    assert period.anatomy
    assert parts(period.anatomy)["system"] == (10, 5)
    assert parts(period.anatomy)["history"] == (0, 0)
    assert [(row.slug, row.calls_a_run) for row in period.actions] == [("two", "3.0"), ("one", "1.0")]
    assert dict(period.actions[0].shares)["History"] == "100%"
    assert period.chart
    assert [item.name for item in period.chart.legend] == ["System instructions"]


def test_a_run_is_told_from_its_calls_alone(acme, globex):
    run = uuid.uuid4()
    for iteration, history in ((2, 30), (1, 0)):
        event(
            acme,
            run_id=run,
            iteration=iteration,
            uncached_input_tokens=10 + history,
            user_tokens=10,
            history_tokens=history,
            cost_nanousd=9,
            input_cost_nanousd=5,
        )
    event(acme, uncached_input_tokens=99, user_tokens=99)
    event(globex, run_id=run, uncached_input_tokens=99, user_tokens=99)

    found = of_run(acme, run, today=TODAY)

    assert found
    assert parts(found.anatomy)["user"] == (20, 4)
    assert parts(found.anatomy)["history"] == (30, 6)
    assert [call.iteration for call in found.calls] == [1, 2]
    assert not found.is_cut
    assert of_run(acme, uuid.uuid4(), today=TODAY) is None


def test_an_endless_run_is_gone_through_in_part_and_says_so(acme, monkeypatch):
    monkeypatch.setattr("usage.anatomy.MOST_CALLS_OF_A_RUN", 3)
    run = uuid.uuid4()
    for iteration in range(1, 6):
        event(acme, run_id=run, iteration=iteration, uncached_input_tokens=10, user_tokens=10)

    found = of_run(acme, run, today=TODAY)

    assert MOST_CALLS_OF_A_RUN > 3
    assert found
    assert found.is_cut
    assert found.anatomy.totals.calls == 3


COUNT = st.integers(0, 10**7)
CALL = st.tuples(*[COUNT] * 8)
CALLS_OF_CELLS = st.lists(
    st.tuples(st.lists(CALL, min_size=1, max_size=3), st.sampled_from(["gpt-4o", "x"]), st.sampled_from(Mode.values)),
    max_size=4,
)


def sums_of(call: tuple[int, ...]) -> Sums:
    system, tools, user, rest, cached, cost_in, cost_out, untold = call
    whole = system + tools + user + rest
    cached = min(cached, whole)
    return Sums(
        calls=1,
        answered=1,
        uncached_input_tokens=whole - cached,
        cache_read_tokens=cached,
        system_tokens=system,
        tools_tokens=tools,
        user_tokens=user,
        uncached_prefix_tokens=max(system + tools - cached, 0),
        cost_nanousd=cost_in + cost_out + untold,
        input_cost_nanousd=cost_in,
        output_cost_nanousd=cost_out,
    )


@settings(max_examples=60, deadline=None, database=None)
@given(CALLS_OF_CELLS)
def test_rows_come_to_the_totals_whatever_was_used(rows):
    cells = [
        Cell(add_up(Cell(sums_of(call)) for call in calls), provider="openai", model=model, action="a", mode=mode)
        for calls, model, mode in rows
    ]

    of = anatomy_of(cells, TODAY, show_managed_usd=True)

    costs = [part.cost_nanousd or 0 for part in of.parts]
    assert sum(part.tokens for part in of.parts) == of.totals.input_tokens
    assert min(costs) >= 0
    assert sum(costs) == (of.input_nanousd or 0)
    if of.totals.cost_nanousd is not None:
        assert sum(costs) + (of.output_nanousd or 0) + of.untold_nanousd == of.totals.cost_nanousd
    assert list(sentences(of))


def test_it_is_the_same_before_and_after_the_rollup(acme):
    for _ in range(2):
        event(acme, uncached_input_tokens=10, user_tokens=10, cost_nanousd=7, input_cost_nanousd=6)
    before = of_period(acme, FIRST, TODAY)

    roll_up(now=NOON + timedelta(days=1))

    assert of_period(acme, FIRST, TODAY) == before
