from __future__ import annotations

import sys
from typing import Any

from django.core.management.base import BaseCommand

from config.startup import refuse_unsafe_start, set_aside_what_is_loaded
from config.worker import supervisor
from organizations.tenancy import NOBODY, scope


class Command(BaseCommand):
    help = (
        "Does the background work until SIGTERM or Ctrl-C; calls under way then have KEYFARE_STOP_GRACE_SECONDS to "
        "finish. What dies or gets stuck is started anew."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        refuse_unsafe_start(serves_pages=False)
        set_aside_what_is_loaded()
        with scope(NOBODY, "every task opens a scope of its own"):
            sys.exit(supervisor.run())
