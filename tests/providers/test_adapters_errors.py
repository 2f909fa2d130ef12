"""Every error a provider documents, and what we make of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from providers.adapters.base import ErrorKind, HttpAnswer, ProviderError
from providers.catalog import PROVIDERS
from tests.builders import PERHAPS_OWN

KEY = "sk-proj-canary-0123456789"

INVALID = ErrorKind.INVALID
LIMITED = ErrorKind.LIMITED
NO_CREDIT = ErrorKind.NO_CREDIT
RATE_LIMITED = ErrorKind.RATE_LIMITED
OVERLOADED = ErrorKind.OVERLOADED
UNREACHABLE = ErrorKind.UNREACHABLE
MODEL_NOT_FOUND = ErrorKind.MODEL_NOT_FOUND
BAD_REQUEST = ErrorKind.BAD_REQUEST
UNEXPECTED = ErrorKind.UNEXPECTED


def openai(message: str, kind: str = "invalid_request_error", code: object = None, param: object = None) -> Any:
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def anthropic(kind: str, message: str, **details: object) -> Any:
    error = {"type": kind, "message": message, **({"details": details} if details else {})}
    return {"type": "error", "error": error, "request_id": "req_011"}


def mistral(status: int, kind: str, message: str, code: str) -> dict[str, Any]:
    return {"object": "error", "message": message, "type": kind, "param": None, "code": code, "raw_status_code": status}


def google(code: int, status: str, message: str, *details: object) -> Any:
    return {"error": {"code": code, "message": message, "status": status, "details": list(details)}}


def reason(name: str) -> dict[str, str]:
    return {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": name}


def openrouter(code: object, message: str, **metadata: object) -> Any:
    return {"error": {"code": code, "message": message, "metadata": metadata}, "user_id": "user_1"}


RETRY = {"retry-after": "20"}

ERRORS: list[tuple[str, int, object, dict[str, str], ErrorKind]] = [
    # OpenAI
    ("openai", 401, openai(f"Incorrect API key provided: {KEY}.", code="invalid_api_key"), {}, INVALID),
    ("openai", 401, openai("You didn't provide an API key."), {}, INVALID),
    (
        "openai",
        401,
        openai("You have insufficient permissions for this operation. Missing scopes: api.model.read."),
        {},
        LIMITED,
    ),
    ("openai", 403, openai("You have insufficient permissions. Missing scopes: model.request"), {}, LIMITED),
    (
        "openai",
        401,
        openai("Your IP is not authorized to access this project.", code="ip_not_authorized"),
        {},
        INVALID,
    ),
    ("openai", 401, openai("You must be a member of an organization to use the API."), {}, INVALID),
    (
        "openai",
        403,
        openai("Country, region, or territory not supported", code="unsupported_country_region_territory"),
        {},
        INVALID,
    ),
    ("openai", 403, openai("Forbidden."), {}, LIMITED),
    (
        "openai",
        429,
        openai("You exceeded your current quota.", "insufficient_quota", "insufficient_quota"),
        {},
        NO_CREDIT,
    ),
    ("openai", 429, openai("x", "insufficient_quota", "credit_balance_exhausted"), {}, NO_CREDIT),
    ("openai", 429, openai("x", "insufficient_quota", "organization_spend_limit_exceeded"), {}, NO_CREDIT),
    ("openai", 429, openai("x", "insufficient_quota", "project_spend_limit_exceeded"), {}, NO_CREDIT),
    ("openai", 429, openai("x", "insufficient_quota", "organization_usage_limit_exceeded"), {}, NO_CREDIT),
    ("openai", 429, openai("Rate limit reached", "requests", "rate_limit_exceeded"), RETRY, RATE_LIMITED),
    ("openai", 429, openai("Rate limit reached", "tokens", "rate_limit_exceeded"), {}, RATE_LIMITED),
    ("openai", 429, openai("x", "requests", "slow_down"), {}, RATE_LIMITED),
    ("openai", 503, openai("x", "server_error", "slow_down"), {}, RATE_LIMITED),
    ("openai", 500, openai("The server had an error", "server_error"), {}, OVERLOADED),
    ("openai", 503, openai("x", "server_error", "server_is_overloaded"), {}, OVERLOADED),
    ("openai", 404, openai("The model `gpt-9` does not exist", code="model_not_found"), {}, MODEL_NOT_FOUND),
    (
        "openai",
        403,
        openai("Project does not have access to model", code="model_not_found"),
        {},
        MODEL_NOT_FOUND,
    ),
    ("openai", 404, openai("This is not a chat model.", param="model"), {}, MODEL_NOT_FOUND),
    ("openai", 404, openai("Invalid URL (GET /v2)"), {}, UNEXPECTED),
    ("openai", 400, openai("Unsupported value", code="unsupported_value"), {}, BAD_REQUEST),
    ("openai", 400, openai("Too long", code="context_length_exceeded"), {}, BAD_REQUEST),
    ("openai", 400, openai("Flagged", code="content_policy_violation"), {}, BAD_REQUEST),
    ("openai", 413, openai("Too large"), {}, BAD_REQUEST),
    # Anthropic
    ("anthropic", 401, anthropic("authentication_error", "invalid x-api-key"), {}, INVALID),
    ("anthropic", 403, anthropic("permission_error", "Not allowed"), {}, LIMITED),
    ("anthropic", 402, anthropic("billing_error", "Payment required"), {}, NO_CREDIT),
    (
        "anthropic",
        400,
        anthropic("invalid_request_error", "Your credit balance is too low to access the API"),
        {},
        NO_CREDIT,
    ),
    (
        "anthropic",
        400,
        anthropic("invalid_request_error", "You have reached your specified API usage limits."),
        {},
        NO_CREDIT,
    ),
    ("anthropic", 429, anthropic("rate_limit_error", "Slow down"), RETRY, RATE_LIMITED),
    (
        "anthropic",
        429,
        anthropic("rate_limit_error", "Ramp", error_code="ramp_limit_exceeded"),
        RETRY,
        RATE_LIMITED,
    ),
    (
        "anthropic",
        429,
        anthropic("rate_limit_error", "x", error_code="enforced_spend_limit_reached"),
        {},
        NO_CREDIT,
    ),
    (
        "anthropic",
        429,
        anthropic("rate_limit_error", "x", error_code="contract_spend_limit_reached"),
        {},
        NO_CREDIT,
    ),
    (
        "anthropic",
        429,
        anthropic("rate_limit_error", "x", error_code="enforced_spend_limit_reached"),
        RETRY,
        RATE_LIMITED,
    ),
    ("anthropic", 429, anthropic("rate_limit_error", "No header"), {}, RATE_LIMITED),
    ("anthropic", 529, anthropic("overloaded_error", "Overloaded"), {}, OVERLOADED),
    ("anthropic", 500, anthropic("api_error", "Internal"), {}, OVERLOADED),
    ("anthropic", 503, anthropic("api_error", "Unavailable"), {}, OVERLOADED),
    ("anthropic", 504, anthropic("timeout_error", "Timeout"), {}, OVERLOADED),
    ("anthropic", 413, anthropic("request_too_large", "Too large"), {}, BAD_REQUEST),
    (
        "anthropic",
        400,
        anthropic("invalid_request_error", "prompt is too long: 210000 tokens"),
        {},
        BAD_REQUEST,
    ),
    ("anthropic", 400, anthropic("invalid_request_error", "max_tokens: Field required"), {}, BAD_REQUEST),
    ("anthropic", 404, anthropic("not_found_error", "model: claude-9"), {}, MODEL_NOT_FOUND),
    ("anthropic", 404, anthropic("not_found_error", "Not found"), {}, UNEXPECTED),
    # Google
    (
        "google",
        400,
        google(400, "INVALID_ARGUMENT", "API key not valid.", reason("API_KEY_INVALID")),
        {},
        INVALID,
    ),
    (
        "google",
        400,
        google(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key."),
        {},
        INVALID,
    ),
    (
        "google",
        401,
        google(401, "UNAUTHENTICATED", "x", reason("ACCESS_TOKEN_TYPE_UNSUPPORTED")),
        {},
        INVALID,
    ),
    ("google", 401, google(401, "UNAUTHENTICATED", "x"), {}, INVALID),
    (
        "google",
        403,
        google(403, "PERMISSION_DENIED", "Gemini API has not been used", reason("SERVICE_DISABLED")),
        {},
        INVALID,
    ),
    (
        "google",
        403,
        google(403, "PERMISSION_DENIED", "blocked", reason("API_KEY_SERVICE_BLOCKED")),
        {},
        INVALID,
    ),
    ("google", 403, google(403, "PERMISSION_DENIED", "Your API key was reported as leaked."), {}, INVALID),
    (
        "google",
        402,
        google(402, "RESOURCE_EXHAUSTED", "Your prepayment credits are depleted."),
        {},
        NO_CREDIT,
    ),
    (
        "google",
        429,
        google(429, "RESOURCE_EXHAUSTED", "Your prepayment credits are depleted."),
        {},
        NO_CREDIT,
    ),
    ("google", 429, google(429, "RESOURCE_EXHAUSTED", "Quota exceeded, limit: 10"), {}, RATE_LIMITED),
    (
        "google",
        429,
        google(429, "RESOURCE_EXHAUSTED", "Quota exceeded, limit: 0, model: gemini-x"),
        {},
        LIMITED,
    ),
    ("google", 500, google(500, "INTERNAL", "x"), {}, OVERLOADED),
    ("google", 503, google(503, "UNAVAILABLE", "The model is overloaded."), {}, OVERLOADED),
    ("google", 503, [google(503, "UNAVAILABLE", "The model is overloaded.")], {}, OVERLOADED),
    ("google", 504, google(504, "DEADLINE_EXCEEDED", "x"), {}, OVERLOADED),
    ("google", 404, google(404, "NOT_FOUND", "models/gemini-9 is not found"), {}, MODEL_NOT_FOUND),
    (
        "google",
        400,
        google(400, "FAILED_PRECONDITION", "User location is not supported for the API use."),
        {},
        INVALID,
    ),
    (
        "google",
        400,
        google(400, "INVALID_ARGUMENT", "The input token count (2000000) exceeds the maximum"),
        {},
        BAD_REQUEST,
    ),
    ("google", 400, google(400, "INVALID_ARGUMENT", "Invalid JSON payload"), {}, BAD_REQUEST),
    # OpenRouter
    ("openrouter", 401, openrouter(401, "User not found."), {}, INVALID),
    ("openrouter", 402, openrouter(402, "Insufficient credits"), {}, NO_CREDIT),
    ("openrouter", 402, openrouter(402, "In-flight budget"), RETRY, RATE_LIMITED),
    ("openrouter", 403, openrouter(403, "Your input was flagged", reasons=["violence"]), {}, BAD_REQUEST),
    ("openrouter", 403, openrouter(403, "Blocked by guardrail"), {}, BAD_REQUEST),
    ("openrouter", 403, openrouter(403, "Key not permitted"), {}, LIMITED),
    ("openrouter", 400, openrouter(400, "a/b is not a valid model ID"), {}, MODEL_NOT_FOUND),
    ("openrouter", 404, openrouter(404, "No endpoints found for a/b."), {}, MODEL_NOT_FOUND),
    (
        "openrouter",
        400,
        openrouter(400, "This endpoint's maximum context length is 200000 tokens."),
        {},
        BAD_REQUEST,
    ),
    ("openrouter", 408, openrouter(408, "Timed out"), {}, OVERLOADED),
    ("openrouter", 413, openrouter(413, "Too large"), {}, BAD_REQUEST),
    ("openrouter", 422, openrouter(422, "Unprocessable"), {}, BAD_REQUEST),
    ("openrouter", 429, openrouter(429, "Provider returned error"), {}, RATE_LIMITED),
    ("openrouter", 500, openrouter(500, "Internal"), {}, OVERLOADED),
    ("openrouter", 502, openrouter(502, "Model down"), {}, OVERLOADED),
    ("openrouter", 503, openrouter(503, "No provider"), {}, OVERLOADED),
    ("openrouter", 524, openrouter(524, "Timeout"), {}, OVERLOADED),
    ("openrouter", 529, openrouter(529, "Overloaded"), {}, OVERLOADED),
    # An error inside HTTP 200 is an error.
    ("openrouter", 200, openrouter(429, "Upstream"), {}, RATE_LIMITED),
    ("openrouter", 200, openrouter(502, "Upstream"), {}, OVERLOADED),
    ("openrouter", 200, openrouter("server_error", "Upstream"), {}, OVERLOADED),
    ("openai", 200, openai("x", "insufficient_quota", "insufficient_quota"), {}, NO_CREDIT),
    ("openai", 200, openai("x", "server_error"), {}, OVERLOADED),
    ("anthropic", 200, anthropic("overloaded_error", "Overloaded"), {}, OVERLOADED),
    ("anthropic", 200, anthropic("rate_limit_error", "x"), {}, RATE_LIMITED),
    ("google", 200, [google(503, "UNAVAILABLE", "x")], {}, OVERLOADED),
]

ERRORS += [
    ("mistral", 401, {"detail": "Unauthorized"}, {}, INVALID),
    ("mistral", 401, {"message": "Unauthorized", "request_id": "0123"}, {}, INVALID),
    ("mistral", 402, {"detail": "Payment required"}, {}, NO_CREDIT),
    ("mistral", 403, {"detail": "Forbidden"}, {}, LIMITED),
    ("mistral", 429, mistral(429, "rate_limited", "Rate limit exceeded", "1300"), {}, RATE_LIMITED),
    ("mistral", 429, mistral(429, "x", "Service tier capacity exceeded for this model.", "3505"), {}, OVERLOADED),
    ("mistral", 400, mistral(400, "invalid_model", "Invalid model: x", "1500"), {}, MODEL_NOT_FOUND),
    ("mistral", 400, mistral(400, "x", "Prompt contains 9 tokens, too large for model", "3051"), {}, BAD_REQUEST),
    ("mistral", 500, mistral(500, "internal_server_error", "Oops", "3700"), {}, OVERLOADED),
    ("ollama", 404, {"error": "model 'x' not found"}, {}, MODEL_NOT_FOUND),
    ("ollama", 404, openai("model 'x' not found", "not_found_error"), {}, MODEL_NOT_FOUND),
    ("ollama", 403, {"error": "forbidden"}, {}, INVALID),
    ("ollama", 429, {"error": "too many"}, {}, RATE_LIMITED),
    ("ollama", 500, {"error": "llama runner process has terminated"}, {}, OVERLOADED),
    ("ollama", 402, {"error": "payment required"}, {}, NO_CREDIT),
    ("ollama", 413, {"error": "too large"}, {}, BAD_REQUEST),
    ("openai_compatible", 400, openai("No connected db.", "no_db_connection", "400"), {}, BAD_REQUEST),
]

# Servers that are somebody's own, or a proxy's, say most things alike, whatever protocol they speak.
ERRORS += [
    (slug, status, body, {}, kind)
    for slug in PERHAPS_OWN
    for status, body, kind in (
        (401, {"error": {"message": "Invalid API Key", "code": 401}}, INVALID),
        (401, {"type": "error", "error": {"type": "authentication_error", "message": "no"}}, INVALID),
        (400, {"error": {"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT"}}, INVALID),
        (400, openai("exceeds", "exceed_context_size_error"), BAD_REQUEST),
        (403, {"error": "forbidden"}, LIMITED),
        (402, {"error": "Insufficient Balance"}, NO_CREDIT),
        (404, {"error": "model 'x' not found"}, MODEL_NOT_FOUND),
        (404, {"detail": "Not Found"}, UNEXPECTED),
        (405, b"", UNEXPECTED),
        (429, openai("x", "rate", "429"), RATE_LIMITED),
        (500, {"detail": "Internal Server Error"}, OVERLOADED),
        (529, {"type": "error", "error": {"type": "overloaded_error", "message": "x"}}, OVERLOADED),
    )
]

# What any server in front of a provider may send.
ERRORS += [
    (slug, status, body, {}, kind)
    for slug in PROVIDERS
    for status, body, kind in (
        (401, b"<html>Unauthorized</html>", UNEXPECTED),
        (403, b"", UNEXPECTED),
        (404, b"", UNEXPECTED),
        (301, b"", UNEXPECTED),
        (429, b"", RATE_LIMITED),
        (500, b"<html>", UNREACHABLE),
        (502, b"<html>Bad gateway</html>", UNREACHABLE),
        (503, b"{", UNREACHABLE),
        (529, b"", UNREACHABLE),
        (418, {"error": "I am a teapot"}, UNEXPECTED),
        (401, {"error": "Unauthorized"}, INVALID),
        (401, {"detail": "Invalid API key"}, INVALID),
        (422, {"detail": [{"loc": ["body"], "msg": "field required", "type": "missing"}]}, BAD_REQUEST),
    )
]


def refuse(slug: str, status: int, body: object, headers: dict[str, str] | None = None) -> ProviderError:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(ProviderError) as refused:
        PROVIDERS[slug].adapter.parse_chat(HttpAnswer(status, headers or {}, content))
    return refused.value


@pytest.mark.parametrize(("slug", "status", "body", "headers", "kind"), ERRORS)
def test_an_error_means_what_its_provider_says_it_means(slug, status, body, headers, kind):
    error = refuse(slug, status, body, headers)

    assert error.kind is kind
    assert error.http_status == status


@pytest.mark.parametrize(("slug", "status", "body", "headers", "kind"), ERRORS)
def test_a_sentence_is_ours_and_says_what_to_do(slug, status, body, headers, kind):
    error = refuse(slug, status, body, headers)

    assert str(error) == error.sentence
    assert error.sentence.endswith(".")
    assert error.sentence.count(". ") >= 1 or "; " in error.sentence
    assert len(error.sentence) <= 300
    assert KEY not in error.sentence
    assert KEY not in repr(error)


@pytest.mark.parametrize("slug", PROVIDERS)
def test_a_key_that_a_provider_echoes_goes_no_further(slug):
    for body in (
        {"error": {"message": f"Bad key {KEY}", "type": KEY, "code": KEY, "status": KEY, "details": [KEY]}},
        {"error": f"Bad key {KEY}"},
        {"detail": f"Bad key {KEY}"},
        [{"error": {"message": KEY}}],
    ):
        for status in (200, 400, 401, 403, 404, 429, 500):
            if status == 200 and not isinstance(body, list) and "error" not in body:
                continue
            error = refuse(slug, status, body)
            assert KEY not in f"{error!r} {error} {error.__dict__}"


@pytest.mark.parametrize("slug", PROVIDERS)
def test_each_outcome_has_its_own_sentence(slug):
    sentences: dict[str, set[ErrorKind]] = {}
    for other, status, body, headers, kind in ERRORS:
        if other == slug:
            sentences.setdefault(refuse(slug, status, body, headers).sentence, set()).add(kind)

    assert all(len(kinds) == 1 for kinds in sentences.values()), sentences
    assert len(sentences) >= 9


def test_only_temporary_kinds_are_worth_trying_again():
    assert {kind for kind in ErrorKind if kind.is_temporary} == {RATE_LIMITED, OVERLOADED, UNREACHABLE}


def test_a_call_that_failed_inside_an_answer_keeps_its_tokens():
    body = {
        "choices": [{"message": {"content": "Half an ans"}, "finish_reason": "error", "error": {"code": 502}}],
        "usage": {"prompt_tokens": 50, "completion_tokens": 4},
    }
    begun = {**openrouter(502, "x"), "usage": {"prompt_tokens": 50, "completion_tokens": 4}}

    for content in (body, begun):
        error = refuse("openrouter", 200, content)
        assert error.kind is OVERLOADED
        assert error.report.usage is not None
        assert error.report.usage.total == 54


def test_the_providers_wait_is_passed_on():
    retry_info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "46.5s"}

    assert refuse("openai", 429, openai("x", "requests"), {"retry-after": "7"}).retry_after_seconds == 7
    assert refuse("google", 429, google(429, "RESOURCE_EXHAUSTED", "x", retry_info)).retry_after_seconds == 46.5
    assert refuse("openai", 429, openai("x", "requests")).retry_after_seconds is None


def test_the_providers_request_id_is_kept():
    assert refuse("anthropic", 529, anthropic("overloaded_error", "x")).report.request_id == "req_011"
    assert refuse("anthropic", 529, b"", {"request-id": "req_7"}).report.request_id == "req_7"
    assert refuse("openai", 500, openai("x"), {"x-request-id": "req 8"}).report.request_id == ""
