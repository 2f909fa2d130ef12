"""No key in logs, error mails or error reports, not even where code forgets itself. Tests leak on purpose."""

from __future__ import annotations

import io
import logging
from base64 import b64encode
from collections.abc import Iterator

import pytest
from django.core import mail
from django.test import RequestFactory
from django.urls import reverse

from config.crash_mails import FewCrashMails
from config.error_report import RedactedReport
from config.redaction import RedactingFilter, redacted
from providers.adapters.secret import Secret
from providers.custody import sealing
from providers.models import ProviderKey
from tests.config.test_headers import in_production

# Made up; the part after the prefix is what is looked for.
CANARY = "canary-7f3e9d51c2b84a60-not-a-key"
NAMELESS = "Zq8canary7f3e9d51c2b84a60notakey"  # as Mistral's: no prefix tells what it is
KEYS = [
    f"sk-{CANARY}",
    f"sk-proj-{CANARY}",
    f"sk-ant-api03-{CANARY}",
    f"sk-or-v1-{CANARY}",
    f"AIza{CANARY}",
    f"AQ.{CANARY}",
    f"kf_0aB1cD2e_{CANARY}",
]


def pieces(secret: str) -> list[str]:
    return [secret[start : start + 12] for start in range(len(secret) - 11)]


def assert_absent(secret: str, text: str) -> None:
    forms = [*pieces(secret), b64encode(secret.encode()).decode(), secret.encode().hex()]
    assert [form for form in forms if form in text] == []


# The net itself -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(
    "sentence", ["{}", "key {} refused", "b'{}'", '{{"key": "{}"}}', "({},)", "Illegal header value b'{}\\n'"]
)
def test_keys_of_every_provider_are_crossed_out_by_their_look(sentence, key):
    assert_absent(CANARY, redacted(sentence.format(key)))


@pytest.mark.parametrize(
    "sentence",
    [
        "Authorization: Bearer {}",
        "authorization: bearer {}",
        "{{'Authorization': 'Bearer {}'}}",
        "Headers([('x-api-key', '{}'), ('accept', '*/*')])",
        "[(b'x-api-key', b'{}')]",
        "x-goog-api-key: {}",
        "{{'X-Goog-Api-Key': '{}'}}",
        "api-key={}",
        "api_key='{}'",
        'X-API-Key: "{}"',
        '\\"x-api-key\\": \\"{}\\"',
        "GET https://api.example/v1/models?key={} 200",
        "GET /v1/models?alt=sse&key={}&x=1",
        "https://api.example/?a=1&amp;api_key={}",
        "/next=%2Fv1%3Fkey%3D{}",
        "https://api.example/?access_token={}",
    ],
)
def test_values_of_headers_and_parameters_that_carry_keys_are_crossed_out(sentence):
    assert_absent(NAMELESS, redacted(sentence.format(NAMELESS)))


@pytest.mark.parametrize(
    "sentence",
    [
        "Validated key Default …a1b2 of OpenAI in 312 ms",
        'HTTP "GET /o/acme/settings?page=2&sort=key" 200',
        "provider_key.saved by alice@acme.example: OpenAI · Default",
        "task-9f1c finished; risk-averse wording kept; disk-usage 71 %",
        "openai/gpt-4.1-mini answered with 1,234 tokens",
    ],
)
def test_ordinary_sentences_stay_as_they_are(sentence):
    assert redacted(sentence) == sentence


def written_by(logger: logging.Logger, *arguments: object, **options: object) -> str:
    """What a handler with the filter writes of one call of `logger.error`."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.addFilter(RedactingFilter())
    logger.addHandler(handler)
    try:
        logger.error(*arguments, **options)  # type: ignore[arg-type]
    finally:
        logger.removeHandler(handler)
    return stream.getvalue()


def test_the_filter_reads_arguments_exceptions_and_stacks():
    logger = logging.getLogger("somebody.elses.library")
    try:
        raise ValueError(f"Illegal header value b'{KEYS[1]}'")
    except ValueError:
        text = written_by(logger, "sent %s with %r", {"x-api-key": NAMELESS}, KEYS[2].encode(), exc_info=True)

    assert "ValueError: Illegal header value" in text
    assert_absent(CANARY, text)
    assert_absent(NAMELESS, text)


def test_the_filter_keeps_a_record_that_cannot_be_formatted():
    text = written_by(logging.getLogger("broken"), f"%d items for {KEYS[0]}", "three")

    assert "items for ****" in text


HANDLERS = """
import logging.config, uvicorn, django
uvicorn.Config("config.asgi:application")  # as the command does, before it loads the application
import config.asgi
import httpx, aiohttp, asyncio, django_q.conf
names = [None, *logging.root.manager.loggerDict]
handlers = {(name or "root", type(each).__name__, "RedactingFilter" in [type(f).__name__ for f in each.filters])
            for name in names for each in logging.getLogger(name).handlers if type(each).__name__ != "NullHandler"}
print(sorted(handlers))
for name in ("uvicorn.access", "uvicorn.error", "django.server", "httpx", "providers.egress.client", "a.library"):
    logging.getLogger(name).warning('"%s %s HTTP/1.1" %d', "GET", "/x?key=" + "canary" * 4, 200)
