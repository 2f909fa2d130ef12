"""
What providers and the servers in front of them mean by an error, read from codes and words that many of them share.

The words are matched and go no further. Spellings of OpenAI, OpenRouter, Groq, xAI, Together, Cohere, Bedrock proxies,
vLLM, llama.cpp, LM Studio, TGI, LiteLLM, Moonshot, DeepSeek, Qwen and others, from their documentation and from public
reports of their errors, checked 2026-11-27.
"""

from __future__ import annotations

import re

from providers.adapters.error_body import ErrorBody
from providers.adapters.reasons import Reason, reason

_BAD_KEY_CODES = frozenset({"invalid_api_key", "api_key_invalid", "incorrect_api_key", "expired_key"})
_BAD_KEY = re.compile(
    r"\b(?:incorrect|invalid|malformed|expired|unknown|revoked|wrong) (?:x-)?api[ _-]?key\b"
    r"|\bapi[ _-]?key(?:: \S+)? (?:is |was |has )?(?:been )?(?:currently )?"
    r"(?:not valid|not found|invalid|incorrect|expired|revoked|disabled|deleted|blocked)\b"
    r"|\bexpired key\b|\binvalid key\b(?=$|[.!,])"  # and not: invalid key "x" in a request
    r"|\bsecurity token included in the request is (?:invalid|expired)\b"
)
_CLOSED_CODES = frozenset(
    {"account_deactivated", "organization_deactivated", "organization_restricted", "account_suspended"}
)
_CLOSED = re.compile(
    r"\b(?:account|organization|organisation|user|team|project)\b[^.]{0,60}?"
    r"\b(?:has been|have been|is|was|are) (?:currently )?"
    r"(?:disabled|deactivated|suspended|restricted|banned|terminated)\b"
    r"|\bdeactivated account\b"
)
# HTTP 429 with one of these (as type or code) does not recover by waiting.
_NO_CREDIT_CODES = frozenset(
    {
        "insufficient_quota",
        "insufficient_user_quota",
        "insufficient_balance",
        "insufficient_credits",
        "exceeded_current_quota_error",
        "credit_balance_exhausted",
        "organization_spend_limit_exceeded",
        "project_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
        "billing_hard_limit_reached",
        "billing_not_active",
        "budget_exceeded",
        "arrearage",
        "accountoverdueerror",
    }
)
_NO_CREDIT = re.compile(
    r"\binsufficient (?:account )?(?:balance|credits?|quota|funds)\b"
    r"|\b(?:balance|credits?) (?:is|are) (?:insufficient|not enough|exhausted|too low)\b"
    r"|\bcredit balance is too low\b|\bused all available credits\b|\bout of credits?\b"
    r"|\bhave any credits\b"
    r"|\b(?:spend(?:ing)?|budget) (?:limit|cap) (?:has been |was |is )?(?:reached|exceeded)\b"
    r"|\b(?:reach|exceed|hit)\w* (?:its|your|the|their) (?:monthly |weekly |daily )?spend(?:ing)? (?:limit|cap)\b"
    r"|(?<!thinking )(?<!token )(?<!reasoning )\bbudget (?:has been |was |is )?exceeded\b"
    r"|\bexceeded\w*budget\b|\bover budget\b"
)
# A budget of one model or deployment, which leaves the key its others.
_BUDGET_OF_A_MODEL = re.compile(r"\bexceeded budget for (?:deployment )?model\b|\bcrossed budget\b")
_TOO_LONG_CODES = frozenset(
    {
        "context_length_exceeded",
        "context_window_exceeded",
        "string_above_max_length",
        "exceed_context_size_error",
        "too_many_tokens",
        "request_too_large",
        "model_max_prompt_tokens_exceeded",
        "tokens_limit_reached",
        "contextwindowexceedederror",
    }
)
_TOO_LONG = re.compile(
    r"\bmax(?:imum)? (?:allowed )?(?:context|prompt|model|input|sequence) len"
    r"|\bcontext[ _](?:length|window|size|limit)[^.]{0,40}\bexceed|\bexceed\w*[^.]{0,60}\bcontext\b"
    r"|\bcontextwindowexceedederror\b|\bgreater than the context length\b|\blonger than the (?:model|maximum)"
    r"|\bexceed\w* (?:the )?model(?:'s)? (?:token limit|maximum)\b"
    r"|\b(?:prompt|input|request|conversation) (?:is )?too (?:long|large)\b"
    r"|\btoo (?:large|long) for (?:the |this |requested )?model\b|\btoo many (?:input )?tokens\b(?!, please wait)"
    r"|\breduce the length of\b|\btoken count\b[^.]{0,200}?\bexceeds?\b|\btoken limit exceeded\b"
    r"|\btokens \+ `?max_new_tokens`? must be\b|\brange of input length should be\b"
    r"|\bmaximum number of (?:input )?tokens\b|\b`?inputs`? must have less than\b|\bcontext (?:the )?overflows\b"
)
_ASKED_FOR = re.compile(r"\blimit:? ([0-9][0-9,]{0,15})\b.{0,80}?\brequested:? ([0-9][0-9,]{0,15})\b")
_REQUEST_TOO_LARGE = re.compile(r"\brequest too large for\b")
# The first period that an error names is that of the limit; further on some advertise what other plans allow.
_PERIOD = re.compile(
    r"(?P<long>(?:per|by)[ _-]?(?:day|week|month|86400 ?s)|/ ?(?:day|week|month)\b"
    r"|(?<![a-z])(?:daily|weekly|monthly)(?![a-z])|\b(?:tpd|rpd)\b)"
    r"|(?:per|by)[ _-]?(?:second|minute|hour|sec\b|min\b|[0-9])|/ ?(?:second|minute|hour|sec|min)\b"
    r"|(?<![a-z])hourly(?![a-z])|\b(?:tpm|rpm|rps)\b"
)
_VOLUME = re.compile(r"\bout of call volume quota\b")  # Azure API Management, with 403
LONG_WAIT_SECONDS = 3_600
_NO_SUCH_MODEL_CODES = frozenset(
    {
        "model_not_found",
        "invalid_model",
        "deploymentnotfound",
        "model_decommissioned",
        "unknown_model",
        "unavailable_model",
        # LiteLLM sends these with 401: the key is good, the model is not for it.
        "key_model_access_denied",
        "team_model_access_denied",
        "user_model_access_denied",
        "org_model_access_denied",
    }
)
_NO_SUCH_MODEL = re.compile(
    r"\bmodels?\b[^.]{0,120}?\b(?:not found|(?:does |do )?not exist|not loaded|not available|unknown|decommissioned)\b"
    r"|\b(?:no models? loaded|unknown model|invalid model|no such model|not a valid model|unsupported model)\b"
    r"|\bmodel identifier is invalid\b|\bnot allowed to access model\b"
    r"|(?:\bno|\bnot have|n't have) access to (?:the |this )?model\b"
)
_TRY_AGAIN_IN = re.compile(
    r"\b(?:try again|retry|wait)(?: in| after| for)? (?:([0-9]+) ?d(?:ays?)?,? ?)?(?:([0-9]+) ?h(?:ours?)?,? ?)?"
    r"(?:([0-9]+) ?m(?!s)(?:in(?:ute)?s?)?,? ?)?(?:([0-9]+)(?:\.[0-9]+)? ?s)?"
)


