"""Agents on a managed key stay within what staff allow for a day, in calls and in USD."""

from __future__ import annotations

import json
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

from config.onboarding import ensure_platform
from gateway.daily_cap import DailyCapReached, refuse_over_cap
from gateway.door.managed import ManagedCaps, most_nanousd
from organizations.tenancy import EVERY, scope
from providers.adapters.dialects.responses import OPENAI_RESPONSES
from routing.models import Agent, RoutingRule
from simulator.wires.base import Reply
from tests.builders import NOW, connect_key, connect_managed_key
from tests.gateway.door.conftest import RunningDoor
from tests.gateway.door.test_books_closed import assert_told_to_come_back, frozen_books
from tests.served import wait_until
from usage.amounts import usd_exactly
from usage.facts import CallFacts
from usage.models import InFlightCall, Mode


@pytest.fixture
def managed(running_door: RunningDoor) -> RunningDoor:
    """ "openai-agent" runs on the operator's OpenRouter key, two calls a day."""
    with scope(EVERY, "a test"):
        connect_managed_key()
        RoutingRule.objects.filter(action="openai-agent").delete()
        Agent.objects.filter(slug="openai-agent").update(
            managed_provider="openrouter",
            managed_model="openai/gpt-4.1-mini",
            managed_calls_a_day=2,
            managed_nanousd_a_day=10**9,
        )
    return running_door


def test_calls_are_counted_whatever_run_they_name(managed) -> None:
    for _ in range(2):
        assert managed.chat().status_code == 200
    refused = managed.post(
        "/v1/chat/completions",
        {"model": "openai-agent", "messages": [{"role": "user", "content": "Hello"}]},
        x_keyfare_run="another",
    )
    assert refused.status_code == 429
    assert refused.headers["x-keyfare-error"] == "managed_cap"
    assert refused.headers["x-should-retry"] == "false"
    assert 0 < int(refused.headers["retry-after"]) <= 86_400
    assert {event.mode for event in managed.events} == {Mode.MANAGED}
    assert managed.events.count() == 2


@pytest.mark.parametrize("stream", [False, True])
def test_what_the_provider_says_it_cost_is_the_operators(managed, stream) -> None:
    answer = managed.chat(stream=stream, stream_options={"include_usage": True})
    assert '"prompt_tokens"' in answer.text
    assert "cost" not in answer.text
    assert "is_byok" not in answer.text
    assert managed.event.cost_nanousd
    assert '"cost"' in managed.chat(model="openrouter-agent").text


def test_an_error_on_the_operators_key_is_told_in_our_words(managed, simulated_providers) -> None:
    error = {"message": "Top up at https://openrouter.ai/settings", "code": 402}
    words = {"error": error, "user_id": "user_of_the_operator"}
    simulated_providers.app.upcoming.append(Reply(402, words))
    answer = managed.chat()
    assert answer.status_code == 402
    assert answer.headers["x-keyfare-error"] == "managed_key"
    assert "operator" not in answer.text
    assert "openrouter.ai" not in answer.text


def test_who_waits_for_a_turn_while_the_books_answer_nothing_is_told_in_time(managed, monkeypatch) -> None:
    with frozen_books(monkeypatch), ThreadPoolExecutor(3) as threads:
        for answer in [threads.submit(managed.chat) for _ in range(3)]:
            assert_told_to_come_back(answer.result())
    wait_until(lambda: not InFlightCall.objects.for_organization(managed.organization).exists())


def test_usd_are_counted(managed) -> None:
    with scope(EVERY, "a test"):
        Agent.objects.filter(slug="openai-agent").update(managed_nanousd_a_day=1, managed_calls_a_day=100)
    assert managed.chat().status_code == 200
    assert managed.chat().status_code == 429


def test_a_key_of_ones_own_is_not_counted(managed) -> None:
    for _ in range(3):
        assert managed.chat(model="openrouter-agent").status_code == 200


@pytest.mark.parametrize("is_shown", [False, True])
def test_what_a_managed_call_cost_is_told_where_the_operator_shows_it(managed, settings, is_shown) -> None:
    settings.KEYFARE_SHOW_MANAGED_USD = is_shown

    answer = managed.chat()
    receipt = managed.get(f"/v1/receipts/{answer.headers['x-keyfare-call']}")
    managed.chat()
    refused = managed.chat()

    cost = managed.events[0].cost_nanousd
    assert cost
    assert refused.status_code == 429
    assert ("x-keyfare-cost-usd" in answer.headers) is is_shown
    assert (receipt.json()["costNanousd"], receipt.json()["key"]) == (cost if is_shown else None, None)
    told = f"{answer.headers}{receipt.text}{receipt.headers}{refused.text}{refused.headers}"
    assert (usd_exactly(cost) in told) is is_shown
    assert (str(cost) in told) is is_shown


