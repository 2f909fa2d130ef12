"""Tokens and cost as an answer reports them: every spelling, every sum, and what is left in doubt."""

from __future__ import annotations

import json

import pytest
from hypothesis import example, given
from hypothesis import settings as unhurried
from hypothesis import strategies as st

from providers.adapters.base import HttpAnswer, ProviderError
from providers.adapters.counting import anthropic_tokens, google_tokens, openai_tokens
from providers.catalog import PROVIDERS
from tests.providers.reports import AT, MODELS, price_of, report_of
from tests.providers.test_adapters_cassettes import ANSWERED, CASSETTES, recorded
from usage.models import UsageEvent
from usage.pricing import price
from usage.tokens import Doubt, TokenUsage

Source = UsageEvent.PriceSource


# OpenAI's shape and what others make of it -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        # reasoning inside the completion
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 105,
                "total_tokens": 115,
                "completion_tokens_details": {"reasoning_tokens": 100},
            },
            TokenUsage(uncached_input=10, output=105, reasoning=100),
        ),
        # beside it: the total tells
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "total_tokens": 115,
                "completion_tokens_details": {"reasoning_tokens": 100},
            },
            TokenUsage(uncached_input=10, output=105, reasoning=100),
        ),
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 200,
                "total_tokens": 310,
                "completion_tokens_details": {"reasoning_tokens": 100},
            },
            TokenUsage(uncached_input=10, output=300, reasoning=100),
        ),
        # no total, but it cannot be inside
        (
            {"prompt_tokens": 10, "completion_tokens": 5, "completion_tokens_details": {"reasoning_tokens": 100}},
            TokenUsage(uncached_input=10, output=105, reasoning=100),
        ),
        ({"prompt_tokens": 10, "completion_tokens": 5, "reasoning_tokens": 100}, TokenUsage(10, 0, 0, 0, 105, 100)),
        # DeepSeek
        (
            {
                "prompt_tokens": 100,
                "completion_tokens": 5,
                "total_tokens": 105,
                "prompt_cache_hit_tokens": 64,
                "prompt_cache_miss_tokens": 36,
            },
            TokenUsage(uncached_input=36, cache_read=64, output=5),
        ),
        (
            {"completion_tokens": 5, "prompt_cache_hit_tokens": 64, "prompt_cache_miss_tokens": 36},
            TokenUsage(uncached_input=36, cache_read=64, output=5),
        ),
        # Moonshot, Mistral
        ({"prompt_tokens": 100, "completion_tokens": 5, "cached_tokens": 64}, TokenUsage(36, 64, 0, 0, 5)),
        ({"prompt_tokens": 100, "completion_tokens": 5, "num_cached_tokens": 64}, TokenUsage(36, 64, 0, 0, 5)),
        # Anthropic's words in OpenAI's shape, the cache beside the prompt by the total
        (
            {
                "prompt_tokens": 36,
                "completion_tokens": 5,
                "total_tokens": 121,
                "cache_read_input_tokens": 64,
                "cache_creation_input_tokens": 16,
            },
            TokenUsage(uncached_input=36, cache_read=64, cache_write=16, output=5),
        ),
        # the newer names
        (
            {
                "input_tokens": 100,
                "output_tokens": 50,
                "total_tokens": 150,
                "input_tokens_details": {"cached_tokens": 64},
                "output_tokens_details": {"reasoning_tokens": 20},
            },
            TokenUsage(uncached_input=36, cache_read=64, output=50, reasoning=20),
        ),
        # a count left out that the total shows to be zero; a total of zero that is none
        ({"prompt_tokens": 10, "total_tokens": 10}, TokenUsage(uncached_input=10)),
        ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 0}, TokenUsage(uncached_input=10, output=5)),
    ],
)
@pytest.mark.parametrize("slug", ["openai", "openrouter", "mistral", "openai_compatible"])
def test_every_spelling_of_openais_shape_is_read(slug, usage, expected):
    report = report_of(slug, usage)

    assert (report.usage, report.doubt) == (expected, None)


