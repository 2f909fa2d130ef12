"""Bodies of requests, read as a whole within bounds of size, time and memory."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress

from gateway.door.asgi import Receive
from gateway.door.errors import DoorError
from organizations.reading import whole_number
from providers.egress.deadline import Deadline

MB = 1024**2
LARGEST_BODY = 32 * MB
MOST_HELD_BYTES = 256 * MB  # of all bodies together
LONGEST_SECONDS = 120.0
THROWN_AWAY_SECONDS = 5.0


class Gone(Exception):
    """Who asked has hung up."""


class Bodies:
    def __init__(self) -> None:
        self._held = 0

    @contextmanager
    def held(self) -> Iterator[Body]:
        """For one request; what its body takes counts until the end."""
        body = Body(self)
        try:
            yield body
        finally:
            self._held -= body.size

    def take(self, size: int) -> None:
        if self._held + size > MOST_HELD_BYTES:
            raise DoorError(
                503, "server_busy", "Too much is being sent here at once. Try again in a moment.",
                can_retry=True, retry_after_seconds=5,
            )  # fmt: skip
        self._held += size


class Body:
    def __init__(self, bodies: Bodies) -> None:
        self._bodies = bodies
        self.size = 0

    async def read(self, receive: Receive, headers: Mapping[str, str]) -> bytes:
        """Raises DoorError, and Gone."""
        if (whole_number(headers.get("content-length")) or 0) > LARGEST_BODY:
            raise _too_large()
        parts: list[bytes] = []
        deadline = Deadline(LONGEST_SECONDS)
        try:
            while True:
                message = await deadline.within(receive)
                if message["type"] == "http.disconnect":
                    raise Gone
                if part := message.get("body", b""):
                    if self.size + len(part) > LARGEST_BODY:
                        raise _too_large()
                    self._bodies.take(len(part))
                    self.size += len(part)
                    parts.append(part)
                if not message.get("more_body", False):
                    break
        except TimeoutError:
            sentence = f"The body did not arrive within {LONGEST_SECONDS:g} seconds."
            raise DoorError(408, "too_slow", sentence, can_retry=True) from None
        finally:
            deadline.end()
        return parts[0] if len(parts) == 1 else b"".join(parts)


async def throw_away(receive: Receive) -> None:
    """What is still being sent to us, so that its sender comes to read the answer."""
    with suppress(TimeoutError):
        async with asyncio.timeout(THROWN_AWAY_SECONDS):
            left = LARGEST_BODY
            while left > 0:
                message = await receive()
                left -= len(message.get("body", b""))
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return


def _too_large() -> DoorError:
    return DoorError(413, "too_large", f"A request may have {LARGEST_BODY // MB} MB. Send less at once.")
