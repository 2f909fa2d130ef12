"""Errors as providers really write them, and the cause that each is: the key, its credit, a quota, or one request."""

# ruff: noqa: E501  # the words of providers, one error a row

from __future__ import annotations

import pytest

from providers.adapters.base import ErrorKind
from providers.catalog import PROVIDERS
from tests.providers.test_adapters_errors import ERRORS, anthropic, google, mistral, openai, openrouter, reason, refuse

INVALID = ErrorKind.INVALID
LIMITED = ErrorKind.LIMITED
NO_CREDIT = ErrorKind.NO_CREDIT
QUOTA = ErrorKind.QUOTA_USED_UP
RATE_LIMITED = ErrorKind.RATE_LIMITED
MODEL_NOT_FOUND = ErrorKind.MODEL_NOT_FOUND
BAD_REQUEST = ErrorKind.BAD_REQUEST
UNEXPECTED = ErrorKind.UNEXPECTED

COMPATIBLE = "openai_compatible"


def quota_failure(quota: str) -> dict[str, object]:
    return {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [{"quotaId": quota}]}


# fmt: off
# Provider, status, body, cause, and words that its sentence has to have.
CAUSES: list[tuple[str, int, object, ErrorKind, str]] = [
    # The spending limit of a key is no permission.
    ("openrouter", 403, openrouter(403, "Key limit exceeded (monthly limit). Manage it using https://openrouter.ai/settings/keys"), NO_CREDIT, "spending limit"),
    ("openrouter", 403, openrouter(403, "Key limit exceeded (total limit)."), NO_CREDIT, "spending limit"),
    ("openrouter", 402, openrouter(402, "Insufficient credits. This account never purchased credits."), NO_CREDIT, "no credit"),
    ("openrouter", 402, openrouter(402, "You requested up to 4096 tokens, but can only afford 0."), NO_CREDIT, "no credit"),
    # One request too dear for what is left breaks no key.
    ("openrouter", 402, openrouter(402, "This request requires more credits, or fewer max_tokens. You requested up to 65536 tokens, but can only afford 3181."), BAD_REQUEST, "does not cover this request"),
    ("openrouter", 402, openrouter(402, "Prompt tokens limit exceeded: 9000 > 4000."), BAD_REQUEST, "does not cover this request"),
    # What a provider behind OpenRouter says of OpenRouter's access is nothing about our key.
    ("openrouter", 401, openrouter(401, "Provider returned error", provider_name="Azure", raw="Access denied"), UNEXPECTED, "behind OpenRouter"),
    ("openrouter", 403, openrouter(403, "Provider returned error", provider_name="Google"), UNEXPECTED, "behind OpenRouter"),
    ("openrouter", 403, openrouter(403, "Your input was flagged", reasons=["violence"], provider_name="OpenAI"), BAD_REQUEST, "content rules"),
    ("openrouter", 429, openrouter(429, "Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 free model requests per day"), QUOTA, "00:00 UTC"),
    ("openrouter", 429, openrouter(429, "Rate limit exceeded: free-models-per-day-high-balance. "), QUOTA, "00:00 UTC"),
    ("openrouter", 429, openrouter(429, "Rate limit exceeded", limit_source="openrouter_free_tier_daily"), QUOTA, "00:00 UTC"),
    ("openrouter", 429, openrouter(429, "Rate limit exceeded: free-models-per-min."), RATE_LIMITED, "Wait a minute"),
    ("openrouter", 404, openrouter(404, "No endpoints found matching your data policy (Free model training). Configure: https://openrouter.ai/settings/privacy"), LIMITED, "settings/privacy"),
    ("openrouter", 404, openrouter(404, "No endpoints available matching your guardrail restrictions and data policy."), LIMITED, "settings/privacy"),
    ("openrouter", 404, openrouter(404, "No allowed providers are available for the selected model."), LIMITED, "settings/preferences"),
    ("openrouter", 404, openrouter(404, "All providers have been ignored."), LIMITED, "settings/preferences"),
    ("openrouter", 404, openrouter(404, "No endpoints found that support tool use."), BAD_REQUEST, "could not work with this request"),
    ("openrouter", 400, openrouter(400, "Provider returned error", provider_name="Anthropic", raw='{"error":{"message":"prompt is too long: 213462 tokens"}}'), BAD_REQUEST, "longer than this model"),
    # Accounts that were closed.
    ("anthropic", 400, anthropic("invalid_request_error", "This organization has been disabled."), INVALID, "disabled the account or organization"),
    ("anthropic", 403, anthropic("permission_error", "Your organization has been disabled."), INVALID, "disabled the account or organization"),
    ("openai", 401, openai("The OpenAI account associated with this API key has been deactivated.", code="account_deactivated"), INVALID, "disabled the account"),
    ("openai", 403, openai("This key is associated with a deactivated account.", code="account_deactivated"), INVALID, "disabled the account"),
    ("openai", 401, openai("Your OpenAI account has been deactivated, please check your email."), INVALID, "disabled the account"),
    ("openai", 401, openai("The project you are requesting has been archived and is no longer accessible."), INVALID, "archived"),
    (COMPATIBLE, 400, openai("Organization has been restricted. Please reach out to support.", code="organization_restricted"), INVALID, "disabled the account"),
    ("openai", 429, openai("Your account is not active, please check your billing details.", code="billing_not_active"), NO_CREDIT, "no credit"),
    # Keys that Google lets do nothing: by the reason, and by the words where there is none.
    *(
        ("google", 403, google(403, "PERMISSION_DENIED", "x", reason(name)), INVALID, words)
        for name, words in (
            ("API_KEY_HTTP_REFERRER_BLOCKED", "websites"),
            ("API_KEY_IP_ADDRESS_BLOCKED", "IP addresses"),
            ("API_KEY_ANDROID_APP_BLOCKED", "Android"),
            ("API_KEY_IOS_APP_BLOCKED", "iOS"),
            ("API_KEY_SERVICE_BLOCKED", "apis/credentials"),
            ("SERVICE_DISABLED", "apis/library"),
            ("CONSUMER_SUSPENDED", "suspended"),
            ("CONSUMER_INVALID", "suspended"),
            ("BILLING_DISABLED", "cloud.google.com/billing"),
        )
    ),
    ("google", 403, google(403, "PERMISSION_DENIED", "Requests from referer <empty> are blocked."), INVALID, "websites"),
    ("google", 403, google(403, "PERMISSION_DENIED", "The provided API key has an IP address restriction."), INVALID, "IP addresses"),
    ("google", 403, google(403, "PERMISSION_DENIED", "Permission denied: Consumer 'api_key:x' has been suspended."), INVALID, "suspended"),
    ("google", 403, google(403, "PERMISSION_DENIED", "Your project has been denied access. Please contact support."), INVALID, "suspended"),
    ("google", 400, google(400, "INVALID_ARGUMENT", "API key expired. Please renew the API key."), INVALID, "does not accept this key"),
    ("google", 403, google(403, "PERMISSION_DENIED", "You do not have permission to access the tuned model."), LIMITED, "this request"),
    # Quotas of a day: they lift by themselves, but nobody waits for them.
    ("google", 429, google(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota", quota_failure("GenerateRequestsPerDayPerProjectPerModel-FreeTier")), QUOTA, "Pacific"),
    ("google", 429, google(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota", quota_failure("GenerateContentInputTokensPerModelPerDay-FreeTier")), QUOTA, "Pacific"),
    ("google", 429, google(429, "RESOURCE_EXHAUSTED", "You exceeded your current quota", quota_failure("GenerateRequestsPerMinutePerProjectPerModel-FreeTier")), RATE_LIMITED, "Wait a minute"),
    ("google", 429, google(429, "RESOURCE_EXHAUSTED", "limit 'Gemini 2.5 Pro Requests per day per user per tier'"), QUOTA, "Pacific"),
    ("openai", 429, openai("Rate limit reached for gpt-4o in organization org-x on requests per day (RPD): Limit 200, Used 200, Requested 1. Please try again in 7m12s.", "requests", "rate_limit_exceeded"), QUOTA, "7 minutes"),
    (COMPATIBLE, 429, openai("Rate limit reached for model `m` on tokens per day (TPD): Limit 100000, Used 99923, Requested 1284. Please try again in 17m23.2s.", "tokens", "rate_limit_exceeded"), QUOTA, "17 minutes"),
    (COMPATIBLE, 429, openai("Rate limit reached for model `m` on requests per day (RPD): Limit 1000, Used 1000, Requested 1. Please try again in 1m26.4s.", "requests", "rate_limit_exceeded"), QUOTA, "1 minute"),
    ("anthropic", 429, anthropic("rate_limit_error", "Number of request tokens has exceeded your daily rate limit"), QUOTA, "day"),
    ("mistral", 429, mistral(429, "rate_limited", "Monthly token limit exceeded", "1300"), QUOTA, "month"),
    # More in one request than the key may use within a minute.
    ("openai", 429, openai("Request too large for gpt-4o in organization org-x on tokens per min (TPM): Limit 30000, Requested 45120. The input or output tokens must be reduced.", "tokens", "rate_limit_exceeded"), BAD_REQUEST, "waiting does not help"),
    (COMPATIBLE, 413, openai("Request too large for model `m` on tokens per minute (TPM): Limit 6000, Requested 7001, please reduce your message size.", "tokens", "rate_limit_exceeded"), BAD_REQUEST, "waiting does not help"),
    ("openai", 429, openai("Rate limit reached on tokens per min (TPM): Limit 30000, Used 29000, Requested 4512.", "tokens", "rate_limit_exceeded"), RATE_LIMITED, "Wait a minute"),
    # Wrong keys of servers that do not say 401.
    *((slug, 400, body, INVALID, "accept") for slug in ("openai", COMPATIBLE, "anthropic", "google", "openrouter", "mistral") for body in ({"error": "Incorrect API key provided"}, {"error": {"message": "Invalid API key"}})),
    (COMPATIBLE, 403, {"error": "Invalid API key"}, INVALID, "accept"),
    (COMPATIBLE, 400, openai("Authentication Error - Expired Key.", "expired_key", "400"), INVALID, "accept"),
    # LiteLLM: a good key without this model is 401, a used-up budget 400 or 429, the proxy's own upstream key 401.
    (COMPATIBLE, 401, openai("key not allowed to access model. This key can only access models=['a']", "key_model_access_denied", "401"), MODEL_NOT_FOUND, "does not offer this model"),
    (COMPATIBLE, 401, openai("litellm.AuthenticationError: AuthenticationError: OpenAIException - Incorrect API key provided", "None", "401"), UNEXPECTED, "not at fault"),
    (COMPATIBLE, 400, openai("Budget has been exceeded! Current cost: 26.0, Max budget: 0.25", "budget_exceeded", "400"), NO_CREDIT, "budget"),
    (COMPATIBLE, 400, openai("ExceededBudget: End User=x over budget. Spend=0.0008, Budget=0.0001", "auth_error", "400"), NO_CREDIT, "budget"),
    (COMPATIBLE, 429, openai("litellm.BadRequestError: OpenAIException - Budget has been exceeded! Current cost: 14", "None", "429"), NO_CREDIT, "budget"),
    (COMPATIBLE, 429, openai("LiteLLM User: x, exceeded budget for model=claude-opus-4-8", "budget_exceeded", "429"), QUOTA, "budget"),
    (COMPATIBLE, 429, openai("No deployments available - crossed budget: Exceeded budget for deployment model_name: x", "None", "429"), QUOTA, "budget"),
    # No credit, as others spell it.
    (COMPATIBLE, 401, openai("You exceeded your current quota", "insufficient_quota", "401"), NO_CREDIT, "credit"),
    (COMPATIBLE, 403, openai("x", "new_api_error", "insufficient_user_quota"), NO_CREDIT, "credit"),
    (COMPATIBLE, 403, {"code": 30001, "message": "Sorry, your account balance is insufficient"}, NO_CREDIT, "credit"),
    (COMPATIBLE, 403, {"error": "Your team has either used all available credits or reached its monthly spending limit."}, NO_CREDIT, "credit"),
    (COMPATIBLE, 429, openai("Your account is out of credits", "exceeded_current_quota_error"), NO_CREDIT, "credit"),
    # Too long, as others spell it.
    *(
        (slug, status, body, BAD_REQUEST, "longer than this model")
        for slug, status, body in (
            (COMPATIBLE, 400, {"error_type": "TOO_MANY_TOKENS", "message": "too many tokens: size limit exceeded by 25836 tokens."}),
            (COMPATIBLE, 400, openai("x", "exceed_context_size_error", 400)),
            (COMPATIBLE, 400, openai("the request exceeds the available context size, try increasing it")),
            (COMPATIBLE, 400, openai("This model's maximum context length is 4096 tokens. However, you requested 5000 tokens")),
            (COMPATIBLE, 400, openai("The decoder prompt (length 9000) is longer than the maximum model length of 4096")),
            (COMPATIBLE, 400, openai("litellm.ContextWindowExceededError: litellm.BadRequestError: x")),
            (COMPATIBLE, 422, {"error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4097"}),
            (COMPATIBLE, 400, openai("Please reduce the length of the messages or completion.", code="context_length_exceeded")),
            (COMPATIBLE, 400, {"message": "Input is too long for requested model."}),
            (COMPATIBLE, 400, {"error": "tokens to keep from the initial prompt is greater than the context length"}),
            (COMPATIBLE, 400, openai("Your request exceeded model token limit: 262144 (requested: 300000)")),
            (COMPATIBLE, 400, openai("Range of input length should be [1, 30720]", code="invalid_parameter_error")),
            (COMPATIBLE, 413, openai("Max size: 8000 tokens.", code="tokens_limit_reached")),
            ("ollama", 400, openai("prompt too long; exceeded max context length by 1119046 tokens")),
            ("openai", 400, openai("Your input exceeds the context window of this model.", code="context_length_exceeded")),
            ("anthropic", 400, anthropic("invalid_request_error", "input length and `max_tokens` exceed context limit: 1 + 2 > 3")),
            ("mistral", 400, mistral(400, "x", "Prompt contains 9 tokens and 0 draft tokens, too large for model with 4 maximum context length", "3051")),
            ("google", 400, google(400, "INVALID_ARGUMENT", "The input token count (2000000) exceeds the maximum number of tokens allowed (1048576).")),
        )
    ),
    # A throttled server says similar words.
    (COMPATIBLE, 429, {"message": "Too many tokens, please wait before trying again."}, RATE_LIMITED, "Wait a minute"),
    # Where a server answers, but not under this base URL.
    (COMPATIBLE, 200, {"error": "Unexpected endpoint or method. (POST /chat/completions)"}, UNEXPECTED, "end in /v1"),
    (COMPATIBLE, 200, b"<!doctype html><title>Open WebUI</title>", UNEXPECTED, "end in /v1"),
    (COMPATIBLE, 404, {"detail": "Not Found"}, UNEXPECTED, "end in /v1"),
    (COMPATIBLE, 404, b"404 page not found", UNEXPECTED, "end in /v1"),
    (COMPATIBLE, 405, {"detail": "Method Not Allowed"}, UNEXPECTED, "end in /v1"),
    ("ollama", 200, {"error": "Unexpected endpoint or method. (POST /v1/chat/completions)"}, UNEXPECTED, "no Ollama server"),
    ("ollama", 404, b"404 page not found", UNEXPECTED, "no Ollama server"),
    # Errors in other envelopes: Cloudflare's list, Apigee's fault, the capital letters of AWS.
    (COMPATIBLE, 401, {"success": False, "errors": [{"code": 10000, "message": "Authentication error"}], "result": None}, INVALID, "accept"),
    (COMPATIBLE, 429, {"errors": [{"code": 4006, "message": "AiError: you have used up your daily free allocation of 10,000 neurons"}]}, QUOTA, "day"),
    (COMPATIBLE, 400, {"errors": [{"code": 5007, "message": "AiError: No such model x or task"}]}, MODEL_NOT_FOUND, "model"),
    (COMPATIBLE, 401, {"fault": {"faultstring": "Invalid ApiKey", "detail": {"errorcode": "oauth.v2.InvalidApiKey"}}}, INVALID, "accept"),
    (COMPATIBLE, 403, {"Message": "Authentication failed: API Key has expired"}, INVALID, "accept"),
    (COMPATIBLE, 403, {"message": "The security token included in the request is expired"}, INVALID, "accept"),
    (COMPATIBLE, 403, {"code": "permission-denied", "error": "API key is currently blocked: x"}, INVALID, "accept"),
    (COMPATIBLE, 400, openai("Authentication Fails, Your api key: ****abcd is invalid", "authentication_error"), INVALID, "accept"),
    ("google", 400, google(400, "INVALID_ARGUMENT", "API Key not found. Please pass a valid API key."), INVALID, "accept"),
    ("google", 403, google(403, "PERMISSION_DENIED", "The referrer https://x does not match the referrer restrictions configured on your API key."), INVALID, "websites"),
    # A key of JSON is no key of ours.
    (COMPATIBLE, 400, openai("Invalid key 'strict' in 'response_format'"), BAD_REQUEST, "this request"),
    (COMPATIBLE, 400, openai("Invalid key: metadata"), BAD_REQUEST, "this request"),
    (COMPATIBLE, 400, openai("The thinking budget exceeded max_tokens"), BAD_REQUEST, "this request"),
    # Credit and limits of spending.
    (COMPATIBLE, 403, {"code": "x", "error": "Your newly created teams doesn't have any credits yet."}, NO_CREDIT, "credit"),
    (COMPATIBLE, 412, {"error": {"code": "PRECONDITION_FAILED", "message": "Account x is suspended, possibly due to reaching the monthly spending limit or failure to pay past invoices"}}, NO_CREDIT, "credit"),
    (COMPATIBLE, 400, openai("Project has reached its spend limit.", code="blocked_api_access"), NO_CREDIT, "credit"),
    (COMPATIBLE, 400, openai("Authentication Error, ExceededTokenBudget: Current spend for token: 0.1; Max Budget for Token: 0.01", "auth_error", "400"), NO_CREDIT, "credit"),
    ("google", 429, google(429, "RESOURCE_EXHAUSTED", "Your project has exceeded its monthly spending cap."), NO_CREDIT, "credit"),
    # Long quotas: the first period that is named is the limit's, and a wait of hours is one whatever it is called.
    (COMPATIBLE, 429, {"message": "You are using a Trial key, which is limited to 1000 API calls / month."}, QUOTA, "month"),
    (COMPATIBLE, 429, {"message": "You are using a Trial key, which is limited to 20 API calls / minute, or 1000 / month."}, RATE_LIMITED, "Wait a minute"),
    (COMPATIBLE, 429, openai("Rate limit reached on requests per minute (RPM): Limit 30. Daily limits are higher on paid plans."), RATE_LIMITED, "Wait a minute"),
    (COMPATIBLE, 429, openai("Rate limit of 50 per 86400s exceeded for UserByModelByDay. Please wait 7264 seconds before retrying.", code="RateLimitReached"), QUOTA, "2 hours"),
    (COMPATIBLE, 429, openai("Rate limit of 10 per 60s exceeded for UserByModelByMinute. Please wait 14 seconds before retrying.", code="RateLimitReached"), RATE_LIMITED, "Wait a minute"),
    (COMPATIBLE, 429, openai("Requests have exceeded call rate limit of your current OpenAI F0 pricing tier. Please retry after 86400 seconds."), QUOTA, "1 day"),
    (COMPATIBLE, 403, {"statusCode": 403, "message": "Out of call volume quota. Quota will be replenished in 12.22:10:20."}, QUOTA, "month"),
    ("ollama", 429, openai("you have reached your weekly usage limit, upgrade for higher limits"), QUOTA, "month"),
    # Models that are not for this key.
    (COMPATIBLE, 400, openai("The model `m` has been decommissioned and is no longer supported.", code="model_decommissioned"), MODEL_NOT_FOUND, "model"),
    (COMPATIBLE, 400, {"message": "The provided model identifier is invalid."}, MODEL_NOT_FOUND, "model"),
    (COMPATIBLE, 403, {"message": "You don't have access to the model with the specified model ID."}, MODEL_NOT_FOUND, "model"),
    (COMPATIBLE, 400, openai("Model Not Exist", "invalid_request_error"), MODEL_NOT_FOUND, "model"),
    (COMPATIBLE, 403, openai("No access to model: openai/gpt-5", code="no_access"), MODEL_NOT_FOUND, "model"),
    ("openrouter", 404, openrouter(404, "0 active endpoints: Paid model training violation. Configure: https://openrouter.ai/settings/privacy"), LIMITED, "settings/privacy"),
    # Ollama's cloud refuses a model, which says nothing of the server that passes that on.
    ("ollama", 401, {"error": "unauthorized", "signin_url": "https://ollama.com/connect?name=x"}, LIMITED, "Ollama's cloud"),
    ("ollama", 403, {"error": "this model requires a subscription, upgrade for access: https://ollama.com/upgrade"}, LIMITED, "Ollama's cloud"),
    ("ollama", 401, {"error": "unauthorized"}, INVALID, "something guards it"),
    (COMPATIBLE, 422, openai("Input validation error: `inputs` must have less than 4097 tokens"), BAD_REQUEST, "longer than this model"),
    # What a request quotes is no word about the key.
    (COMPATIBLE, 400, openai("Validation failed: " + "x" * 200 + " Incorrect API key provided; insufficient balance"), BAD_REQUEST, "this request"),
]
# fmt: on


@pytest.mark.parametrize(("slug", "status", "body", "kind", "words"), CAUSES)
def test_the_cause_is_what_the_provider_means(slug, status, body, kind, words):
    error = refuse(slug, status, body)

    assert error.kind is kind, error.sentence
    assert words in error.sentence
    assert len(error.sentence) <= 300


@pytest.mark.parametrize(
    ("slug", "status", "body"), [*((row[0], row[1], row[2]) for row in ERRORS), *(row[:3] for row in CAUSES)]
)
def test_a_sentence_beside_a_validated_key_speaks_of_the_key_alone(slug, status, body):
    sentence = refuse(slug, status, body).reason.of_key

    for words in (
        "this model",
        "the action",
        "these actions",
        "this request",
        "The text",
        "choose another",
        "Nothing is wrong",
    ):
        assert words.lower() not in sentence.lower()
    assert sentence.endswith(".")
    assert len(sentence) <= 300


def test_a_quota_of_a_day_is_not_worth_another_try():
    assert not ErrorKind.QUOTA_USED_UP.is_temporary


@pytest.mark.parametrize("slug", PROVIDERS)
def test_no_error_says_that_nothing_is_wrong_with_a_key(slug):
    for status in (408, 429, 500, 503, 529):
        assert "nothing is wrong" not in refuse(slug, status, {"error": {"message": "x"}}).sentence.lower()
