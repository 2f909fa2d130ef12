"""The commands of docs/gateway.md do what it says."""

from __future__ import annotations

import json
import os
import re
import subprocess

from django.conf import settings

from tests.gateway.door.conftest import RunningDoor

DOCUMENT = settings.BASE_DIR / "docs" / "gateway.md"
SCRIPTS = re.findall(r"```sh\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)


def run(script: str, door: RunningDoor) -> str:
    environment = {**os.environ, "KEYFARE_URL": door.address, "KEYFARE_TOKEN": door.token, "no_proxy": "*"}
    done = subprocess.run(["/bin/sh", "-euc", script], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_command_of_the_document_works(running_door: RunningDoor) -> None:
    chat, models, direct, refused, labelled, receipt = (json.loads(run(script, running_door)) for script in SCRIPTS)
    assert chat["object"] == direct["object"] == labelled["object"] == "chat.completion"
    assert "openai-agent" in [row["id"] for row in models["data"]]
    assert refused["error"]["code"] == "unknown_token"
    assert receipt["action"] == "openai-agent"
    assert receipt["costNanousd"]
    first, called_directly, of_the_run, _ = running_door.events
    assert called_directly.action == "direct"
    assert of_the_run.labels == {"team": "finance"}
    assert len({first.run_id, called_directly.run_id, of_the_run.run_id}) == 3


def test_every_error_of_the_doors_is_in_the_document() -> None:
    told = DOCUMENT.read_text()
    sources = (settings.BASE_DIR / "gateway" / "door").glob("*.py")
    codes = {
        code
        for source in sources
        for code in re.findall(r"(?:DoorError|_too_many)\(\s*(?:\d+,\s*)?\"(\w+)\"", source.read_text())
    }
    assert len(codes) > 15
    assert not {code for code in codes - {"internal"} if f"`{code}`" not in told}
