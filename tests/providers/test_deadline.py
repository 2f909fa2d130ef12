"""One timer ends whatever a call waits for, and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from providers.egress.deadline import Deadline

LONG = 3600.0


async def forever() -> None:
    await asyncio.Event().wait()


async def at_once() -> str:
    return "part"


async def turns() -> str:
    """Waits as reading does, without taking time."""
    await asyncio.sleep(0)
    return "part"


def run(use: Callable[[], Awaitable[None]]) -> None:
    async def with_a_task() -> None:
        await use()

    asyncio.run(with_a_task())


@pytest.mark.parametrize("idle", [None, LONG])
def test_a_wait_ends_with_the_time_for_all_of_them(idle):
    async def use() -> None:
        deadline = Deadline(0.02, idle)
        assert await deadline.within(turns) == "part"
        with pytest.raises(TimeoutError):
            await deadline.within(forever)
        with pytest.raises(TimeoutError):  # also of what would wait for nothing
            await deadline.within(at_once)

    run(use)


def test_a_wait_ends_when_nothing_comes_and_what_has_come_before_does_not_count_against_it():
    async def use() -> None:
        deadline = Deadline(LONG, 0.02)
        for _ in range(3):
            await asyncio.sleep(0.03)  # nobody waits for the provider meanwhile
            assert await deadline.within(turns) == "part"
        with pytest.raises(TimeoutError):
            await deadline.within(forever)

    run(use)


def test_who_is_cancelled_meanwhile_is_not_told_that_time_is_over():
    async def use() -> None:
        async def waiting() -> None:
            await Deadline(LONG).within(forever)

        task = asyncio.create_task(waiting())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(use)


def test_what_has_ended_leaves_no_timer_behind():
    async def use() -> None:
        deadline = Deadline(LONG)
        await deadline.within(turns)
        timer = deadline._timer
        deadline.end()
        assert timer is not None
        assert timer.cancelled()

    run(use)
