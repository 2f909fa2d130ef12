"""What an error of each kind means, in a sentence that is true of all its reasons: the books keep the kind alone."""

from __future__ import annotations

from providers.adapters.verdicts import ErrorKind

_SENTENCES: dict[str, str] = {
    ErrorKind.INVALID: "{provider} did not accept the key.",
    ErrorKind.LIMITED: "{provider} did not allow the key this request.",
    ErrorKind.NO_CREDIT: "The account behind the key had no credit left at {provider}, or had reached its limit there.",
    ErrorKind.NEEDS_REENTRY: "The stored key did not open, so nothing was asked.",
    ErrorKind.QUOTA_USED_UP: "What {provider} lets the key do in a day or longer was used up.",
    ErrorKind.RATE_LIMITED: "{provider} limits how much the key may do at a time, and that was used up.",
    ErrorKind.OVERLOADED: "{provider} was overloaded or had a fault.",
    ErrorKind.UNREACHABLE: "{provider} could not be reached, or did not answer in time.",
    ErrorKind.MODEL_NOT_FOUND: "{provider} did not offer the model to this key.",
    ErrorKind.BAD_REQUEST: "{provider} could not work with this request, or would not.",
    ErrorKind.UNEXPECTED: "The call was interrupted, or answered in a way that we do not know.",
}


def sentence_of(kind: str, provider_name: str) -> str:
    """ "" for a kind that is none any more."""
    return _SENTENCES.get(kind, "").format(provider=provider_name)
