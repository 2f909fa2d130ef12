"""Requests and calls of many organizations at once: what one shows, spends and sends never belongs to another."""

from __future__ import annotations

import asyncio
import re
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.conf import settings as django_settings
from django.core.signals import request_finished
from django.db import connection, connections, transaction
from django.db.backends.signals import connection_created
from django.db.models import QuerySet
from django.http import HttpRequest
from django.urls import reverse

from candidates.models import Candidate
from config.web import application as web
from gateway import dispatch
from gateway.ticket import Ticket
from gateway.writer import Writer, open_writer
from organizations import audit, tenancy
from organizations.models import Invitation, Membership, Organization
from organizations.paging import PageOfRows, page_of_rows
from organizations.tenancy import EVERY, NOBODY, scope
from providers.adapters.base import ChatRequest, Message
from providers.adapters.secret import Secret
from providers.egress.connections import Egress, open_client
from providers.keys.saving import save_provider_key
from providers.models import ProviderKey
from routing.resolve import Route
from tests.builders import NOW
from tests.conftest import logged_in, person
from tests.organizations.test_wall_alone import Filters
from tests.served import served, shared_connections
from usage.models import InFlightCall, Mode, UsageEvent

ORGANIZATIONS, REQUESTS = 20, 200
ONLY_POSTGRESQL = pytest.mark.skipif(
    connection.vendor != "postgresql", reason="real concurrency and row-level security"
)
CSRF = "a" * 32
MARK = re.compile(r"mark-(\d\d)-")


@dataclass(frozen=True, slots=True)
class Party:
    number: int
    organization: Organization
    session: str

    @property
    def mark(self) -> str:
        return f"{self.number:02}"


@pytest.fixture
def parties(db) -> list[Party]:
    """Organizations with an owner, a candidate and an audit event each, all of them marked."""
    made = []
    for number in range(ORGANIZATIONS):
        mark = f"mark-{number:02}-"
        organization = Organization.objects.create(name=f"{mark}org", slug=f"org-{number:02}")
        owner = person(f"{mark}owner@people.example", organization, Membership.Role.OWNER)
        Candidate.objects.create(organization=organization, name=f"{mark}person", external_id="1")
        audit.record(organization=organization, actor=owner, action="test.noted", target=f"{mark}target")
        client = logged_in(owner)
        made.append(Party(number, organization, client.cookies[django_settings.SESSION_COOKIE_NAME].value))
    return made


def trip(request: HttpRequest, rows: QuerySet[Any], *, by: Sequence[str], size: int) -> PageOfRows[Any]:
    """A page of the audit log that reads rows, then fails as our code or as the database may."""
    number = request.GET.get("page")
    if number in ("boom", "broken", "slow"):
        assert list(rows[:5])
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT pg_sleep(0.3)" if number == "slow" else "SELECT 1")
            if number == "broken":
                cursor.execute("SELECT nothing FROM nowhere")
            if number == "boom":
                raise RuntimeError("injected")
    return page_of_rows(request, rows, by=by, size=size)


@pytest.fixture
def tripwire(monkeypatch) -> None:
    monkeypatch.setattr("organizations.views.page_of_rows", trip)


def without_filters(connection: Any, **kwargs: Any) -> None:
    """Its queries do not say whose rows they want: pages show what the scope of their connection shows."""
    connection.execute_wrappers.append(Filters())


@pytest.fixture
def served_alone(transactional_db, monkeypatch) -> Iterator[tuple[str, list[str]]]:
    """The address of the real application on a socket, and what each connection's scope was after its request."""
    from config.asgi import application

    left: list[str] = []

    def ask_the_connection(**kwargs: Any) -> None:
        if connection.connection is not None:
            with connection.connection.cursor() as cursor:
                left.append(cursor.execute("SELECT current_setting(%s)", [tenancy.VARIABLE]).fetchone()[0])
            connection.close()

    monkeypatch.setitem(connections.settings["default"], "CONN_MAX_AGE", 60)  # else closed before one can ask
    request_finished.connect(ask_the_connection)
    connection_created.connect(without_filters)
    with served(application) as port:
        yield f"http://127.0.0.1:{port}", left
    request_finished.disconnect(ask_the_connection)
    connection_created.disconnect(without_filters)


