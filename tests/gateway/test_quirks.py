"""A call refused for an optional field of ours is sent again without it, and that is remembered."""

from __future__ import annotations

import uuid
from contextlib import suppress

import pytest

from gateway.asking import NoAnswer
from providers.adapters.quirks import Quirk
from providers.keys.model_quirks import remember_quirks
from providers.models import ModelQuirk
from simulator.wires.base import Reply
from tests.builders import connect_key, connect_managed_key
from tests.gateway.questions import anthropic, ask, google, openai, route_to, strictly
from usage.models import Mode, UsageEvent

pytestmark = pytest.mark.usefixtures("simulated_providers")


NO_RESPONSE_FORMAT = Reply(400, {"error": "'response_format.type' must be 'json_schema' or 'text'"})


def test_a_field_that_the_server_refuses_is_left_out_and_remembered(acme, simulator):
    route = route_to(acme, "openai_compatible")
    simulator.app.upcoming.append(NO_RESPONSE_FORMAT)

    assert "requirements" in ask(acme, route)
    assert "requirements" in ask(acme, route)

    sent = [set(body) for body in list(simulator.app.received)[-3:]]
    assert ["response_format" in fields for fields in sent] == [True, False, False]
    events = list(UsageEvent.objects.order_by("occurred_at", "iteration").values_list("status", "iteration"))
    assert events == [("failed", 1), ("answered", 2), ("answered", 1)]
    quirk = ModelQuirk.objects.get()
    assert (quirk.organization, quirk.model, quirk.field, quirk.instead, quirk.most) == (
        acme, route.model, "response_format", "", None,
    )  # fmt: skip


REFUSED = [
    (
        "openai",
        {"error": {"message": "Unsupported parameter: 'max_completion_tokens' is not supported.", "param": None}},
        lambda sent: sent["max_tokens"] == 16_384 and "max_completion_tokens" not in sent,
        ("max_completion_tokens", "max_tokens", None),
    ),
    (
        "openai_compatible",
        {
            "error": {
                "message": "Unsupported parameter: 'max_tokens' is not supported with this model. "
                "Use 'max_completion_tokens' instead.",
                "type": "invalid_request_error",
                "param": "max_tokens",
                "code": "unsupported_parameter",
            }
        },
        lambda sent: sent["max_completion_tokens"] == 16_384 and "max_tokens" not in sent,
        ("max_tokens", "max_completion_tokens", None),
    ),
    (
        "openai",
        {"error": {"message": "max_tokens is too large: 16384. This model supports at most 4096 completion tokens, "
                   "whereas you provided 16384.", "param": "max_completion_tokens"}},
        lambda sent: sent["max_completion_tokens"] == 4096,
        ("max_completion_tokens", "", 4096),
    ),
    (
        "anthropic",
        {"error": {"type": "invalid_request_error", "message": "max_tokens: 16384 > 4096, which is the "
                   "maximum allowed number of output tokens for claude-3-haiku-20240307"}},
        lambda sent: sent["max_tokens"] == 4096,
        ("max_tokens", "", 4096),
    ),
    (
        "google",
        [{"error": {"code": 400, "message": "Unable to submit request because it has a maxOutputTokens value of "
                    "16384 but the supported range is from 1 (inclusive) to 8193 (exclusive)."}}],
        lambda sent: sent["generationConfig"]["maxOutputTokens"] == 8192,
        ("maxOutputTokens", "", 8192),
    ),
    (
        "google",
        {"error": {"code": 400, "message": "JSON mode is not enabled for models/gemma-3-27b-it"}},
        lambda sent: set(sent["generationConfig"]) == {"maxOutputTokens"},
        ("responseMimeType", "", None),
    ),
    (
        "google",
        {"error": {"code": 400, "message": "Developer instruction is not enabled for models/gemma-3-27b-it"}},
        lambda sent: "systemInstruction" not in sent and "Answer in JSON" in sent["contents"][0]["parts"][0]["text"],
        ("systemInstruction", "", None),
    ),
    (
        "openai_compatible",
        {"error": {"message": "System role not supported", "type": "BadRequestError"}},
        lambda sent: [row["role"] for row in sent["messages"]] == ["user"]
        and sent["messages"][0]["content"].startswith("Answer in JSON."),
        ("system", "", None),
    ),
    (
        "mistral",
        {"detail": [{"type": "extra_forbidden", "loc": ["body", "response_format"], "msg": "Extra inputs"}]},
        lambda sent: "response_format" not in sent,
        ("response_format", "", None),
    ),
    (
        "mistral",
        {"object": "error", "type": "invalid_request_error", "message": {"detail": [
            {"type": "extra_forbidden", "loc": ["body", "response_format"], "msg": "Extra inputs", "input": {}}]}},
        lambda sent: "response_format" not in sent,
        ("response_format", "", None),
    ),
    (
        "anthropic",
        {"error": {"type": "invalid_request_error", "message": "input length and `max_tokens` exceed context limit: "
                   "190000 + 16384 > 200000, decrease input length or `max_tokens` and try again"}},
        lambda sent: sent["max_tokens"] == 10_000,
        None,  # about this question, not about the model
    ),
    (
        "openrouter",
        {"error": {"message": "Provider returned error", "code": 400,
                   "metadata": {"raw": {"error": {"message": "response_format is not supported"}}}}},
        lambda sent: "response_format" not in sent,
        ("response_format", "", None),
    ),
    (
        "openrouter",
        {"error": {"message": "Provider returned error", "code": 400,
                   "metadata": {"raw": '{"error":{"message":"`response_format` is not supported by this model"}}'}}},
        lambda sent: "response_format" not in sent,
        ("response_format", "", None),
    ),
    (
        "openai_compatible",
        {"error": {"message": "Invalid max_tokens value, the valid range of max_tokens is [1, 8,192]"}},
        lambda sent: sent["max_tokens"] == 8192,
        ("max_tokens", "", 8192),
    ),
    (
        "openai_compatible",
        {"error": {"message": "`max_tokens` must be less than or equal to `8192`, the maximum value for `max_tokens`"}},
        lambda sent: sent["max_tokens"] == 8192,
        ("max_tokens", "", 8192),
    ),
    (
        "openai_compatible",
        {"message": "This model's maximum context length is 8192 tokens. However, you requested 17384 tokens (1000 in "
         "the messages, 16384 in the completion). Please reduce the length of the messages or completion."},
        lambda sent: sent["max_tokens"] == 7192,
        None,  # about this question, not about the model
    ),
    (
        "openai_compatible",
        {"error": {"message": "'max_tokens' or 'max_completion_tokens' is too large: 16384. This model's maximum "
                   "context length is 8192 tokens and your request has 1000 input tokens (16384 > 8192 - 1000)."}},
        lambda sent: sent["max_tokens"] == 7192,
        None,
    ),
    (
        "openai_compatible",
        {"error": {"message": "`inputs` tokens + `max_new_tokens` must be <= 8193. Given: 1000 `inputs` tokens and "
                   "16384 `max_new_tokens`"}},
        lambda sent: sent["max_tokens"] == 7193,
        None,
    ),
]  # fmt: skip


