from __future__ import annotations

import pytest

from organizations.models import AuditEvent
from routing.agents import archive_agent, create_agent, open_managed
from routing.models import Agent
from tests.builders import NOW, connect_managed_key
from tests.page_forms import form_of

OPENED = {
    "managed_provider": "openrouter",
    "managed_model": "openai/gpt-4.1-mini",
    "managed_calls_a_day": "1,000",
    "usd_a_day": "2.50",
}


@pytest.fixture
def bot(acme) -> Agent:
    return create_agent(organization=acme, name="Bot", actor=None)


def address(agent: Agent) -> str:
    return f"/admin/routing/agent/{agent.pk}/change/"


def stored(agent: Agent) -> tuple[str, str, int | None, int | None]:
    agent.refresh_from_db()
    return agent.managed_provider, agent.managed_model, agent.managed_calls_a_day, agent.managed_nanousd_a_day


def test_staff_open_an_agent_on_a_managed_key_for_so_much_a_day_and_close_it(as_staff, staff, bot):
    form = form_of(as_staff.get(address(bot)), address(bot))

    assert as_staff.post(address(bot), form | OPENED).status_code == 302
    assert stored(bot) == ("openrouter", "openai/gpt-4.1-mini", 1000, 2_500_000_000)
    again = form_of(as_staff.get(address(bot)), address(bot))
    assert again["usd_a_day"] == "2.50"
    assert as_staff.post(address(bot), again | dict.fromkeys(OPENED, "")).status_code == 302

    assert stored(bot) == ("", "", None, None)
    events = AuditEvent.objects.filter(action__startswith="agent.managed").order_by("seq")
    assert [(event.action, event.actor) for event in events] == [
        ("agent.managed_opened", staff),
        ("agent.managed_closed", staff),
    ]


def test_that_no_managed_key_serves_it_is_said(as_staff, bot, simulated_providers):
    form = form_of(as_staff.get(address(bot)), address(bot))
    said = "No managed key of OpenRouter works now. Until one does, the agent answers nothing."

    without = as_staff.post(address(bot), form | OPENED | {"managed_provider": "openrouter"}, follow=True)
    connect_managed_key()
    form = form_of(as_staff.get(address(bot)), address(bot))
    with_one = as_staff.post(address(bot), form | {"managed_calls_a_day": "7"}, follow=True)

    assert said in without.content.decode()
    assert said not in with_one.content.decode()


@pytest.mark.parametrize("missing", OPENED)
def test_a_managed_agent_has_a_model_and_both_limits(as_staff, bot, missing):
    form = form_of(as_staff.get(address(bot)), address(bot))

    response = as_staff.post(address(bot), form | OPENED | {missing: ""})

    assert response.status_code == 200
    assert "Fill in provider, model and both limits, or none of them." in response.content.decode()
    assert stored(bot) == ("", "", None, None)


@pytest.mark.parametrize("wrong", ["0", "-1", "1e30", "9" * 40, "NaN", "\0", "🤖"])
@pytest.mark.parametrize("field", ["managed_calls_a_day", "usd_a_day"])
def test_a_limit_that_is_none_is_refused(as_staff, bot, field, wrong):
    form = form_of(as_staff.get(address(bot)), address(bot))

    assert as_staff.post(address(bot), form | OPENED | {field: wrong}).status_code == 200
    assert stored(bot) == ("", "", None, None)


def test_a_model_with_signs_that_cannot_be_seen_is_refused(as_staff, bot):
    form = form_of(as_staff.get(address(bot)), address(bot))

    response = as_staff.post(address(bot), form | OPENED | {"managed_model": "gpt-4.1\u200b"})

    assert "letters, digits and signs only" in response.content.decode()
    assert stored(bot) == ("", "", None, None)


def test_what_a_colleague_changed_meanwhile_is_not_overwritten(as_staff, staff, bot):
    stale = form_of(as_staff.get(address(bot)), address(bot))
    open_managed(agent=bot, provider="openai", model="gpt-5", calls_a_day=5, nanousd_a_day=10**9, actor=staff)

    response = as_staff.post(address(bot), stale | OPENED)

    assert "after this page was opened" in response.content.decode()
    assert stored(bot)[1] == "gpt-5"


def test_an_archived_agent_is_opened_for_nobody(as_staff, bot):
    archive_agent(agent=bot, actor=None, now=NOW)
    form = form_of(as_staff.get(address(bot)), address(bot))

    assert as_staff.post(address(bot), form | OPENED).status_code == 200
    assert stored(bot) == ("", "", None, None)
