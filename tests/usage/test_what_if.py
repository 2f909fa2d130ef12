"""What the tokens of an action would have cost under another model: every figure here is computed by hand."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.usage.conftest import NOON, TODAY, event, lost_or_failed, roll_up
from usage.models import Mode, UsageEvent
from usage.what_if import Difference, Offered, Past, past_of

pytestmark = pytest.mark.django_db
M = 10**6
USD = 10**9
MINI = Offered("openai", "gpt-4o-mini")  # $0.15 in, $0.075 cached, $0.60 out
HAIKU = Offered("anthropic", "claude-haiku-4-5")  # $1 in, $0.10 read, $1.25 or $2 written, $5 out
PRO = Offered("google", "gemini-2.5-pro")  # $1.25 in, $10 out; above 200,000 tokens sent $2.50 and $15


def past(acme, **how) -> Past:
    return past_of(organization=acme, today=TODAY, action="candidate_check", **how)


def difference(used: Past, offered: Offered) -> Difference:
    found = used.difference(offered)
    assert found is not None
    return found


def test_classes_are_priced_apart_and_the_same_maker_is_a_narrow_band(acme):
    event(
        acme,
        uncached_input_tokens=6 * M,
        cache_read_tokens=4 * M,
        output_tokens=1 * M,
        cost_nanousd=30 * USD,
    )
    event(acme, cost_nanousd=0, uncached_input_tokens=0)  # another run

    found = past(acme).estimate(MINI)

    # 6 × 0.15 + 4 × 0.075 + 1 × 0.60 = 1.80
    assert (found.nanousd, found.runs, found.a_run) == (1_800_000_000, 2, 900_000_000)
    assert (found.low, found.high) == (1_710_000_000, 1_890_000_000)  # 95 % and 105 %
    assert found.words == "about $0.9000 a run, $1.80 for your last 30 days ($1.71 to $1.89)"
    assert difference(past(acme), MINI).nanousd == -28_200_000_000
    assert difference(past(acme), MINI).percent == -94


def test_another_maker_may_cut_otherwise_cache_nothing_and_reason_less(acme):
    event(
        acme,
        uncached_input_tokens=1 * M,
        cache_read_tokens=1 * M,
        output_tokens=1 * M,
        reasoning_tokens=500_000,
        cost_nanousd=USD,
    )

    found = past(acme).estimate(HAIKU)

    assert found.nanousd == 6_100_000_000  # 1 + 0.10 + 5
    assert found.low == round((1 + 0.10 + 2.5) * 0.83 * USD)  # without reasoning, and a sixth fewer tokens
    assert found.high == round((1 + 1 + 5) * 1.35 * USD)  # nothing read from a cache, Claude's newer tokenizer


def test_what_is_written_to_a_cache_may_be_kept_for_an_hour(acme):
    event(acme, provider="anthropic", model="claude-haiku-4-5", cache_write_tokens=1 * M, cost_nanousd=1_250_000_000)

    found = past(acme).estimate(HAIKU)

    assert (found.low, found.nanousd, found.high) == (1_250_000_000, 1_250_000_000, 2_000_000_000)


def test_without_a_price_for_cached_input_all_of_it_is_counted_in_full(acme):
    event(acme, uncached_input_tokens=1 * M, cache_read_tokens=1 * M, cost_nanousd=USD)

    found = past(acme).estimate(Offered("openai", "gpt-3.5-turbo"))  # $0.50 in

    assert found.nanousd == 1_000_000_000
    assert found.notes == ("it has no price for cached input, so all input is counted in full",)


def test_the_same_model_at_another_provider_is_no_band(acme):
    event(acme, uncached_input_tokens=1 * M, cost_nanousd=2_500_000_000)

    found = past(acme).estimate(Offered("openrouter", "openai/gpt-4o"))
    dated = past(acme).estimate(Offered("openai", "gpt-4o-2024-08-06"))

    assert dated == found
    assert (found.low, found.nanousd, found.high) == (2_500_000_000,) * 3
    assert found.words == "about $2.5000 a run, $2.50 for your last 30 days"


def test_long_requests_take_the_price_of_their_length(acme):
    for tokens, day in ((300_000, TODAY), (100_000, TODAY - timedelta(days=1))):
        event(acme, provider="google", model="gemini-2.5-pro", uncached_input_tokens=tokens, day=day, cost_nanousd=1)

    found = past(acme).estimate(PRO)

    assert found.nanousd == 750_000_000 + 125_000_000  # 0.3 × 2.50 + 0.1 × 1.25
    assert found.notes == ()


def test_where_a_day_may_hold_long_requests_that_is_said(acme):
    for _ in range(3):
        event(acme, provider="google", model="gemini-2.5-pro", uncached_input_tokens=100_000, cost_nanousd=1)

    assert past(acme).estimate(PRO).notes == ("requests of more than 200,000 tokens cost more, and are not told apart",)


def test_prices_of_the_provider_itself_come_first(acme):
    event(acme, uncached_input_tokens=1 * M, cache_read_tokens=1 * M, output_tokens=1 * M, cost_nanousd=USD)

    own = Offered("openrouter", "openai/gpt-4o", input_nanousd_per_mtok=3 * USD, output_nanousd_per_mtok=9 * USD)
    alike = Offered(
        "openrouter", "openai/gpt-4o", input_nanousd_per_mtok=2_500_000_000, output_nanousd_per_mtok=10 * USD
    )

    assert past(acme).estimate(own).nanousd == 15 * USD  # 3 + 3 + 9: it lists no price for cached input
    assert past(acme).estimate(alike).nanousd == 13_750_000_000  # 2.50 + 1.25 + 10


@pytest.mark.parametrize(
    ("offered", "why"),
    [
        (Offered("openai_compatible", "llama-3"), "its price is not known"),
        (Offered("openai", "no-such-model"), "its price is not known"),
        (Offered("openai", "text-embedding-3-small"), "it has no price for what it writes"),
    ],
)
def test_where_a_price_is_missing_it_cannot_say(acme, offered, why):
    event(acme, uncached_input_tokens=1 * M, output_tokens=1, cost_nanousd=USD)

    found = past(acme).estimate(offered)

    assert (found.nanousd, found.why_not) == (None, why)
    assert found.words == f"cannot say: {why}"


def test_a_server_of_ones_own_charges_no_tokens(acme):
    event(acme, uncached_input_tokens=1 * M, cost_nanousd=USD)

    own = Offered("ollama", "llama3", has_no_token_charges=True)
    found = past(acme).estimate(own)

    assert (found.nanousd, found.words) == (0, "no token charges")
    assert difference(past(acme), own).percent == -100


def test_few_calls_without_tokens_are_left_out_and_many_are_a_reason(acme):
    for _ in range(19):
        event(acme, uncached_input_tokens=1_000, cost_nanousd=1)
    lost_or_failed(acme, UsageEvent.Status.LOST)

    few = past(acme)
    lost_or_failed(acme, UsageEvent.Status.LOST)

    assert few.estimate(MINI).notes == ("without 1 call whose tokens are not known",)
    assert past(acme).estimate(MINI).why_not == "the tokens of 2 of 21 calls are not known"
    assert past(acme).difference(MINI) is None  # of too many calls it is not known what they cost


def test_an_action_that_did_not_run_has_no_figure(acme):
    event(acme, action="another", uncached_input_tokens=1, cost_nanousd=1)

    assert past(acme).estimate(MINI).words == "cannot say: it did not run"


def test_managed_runs_are_estimated_and_not_compared(acme):
    """What the operator paid has no part in any figure."""
    event(acme, mode=Mode.MANAGED, uncached_input_tokens=1 * M, cost_nanousd=12_345)

    used = past(acme)

    assert used.estimate(MINI).nanousd == 150_000_000
    assert used.totals.cost_nanousd is None
    assert used.difference(MINI) is None
    assert not used.is_cheaper(MINI, by_percent=20)


def test_beside_managed_runs_the_difference_is_of_what_was_paid(acme):
    event(acme, mode=Mode.MANAGED, uncached_input_tokens=1 * M, cost_nanousd=12_345)
    event(acme, uncached_input_tokens=1 * M, cost_nanousd=USD)

    used = past(acme)

    assert used.estimate(MINI).nanousd == 300_000_000
    assert difference(used, MINI).nanousd == -850_000_000


def test_it_is_cheaper_only_if_the_dearest_end_of_the_band_is(acme):
    event(acme, uncached_input_tokens=1 * M, cost_nanousd=200_000_000)
    used = past(acme)

    # $0.1425 to $0.1575 against $0.20
    assert used.is_cheaper(MINI, by_percent=20)
    assert not used.is_cheaper(MINI, by_percent=22)


def test_the_rollup_makes_no_difference_and_older_days_have_no_part(acme):
    event(acme, uncached_input_tokens=1 * M, cost_nanousd=USD, day=TODAY - timedelta(days=29))
    event(acme, uncached_input_tokens=9 * M, cost_nanousd=USD, day=TODAY - timedelta(days=30))
    before = past(acme).estimate(MINI)

    roll_up(now=NOON + timedelta(days=1))

    assert past(acme).estimate(MINI) == before
    assert before.nanousd == 150_000_000


def test_it_takes_one_statement(acme, django_assert_num_queries):
    event(acme, uncached_input_tokens=1 * M, cost_nanousd=USD)
    with django_assert_num_queries(1):
        used = past(acme)
        for offered in (MINI, HAIKU, PRO):
            used.estimate(offered)
