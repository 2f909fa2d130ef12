"""
Proving a key by an answered call: one short question to a model, which stands in the books as every other call does.

Where a server lists no models, nothing else can prove its key. And what a call broke, only an answered call mends: a
list of models is given without credit too, and to keys that may call none of them.
"""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import datetime

from providers.adapters.base import (
    Adapter,
    ChatRequest,
    ErrorKind,
    HttpAnswer,
    HttpCall,
    ListedModel,
    Message,
    ProviderError,
)
from providers.adapters.quirks import Quirk
from providers.adapters.reasons import reason
from providers.keys.model_quirks import quirks_of, remember_quirks
from providers.models import ProviderKey
from usage.facts import Admission, CallFacts, deadline_of
from usage.metering import Finished, admit_call, record_calls
from usage.models import Mode, UsageEvent
from usage.pricing import price
from usage.tokens import NOTHING_SAID, Report, TokenUsage

ACTION = "key_validation"  # in the books; no route, no average
TIMEOUT_SECONDS = 60  # a server of one's own may have to load the model first
OUTPUT_TOKENS = 16
# What tells models apart that answer no chats, by their names.
NO_CHAT = re.compile(
    r"embed|whisper|tts|dall-e|image|imagen|audio|realtime|moderation|transcri|rerank|sora|video|veo-|lyria|speech"
    r"|davinci|babbage|turbo-instruct|computer-use|deep-research|search|ocr|guard|\baqa\b|robotics|codex|live"
)
FREE = ":free"
A_SHORT_CALL = TokenUsage(uncached_input=20, output=OUTPUT_TOKENS)
RECENT_EVENTS = 50
# What a call is recorded as that ended by a fault of ours: it may have left, and been billed.
INTERRUPTED = ProviderError(ErrorKind.UNEXPECTED, reason("interrupted.test"), may_have_run=True)


def prove(
    *,
    key: ProviderKey,
    adapter: Adapter,
    model: str,
    base_url: str,
    ask: Callable[[HttpCall], HttpAnswer],
    now: datetime,
) -> ProviderError | None:
    """
    Ask `model` a short question with `key`, and record the call. Returns why no answer came, None if one did.

    Where the server refuses an optional field of ours it is asked again without that, each field once, as it is for
    every other call.
    """
    run_id, iteration = uuid.uuid4(), 1
    quirks, learnt = quirks_of(key=key, model=model), dict[str, Quirk]()
    while True:
        call = admit_call(
            organization_id=key.organization_id,
            facts=CallFacts(
                provider=key.provider,
                model=model,
                action=ACTION,
                key_id=key.pk,
                key_label=key.label,
                mode=Mode.MANAGED if key.organization.is_platform else Mode.BYOK,
            ),
            run_id=run_id,
            iteration=iteration,
            now=now,
            deadline_at=deadline_of(now, TIMEOUT_SECONDS),
            no_token_charges=key.has_no_token_charges,
        )
        refused, quirk = _ask_once(call, adapter, adapter.chat_call(base_url, _question(model), quirks), ask, quirks)
        if quirk is None or quirk.field in learnt:
            break
        learnt[quirk.field] = quirk
        quirks, iteration = (*quirks, quirk), iteration + 1
    if learnt and refused is None:
        remember_quirks(
            organization_id=key.organization_id,
            key_id=key.pk,
            secret_version=key.secret_version,
            model=model,
            quirks=learnt.values(),
        )
    return refused


def _question(model: str) -> ChatRequest:
    return ChatRequest(
        model=model,
        system="",
        messages=(Message("user", "Answer with the word OK."),),
        max_output_tokens=OUTPUT_TOKENS,
        json_output=False,
    )


def _ask_once(
    call: Admission,
    adapter: Adapter,
    leaving: HttpCall,
    ask: Callable[[HttpCall], HttpAnswer],
    quirks: Sequence[Quirk],
) -> tuple[ProviderError | None, Quirk | None]:
    """Why no answer came, and which optional field that was about; the call is recorded whatever happens."""
    started = time.perf_counter()
    refused: ProviderError | None = INTERRUPTED
    quirk, report = None, NOTHING_SAID
    try:
        answer = ask(leaving)
        try:
            report, refused = adapter.parse_chat(answer).report, None
        except ProviderError:
            quirk = adapter.refused_option(answer, _question(call.facts.model), quirks)
            raise
    except ProviderError as error:
        refused, report = error, error.report
    finally:
        ended = Finished(
            call=call,
            status=UsageEvent.Status.FAILED if refused else UsageEvent.Status.ANSWERED,
            latency_ms=round((time.perf_counter() - started) * 1000),
            report=report,
            http_status=refused.http_status if refused else 200,
            error_kind=refused.kind if refused else "",
            may_have_run=refused.may_have_run if refused else False,
            input_parts=_question(call.facts.model).input_parts,
        )
        record_calls([ended], durable=True)
    return refused, quirk


def model_to_ask(key: ProviderKey, listed: Sequence[ListedModel], *, now: datetime) -> str:
    """
    The model to prove `key` with, "" if none is known: the one a person typed, else one that answered with it lately,
    else the cheapest that is listed, chats and costs something (a free one answers without credit).
    """
    if key.proof_model:
        return key.proof_model
    cost = {model.id: _cost(key.provider, model, now=now) for model in listed if _may_prove(model)}
    for model in _answered_lately(key):
        if model in cost or (not listed and not model.endswith(FREE)):
            return model
    priced = {model: nanousd for model, nanousd in cost.items() if nanousd}
    if priced:
        return min(priced, key=lambda model: (priced[model], model))
    # Without any price, of whoever sells none by the list: a server of one's own.
    return next(iter(cost), "") if all(nanousd is None for nanousd in cost.values()) else ""


def _may_prove(model: ListedModel) -> bool:
    is_free = model.id.endswith(FREE) or (model.input_nanousd_per_mtok, model.output_nanousd_per_mtok) == (0, 0)
    return not is_free and not NO_CHAT.search(model.id.lower())


def _cost(provider: str, model: ListedModel, *, now: datetime) -> int | None:
    """Of a short call, in nano-USD, by the provider's own prices or the price list."""
    if model.input_nanousd_per_mtok is not None and model.output_nanousd_per_mtok is not None:
        tokens = (A_SHORT_CALL.uncached_input, A_SHORT_CALL.output)
        return (tokens[0] * model.input_nanousd_per_mtok + tokens[1] * model.output_nanousd_per_mtok) // 1_000_000
    asked = Report(usage=A_SHORT_CALL, served_model=model.id)
    return price(provider=provider, model=model.id, report=asked, at=now).cost_nanousd


def _answered_lately(key: ProviderKey) -> list[str]:
    """Models that answered with `key`, latest first, as far as the newest events tell."""
    events = UsageEvent.objects.for_organization(key.organization).order_by("-occurred_at")
    newest = events.values_list("key_id", "status", "model")[:RECENT_EVENTS]
    answered = (model for key_id, status, model in newest if (key_id, status) == (key.pk, UsageEvent.Status.ANSWERED))
    return list(dict.fromkeys(answered))
