from __future__ import annotations

import asyncio
import pickle
import secrets
import threading
from collections.abc import Awaitable, Callable
from datetime import timedelta
from time import monotonic
from typing import Any

import psycopg
import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import OperationalError, connection

from config.onboarding import ensure_platform
from gateway import changes, snapshot_reading, snapshots, token_search
from gateway.callers import CallerRefused, CallLimits, Parameters, Refusal, Target
from gateway.change_triggers import TRIGGERS
from gateway.snapshots import Snapshots, open_snapshots
from organizations import clock
from organizations.api_tokens import BASE62, revoke_token
from organizations.models import ApiToken, Membership, User
from organizations.permissions import PERMISSIONS, Permission
from providers.models import OrganizationKey, ProviderKey
from routing.models import Agent, CallAccess, DirectKey, RoutingRule
from tests.builders import NOW
from tests.gateway.callers import KEY, Calling, calling, seen, token_for, until, usable_key

pytestmark = pytest.mark.django_db(transaction=True)

WORKS = "support: gpt-4.1-mini byok …0001 of data key 1; openai/:  byok …0001 of data key 1"


def with_snapshots(play: Callable[[Snapshots], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with open_snapshots() as opened:
            return await play(opened)

    return async_to_sync(run)()


@sync_to_async
def changed(rows: Any, **values: Any) -> None:
    type(rows).objects.filter(organization=rows.organization, pk=rows.pk).update(**values)


class Counted:
    """What the snapshots ask of the database, counted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.searches: list[int] = []
        self.readings: list[int] = []
        search, read = snapshot_reading.find_tokens, snapshot_reading.read_organization

        def find_tokens(prefixes: Any) -> Any:
            self.searches.append(len(prefixes))
            return search(prefixes)

        def read_organization(organization_id: int) -> Any:
            self.readings.append(organization_id)
            return read(organization_id)

        monkeypatch.setattr(token_search, "find_tokens", find_tokens)
        monkeypatch.setattr(snapshots, "read_organization", read_organization)


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counted:
    return Counted(monkeypatch)


@pytest.fixture
def case(db: None) -> Calling:
    return calling()


def strangers_token() -> str:
    return f"kf_{''.join(secrets.choice(BASE62) for _ in range(8))}_{'a' * 43}"


async def refused(opened: Snapshots, token: str) -> CallerRefused:
    with pytest.raises(CallerRefused) as raised:
        await opened.caller(token)
    return raised.value


def test_a_token_sees_what_others_called_where_its_scopes_say_so(case):
    assert with_snapshots(lambda opened: opened.caller(case.value)).may_view

    ApiToken.objects.filter(pk=case.token.pk).update(scopes=["call_agents"])

    assert not with_snapshots(lambda opened: opened.caller(case.value)).may_view


def test_a_token_says_who_calls_and_where_to(case):
    RoutingRule.objects.filter(organization=case.organization).update(
        temperature="0.30", most_output_tokens=500, reasoning_effort="low", version=3
    )
    CallAccess.objects.filter(organization=case.organization).update(
        allowed_models=["openai"], requests_a_minute=60, tokens_a_minute=9, calls_at_once=2
    )

    caller = with_snapshots(lambda opened: opened.caller(case.value))

    assert (caller.token_id, caller.organization_id, caller.organization_slug, caller.member_id) == (
        case.token.pk,
        case.organization.pk,
        "acme",
        case.person.pk,
    )
    assert caller.allowed_models == {"openai"}
    assert caller.limits == CallLimits(60, 9, 2)
    target = caller.agents["support"]
    assert isinstance(target, Target)
    assert (target.facts.action, target.facts.model, target.facts.key_id) == ("support", "gpt-4.1-mini", case.key.pk)
    assert target.sealed_key.opened().open().reveal() == KEY
    assert target.destination.base_url == "https://api.openai.com/v1"
    assert (target.rule_version, target.key_organization_id, target.secret_version) == (3, case.organization.pk, 1)
    assert (float(target.parameters.temperature or 0), target.parameters.most_output_tokens) == (0.3, 500)
    assert target.parameters.reasoning_effort == "low"
    direct = caller.direct["openai"]
    assert isinstance(direct, Target)
    assert (direct.facts.action, direct.facts.model, direct.rule_version) == ("direct", "", None)
    assert direct.parameters == Parameters()


def test_a_token_of_every_agent_calls_all_but_archived_ones(case):
    for slug, archived_at in (("sales", None), ("gone", clock.now())):
        Agent.objects.create(organization=case.organization, slug=slug, name=slug, archived_at=archived_at)
    token, value = token_for(case.organization, case.person, "Every")
    CallAccess.objects.create(organization=case.organization, token=token, member=case.person, every_agent=True)

    caller = with_snapshots(lambda opened: opened.caller(value))

    assert set(caller.agents) == {"support", "sales"}
    assert not caller.is_bound
    unrouted = caller.agents["sales"]
    assert isinstance(unrouted, Refusal)
    assert unrouted.code == "unrouted"
    assert "No model serves the agent sales yet" in unrouted.sentence


def test_the_secret_decides_and_costs_no_question(case, counted):
    async def play(opened: Snapshots) -> None:
        await opened.caller(case.value)
        guessed = case.value[:-1] + ("a" if case.value[-1] != "a" else "b")
        for _ in range(3):
            assert (await refused(opened, guessed)).code == "unknown_token"
        for nonsense in ("", "kf_", "Bearer x", case.value + "\n", "kf_\ud800", "ключ"):
            assert (await refused(opened, nonsense)).code == "unknown_token"

    with_snapshots(play)
    assert counted.searches == [1]
    assert counted.readings == [case.organization.pk]


def test_an_unknown_token_is_looked_up_once(case, counted):
    token = strangers_token()

    async def play(opened: Snapshots) -> None:
        for _ in range(3):
            said = await refused(opened, token)
            assert (said.status, said.code) == (401, "unknown_token")

    with_snapshots(play)
    assert counted.searches == [1]


def test_a_revoked_token_is_looked_up_once_and_told_so(case, counted):
    revoke_token(token=case.token, actor=None, now=clock.now())

    async def play(opened: Snapshots) -> None:
        for _ in range(3):
            said = await refused(opened, case.value)
            assert (said.status, said.code) == (401, "revoked_token")
            assert "was revoked" in str(said)

    with_snapshots(play)
    assert counted.searches == [1]


def test_a_token_that_was_unknown_is_known_once_it_is_made(case):
    row = ApiToken.objects.get(organization=case.organization, pk=case.token.pk)
    access = CallAccess.objects.get(organization=case.organization, pk=case.access.pk)
    ApiToken.objects.filter(organization=case.organization).delete()

    async def play(opened: Snapshots) -> None:
        assert await seen(opened, case.value) == "401 unknown_token"
        await sync_to_async(row.save)(force_insert=True)
        while await seen(opened, case.value) == "401 unknown_token":
            await asyncio.sleep(0.01)
        await sync_to_async(access.save)(force_insert=True)
        while await seen(opened, case.value) != "nothing":
            await asyncio.sleep(0.01)

    with_snapshots(play)


def test_tokens_at_random_are_asked_for_together_and_forgotten(case, counted, monkeypatch):
    monkeypatch.setattr(token_search, "MOST_REMEMBERED", 20)

    async def play(opened: Snapshots) -> None:
        await asyncio.gather(*(refused(opened, strangers_token()) for _ in range(300)))
        assert len(opened._search._remembered) == 20
        assert opened._search._waiting == {}

    with_snapshots(play)
    assert sum(counted.searches) == 300
    assert len(counted.searches) <= 3


def test_more_tokens_at_random_than_can_wait_are_sent_away(case, monkeypatch):
    monkeypatch.setattr(token_search, "MOST_WAITING", 10)

    async def play(opened: Snapshots) -> None:
        await opened.caller(case.value)
        said = await asyncio.gather(*(refused(opened, strangers_token()) for _ in range(30)))
        assert sorted(each.code for each in said) == ["busy"] * 20 + ["unknown_token"] * 10
        await opened.caller(case.value)

    with_snapshots(play)


def test_the_oldest_organization_makes_way(case, counted, monkeypatch):
    monkeypatch.setattr(snapshots, "MOST_ORGANIZATIONS", 1)
    other = calling("globex")

    async def play(opened: Snapshots) -> None:
        for token in (case.value, other.value, case.value):
            await opened.caller(token)
            assert (len(opened._snapshots), len(opened._tokens)) == (1, 1)

    with_snapshots(play)
    assert counted.readings == [case.organization.pk, other.organization.pk, case.organization.pk]


def test_an_organization_is_read_once_for_all_who_wait(case, counted):
    async def play(opened: Snapshots) -> None:
        callers = await asyncio.gather(*(opened.caller(case.value) for _ in range(50)))
        assert len({id(caller) for caller in callers}) == 1

    with_snapshots(play)
    assert counted.readings == [case.organization.pk]


def test_what_was_read_before_a_revocation_is_not_kept(case, monkeypatch):
    read, told, was_read = snapshot_reading.read_organization, threading.Event(), threading.Event()

    def read_slowly(organization_id: int) -> Any:
        snapshot = read(organization_id)
        was_read.set()
        assert told.wait(60)
        return snapshot

    monkeypatch.setattr(snapshots, "read_organization", read_slowly)

    async def play(opened: Snapshots) -> None:
        call = asyncio.create_task(seen(opened, case.value))
        await until(was_read.is_set)
        await sync_to_async(revoke_token)(token=case.token, actor=None, now=await sync_to_async(clock.now)())
        await until(lambda: opened._readings[case.organization.pk].told)
        told.set()
        assert await call == "401 revoked_token"

    with_snapshots(play)


def test_what_was_looked_up_before_a_token_was_made_is_not_remembered(case, monkeypatch):
    find, told, was_read = snapshot_reading.find_tokens, threading.Event(), threading.Event()

    def find_slowly(prefixes: Any) -> Any:
        found = find(prefixes)
        was_read.set()
        assert told.wait(60)
        return found

    monkeypatch.setattr(token_search, "find_tokens", find_slowly)
    row = ApiToken.objects.get(organization=case.organization, pk=case.token.pk)
    ApiToken.objects.filter(organization=case.organization).delete()

    async def play(opened: Snapshots) -> None:
        call = asyncio.create_task(seen(opened, case.value))
        await until(was_read.is_set)
        forgotten = opened._search._forgotten
        await sync_to_async(row.save)(force_insert=True)
        await until(lambda: opened._search._forgotten > forgotten)
        told.set()
        assert await call == "401 unknown_token"  # it was, when it was asked
        assert await seen(opened, case.value) == "403 nothing_to_call"

    with_snapshots(play)


def test_without_a_sign_of_life_of_the_database_nobody_calls(case, monkeypatch):
    async def play(opened: Snapshots) -> None:
        assert await seen(opened, case.value) == WORKS
        monkeypatch.setattr(snapshots, "monotonic", lambda: monotonic() + snapshots.STALE_SECONDS + 1)
        said = await refused(opened, case.value)
        assert (said.status, said.code) == (503, "stale")
        monkeypatch.setattr(snapshots, "monotonic", monotonic)
        assert await seen(opened, case.value) == WORKS

    with_snapshots(play)


def test_where_triggers_are_missing_nobody_calls(case, monkeypatch):
    monkeypatch.setitem(TRIGGERS, connection.vendor, TRIGGERS[connection.vendor] + 1)
    monkeypatch.setattr(snapshots, "START_SECONDS", 0.1)

    assert with_snapshots(lambda opened: seen(opened, case.value)) == "503 stale"


def test_a_database_that_fails_while_it_is_read_refuses_until_it_answers(case, monkeypatch):
    read = snapshot_reading.read_organization

    def fail(organization_id: int) -> Any:
        raise OperationalError("gone")

    async def play(opened: Snapshots) -> None:
        monkeypatch.setattr(snapshots, "read_organization", fail)
        assert await seen(opened, case.value) == "503 stale"
        monkeypatch.setattr(snapshots, "read_organization", read)
        assert await seen(opened, case.value) == WORKS

    with_snapshots(play)


def test_a_lost_connection_forgets_everything_and_listens_again(case, counted):
    if connection.vendor != "postgresql":
        pytest.skip("SQLite is asked anew each time")

    @sync_to_async
    def end_listening() -> None:
        database = connection.settings_dict
        with psycopg.connect(
            dbname=database["NAME"],
            user=database["USER"],
            host=database["OPTIONS"].get("host") or database["HOST"],
            port=database["PORT"] or None,
            autocommit=True,
        ) as session:
            session.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'keyfare gateway' "
                "AND datname = current_database()"
            )

    async def play(opened: Snapshots) -> None:
        await opened.caller(case.value)
        await end_listening()
        await until(lambda: not opened._tokens)
        await opened.caller(case.value)
        await changed(case.token, scopes=["view"])
        await until(lambda: not opened._tokens)
        assert await seen(opened, case.value) == "403 scope_missing"

    with_snapshots(play)


def test_the_use_of_a_token_is_noted_once_a_minute_and_reads_nothing_anew(case, counted):
    @sync_to_async
    def last_used() -> Any:
        return ApiToken.objects.get(organization=case.organization, pk=case.token.pk).last_used_at

    async def play(opened: Snapshots) -> None:
        await opened.caller(case.value)
        while (noted := await last_used()) is None:
            await asyncio.sleep(0.01)
        alive_at = opened._alive_at
        await until(lambda: opened._alive_at > alive_at + changes.BEAT_SECONDS)  # whatever it told was heard
        for _ in range(3):
            await opened.caller(case.value)
        assert opened._used == {}
        assert await last_used() == noted

    with_snapshots(play)
    assert counted.readings == [case.organization.pk]


def test_a_token_expires_without_anybody_telling(case, monkeypatch):
    expires_at = clock.now() + timedelta(seconds=20)
    ApiToken.objects.filter(organization=case.organization).update(expires_at=expires_at)

    async def play(opened: Snapshots) -> None:
        assert (await opened.caller(case.value)).expires_at == expires_at
        monkeypatch.setattr(snapshots, "monotonic", lambda: monotonic() + 22)
        assert await seen(opened, case.value) == "401 expired_token"

    with_snapshots(play)


def test_a_token_is_worth_what_its_creator_may(case, monkeypatch):
    monkeypatch.setitem(PERMISSIONS, Permission.CALL_AGENTS, frozenset({Membership.Role.OWNER}))

    assert with_snapshots(lambda opened: seen(opened, case.value)) == "403 scope_missing"


@pytest.mark.parametrize("what", ["removed", "inactive"])
def test_the_member_in_whose_name_it_calls_has_to_be_there(case, what):
    member = User.objects.create_user("member@acme.example", "correct horse battery")
    membership = Membership.objects.create(organization=case.organization, user=member)
    CallAccess.objects.filter(organization=case.organization).update(member=member)

    async def play(opened: Snapshots) -> None:
        assert (await opened.caller(case.value)).member_id == member.pk
        if what == "removed":
            await sync_to_async(membership.delete)()
        else:
            await sync_to_async(User.objects.filter(pk=member.pk).update)(is_active=False)
        await until(lambda: not opened._tokens)
        assert await seen(opened, case.value) == "401 token_without_member"

    with_snapshots(play)


def test_a_data_key_of_another_organization_opens_nothing(case):
    other = calling("globex")
    keys: Any = OrganizationKey.objects
    foreign = keys.for_organization(other.organization).with_token().get().token
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE providers_organizationkey SET wrapped = %s WHERE organization_id = %s",
            [bytes(foreign), case.organization.pk],
        )

    async def play(opened: Snapshots) -> None:
        caller = await opened.caller(case.value)
        refusal = caller.agents["support"]
        assert isinstance(refusal, Refusal)
        assert refusal.code == "key_unusable"
        assert "Needs re-entry" in refusal.sentence

    with_snapshots(play)


def test_no_key_is_shown_or_written_down(case):
    async def play(opened: Snapshots) -> None:
        caller = await opened.caller(case.value)
        target = caller.direct["openai"]
        assert isinstance(target, Target)
        sealed = target.sealed_key
        shown = repr((caller, opened.__dict__, sealed))
        for secret in (KEY, repr(sealed.ciphertext)[2:40], repr(sealed.wrapped_data_key)[2:-1]):
            assert secret not in shown
        for each in (caller, target, sealed, sealed.opened()):
            with pytest.raises(TypeError, match="pickle"):
                pickle.dumps(each)

    with_snapshots(play)


@pytest.mark.parametrize("is_bound", [True, False])
def test_a_token_is_bound_if_it_was_made_so(case, is_bound):
    CallAccess.objects.filter(organization=case.organization).update(is_bound=is_bound)

    assert with_snapshots(lambda opened: opened.caller(case.value)).is_bound is is_bound


def open_managed(case: Calling) -> ProviderKey:
    """Staff let the agent run on a managed key."""
    platform = ensure_platform()
    managed = usable_key(platform, "Ours", "sk-proj-canary-of-the-platform-0009")
    Agent.objects.filter(organization=case.organization).update(
        managed_provider="openai", managed_model="gpt-5-nano", managed_calls_a_day=50, managed_nanousd_a_day=10**9
    )
    return managed


def test_an_agent_without_a_route_runs_on_the_managed_key_that_staff_opened(case):
    managed = open_managed(case)
    RoutingRule.objects.filter(organization=case.organization).delete()

    async def play(opened: Snapshots) -> None:
        target = (await opened.caller(case.value)).agents["support"]
        assert isinstance(target, Target)
        assert (target.facts.model, target.facts.mode, target.facts.key_id) == ("gpt-5-nano", "managed", managed.pk)
        assert (target.managed_calls_a_day, target.managed_nanousd_a_day) == (50, 10**9)
        assert target.key_organization_id == managed.organization_id
        assert target.sealed_key.opened().open().last4 == "0009"
        assert target.rule_version is None

        await changed(managed, status=ProviderKey.Status.DISABLED)
        await until(lambda: not opened._tokens)
        refusal = (await opened.caller(case.value)).agents["support"]
        assert isinstance(refusal, Refusal)
        assert refusal.code == "unrouted"

        await changed(managed, status=ProviderKey.Status.CONNECTED)
        await until(lambda: not opened._tokens)
        assert isinstance((await opened.caller(case.value)).agents["support"], Target)

    with_snapshots(play)


@pytest.mark.parametrize("key_works", [True, False])
def test_an_agent_with_a_route_never_falls_back_to_a_managed_key(case, key_works):
    open_managed(case)
    if not key_works:
        ProviderKey.objects.filter(organization=case.organization).update(status=ProviderKey.Status.INVALID)

    target = with_snapshots(lambda opened: opened.caller(case.value)).agents["support"]

    if key_works:
        assert isinstance(target, Target)
        assert (target.facts.mode, target.managed_calls_a_day) == ("byok", None)
    else:
        assert isinstance(target, Refusal)
        assert target.code == "key_unusable"


def test_a_paused_agent_says_since_when(case):
    RoutingRule.objects.filter(organization=case.organization).update(paused_at=NOW)

    refusal = with_snapshots(lambda opened: opened.caller(case.value)).agents["support"]

    assert isinstance(refusal, Refusal)
    assert refusal.code == "paused"
    assert "Support is paused since 2026-11-21 12:00 UTC" in refusal.sentence


def test_a_key_of_a_provider_that_is_gone_leaves_the_others_at_work(case):
    old = usable_key(case.organization, "Old")
    ProviderKey.objects.filter(organization=case.organization, pk=old.pk).update(provider="gone")
    RoutingRule.objects.filter(organization=case.organization).update(key=old)

    async def play(opened: Snapshots) -> None:
        assert "support: key_unusable" in await seen(opened, case.value)
        assert isinstance((await opened.caller(case.value)).direct["openai"], Target)

    with_snapshots(play)


def test_a_key_of_another_organization_serves_nothing_whatever_a_row_says(case):
    other = calling("globex")
    RoutingRule.objects.filter(organization=case.organization).update(key=other.key)
    DirectKey.objects.filter(organization=case.organization).update(key=other.key)

    caller = with_snapshots(lambda opened: opened.caller(case.value))

    for refusal in (caller.agents["support"], caller.direct["openai"]):
        assert isinstance(refusal, Refusal)
        assert other.key.label not in refusal.sentence
