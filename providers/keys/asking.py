"""
What is asked about a key, and what the answers say of it. Writes nothing on the key but whether it opens.

First the free calls: the one that proves the key, and the list of models. A call to a model follows only where those
cannot prove it (`providers.keys.proof`).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from providers.adapters.base import Adapter, ErrorKind, HttpAnswer, HttpCall, ListedModel, NoModelList, ProviderError
from providers.adapters.reasons import Reason, reason
from providers.catalog import PROVIDERS, origin_of
from providers.custody.inspection import tried_seal
from providers.custody.sealing import SealBroken
from providers.egress.short_calls import send_now
from providers.keys.destinations import BaseUrlRefused, Destination, destination_of
from providers.keys.proof import TIMEOUT_SECONDS, model_to_ask, prove
from providers.models import BROKEN_STATUSES, UNREADABLE, USABLE_STATUSES, ProviderKey

VALIDATION_TIMEOUT_SECONDS = 10  # for all free calls of one validation together
CANNOT_BE_CHECKED = "cannot_be_checked"
LONGEST_SHOWN_MODEL = 60
Status = ProviderKey.Status

# What a refusal says about the key. Temporary trouble says nothing about it, so it keeps an earlier verdict.
STATUS_OF_ERROR = {
    ErrorKind.INVALID: Status.INVALID,
    ErrorKind.LIMITED: Status.LIMITED,
    ErrorKind.NO_CREDIT: Status.NO_CREDIT,
    ErrorKind.QUOTA_USED_UP: Status.RATE_LIMITED,
    ErrorKind.RATE_LIMITED: Status.RATE_LIMITED,
    ErrorKind.OVERLOADED: Status.UNREACHABLE,
    ErrorKind.UNREACHABLE: Status.UNREACHABLE,
}
# What a refused call to a model says about the key; of the rest, only that it proved nothing.
STATUS_OF_REFUSED_PROOF: dict[ErrorKind, Status] = {
    kind: status for kind, status in STATUS_OF_ERROR.items() if kind is not ErrorKind.LIMITED
}

# Refusals of the list alone, after which the model that a person typed is asked all the same.
NOT_ABOUT_THE_KEY = (ErrorKind.LIMITED, ErrorKind.MODEL_NOT_FOUND, ErrorKind.BAD_REQUEST, ErrorKind.UNEXPECTED)


@dataclass(frozen=True, slots=True)
class Finding:
    """
    What came out. `models` is what the key can call, where `status` is Connected; `is_proven` where a call was
    answered, `is_refused` where one was refused for the key itself, so that only an answered one mends it.
    """

    status: str
    why: Reason | None = None
    limits: dict[str, Any] = field(default_factory=dict)
    models: list[ListedModel] = field(default_factory=list)
    is_proven: bool = False
    is_refused: bool = False


@dataclass(frozen=True, slots=True)
class _Line:
    """A way to the key's provider, with the key and without."""

    destination: Destination
    headers: dict[str, str]
    ends: float  # of the free calls, on the monotonic clock

    def ask(self, call: HttpCall) -> HttpAnswer:
        return self._send(call, self.headers, max(0.0, self.ends - time.monotonic()))

    def ask_without_key(self, call: HttpCall) -> HttpAnswer:
        return self._send(call, {}, max(0.0, self.ends - time.monotonic()))

    def ask_model(self, call: HttpCall) -> HttpAnswer:
        return self._send(call, self.headers, TIMEOUT_SECONDS)

    def _send(self, call: HttpCall, headers: dict[str, str], seconds: float) -> HttpAnswer:
        return send_now(call, credential_headers=headers, timeout_seconds=seconds, reach=self.destination.reach)


