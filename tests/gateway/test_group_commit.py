"""What waits while a transaction runs is written by the next one, and one item that cannot be stored harms no other."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from django.db import OperationalError

from gateway import group_commit
from gateway.group_commit import GroupCommit


class Store:
    """Notes what is stored together, and waits for `may_go_on` where that is told."""

    def __init__(self, refuses: Callable[[int], BaseException | None] = lambda item: None) -> None:
        self.tried: list[list[int]] = []
        self.stored: list[int] = []
        self.refuses = refuses
        self.may_go_on = threading.Event()
        self.may_go_on.set()
        self.is_at_it = threading.Event()

    def __call__(self, items: Sequence[int]) -> None:
        self.is_at_it.set()
        assert self.may_go_on.wait(10)
        self.tried.append(list(items))
        for item in items:
            if error := self.refuses(item):
                raise error
        self.stored += items


async def written_while_the_first_is(store: Store, items: Sequence[int]) -> list[Any]:
    """What came of `items`, all of which were handed over while the first one was being stored."""
    commits = GroupCommit[int](store)
    store.may_go_on.clear()
    tasks = [asyncio.create_task(commits.write(items[0]))]
    while not store.is_at_it.is_set():
        await asyncio.sleep(0)
    tasks += [asyncio.create_task(commits.write(item)) for item in items[1:]]
    await asyncio.sleep(0)
    store.may_go_on.set()
    return await asyncio.gather(*tasks, return_exceptions=True)


def test_who_comes_alone_waits_for_nobody_and_who_come_meanwhile_go_together():
    store = Store()

    asyncio.run(written_while_the_first_is(store, range(10)))

    assert store.tried == [[0], [1, 2, 3, 4, 5, 6, 7, 8, 9]]


def test_no_more_go_together_than_a_statement_takes(monkeypatch):
    monkeypatch.setattr(group_commit, "MOST_TOGETHER", 4)
    store = Store()

    asyncio.run(written_while_the_first_is(store, range(10)))

    assert store.tried == [[0], [1, 2, 3, 4], [5, 6, 7, 8], [9]]


def test_one_that_cannot_be_stored_takes_no_other_along():
    store = Store(lambda item: ValueError("poisoned") if item == 3 else None)

    came = asyncio.run(written_while_the_first_is(store, range(6)))

    assert [type(each) for each in came] == [type(None)] * 3 + [ValueError] + [type(None)] * 2
    assert store.stored == [0, 1, 2, 4, 5]


def test_where_the_database_is_gone_not_everybody_waits_for_it_anew():
    store = Store(lambda item: OperationalError("gone") if item else None)

    came = asyncio.run(written_while_the_first_is(store, range(100)))

    assert [type(each) for each in came] == [type(None)] + [OperationalError] * 99
    assert len(store.tried) == 7, "the first; all the others, and two of them alone, each of these twice"


def test_after_a_deadlock_all_that_it_met_are_tried_once_more_together():
    store = Store(lambda item: OperationalError("deadlock detected") if len(store.tried) == 2 else None)

    came = asyncio.run(written_while_the_first_is(store, range(6)))

    assert came == [None] * 6
    assert store.tried == [[0], [1, 2, 3, 4, 5], [1, 2, 3, 4, 5]]


def test_a_deadlock_of_one_that_is_tried_alone_keeps_no_other_from_being_stored():
    met: list[int] = []

    def refuse(item: int) -> BaseException | None:
        if item == 5:
            return ValueError("poisoned")
        if item == 2 and len(store.tried[-1]) == 1 and not met:
            met.append(item)
            return OperationalError("deadlock detected")
        return None

    store = Store(refuse)

    came = asyncio.run(written_while_the_first_is(store, range(8)))

    assert [type(each) for each in came] == [type(None)] * 5 + [ValueError] + [type(None)] * 2
    assert store.stored == [0, 1, 2, 3, 4, 6, 7]


def test_one_whose_row_somebody_holds_keeps_no_other_from_being_stored():
    store = Store(lambda item: OperationalError("lock timeout") if item == 3 else None)

    came = asyncio.run(written_while_the_first_is(store, range(8)))

    assert [type(each) for each in came] == [type(None)] * 3 + [OperationalError] + [type(None)] * 4


def test_one_that_comes_alone_is_tried_once_more_where_the_database_was_gone_for_a_moment():
    store = Store(lambda item: OperationalError("gone") if len(store.tried) == 1 else None)

    came = asyncio.run(written_while_the_first_is(store, [7]))

    assert (came, store.tried) == ([None], [[7], [7]])


def test_what_a_caller_handed_over_is_stored_though_the_caller_is_cancelled():
    store = Store()

    async def give_up() -> None:
        commits = GroupCommit[int](store)
        store.may_go_on.clear()
        task = asyncio.create_task(commits.write(1))
        while not store.is_at_it.is_set():
            await asyncio.sleep(0)
        behind = asyncio.create_task(commits.write(2))
        await asyncio.sleep(0)
        task.cancel()
        behind.cancel()
        await asyncio.gather(task, behind, return_exceptions=True)
        assert (task.cancelled(), behind.cancelled()) == (True, True)
        store.may_go_on.set()
        await commits.drain()

    asyncio.run(give_up())

    assert store.stored == [1, 2]


def test_it_works_again_after_it_had_nothing_to_do():
    store = Store()

    async def one_by_one() -> None:
        commits = GroupCommit[int](store)
        for item in range(3):
            await commits.write(item)
            await commits.drain()

    asyncio.run(one_by_one())

    assert store.tried == [[0], [1], [2]]


@pytest.mark.parametrize("count", [1, 5])
def test_an_error_reaches_those_whose_items_were_not_stored(count):
    store = Store(lambda item: KeyError(item))

    came = asyncio.run(written_while_the_first_is(store, range(count)))

    assert [type(each) for each in came] == [KeyError] * count


def test_what_comes_at_the_moment_when_the_last_one_is_stored_waits_for_nobody():
    store = Store()

    async def one_after_the_other() -> None:
        commits = GroupCommit[int](store)
        first = commits.add(1)
        assert commits._writing is not None
        commits._writing.remove_done_callback(commits._end)  # as if it were called later
        await first
        while not commits._writing.done():
            await asyncio.sleep(0)
        await asyncio.wait_for(commits.write(2), 10)

    asyncio.run(one_after_the_other())

    assert store.stored == [1, 2]


@pytest.mark.parametrize("count", [1, 5])
def test_whatever_the_store_raises_nobody_waits_for_ever(count):
    class Odd(BaseException):
        pass

    store = Store(lambda item: Odd())

    came = asyncio.run(asyncio.wait_for(written_while_the_first_is(store, range(count)), 30))

    assert [type(each) for each in came] == [Odd] * count


def test_what_waits_is_written_when_the_loop_is_ended_meanwhile():
    store = Store()

    async def ended() -> None:
        commits = GroupCommit[int](store)
        store.may_go_on.clear()
        callers = [asyncio.create_task(commits.write(item)) for item in range(3)]
        while not store.is_at_it.is_set():
            await asyncio.sleep(0)
        for task in asyncio.all_tasks() - {asyncio.current_task()}:  # as asyncio.run does
            task.cancel()
        await asyncio.gather(*callers, return_exceptions=True)
        store.may_go_on.set()
        await commits.drain()

    asyncio.run(ended())

    assert set(store.stored) == {0, 1, 2}


INTERRUPTED = """
import asyncio, sys
from asgiref.sync import async_to_sync
from gateway.group_commit import GroupCommit

tried = []

def store(items):
    tried.append(list(items))
    if len(tried) == 1:
        raise {raised}

async def run():
    commits = GroupCommit(store)
    try:
        await asyncio.gather(*(commits.write(item) for item in range(3)))
    finally:
        await commits.drain()

try:
    async_to_sync(run)()
except {raised}:
    print("ended", tried)
"""


@pytest.mark.parametrize("raised", ["KeyboardInterrupt", "SystemExit"])
def test_an_interrupted_process_writes_what_waits_and_ends(raised):
    """django-q2 ends a task that takes too long by SystemExit, raised wherever its main thread is."""
    program = INTERRUPTED.replace("{raised}", raised)

    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)

    assert ended.stdout.startswith("ended [[0, 1, 2], [0, 1, 2]]"), ended.stderr
