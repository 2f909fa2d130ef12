"""How we go on asking, against the simulator over real sockets; only the waiting takes no time."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from gateway.asking import NoAnswer, retry_request
from providers.adapters.base import ChatRequest, Message
from providers.adapters.openrouter import OpenRouterAdapter
from simulator.app import OPENROUTER
from simulator.wires.base import KeyState, Reply
from tests.builders import route_to_own_key
from tests.gateway.questions import USAGE, anthropic, ask, google, openai, route_to, strictly
from usage.models import InFlightCall, UsageEvent

pytestmark = pytest.mark.usefixtures("simulated_providers")


CUT_OFF = {
    "openai": (openai, "length"),
    "openrouter": (openai, "length"),
    "anthropic": (anthropic, "max_tokens"),
    "google": (google, "MAX_TOKENS"),
    "mistral": (openai, "model_length"),
    "ollama": (openai, "length"),
    "openai_compatible": (openai, "length"),
    "anthropic_compatible": (anthropic, "max_tokens"),
    "gemini_compatible": (google, "MAX_TOKENS"),
}
REFUSALS = [
    ("openai", openai(None, "content_filter"), "content_filter"),
    ("openai", openai(None, "stop", refusal="I cannot help with that."), "stop"),
    ("openai", openai("", "stop", refusal="No."), "stop"),
    ("openai", Reply(200, {"choices": [{"finish_reason": "content_filter"}], "usage": USAGE}), "content_filter"),
    ("openrouter", Reply(200, {"choices": [{"message": {"content": ""}, "finish_reason": "stop",
                                             "native_finish_reason": "SAFETY"}], "usage": USAGE}), "SAFETY"),
    ("anthropic", anthropic(None, "refusal"), "refusal"),
    ("anthropic", anthropic("I cannot", "refusal"), "refusal"),
    ("google", google(None, "SAFETY"), "SAFETY"),
    ("google", google(None, "PROHIBITED_CONTENT"), "PROHIBITED_CONTENT"),
    ("google", google(None, "MODEL_ARMOR"), "MODEL_ARMOR"),
    ("google", Reply(200, {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 1000}}),
     "SAFETY"),
    ("mistral", openai("", "content_filter"), "content_filter"),
    ("openai_compatible", openai("", "content_filter"), "content_filter"),
    ("openai_compatible", openai("", "sensitive"), "sensitive"),  # GLM
]  # fmt: skip


# Why an answer ended ------------------------------------------------------------------------------------


@pytest.mark.parametrize("provider", CUT_OFF)
@pytest.mark.parametrize("text", [None, '{"a": '])
def test_an_answer_that_was_cut_off_is_asked_for_with_a_larger_limit_once(acme, simulator, waits, provider, text):
    reply, reason = CUT_OFF[provider]
    route = route_to(acme, provider)
    simulator.app.upcoming.extend([reply(text, reason), reply('{"a": 1}', "stop")])

    assert ask(acme, route, strictly) == {"a": 1}

    first, second = (json.dumps(body) for body in list(simulator.app.received)[-2:])
    assert "16384" in first
    assert "65536" in second
    assert first.replace("16384", "65536") == second
    reasons = UsageEvent.objects.order_by("iteration").values_list("finish_reason", flat=True)
    assert reasons[0] == reason
    assert waits == []


@pytest.mark.parametrize("provider", CUT_OFF)
def test_an_answer_that_stays_cut_off_is_explained(acme, simulator, provider):
    reply, reason = CUT_OFF[provider]
    route = route_to(acme, provider)
    simulator.app.upcoming.extend([reply(None, reason), reply(None, reason), reply('{"a": 1}', "stop")])

    with pytest.raises(NoAnswer, match=r"output limit of 65,536 tokens.*Thinking counts") as failed:
        ask(acme, route, strictly)

    assert len(str(failed.value)) < 300
    assert UsageEvent.objects.count() == 2


@pytest.mark.parametrize("provider", CUT_OFF)
def test_a_complete_answer_counts_although_the_limit_was_reached(acme, simulator, provider):
    reply, reason = CUT_OFF[provider]
    route = route_to(acme, provider)
    simulator.app.upcoming.append(reply('{"a": 1}', reason))

    assert ask(acme, route, strictly) == {"a": 1}
    assert UsageEvent.objects.get().finish_reason == reason


@pytest.mark.parametrize(("provider", "reply", "reason"), REFUSALS)
def test_a_refusal_is_not_asked_again(acme, simulator, provider, reply, reason):
    route = route_to(acme, provider)
    simulator.app.upcoming.extend([reply, openai('{"a": 1}')])

    with pytest.raises(NoAnswer, match="content rules"):
        ask(acme, route, strictly)

    event = UsageEvent.objects.get()
    assert (event.finish_reason, event.uncached_input_tokens) == (reason, 1000)


# Answers with nothing in them ---------------------------------------------------------------------------

NOTHING = [
    ("openai", Reply(200, {"choices": None, "usage": USAGE})),
    ("openai", Reply(200, {"choices": [], "usage": USAGE})),
    ("openai", Reply(200, {"choices": [None], "usage": USAGE})),
    ("openai", Reply(200, {"choices": [{"finish_reason": "stop"}], "usage": USAGE})),
    ("openrouter", Reply(200, {"usage": USAGE})),
    ("mistral", Reply(200, {"choices": None, "usage": USAGE})),
    ("ollama", Reply(200, {"choices": None, "usage": USAGE})),
    ("openai_compatible", Reply(200, {"choices": None, "usage": USAGE})),
    ("anthropic", Reply(200, {"usage": {"input_tokens": 1000, "output_tokens": 0}})),
    ("anthropic", Reply(200, {"content": [], "stop_reason": "end_turn", "usage": {"input_tokens": 1000}})),
    ("anthropic", Reply(200, {"content": None, "usage": {"input_tokens": 1000}})),
    ("google", Reply(200, {"usageMetadata": {"promptTokenCount": 1000}})),
    ("google", Reply(200, {"candidates": [], "promptFeedback": {}, "usageMetadata": {"promptTokenCount": 1000}})),
    ("google", google(None, "STOP")),
]


@pytest.mark.parametrize(("provider", "reply"), NOTHING)
def test_an_answer_with_nothing_in_it_is_asked_for_once_more_and_its_tokens_are_kept(
    acme, simulator, waits, provider, reply
):
    route = route_to(acme, provider)
    simulator.app.upcoming.extend([reply, reply])

    with pytest.raises(NoAnswer, match="without an answer in it"):
        ask(acme, route, strictly)

    events = list(UsageEvent.objects.all())
    assert [(event.status, event.uncached_input_tokens) for event in events] == [("failed", 1000)] * 2
    assert waits == []


@pytest.mark.parametrize(
    ("provider", "body"),
    [
        ("openai", {"choices": None}),
        ("openrouter", b""),
        ("mistral", {"choices": []}),
        ("anthropic", {"content": [], "stop_reason": "end_turn"}),
        ("google", {"candidates": []}),
        ("openai_compatible", b" "),
    ],
)
def test_what_an_answer_cost_that_has_nothing_in_it_and_tells_no_tokens_is_unknown(acme, simulator, provider, body):
    route = route_to(acme, provider)
    simulator.app.upcoming.extend([Reply(200, body)] * 2)

    with pytest.raises(NoAnswer, match="without an answer in it"):
        ask(acme, route, strictly)

    assert list(UsageEvent.objects.values_list("cost_nanousd", "no_price")) == [(None, "no_answer")] * 2


def test_after_an_answer_with_nothing_in_it_the_next_one_counts(acme, simulator):
    route_to_own_key(acme)
    simulator.app.upcoming.append(Reply(200, b""))

    assert "requirements" in ask(acme)
    assert UsageEvent.objects.count() == 2


# What cannot be read ------------------------------------------------------------------------------------


def test_an_answer_that_cannot_be_read_is_asked_for_once_more_naming_the_fault(acme, simulator):
    route_to_own_key(acme)
    simulator.app.upcoming.extend([openai("Well."), openai('{"a": 1}')])

    assert ask(acme, read=strictly) == {"a": 1}

    asked = simulator.app.received[-1]["messages"]
    assert [message["role"] for message in asked] == ["system", "user", "assistant", "user"]
    assert asked[-2]["content"] == "Well."
    assert "it holds no complete JSON object" in asked[-1]["content"]


def test_an_answer_that_stays_unreadable_is_explained(acme, simulator):
    route_to_own_key(acme)
    simulator.app.upcoming.extend([openai("Well."), openai("Well."), openai('{"a": 1}')])

    with pytest.raises(NoAnswer, match="could not be read, twice: it holds"):
        ask(acme, read=strictly)


def test_a_bug_in_the_reader_is_no_answer_of_the_model(acme):
    route_to_own_key(acme)

    with pytest.raises(ZeroDivisionError):
        ask(acme, read=lambda text: 1 // 0)
    assert UsageEvent.objects.count() == 1


def test_a_retry_repeats_the_question_with_the_answer_and_the_fault():
    request = ChatRequest(model="m", system="", messages=(Message("user", "?"),))

    retry = retry_request(request, "no\x00pe", "It holds no JSON object.")

    assert [message.role for message in retry.messages] == ["user", "assistant", "user"]
    assert retry.messages[0] == request.messages[0]
    assert retry.messages[1].text == "nope"
    assert "It holds no JSON object." in retry.messages[2].text
    assert retry_request(request, " ", "x").messages[1].text


# Trouble at the provider --------------------------------------------------------------------------------


def test_temporary_trouble_is_waited_for_twice(acme, simulator, waits):
    route_to_own_key(acme)
    simulator.app.upcoming.extend([OPENROUTER.refusal(KeyState.OVERLOADED, "")] * 2)

    assert "requirements" in ask(acme)
    assert waits == [2.0, 4.0]
    assert UsageEvent.objects.count() == 3


def test_trouble_that_stays_is_told_in_the_providers_sentence(acme, simulator, waits):
    route_to_own_key(acme)
    simulator.app.upcoming.extend([OPENROUTER.refusal(KeyState.OVERLOADED, "")] * 9)

    with pytest.raises(NoAnswer, match="None of the providers behind OpenRouter could answer"):
        ask(acme)

    assert waits == [2.0, 4.0]
    assert UsageEvent.objects.count() == 3
    assert not InFlightCall.objects.exists()


@pytest.mark.parametrize(("asked_for", "waited"), [("7", 7.0), ("0.5", 0.5), ("3000", 30.0), ("0", 2.0), ("x", 2.0)])
def test_the_wait_that_a_provider_asks_for_is_kept_within_reason(acme, simulator, waits, asked_for, waited):
    route_to_own_key(acme)
    simulator.app.upcoming.append(
        replace(OPENROUTER.refusal(KeyState.RATE_LIMITED, ""), headers={"retry-after": asked_for})
    )

    ask(acme)

    assert waits == [waited]


@pytest.mark.parametrize("state", [KeyState.INVALID, KeyState.NO_CREDIT, KeyState.LIMITED])
def test_what_waiting_does_not_mend_is_not_asked_again(acme, simulator, waits, state):
    route_to_own_key(acme)
    simulator.app.upcoming.append(OPENROUTER.refusal(state, ""))

    with pytest.raises(NoAnswer):
        ask(acme)
    assert (waits, UsageEvent.objects.count()) == ([], 1)


def test_a_call_that_may_have_run_is_not_sent_again(acme, simulator, waits, settings):
    settings.KEYFARE_CALL_TIMEOUT_SECONDS = 0.2
    route_to_own_key(acme)
    simulator.app.delay_seconds = 2

    with pytest.raises(NoAnswer, match="What this call cost is unknown") as failed:
        ask(acme)

    assert len(str(failed.value)) < 300
    assert (waits, UsageEvent.objects.get().no_price) == ([], "no_answer")


def test_a_call_that_may_have_run_on_a_server_of_ones_own_is_sent_again(acme, simulator, waits, settings):
    route = route_to(acme, "ollama")
    settings.KEYFARE_CALL_TIMEOUT_SECONDS = 0.2
    simulator.app.delay_seconds = 2

    with pytest.raises(NoAnswer, match="did not answer within"):
        ask(acme, route)

    assert (waits, UsageEvent.objects.count()) == ([2.0, 4.0], 3)


def test_a_call_that_never_left_is_sent_again(acme, waits, monkeypatch):
    route_to_own_key(acme)
    chat_call = OpenRouterAdapter.chat_call
    monkeypatch.setattr(
        OpenRouterAdapter,
        "chat_call",
        lambda *arguments: replace(chat_call(*arguments), url="http://127.0.0.1:9/"),
    )

    with pytest.raises(NoAnswer, match="could not be reached"):
        ask(acme)
    assert waits == [2.0, 4.0]
