"""What runs under an action on a model of its own stands under it in the routing table."""

from __future__ import annotations

from django.db import connection
from django.test.utils import CaptureQueriesContext

from candidates.briefing_models import choose_model
from candidates.models import Briefing
from providers.keys.saving import disable_provider_key
from routing.own_models import MOST_LISTED
from routing.table import route_forms, routing_page
from tests.builders import NOW, connect_managed_key, write_briefing
from tests.routing.conftest import MODEL


def with_model(organization, key, title: str) -> Briefing:
    briefing = write_briefing(organization, ("Django", "must"), title=title)
    choose_model(briefing=briefing, key=key, model=MODEL, actor=None)
    return briefing


def words(response) -> str:
    return " ".join(response.content.decode().split())


def test_the_table_lists_briefings_with_a_model_of_their_own_under_checks(as_alice, as_bob, acme, key):
    before = words(as_alice.get("/o/acme/settings"))
    briefing = with_model(acme, key, "Senior engineer")
    archived = with_model(acme, key, "Long ago")
    Briefing.objects.filter(pk=archived.pk).update(archived_at=NOW)
    write_briefing(acme, ("Django", "must"), title="As routed")

    assert "model of their own" not in before
    for browser in (as_alice, as_bob):
        shown = words(browser.get("/o/acme/settings"))
        assert "With a model of their own, under Candidate check:" in shown
        assert f'<a href="/o/acme/briefings/{briefing.pk}/">Briefing “Senior engineer”</a>: ' in shown
        assert f'{MODEL}</span> <span class="muted">OpenRouter · Default</span>' in shown
        assert "They are of all runs of an action, those of briefings with a model of their own among them." in shown
        assert "Long ago" not in shown
        assert "As routed" not in shown


def test_the_note_on_the_mode_says_that_they_are_byok(as_alice, acme, key):
    connect_managed_key()
    with_model(acme, key, "Senior engineer")

    assert "Those of briefings with a model of their own run in BYOK mode." in words(as_alice.get("/o/acme/settings"))


def test_a_broken_key_of_one_shows(as_alice, acme, key):
    with_model(acme, key, "Senior engineer")
    disable_provider_key(key=key, actor=None, now=NOW)

    assert '<span class="badge bad">Disabled</span></li>' in words(as_alice.get("/o/acme/settings"))


def test_many_take_no_more_statements_than_one_and_the_newest_are_listed(acme, key):
    def asked() -> tuple[int, list[str], bool]:
        with CaptureQueriesContext(connection) as queries:
            line = routing_page(acme, route_forms(acme), now=NOW).lines[0]
            names = [f"{own.name} {own.url} {own.provider_name} {own.key.is_usable}" for own in line.own_models]
        return len(queries), names, line.has_more_own_models

    with_model(acme, key, "First")
    few, _, has_more = asked()
    assert not has_more
    for number in range(MOST_LISTED):
        with_model(acme, key, f"Number {number}")
    many, names, has_more = asked()

    assert many == few
    assert len(names) == MOST_LISTED
    assert names[0].startswith(f"Briefing “Number {MOST_LISTED - 1}”")
    assert has_more


def test_nothing_of_another_organization_is_listed(acme, globex, key):
    with_model(acme, key, "Secret search")

    assert all(not line.own_models for line in routing_page(globex, route_forms(globex), now=NOW).lines)