"""


def test_every_logger_of_the_running_server_writes_through_the_filter():
    answers = in_production("-c", "import os; os.environ['DJANGO_SETTINGS_MODULE'] = 'config.settings'" + HANDLERS)

    assert answers.stdout.strip() == str([("django", "FewCrashMails", True), ("root", "StreamHandler", True)]), (
        answers.stderr
    )
    assert answers.stderr.count("/x?key=**** HTTP/1.1") == 6
    assert "canary" not in answers.stderr


# Reports --------------------------------------------------------------------------------------------------


@pytest.fixture
def crashing_seal(monkeypatch):
    """Sealing fails with the key in a local variable, in the exception's text and in its notes."""

    def crash(key: ProviderKey, secret: Secret) -> None:
        plaintext = headers = secret.reveal()
        error = RuntimeError(f"cannot seal {plaintext} {headers.encode()!r}")
        error.add_note(f"while sealing {plaintext}")
        raise error

    monkeypatch.setattr(sealing, "seal", crash)


@pytest.fixture(autouse=True)
def mails_of_crashes() -> FewCrashMails:
    """Which has mailed nothing before."""
    handler = next(each for each in logging.getLogger("django").handlers if isinstance(each, FewCrashMails))
    handler.begin()
    return handler


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What the console of the installation shows."""
    [console] = [each for each in logging.getLogger().handlers if each.name == "console"]
    stream = io.StringIO()
    before = console.setStream(stream)  # type: ignore[attr-defined]
    yield stream
    console.setStream(before)  # type: ignore[attr-defined]


def saving_url() -> str:
    return reverse("providers:save", args=["acme", "openai"])


@pytest.mark.parametrize("is_debug", [False, True])
@pytest.mark.parametrize("key", [KEYS[1], KEYS[4], NAMELESS, f"{NAMELESS}'<&>\""])
@pytest.mark.parametrize("accept", ["text/html", "text/plain"])
def test_a_crash_in_key_code_shows_no_key_to_anybody(as_alice, settings, log, crashing_seal, is_debug, key, accept):
    settings.DEBUG = is_debug
    settings.ADMINS = [("Operator", "operator@keyfare.example")]
    as_alice.raise_request_exception = False

    response = as_alice.post(
        f"{saving_url()}?key={key}",
        {"key": key, "label": "Default", "anyway": "on"},
        headers={"Accept": accept, "X-Api-Key": key, "Authorization": f"Bearer {key}"},
    )

    page = response.content.decode()
    assert "RuntimeError: cannot seal" in log.getvalue()
    assert response.status_code == 500
    assert ("RuntimeError" in page) is is_debug
    for secret in (CANARY, NAMELESS):
        assert_absent(secret, page)
        assert_absent(secret, log.getvalue())
        for message in mail.outbox:
            assert_absent(secret, message.subject + str(message.body) + str(message.message()))
    assert len(mail.outbox) == (0 if is_debug else 1)


@pytest.mark.parametrize("include_html", [False, True])
def test_the_mail_to_admins_tells_where_it_broke_and_no_value(
    as_alice, settings, crashing_seal, mails_of_crashes, include_html
):
    settings.ADMINS = [("Operator", "operator@keyfare.example")]
    as_alice.raise_request_exception = False
    handler = mails_of_crashes
    handler.include_html, before = include_html, handler.include_html
    try:
        as_alice.post(saving_url(), {"key": KEYS[1], "label": "My own label", "anyway": "on"})
    finally:
        handler.include_html = before

    [message] = mail.outbox
    text = str(message.message())
    assert "RuntimeError" in message.body
    assert "save_provider_key" in message.body
    assert "label" in message.body
    for value in ("My own label", settings.SECRET_KEY, settings.FERNET_KEYS[0], "sessionid = 'x"):
        assert value not in text
    assert_absent(CANARY, text)


def report_of(error: Exception) -> RedactedReport:
    request = RequestFactory().post("/o/acme/x?token=value-of-query", {"password": "posted-value", "note": "my note"})
    request.META["DATABASE_URL"] = "postgresql://keyfare:database-password@localhost/keyfare"
    request.COOKIES["theme"] = "value-of-cookie"
    return RedactedReport(request, type(error), error, error.__traceback__)


@pytest.mark.parametrize("is_debug", [False, True])
def test_reports_hold_no_variables_values_or_settings(settings, is_debug):
    settings.DEBUG = is_debug
    try:
        a_local_variable = "value-of-local"  # noqa: F841  # what a report must not show
        raise ValueError("posted-value is wrong")
    except ValueError as error:
        report = report_of(error)

    for text in (report.get_traceback_html(), report.get_traceback_text()):
        assert "ValueError" in text
        assert "note" in text
        for value in (
            "posted-value",
            "my note",
            "value-of-query",
            "value-of-cookie",
            "database-password",
            settings.SECRET_KEY,
            settings.FERNET_KEYS[0],
            "a_local_variable</td>",
        ):
            assert value not in text


def test_a_report_about_an_unreadable_post_is_still_made(settings):
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1

    assert "ValueError" in report_of(ValueError("x")).get_traceback_text()


def test_a_key_that_cannot_be_encoded_is_not_hinted_at():
    try:
        f"{NAMELESS}…".encode("ascii")
    except UnicodeEncodeError as error:
        report = report_of(error)

    assert_absent(NAMELESS, report.get_traceback_html() + report.get_traceback_text())
    assert "otakey…" not in report.get_traceback_html()
