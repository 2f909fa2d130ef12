from __future__ import annotations

import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import ExitStack
from functools import partial
from io import StringIO
from typing import Any, NoReturn

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from config.demo import Step, Story, StoryStuck
from config.demo_agents import how_to_call
from config.demo_clock import story_time
from config.installation import (
    prepare_database,
    refuse_new_secrets_for_old_database,
    start_again,
    write_env_file,
)
from organizations.typed_numbers import number_argument
from simulator.app import origins
from usage.amounts import not_covered

HOST = "127.0.0.1"
SIMULATOR_PORTS = range(9001, 10001)
START_PATIENCE_SECONDS = 60
UNMISTAKABLE = "abcdefghjkmnpqrstuvwxyz23456789"  # nothing that looks like something else, or ends a double click


class Command(BaseCommand):
    help = "Plays Keyfare's main job on simulated providers, prints what it cost, and serves the result."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--port", type=number_argument(least=1, most=65535), default=8000)
        parser.add_argument("--no-serve", action="store_true", help="exit after the summary")

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.FERNET_KEYS:
            self._write_env_file()
            start_again()
        if "demo" not in settings.ENV_FILE.parts:
            raise CommandError("The demo keeps to itself: run `make demo`, never this command on a real installation.")
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _stop)
        port, simulator_port = options["port"], settings.DEMO_SIMULATOR_PORT
        if not settings.KEYFARE_DEMO:
            raise CommandError(
                f"{settings.ENV_FILE.parent} was made by an earlier version of Keyfare. Delete that folder, then run "
                "`make demo` again."
            )
        if not options["no_serve"]:
            _refuse_taken_port(port, "Choose another with `make demo PORT=8001`.")
        _refuse_taken_port(
            simulator_port,
            "If this demo is running already, use it, or end it by Ctrl-C in its terminal. Else end what listens "
            "there: the demo's keys are bound to that port.",
        )
        console = Console(stderr=True)
        with ExitStack() as children:
            try:
                self._play(console, children, port=port, serve=not options["no_serve"])
            except KeyboardInterrupt:
                console.print("\nStopped. `make demo` goes on where this ended.")
            except StoryStuck as stuck:
                raise CommandError(str(stuck)) from None

    def _play(self, console: Console, children: ExitStack, *, port: int, serve: bool) -> None:
        os.environ["SITE_URL"] = f"http://localhost:{port}"  # for our children, who write links
        prepare_database(verbosity=0)
        _start(children, "simulate_providers", "--verbosity", "0", "--port", str(settings.DEMO_SIMULATOR_PORT))
        _wait_for(settings.DEMO_SIMULATOR_PORT, "provider simulator")
        story = Story(owner_password=settings.DEMO_PASSWORD)
        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
        with Progress(*columns, console=console) as progress:
            bar = progress.add_task("", total=None)
            with story_time() as clock:
                _tell(story.history(clock), progress, bar)
            _start(children, "qcluster")
            _tell(story.steps(), progress, bar)
            with ExitStack() as while_they_work:
                door = _start_door(while_they_work)
                _tell([Step("The agents at work through the gateway", partial(story.work_agents, door))], progress, bar)
            progress.update(bar, description="The story is told")
        call_command("detect_anomalies", stdout=StringIO())  # rolls up, too
        summary = story.summary(url=f"http://localhost:{port}")
        console.print(_table(summary))
        if serve:
            _start_web(children, port)
        if not (serve and self.stdout.isatty()):  # a person reads the last lines
            self.stdout.write(json.dumps(summary))
            self.stdout.flush()
        if serve:
            _show_login(console, summary)
        while serve:
            time.sleep(3600)

    def _write_env_file(self) -> None:
        if "demo" not in settings.ENV_FILE.parts:
            raise CommandError("The demo keeps to itself: run `make demo`.")
        refuse_new_secrets_for_old_database()
        port = _free_port()
        write_env_file(
            settings.ENV_FILE,
            KEYFARE_DEMO="1",
            DEMO_PASSWORD="".join(secrets.choice(UNMISTAKABLE) for _ in range(14)),
            DEMO_SIMULATOR_PORT=str(port),
            KEYFARE_BANNER="Demo: all model answers, prices and people are simulated. No key leaves this machine.",
            KEYFARE_TRIAL_CREDITS="200",
            KEYFARE_CALL_TIMEOUT_SECONDS="10",
            KEYFARE_CHECK_LEASE_SECONDS="20",
            KEYFARE_TASK_POLL_SECONDS="0.1",
            KEYFARE_STOP_GRACE_SECONDS="2",  # Ctrl-C ends it at once; the next `make demo` takes up what was cut off
            KEYFARE_PROVIDER_ORIGINS=",".join(
                f"{slug}={url}" for slug, url in origins(f"http://{HOST}:{port}").items()
            ),
        )


