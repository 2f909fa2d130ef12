"""What is told once of models: new ones, a cheaper one, one that ends."""

from __future__ import annotations

import re
from datetime import date, timedelta

import pytest
from django.core.management import call_command

from organizations import clock
from organizations.services import set_members_see_usd
from providers.models import AvailableModel
from routing.models import ModelNotice
from routing.notices import SILENT_FOR, note_cheaper_models
from routing.services import save_routing
from tests.builders import connect_key
from tests.usage.conftest import event
from usage.models import Mode

MODELS, SETTINGS, READ = "/o/acme/models/", "/o/acme/settings/routing/", "/o/acme/models/told/"
M, USD = 10**6, 10**9
DEAR = "anthropic/claude-sonnet-4.5"


def text(response) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", response.content.decode()).split())


def marks(response) -> list[str]:
    return re.findall(r'name="told" value="([^"]+)"', response.content.decode())


@pytest.fixture
def dear(acme, key):
    """$300 in a month on a dear model: a hundred million tokens at $3."""
    save_routing(organization=acme, action="candidate_check", key=key, model=DEAR, actor=None)
    return event(
        acme,
        provider="openrouter",
        model=DEAR,
        uncached_input_tokens=100 * M,
        cost_nanousd=300 * USD,
        day=clock.now().date(),
    )


def test_a_cheaper_model_is_told_until_somebody_has_read_it(as_alice, dear):
    call_command("note_cheaper_models")

    (mark,) = marks(as_alice.get(MODELS))
    said = text(as_alice.get(MODELS))
    # 100 × $0.30 for Gemini 2.5 Flash, 26 % fewer tokens to 20 % more of them
    assert mark == "cheaper candidate_check openrouter google/gemini-2.5-flash"
    assert "would have cost Candidate check about $30.00 instead of $300.00" in said
    assert "88 to 93 % less" in said
    assert said.partition("would have")[2][:40] in text(as_alice.get(SETTINGS))

    response = as_alice.post(READ, {"told": mark})

    assert response.url == MODELS
    assert marks(as_alice.get(MODELS)) == []
    assert "would have cost" not in text(as_alice.get(SETTINGS))
    call_command("note_cheaper_models")
    assert marks(as_alice.get(MODELS)) == []


def test_members_whom_owners_show_no_usd_are_told_the_share_alone(acme, alice, as_bob, dear):
    call_command("note_cheaper_models")
    assert "about $30.00 instead of $300.00" in text(as_bob.get(MODELS))

    set_members_see_usd(organization=acme, sees=False, actor=alice)

    for page in (MODELS, SETTINGS):
        said = text(as_bob.get(page))
        assert "would have cost Candidate check less in the 30 days" in said
        assert "88 to 93 % less" in said
        assert "$30" not in said


def test_later_another_one_may_be_told_and_the_same_never_again(as_alice, dear):
    call_command("note_cheaper_models")
    as_alice.post(READ, {"told": marks(as_alice.get(MODELS))[0]})
    ModelNotice.objects.update(dismissed_at=clock.now() - SILENT_FOR - timedelta(days=1))

    call_command("note_cheaper_models")

    assert marks(as_alice.get(MODELS)) == ["cheaper candidate_check openrouter openai/gpt-4.1-mini"]


def test_a_tenth_less_is_not_told(acme, key):
    save_routing(organization=acme, action="candidate_check", key=key, model="openai/gpt-4.1-mini", actor=None)
    used = {"provider": "openrouter", "model": "openai/gpt-4.1-mini", "uncached_input_tokens": 100 * M}
    event(acme, **used, cost_nanousd=33 * USD, day=clock.now().date())

    assert note_cheaper_models(now=clock.now()) == 0


