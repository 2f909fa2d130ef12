"""Keys that no list of models can prove: one short call does, and stands in the books."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from config.onboarding import ensure_platform
from organizations.models import AuditEvent
from providers.adapters.base import ErrorKind
from providers.adapters.compatible import CompatibleAdapter
from providers.adapters.reasons import reason
from providers.adapters.secret import Secret
from providers.keys.replacement import replace_provider_key
from providers.keys.saving import disable_provider_key, enable_provider_key, save_provider_key, type_proof_model
from providers.keys.validation import mark_key_refused, validate_due_keys, validate_key
from providers.models import KeyValidation, ModelQuirk, ProviderKey
from tests.builders import NOW, SERVERS
from tests.providers.stub_server import ANSWERED, Answer, Stub, serving
from usage.models import InFlightCall, UsageEvent

Status = ProviderKey.Status
USED_UP = reason("no_credit", provider="OpenRouter")
NO_CREDIT: Answer = (429, {"error": {"message": "x", "type": "insufficient_quota", "code": "insufficient_quota"}})
INVALID: Answer = (401, {"error": {"message": "Invalid API key"}})
LISTED: Answer = (200, {"data": [{"id": "gpt-4o-mini"}, {"id": "text-embedding-3-small"}, {"id": "gpt-5"}]})
CHAT, MESSAGES, GENERATE = "/v1/chat/completions", "/v1/messages", "/v1beta/models/my-model:generateContent"
ANSWERED_AS_ANTHROPIC: Answer = (
    200,
    {
        "content": [{"type": "text", "text": "OK"}],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 12, "output_tokens": 2},
    },
)
ANSWERED_AS_GEMINI: Answer = (
    200,
    {
        "candidates": [{"content": {"parts": [{"text": "OK"}]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 12, "candidatesTokenCount": 2},
    },
)


@pytest.fixture
def stub(settings) -> Iterator[Stub]:
    """A server that answers as those that an organization names, OpenAI or OpenRouter."""
    with serving(Stub()) as stub:
        settings.KEYFARE_PROVIDER_ORIGINS = {
            **dict.fromkeys(("ollama", "anthropic_compatible", "gemini_compatible"), stub.address),
            **dict.fromkeys(("openai_compatible", "openai", "openrouter"), f"{stub.address}/v1"),
        }
        yield stub


def saved(organization, provider: str = "openai_compatible") -> ProviderKey:
    secret = "" if provider == "ollama" else "a-key-of-the-server"
    return save_provider_key(organization=organization, provider=provider, secret=Secret(secret), actor=None, now=NOW)


def validated(key: ProviderKey) -> ProviderKey:
    waiting = KeyValidation.objects.create(
        organization=key.organization, key=key, secret_version=key.secret_version, requested_at=NOW
    )
    validate_key(validation_id=waiting.pk, now=NOW)
    return ProviderKey.objects.select_related("organization").get(pk=key.pk)


def out_of_credit(organization, stub: Stub, provider: str = "openai") -> ProviderKey:
    """A key that was connected, and that a call found without credit."""
    stub.answers["/v1/models"] = LISTED
    key = validated(saved(organization, provider))
    assert key.status == Status.CONNECTED
    mark_key_refused(key_id=key.pk, secret_version=key.secret_version, kind=ErrorKind.NO_CREDIT, why=USED_UP, now=NOW)
    return ProviderKey.objects.get(pk=key.pk)


# Servers without a list of models ---------------------------------------------------------------------


@pytest.mark.parametrize("provider", SERVERS)
@pytest.mark.parametrize(
    "listing",
    [
        (404, b"404 page not found"),
        (404, {"detail": "Not Found"}),
        (405, {"detail": "Method Not Allowed"}),
        (501, b""),
        (200, {"data": [], "models": []}),
        (200, {"data": {}}),
        (200, {}),
        (200, b"<!doctype html>"),
        (200, {"error": "Unexpected endpoint or method. (GET /models)"}),
    ],
)
def test_a_server_without_a_list_asks_for_a_model_and_is_proven_by_it(acme, stub, provider, listing):
    lists = dict.fromkeys(("/v1/models", "/api/tags", "/v1/models?limit=1000", "/v1beta/models?pageSize=1000"), listing)
    stub.answers |= {**lists, CHAT: ANSWERED, MESSAGES: ANSWERED_AS_ANTHROPIC, GENERATE: ANSWERED_AS_GEMINI}
    key = validated(saved(acme, provider))

    assert key.status == Status.SAVED
    assert key.state.detail.startswith("Saved, cannot be checked without a model.")
    assert not stub.chats

    type_proof_model(key=key, model="my-model", actor=None)
    key = validated(key)

    assert key.status == Status.CONNECTED, key.state.detail
    assert key.is_usable
    assert list(key.available_models.values_list("model", flat=True)) == ["my-model"]
    ((path, asked),) = [(path, asked) for path, asked in stub.seen if path in (CHAT, MESSAGES, GENERATE)]
    assert "my-model" in (asked.get("model"), path.split("/")[-1].partition(":")[0])
    assert (asked.get("max_tokens") or asked["generationConfig"]["maxOutputTokens"]) <= 16
    assert UsageEvent.objects.get().total_tokens == 14


def test_the_typed_model_is_asked_at_every_later_validation(acme, stub):
    stub.answers[CHAT] = ANSWERED
    key = saved(acme)
    type_proof_model(key=key, model="my-model", actor=None)
    validated(key)

    validate_due_keys(now=NOW + timedelta(days=1), older_than=timedelta(hours=20))

    assert len(stub.chats) == 2
    assert ProviderKey.objects.get().status == Status.CONNECTED


def test_a_call_that_proves_a_key_stands_in_the_books(acme, stub):
    stub.answers[CHAT] = ANSWERED
    key = saved(acme)
    type_proof_model(key=key, model="my-model", actor=None)

    validated(key)

    event = UsageEvent.objects.get()
    assert (event.action, event.mode, event.status) == ("key_validation", "byok", "answered")
    assert (event.key_id, event.uncached_input_tokens, event.output_tokens) == (key.pk, 12, 2)
    assert not InFlightCall.objects.exists()


def test_a_call_that_proves_a_key_of_ones_own_server_costs_nothing(acme, stub):
    stub.answers[CHAT] = ANSWERED
    key = saved(acme, "ollama")
    type_proof_model(key=key, model="my-model", actor=None)

    validated(key)

    assert UsageEvent.objects.get().cost_nanousd == 0


def test_a_model_that_refuses_an_optional_field_is_asked_without_it(acme, stub):
    """As GPT-5 does behind servers of Azure's kind: it takes max_completion_tokens only."""

    def answer(body: dict[str, object]) -> Answer:
        refused = {"message": "Unsupported parameter: 'max_tokens'.", "param": "max_tokens"}
        return (400, {"error": refused}) if "max_tokens" in body else ANSWERED

    stub.answers[CHAT] = answer
    key = saved(acme)
    type_proof_model(key=key, model="gpt-5", actor=None)

    key = validated(key)

    assert key.status == Status.CONNECTED, key.state.detail
    assert stub.chats[-1]["max_completion_tokens"] <= 16
    events = UsageEvent.objects.order_by("iteration")
    assert [event.status for event in events] == ["failed", "answered"]
    assert events[0].run_id == events[1].run_id
    assert ModelQuirk.objects.get().field == "max_tokens"

    asked = len(stub.chats)
    validated(key)
    assert len(stub.chats) == asked + 1  # what was learnt is minded at once


