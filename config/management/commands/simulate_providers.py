from __future__ import annotations

import ipaddress
import socket
from typing import Any

import uvicorn
from django.core.management.base import BaseCommand, CommandError, CommandParser

from organizations.typed_numbers import number_argument
from simulator.app import create_app, origins
from simulator.faults import Fault


class Command(BaseCommand):
    help = "Run the provider simulator: all providers on this machine, without internet or real keys."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="a loopback address (default: 127.0.0.1)")
        parser.add_argument(
            "--port",
            type=number_argument(least=0, most=65535),
            default=9001,
            help="default: 9001; 0 takes any free one",
        )
        parser.add_argument(
            "--delay",
            type=float,
            default=0.0,
            metavar="SECONDS",
            help="how long a model call takes (default: 0)",
        )

    def handle(self, *args: Any, host: str, port: int, delay: float, **options: Any) -> None:
        if not 0 <= delay <= 600:
            raise CommandError("Choose a delay between 0 and 600 seconds.")
        listening = listen(host, port)
        name, bound_port = f"[{host}]" if ":" in host else host, listening.getsockname()[1]
        address = f"http://{name}:{bound_port}"
        setting = ",".join(f"{slug}={url}" for slug, url in origins(address).items())
        if options["verbosity"]:
            self.stdout.write(f"Simulating all providers at {address}. Stop with Ctrl-C.")
            self.stdout.write("Keys: sk-or-v1-simulated-valid-…; also simulated-invalid, simulated-no-credit,")
            self.stdout.write(
                "simulated-drained (lists models, refuses calls), simulated-rate-limited, simulated-limited"
            )
            self.stdout.write("and simulated-overloaded. In a prompt, the end of a key or the header x-simulate:")
            self.stdout.write(f"{', '.join(Fault)}. To use it, set:")
            self.stdout.write(f"KEYFARE_PROVIDER_ORIGINS={setting}")
            self.stdout.flush()
        config = uvicorn.Config(create_app(delay), access_log=False, log_level="warning", lifespan="off")
        with listening:
            uvicorn.Server(config).run(sockets=[listening])


def listen(host: str, port: int) -> socket.socket:
    """A socket bound to a loopback address. Raises CommandError for another address or a taken port."""
    try:
        is_loopback = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host).is_loopback
    except ValueError:
        is_loopback = False
    if not is_loopback:
        raise CommandError(
            f"The simulator only listens on this machine, and {host} is no loopback address. Use 127.0.0.1 or ::1."
        )
    listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen()
    except (OSError, OverflowError):
        listening.close()
        raise CommandError(f"Port {port} on {host} is not free. Stop what uses it, or choose another --port.") from None
    return listening
