"""A question to a model as tests ask it, and what providers answer."""

from __future__ import annotations

import json
import uuid

from django.utils import timezone

from gateway import dispatch
from gateway.asking import UnparsableAnswer, ask_now
from gateway.reasons import AskReason
from gateway.ticket import Ticket
from providers.adapters.base import ChatRequest, Message
from routing.actions import REQUIREMENT_GENERATION
from routing.resolve import Route, resolve
from routing.services import save_routing
from simulator.wires.base import Reply
from tests.builders import connect_key

ACTION = REQUIREMENT_GENERATION.slug
MODEL = "openai/gpt-4.1-mini"
MODELS = {
    "openrouter": MODEL, "openai": "gpt-4.1-mini", "anthropic": "claude-haiku-4-5", "google": "gemini-2.5-flash",
    "mistral": "mistral-small-latest", "ollama": "qwen3:8b", "openai_compatible": "llama-3.3-70b",
    "anthropic_compatible": "zai-org/GLM-4.6", "gemini_compatible": "gemma-3-27b-it",
}  # fmt: skip
USAGE = {"prompt_tokens": 1000, "completion_tokens": 0}


class NoObject(AskReason):
    sentences = {**AskReason.sentences, "no_object": "it holds no complete JSON object."}


def route_to(organization, provider: str, model: str = "") -> Route:
    key = connect_key(organization, provider)
    listed = sorted(key.available_models.values_list("model", flat=True))
    model = model or (MODELS[provider] if MODELS[provider] in listed else listed[0])
    save_routing(organization=organization, action=ACTION, key=key, model=model, actor=None)
    return resolve(organization=organization, action=ACTION)


def ask(organization, route: Route | None = None, read=json.loads, most: int = 16_384):
    route = route or resolve(organization=organization, action=ACTION)
    run_id = uuid.uuid4()

    def prepare(iteration: int) -> Ticket:
        return dispatch.prepare(
            organization=organization, route=route, run_id=run_id, iteration=iteration, now=timezone.now()
        )

    request = ChatRequest(
        model=route.model,
        system="Answer in JSON.",
        messages=(Message("user", "<job_description>\nMust know Django.\n</job_description>"),),
        max_output_tokens=most,
    )
    return ask_now(prepare=prepare, request=request, read=read)


def strictly(text: str):
    try:
        return json.loads(text)
    except ValueError:
        raise UnparsableAnswer(NoObject("no_object", {})) from None


def openai(text: str | None, reason: str = "stop", **message: object) -> Reply:
    choice = {"message": {"role": "assistant", "content": text, **message}, "finish_reason": reason}
    return Reply(200, {"choices": [choice], "usage": USAGE})


def anthropic(text: str | None, reason: str) -> Reply:
    blocks = [] if text is None else [{"type": "text", "text": text}]
    return Reply(200, {"content": blocks, "stop_reason": reason, "usage": {"input_tokens": 1000, "output_tokens": 0}})


def google(text: str | None, reason: str) -> Reply:
    candidate = {"finishReason": reason} | ({} if text is None else {"content": {"parts": [{"text": text}]}})
    return Reply(200, {"candidates": [candidate], "usageMetadata": {"promptTokenCount": 1000}})
