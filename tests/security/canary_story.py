"""
The life of one key, told through the real pages in a process of its own (see test_canary).

Reads the secret part of the key from standard input, so that it stands in no argument, environment or source.
Every response goes to a file, the log at DEBUG goes to standard error, mails go to a file, the database is a file.
"""

from __future__ import annotations

import base64
import json
import logging
import re
import subprocess
import sys
import threading
import time
import uuid
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest import mock

import django

HOME = Path(sys.argv[1])
SECRET = sys.stdin.read().strip()
STATES = ["valid", "invalid", "no-credit", "rate-limited", "limited", "overloaded"]
NASTY = [
    "echo",
    *(f"echo-{status}" for status in (402, 403, 404, 429, 500, 529)),
    "redirect",
    "malformed",
    "drop",
    "slow",
]
PG_DUMP = sys.argv[2] if len(sys.argv) > 2 else ""


def pasted(state: str) -> str:
    return f"sk-or-v1-simulated-{state}-{SECRET}"


class Nasty(BaseHTTPRequestHandler):
    """A provider at its worst: repeats the key in bodies, headers and redirects."""

    def do_GET(self):
        key = self.headers.get("authorization") or self.headers.get("x-api-key") or ""
        body = json.dumps({"error": {"message": f"Incorrect API key provided: {key}. See {key}", "key": key}}).encode()
        status, location = 401, ""
        if echoed := re.search(r"echo-(\d+)", key):
            status = int(echoed[1])
        elif "slow" in key:
            time.sleep(2)
        elif "redirect" in key:
            status, location = 302, f"http://127.0.0.1:1/?key={key}"
        elif "malformed" in key:
            status, body = 200, b"{not json " + key.encode()
        elif "drop" in key:
            self.close_connection = True
            return
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.send_header("x-request-id", key)
        if location:
            self.send_header("location", location)
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_GET  # noqa: N815  # a name of http.server

    def log_message(self, *arguments):
        pass


@contextmanager
def breaking(target: str):
    def broken(*args, **kwargs):
        raise RuntimeError("The house is on fire.")

    with mock.patch(target, broken):
        yield


class OnceAPage(logging.Filter):
    """A variable that a template lacks is told once a page, with all that the page knows, not once for every row."""

    def __init__(self) -> None:
        super().__init__()
        self.told: set[object] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        is_new = record.args not in self.told
        self.told.add(record.args)
        return is_new


BREAKABLE_ON_SAVE = [
    "providers.forms.KeyForm.clean",
    "providers.forms._complaint",
    "providers.forms.provider_that_looks_like",
    "providers.keys.saving.save_provider_key",
    "providers.keys.saving.sealing.seal",
    "providers.custody.sealing.current_organization_key",
    "providers.custody.sealing._seal_under",
    "providers.custody.sealing._associated_data",
    "providers.custody.sealing.os.urandom",
    "providers.custody.sealing.AESGCM",
    "providers.keys.saving.record",
    "providers.models.ProviderKey.save",
    "providers.keys.replacement.take_over",
    "providers.keys.replacement._start_over",
    "providers.keys.replacement.sweep_after_commit",
    "providers.custody.sealing.move_secret",
    "providers.views._saved",
]
BREAKABLE_ON_USE = [
    "providers.custody.sealing.sealed_key",
    "providers.custody.sealing._sealed_key",
    "providers.custody.sealing.unwrap",
    "providers.custody.sealing.SealedKey.open",
    "providers.egress.client._opened",
    "providers.egress.client.Answer.whole",
    "providers.egress.short_calls.httpx.AsyncClient.build_request",
    "providers.egress.short_calls.httpx.AsyncClient.send",
    "providers.adapters.openai.OpenAIAdapter.credential_headers",
    "providers.adapters.openai.OpenAIAdapter.parse_validation",
    "providers.keys.validation._apply_outcome",
    "providers.custody.rotation._reseal_older",
    "providers.custody.rotation._delete_unused_versions",
    "providers.custody.rotation.sweep_after_commit",
    "providers.custody.sealing.reseal",
]
BREAKABLE_ON_REMOVE = [
    "providers.keys.saving.delete_provider_key",
    "providers.keys.saving.locked",
    "providers.keys.saving.record_change",
    "providers.models.ProviderKey.delete",
]


