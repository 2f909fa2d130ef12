"""How much a first visit fetches: the page, and all that it and its style sheets name, as they travel."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator
from datetime import timedelta
from itertools import product
from pathlib import Path
from urllib.parse import urljoin

import pytest
from django.conf import settings
from django.contrib.staticfiles import finders

from organizations import clock
from tests.config.test_compression import GZIP
from tests.config.test_pages import add_call, busy_acme

__all__ = ["busy_acme"]
MOST_BYTES = 150_000
LOADED = re.compile(r'<(?:script|link|img|source|use|iframe)\b[^>]*?\b(?:src|href)="([^"]+)"')
NAMED_IN_STYLE = re.compile(r"url\(\s*[\"']?([^\"')]+)|@import\s+[\"']([^\"']+)")


def named(html: str) -> Iterator[tuple[str, bytes]]:
    """Address and content of each file that a page of ours makes a browser fetch."""
    waiting = LOADED.findall(html)
    seen = set()
    while waiting:
        address = waiting.pop()
        if address in seen or address.startswith("data:"):
            continue
        seen.add(address)
        path = finders.find(address.removeprefix(settings.STATIC_URL))
        assert isinstance(path, str), f"{address} is not one of our static files"
        content = Path(path).read_bytes()
        yield address, content
        if address.endswith(".css"):
            waiting += [urljoin(address, one or other) for one, other in NAMED_IN_STYLE.findall(content.decode())]


def on_the_wire(content: bytes) -> int:
    return min(len(content), len(gzip.compress(content)))


@pytest.mark.parametrize("path", ["", "settings", "consumption/", "candidates/"])
def test_a_first_visit_stays_small(as_alice, busy_acme, path):
    today = clock.now()
    for day, provider in product(range(30), ("openai", "anthropic", "google", "openrouter")):
        add_call(busy_acme, occurred_at=today - timedelta(days=day), provider=provider, cost_nanousd=day * 10**8)

    page = as_alice.get(f"/o/acme/{path}", headers=GZIP)
    files = dict(named(gzip.decompress(page.content).decode()))
    bytes_of = {"page": len(page.content)} | {address: on_the_wire(content) for address, content in files.items()}

    assert {f"/static/keyfare/{name}" for name in ("app.css", "app.js", "icon.svg")} < files.keys()
    assert any("htmx" in address for address in files)
    assert sum(bytes_of.values()) <= MOST_BYTES, bytes_of