def test_a_count_on_the_operators_key_that_fails_is_told_in_our_words(managed, simulated_providers) -> None:
    with scope(EVERY, "a test"):
        connect_key(ensure_platform(), "anthropic")
        RoutingRule.objects.filter(action="anthropic-agent").delete()
        Agent.objects.filter(slug="anthropic-agent").update(
            managed_provider="anthropic",
            managed_model="claude-haiku-4-5",
            managed_calls_a_day=2,
            managed_nanousd_a_day=10**9,
        )
    said = {"type": "error", "error": {"type": "invalid_request_error", "message": "user_of_the_operator owes us"}}
    simulated_providers.app.upcoming.append(Reply(400, said))
    answer = managed.post("/v1/messages/count_tokens", {"model": "anthropic-agent", "messages": []})
    assert answer.status_code == 400
    assert answer.headers["x-keyfare-error"] == "managed_key"
    assert "operator" not in answer.text


@pytest.mark.parametrize("more", [{"models": ["openai/gpt-5.4"]}, {"plugins": [{"id": "web"}]}, {"preset": "dear"}])
def test_a_call_brings_in_no_model_that_staff_did_not_choose(managed, more) -> None:
    refused = managed.chat(**more)
    assert refused.status_code == 400
    assert refused.headers["x-keyfare-error"] == "model_not_allowed"
    assert not managed.events.exists()


def test_what_calls_under_way_may_cost_counts_until_they_have_ended(managed) -> None:
    """So fifty at once cost less than the cap and one call more."""
    with scope(EVERY, "a test"):
        Agent.objects.filter(slug="openai-agent").update(managed_nanousd_a_day=1, managed_calls_a_day=100)
    with ThreadPoolExecutor(50) as threads:
        answers = list(threads.map(lambda _: managed.chat(), range(50)))
    assert sorted(answer.status_code for answer in answers) == [200] + [429] * 49
    assert {answer.headers["x-keyfare-error"] for answer in answers if answer.status_code == 429} == {"managed_cap"}
    assert managed.events.count() == 1


FUNCTION = {"type": "function", "name": "look", "parameters": {"type": "object"}}
URL = {"role": "user", "content": [{"type": "input_image", "image_url": "https://pictures.example/cat.png"}]}
ESCAPED = {"role": "user", "content": [{"type": "input_file", "file_url": "ESCAPED"}]}


@pytest.mark.parametrize(
    ("asked", "is_more"),
    [
        ({}, False),
        ({"tools": [FUNCTION]}, False),
        ({"input": [URL]}, True),
        ({"input": [ESCAPED]}, True),
        ({"tools": [FUNCTION, {"type": "web_search"}]}, True),
    ],
)
def test_a_call_that_brings_in_what_it_does_not_hold_may_cost_as_much_as_a_model_reads(
    managed, monkeypatch, asked, is_more
) -> None:
    monkeypatch.setattr(ManagedCaps, "ended", lambda *_: None)  # as if the first one were under way
    with scope(EVERY, "a test"):
        Agent.objects.filter(slug="openai-agent").update(managed_nanousd_a_day=10**7, managed_calls_a_day=100)
    body = {"model": "openai-agent", "input": "Hello", "max_output_tokens": 16, **asked}
    content = json.dumps(body).replace("ESCAPED", r"\u0068ttps://pictures.example/cat.pdf").encode()

    answers = [managed.post("/v1/responses", content) for _ in range(2)]

    assert [answer.status_code for answer in answers] == [200, 429 if is_more else 200]


def test_the_tier_that_is_asked_for_counts_in_what_a_call_may_cost() -> None:
    def most(**asked: str) -> int:
        body = {"model": "gpt-4.1-mini", "input": "Hello", "max_output_tokens": 16, **asked}
        facts = CallFacts("openai", "gpt-4.1-mini", "bot", uuid.UUID(int=1), "Default", Mode.MANAGED)
        return most_nanousd(facts, OPENAI_RESPONSES.request(json.dumps(body).encode()), at=NOW)

    standard, unknown, dearer = (most(service_tier=tier) for tier in ("standard", "un-heard", "priority"))
    assert 0 < standard == unknown < dearer


def test_a_call_that_has_ended_reserves_nothing(managed, simulated_providers) -> None:
    with scope(EVERY, "a test"):
        Agent.objects.filter(slug="openai-agent").update(managed_nanousd_a_day=10**9, managed_calls_a_day=100)
    simulated_providers.app.upcoming.extend([Reply(400, {"error": {"message": "no", "code": 400}})] * 3)
    assert [managed.chat().status_code for _ in range(9)] == [400] * 3 + [200] * 6  # each may cost a fifth of it


def test_who_is_kept_off_by_calls_under_way_alone_may_try_again(managed) -> None:
    def look(**more: int) -> None:
        refuse_over_cap(organization_id=managed.organization.pk, agent="openai-agent", now=NOW, most_calls=9, **more)

    with scope(EVERY, "a test"):
        look(most_nanousd=100, reserved_nanousd=99)
        with pytest.raises(DailyCapReached, match="under way") as reached:
            look(most_nanousd=100, reserved_nanousd=100)
    assert reached.value.can_retry