def _tell(steps: Iterable[Step], progress: Progress, bar: TaskID) -> None:
    steps = list(steps)
    progress.update(bar, total=(progress.tasks[bar].total or 0) + len(steps))
    for step in steps:
        progress.update(bar, description=step.title)
        step.run()
        progress.advance(bar)


def _table(summary: dict[str, Any]) -> Table:
    table = Table(title="What the checks cost", show_header=False)
    for name, count in summary["checks"].items():
        table.add_row(f"Checks, {name.replace('_', ' ')}", str(count))
    table.add_row("Credits charged", str(summary["credits_charged"]))
    table.add_row("Credits available", str(summary["credits_available"]))
    missing = not_covered(unpriced=summary["unpriced_events"], unanswered=summary["unanswered_events"])
    table.add_row("Model calls on own keys", f"{summary['usd_calls']}{f' ({missing})' if missing else ''}")
    table.add_row("Estimated USD of these", summary["estimated_usd_shown"])
    table.add_row("Model calls, Managed", f"{summary['managed_calls']}, paid with credits")
    for agent, calls in summary["gateway"]["calls"].items():
        table.add_row(f"Calls of the agent {agent}", str(calls))
    for anomaly in summary["anomalies"]:
        table.add_row(f"Anomaly since {anomaly['since']} UTC", f"{anomaly['title']} (driven by {anomaly['drivers']})")
    table.add_row("Ledger verified", "yes" if summary["ledger_verified"] else "NO")
    table.add_row("Keys connected", ", ".join(summary["keys_connected"]))
    before = summary["history"]
    table.add_row(
        f"The {before['days']} days before",
        f"{sum(before['checks'].values())} checks, {before['credits_charged']} credits",
    )
    return table


def _show_login(console: Console, summary: dict[str, Any]) -> None:
    """The last lines, each with one thing to copy."""
    for line in (
        "",
        *how_to_call(summary["gateway"]["tokens"], url=summary["url"]),
        "",
        f"Mails are kept in {settings.ENV_FILE.parent / 'mail'}. Ctrl-C ends the demo.",
        "Open this address, and log in with this e-mail and this password:",
        "",
        summary["url"],
        summary["login"]["email"],
        summary["login"]["password"],
    ):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def _start(children: ExitStack, *arguments: str) -> None:
    _spawn(children, [sys.executable, "manage.py", *arguments])


def _start_door(children: ExitStack) -> str:
    """The address of the gateway's door by itself, on a port of its own."""
    port = _free_port()
    command = ["-m", "uvicorn", "config.gateway:application", "--host", HOST, "--port", str(port), "--no-access-log"]
    _spawn(children, [sys.executable, *command, "--log-level", "warning"])
    _wait_for(port, "gateway")
    return f"http://{HOST}:{port}"


def _start_web(children: ExitStack, port: int) -> None:
    command = [
        "-m",
        "uvicorn",
        "config.asgi:application",
        "--host",
        HOST,
        "--port",
        str(port),
        "--no-access-log",
        "--no-proxy-headers",
    ]
    _spawn(children, [sys.executable, *command, "--log-level", "warning"])
    _wait_for(port, "web server")


def _wait_for(port: int, what: str) -> None:
    give_up_at = time.monotonic() + START_PATIENCE_SECONDS
    while time.monotonic() < give_up_at:
        with socket.socket() as probe:
            if probe.connect_ex((HOST, port)) == 0:
                return
        time.sleep(0.1)
    raise StoryStuck(f"The {what} did not start on port {port}.")


def _spawn(children: ExitStack, command: list[str]) -> None:
    """Start a child whose output goes to standard error and who ends, with its own children, when we do."""
    child = subprocess.Popen(  # noqa: S603  # our own command line
        [sys.executable, "-m", "config.child", str(os.getpid()), *command],
        cwd=settings.BASE_DIR,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr,
        start_new_session=True,  # Ctrl-C is for us; we tell them
    )
    children.callback(_end, child)


def _end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    child.wait()


def _free_port() -> int:
    """Any: of two demos on one computer each keeps its own, also while it does not run."""
    for port in secrets.SystemRandom().sample(SIMULATOR_PORTS, len(SIMULATOR_PORTS)):
        if not _is_taken(port):
            return port
    raise CommandError(f"No port from {SIMULATOR_PORTS[0]} to {SIMULATOR_PORTS[-1]} is free for the simulator.")


def _is_taken(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return True
    return False


def _refuse_taken_port(port: int, advice: str) -> None:
    if _is_taken(port):
        raise CommandError(f"Port {port} is taken. {advice}")


def _stop(signum: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt
