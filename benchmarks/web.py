"""
What the layers between the web server and Django cost, beside Django's own ASGI application in the same run.

    .venv/bin/python -m benchmarks.web [--requests 80] [--rounds 31] [--in-flight 8]

Serves both in one process from sockets by uvicorn, on SQLite in a temporary directory, and asks in turn for a page
without the database (the login form, a small and a posted one of 200 KB). Prints what a request costs each in time
and in processor time (the client's included, which is the same), and the median of the rounds' ratios: below 1 it is
cheaper as served, where a request stays in one thread, than by Django alone.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import tempfile
import time
from pathlib import Path


async def ask(port: int, request: bytes, requests: int, in_flight: int) -> tuple[float, float]:
    """Milliseconds of time and of processor time a request, over so many connections that are kept."""

    async def one(count: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in range(count):
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.split(b" ", 2)[1] in (b"200", b"403"), head
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
            await reader.readexactly(int(length.split(b":")[1]))
        writer.close()

    began, worked = time.perf_counter(), time.process_time()
    await asyncio.gather(*(one(requests // in_flight) for _ in range(in_flight)))
    return (time.perf_counter() - began) / requests * 1000, (time.process_time() - worked) / requests * 1000


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=80)
    parser.add_argument("--rounds", type=int, default=31)
    parser.add_argument("--in-flight", type=int, default=8)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        os.environ.update(
            DJANGO_SETTINGS_MODULE="tests.web_settings",
            KEYFARE_ENV_FILE=str(Path(home) / "none"),
            DATABASE_URL=f"sqlite:///{home}/benchmark.sqlite3",
            SECRET_KEY="a secret key for benchmarks only, fifty characters of it",
            KEYFARE_MASTER_KEYS="a-master-key-for-benchmarks-0123456789abcdef",
            KEYFARE_DIGEST_KEY="a-digest-key-for-benchmarks-0123456789abcdef",
            SITE_URL="http://localhost:8000",
        )
        import logging

        from django.core.asgi import get_asgi_application

        bare = get_asgi_application()
        from config.asgi import application
        from tests.served import served

        logging.disable(logging.WARNING)
        body = b"login=" + b"x" * 200_000
        kinds = {
            "GET the login form": b"GET /accounts/login/ HTTP/1.1\r\nHost: localhost\r\n\r\n",
            "POST 200 KB, refused for its missing token": b"POST /accounts/login/ HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n" % len(body) + body,
        }
        with served(bare) as bare_port, served(application) as port:
            for kind, request in kinds.items():
                rounds = []
                for turn in range(options.rounds + 1):
                    order = (bare_port, port) if turn % 2 else (port, bare_port)
                    took = {
                        each: asyncio.run(ask(each, request, options.requests, options.in_flight)) for each in order
                    }
                    if turn:  # the first warms up
                        rounds.append((took[bare_port], took[port]))
                for number, what in enumerate(("time", "processor time")):
                    alone, ours, ratio = (
                        statistics.median(values)
                        for values in zip(
                            *((a[number], b[number], b[number] / a[number]) for a, b in rounds), strict=True
                        )
                    )
                    print(f"{kind}, {what}: Django alone {alone:.2f} ms, as served {ours:.2f} ms, ratio {ratio:.2f}")


if __name__ == "__main__":
    main()