@pytest.mark.parametrize(("provider", "said", "is_sent", "remembered"), REFUSED)
def test_what_a_server_says_of_a_field_is_followed(acme, simulator, provider, said, is_sent, remembered):
    route = route_to(acme, provider)
    simulator.app.upcoming.append(Reply(422 if "detail" in said else 400, said))
    answers = {"anthropic": anthropic("{}", "end_turn"), "google": google("{}", "STOP")}
    simulator.app.upcoming.append(answers.get(provider, openai("{}")))

    assert ask(acme, route) == {}

    assert is_sent(simulator.app.received[-1])
    rows = [(row.field, row.instead, row.most) for row in ModelQuirk.objects.all()]
    assert rows == ([] if remembered is None else [remembered])


def test_each_field_is_changed_at_most_once_and_all_of_them_end(acme, simulator):
    route = route_to(acme, "openai_compatible")
    refusals = [
        Reply(400, {"error": f"Unsupported parameter: {name}"})
        for name in ("max_tokens", "max_completion_tokens", "response_format", "system role", "response_format")
    ]
    simulator.app.upcoming.extend(refusals)

    with pytest.raises(NoAnswer, match="could not work with this request"):
        ask(acme, route)

    assert set(simulator.app.received[-1]) == {"model", "messages"}
    assert UsageEvent.objects.count() == 5
    assert not ModelQuirk.objects.exists()


@pytest.mark.parametrize(
    "reply",
    [
        Reply(400, {"error": {"message": "Bad things happened."}}),
        Reply(500, {"error": {"message": "response_format broke us"}}),
        Reply(401, {"error": {"message": "response_format"}}),
        Reply(400, {"error": {"message": "messages is too long"}}),
        Reply(400, {"error": {"message": "Unsupported parameter: temperature"}}),
    ],
)
def test_other_refusals_leave_the_question_as_it_is(acme, simulator, waits, reply):
    route = route_to(acme, "openai_compatible")
    simulator.app.upcoming.append(reply)

    with suppress(NoAnswer):
        ask(acme, route)

    assert not ModelQuirk.objects.exists()
    assert all("response_format" in body for body in simulator.app.received)


def test_a_larger_limit_above_the_models_own_is_not_asked_for_twice(acme, simulator):
    route = route_to(acme, "anthropic")
    too_large = {
        "error": {"type": "invalid_request_error", "message": "max_tokens: 65536 > 32000, the maximum allowed"}
    }
    simulator.app.upcoming.extend([anthropic(None, "max_tokens"), Reply(400, too_large), anthropic(None, "max_tokens")])

    with pytest.raises(NoAnswer, match="32,000 tokens"):
        ask(acme, route, strictly)
    simulator.app.upcoming.append(anthropic(None, "max_tokens"))
    simulator.app.upcoming.append(anthropic(None, "max_tokens"))
    with pytest.raises(NoAnswer, match="32,000 tokens"):
        ask(acme, route, strictly, most=32_001)

    assert UsageEvent.objects.count() == 4


def test_quirks_of_a_managed_key_are_kept_for_everybody(acme, globex, simulator):
    key = connect_managed_key()
    simulator.app.upcoming.append(NO_RESPONSE_FORMAT)

    ask(acme)
    ask(globex)

    assert UsageEvent.objects.filter(mode=Mode.MANAGED).count() == 3
    assert ModelQuirk.objects.get().organization == key.organization


def test_nothing_is_remembered_of_a_secret_that_was_replaced(acme, simulator):
    key = connect_key(acme)

    for key_id, version in ((key.pk, key.secret_version - 1), (uuid.uuid4(), key.secret_version)):
        remember_quirks(
            organization_id=acme.pk, key_id=key_id, secret_version=version, model="m", quirks=[Quirk("response_format")]
        )

    assert not ModelQuirk.objects.exists()