def test_a_proof_that_a_fault_of_ours_ends_is_recorded_as_one_that_may_have_run(acme, stub, monkeypatch):
    stub.answers[CHAT] = ANSWERED
    key = saved(acme)
    type_proof_model(key=key, model="m", actor=None)
    monkeypatch.setattr(CompatibleAdapter, "parse_chat", lambda adapter, answer: 1 // 0)

    with pytest.raises(ZeroDivisionError):
        validated(key)

    event = UsageEvent.objects.get()
    assert (event.status, event.no_price) == ("failed", "no_answer")
    assert not InFlightCall.objects.exists()


def test_a_server_that_refuses_every_field_is_not_asked_for_ever(acme, stub):
    stub.answers[CHAT] = lambda body: (400, {"error": {"message": f"Unsupported parameter: {sorted(body)}"}})
    key = saved(acme)
    type_proof_model(key=key, model="m", actor=None)

    assert validated(key).status == Status.SAVED
    assert len(stub.chats) <= 4


def test_a_managed_key_is_proven_on_the_operators_own_books(db, stub):
    platform = ensure_platform()
    stub.answers[CHAT] = ANSWERED
    key = saved(platform)
    type_proof_model(key=key, model="my-model", actor=None)

    validated(key)

    event = UsageEvent.objects.get()
    assert (event.organization, event.mode) == (platform, "managed")


@pytest.mark.parametrize(
    ("answer", "status"),
    [(INVALID, Status.INVALID), (NO_CREDIT, Status.NO_CREDIT), ((404, {"error": "model 'm' not found"}), Status.SAVED)],
)
def test_a_model_that_does_not_answer_proves_nothing(acme, stub, answer, status):
    stub.answers[CHAT] = answer
    key = saved(acme)
    type_proof_model(key=key, model="m", actor=None)

    key = validated(key)

    assert key.status == status
    assert UsageEvent.objects.get().status == "failed"
    assert not key.available_models.exists()


def test_a_list_that_goes_away_does_not_break_a_connected_key(acme, stub):
    stub.answers["/v1/models"] = (200, {"data": [{"id": "m"}]})
    key = validated(saved(acme))

    stub.answers["/v1/models"] = (404, b"")
    key = validated(key)

    assert (key.status, key.last_check_failed_at) == (Status.CONNECTED, NOW)
    assert not key.last_check.startswith("Saved")


def test_a_replacement_is_proven_by_the_model_of_the_key_it_replaces(acme, stub):
    stub.answers[CHAT] = ANSWERED
    key = saved(acme)
    type_proof_model(key=key, model="my-model", actor=None)
    key = validated(key)

    pending = replace_provider_key(key=key, secret=Secret("another-key-of-it"), actor=None, now=NOW)
    assert pending.replaces_id == key.pk
    waiting = KeyValidation.objects.create(
        organization=acme, key=pending, secret_version=pending.secret_version, requested_at=NOW
    )
    validate_key(validation_id=waiting.pk, now=NOW)

    key = ProviderKey.objects.get()
    assert (key.status, key.proof_model, key.secret_version) == (Status.CONNECTED, "my-model", 2)


# After No credit ------------------------------------------------------------------------------------------


def test_a_list_of_models_does_not_lift_no_credit(acme, stub):
    key = out_of_credit(acme, stub)
    stub.answers[CHAT] = NO_CREDIT

    assert validated(key).status == Status.NO_CREDIT
    assert stub.chats[-1]["model"] == "gpt-4o-mini"  # the cheapest that chats

    validate_due_keys(now=NOW + timedelta(days=1), older_than=timedelta(hours=20))
    assert ProviderKey.objects.get().status == Status.NO_CREDIT

    key = enable_provider_key(key=disable_provider_key(key=key, actor=None, now=NOW), actor=None)
    assert validated(key).status == Status.NO_CREDIT


def test_an_answered_call_lifts_no_credit_and_the_next_validation_is_free_again(acme, stub):
    key = out_of_credit(acme, stub)
    stub.answers[CHAT] = ANSWERED

    key = validated(key)
    assert (key.status, key.state.detail) == (Status.CONNECTED, "")

    chats = len(stub.chats)
    assert validated(key).status == Status.CONNECTED
    assert len(stub.chats) == chats


def test_without_a_model_to_ask_it_stays_no_credit_and_says_what_was_tried(acme, stub):
    key = out_of_credit(acme, stub)
    stub.answers["/v1/models"] = (200, {"data": [{"id": "text-embedding-3-small"}]})

    key = validated(key)

    assert key.status == Status.NO_CREDIT
    assert "no listed model can be asked" in key.state.detail
    assert not stub.chats


def test_a_model_that_is_gone_leaves_no_credit_and_says_so(acme, stub):
    key = out_of_credit(acme, stub)
    stub.answers[CHAT] = (404, {"error": {"message": "The model does not exist", "code": "model_not_found"}})

    key = validated(key)

    assert key.status == Status.NO_CREDIT
    assert "“gpt-4o-mini”" in key.state.detail


def test_trouble_on_the_way_to_the_proof_keeps_what_is_known(acme, stub):
    key = out_of_credit(acme, stub)
    stub.answers[CHAT] = (503, {"error": {"message": "Overloaded"}})

    key = validated(key)

    assert (key.status, key.last_check_failed_at) == (Status.NO_CREDIT, NOW)


def test_a_replaced_secret_starts_anew(acme, stub):
    key = out_of_credit(acme, stub)

    key = validated(replace_provider_key(key=key, secret=Secret("another-key-of-it"), actor=None, now=NOW))

    assert key.status == Status.CONNECTED
    assert not stub.chats


def test_what_a_call_found_invalid_is_mended_by_a_call_too(acme, stub):
    key = out_of_credit(acme, stub)
    ProviderKey.objects.update(status=Status.INVALID)
    stub.answers[CHAT] = INVALID

    assert validated(key).status == Status.INVALID


def test_a_free_model_proves_no_credit(acme, stub):
    free = {"id": "a/free-one:free", "pricing": {"prompt": "0", "completion": "0"}}
    paid = {"id": "b/paid-one", "pricing": {"prompt": "0.000002", "completion": "0.000004"}}
    cheap = {"id": "c/cheap-one", "pricing": {"prompt": "0.000001", "completion": "0.000002"}}
    stub.answers |= {
        "/v1/key": (200, {"data": {"limit": 10, "limit_remaining": 4}}),
        "/v1/models/user": (200, {"data": [free, paid, cheap]}),
        CHAT: (402, {"error": {"code": 402, "message": "Insufficient credits"}}),
    }
    key = validated(saved(acme, "openrouter"))
    mark_key_refused(key_id=key.pk, secret_version=key.secret_version, kind=ErrorKind.NO_CREDIT, why=USED_UP, now=NOW)

    # The key's own limit has 4 dollars left, which says nothing about the account behind it.
    assert validated(key).status == Status.NO_CREDIT
    assert stub.chats[-1]["model"] == "c/cheap-one"


def test_a_used_up_limit_is_lifted_by_the_number_that_said_so(acme, stub):
    stub.answers |= {
        "/v1/key": (200, {"data": {"limit": 10, "limit_remaining": 0}}),
        "/v1/models/user": (200, {"data": [{"id": "a/b"}]}),
    }
    key = validated(saved(acme, "openrouter"))
    assert key.status == Status.NO_CREDIT

    stub.answers["/v1/key"] = (200, {"data": {"limit": 20, "limit_remaining": 10}})

    assert validated(key).status == Status.CONNECTED
    assert not stub.chats


# The page ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("headers", [{}, {"HX-Request": "true"}])
def test_the_model_is_typed_on_the_keys_row(as_alice, alice, acme, stub, headers, django_capture_on_commit_callbacks):
    stub.answers[CHAT] = ANSWERED
    key = validated(saved(acme))
    page = as_alice.get("/o/acme/settings").content.decode()
    assert "Saved, cannot be checked without a model." in page
    assert f'id="prove-{key.pk}-model"' in page

    with django_capture_on_commit_callbacks(execute=True):
        as_alice.post(f"/o/acme/settings/keys/{key.pk}/proof/", {"model": "my-model"}, headers=headers)

    key = ProviderKey.objects.get()
    assert (key.status, key.proof_model) == (Status.CONNECTED, "my-model")
    event = AuditEvent.objects.get(action="provider_key.model_typed")
    assert (event.actor, event.details["model"]) == (alice, "my-model")


@pytest.mark.parametrize("headers", [{}, {"HX-Request": "true"}])
def test_a_key_typed_as_a_model_is_not_kept(as_alice, acme, stub, headers):
    key = validated(saved(acme))

    response = as_alice.post(
        f"/o/acme/settings/keys/{key.pk}/proof/", {"model": "sk-proj-canary-0123456789"}, headers=headers
    )

    assert response.status_code == 422
    assert "looks like a key" in response.content.decode()
    assert "canary" not in response.content.decode()
    assert ProviderKey.objects.get().proof_model == ""
