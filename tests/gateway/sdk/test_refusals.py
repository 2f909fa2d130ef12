"""What the door itself refuses: the SDKs raise it with our sentence, and ask only once where no retry can mend it."""

from __future__ import annotations

import anthropic
import openai
import pytest

from organizations import clock
from organizations.tenancy import EVERY, scope
from routing.models import RoutingRule
from tests.gateway.door.conftest import RunningDoor
from tests.gateway.sdk.doors import Sent
from tests.served import wait_until

ASKED = [{"role": "user", "content": "Who are you?"}]


@pytest.fixture
def paused(running_door: RunningDoor) -> RunningDoor:
    """A door that has heard that its agents are paused."""
    with scope(EVERY, "a test"):
        RoutingRule.objects.for_organization(running_door.organization).update(paused_at=clock.now())
    wait_until(lambda: running_door.chat().headers.get("x-keyfare-error") == "paused")
    return running_door


def test_openais_sdk_does_not_ask_a_paused_agent_again(paused):
    sent = Sent()
    with (
        openai.OpenAI(base_url=f"{paused.address}/v1", api_key=paused.token, http_client=sent.client()) as client,
        pytest.raises(openai.BadRequestError, match="paused") as raised,
    ):
        client.chat.completions.create(model="openai-agent", messages=ASKED)

    assert (sent.number, raised.value.status_code, raised.value.code) == (1, 400, "paused")


def test_anthropics_sdk_does_not_ask_a_paused_agent_again(paused):
    sent = Sent()
    with (
        anthropic.Anthropic(base_url=paused.address, api_key=paused.token, http_client=sent.client()) as client,
        pytest.raises(anthropic.BadRequestError, match="paused") as raised,
    ):
        client.messages.create(model="anthropic-agent", max_tokens=100, messages=ASKED)

    assert (sent.number, raised.value.status_code) == (1, 400)
    assert raised.value.response.headers["x-keyfare-error"] == "paused"
