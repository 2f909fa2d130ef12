"""A worker runs Keyfare's own tasks and nothing else, whatever a row says; one bad schedule stops no other job."""

from __future__ import annotations

import datetime
import os
import uuid
from pathlib import Path
from typing import Any

import pytest
from django.db.models.functions import Now
from django.urls import reverse
from django.utils import timezone
from django.utils.module_loading import import_string
from django_q import cluster
from django_q.brokers import get_broker
from django_q.conf import Conf
from django_q.models import Failure, OrmQ, Schedule, Task
from django_q.signing import SignedPackage
from django_q.tasks import async_task

from config import own_tasks, schedules
from config.models import WorkerCluster
from config.onboarding import ensure_platform
from config.schedules import JOBS, NoSuchJob, ensure_schedules, next_time, start_due_jobs
from config.worker.board import Board
from organizations.models import AuditEvent
from organizations.outbox import backend


@pytest.fixture
def job(db) -> Schedule:
    ensure_schedules()
    Schedule.objects.update(next_run=timezone.now() + datetime.timedelta(hours=1))
    return Schedule.objects.get(name="resume_work")


def handed_out() -> list[dict[str, Any]]:
    """What the pusher of a cluster would put before its workers."""
    broker = get_broker()
    broker.serve(WorkerCluster.objects.create(id=uuid.uuid4(), host="here").pk, Board(2))
    return [SignedPackage.loads(payload) for _, payload in broker._take()]


def waiting() -> list[dict[str, Any]]:
    return [SignedPackage.loads(row.payload) for row in OrmQ.objects.order_by("pk")]


def put_into_the_queue(func: Any, *args: Any, **options: Any) -> None:
    """As somebody who has the SECRET_KEY, or a version before this one, could."""
    task = {"id": "1" * 32, "name": "x", "func": func, "args": args, "kwargs": {}, "started": timezone.now(), **options}
    wait(SignedPackage.dumps(task))


def wait(payload: str) -> None:
    """From now by the database, as tasks do: on SQLite, microseconds of ours would be later than its milliseconds."""
    OrmQ.objects.create(key="keyfare", payload=payload, lock=Now())


def make_due(schedule: Schedule, **changes: Any) -> None:
    overdue = timezone.now() - datetime.timedelta(minutes=3, seconds=30)
    Schedule.objects.filter(pk=schedule.pk).update(**{"next_run": overdue, **changes})


# Where tasks run ------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _queue_without_a_cluster(monkeypatch) -> None:
    monkeypatch.setattr(Conf, "SYNC", False)


