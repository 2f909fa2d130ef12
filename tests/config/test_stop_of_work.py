"""Who waits for background work reads when it has stopped, and ADMINS are mailed once."""

from __future__ import annotations

import re
import threading
import time
from datetime import timedelta
from uuid import uuid4

import pytest
from django.core import mail
from django.db import connection
from django.urls import reverse
from django.utils import timezone
from django_q.conf import Conf
from django_q.models import OrmQ

from candidates.briefings import request_draft
from candidates.models import CandidateCheck
from config.models import WorkerCluster
from config.worker import alarm, heartbeat
from providers.keys.validation import request_validation
from providers.models import ProviderKey
from tests.builders import connect_key, connect_managed_key, give_credits, import_people, write_briefing
from tests.candidates.test_check_pages import start

STOPPED = "Background work has stopped since"


@pytest.fixture(autouse=True)
def _tasks_wait_for_a_worker(monkeypatch):
    monkeypatch.setattr(Conf, "SYNC", False)


def cluster(*, silent_for: timedelta) -> WorkerCluster:
    beat = timezone.now() - silent_for
    return WorkerCluster.objects.create(pk=uuid4(), host="one", started_at=beat, beat_at=beat)


def words(answer) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", answer.content.decode()).split())


@pytest.fixture
def running_check(acme, simulated_providers) -> CandidateCheck:
    connect_managed_key()
    give_credits(acme, 20)
    briefing = write_briefing(acme, ("Django", "must"))
    check, other = start(briefing, *import_people(acme, "Builds Django.", "Builds Rails."))
    # Silence is said while some of the batch is in the hands of a worker, too.
    CandidateCheck.objects.filter(pk=other.pk).update(status=CandidateCheck.Status.IN_PROGRESS)
    return check


@pytest.fixture
def waiting_pages(acme, alice, running_check) -> list[str]:
    key = connect_key(acme)
    ProviderKey.objects.filter(pk=key.pk).update(status=ProviderKey.Status.SAVED)
    request_validation(key=key, actor=None, now=timezone.now())
    draft = request_draft(
        organization=acme, title="Engineer", job_description="We need Django.", actor=alice, now=timezone.now()
    )
    return [
        reverse("candidates:briefing", args=["acme", running_check.briefing_id]) + "?tab=results",
        reverse("candidates:check", args=["acme", running_check.pk]),
        reverse("candidates:briefing", args=["acme", draft.pk]),
        reverse("settings", args=["acme"]),
    ]


def test_every_page_that_waits_says_since_when_nothing_is_done(as_alice, waiting_pages):
    last = cluster(silent_for=timedelta(minutes=10))
    for page in waiting_pages:
        said = words(as_alice.get(page))
        assert STOPPED in said, page
        assert f"{last.beat_at:%H:%M} UTC." in said, page
        assert "has been told" not in said, page


def test_pages_say_nothing_while_work_goes_on(as_alice, waiting_pages):
    cluster(silent_for=timedelta(days=2))
    cluster(silent_for=timedelta(seconds=20))
    for page in waiting_pages:
        assert STOPPED not in words(as_alice.get(page)), page


def test_a_worker_that_was_never_started_is_named(as_alice, waiting_pages):
    for page in waiting_pages:
        assert "Background work was never started" in words(as_alice.get(page)), page


def test_who_waits_for_a_mail_reads_it_too(client, db):
    cluster(silent_for=timedelta(minutes=10))
    for page in (reverse("account_reset_password_done"), reverse("account_email_verification_sent")):
        assert STOPPED in words(client.get(page)), page


def test_pages_that_wait_for_nothing_say_nothing(as_alice, acme):
    cluster(silent_for=timedelta(minutes=10))
    assert STOPPED not in words(as_alice.get(reverse("settings", args=["acme"])))


def test_a_stop_of_another_day_is_dated(as_alice, running_check):
    last = cluster(silent_for=timedelta(days=3))
    page = as_alice.get(reverse("candidates:check", args=["acme", running_check.pk]))
    assert f"{STOPPED} {last.beat_at.day} {last.beat_at:%b %Y, %H:%M} UTC." in words(page)


