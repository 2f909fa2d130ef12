"""ASGI applications on a real socket, served by uvicorn as an installation is."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from django.conf import settings
from django.db import connection, connections

from config.web.pool import share_connections
from tests import serving_role

PATIENCE_SECONDS = 60


@contextmanager
def served(app: Any, **options: Any) -> Iterator[int]:
    """The port of `app`, which runs in a thread of this process."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        config = uvicorn.Config(app, log_config=None, **{"lifespan": "off", "access_log": False, **options})
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        wait_until(lambda: server.started)
        try:
            yield listening.getsockname()[1]
        finally:
            server.force_exit = server.should_exit = True
            thread.join(timeout=PATIENCE_SECONDS)


@contextmanager
def web_process(database_url: str, *options: str, **changes: str) -> Iterator[int]:
    """The port of Keyfare's own web server, in a process of its own."""
    port = free_port()
    ours = {"DATABASE_URL": database_url, "DJANGO_SETTINGS_MODULE": "tests.web_settings"}
    environment = {**os.environ, **ours, **changes}
    command = [sys.executable, "-m", "uvicorn", "config.asgi:application", "--port", str(port), "--no-proxy-headers"]
    process = subprocess.Popen(
        [*command, "--no-access-log", *options], cwd=settings.BASE_DIR, env=environment, stderr=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: is_listening(port) or process.poll() is not None)
        assert process.poll() is None, "The web server did not start."
        yield port
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE_SECONDS)
        finally:
            process.kill()


@contextmanager
def shared_connections(size: int) -> Iterator[None]:
    """As in a web process, in this one: on PostgreSQL all threads, this one too, borrow from one pool."""
    database = connection.settings_dict
    before = {**database, "OPTIONS": {**database["OPTIONS"]}}
    share_connections(size)
    try:
        yield
    finally:
        connections.close_all()
        pool_of: Any = connection
        pool_of.close_pool()
        database.update(before)


def database_url() -> str:
    assert connection.vendor == "postgresql"
    return serving_role.database_url()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(holds: Callable[[], object]) -> None:
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < give_up_at, "It did not come to that."
        time.sleep(0.01)


class Talk:
    """A client that says on its connection exactly what it is told to."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_SECONDS)

    def __enter__(self) -> Talk:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def say(self, text: bytes) -> None:
        self.socket.sendall(text)

    def ask(self, method: str, path: str, *headers: str, body: bytes = b"") -> None:
        lines = [f"{method} {path} HTTP/1.1", "Host: localhost", *headers, "", ""]
        self.say("\r\n".join(lines).encode() + body)

    def answer(self) -> tuple[int, dict[str, str], bytes]:
        """One answer that has a length."""
        head = b""
        while b"\r\n\r\n" not in head:
            more = self.socket.recv(1)
            assert more, f"closed after {head!r}"
            head += more
        status, *lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines if line)
        body = b""
        while len(body) < int(headers["content-length"]):
            more = self.socket.recv(65536)
            assert more, f"closed after {head + body!r}"
            body += more
        return int(status.split()[1]), headers, body

    def is_closed(self) -> bool:
        try:
            return self.socket.recv(1) == b""
        except ConnectionError:
            return True