@pytest.fixture
def served_with_pool(transactional_db, monkeypatch) -> Iterator[tuple[str, list[str]]]:
    """The same with two connections in turn for all requests, and what each connection's scope was when borrowed."""
    borrowed: list[str] = []

    def look_first(connection: Any, **kwargs: Any) -> None:
        with connection.connection.cursor() as cursor:
            [found] = cursor.execute("SELECT current_setting(%s, true)", [tenancy.VARIABLE]).fetchone()
            borrowed.append(found or NOBODY)
        tenancy.on_connection(connection)

    monkeypatch.setattr(web, "WAIT_FOR_ROOM_SECONDS", 60)
    connection_created.disconnect(tenancy.on_connection)
    connection_created.connect(look_first)
    connection_created.connect(without_filters)
    # One more, for the thread of the test.
    with shared_connections(3), served(web.application(connections=2 + web.KEPT_CONNECTIONS)) as port:
        yield f"http://127.0.0.1:{port}", borrowed
    connection_created.disconnect(without_filters)
    connection_created.disconnect(look_first)
    connection_created.connect(tenancy.on_connection)


@ONLY_POSTGRESQL
@pytest.mark.postgresql
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("how", "found"), [("served_alone", EVERY), ("served_with_pool", NOBODY)])
def test_interleaved_requests_show_and_write_rows_of_their_own_organization_only(
    request, how, found, tripwire, transactional_db
):
    address, scopes = request.getfixturevalue(how)
    parties = request.getfixturevalue("parties")
    pages = ("candidates:list", "organizations:members", "organizations:audit", "overview", "settings", "calls")
    wrong: list[tuple[int, str, object]] = []
    in_flight, most, gone = 0, 0, 0

    async def visit(client: httpx.AsyncClient, turns: asyncio.Semaphore, number: int) -> None:
        nonlocal in_flight, most, gone
        party = parties[(number + number // ORGANIZATIONS) % ORGANIZATIONS]
        cookies = {django_settings.SESSION_COOKIE_NAME: party.session, django_settings.CSRF_COOKIE_NAME: CSRF}
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items()), "X-CSRFToken": CSRF}
        slug, fault = party.organization.slug, {0: "boom", 1: "broken", 2: "slow"}.get(number % 10)
        async with turns:
            in_flight += 1
            most = max(most, in_flight)
            try:
                if fault:
                    response = await client.get(
                        reverse("organizations:audit", args=[slug]),
                        params={"page": fault},
                        headers=headers,
                        timeout=0.1 if fault == "slow" else 30,
                    )
                    expected = 500
                elif number % 10 == 3:
                    form = {"email": f"mark-{party.mark}-{number}@new.example", "role": "member"}
                    response = await client.post(
                        reverse("organizations:invite", args=[slug]), data=form, headers=headers
                    )
                    expected = 302
                else:
                    response = await client.get(reverse(pages[number % len(pages)], args=[slug]), headers=headers)
                    expected = 200
                marks = set(MARK.findall(response.text))
                if response.status_code != expected or marks != ({party.mark} if expected == 200 else set()):
                    wrong.append((number, str(response.url), (response.status_code, marks)))
            except httpx.TimeoutException:
                gone += 1
            finally:
                in_flight -= 1

    async def everybody() -> None:
        async with httpx.AsyncClient(base_url=address, timeout=30) as client:
            turns = asyncio.Semaphore(ORGANIZATIONS)
            await asyncio.gather(*(visit(client, turns, number) for number in range(REQUESTS)))

    asyncio.run(everybody())

    assert wrong == []
    assert most == ORGANIZATIONS
    assert gone == REQUESTS // 10
    assert len(scopes) >= REQUESTS - gone
    assert set(scopes) == {found}  # as outside of requests; as nobody has borrowed it
    invited = Invitation.objects.values_list("organization__slug", "email")
    assert len(invited) == REQUESTS // 10
    assert all(slug.removeprefix("org-") == MARK.findall(email)[0] for slug, email in invited)


@ONLY_POSTGRESQL
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("number", ["1", "boom", "broken"])
def test_a_connection_that_is_kept_forgets_the_organization_of_a_request_that_failed(parties, tripwire, number):
    client = logged_in(Membership.objects.get(organization=parties[0].organization).user)
    client.raise_request_exception = False
    audit_log = reverse("organizations:audit", args=[parties[0].organization.slug])

    def asked() -> tuple[int, str]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid(), current_setting(%s)", [tenancy.VARIABLE])
            return cursor.fetchone()

    pid, before = asked()
    assert client.get(audit_log, {"page": number}).status_code == (200 if number == "1" else 500)
    assert asked() == (pid, before)
    with scope(NOBODY, "test"):
        client.get(audit_log, {"page": number})
        assert asked() == (pid, NOBODY)


