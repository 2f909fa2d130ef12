from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from providers.adapters.base import HttpCall
from providers.catalog import PROVIDERS
from providers.egress.addresses import ANYWHERE
from providers.egress.short_calls import send_now

PROJECT = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.10", "example.com", "::", ""])  # noqa: S104 # refused
def test_the_simulator_listens_on_this_machine_only(host):
    with pytest.raises(CommandError, match="only listens on this machine"):
        call_command("simulate_providers", "--host", host)


def test_a_taken_port_is_said_plainly():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]

        with pytest.raises(CommandError, match=f"Port {port} on 127.0.0.1 is not free"):
            call_command("simulate_providers", "--port", str(port))


@pytest.mark.parametrize("delay", ["-1", "1000", "nan"])
def test_a_delay_is_between_nothing_and_ten_minutes(delay):
    with pytest.raises(CommandError, match="between 0 and 600 seconds"):
        call_command("simulate_providers", "--delay", delay)


def test_the_command_prints_the_setting_and_serves():
    command = [sys.executable, "manage.py", "simulate_providers", "--port", "0", "--delay", "0.01"]
    with subprocess.Popen(  # our own command
        command, cwd=PROJECT, env=dict(os.environ), stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            line = next(line for line in process.stdout if line.startswith("KEYFARE_PROVIDER_ORIGINS="))
            setting = dict(pair.split("=", 1) for pair in line.strip().split("=", 1)[1].split(","))
            answer = send_now(
                HttpCall("GET", f"{setting['openrouter']}/models", {}, None),
                credential_headers={},
                timeout_seconds=10,
                reach=ANYWHERE,
            )
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=20)

    assert set(setting) == set(PROVIDERS)
    assert setting["google"].endswith("/google/v1beta")
    assert answer.status == 200
