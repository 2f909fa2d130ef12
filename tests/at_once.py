"""Several requests at the same moment, each in a thread with a database connection of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from django.db import connection
from django.test import Client


def at_once(browsers: Sequence[Client], post: Callable[[Client], Any]) -> list[Any]:
    """What `post` gives for each of the browsers, in the order in which they were answered."""
    start, answers = threading.Barrier(len(browsers), timeout=30), []

    def work(browser: Client) -> None:
        try:
            connection.ensure_connection()
            start.wait()
            answers.append(post(browser))
        finally:
            connection.close()

    threads = [threading.Thread(target=work, args=[browser]) for browser in browsers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers
