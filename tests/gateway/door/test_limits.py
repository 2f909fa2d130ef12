"""A token asks for no more at once, and in a minute, than it may; others are not held up by it."""

from __future__ import annotations

import threading

import pytest

from gateway.callers import Caller, CallLimits
from gateway.door.errors import DoorError
from gateway.door.limits import Limits
from routing.models import CallAccess
from tests.gateway.door.conftest import DoorBefore
from tests.gateway.door.upstream import Scripted, chat_answer
from tests.served import wait_until


def caller(token_id: int = 1, **limits: int) -> Caller:
    return Caller(token_id, 1, "acme", 1, {}, {}, limits=CallLimits(**limits))


@pytest.fixture
def clock(monkeypatch) -> list[float]:
    """The seconds that a door goes by."""
    now = [1_000.0]
    monkeypatch.setattr("gateway.door.limits.monotonic", lambda: now[0])
    return now


def enter(limits: Limits, who: Caller) -> DoorError | None:
    try:
        with limits.place(who):
            return None
    except DoorError as refused:
        return refused


def test_as_many_at_once_as_the_token_may_and_no_more() -> None:
    limits, few = Limits(most_at_once=5, most_in_all=100), caller(calls_at_once=2)
    with limits.place(few), limits.place(few):
        refused = enter(limits, few)
        assert refused
        assert (refused.status, refused.code, refused.can_retry) == (429, "calls_at_once", True)
        assert enter(limits, caller(2)) is None
    assert enter(limits, few) is None


def test_a_token_without_a_bound_has_that_of_the_installation() -> None:
    limits = Limits(most_at_once=1, most_in_all=100)
    with limits.place(caller()):
        assert enter(limits, caller())


def test_all_together_have_a_bound() -> None:
    limits = Limits(most_at_once=5, most_in_all=1)
    with limits.place(caller(1)):
        refused = enter(limits, caller(2))
        assert refused
        assert refused.status == 503


def test_requests_a_minute_are_counted_over_the_last_sixty_seconds(clock) -> None:
    limits, who = Limits(most_at_once=5, most_in_all=100), caller(requests_a_minute=2)
    assert enter(limits, who) is None
    clock[0] += 20
    assert enter(limits, who) is None
    refused = enter(limits, who)
    assert refused
    assert refused.headers["retry-after"] == "40"
    clock[0] += 40
    assert enter(limits, who) is None
    assert enter(limits, who)


def test_tokens_a_minute_are_those_of_answers(clock) -> None:
    limits, who = Limits(most_at_once=5, most_in_all=100), caller(tokens_a_minute=100)
    assert enter(limits, who) is None
    limits.note_tokens(who, 60)
    clock[0] += 30
    limits.note_tokens(who, 60)
    refused = enter(limits, who)
    assert refused
    assert (refused.code, refused.headers["retry-after"]) == ("tokens_a_minute", "30")
    clock[0] += 30
    assert enter(limits, who) is None


def test_nothing_is_kept_of_tokens_that_have_no_bound_of_a_minute() -> None:
    limits = Limits(most_at_once=5, most_in_all=100)
    for number in range(100):
        enter(limits, caller(number))
    assert not limits._used


def test_a_door_says_so_with_the_time_to_wait(door: DoorBefore) -> None:
    CallAccess.objects.for_organization(door.organization).update(requests_a_minute=1)
    assert door.chat().status_code == 200
    refused = door.chat()
    assert refused.status_code == 429
    assert refused.headers["x-keyfare-error"] == "requests_a_minute"
    assert 0 < int(refused.headers["retry-after"]) <= 60
    assert "x-should-retry" not in refused.headers
    assert len(door.upstream.received) == 1


def test_a_call_that_ended_gives_its_place_back_whatever_became_of_it(door) -> None:
    CallAccess.objects.for_organization(door.organization).update(calls_at_once=1)
    door.upstream.answers += [Scripted([1.0, chat_answer()]), Scripted([b"no json"], 500), Scripted([chat_answer()])]
    first = threading.Thread(target=door.chat)
    first.start()
    wait_until(lambda: door.upstream.received)
    assert door.chat().status_code == 429
    first.join()
    assert [door.chat().status_code, door.chat().status_code] == [500, 200]
