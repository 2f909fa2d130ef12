"""Every page of an owner and of staff, asked for in this process; writes {name: figures} to the file it is given."""

from __future__ import annotations

import gc
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

import django

django.setup()

from allauth.account.internal.flows.login import record_authentication  # noqa: E402  # apps come after setup
from allauth.mfa.models import Authenticator  # noqa: E402
from django.conf import settings  # noqa: E402
from django.contrib import admin  # noqa: E402
from django.db import connection  # noqa: E402
from django.http import HttpRequest  # noqa: E402
from django.test import Client  # noqa: E402
from django.urls import reverse  # noqa: E402

from benchmarks.volume import BUSIEST, FRESH, OWNER, RARE_MODEL, SLUG, STAFF  # noqa: E402
from candidates.models import Briefing, Candidate, CandidateCheck  # noqa: E402
from organizations import second_factors  # noqa: E402
from organizations.models import User  # noqa: E402
from organizations.paging import place_of  # noqa: E402
from organizations.tenancy import EVERY, scope  # noqa: E402
from usage.models import UsageEvent  # noqa: E402

ROUNDS = 25
MOST_A_PAGE = 100
SLOW_SECONDS = 20  # of what is slower than that in all, there are fewer rounds


def everybodys_pages() -> list[tuple[Client, dict[str, str]]]:
    with scope(EVERY, "the benchmark looks for what there is"):
        return [(_browser_of(OWNER), pages_of_the_owner()), (_browser_of(STAFF), pages_of_staff())]


def pages_of_the_owner() -> dict[str, str]:
    """Name to address; the deep ones lie at 90 % of the list."""
    home = f"/o/{SLUG}/"
    own = {"organization__slug": SLUG}
    briefings = {each.title: each.pk for each in Briefing.objects.filter(**own)}
    busiest, fresh = briefings[BUSIEST], briefings[FRESH]
    calls, people = UsageEvent.objects.filter(**own), Candidate.objects.filter(**own)
    checks = CandidateCheck.objects.filter(**own)
    old_call = _deep(calls, "-occurred_at", "-id").pk
    latest = checks.filter(briefing=busiest, is_latest=True)
    return {
        "overview": home,
        "settings": f"{home}settings",
        "consumption": f"{home}consumption/",
        "consumption of members": f"{home}consumption/?metric=tokens&group=member&period=30d",
        "consumption of keys, latency": f"{home}consumption/?metric=p95&group=key&period=30d",
        "consumption narrowed": f"{home}consumption/?group=model&action=summary&period=30d",
        "consumption by hour": f"{home}consumption/?metric=calls&group=model&period=today",
        "consumption by label": f"{home}consumption/?group=label:team&period=30d",
        "runs": f"{home}consumption/runs/",
        "runs of an action, dearest": f"{home}consumption/runs/?action=summary&order=dearest",
        "anatomy": f"{home}consumption/anatomy/",
        "anatomy of an action": f"{home}consumption/anatomy/?action=summary",
        "forecast": f"{home}consumption/forecast/",
        "what if": f"{home}consumption/what-if/?action=candidate_check",
        "anomalies": f"{home}consumption/anomalies/",
        "export": f"{home}consumption/export/",
        "models": f"{home}models/",
        "usage": f"{home}consumption/calls/",
        "usage deep": f"{home}consumption/calls/?before={old_call}",
        "usage of an action": f"{home}consumption/calls/?action=requirement_generation",
        "usage of a rare model": f"{home}consumption/calls/?model={RARE_MODEL}",
        "usage of an absent model": f"{home}consumption/calls/?model=nothing-like-it",
        "usage failed deep": f"{home}consumption/calls/?status=failed&before={old_call}",
        "usage lost": f"{home}consumption/calls/?status=lost",
        "advisor": f"{home}consumption/advisor/",
        "candidates": f"{home}candidates/",
        "candidates deep": f"{home}candidates/?after={_place(people, '-pk')}",
        "candidates search rossi": f"{home}candidates/?q=rossi",
        "candidates search none": f"{home}candidates/?q=qqqq",
        "candidate": f"{home}candidates/{people.earliest('pk').pk}/",
        "briefings": f"{home}briefings/",
        "results": f"{home}briefings/{busiest}/?tab=results",
        "results deep": f"{home}briefings/{busiest}/?tab=results&after={_place(latest, 'rank', '-candidate_id')}",
        "picker": f"{home}briefings/{fresh}/",
        "picker deep": f"{home}briefings/{fresh}/?after={_place(people, '-pk')}",
        "picker after checks": f"{home}briefings/{busiest}/?tab=candidates",
        "requirements": f"{home}briefings/{busiest}/?tab=requirements",
        "progress": f"{home}briefings/{busiest}/progress/",
        "checks": f"{home}checks/",
        "checks deep": f"{home}checks/?after={_place(checks, '-accepted_at', 'pk')}",
        "check": f"{home}checks/{checks.latest('accepted_at').pk}/",
        "credits": f"{home}credits/",
        "credits spent": f"{home}credits/?show=spent",
        "credits granted": f"{home}credits/?show=granted",
        "credits held": f"{home}credits/?show=held",
        "members": f"{home}members/",
        "audit": f"{home}audit/",
        "api tokens": f"{home}api-tokens/",
    }