def test_usage_that_groq_keeps_in_a_drawer_of_its_own_is_found():
    drawer = {"id": "req_1", "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}}

    assert report_of("openai_compatible", None, x_groq=drawer).usage == TokenUsage(uncached_input=10, output=5)


@pytest.mark.parametrize(
    ("slug", "usage", "known"),
    [
        ("openai", {"prompt_tokens": None, "completion_tokens": 5}, TokenUsage(output=5)),
        ("openai", {"prompt_tokens": 10}, TokenUsage(uncached_input=10)),
        ("openai", {"prompt_tokens": -10, "completion_tokens": 5}, TokenUsage(output=5)),
        ("openai", {"prompt_tokens": "10", "completion_tokens": 5}, TokenUsage(output=5)),
        ("openai", {"prompt_tokens": None, "completion_tokens": 5, "total_tokens": 15}, TokenUsage(output=5)),
        ("openai", {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 900}, TokenUsage(10, output=5)),
        ("openai", {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 11}, TokenUsage(10, output=5)),
        (
            "openai",
            {"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 25}},
            TokenUsage(cache_read=10, output=5),
        ),
        (
            "mistral",
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "total_tokens": 15,
                "completion_tokens_details": {"reasoning_tokens": 100},
            },
            TokenUsage(uncached_input=10, output=5, reasoning=5),
        ),
        ("anthropic", {"input_tokens": 10}, TokenUsage(uncached_input=10)),
        ("anthropic", {"input_tokens": None, "output_tokens": 5}, TokenUsage(output=5)),
        (
            "anthropic",
            {
                "input_tokens": 10,
                "output_tokens": 5,
                "cache_creation_input_tokens": 100,
                "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
            },
            TokenUsage(uncached_input=10, cache_write=80, cache_write_1h=20, output=5),
        ),
        (
            "anthropic",
            {
                "input_tokens": 10,
                "output_tokens": 5,
                "iterations": [
                    {"type": "compaction", "input_tokens": 9000, "output_tokens": 300},
                    {"type": "message", "input_tokens": 10, "output_tokens": 5},
                ],
            },
            TokenUsage(uncached_input=10, output=5),
        ),
        ("openai", {"prompt_tokens": 10, "completion_tokens": 10**30}, TokenUsage(10, output=10**12)),
        ("google", {"candidatesTokenCount": 5}, TokenUsage(output=5)),
        (
            "google",
            {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 500},
            TokenUsage(uncached_input=10, output=5),
        ),
        ("google", {"promptTokenCount": 10, "totalTokenCount": 500}, TokenUsage(uncached_input=10)),
    ],
)
def test_counts_that_are_missing_or_do_not_add_up_are_kept_and_not_priced(slug, usage, known):
    report = report_of(slug, usage)

    assert (report.usage, report.doubt) == (known, Doubt.UNCLEAR_TOKENS)
    assert price_of(slug, usage).no_price == UsageEvent.NoPrice.UNCLEAR_TOKENS


@pytest.mark.parametrize("slug", ["openai", "anthropic", "google"])
@pytest.mark.parametrize("usage", [None, {}, [], "many", {"total_tokens": 5}, {"prompt_tokens": None}])
def test_no_counts_at_all_are_none(slug, usage):
    assert report_of(slug, usage).usage is None
    assert price_of(slug, usage).no_price == UsageEvent.NoPrice.NOT_REPORTED


def test_what_google_leaves_out_is_zero_if_the_total_says_so():
    blocked = {"promptTokenCount": 10, "thoughtsTokenCount": 7, "toolUsePromptTokenCount": 3, "totalTokenCount": 20}

    assert report_of("google", blocked).usage == TokenUsage(uncached_input=13, output=7, reasoning=7)
    assert report_of("google", blocked).doubt is None


# Recorded answers, and whatever else may come --------------------------------------------------------------------


@pytest.mark.skipif(not CASSETTES.is_dir(), reason="needs the recordings in ../shared/data/cassettes")
def test_no_recorded_answer_is_in_doubt_but_one_with_sound_from_the_cache_and_the_one_that_another_model_advised():
    in_doubt = {}
    for name, entry in (row.values for row in ANSWERED):
        report = PROVIDERS[entry["provider"]].adapter.parse_chat(recorded(name, entry["index"])).report
        if report.doubt:
            in_doubt[name] = report.doubt

    assert in_doubt == {
        "anthropic__messages__reason__02.json": Doubt.UNCLEAR_TOKENS,
        "openai__chat_completions__cached-reason__01.json": Doubt.UNCLEAR_TOKENS,
    }


@pytest.mark.skipif(not CASSETTES.is_dir(), reason="needs the recordings in ../shared/data/cassettes")
def test_recorded_answers_are_priced_by_what_they_report_or_say_why_not():
    priced = 0
    for name, entry in (row.values for row in ANSWERED):
        report = PROVIDERS[entry["provider"]].adapter.parse_chat(recorded(name, entry["index"])).report
        asked = entry["request_model"] or entry["model"]
        found = price(provider=entry["provider"], model=asked, report=report, at=AT)
        assert (found.no_price is None) == (found.cost_nanousd is not None), name
        priced += bool(found.cost_nanousd)

    assert priced >= len(ANSWERED) / 2


COUNTERS = {
    "chat_completions": openai_tokens,
    "responses": openai_tokens,
    "messages": anthropic_tokens,
    "generateContent": google_tokens,
    "streamGenerateContent": google_tokens,
}


@pytest.mark.skipif(not CASSETTES.is_dir(), reason="needs the recordings in ../shared/data/cassettes")
def test_the_usage_of_every_recording_is_counted_as_its_provider_meant_it_streams_and_strangers_included():
    recordings = json.loads((CASSETTES / "expected.json").read_text())
    entries = [entry for rows in recordings.values() if isinstance(rows, list) for entry in rows if entry.get("usage")]
    counted = 0
    for entry in entries:
        if counter := COUNTERS.get(entry["endpoint"]):
            found, meant = counter(entry["usage_raw"]).usage, entry["usage"]
            assert found is not None
            assert (found.input_total, found.output) == (meant["input"], meant["output"])
            assert found.cache_read == min(meant["cached_input"], meant["input"])
            counted += 1

    assert counted >= 80


NUMBERS = (
    st.none()
    | st.integers(-5, 200)
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3)
    | st.booleans()
)
NAMES = st.sampled_from(
    """prompt_tokens completion_tokens total_tokens input_tokens output_tokens cached_tokens prompt_cache_hit_tokens
    prompt_cache_miss_tokens reasoning_tokens cache_read_input_tokens cache_creation_input_tokens cost is_byok
    promptTokenCount candidatesTokenCount thoughtsTokenCount cachedContentTokenCount toolUsePromptTokenCount
    totalTokenCount service_tier""".split()  # noqa: SIM905
)
DETAILS = st.sampled_from(
    ["prompt_tokens_details", "completion_tokens_details", "output_tokens_details", "cache_creation", "cost_details"]
)
PARTS = st.dictionaries(
    st.sampled_from(
        """cached_tokens cache_write_tokens reasoning_tokens audio_tokens thinking_tokens upstream_inference_cost
        ephemeral_5m_input_tokens ephemeral_1h_input_tokens""".split()  # noqa: SIM905
    ),
    NUMBERS,
)
USAGES = st.builds(dict.__or__, st.dictionaries(NAMES, NUMBERS), st.dictionaries(DETAILS, PARTS | NUMBERS))