def means_bad_key(error: ErrorBody) -> bool:
    return _has(error, _BAD_KEY_CODES) or bool(_BAD_KEY.search(_beginning(error)))


def means_closed_account(error: ErrorBody) -> bool:
    return _has(error, _CLOSED_CODES) or bool(_CLOSED.search(_beginning(error)))


def means_no_credit(error: ErrorBody) -> bool:
    return _has(error, _NO_CREDIT_CODES) or bool(_NO_CREDIT.search(_beginning(error)))


def means_budget_of_a_model(error: ErrorBody) -> bool:
    return bool(_BUDGET_OF_A_MODEL.search(error.message))


def means_too_long(error: ErrorBody) -> bool:
    return _has(error, _TOO_LONG_CODES) or bool(_TOO_LONG.search(error.message))


def means_too_long_for_key(error: ErrorBody) -> bool:
    """More tokens asked for at once than the key may ever use within a minute: waiting does not help."""
    if _REQUEST_TOO_LARGE.search(error.message):
        return True
    asked = _ASKED_FOR.search(error.message)
    return asked is not None and int(asked[2].replace(",", "")) > int(asked[1].replace(",", ""))


def means_long_quota(error: ErrorBody, retry_after_seconds: float | None = None) -> bool:
    """A quota of a day or longer, or a wait that is as good as one, where a rate limit is what the status says."""
    period = _PERIOD.search(f"{error.message} {error.type} {error.code}".lower())
    if period and period["long"]:
        return True
    return (retry_after_seconds or _wait_in(error.message) or 0) > LONG_WAIT_SECONDS


def means_volume_used_up(error: ErrorBody) -> bool:
    """A quota, whatever the status."""
    return bool(_VOLUME.search(error.message))


def names_no_such_model(error: ErrorBody) -> bool:
    """By its code, whatever the status."""
    return _has(error, _NO_SUCH_MODEL_CODES)


def means_no_such_model(error: ErrorBody) -> bool:
    return bool(_NO_SUCH_MODEL.search(error.message))


def renewal_of(error: ErrorBody, retry_after_seconds: float | None) -> Reason:
    """When a quota is renewed: as the provider says, or what is usual."""
    seconds = retry_after_seconds or _wait_in(error.message)
    if not seconds:
        return reason("renewed.usually")
    for length, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= length:
            number = round(seconds / length)
            return reason(f"renewed.{unit}") if number == 1 else reason(f"renewed.{unit}s", number=number)
    return reason("renewed.soon")


def _beginning(error: ErrorBody) -> str:
    """Where a provider's own words stand. Further on it may quote the request, and no profile may break a key."""
    return error.message[:200]


def _has(error: ErrorBody, codes: frozenset[str]) -> bool:
    return not codes.isdisjoint({error.type.lower(), error.code.lower()})


def _wait_in(message: str) -> float | None:
    found = _TRY_AGAIN_IN.search(message)
    if not found or not any(found.groups()):
        return None
    days, hours, minutes, seconds = (int((part or "0")[:6]) for part in found.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds) or None