def pages_of_staff() -> dict[str, str]:
    """The front page, and of every list the first page and a search that finds little."""
    pages = {"admin": reverse("admin:index")}
    for model, shown in sorted(admin.site._registry.items(), key=lambda item: item[0]._meta.label):
        label = model._meta.label
        address = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
        pages[f"admin {label}"] = address
        if shown.search_fields:
            pages[f"admin {label} search"] = f"{address}?q=other-7"
    return pages


def ask(client: Client, address: str) -> Any:
    """What is asked for every two seconds comes by htmx."""
    return client.get(address, headers={"HX-Request": "true"} if address.endswith("/progress/") else None)


def measure(client: Client, address: str) -> dict[str, Any]:
    seconds: list[float] = []
    cpu: list[float] = []
    queries = 0
    response = ask(client, address)
    if response.status_code != 200:
        sys.exit(f"{address} was answered with {response.status_code}.")

    def count(execute: Callable[..., Any], *arguments: Any) -> Any:
        nonlocal queries
        queries += 1
        return execute(*arguments)

    with connection.execute_wrapper(count):
        ask(client, address)
    while len(seconds) < ROUNDS and sum(seconds) < SLOW_SECONDS:
        began, cpu_began = time.perf_counter(), time.process_time()
        ask(client, address)
        seconds.append(time.perf_counter() - began)
        cpu.append(time.process_time() - cpu_began)
    return {
        "p50_ms": round(statistics.median(seconds) * 1000, 1),
        "p95_ms": round(sorted(seconds)[int(len(seconds) * 0.95) - 1] * 1000, 1),
        "cpu_ms": round(statistics.median(cpu) * 1000, 1),
        "queries": queries,
        "kb": round(len(response.content) / 1024),
    }


def _deep(rows: Any, *by: str) -> Any:
    """At 90 % of the list, or so that a whole page follows."""
    count = rows.count()
    return rows.order_by(*by)[max(0, min(count * 9 // 10, count - MOST_A_PAGE - 1))]


def _place(rows: Any, *by: str) -> str:
    return place_of(_deep(rows, *by), by)


def _browser_of(email: str) -> Client:
    """Of somebody who has just logged in, with a second factor where staff need one."""
    user = User.objects.get(email=email)
    client = Client(HTTP_HOST="localhost")
    if user.is_staff and not Authenticator.objects.filter(user=user).exists():
        secret = second_factors.seal("UNUSED")
        Authenticator.objects.create(user=user, type=Authenticator.Type.TOTP, data={"secret": secret})
    client.force_login(user, backend="allauth.account.auth_backends.AuthenticationBackend")
    request = HttpRequest()
    request.session = client.session
    record_authentication(request, user, method="password", email=user.email, reauthenticated=True)
    request.session.save()
    return client


def main(*wanted: str) -> None:
    settings.STORAGES["staticfiles"] = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    pages = everybodys_pages()
    gc.collect()
    gc.freeze()
    figures = {}
    for client, addresses in pages:
        for name, address in addresses.items():
            if name.startswith(wanted or ("",)):
                figures[name] = measure(client, address)
                print(f"{name:44}", *(f"{key} {value:>7}" for key, value in figures[name].items()), file=sys.stderr)
    Path(sys.argv[1]).write_text(json.dumps(figures))


if __name__ == "__main__":
    main(*sys.argv[2:])
