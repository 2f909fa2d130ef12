from __future__ import annotations

from typing import Any

from django_q.management.commands import qcluster

from config.startup import refuse_unsafe_start


class Command(qcluster.Command):  # type: ignore[misc]  # published without types
    """django-q2's own, which does not start with master keys that do not fit the database."""

    def handle(self, *args: Any, **options: Any) -> None:
        refuse_unsafe_start()
        super().handle(*args, **options)