@unhurried(deadline=None)
@given(st.sampled_from(sorted(MODELS)), USAGES)
@example("openai", {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 115})
@example("openrouter", {"cost": 0, "is_byok": True})
def test_whatever_an_answer_reports_no_number_is_negative_and_no_price_lacks_a_part(slug, usage):
    report = report_of(slug, usage)
    found = price(provider=slug, model=MODELS[slug], report=report, at=AT)

    assert (found.cost_nanousd is None) == (found.source == Source.NONE) == (found.no_price is not None)
    assert found.cost_nanousd is None or found.cost_nanousd >= 0
    if found.source == Source.CATALOG:
        assert report.doubt is None
        assert report.usage is not None
        counts = {
            "anthropic": ("input_tokens", "output_tokens"),
            "google": ("promptTokenCount",),
        }.get(slug, ())
        assert all(isinstance(usage.get(name), (int, float)) and usage[name] >= 0 for name in counts)
    if found.source == Source.PROVIDER:
        assert slug == "openrouter"
        assert usage["cost"] is not None
    if slug == "openrouter" and usage.get("is_byok") not in (None, False):
        assert found.cost_nanousd is None or usage["cost_details"]["upstream_inference_cost"] is not None


@unhurried(deadline=None)
@given(st.sampled_from(sorted(MODELS)), USAGES, st.sampled_from([400, 402, 429, 500, 502, 504, 529]))
def test_whatever_an_error_reports_it_stays_the_error_that_it_is(slug, usage, status):
    content = {"error": {"message": "No.", "code": status}, "usage": usage, "usageMetadata": usage}
    with pytest.raises(ProviderError) as refused:
        PROVIDERS[slug].adapter.parse_chat(HttpAnswer(status, {}, json.dumps(content).encode()))

    assert refused.value.http_status == status
    assert refused.value.report.usage is None or refused.value.report.usage.total >= 0
