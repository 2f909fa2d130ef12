"""
What time it is, for all that processes leave for each other: leases, deadlines, "waiting since", the day of a call.

The database's clock, because there is one of it. The clock of a process may be wrong by an hour, and two of them
always differ: one worker would take over checks that another one is at, the next would never begin any.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Final

from django.db import connection

MOST_SKEW_SECONDS: Final = 30.0
# On PostgreSQL not the time at which the transaction began.
_QUESTIONS: Final = {
    "postgresql": "SELECT clock_timestamp()",
    "sqlite": "SELECT strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')",  # in milliseconds
}


def now() -> datetime:
    """The database's time, in UTC; one query."""
    with connection.cursor() as cursor:
        cursor.execute(_QUESTIONS[connection.vendor])
        (said,) = cursor.fetchone()
    told = datetime.fromisoformat(said) if isinstance(said, str) else said
    return told.astimezone(UTC)


def clock_skew_seconds() -> float:
    """By how many seconds this process's clock is ahead of the database's (negative: behind)."""
    asked = time.time()
    told = now()
    answered = time.time()
    return (asked + answered) / 2 - told.timestamp()


def clock_warning() -> str:
    """What to say of this machine's clock: a sentence with the figure and what to do, or nothing."""
    skew = clock_skew_seconds()
    if abs(skew) <= MOST_SKEW_SECONDS:
        return ""
    direction = "ahead of" if skew > 0 else "behind"
    return (
        f"The clock of this machine is {abs(skew):,.0f} seconds {direction} the database's. Work goes by the "
        "database's clock, but logins, authenticator codes and log lines go by this one. Set both by NTP (for example "
        "`timedatectl set-ntp true`), then restart."
    )
