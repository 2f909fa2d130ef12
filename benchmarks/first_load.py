"""
What a first visit costs: bytes over the wire by kind, first and largest contentful paint, in a browser.

    make demo SERVE=0
    .venv/bin/python -m benchmarks.first_load [--rounds 5]

Serves a copy of the demo's data as an installation is served: by uvicorn, without DEBUG, static files collected and
compressed. Each page is opened in a fresh Chromium context (cold), then once more in it (warm). Prints medians, and
last one line of JSON. Times are of this machine, without a network in between; bytes are everybody's.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import statistics
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

PAINTS = """() => new Promise((tell) => {
  const paints = { fcp: performance.getEntriesByName("first-contentful-paint")[0]?.startTime };
  new PerformanceObserver((list) => tell({ ...paints, lcp: list.getEntries().at(-1).startTime }))
    .observe({ type: "largest-contentful-paint", buffered: true });
})"""


def visit(page: Any, url: str) -> tuple[Counter[str], dict[str, float]]:
    """Bytes by kind, headers included, and milliseconds to the paints."""
    wire: Counter[str] = Counter()
    kinds: dict[str, str] = {}
    devtools = page.context.new_cdp_session(page)
    devtools.on("Network.responseReceived", lambda event: kinds.update({event["requestId"]: event["type"]}))
    devtools.on(
        "Network.loadingFinished",
        lambda event: wire.update({kinds[event["requestId"]]: int(event["encodedDataLength"])}),
    )
    devtools.send("Network.enable")
    page.goto(url, wait_until="networkidle")
    paints = page.evaluate(PAINTS)
    devtools.detach()
    return wire, paints


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--env-file", type=Path, default=Path("var/demo/keyfare.env"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        database = f"{home}/copy.sqlite3"
        with sqlite3.connect(options.env_file.parent / "keyfare.sqlite3") as demo, sqlite3.connect(database) as copy:
            demo.backup(copy)
        os.environ.update(
            DJANGO_SETTINGS_MODULE="benchmarks.collected_settings",
            BENCHMARK_STATIC_ROOT=f"{home}/static",
            KEYFARE_ENV_FILE=str(options.env_file.resolve()),
            KEYFARE_DEMO="0",
            DEBUG="0",
            DATABASE_URL=f"sqlite:///{database}",
            DJANGO_ALLOW_ASYNC_UNSAFE="1",  # playwright's synchronous API runs an event loop
        )
        import django

        django.setup()
        from django.conf import settings
        from django.core.management import call_command
        from django.test import Client
        from playwright.sync_api import sync_playwright

        from organizations.models import Membership
        from organizations.tenancy import EVERY, scope
        from tests.config.browser import CHROMIUM
        from tests.served import web_process

        call_command("collectstatic", interactive=False, verbosity=0)
        with scope(EVERY, "of the demo's two organizations, the one with a history"):
            membership = Membership.objects.select_related("user", "organization").get(
                role="owner", organization__slug="demo"
            )
        client = Client()
        client.force_login(membership.user, backend="allauth.account.auth_backends.AuthenticationBackend")
        session = client.cookies[settings.SESSION_COOKIE_NAME].value
        start = f"/o/{membership.organization.slug}/"
        paths = {
            "login": "/accounts/login/",
            "overview": start,
            "settings": f"{start}settings",
            "usage": f"{start}consumption/calls/",
        }
        result: dict[str, Any] = {}
        served = web_process(
            os.environ["DATABASE_URL"], "--lifespan", "off", DJANGO_SETTINGS_MODULE="benchmarks.collected_settings"
        )
        with served as port, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
            for name, path in paths.items():
                url = f"http://localhost:{port}{path}"
                rounds = []
                for turn in range(options.rounds + 1):
                    context = browser.new_context()
                    if name != "login":
                        cookie = {"name": settings.SESSION_COOKIE_NAME, "value": session, "url": url}
                        context.add_cookies([cookie])
                    page = context.new_page()
                    if turn:  # the server's first answer is slower
                        rounds.append([visit(page, url), visit(page, url)])
                    else:
                        page.goto(url)
                    context.close()
                result[name] = {}
                for number, state in enumerate(("cold", "warm")):
                    wire, paints = zip(*(each[number] for each in rounds), strict=True)
                    kinds = {kind: int(statistics.median(each[kind] for each in wire)) for kind in wire[0]}
                    result[name][state] = {
                        "bytes": sum(kinds.values()),
                        "by_kind": kinds,
                        **{
                            f"{each}_ms": round(statistics.median(paint[each] for paint in paints))
                            for each in paints[0]
                        },
                    }
                    print(name, state, result[name][state], flush=True)
            browser.close()
        print(json.dumps(result))


if __name__ == "__main__":
    main()