def test_cents_and_managed_runs_are_not_told(acme, key):
    save_routing(organization=acme, action="candidate_check", key=key, model=DEAR, actor=None)
    used = {"provider": "openrouter", "model": DEAR, "day": clock.now().date()}
    event(acme, **used, uncached_input_tokens=100_000, cost_nanousd=300_000_000)
    event(acme, **used, uncached_input_tokens=100 * M, cost_nanousd=300 * USD, mode=Mode.MANAGED)

    assert note_cheaper_models(now=clock.now()) == 0


def test_what_an_action_is_not_allowed_is_not_told(acme, key, dear):
    rule = key.routing_rules.get()
    rule.allowed_models = [f"openrouter/{DEAR}"]
    rule.save()

    assert note_cheaper_models(now=clock.now()) == 0


def test_a_notice_goes_when_it_is_true_no_more(as_alice, acme, key, dear):
    call_command("note_cheaper_models")
    save_routing(organization=acme, action="candidate_check", key=key, model="google/gemini-2.5-flash", actor=None)

    assert marks(as_alice.get(MODELS)) == []

    AvailableModel.objects.all().delete()
    call_command("note_cheaper_models")
    assert not ModelNotice.objects.exists()


def test_each_organization_is_told_of_its_own(acme, globex, as_charlie, dear):
    other = connect_key(globex)
    save_routing(organization=globex, action="candidate_check", key=other, model=DEAR, actor=None)

    assert note_cheaper_models(now=clock.now()) == 1
    assert marks(as_charlie.get("/o/globex/models/")) == []


def test_models_that_came_since_the_last_look_are_told_together(as_alice, key):
    now = clock.now()
    AvailableModel.objects.filter(model__in=["openai/gpt-5", DEAR]).update(listed_since=now)

    (said,) = re.findall(r"New since you last looked: (.*?) \.", text(as_alice.get(MODELS)))
    assert set(said.split(" , ")) == {DEAR, "openai/gpt-5"}

    as_alice.post(READ, {"told": "new"})
    assert "New since" not in text(as_alice.get(MODELS))

    AvailableModel.objects.filter(model="openai/gpt-5-mini").update(listed_since=clock.now() + timedelta(seconds=5))
    assert "New since you last looked: openai/gpt-5-mini" in text(as_alice.get(MODELS))
    as_alice.post(READ, {"told": "new"})
    assert ModelNotice.objects.count() == 1


def test_a_model_that_ends_is_told_to_who_uses_it(as_alice, acme, simulated_providers):
    key = connect_key(acme, "anthropic")
    assert key.available_models.get(model="claude-sonnet-4-5").ends_on == date(2027, 3, 31)
    assert "announced" not in text(as_alice.get(MODELS))
    save_routing(organization=acme, action="candidate_check", key=key, model="claude-sonnet-4-5", actor=None)

    said = "Anthropic announced that “claude-sonnet-4-5” ends on 31 March 2027."
    assert f"{said} It serves Candidate check." in text(as_alice.get(MODELS))
    assert f"{said} It serves this action." in text(as_alice.get(SETTINGS))

    response = as_alice.post(READ, {"told": marks(as_alice.get(SETTINGS))[0]}, headers={"HX-Request": "true"})

    assert (response.status_code, response.content) == (200, b"")
    assert said not in text(as_alice.get(MODELS))
    assert "Ends 31 Mar 2027" in text(as_alice.get(MODELS))

    AvailableModel.objects.update(ends_on=date(2027, 1, 31))  # its provider changed its mind
    assert "ends on 31 January 2027" in text(as_alice.get(MODELS))


@pytest.mark.parametrize("told", ["", "nonsense", "ending - openai gpt-4o", "cheaper x y z", "new\x00"])
def test_what_cannot_be_told_changes_nothing(as_alice, acme, told):
    assert as_alice.post(READ, {"told": told}).url == MODELS
    assert not ModelNotice.objects.exists()


def test_members_read_and_do_not_put_away(as_bob, dear):
    call_command("note_cheaper_models")

    assert "would have cost" in text(as_bob.get(MODELS))
    assert "Got it" not in text(as_bob.get(MODELS))
    assert as_bob.post(READ, {"told": "new"}).status_code == 403
