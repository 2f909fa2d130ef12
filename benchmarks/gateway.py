"""
What the doors of the gateway cost beside a bare forwarder in the same run, on both databases.

    python -m benchmarks.gateway [--seconds 3] [--rounds 3] [--database postgresql|sqlite] [--other NAME=URL ...]

The gateway (`uvicorn config.gateway:application`, on a fresh database and as its serving role, with agents and a token
made through services) has one core for itself; the clients, the provider behind it and PostgreSQL have the other one.
The floor is `benchmarks.gateway_forwarder`, on the gateway's core while that is idle. Other gateways are measured where
they are: URL is their base URL, with the token their clients send as its user (http://token@127.0.0.1:8080/v1); the
model they are asked for is gpt-4.1-mini, and what they cost is that of the process listening there and its children.

Per round and gateway: 64 connections, 1 connection, 64 connections to a provider that takes 50 ms, 256 streams of 100
events. Printed are the medians of the rounds. Ends with one line of JSON: `forwarder_ratio` is our answers a second by
the forwarder's at 64 connections, `cpu_ms` processor time a request there; `added_…_ms` what one connection waits
longer than at the provider itself; `direct_ratio_50ms` answers a second by those of the slow provider asked directly;
`us_per_chunk` processor time an event of a stream; `start_s` until the first call was answered by a new process;
`pss_mb` its memory after all of it.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil  # type: ignore[import-untyped]

from benchmarks import databases
from benchmarks.gateway_load import Figures, loaded, question

AT_ONCE, SLOW = "at-once", "slow"  # agents, as benchmarks.gateway_once makes them
CORES = sorted(os.sched_getaffinity(0))
GATEWAY_CORE, LOAD_CORE = CORES[0], CORES[-1]
STREAMS = 256
ANY = ("any", "any")  # the provider looks at no model


@dataclass(frozen=True, slots=True)
class Gateway:
    """`models` and the paths are what is asked for an answer at once, and for one after 50 ms."""

    name: str
    port: int
    path: str
    token: str
    models: tuple[str, str]
    process: psutil.Process | None  # None: what it costs is not looked at
    slow_path: str = ""  # "": the same

    def worked(self) -> float:
        if self.process is None:
            return 0.0
        every = [self.process, *self.process.children(recursive=True)]
        return sum(times.user + times.system for times in (each.cpu_times() for each in every))


@dataclass(frozen=True, slots=True)
class Cost:
    figures: Figures
    cpu_seconds: float

    @property
    def cpu_ms(self) -> float:
        return self.cpu_seconds * 1000 / max(self.figures.answers, 1)


def asked(
    gateway: Gateway, body: bytes, *, path: str = "", connections: int, seconds: float = 0, each: int = 0
) -> Cost:
    before = gateway.worked()
    figures = loaded(
        gateway.port, path or gateway.path, gateway.token, body, connections=connections, seconds=seconds, each=each
    )
    if figures.failures:
        print(f"{gateway.name}: {figures.failures} of {figures.failures + figures.answers} failed", file=sys.stderr)
    return Cost(figures, gateway.worked() - before)


class Rounds:
    """Figures by gateway and by what was measured; what is asked for is the median of the rounds."""

    def __init__(self) -> None:
        self._values: defaultdict[tuple[str, str], list[float]] = defaultdict(list)

    def note(self, gateway: Gateway, **values: float) -> None:
        for what, value in values.items():
            self._values[gateway.name, what].append(value)

    def median(self, name: str, what: str) -> float:
        return statistics.median(self._values[name, what])

    def ratio(self, name: str, base: str, what: str) -> float:
        pairs = zip(self._values[name, what], self._values[base, what], strict=True)
        return statistics.median(value / other for value, other in pairs)

    def added(self, name: str, base: str, what: str) -> float:
        pairs = zip(self._values[name, what], self._values[base, what], strict=True)
        return statistics.median(value - other for value, other in pairs)


def measure(gateway: Gateway, rounds: Rounds, seconds: float) -> None:
    at_once, slow = (question(model) for model in gateway.models)
    asked(gateway, at_once, connections=64, seconds=0.3)
    many = asked(gateway, at_once, connections=64, seconds=seconds)
    one = asked(gateway, at_once, connections=1, seconds=seconds)
    late = asked(gateway, slow, path=gateway.slow_path, connections=64, seconds=seconds)
    streamed = asked(gateway, question(gateway.models[0], stream=True), connections=STREAMS, each=1)
    rounds.note(
        gateway,
        per_second=many.figures.per_second,
        cpu_ms=many.cpu_ms,
        p50_ms=one.figures.percentile(50),
        p99_ms=one.figures.percentile(99),
        cpu_ms_alone=one.cpu_ms,
        slow_per_second=late.figures.per_second,
        us_per_chunk=streamed.cpu_seconds * 1e6 / max(streamed.figures.events, 1),
        chunks_per_second=streamed.figures.events / streamed.figures.seconds,
    )


SHOWN = (
    "per_second", "cpu_ms", "p50_ms", "p99_ms", "cpu_ms_alone", "slow_per_second", "us_per_chunk", "chunks_per_second",
)  # fmt: skip


def show(title: str, gateways: list[Gateway], rounds: Rounds) -> None:
    print(f"\n{title}\n{'':12}" + "".join(f"{what:>19}" for what in SHOWN))
    for each in gateways:
        print(f"{each.name:12}" + "".join(f"{rounds.median(each.name, what):19,.3f}" for what in SHOWN), flush=True)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def process(
    arguments: list[str], *, core: int, environment: Mapping[str, str], log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as file:
        begun = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=databases.ROOT,
            env=dict(environment),
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        os.sched_setaffinity(begun.pid, {core})
    try:
        yield begun
    finally:
        begun.terminate()
        begun.wait()


def uvicorn(application: str, port: int) -> list[str]:
    return ["-m", "uvicorn", application, "--port", str(port), "--no-access-log", "--log-level", "warning"]


def wait_for(port: int, path: str, token: str, body: bytes, log: Path) -> float:
    """Seconds until the first answer."""
    began = time.perf_counter()
    while time.perf_counter() - began < 30:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=0.1):
                pass
        except OSError:
            time.sleep(0.005)
            continue
        if loaded(port, path, token, body, connections=1, each=1).answers:
            return time.perf_counter() - began
    sys.exit(f"Nothing answered on port {port}:\n{log.read_text()[-3000:]}")


def other(given: str) -> Gateway:
    name, _, address = given.partition("=")
    url = urlsplit(address)
    if not name or not url.port:
        sys.exit(f"--other {given}: give it as NAME=URL, with a port")
    listening = (each for each in psutil.net_connections("tcp") if each.status == psutil.CONN_LISTEN and each.pid)
    pid = next((each.pid for each in listening if each.laddr.port == url.port), None)
    process = psutil.Process(pid) if pid else None
    path = f"{url.path.rstrip('/')}/chat/completions"
    return Gateway(name, url.port, path, url.username or "none", ("gpt-4.1-mini",) * 2, process)


def on(vendor: str, options: argparse.Namespace) -> tuple[dict[str, float], dict[str, float]]:
    """The figures of one database, and those of the process."""
    rounds, provider_port, port, forwarder_port = Rounds(), free_port(), free_port(), free_port()
    provider = f"http://127.0.0.1:{provider_port}"
    os.environ["KEYFARE_PROVIDER_ORIGINS"] = f"openai={provider}/v1,mistral={provider}/slow/v1"
    path = "/v1/chat/completions"
    with ExitStack() as stack:
        database = stack.enter_context(databases.fresh(vendor))
        folder, environment = database.folder, database.environment()
        load = ["-m", "benchmarks.gateway_load", str(provider_port)]
        stack.enter_context(process(load, core=LOAD_CORE, environment=environment, log=folder / "load.log"))
        wait_for(provider_port, path, "none", question("any"), folder / "load.log")
        database.run("-m", "benchmarks.gateway_once", str(folder / "token"))
        token = (folder / "token").read_text()
        forwards = {**environment, "FORWARD_TO": provider}
        forwarder = stack.enter_context(
            process(
                uvicorn("benchmarks.gateway_forwarder:application", forwarder_port),
                core=GATEWAY_CORE,
                environment=forwards,
                log=folder / "forwarder.log",
            )
        )
        wait_for(forwarder_port, path, "none", question("any"), folder / "forwarder.log")
        door = stack.enter_context(
            process(
                uvicorn("config.gateway:application", port),
                core=GATEWAY_CORE,
                environment=environment,
                log=folder / "gateway.log",
            )
        )
        start_s = wait_for(port, path, token, question(AT_ONCE), folder / "gateway.log")
        gateways = [
            Gateway("direct", provider_port, path, "none", ANY, None, f"/slow{path}"),
            Gateway("forwarder", forwarder_port, path, "none", ANY, psutil.Process(forwarder.pid), f"/slow{path}"),
            Gateway("keyfare", port, path, token, (AT_ONCE, SLOW), psutil.Process(door.pid)),
            *map(other, options.other),
        ]
        for _ in range(options.rounds):
            for gateway in gateways:
                measure(gateway, rounds, options.seconds)
        show(vendor, gateways, rounds)
        pss_mb = psutil.Process(door.pid).memory_full_info().pss / 1024**2
    figures = {
        "forwarder_ratio": round(rounds.ratio("keyfare", "forwarder", "per_second"), 2),
        "cpu_ms": round(rounds.median("keyfare", "cpu_ms"), 3),
        "forwarder_cpu_ms": round(rounds.median("forwarder", "cpu_ms"), 3),
        "added_p50_ms": round(rounds.added("keyfare", "direct", "p50_ms"), 2),
        "added_p99_ms": round(rounds.added("keyfare", "direct", "p99_ms"), 2),
        "direct_ratio_50ms": round(rounds.ratio("keyfare", "direct", "slow_per_second"), 2),
    }
    us_per_chunk = round(rounds.median("keyfare", "us_per_chunk"), 1)
    return figures, {"us_per_chunk": us_per_chunk, "start_s": round(start_s, 2), "pss_mb": round(pss_mb, 1)}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--database", choices=("sqlite", "postgresql"))
    parser.add_argument("--other", action="append", default=[], metavar="NAME=URL")
    options = parser.parse_args()
    if GATEWAY_CORE == LOAD_CORE:
        print("There is one core only, so gateway and load disturb one another.", file=sys.stderr)
    os.sched_setaffinity(0, {LOAD_CORE})  # and with it whatever is begun here, PostgreSQL too
    line: dict[str, object] = {}
    for vendor in [options.database] if options.database else ["sqlite", "postgresql"]:
        figures, of_process = on(vendor, options)
        line |= {vendor: figures, **of_process}  # of the process as it serves on PostgreSQL, which comes last
    print(json.dumps(line))


if __name__ == "__main__":
    main()