@pytest.mark.django_db(transaction=True)
def test_admins_are_mailed_once_and_only_then_pages_say_so(settings, as_alice, running_check):
    settings.ADMINS = [("Operator", "operator@keyfare.example")]
    settings.MAIL_TRANSPORT = "django.core.mail.backends.locmem.EmailBackend"
    cluster(silent_for=timedelta(minutes=10))
    page = reverse("candidates:check", args=["acme", running_check.pk])

    def look() -> None:
        alarm.stop_of_work()
        connection.close()

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_until(lambda: WorkerCluster.objects.filter(alarm_sent_at__isnull=False).exists())
    said = words(as_alice.get(page))

    assert [message.to for message in mail.outbox] == [["operator@keyfare.example"]]
    assert "Whoever runs this installation has been told." in said


@pytest.mark.django_db(transaction=True)
def test_a_mail_that_could_not_leave_is_not_claimed_and_tried_again_later(settings):
    settings.ADMINS = [("Operator", "operator@keyfare.example")]
    settings.MAIL_TRANSPORT = ""
    last = cluster(silent_for=timedelta(minutes=10))

    assert alarm.stop_of_work() == alarm.Stop(since=last.beat_at, is_told=False)
    wait_until(no_alarm_runs)
    settings.MAIL_TRANSPORT = "django.core.mail.backends.locmem.EmailBackend"
    alarm.stop_of_work()
    assert mail.outbox == []

    WorkerCluster.objects.update(alarm_tried_at=timezone.now() - alarm.AGAIN_AFTER - timedelta(seconds=1))
    alarm.stop_of_work()
    wait_until(lambda: WorkerCluster.objects.filter(alarm_sent_at__isnull=False).exists())
    assert len(mail.outbox) == 1


def test_a_new_beat_ends_the_stop_and_arms_the_alarm_again(settings, db):
    last = cluster(silent_for=timedelta(minutes=10))
    WorkerCluster.objects.update(alarm_tried_at=timezone.now(), alarm_sent_at=timezone.now())

    heartbeat.beat(last.pk)

    last.refresh_from_db()
    assert alarm.stop_of_work() is None
    assert (last.alarm_tried_at, last.alarm_sent_at) == (None, None)


@pytest.mark.parametrize(
    ("silent_for", "value", "is_bad"),
    [(None, "Never started", True), (timedelta(seconds=12), "Runs", False), (timedelta(minutes=9), "Stopped", True)],
)
def test_the_staff_dashboard_tells_of_the_worker(as_staff, silent_for, value, is_bad):
    if silent_for is not None:
        cluster(silent_for=silent_for)
    page = as_staff.get(reverse("admin:index"))
    figure = next(each for each in page.context["figures"] if each["label"] == "Background work")
    assert figure["value"] == value
    assert figure.get("is_bad", False) is is_bad
    assert (f'dark:text-red-400">{value}<' in page.content.decode()) is is_bad


def test_the_staff_dashboard_tells_of_the_task_that_waits_longest(as_staff, db):
    cluster(silent_for=timedelta(seconds=5))
    OrmQ.objects.create(key="keyfare", payload="", lock=timezone.now() - timedelta(minutes=7))
    OrmQ.objects.create(key="keyfare", payload="", lock=timezone.now() + timedelta(minutes=7))
    page = as_staff.get(reverse("admin:index"))
    figure = next(each for each in page.context["figures"] if each["label"] == "Tasks waiting")
    assert figure["value"] == 2
    assert figure["is_bad"]
    assert "7 minutes ago" in figure["note"].replace("\xa0", " ")


def test_the_staff_dashboard_tells_of_a_clock_that_is_off(as_staff, monkeypatch):
    def labels():
        return [each["label"] for each in as_staff.get(reverse("admin:index")).context["figures"]]

    assert "Clock" not in labels()
    truth = time.time
    monkeypatch.setattr(time, "time", lambda: truth() + 3600)
    assert "Clock" in labels()


def wait_until(holds) -> None:
    give_up_at = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < give_up_at
        time.sleep(0.02)


def no_alarm_runs() -> bool:
    return all(thread.name != alarm.THREAD for thread in threading.enumerate())
