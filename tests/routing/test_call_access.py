from __future__ import annotations

import pytest
from django.utils import timezone

from organizations.api_tokens import NewToken, ScopesRefused, TokenNameTaken, revoke_token
from organizations.models import ApiToken, AuditEvent
from organizations.permissions import Permission
from routing.agents import archive_agent, create_agent
from routing.call_access import Access, AccessRefused, make_calling_token, tokens_calling, words_of
from routing.models import Agent, CallAccess, DirectKey
from routing.services import remove_provider_key
from tests.builders import connect_key

CALLS = [Permission.CALL_AGENTS]


@pytest.fixture
def bot(acme) -> Agent:
    return create_agent(organization=acme, name="Bot", actor=None)


@pytest.fixture
def scout(acme) -> Agent:
    return create_agent(organization=acme, name="Scout", actor=None)


def make(acme, alice, access: Access | None, name: str = "Token", scopes=CALLS) -> NewToken:
    return make_calling_token(organization=acme, name=name, scopes=scopes, expires_at=None, access=access, actor=alice)


def lines(acme, *made: NewToken) -> list[str]:
    words = words_of(acme, [each.token for each in made])
    return [line for each in made if each.token.pk in words for line in words[each.token.pk].lines]


def test_a_token_of_one_agent_alone_is_bound_to_it(acme, alice, bot, scout, key):
    one = make(acme, alice, Access(member=alice, agents=[bot]), "one")
    two = make(acme, alice, Access(member=alice, agents=[bot, scout]), "two")
    every = make(acme, alice, Access(member=alice, every_agent=True), "every")
    direct = make(acme, alice, Access(member=alice, agents=[bot], direct_keys=[key]), "direct")

    bound = {access.token.name: access.is_bound for access in CallAccess.objects.select_related("token")}
    assert bound == {"one": True, "two": False, "every": False, "direct": False}
    assert lines(acme, one, two, every, direct) == [
        "Calls Bot",
        "Calls Bot, Scout",
        "Calls every agent",
        "Calls Bot",
        "Calls OpenRouter directly with “Default”",
    ]


def test_a_token_of_two_agents_is_not_bound_when_one_of_them_goes(acme, alice, bot, scout):
    make(acme, alice, Access(member=alice, agents=[bot, scout]))

    archive_agent(agent=scout, actor=None, now=timezone.now())

    access = CallAccess.objects.get()
    assert not access.is_bound
    assert [each.agent for each in access.named_agents.select_related("agent")] == [bot]


def test_limits_models_and_member_are_kept_and_said(acme, alice, bob, bot):
    access = Access(
        member=bob,
        agents=[bot],
        allowed_models=["openai", "anthropic/claude-haiku-4-5"],
        requests_a_minute=60,
        tokens_a_minute=100_000,
        calls_at_once=5,
    )

    made = make(acme, alice, access)

    assert lines(acme, made) == [
        "Calls Bot",
        "Only openai, anthropic/claude-haiku-4-5",
        "At most 60 requests a minute, 100,000 tokens a minute, 5 calls at once",
        "In the name of Bob",
    ]
    event = AuditEvent.objects.get(action="api_token.calls_allowed")
    assert event.target == str(made.token)
    assert event.details["agents"] == "bot"
    assert event.details["member"] == bob.email


def test_a_token_without_the_scope_calls_nothing_as_before(acme, alice):
    made = make(acme, alice, None, scopes=[Permission.VIEW])

    assert not CallAccess.objects.exists()
    assert lines(acme, made) == []


def test_scope_and_access_come_together(acme, alice, bot):
    for access, scopes in ((None, CALLS), (Access(member=alice, agents=[bot]), [Permission.VIEW])):
        with pytest.raises(AccessRefused) as refused:
            make(acme, alice, access, scopes=scopes)
        assert refused.value.field == "scopes"
    assert not ApiToken.objects.exists()


def test_what_make_token_refuses_is_refused(acme, alice, charlie, bot):
    make(acme, alice, Access(member=alice, agents=[bot]))

    with pytest.raises(TokenNameTaken):
        make(acme, alice, Access(member=alice, agents=[bot]))
    with pytest.raises(ScopesRefused):
        make(acme, charlie, Access(member=charlie, agents=[bot]), "theirs")


@pytest.mark.parametrize(
    ("field", "changed"),
    [
        ("agents", {"agents": []}),
        ("agents", {"every_agent": True}),
        ("requests_a_minute", {"requests_a_minute": 0}),
        ("requests_a_minute", {"requests_a_minute": 10**30}),
        ("tokens_a_minute", {"tokens_a_minute": -1}),
        ("calls_at_once", {"calls_at_once": 10_001}),
        ("allowed_models", {"allowed_models": ["nobody"]}),
    ],
)
def test_an_access_that_cannot_be_is_refused_and_no_token_made(acme, alice, bot, field, changed):
    with pytest.raises(AccessRefused) as refused:
        make(acme, alice, Access(**{"member": alice, "agents": [bot], **changed}))

    assert refused.value.field == field
    assert str(refused.value).endswith(".")
    assert not ApiToken.objects.exists()


def test_nothing_of_another_organization_can_be_named(acme, globex, alice, charlie, bot, simulated_providers):
    theirs = create_agent(organization=globex, name="Theirs", actor=None)
    their_key = connect_key(globex)

    for access in (
        Access(member=alice, agents=[theirs]),
        Access(member=alice, direct_keys=[their_key]),
        Access(member=charlie, agents=[bot]),
    ):
        with pytest.raises(AccessRefused):
            make(acme, alice, access)


def test_an_archived_agent_can_be_given_to_nobody(acme, alice, bot):
    archive_agent(agent=bot, actor=None, now=timezone.now())

    with pytest.raises(AccessRefused, match="archived meanwhile"):
        make(acme, alice, Access(member=alice, agents=[bot]))


def test_a_key_that_is_removed_is_no_direct_key_any_more(acme, alice, bot, key):
    made = make(acme, alice, Access(member=alice, agents=[bot], direct_keys=[key]))

    remove_provider_key(key=key, actor=alice)

    assert not DirectKey.objects.exists()
    assert lines(acme, made) == ["Calls Bot"]
    event = AuditEvent.objects.get(action="api_token.direct_key_removed")
    assert (event.target, event.details) == ("OpenRouter · Default", {"tokens": 1})


def test_an_agent_knows_the_tokens_that_call_it(acme, alice, bot, scout):
    bound = make(acme, alice, Access(member=alice, agents=[bot]), "bound").token
    every = make(acme, alice, Access(member=alice, every_agent=True), "every").token
    revoked = make(acme, alice, Access(member=alice, agents=[bot]), "revoked").token
    revoke_token(token=revoked, actor=alice, now=timezone.now())

    assert tokens_calling(bot) == [every, bound]
    assert tokens_calling(scout) == [every]
