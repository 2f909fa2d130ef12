"""
The story's clock: for the history of the demo, and for nothing else.

Within `story_time()` this process lives at a moment of the past that the story sets: everything that asks the product's
clock or Django's, and the ledger's rows for when they were written. Tasks run inline, as no cluster lives at that
moment, and nobody is mailed about the past. What the database's own clock decides stays with it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.utils import timezone
from django_q.conf import Conf

from billing import postings
from billing.models import CreditLot
from organizations import clock


class StoryClock:
    """Shows the moment it was set to, and goes on from there at the usual pace."""

    def __init__(self) -> None:
        self.begun_at = clock.now()
        self.set(self.begun_at)

    def set(self, moment: datetime) -> None:
        self.set_to, self._since = moment, time.monotonic()

    def now(self) -> datetime:
        return self.set_to + timedelta(seconds=time.monotonic() - self._since)


@contextmanager
def story_time() -> Iterator[StoryClock]:
    """Raises ImproperlyConfigured outside of the demo."""
    if not settings.KEYFARE_DEMO:
        raise ImproperlyConfigured("Only the demo tells of the past.")
    story = StoryClock()
    with ExitStack() as changes:
        changes.enter_context(_replaced(clock, "now", story.now))
        changes.enter_context(_replaced(timezone, "now", story.now))
        changes.enter_context(_replaced(postings, "written_at", story.now))
        changes.enter_context(_replaced(CreditLot._meta.get_field("created_at"), "get_default", story.now))
        changes.enter_context(_replaced(Conf, "SYNC", True))
        changes.enter_context(_replaced(settings, "EMAIL_BACKEND", "django.core.mail.backends.dummy.EmailBackend"))
        yield story


@contextmanager
def _replaced(owner: Any, name: str, value: object) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)
