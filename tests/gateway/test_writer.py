"""A call leaves after its admission and its answer is handed on after its event, however many calls share a commit."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from django.db import OperationalError, connection

from gateway import dispatch, writer
from gateway.sweeping import sweep_lost_calls
from gateway.ticket import Outcome, Ticket
from gateway.writer import Writer, open_writer
from providers.adapters.base import ChatRequest, ErrorKind, Message, ProviderError
from providers.adapters.reasons import reason
from providers.models import ProviderKey
from routing.actions import REQUIREMENT_GENERATION
from routing.resolve import resolve
from tests.builders import NOW, admit, ask_with, route_to_own_key
from tests.serving_role import lose_connection
from usage.models import InFlightCall, UsageEvent

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("simulated_providers")]
ACTION = REQUIREMENT_GENERATION.slug
BUSY = Outcome(error=ProviderError(ErrorKind.OVERLOADED, reason("overloaded", provider="OpenRouter")), latency_ms=5)
QUESTION = ChatRequest(
    model="openai/gpt-4.1-mini",
    system="Answer in JSON.",
    messages=(Message("user", "<job_description>\nMust know Django.\n</job_description>"),),
)


def tickets(organization, count: int) -> list[Ticket]:
    route = resolve(organization=organization, action=ACTION)
    return [
        dispatch.prepare(organization=organization, route=route, run_id=uuid.uuid4(), iteration=1, now=NOW)
        for _ in range(count)
    ]


def with_writer(use: Callable[[Writer], Awaitable[None]]) -> None:
    async def run() -> None:
        async with open_writer() as made:
            await use(made)

    async_to_sync(run)()


@pytest.fixture
def stored(monkeypatch) -> list[int]:
    """How many items each transaction had."""
    sizes: list[int] = []
    store = Writer._store

    def noted(self, items):
        sizes.append(len(items))
        store(self, items)

    monkeypatch.setattr(Writer, "_store", noted)
    return sizes


def test_a_call_leaves_after_its_admission_and_its_event_is_there_before_its_answer(acme, monkeypatch):
    route_to_own_key(acme)
    (ticket,) = tickets(acme, 1)
    send, seen = dispatch.send, []

    async def watched(*arguments):
        seen.append(await sync_to_async(InFlightCall.objects.filter(pk=ticket.call.id).count)())
        return await send(*arguments)

    monkeypatch.setattr(dispatch, "send", watched)

    outcome = ask_with(ticket, QUESTION)

    assert outcome.result is not None
    assert seen == [1]
    assert UsageEvent.objects.get().call_id == ticket.call.id
    assert not InFlightCall.objects.exists()


def test_calls_of_several_organizations_share_a_transaction(acme, globex, stored):
    for organization in (acme, globex):
        route_to_own_key(organization)
    calls = [*tickets(acme, 20), *tickets(globex, 20)]

    async def all_at_once(made: Writer) -> None:
        await asyncio.gather(*map(made.admit, calls))
        await asyncio.gather(*(made.settle(ticket, BUSY, NOW) for ticket in calls))

    with_writer(all_at_once)

    assert UsageEvent.objects.for_organization(acme).count() == 20
    assert UsageEvent.objects.for_organization(globex).count() == 20
    assert not InFlightCall.objects.exists()
    assert sum(stored) == 80
    assert len(stored) <= 4, "one that comes first, then all that wait; twice"


def test_a_transaction_asks_as_often_for_many_calls_as_for_few(acme, django_assert_num_queries):
    route_to_own_key(acme)
    # On PostgreSQL it asks once, by psycopg's own cursor, which is not counted here.
    counted = 0 if connection.vendor == "postgresql" else 5

    def settle(calls: list[Ticket]) -> None:
        made = Writer()
        for ticket in calls:
            admit(ticket)
        made._noted_at = {ticket.call.facts.key_id: float("inf") for ticket in calls}
        with django_assert_num_queries(counted):
            made._store([writer.Ended(ticket, replace(BUSY, error=None), NOW) for ticket in calls])

    settle(tickets(acme, 2))
    settle(tickets(acme, 30))


def test_a_call_that_cannot_be_recorded_takes_no_other_out_of_the_books(acme):
    route_to_own_key(acme)
    calls = tickets(acme, 5)
    poisoned = replace(calls[2], call=replace(calls[2].call, iteration=-1))

    async def with_one_poisoned(made: Writer) -> None:
        await asyncio.gather(*map(made.admit, calls))
        settling = (made.settle(ticket, BUSY, NOW) for ticket in (*calls[:2], poisoned, *calls[3:]))
        came = await asyncio.gather(*settling, return_exceptions=True)
        assert [isinstance(each, Exception) for each in came] == [False, False, True, False, False]

    with_writer(with_one_poisoned)

    assert UsageEvent.objects.count() == 4
    assert InFlightCall.objects.get().pk == poisoned.call.id
    assert sweep_lost_calls(now=NOW + timedelta(days=1)) == 1


@pytest.mark.skipif(connection.vendor != "postgresql", reason="of a server that ends connections")
def test_a_call_whose_connection_was_lost_while_it_was_answered_is_in_the_books_and_has_its_answer(acme, monkeypatch):
    route_to_own_key(acme)
    (ticket,) = tickets(acme, 1)
    send = dispatch.send

    async def meanwhile(*arguments):
        await sync_to_async(lose_connection)()
        return await send(*arguments)

    monkeypatch.setattr(dispatch, "send", meanwhile)

    assert ask_with(ticket, QUESTION).result is not None

    assert UsageEvent.objects.get().status == "answered"


@pytest.mark.parametrize("is_lost_before", ["the admission", "the end"])
@pytest.mark.skipif(connection.vendor != "postgresql", reason="of a server that ends connections")
def test_a_writer_with_a_thread_of_its_own_goes_on_with_another_connection(acme, is_lost_before):
    route_to_own_key(acme)
    first, second = tickets(acme, 2)

    async def use() -> None:
        async with open_writer(has_thread=True) as made:
            thread = made._commits._thread
            assert thread is not None
            await made.admit(first)
            await made.settle(first, BUSY, NOW)
            if is_lost_before == "the end":
                await made.admit(second)
            thread.submit(lose_connection).result()
            if is_lost_before == "the admission":
                await made.admit(second)
            await made.settle(second, BUSY, NOW)

    async_to_sync(use)()

    assert UsageEvent.objects.count() == 2
    assert not InFlightCall.objects.exists()


def test_a_writer_leaves_no_thread_behind(acme):
    async def use() -> None:
        async with open_writer(has_thread=True) as made:
            await made.drain()

    async_to_sync(use)()

    assert not [each for each in threading.enumerate() if each.name.startswith("writer")]


def test_a_call_that_cannot_be_admitted_never_leaves_and_keeps_no_other_back(acme, simulator):
    route_to_own_key(acme)
    calls = tickets(acme, 3)
    calls[1] = replace(calls[1], call=replace(calls[1].call, iteration=-1))
    served = simulator.app.model_calls

    came = []
    for ticket in calls:
        try:
            came.append(ask_with(ticket, QUESTION).result is not None)
        except Exception:
            came.append(False)

    assert came == [True, False, True]
    assert simulator.app.model_calls == served + 2
    assert UsageEvent.objects.count() == 2


def test_a_call_that_is_given_up_while_it_is_admitted_was_not_billed(acme, monkeypatch):
    route_to_own_key(acme)
    (ticket,) = tickets(acme, 1)
    store, is_admitted, is_given_up = Writer._store, threading.Event(), threading.Event()

    def slowly(self, items):
        store(self, items)
        is_admitted.set()
        assert is_given_up.wait(10)

    monkeypatch.setattr(Writer, "_store", slowly)

    async def give_up(made: Writer) -> None:
        task = asyncio.create_task(made.admit(ticket))
        while not is_admitted.is_set():
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.sleep(0)
        is_given_up.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    with_writer(give_up)

    event = UsageEvent.objects.get()
    assert (event.call_id, event.status, event.no_price) == (ticket.call.id, "failed", "not_billed")
    assert not InFlightCall.objects.exists()


def test_while_too_many_wait_the_next_one_waits_for_a_place(acme, monkeypatch, stored):
    monkeypatch.setattr(writer, "MOST_WAITING", 3)
    route_to_own_key(acme)
    calls = tickets(acme, 10)

    async def all_at_once(made: Writer) -> None:
        await asyncio.gather(*map(made.admit, calls))

    with_writer(all_at_once)

    assert InFlightCall.objects.count() == 10
    assert max(stored) <= 3


def test_the_use_of_a_key_is_noted_at_most_once_a_minute_and_its_refusal_once(acme, monkeypatch):
    key = route_to_own_key(acme)
    used, refused = [], []
    monkeypatch.setattr(writer, "note_keys_used", lambda **said: used.append(said["key_ids"]))
    monkeypatch.setattr(writer, "mark_key_refused", lambda **said: refused.append(said["kind"]))
    calls = tickets(acme, 6)
    invalid = Outcome(error=ProviderError(ErrorKind.INVALID, reason("interrupted")))

    async def twice(made: Writer) -> None:
        await asyncio.gather(*(made.settle(ticket, invalid, NOW) for ticket in calls[:3]))
        await asyncio.gather(*(made.settle(ticket, BUSY, NOW) for ticket in calls[3:]))

    with_writer(twice)

    assert used == [{key.pk}]
    assert refused.count(ErrorKind.INVALID) <= 2, "once a transaction"


def test_a_key_that_cannot_be_noted_leaves_the_call_in_the_books(acme, monkeypatch, caplog):
    route_to_own_key(acme)

    def broken(**said):
        raise ZeroDivisionError

    monkeypatch.setattr(writer, "note_keys_used", broken)

    assert ask_with(tickets(acme, 1)[0], QUESTION).result is not None

    assert UsageEvent.objects.get().status == "answered"
    assert "could not be noted" in caplog.text
    assert ProviderKey.objects.get().last_used_at is None


def test_a_database_that_goes_away_again_later_is_waited_for_again(monkeypatch):
    now = [1000.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    def away() -> None:
        raise OperationalError

    monkeypatch.setattr(writer, "time", SimpleNamespace(monotonic=lambda: now[0], sleep=sleep))
    monkeypatch.setattr(writer, "connection", SimpleNamespace(ensure_connection=away))
    waiting = Writer()

    def waited() -> float:
        began = now[0]
        with pytest.raises(OperationalError):
            waiting._wait_for_database()
        return round(now[0] - began, 1)

    assert [waited(), waited()] == [writer.MOST_AWAY_SECONDS, 0]
    now[0] += 3600
    assert waited() == writer.MOST_AWAY_SECONDS