def main() -> None:
    django.setup()
    from django.conf import settings
    from django.contrib.sessions.models import Session
    from django.core import mail
    from django.core.management import call_command
    from django.db import connection
    from django.test.utils import setup_test_environment
    from django.utils.log import AdminEmailHandler

    setup_test_environment(debug=settings.DEBUG)
    logging.getLogger().setLevel(logging.DEBUG)
    for name in ("httpx", "httpcore", "aiohttp", "django-q", "django.db.backends", "django.template", "asyncio"):
        logging.getLogger(name).setLevel(logging.DEBUG)
    once_a_page = OnceAPage()
    logging.getLogger("django.template").addFilter(once_a_page)
    settings.ADMINS = [("Ops", "ops@keyfare.example")]
    logging.getLogger("django.request").addHandler(AdminEmailHandler(include_html=True))
    nasty = ThreadingHTTPServer(("127.0.0.1", 0), Nasty)
    threading.Thread(target=nasty.serve_forever, daemon=True).start()
    settings.KEYFARE_PROVIDER_ORIGINS = {
        **settings.KEYFARE_PROVIDER_ORIGINS,
        "openai": f"http://127.0.0.1:{nasty.server_port}/v1",
        "google": "http://127.0.0.1:1/v1beta",
    }
    plain = {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"}
    settings.STORAGES = {**settings.STORAGES, "staticfiles": plain}  # no files were collected
    call_command("migrate", verbosity=0)
    call_command("createcachetable", verbosity=0)

    from django.utils import timezone
    from django_q.conf import Conf
    from django_q.models import OrmQ, Task

    from config.onboarding import close_organization, ensure_platform, open_organization
    from organizations.models import User
    from providers.adapters.base import ChatRequest, Message, ProviderError
    from providers.models import ProviderKey
    from providers.tasks import validate_key
    from routing.actions import REQUIREMENT_GENERATION
    from routing.resolve import RouteUnavailable, resolve
    from routing.services import save_routing
    from tests.builders import run_call
    from tests.conftest import logged_in

    ensure_platform()
    owner = User.objects.create_superuser("alice@acme.example", "correct horse battery")
    acme = open_organization(name="Acme", slug="acme", owner=owner)
    client = logged_in(owner)
    client.raise_request_exception = False
    responses = (HOME / "responses.txt").open("w")
    seen: dict[int, int] = {}

    def visit(method: str, path: str, data: dict | None = None, *, htmx: bool = False):
        headers = {"HX-Request": "true"} if htmx else {}
        once_a_page.told.clear()
        answer = getattr(client, method)(path, data or {}, headers=headers)
        responses.write(f"{method} {path} {answer.status_code} {dict(answer.items())}\n{answer.content.decode()}\n")
        responses.write(f"{client.cookies}\n")
        seen[answer.status_code] = seen.get(answer.status_code, 0) + 1
        return answer

    def look_around() -> None:
        for path in (
            "/o/acme/settings",
            "/o/acme/",
            "/o/acme/audit/",
            "/admin/",
            "/admin/providers/providerkey/",
            "/admin/providers/organizationkey/",
            "/admin/providers/keyvalidation/",
            "/admin/django_q/success/",
            "/admin/django_q/failure/",
            "/admin/django_q/ormq/",
            "/admin/organizations/auditevent/",
        ):
            visit("get", path)

    def save(provider: str, label: str, state: str, **more):
        path = f"/o/acme/settings/keys/{provider}/save/"
        visit("post", path, {"key": pasted(state), "label": label, "anyway": "on"}, **more)
        return ProviderKey.objects.filter(organization=acme, provider=provider, label=label).first()

    def on_key(key, verb: str, data: dict | None = None, **more):
        return visit("post", f"/o/acme/settings/keys/{key.pk}/{verb}/", data, **more)

    def dump(name: str) -> None:
        """What a backup would hold, and what the tables hold that no search would see through."""
        if PG_DUMP:
            file = str(HOME / f"{name}.sql")
            address = connection.settings_dict
            parts = [address["USER"], address["HOST"] or address["OPTIONS"]["host"], address["NAME"]]
            user, host, database = (str(part) for part in parts)
            port = ["--port", str(address["PORT"])] if address["PORT"] else []
            subprocess.run([PG_DUMP, "--username", user, "--host", host, *port, "--file", file, database], check=True)
        rows = [repr(session.get_decoded()) for session in Session.objects.all()]
        with connection.cursor() as cursor:
            cursor.execute("SELECT cache_key, value FROM django_cache")
            rows += [f"{key} {base64.b64decode(value)!r}" for key, value in cursor.fetchall()]
        (HOME / f"{name}-tables.txt").write_text("\n".join(rows))

    outcomes, details = set(), {}
    for provider, states in {"openrouter": STATES, "openai": NASTY, "google": ["valid"]}.items():
        for state in states:
            key = save(provider, state, state, htmx=state == "valid")
            with mock.patch("providers.keys.asking.VALIDATION_TIMEOUT_SECONDS", 0.5 if state == "slow" else 10):
                on_key(key, "validate")
            details[state] = ProviderKey.objects.get(pk=key.pk).state.detail
            visit("get", f"/o/acme/settings/keys/{key.pk}/models/")
            visit("get", f"/admin/providers/providerkey/{key.pk}/change/")
            outcomes.add(ProviderKey.objects.get(pk=key.pk).status)
    save("openrouter", "valid", "valid")  # the label is taken
    save("nobody", "valid", "valid")
    for wrong in (
        f"{pasted('valid')}\nsecond line",
        f"“{pasted('valid')}”",
        f"OPENAI_API_KEY={pasted('valid')}",
        "é" + SECRET,
        f"sk-ant-api03-{SECRET}",  # another provider's
        f"sk-ant-admin01-{SECRET}",
    ):
        visit("post", "/o/acme/settings/keys/openrouter/save/", {"key": wrong, "label": "wrong"})
        visit("post", "/o/acme/settings/keys/openrouter/save/", {"key": wrong, "label": "wrong"}, htmx=True)
    look_around()

    key = ProviderKey.objects.get(organization=acme, label="valid", provider="openrouter")
    on_key(key, "validate")
    action = REQUIREMENT_GENERATION.slug
    save_routing(organization=acme, action=action, key=key, model="openai/gpt-4.1-mini", actor=owner)

    def use() -> None:
        try:
            run_call(
                organization=acme,
                route=resolve(organization=acme, action=action),
                run_id=uuid.uuid4(),
                iteration=1,
                request=ChatRequest(
                    model="openai/gpt-4.1-mini",
                    system="Answer in JSON.",
                    messages=(Message("user", "<job_description>Must know Django.</job_description>"),),
                ),
                now=timezone.now(),
            )
        except (ProviderError, RouteUnavailable, RuntimeError):
            logging.getLogger("keyfare.canary").exception("A call failed")

    use()
    for target in BREAKABLE_ON_SAVE:
        with breaking(target):
            save("openrouter", f"never {target}"[:80], "valid")
            on_key(key, "replace", {"key": pasted("valid"), "anyway": "on"})
            visit(
                "post",
                "/admin/providers/providerkey/managed/add/",
                {"slug": "openrouter", "label": "M", "key": pasted("valid")},
            )
    for target in BREAKABLE_ON_USE:
        with breaking(target):
            use()
            on_key(key, "validate")
            visit("get", "/o/acme/settings")
            visit("post", "/o/acme/settings/keys/rotate/")
    on_key(key, "replace", {"key": pasted("valid"), "anyway": "on"})
    on_key(key, "replace", {"key": pasted("valid"), "anyway": "on"}, htmx=True)
    on_key(key, "validate")

    Conf.SYNC = False  # a task that waits in the broker's table
    on_key(key, "validate")
    payloads = [repr(waiting.task) for waiting in OrmQ.objects.all()]
    payloads += [repr((task.func, task.args, task.kwargs, task.result)) for task in Task.objects.all()]
    (HOME / "tasks.txt").write_text("\n".join(payloads))
    look_around()
    dump("waiting")
    validate_key(key.validations.latest("pk").pk)

    visit("post", "/o/acme/settings/keys/rotate/")
    call_command("rotate_master_key", "--json")
    call_command("check_secrets", "--json")
    call_command("dumpdata", output=str(HOME / "dump.json"))
    use()
    visit("get", f"/o/acme/settings/keys/{key.pk}/remove/")
    for target in BREAKABLE_ON_REMOVE:
        with breaking(target):
            visit("post", f"/o/acme/settings/keys/{key.pk}/remove/", {"reset": "on", "confirm": "on"})
    kept = ProviderKey.objects.filter(pk=key.pk).exists()
    dump("used")
    visit("post", f"/o/acme/settings/keys/{key.pk}/remove/", {"reset": "on", "confirm": "on"})
    look_around()
    close_organization(organization=acme, actor=owner, now=timezone.now())
    dump("closed")
    mails = [message.message().as_string() for message in getattr(mail, "outbox", [])]
    mails += [part for message in getattr(mail, "outbox", []) for part in (message.body, repr(message.alternatives))]
    (HOME / "mails.txt").write_text("\n".join(mails))
    responses.close()
    counted = {
        "statuses": seen,
        "outcomes": sorted(outcomes),
        "details": details,
        "kept_while_removal_broke": kept,
        "mails": len(mails),
        "tasks": len(payloads),
        "keys_left": ProviderKey.objects.filter(organization=acme).count(),
    }
    (HOME / "story.json").write_text(json.dumps(counted))


if __name__ == "__main__":
    main()
