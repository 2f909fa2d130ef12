"""
Looking up names without letting slow ones hold up anything else.

`getaddrinfo` blocks a thread for as long as a name server pleases, half a minute and more, and cannot be ended; whoever
awaits it can give up. So lookups have threads of their own (an event loop that ends waits for its own threads, past
every deadline), few of them, and apart: organizations name servers, and so name servers that never answer, but those
can take no thread from the built-in providers. All who wait for one name wait for one lookup.
"""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import lru_cache
from threading import Lock
from typing import Any

MOST_AT_A_TIME = 32

Rows = list[tuple[Any, ...]]
Name = tuple[str, int, int, bool]

_lock = Lock()
_under_way: dict[Name, Future[Rows]] = {}


async def look_up(host: str, port: int, family: int, *, is_custom: bool) -> Rows:
    """What `getaddrinfo` says. Raises OSError. `is_custom`: an organization named the server."""
    loop = asyncio.get_running_loop()
    waiting: asyncio.Future[Rows] = loop.create_future()

    def settle(done: Future[Rows]) -> None:
        if waiting.done():
            return
        if error := done.exception():
            waiting.set_exception(error)
        else:
            waiting.set_result(done.result())

    def tell(done: Future[Rows]) -> None:
        with suppress(RuntimeError):  # the loop has ended, and nobody waits
            loop.call_soon_threadsafe(settle, done)

    _lookup((host, port, family, is_custom)).add_done_callback(tell)
    return await waiting


def under_way() -> int:
    """How many lookups have no answer yet."""
    return len(_under_way)


def _lookup(name: Name) -> Future[Rows]:
    with _lock:
        lookup = _under_way.get(name)
        if lookup is None:
            lookup = _under_way[name] = _threads(name[-1]).submit(_ask, name)
            lookup.add_done_callback(lambda _: _under_way.pop(name))
        return lookup


def _ask(name: Name) -> Rows:
    host, port, family, _ = name
    return socket.getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)


@lru_cache(maxsize=2)
def _threads(is_custom: bool) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(MOST_AT_A_TIME, thread_name_prefix="lookup-custom" if is_custom else "lookup")