FOREIGN: dict[str, tuple[Any, tuple[Any, ...], dict[str, Any]]] = {
    "a shell": ("os.system", ("true",), {}),
    "a function by reference": (os.getpid, (), {}),
    "a builtin": ("builtins.eval", ("1",), {}),
    "the command runner": ("django.core.management.call_command", ("flush",), {}),
    "what only looks like ours": ("config.schedules.run.__globals__", (), {}),
    "ours with another's hook": ("config.schedules.run", ("resume_work",), {"hook": "os.system"}),
    "ours with another's chain": ("config.schedules.run", ("resume_work",), {"chain": [("os.system", ("true",))]}),
    "ours that asks to be run inline": ("config.schedules.run", ("resume_work",), {"sync": True}),
    "ours with a time that is none": ("config.schedules.run", ("resume_work",), {"timeout": "soon"}),
    "ours with arguments that are none": ("config.schedules.run", (), {"args": 5}),
    "ours with an object among its arguments": ("config.schedules.run", (os.getpid,), {}),
    "ours that fits no message": ("config.schedules.run", ("x" * 300_000,), {}),
    "ours with a group that fits no column": ("config.schedules.run", ("resume_work",), {"group": "g" * 101}),
    "a name that is no text": ("os.system", ("true",), {"name": "\ud800"}),
    "a name that no column takes": ("os.system", ("true",), {"id": "\0", "name": "a\0b", "group": "\0"}),
    "nothing at all": ("", (), {}),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_task_that_is_not_ours_reaches_no_worker_and_stands_among_the_failed(db, kind):
    func, args, options = FOREIGN[kind]
    put_into_the_queue(func, *args, **options)

    assert handed_out() == []
    assert not OrmQ.objects.exists()
    assert own_tasks.NOT_OURS in Failure.objects.get().result


@pytest.mark.parametrize("kind", ["a shell", "ours with another's hook", "ours with another's chain"])
def test_a_task_that_is_not_ours_is_not_even_queued(db, kind):
    func, args, options = FOREIGN[kind]

    with pytest.raises(own_tasks.NotOurTask):
        async_task(func, *args, q_options=options)

    assert not OrmQ.objects.exists()


def test_where_tasks_run_inline_foreign_ones_do_not(db, monkeypatch):
    monkeypatch.setattr(Conf, "SYNC", True)

    with pytest.raises(own_tasks.NotOurTask):
        async_task("tests.config.test_own_tasks.hooked")

    assert not Task.objects.exists()


def test_a_foreign_task_does_not_hold_up_ours(db):
    put_into_the_queue("os.system", "true")
    async_task("config.schedules.run", "resume_work")
    found: list[dict[str, Any]] = []
    while OrmQ.objects.filter(lock__lte=Now()).exists():
        found += handed_out()

    assert [task["func"] for task in found] == ["config.schedules.run"]


@pytest.mark.parametrize("options", [{"hook": "os.system"}, {"chain": [("os.system", ("true",))]}], ids=str)
def test_ours_is_not_taken_for_the_double_of_a_foreign_one_that_looks_alike(db, options):
    put_into_the_queue("config.schedules.run", "resume_work", group="resume_work", **options)
    async_task("config.schedules.run", "resume_work", q_options={"group": "resume_work"})

    assert [task["args"] for task in handed_out()] == [("resume_work",)]


def test_ours_does_not_wait_until_many_foreign_ones_are_gone(db):
    for _ in range(150):  # of a SECRET_KEY that was replaced, say
        wait("a:b:c")
    async_task("config.schedules.run", "resume_work")

    assert [task["func"] for task in handed_out()] == ["config.schedules.run"]
    handed_out()
    assert OrmQ.objects.count() == 1


def test_a_payload_that_is_no_task_leaves_the_queue(db):
    for payload in ("", "a:b:c", SignedPackage.dumps("no task"), SignedPackage.dumps({"func": 1})):
        wait(payload)

    assert [handed_out() for _ in range(4)] == [[]] * 4
    assert not OrmQ.objects.exists()


def test_every_task_that_the_code_queues_is_declared_and_exists():
    root = Path(schedules.__file__).parents[1]
    apps = ("config", "candidates", "gateway", "routing", "providers", "billing", "usage", "organizations")
    texts = [file.read_text() for app in apps for file in (root / app).rglob("*.py")]
    queued = {name for name in own_tasks.TASKS if any(f'async_task("{name}"' in text for text in texts)}

    assert sum(text.count('async_task("') for text in texts) == len(queued)
    assert own_tasks.TASKS - queued == {schedules.RUN, backend.TASK}
    assert all(callable(import_string(name)) for name in own_tasks.TASKS)


@pytest.mark.parametrize("command", ["flush", "shell", "", "createsuperuser", "resume_work --help"])
def test_our_task_runs_no_command_but_the_jobs(db, command):
    with pytest.raises(NoSuchJob):
        schedules.run(command)


def test_no_hook_of_a_row_is_run_wherever_a_result_is_saved(db, tmp_path):
    """django-q2 calls it in every process that saves such a row."""
    file = tmp_path / "hooked"
    now = timezone.now()
    hook = f"{__name__}.hooked"
    Task.objects.create(
        id="1" * 32, name="x", func="f", hook=hook, group=str(file), started=now, stopped=now, success=True
    )

    assert not file.exists()


def hooked(task: Task) -> None:
    Path(task.group).touch()


# The clock ------------------------------------------------------------------------------------------------


def test_the_cluster_starts_jobs_by_our_clock():
    assert cluster.scheduler is start_due_jobs


def test_a_job_that_is_due_is_queued_once_and_set_to_its_next_time(job):
    make_due(job)

    start_due_jobs()
    start_due_jobs()

    (task,) = waiting()
    assert (task["func"], task["args"], task["kwargs"]) == ("config.schedules.run", ("resume_work",), {})
    assert own_tasks.is_ours(task)
    job.refresh_from_db()
    assert timezone.now() < job.next_run <= timezone.now() + datetime.timedelta(minutes=1)
    assert job.task == task["id"]


REWRITTEN = {
    "another function": {"func": "os.system"},
    "another command": {"args": "'flush'"},
    "arguments that are no Python": {"args": "(("},
    "keyword arguments that are none": {"kwargs": "nonsense("},
    "options in keyword arguments": {"kwargs": "{'q_options': {'hook': 'os.system', 'timeout': -1}}"},
    "a hook": {"hook": "os.system"},
    "another cluster": {"cluster": "elsewhere"},
    "a date in a keyword": {"intended_date_kwarg": "command"},
    "cron without cron": {"schedule_type": Schedule.CRON, "cron": "nonsense"},
    "a type that is none": {"schedule_type": "ZZ"},
    "once": {"schedule_type": Schedule.ONCE},
    "no time at all": {"next_run": None},
    "the beginning of time": {"next_run": datetime.datetime(1, 1, 2, tzinfo=datetime.UTC)},
    "the end of time": {"next_run": datetime.datetime(9999, 12, 30, tzinfo=datetime.UTC)},
    "no minutes": {"minutes": 0},
    "below any number of times": {"repeats": -7},
    "the last time": {"repeats": 1},
}


@pytest.mark.parametrize("kind", REWRITTEN)
def test_whatever_a_row_says_our_job_runs_and_the_others_too(job, kind):
    make_due(job, **REWRITTEN[kind])
    make_due(Schedule.objects.get(name="roll_up_usage"))

    for _ in range(2):
        start_due_jobs()

    assert sorted(task["args"] for task in waiting()) == [("resume_work",), ("roll_up_usage",)]
    assert all(own_tasks.is_ours(task) for task in waiting())
    job.refresh_from_db()
    assert timezone.now() < job.next_run < timezone.now() + datetime.timedelta(days=1)


def test_a_row_that_is_no_job_of_ours_starts_nothing(job):
    for name in (None, "mine", "Resume_work"):
        Schedule.objects.create(name=name, func="os.system", args="'true'", schedule_type=Schedule.ONCE)
    Schedule.objects.create(name="resume_work", func="os.system", args="'true'")  # a second one by the same name

    start_due_jobs()

    assert waiting() == []


def test_one_job_that_cannot_be_started_stops_no_other(job, monkeypatch):
    for each in Schedule.objects.all():
        make_due(each)

    def broken(schedule: Schedule, now: datetime.datetime) -> datetime.datetime:
        if schedule.name == "resume_work":
            raise OverflowError
        return next_time(schedule, now)

    monkeypatch.setattr(schedules, "next_time", broken)
    start_due_jobs()

    assert {task["args"][0] for task in waiting()} == JOBS.keys() - {"resume_work"}


def test_a_job_whose_row_is_gone_comes_back(job):
    Schedule.objects.all().delete()

    start_due_jobs()  # writes the rows, each due from now
    start_due_jobs()

    assert {task["args"][0] for task in waiting()} == JOBS.keys()


def test_a_job_that_is_switched_off_does_not_run(job):
    make_due(job, repeats=0)

    start_due_jobs()

    assert waiting() == []


@pytest.mark.parametrize("kind", [Schedule.HOURLY, Schedule.DAILY, Schedule.WEEKLY, Schedule.MONTHLY])
def test_a_pace_that_staff_chose_is_kept_and_nothing_is_made_up_for(kind):
    now = datetime.datetime(2026, 3, 10, 12, 0, tzinfo=datetime.UTC)
    was = datetime.datetime(2026, 2, 1, 3, 30, tzinfo=datetime.UTC)

    following = next_time(Schedule(name="resume_work", schedule_type=kind, next_run=was), now)

    assert now < following <= now + datetime.timedelta(days=31)
    assert following.minute == 30


def test_minutes_keep_their_beat():
    now = datetime.datetime(2026, 3, 10, 12, 1, tzinfo=datetime.UTC)
    was = datetime.datetime(2026, 3, 9, 12, 0, tzinfo=datetime.UTC)

    following = next_time(Schedule(name="x", schedule_type=Schedule.MINUTES, minutes=5, next_run=was), now)

    assert following == datetime.datetime(2026, 3, 10, 12, 5, tzinfo=datetime.UTC)


# The admin ------------------------------------------------------------------------------------------------


def times(**changes: Any) -> dict[str, Any]:
    tomorrow = timezone.now() + datetime.timedelta(days=1)
    return {
        "runs": "on",
        "schedule_type": "I",
        "minutes": "10",
        "next_run_0": f"{tomorrow:%Y-%m-%d}",
        "next_run_1": "04:00:00",
        **changes,
    }


def change(job: Schedule) -> str:
    return reverse("admin:django_q_schedule_change", args=[job.pk])


def test_staff_change_times_and_nothing_else(as_staff, staff, job):
    platform = ensure_platform()
    posted = times(func="os.system", args="'true'", kwargs="x=1", hook="os.system", name="mine", cluster="x", cron="x")

    response = as_staff.post(change(job), {**posted, "repeats": "7", "intended_date_kwarg": "x", "task": "x"})

    before, job = job, Schedule.objects.get(pk=job.pk)
    assert response.status_code == 302
    assert (job.minutes, job.next_run.hour) == (10, 4)
    for field in (
        "name",
        "func",
        "args",
        "kwargs",
        "hook",
        "cluster",
        "cron",
        "repeats",
        "intended_date_kwarg",
        "task",
    ):
        assert getattr(job, field) == getattr(before, field), field
    event = AuditEvent.objects.for_organization(platform).get()
    assert (event.action, event.target, event.actor) == ("schedule.changed", "resume_work", staff)
    assert event.details["minutes"] == "10"


def test_staff_switch_a_job_off_and_on(as_staff, job):
    as_staff.post(change(job), times(runs=""))
    off = Schedule.objects.get(pk=job.pk)
    as_staff.post(change(job), times())

    assert off.repeats == 0
    assert Schedule.objects.get(pk=job.pk).repeats == -1


@pytest.mark.parametrize(
    "bad",
    [
        {"minutes": ""},
        {"minutes": "0"},
        {"minutes": "99999"},
        {"schedule_type": "C"},
        {"schedule_type": "O"},
        {"next_run_0": "9999-01-01"},
        {"next_run_0": "0001-01-01"},
        {"next_run_0": "", "next_run_1": ""},
    ],
)
def test_a_time_that_would_stop_a_job_is_refused(as_staff, job, bad):
    response = as_staff.post(change(job), times(**bad))

    assert response.status_code == 200
    assert response.context["adminform"].form.errors
    assert Schedule.objects.get(pk=job.pk).minutes == JOBS["resume_work"]


def test_staff_add_no_schedule_and_delete_only_what_never_runs(as_staff, job):
    foreign = Schedule.objects.create(name="mine", func="os.system", args="'true'")

    added = as_staff.post(reverse("admin:django_q_schedule_add"), {**times(), "func": "os.system"})
    changed = as_staff.post(change(foreign), times())
    kept = as_staff.post(reverse("admin:django_q_schedule_delete", args=[job.pk]), {"post": "yes"})
    gone = as_staff.post(reverse("admin:django_q_schedule_delete", args=[foreign.pk]), {"post": "yes"})

    assert [added.status_code, changed.status_code, kept.status_code, gone.status_code] == [403, 403, 403, 302]
    assert set(Schedule.objects.values_list("name", flat=True)) == set(JOBS)
    assert "Not ours, never runs" not in as_staff.get(reverse("admin:django_q_schedule_changelist")).content.decode()


def failed(func: str, *args: Any, **more: Any) -> Task:
    now = timezone.now()
    number = Task.objects.count()
    return Task.objects.create(
        id=f"{number:032}", name=func, func=func, args=args, started=now, stopped=now, success=False, **more
    )


def test_only_our_failed_tasks_are_submitted_again_and_without_their_hook(as_staff):
    ours = failed("config.schedules.run", "resume_work", hook="os.system", cluster="elsewhere")
    foreign = failed("os.system", "true")
    chosen = {"action": "submit_again", "_selected_action": [ours.pk, foreign.pk]}

    response = as_staff.post(reverse("admin:django_q_failure_changelist"), chosen, follow=True)

    (task,) = waiting()
    assert (task["func"], task["args"]) == ("config.schedules.run", ("resume_work",))
    assert own_tasks.is_ours(task)
    assert list(Failure.objects.values_list("pk", flat=True)) == [foreign.pk]
    assert "1 left out" in response.content.decode()


@pytest.mark.parametrize("command", JOBS)
def test_a_job_that_runs_by_the_clock_is_quiet(db, command, capfd):
    schedules.run(command)

    assert capfd.readouterr() == ("", "")
