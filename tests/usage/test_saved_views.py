"""Views of Consumption under a name: what is kept of an address, who sees them, and who may change them."""

from __future__ import annotations

import pytest
from django.utils.html import escape

from organizations.models import AuditEvent, Membership
from tests.usage.conftest import NOON
from usage import saved_views
from usage.models import SavedView
from usage.saved_views import NotYourView, TooManyViews, ViewRefused, delete_view, save_view, views_of

pytestmark = pytest.mark.django_db
URL = "/o/acme/consumption/views/"


def of(person) -> Membership:
    return Membership.objects.get(user=person)


def save(person, name="Mine", query="metric=calls", *, is_shared=False) -> SavedView:
    return save_view(membership=of(person), name=name, query=query, is_shared=is_shared, now=NOON)


def test_what_the_form_reads_is_kept_and_nothing_else(bob):
    view = save(bob, " Errors\u200b ", "metric=errors&group=label:team&evil=1&page=2&from=&provider=openai&period=7d")

    assert (view.name, view.query) == ("Errors", "metric=errors&group=label%3Ateam&period=7d&provider=openai")


@pytest.mark.parametrize("query", ["metric=nonsense", "from=2020-01-01", "label=team:x&key=1", "model=" + "x" * 201])
def test_what_cannot_be_read_is_not_saved(bob, query):
    with pytest.raises(ViewRefused):
        save(bob, query=query)

    assert not SavedView.objects.exists()


@pytest.mark.parametrize("name", ["", "  ", "\u200b", "x" * 81])
def test_a_view_has_a_name(bob, name):
    with pytest.raises(ViewRefused):
        save(bob, name)


def test_the_same_name_is_replaced_and_each_change_is_audited(bob):
    first = save(bob)
    save(bob)
    second = save(bob, query="metric=runs")
    delete_view(view=second, membership=of(bob))

    assert first.pk == SavedView(pk=first.pk).pk
    assert not SavedView.objects.exists()
    actions = AuditEvent.objects.order_by("pk").values_list("action", "target")
    assert list(actions) == [("saved_view.saved", "Mine"), ("saved_view.saved", "Mine"), ("saved_view.deleted", "Mine")]


def test_personal_views_are_ones_own_and_shared_ones_are_changed_by_their_maker_or_who_manages(alice, ada, bob):
    personal, shared = save(bob), save(bob, "Ours", is_shared=True)

    assert list(views_of(of(bob))) == [personal, shared]
    assert list(views_of(of(alice))) == [shared]
    save(ada, "Ours", "metric=runs", is_shared=True)
    theirs = save(alice, "Theirs", is_shared=True)
    with pytest.raises(NotYourView):
        save(bob, "Theirs", "metric=runs", is_shared=True)
    with pytest.raises(NotYourView):
        delete_view(view=theirs, membership=of(bob))


def test_there_is_an_end_to_how_many(bob, monkeypatch):
    monkeypatch.setattr(saved_views, "MOST_VIEWS", 1)
    save(bob)

    with pytest.raises(TooManyViews):
        save(bob, "Another")
    save(bob, "Shared", is_shared=True)


def test_the_page_saves_opens_and_deletes_them(as_bob, as_alice, bob, alice):
    saved = as_bob.post(URL, {"name": "Errors", "query": "metric=errors&group=model", "is_shared": "on"})
    view = SavedView.objects.get()
    html = as_alice.get("/o/acme/consumption/").content.decode()

    assert saved["Location"] == "/o/acme/consumption/?metric=errors&group=model"
    assert 'href="?metric=errors&amp;group=model"' in html
    assert "Delete the view Errors" in html
    assert as_bob.post(URL, {"name": "", "query": "metric=errors"}, follow=True).context["form"].metric_slug == "errors"
    assert as_alice.post(f"{URL}{view.pk}/delete/").status_code == 302
    assert as_alice.post(f"{URL}{view.pk}/delete/").status_code == 404


@pytest.mark.parametrize(
    ("sent", "why"),
    [
        ({"query": "metric=nonsense&group=model"}, "This view cannot be saved. “nonsense” is none of them."),
        ({"query": "from=2020-01-01"}, "This view cannot be saved. A period is at most 366 days long."),
        ({"name": "\u200b", "query": "metric=errors"}, "Give the view a name of up to 80 characters."),
        ({"name": "Ours", "query": "metric=errors", "is_shared": "on"}, "Somebody else shares this view."),
    ],
)
def test_what_is_not_saved_comes_back_as_it_was_typed(as_bob, alice, sent, why):
    save(alice, "Ours", is_shared=True)
    sent = {"name": "Cost <of> errors", **sent}

    response = as_bob.post(URL, sent)

    html = response.content.decode()
    assert response.status_code == 422
    assert f'value="{escape(sent["name"])}" aria-invalid="true"' in html
    assert f'<input type="hidden" name="query" value="{escape(sent["query"])}">' in html
    assert escape(why) in html
    assert ('name="is_shared" checked' in html) == ("is_shared" in sent)
    assert html.count('aria-current="page"') == 2  # in the sidebar and above the page
    assert 'href="?' not in html  # which would lead to where it was posted to
    assert 'href="/o/acme/consumption/?metric=calls"' in html
    assert SavedView.objects.count() == 1


def test_another_persons_shared_view_is_not_deleted_by_a_member(as_bob, alice, bob):
    view = save(alice, is_shared=True)

    said = as_bob.post(f"{URL}{view.pk}/delete/", follow=True).content.decode()

    assert "Somebody else shares this view" in said
    assert SavedView.objects.filter(pk=view.pk).exists()
