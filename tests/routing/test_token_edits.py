"""An API token that clients hold is renamed, narrowed, widened and given more time without a new secret."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from organizations import services
from organizations.api_tokens import ScopesRefused, TokenExpired, make_token, revoke_token, use_token
from organizations.models import ApiToken, AuditEvent, Membership
from organizations.permissions import Permission
from providers.models import ProviderKey
from routing.agents import archive_agent, create_agent
from routing.call_access import Access, AccessRefused, make_calling_token, words_of
from routing.models import Agent, CallAccess
from routing.services import save_routing
from routing.token_edits import TokenNotEditable, access_of, edit_token
from tests.builders import connect_key
from tests.page_forms import form_of
from tests.routing.conftest import MODEL

NOW = timezone.now()
LIST = "/o/acme/api-tokens/"


@pytest.fixture
def bot(acme) -> Agent:
    return create_agent(organization=acme, name="Bot", actor=None)


@pytest.fixture
def scout(acme) -> Agent:
    return create_agent(organization=acme, name="Scout", actor=None)


def made(acme, alice, **access: Any) -> ApiToken:
    return make_calling_token(
        organization=acme,
        name="Server",
        scopes=[Permission.VIEW, Permission.CALL_AGENTS],
        expires_at=NOW + timedelta(days=90),
        access=Access(**{"member": alice, **access}),
        actor=alice,
    ).token


def address(token: ApiToken) -> str:
    return f"{LIST}{token.pk}/edit/"


def shown(browser, token: ApiToken) -> dict[str, Any]:
    """The form as it is prefilled; of what can be ticked several times, all that is."""
    page = browser.get(address(token))
    fields = form_of(page, address(token))
    ticked = page.context["form"]
    return fields | ({"agents": ticked["agents"].value()} if "agents" in ticked.fields else {})


def lines(acme, token: ApiToken) -> list[str]:
    stored = ApiToken.objects.for_organization(acme).select_related("call_access__member").get(pk=token.pk)
    return words_of(acme, [stored])[token.pk].lines


def text(response: Any) -> str:
    return response.content.decode()


def edited(token: ApiToken, actor: Any, **changed: Any) -> bool:
    is_now = {"name": token.name, "expires_at": token.expires_at, "access": access_of(token), "now": NOW}
    return edit_token(token=token, actor=actor, **{**is_now, **changed})


def test_the_form_begins_with_what_the_token_is(as_alice, alice, bob, acme, bot, scout, key):
    token = made(
        acme,
        alice,
        member=bob,
        agents=[bot, scout],
        direct_keys=[key],
        allowed_models=["openrouter", "openai/gpt-5"],
        requests_a_minute=1000,
    )

    page = as_alice.get(address(token))
    form = shown(as_alice, token)

    assert form["agents"] == ["bot", "scout"]
    assert (form["name"], form["days"], form["direct-openrouter"]) == ("Server", "keep", str(key.pk))
    assert (form["allowed_models"], form["requests_a_minute"]) == ("openrouter\nopenai/gpt-5", "1000")
    assert not {"scopes", "member"} & form.keys()
    assert token.digest not in text(page)
    assert "scopes and people stay: for others, make a new token" in text(page)


def test_it_is_renamed_and_narrowed_and_keeps_its_secret_and_the_log_says_what_changed(
    as_ada, ada, alice, acme, bot, scout, key
):
    token = made(acme, alice, agents=[bot, scout], direct_keys=[key])
    before = ApiToken.objects.filter(pk=token.pk).values("prefix", "digest", "scopes", "created_by", "created_at").get()
    form = shown(as_ada, token)
    form |= {"name": "CI", "agents": ["scout"], "direct-openrouter": "", "calls_at_once": "5", "days": "30"}

    answer = as_ada.post(address(token), form, follow=True)

    assert "“CI” saved." in text(answer)
    assert lines(acme, token) == ["Calls Scout", "At most 5 calls at once"]
    assert ApiToken.objects.filter(pk=token.pk).values(*before).get() == before
    access = CallAccess.objects.get()
    assert (access.is_bound, access.member) == (True, alice)
    token.refresh_from_db()
    assert token.expires_at is not None
    assert abs(token.expires_at - timezone.now() - timedelta(days=30)) < timedelta(minutes=1)
    event = AuditEvent.objects.get(action="api_token.edited")
    assert (event.actor, event.target) == (ada, f"CI (kf_{token.prefix}…)")
    assert event.details == {
        "name": "CI",
        "name_before": "Server",
        "expires": f"{token.expires_at:%Y-%m-%d %H:%M} UTC",
        "expires_before": f"{NOW + timedelta(days=90):%Y-%m-%d %H:%M} UTC",
        "agents": "scout",
        "agents_before": "bot, scout",
        "direct": "",
        "direct_before": "openrouter: Default",
        "calls_at_once": 5,
        "calls_at_once_before": None,
    }


def test_what_is_posted_as_it_is_changes_nothing_and_says_so(as_alice, alice, acme, bot, scout):
    token = made(acme, alice, agents=[scout, bot])

    answer = as_alice.post(address(token), shown(as_alice, token), follow=True)

    assert "is that already" in text(answer)
    assert not AuditEvent.objects.filter(action="api_token.edited").exists()


def test_a_double_click_on_more_time_is_one_change(as_alice, alice, acme, bot):
    token = made(acme, alice, agents=[bot])
    form = shown(as_alice, token) | {"days": "365"}

    assert [as_alice.post(address(token), form).status_code for _ in range(2)] == [302, 302]
    assert AuditEvent.objects.filter(action="api_token.edited").count() == 1


def test_who_saves_over_what_somebody_else_changed_is_told_first(as_alice, ada, alice, acme, bot, scout):
    token = made(acme, alice, agents=[bot])
    stale = shown(as_alice, token) | {"agents": ["bot", "scout"]}
    edited(token, ada, name="Theirs")

    refused = as_alice.post(address(token), stale)

    assert refused.status_code == 422
    assert "Ada changed the API token “Theirs” at " in text(refused)
    assert lines(acme, token) == ["Calls Bot"]
    again = form_of(refused, address(token)) | {"agents": refused.context["form"]["agents"].value()}
    assert (again["name"], again["agents"]) == ("Server", ["bot", "scout"])
    assert as_alice.post(address(token), again).status_code == 302
    assert lines(acme, token) == ["Calls Bot, Scout"]


def test_scopes_maker_and_member_cannot_be_posted(as_ada, ada, alice, bob, acme, bot):
    token = make_token(organization=acme, name="Reads", scopes=[Permission.VIEW], expires_at=None, actor=alice).token
    typed = {"scopes": ["view", "call_agents"], "member": str(bob.pk), "created_by": str(ada.pk), "agents": ["bot"]}

    as_ada.post(address(token), {**shown(as_ada, token), **typed, "name": "Renamed", "every_agent": "on"})

    token.refresh_from_db()
    assert (token.name, token.scopes, token.created_by) == ("Renamed", ["view"], alice)
    assert not CallAccess.objects.exists()


def test_nobody_edits_a_token_that_may_more_than_they_may(acme, alice, ada, bob, charlie, bot):
    token = made(acme, alice, agents=[bot])

    with pytest.raises(ScopesRefused):
        edited(token, charlie, name="Mine")
    ApiToken.objects.filter(pk=token.pk).update(scopes=["view", "call_agents", "manage_keys"])
    with pytest.raises(ScopesRefused):
        edited(token, ada, name="Mine")


def test_members_cannot_edit(client, as_bob, alice, acme, bot):
    token = made(acme, alice, agents=[bot])

    assert as_bob.get(address(token)).status_code == as_bob.post(address(token), {}).status_code == 403


def test_a_revoked_token_is_not_edited(as_alice, alice, acme, bot):
    token = made(acme, alice, agents=[bot])
    form = shown(as_alice, token) | {"name": "Other"}
    revoke_token(token=token, actor=alice, now=NOW)

    for answer in (as_alice.get(address(token), follow=True), as_alice.post(address(token), form, follow=True)):
        assert "“Server” was revoked, which cannot be taken back. Make a new one." in text(answer)
    assert address(token) not in text(as_alice.get(LIST))
    assert ApiToken.objects.get().name == "Server"


def test_a_token_whose_maker_or_member_left_is_not_edited(as_alice, alice, ada, bob, acme, bot):
    of_ada, of_bob = made(acme, ada, agents=[bot]), None
    services.remove_member(membership=Membership.objects.get(user=ada), actor=alice)
    ApiToken.objects.update(name="Adas")
    of_bob = made(acme, alice, member=bob, agents=[bot])
    services.remove_member(membership=Membership.objects.get(user=bob), actor=alice)

    assert "Whoever made “Adas” is no longer a member" in text(as_alice.get(address(of_ada), follow=True))
    assert "Bob, in whose name “Server” calls, is no longer a member" in text(
        as_alice.get(address(of_bob), follow=True)
    )
    with pytest.raises(TokenNotEditable):
        edited(of_bob, alice, name="Other")


def test_an_expired_token_works_again_once_it_is_given_time_and_not_before(as_alice, alice, acme):
    new = make_token(
        organization=acme, name="Reads", scopes=[Permission.VIEW], expires_at=NOW - timedelta(hours=1), actor=alice
    )
    form = shown(as_alice, new.token) | {"name": "Other"}

    refused = as_alice.post(address(new.token), form)

    assert refused.status_code == 422
    assert refused.context["form"].errors == {"days": ["Choose one of the list."]}
    with pytest.raises(AccessRefused, match="Choose until when"):
        edited(new.token, alice, name="Other")
    with pytest.raises(TokenExpired):
        use_token(value=new.value, permission=Permission.VIEW)
    assert as_alice.post(address(new.token), form | {"days": "30"}).status_code == 302
    assert use_token(value=new.value, permission=Permission.VIEW).name == "Other"


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        ({"name": ""}, "Give the token a name."),
        ({"name": "Taken"}, "There is a token named “Taken” already"),
        ({"days": "31"}, "Choose one of the list."),
        ({"agents": []}, "Choose what the token may call"),
        ({"agents": ["nobody"]}, "archived meanwhile"),
        ({"every_agent": "on", "agents": [], "direct-openrouter": "nonsense"}, "Choose a connected key."),
        ({"allowed_models": "nobody"}, "begins with no provider"),
        ({"requests_a_minute": "0"}, "Enter a number from 1 to 1,000,000."),
        ({"tokens_a_minute": "1e30"}, "Enter a whole number"),
        ({"name": "sk-proj-abcdefghijklmnop"}, "looks like a key"),
        ({"name": "\0", "seen": "\0=\0"}, "Give the token a name."),
    ],
)
def test_bad_input_is_a_sentence_and_changes_nothing(as_alice, alice, acme, bot, key, typed, sentence):
    make_token(organization=acme, name="Taken", scopes=[Permission.VIEW], expires_at=None, actor=alice)
    token = made(acme, alice, agents=[bot])

    refused = as_alice.post(address(token), shown(as_alice, token) | typed)

    assert refused.status_code == 422
    assert sentence in text(refused)
    assert lines(acme, token) == ["Calls Bot"]
    assert not AuditEvent.objects.filter(action="api_token.edited").exists()


def test_a_key_that_is_out_of_order_is_not_lost_by_another_change(as_alice, alice, acme, bot, key):
    token = made(acme, alice, agents=[bot], direct_keys=[key])
    ProviderKey.objects.filter(pk=key.pk).update(status=ProviderKey.Status.DISABLED)

    as_alice.post(address(token), shown(as_alice, token) | {"name": "Other"})

    assert lines(acme, token) == ["Calls Bot", "Calls OpenRouter directly with “Default”"]


def test_a_limit_binds_no_token_whose_other_agent_is_gone(as_alice, alice, acme, bot, scout):
    token = made(acme, alice, agents=[bot, scout])
    archive_agent(agent=scout, actor=None, now=NOW)

    as_alice.post(address(token), shown(as_alice, token) | {"calls_at_once": "5"})

    access = CallAccess.objects.get()
    assert (access.is_bound, access.calls_at_once) == (False, 5)


def test_what_calls_nothing_any_more_can_be_renamed_and_given_an_agent(as_alice, alice, acme, bot, scout):
    token = made(acme, alice, agents=[bot])
    archive_agent(agent=bot, actor=None, now=NOW)

    assert as_alice.post(address(token), shown(as_alice, token) | {"name": "Idle"}).status_code == 302
    assert as_alice.post(address(token), shown(as_alice, token) | {"agents": ["scout"]}).status_code == 302
    assert lines(acme, token) == ["Calls Scout"]


def test_only_what_a_list_leaves_out_newly_is_asked_about(as_alice, alice, acme, bot, key):
    save_routing(organization=acme, action="bot", key=key, model=MODEL, actor=None)
    token = made(acme, alice, agents=[bot], allowed_models=["anthropic"])

    assert as_alice.post(address(token), shown(as_alice, token) | {"name": "Other"}).status_code == 302
    refused = as_alice.post(address(token), shown(as_alice, token) | {"direct-openrouter": str(key.pk)})
    assert refused.status_code == 422
    assert "OpenRouter directly. Add what is missing to the list, or save once more to have it so." in text(refused)


def test_nothing_of_another_organization_can_be_given(as_alice, alice, acme, globex, bot, simulated_providers):
    token = made(acme, alice, agents=[bot])
    theirs, their_key = create_agent(organization=globex, name="Theirs", actor=None), connect_key(globex)

    for access in (Access(member=alice, agents=[theirs]), Access(member=alice, direct_keys=[their_key])):
        with pytest.raises(AccessRefused):
            edited(token, alice, access=access)
    assert lines(acme, token) == ["Calls Bot"]