@ONLY_POSTGRESQL
@pytest.mark.django_db(transaction=True)
def test_a_pooled_connection_has_the_scope_of_who_borrows_it(parties):
    """Django's own pool (OPTIONS: pool) hands one connection from request to request."""
    pooled: Any = connections["default"].copy(alias="pooled")
    pooled.settings_dict["OPTIONS"]["pool"] = {"min_size": 1, "max_size": 1}

    def borrowed() -> tuple[int, str, list[tuple[str]]]:
        try:
            with pooled.cursor() as cursor:
                cursor.execute("SELECT name FROM candidates_candidate")
                names = cursor.fetchall()
                cursor.execute("SELECT pg_backend_pid(), current_setting(%s)", [tenancy.VARIABLE])
                return (*cursor.fetchone(), names)
        finally:
            pooled.close()

    try:
        seen = []
        for party in parties[:3]:
            with scope(party.organization, "test"):
                seen.append(borrowed())
        with scope(NOBODY, "test"):
            seen.append(borrowed())
    finally:
        pooled.close_pool()

    assert len({pid for pid, *_ in seen}) == 1
    assert [value for _, value, _ in seen] == [*(str(party.organization.pk) for party in parties[:3]), NOBODY]
    assert [names for *_, names in seen] == [*([(f"mark-{party.mark}-person",)] for party in parties[:3]), []]


def test_interleaved_calls_leave_with_their_own_key_and_are_charged_to_their_own_organization(
    parties, simulated_providers, monkeypatch
):
    """200 calls on one event loop and one client. A fifth is refused, a seventh is given up while it runs."""
    keys = {party.number: own_key(party) for party in parties}
    heard: list[tuple[list[str], list[str]]] = []
    plain = simulated_providers.app._call

    async def listening(wire: Any, *more: Any) -> Any:
        headers, body = more[-2:]
        heard.append((MARK.findall(wire.key(headers)), MARK.findall(body.decode())))
        return await plain(wire, *more)

    monkeypatch.setattr(simulated_providers.app, "_call", listening)
    simulated_providers.app.delay_seconds = 0.05

    def prepare(party: Party, number: int) -> Ticket:
        key = keys[party.number]
        model = "no-such-model" if number % 5 == 0 else "gpt-4.1-mini"
        route = Route("requirement_generation", "openai", model, key.pk, key.label, Mode.BYOK)
        with scope(party.organization, "test"):
            return dispatch.prepare(
                organization=party.organization, route=route, run_id=uuid.uuid4(), iteration=number + 1, now=NOW
            )

    async def call(client: Egress, writer: Writer, party: Party, number: int) -> None:
        ticket = await sync_to_async(prepare)(party, number)
        await writer.admit(ticket)
        question = f"mark-{party.mark}-" + "word " * 100 * (party.number + 1)
        asking = dispatch.send(
            client, ticket, ChatRequest(ticket.call.facts.model, "Answer.", (Message("user", question),))
        )
        if number % 7 == 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(asking, 0.01)
            raise RuntimeError("injected")
        await writer.settle(ticket, await asking, NOW)

    async def everybody() -> list[BaseException | None]:
        async with open_client() as client, open_writer() as writer:
            who = [(parties[(number + number // ORGANIZATIONS) % ORGANIZATIONS], number) for number in range(REQUESTS)]
            return await asyncio.gather(*(call(client, writer, *each) for each in who), return_exceptions=True)

    problems = [problem for problem in async_to_sync(everybody)() if problem is not None]

    given_up = len(range(0, REQUESTS, 7))
    assert [str(problem) for problem in problems] == ["injected"] * given_up
    assert len(heard) >= REQUESTS - given_up
    assert [(key, body) for key, body in heard if key != body or len(key) != 1] == []
    words: dict[int, set[int]] = {party.number: set() for party in parties}
    for row in (*UsageEvent.objects.all(), *InFlightCall.objects.all()):
        number = int(MARK.findall(row.key_label)[0])
        assert (row.organization_id, row.key_id) == (parties[number].organization.pk, keys[number].pk)
        if isinstance(row, UsageEvent) and row.status == UsageEvent.Status.ANSWERED:
            words[number].add(row.input_tokens)
    assert UsageEvent.objects.count() == REQUESTS - given_up
    assert InFlightCall.objects.count() == given_up  # found again by `sweep_lost_calls`
    used = [words[party.number] for party in parties]
    assert [len(each) for each in used] == [1] * ORGANIZATIONS
    assert used == sorted(used, key=max)  # what each asked was longer than what the one before did


def own_key(party: Party) -> ProviderKey:
    label = f"mark-{party.mark}-key"
    key = save_provider_key(
        organization=party.organization,
        provider="openai",
        secret=Secret(f"sk-proj-simulated-valid-{label}"),
        actor=None,
        now=NOW,
        label=label,
    )
    ProviderKey.objects.filter(pk=key.pk).update(status=ProviderKey.Status.CONNECTED)
    return key
