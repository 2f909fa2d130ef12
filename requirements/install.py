"""
Installs a lock file by pip, with one line that says how far it is; all of pip's own words if it fails.

    .venv/bin/python requirements/install.py requirements/base.txt
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

PIP = ["-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--progress-bar", "off", "--require-hashes"]
# A package of the lock, as pip names it: by requirement, or by a file that lies on this machine.
FOUND = re.compile(r"(?:Collecting|Requirement already satisfied:|Processing (?:\S*/)?)\s*([\w.-]+?)(?:==|-\d|\s)")


def install(lock: str) -> int:
    """pip's exit code. A terminal gets a line that is written over, anything else one every ten packages."""
    wanted = sum(line[:1].isalnum() for line in Path(lock).read_text().splitlines())
    said, found, started = [], 0, time.monotonic()
    command = [sys.executable, *PIP, "-r", lock]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as pip:  # noqa: S603
        assert pip.stdout is not None  # noqa: S101  # for the type checker
        for line in pip.stdout:
            said.append(line)
            if line.startswith("Ignoring "):  # of another system
                wanted -= 1
            elif package := FOUND.match(line):
                found += 1
                show(f"Fetching packages: {found} of {wanted} ({package[1]})", is_due=found % 10 == 1)
            elif line.startswith("Installing collected packages"):
                show("Installing them, which takes a moment…", is_due=True)
    if pip.returncode:
        show("pip could not install the packages:", is_due=True)
        sys.stderr.write("\n" + "".join(said))
    else:
        show(f"Installed {lock} in {time.monotonic() - started:.0f} s.", is_due=True)
        sys.stderr.write("\n" if sys.stderr.isatty() else "")
    return pip.returncode


def show(text: str, *, is_due: bool) -> None:
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{text[:79]}")
    elif is_due:
        sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(install(sys.argv[1]))