def ask_provider(key: ProviderKey, *, now: datetime) -> Finding:
    adapter = PROVIDERS[key.provider].adapter
    if key.origin != origin_of(key.provider, key.base_url):
        return Finding(Status.NEEDS_REENTRY, UNREADABLE)
    try:
        ends = time.monotonic() + VALIDATION_TIMEOUT_SECONDS
        destination = destination_of(key)
        line = _Line(destination, adapter.credential_headers(tried_seal(key).open()), ends)
    except SealBroken:
        return Finding(Status.NEEDS_REENTRY, UNREADABLE)
    except BaseUrlRefused as error:
        return Finding(Status.UNREACHABLE, error.reason)
    try:
        finding = _ask_for_free(adapter, line)
    except NoModelList as missing:
        return _with_typed_model(_ask_model(key, adapter, line, [], missing=missing, now=now), key)
    except ProviderError as error:
        if key.proof_model and error.kind in NOT_ABOUT_THE_KEY:
            return _with_typed_model(_ask_model(key, adapter, line, [], missing=error, now=now), key)
        finding = _refused(error)
    if finding.status in USABLE_STATUSES and key.must_prove_by_call:
        proof = _ask_model(key, adapter, line, finding.models, missing=None, now=now)
        finding = replace(finding, is_proven=True) if proof.is_proven else proof
    return _with_typed_model(finding, key)


def _ask_for_free(adapter: Adapter, line: _Line) -> Finding:
    """Raises NoModelList where only a call to a model can prove the key, and ProviderError."""
    base_url = line.destination.base_url
    proof, listing = adapter.validation_call(base_url), adapter.models_call(base_url)
    answer = line.ask(proof)
    limits = adapter.parse_validation(answer)
    if listing == proof:
        models = adapter.parse_models(answer)
        if not models and adapter.may_list_nothing:
            raise adapter.empty_model_list()
    else:
        try:
            models = adapter.parse_models(line.ask(listing))
        except NoModelList:  # which does not matter: the key was proven without it
            models = []
    is_unchecked = adapter.may_be_open and line.headers and _answers_anybody(adapter, line, proof)
    return Finding(Status.CONNECTED, reason("not_checked") if is_unchecked else None, limits, models)


def _answers_anybody(adapter: Adapter, line: _Line, proof: HttpCall) -> bool:
    """Whether the call that proves a key succeeds without one too."""
    try:
        adapter.parse_validation(line.ask_without_key(proof))
    except ProviderError:
        return False
    return True


def _refused(error: ProviderError) -> Finding:
    status = STATUS_OF_ERROR.get(error.kind, Status.UNREACHABLE)
    # A spending limit that its own number names (with HTTP 200) is lifted by that number; the rest by a call alone.
    is_refused = status == Status.NO_CREDIT and error.http_status != 200
    return Finding(status, error.reason, is_refused=is_refused)


def _ask_model(
    key: ProviderKey,
    adapter: Adapter,
    line: _Line,
    listed: list[ListedModel],
    *,
    missing: ProviderError | None,
    now: datetime,
) -> Finding:
    """Prove the key by a call to a model: because its list is `missing`, or because a call broke the key."""
    model = model_to_ask(key, listed, now=now)
    if not model:
        return _without_model(key, missing)
    base_url = line.destination.base_url
    refused = prove(key=key, adapter=adapter, model=model, base_url=base_url, ask=line.ask_model, now=now)
    shown = model[:LONGEST_SHOWN_MODEL]
    if refused is None:
        no_list = reason("proven_by_call", provider=adapter.provider_name, model=shown)
        return Finding(Status.CONNECTED, no_list if missing else None, is_proven=True)
    if status := STATUS_OF_REFUSED_PROOF.get(refused.kind):
        return Finding(status, refused.reason, is_refused=status in (Status.INVALID, Status.NO_CREDIT))
    return Finding(_unproven(key), reason("not_proven", model=shown, because=refused.reason))


def _without_model(key: ProviderKey, missing: ProviderError | None) -> Finding:
    if key.must_prove_by_call:
        return Finding(_unproven(key), reason("only_a_call_proves", provider=PROVIDERS[key.provider].name))
    return Finding(Status.SAVED, reason(CANNOT_BE_CHECKED, **({"because": missing.reason} if missing else {})))


def _unproven(key: ProviderKey) -> str:
    """What a key stays that nothing proved: broken if a call broke it, else merely saved."""
    if not key.must_prove_by_call:
        return Status.SAVED
    return key.status if key.status in BROKEN_STATUSES else Status.NO_CREDIT


def _with_typed_model(finding: Finding, key: ProviderKey) -> Finding:
    """The model that a person typed can be routed too, whether it is listed or not."""
    if finding.status != Status.CONNECTED or not key.proof_model:
        return finding
    if any(model.id == key.proof_model for model in finding.models):
        return finding
    return replace(finding, models=[*finding.models, ListedModel(id=key.proof_model, name=key.proof_model)])
