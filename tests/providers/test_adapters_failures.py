"""A failed call keeps what the provider says of it, and says whether a model may have worked on it."""

from __future__ import annotations

import json

import pytest

from providers.adapters.base import ErrorKind, HttpAnswer, ProviderError
from providers.catalog import PROVIDERS
from usage.tokens import TokenUsage

TOKENS = TokenUsage(uncached_input=10, output=5)
USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
MESSAGE = {"input_tokens": 10, "output_tokens": 5}
GEMINI = {"promptTokenCount": 10, "candidatesTokenCount": 5, "totalTokenCount": 15}
NAMES_OF_USAGE = {
    **dict.fromkeys(("anthropic", "anthropic_compatible"), ("usage", MESSAGE)),
    **dict.fromkeys(("google", "gemini_compatible"), ("usageMetadata", GEMINI)),
}


def failure(slug: str, status: int, content: object) -> ProviderError:
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    with pytest.raises(ProviderError) as failed:
        PROVIDERS[slug].adapter.parse_chat(HttpAnswer(status, {}, body))
    return failed.value


@pytest.mark.parametrize("status", [200, 400, 402, 429, 500, 502, 504])
@pytest.mark.parametrize("slug", PROVIDERS)
def test_an_error_keeps_the_tokens_that_it_reports(slug, status):
    name, usage = NAMES_OF_USAGE.get(slug, ("usage", USAGE))

    failed = failure(slug, status, {"error": {"message": "Broke off.", "code": status}, "model": "m-1", name: usage})

    assert failed.report.usage == TOKENS


@pytest.mark.parametrize("cost", [0, 0.001])
@pytest.mark.parametrize(
    ("status", "content"),
    [
        (200, {"error": {"code": 502, "message": "Broke off."}}),
        (502, {"error": {"code": 502, "message": "Broke off."}}),
        (
            200,
            {"choices": [{"message": {"content": "a"}, "finish_reason": "error", "error": {"code": 502}}]},
        ),
        (200, {"choices": [{"error": {"code": 429, "message": "Slow."}}]}),
        (200, {"choices": []}),
        (200, {"choices": None}),
    ],
)
def test_a_failed_call_keeps_the_cost_that_openrouter_reports_also_if_it_is_zero(status, content, cost):
    failed = failure("openrouter", status, {**content, "id": "gen-1", "usage": {**USAGE, "cost": cost}})

    assert failed.report.cost_nanousd == cost * 10**9
    assert failed.report.usage == TOKENS
    assert failed.report.request_id == "gen-1"


@pytest.mark.parametrize(
    ("slug", "content"),
    [
        ("openai", {"choices": [], "usage": USAGE}),
        ("mistral", {"choices": [{"message": None}], "usage": USAGE}),
        ("anthropic", {"content": None, "usage": MESSAGE}),
        ("google", {"candidates": [], "usageMetadata": GEMINI}),
        ("google", {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": GEMINI}),
    ],
)
def test_a_success_without_a_text_keeps_its_tokens(slug, content):
    assert failure(slug, 200, content).report.usage == TOKENS


@pytest.mark.parametrize("slug", PROVIDERS)
@pytest.mark.parametrize(
    ("status", "content", "may_have_run"),
    [
        # the provider says itself that it gave up waiting
        (504, {"error": {"message": "Deadline exceeded."}}, True),
        (408, {"error": {"message": "Timed out."}}, True),
        (524, {"error": {"message": "Timed out."}}, True),
        # something in front of it gave up, or lost what was behind it
        (504, b"<html>Gateway time-out</html>", True),
        (524, b"", True),
        (408, b"", True),
        (502, b"<html>Bad gateway</html>", True),
        (500, b"", True),
        (499, b"", True),
        # nobody took it
        (503, b"<html>Service unavailable</html>", False),
        (521, b"", False),
        (429, b"", False),
        (307, b"", False),
        # the provider refused it, or failed and bills no failures
        (500, {"error": {"message": "Internal error."}}, False),
        (502, {"error": {"message": "No provider."}}, False),
        (503, {"error": {"message": "Overloaded."}}, False),
        (529, {"error": {"message": "Overloaded.", "type": "overloaded_error"}}, False),
        (400, {"error": {"message": "Bad."}}, False),
        (401, {"error": {"message": "Who?"}}, False),
        # a success that nobody can read
        (200, b"Hello", True),
        (200, b"", True),
        (200, {"something": "else"}, True),
        # an error inside a success, after the model had begun
        (200, {"error": {"message": "Broke off."}}, True),
        (200, {"error": {"message": "Broke off.", "code": 502}}, True),
    ],
)
def test_whether_a_model_may_have_worked_on_a_failed_call(slug, status, content, may_have_run):
    assert failure(slug, status, content).may_have_run is may_have_run


@pytest.mark.parametrize("page", [b"<html>Hello</html>", b"\xef\xbb\xbf\r\n<!doctype html><title>Hello</title>"])
@pytest.mark.parametrize("slug", PROVIDERS)
def test_a_web_page_in_place_of_an_answer_ran_nothing_where_it_shows_that_no_model_is_there(slug, page):
    """At a provider's own address it may have come between a model that worked and us."""
    assert failure(slug, 200, page).may_have_run is not PROVIDERS[slug].takes_base_url


@pytest.mark.parametrize(
    ("slug", "error"),
    [
        ("openrouter", {"code": 402, "message": "Insufficient credits."}),
        ("openrouter", {"code": 429, "message": "Slow down."}),
        ("openai", {"code": "invalid_api_key", "message": "Incorrect API key."}),
        ("openai", {"message": "Your organization has been disabled."}),
        ("openai_compatible", "Incorrect API key provided"),
        ("openai_compatible", {"message": "Insufficient balance", "code": 500}),
        ("anthropic", {"type": "authentication_error", "message": "invalid x-api-key"}),
        ("google", {"code": 403, "message": "Forbidden."}),
    ],
)
def test_a_refusal_inside_a_success_ran_nothing(slug, error):
    failed = failure(slug, 200, {"error": error})

    assert failed.kind in (
        ErrorKind.NO_CREDIT,
        ErrorKind.RATE_LIMITED,
        ErrorKind.INVALID,
        ErrorKind.LIMITED,
    )
    assert not failed.may_have_run


def test_a_generation_that_broke_off_had_begun_whatever_the_reason():
    choice = {"message": {"content": "a"}, "finish_reason": "error", "error": {"code": 429}}

    assert failure("openrouter", 200, {"choices": [choice]}).may_have_run


def test_a_prompt_that_google_blocks_ran_nothing():
    assert not failure("google", 200, {"promptFeedback": {"blockReason": "SAFETY"}}).may_have_run
