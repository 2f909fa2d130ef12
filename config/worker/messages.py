"""A queue between processes that no death of one of them can block for the others."""

from __future__ import annotations

import select
import socket
from typing import Any

from django_q.signing import SignedPackage

LARGEST_BYTES = 128 * 1024
TOO_LARGE = "(too large to keep)"


class MessageQueue:
    """
    Each message is one datagram, which the kernel hands to one reader, whole or not at all; signed, as django-q2's
    tasks are where they wait.

    `multiprocessing.Queue` reads under a lock that a killed reader never gives back. Of django-q2's tasks and results,
    which are mappings, one that is too large loses its `result`.
    """

    def __init__(self) -> None:
        self._reader, self._writer = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._writer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * LARGEST_BYTES)
        self._reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2 * LARGEST_BYTES)

    def put(self, message: Any) -> None:
        """Waits while readers are behind."""
        try:
            self._send(message)
        except _TooLarge:
            self._send({**message, "result": TOO_LARGE})

    def get(self) -> Any:
        return SignedPackage.loads(self._reader.recv(LARGEST_BYTES).decode())

    def empty(self) -> bool:
        return not select.select([self._reader], [], [], 0)[0]

    def qsize(self) -> int:
        """django-q2 only shows it."""
        return 0

    def close(self) -> None:
        """What was put is in the kernel; there is nothing to finish."""

    def join_thread(self) -> None:
        """There is no thread."""

    def _send(self, message: Any) -> None:
        content = SignedPackage.dumps(message).encode()
        if len(content) > LARGEST_BYTES:
            raise _TooLarge
        self._writer.send(content)


class _TooLarge(Exception):
    pass
