"""What a call cost is in its answer where that is known by then, and in its receipt whatever became of it."""

from __future__ import annotations

import uuid

import pytest

from organizations.api_tokens import make_token
from organizations.models import ApiToken
from organizations.permissions import Permission
from routing.models import CallAccess
from tests.gateway.door.conftest import RunningDoor, question, token_for
from usage.amounts import usd_exactly


@pytest.mark.parametrize("agent", ["openai-agent", "openrouter-agent"])
def test_a_whole_answer_says_what_the_books_do(running_door: RunningDoor, agent) -> None:
    answer = running_door.chat(model=agent)

    assert running_door.event.cost_nanousd
    assert answer.headers["x-keyfare-cost-usd"] == usd_exactly(running_door.event.cost_nanousd)


def test_the_cost_of_a_stream_stands_in_its_receipt(running_door: RunningDoor) -> None:
    answer = running_door.post("/v1/chat/completions", question(stream=True), x_keyfare_label_team="red")
    assert "x-keyfare-cost-usd" not in answer.headers

    receipt = running_door.get(f"/v1/receipts/{answer.headers['x-keyfare-call']}").json()

    assert receipt["costNanousd"] == running_door.event.cost_nanousd
    assert (receipt["action"], receipt["labels"]) == ("openai-agent", {"team": "red"})
    assert (receipt["token"], receipt["member"]["email"]) == ("Tests", running_door.owner.email)
    (attempt,) = receipt["attempts"]
    assert (attempt["status"], attempt["isStream"], attempt["httpStatus"]) == ("answered", True, 200)
    assert attempt["usdPerMillion"]
    assert attempt["firstByteMs"] <= attempt["endMs"]


def test_a_failed_call_has_a_receipt_and_no_cost(running_door: RunningDoor) -> None:
    answer = running_door.chat(model="openai/no-such-model")
    assert answer.status_code >= 400
    assert "x-keyfare-cost-usd" not in answer.headers

    receipt = running_door.get(f"/v1/receipts/{answer.headers['x-keyfare-call']}").json()

    assert receipt["attempts"][0]["errorKind"] == "model_not_found"
    assert receipt["attempts"][0]["reason"] == "OpenAI did not offer the model to this key."
    assert (receipt["costUsd"], receipt["costIsComplete"]) == (None, True)


def test_a_token_sees_the_receipts_of_others_where_it_may_view(running_door: RunningDoor) -> None:
    address = f"/v1/receipts/{running_door.chat().headers['x-keyfare-call']}"
    other = token_for(running_door.organization, running_door.owner, name="Another")
    viewer = make_token(
        organization=running_door.organization,
        name="Viewer",
        scopes=[Permission.CALL_AGENTS, Permission.VIEW],
        expires_at=None,
        actor=running_door.owner,
    )
    CallAccess.objects.create(
        organization=running_door.organization, token=viewer.token, member=running_door.owner, every_agent=True
    )

    assert running_door.get(address, token=other).status_code == 404
    assert running_door.get(address, token=viewer.value).status_code == 200
    assert ApiToken.objects.count() == 3


@pytest.mark.parametrize("wire", [{}, {"anthropic_version": "2023-06-01"}, {"x_goog_api_key": "as authorization"}])
def test_a_receipt_of_no_call_is_refused_in_the_callers_wire(running_door: RunningDoor, wire) -> None:
    for call in (uuid.uuid4(), "nonsense"):
        answer = running_door.get(f"/v1/receipts/{call}", **wire)

        assert answer.status_code == 404
        assert answer.headers["x-keyfare-error"] == "unknown_call"
        assert answer.headers["x-should-retry"] == "false"
        error = answer.json()["error"]
        assert error.get("type", error.get("status")) in ("not_found_error", "NOT_FOUND")
