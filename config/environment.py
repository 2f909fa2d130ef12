"""
The settings as people write them: read, put into one form, or refused with a sentence that says how to write them.

A setting that cannot be what was meant ends the process before anything is read, served or written. No sentence quotes
a value: many hold a password.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urlsplit

import environ

NAMED = re.compile(r"(?:export )?[A-Za-z_][A-Za-z_0-9]*=.*")
HOST_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\]")
SHORTEST_TOKEN = 20
TOKEN = re.compile(rf"[A-Za-z0-9._~+/=-]{{{SHORTEST_TOKEN},}}")
DEFAULT_PORTS = {"http": 80, "https": 443}
NUMBERS = {bool: "1 or 0", int: "a whole number", float: "a number"}
COMMENTS = "Comments go on lines of their own."
YES, NO = ("1", "true", "yes", "on", "y", "t"), ("0", "false", "no", "off", "n", "f")
DATABASES = ("postgresql", "postgres", "sqlite")
# What reaches a mail server, with its usual port; what goes elsewhere.
MAIL_SERVERS = {"smtp": 25, "smtp+tls": 587, "smtps": 587, "smtp+ssl": 465}
MAIL_ELSEWHERE = ("consolemail", "filemail", "memorymail", "dummymail")
ENCODE = (
    "In user names and passwords write / ? # @ : % and [ ] percent-encoded, as %2F %3F %23 %40 %3A %25 %5B %5D: "
    """`python3 -c 'import getpass, urllib.parse as u; print(u.quote(getpass.getpass(), safe=""))'` does it."""
)
HOW_SITE = "Write it as https://keyfare.example.com, with :8443 behind it if the port is not the usual one."


class BadSetting(ValueError):
    """Its text is a sentence about a setting, without what it holds."""


class Environment(environ.Env):  # type: ignore[misc]  # published without types
    """As django-environ reads it, but no value means another variable, and what cannot be read is said."""

    def get_value(self, var: str, cast: Any = None, default: Any = None, parse_default: bool = False) -> Any:
        written = self.ENVIRON.get(var)
        kind = next((each for each in NUMBERS if each is cast), None)
        if written is None or (kind and not written.strip()):
            return default
        try:
            if kind is None:
                return written if cast in (None, str) else self.parse_value(written, cast)
            return _yes_or_no(written) if kind is bool else kind(written)
        except (ValueError, TypeError):
            meant = NUMBERS[kind] if kind else "a list of name=value" if cast is dict else "a list of numbers"
            raise SystemExit(refusal(f"{var} is not {meant}. {COMMENTS}")) from None

    def read_file(self, path: Path) -> None:
        """Raises SystemExit for a line that would be passed over, and for what is no text."""
        try:
            lines = path.read_text(encoding="utf-8-sig").splitlines()
        except UnicodeDecodeError:
            raise SystemExit(refusal(f"{path} is not UTF-8 text. Save it with the encoding UTF-8.")) from None
        for number, line in enumerate(lines, start=1):
            if line.strip() and not line.startswith("#") and not NAMED.fullmatch(line):
                raise SystemExit(
                    refusal(
                        f"Line {number} of {path} is no setting. Write NAME=value, from the beginning of the line and "
                        "without spaces around the =."
                    )
                )
        self.read_env(str(path), encoding="utf-8-sig")

    def read(self, var: str, read: Callable[[str], Any], default: Any) -> Any:
        """What `read` makes of the setting; `default` if there is none. Raises SystemExit for a BadSetting."""
        written = self.str(var, default="").strip()
        try:
            return read(written) if written else default
        except BadSetting as error:
            raise SystemExit(refusal(f"{var} {error}")) from None


def refusal(sentence: str) -> str:
    return f"Keyfare does not start. {sentence}"


def site_of(written: str) -> str:
    """The address of an installation as browsers say it: scheme, host and a port that is not the usual one."""
    parts = _split(written, HOW_SITE)
    if parts.scheme not in DEFAULT_PORTS:
        raise BadSetting(f"does not begin with http:// or https://. {HOW_SITE}")
    if parts.path.strip("/") or parts.query or parts.fragment:
        raise BadSetting(f"has something behind the host: Keyfare is served from the root of its address. {HOW_SITE}")
    if "@" in parts.netloc:
        raise BadSetting(f"holds a user name or password. {HOW_SITE}")
    host = (parts.hostname or "").removesuffix(".")
    host = f"[{host}]" if ":" in host else host
    if not HOST_NAME.fullmatch(host):
        raise BadSetting(f"has no host as browsers name it: a-z, 0-9, hyphens and dots (xn--… for others). {HOW_SITE}")
    has_usual_port = parts.port in (None, DEFAULT_PORTS[parts.scheme])
    return f"{parts.scheme}://{host}" if has_usual_port else f"{parts.scheme}://{host}:{parts.port}"


def host_of(site: str) -> str:
    """As ALLOWED_HOSTS has it: without the port."""
    return re.sub(r":\d+$", "", urlsplit(site).netloc)


def hosts_of(written: str) -> list[str]:
    """`.example.com` stands for every name below, `*` for any."""
    hosts = [host.lower() for host in names_of(written)]
    for host in hosts:
        if host != "*" and not HOST_NAME.fullmatch(host.removeprefix(".")):
            raise BadSetting("takes host names alone, without https:// and port: keyfare.example.com,10.1.2.3.")
    return hosts


def names_of(written: str) -> list[str]:
    """What stands between commas, whatever is around it."""
    return [name.strip() for name in written.split(",") if name.strip()]


def origins_of(written: str) -> list[str]:
    """Origins as browsers say them; `https://*.example.com` stands for every name below."""
    return [_origin(each) for each in names_of(written)]


def database_of(written: str) -> dict[str, Any]:
    """As Django wants it."""
    scheme = written.split(":", 1)[0].lower()
    if scheme not in DATABASES:
        raise BadSetting("is no postgresql://user:password@host/name, nor sqlite:////path/to/file.")
    if scheme == "sqlite":
        return _library(environ.Env.db_url_config, written)
    parts = _split(written, ENCODE)
    _refuse_what_split_wrongly(parts)
    if parts.path in ("", "/"):
        raise BadSetting("names no database. Write postgresql://user:password@host/name.")
    return _library(environ.Env.db_url_config, written)


def token_of(written: str) -> str:
    """What a program sends as a Bearer token."""
    if not TOKEN.fullmatch(written):
        raise BadSetting(
            f"is no token: at least {SHORTEST_TOKEN} letters and digits. "
            "`python3 -c 'import secrets; print(secrets.token_urlsafe(32))'` makes one."
        )
    return written


def mail_of(written: str) -> dict[str, Any]:
    """Django's EMAIL_… settings."""
    scheme = written.split(":", 1)[0].lower()
    if scheme in MAIL_ELSEWHERE:
        return _library(environ.Env.email_url_config, written)
    if scheme not in MAIL_SERVERS:
        raise BadSetting("is no smtp+tls://user:password@host:587, nor smtp+ssl://… or smtp://….")
    parts = _split(written, ENCODE)
    _refuse_what_split_wrongly(parts)
    if not parts.hostname or parts.path.strip("/"):
        raise BadSetting(f"is not user:password@host:port behind {scheme}://. {ENCODE}")
    found = _library(environ.Env.email_url_config, written)
    return {**found, "EMAIL_PORT": parts.port or MAIL_SERVERS[scheme]}


def _split(written: str, how: str) -> SplitResult:
    try:
        parts = urlsplit(written)
        _ = "," in parts.netloc or parts.port  # PostgreSQL takes several hosts, each with its port
    except ValueError:
        raise BadSetting(f"is no address. {how}") from None
    if re.search(r"\s", written) or "//" not in written:
        raise BadSetting(f"is no address. {how}")
    return parts


def _refuse_what_split_wrongly(parts: SplitResult) -> None:
    """A / ? or # of a password ends what is read as the host: what follows then holds the @ that ends the password."""
    if "@" in parts.path + parts.query + parts.fragment or parts.fragment:
        raise BadSetting(f"has a user name or password with a sign that means something else in addresses. {ENCODE}")


def _origin(written: str) -> str:
    scheme, _, host = written.partition("://")
    if host.startswith("*."):
        return site_of(f"{scheme}://{host[2:]}").replace("://", "://*.", 1)
    return site_of(written)


def _library(read: Callable[[str], dict[str, Any]], written: str) -> dict[str, Any]:
    try:
        return read(written)
    except Exception:  # whatever it is, it may quote a password
        raise BadSetting(f"cannot be read. {ENCODE}") from None


def _yes_or_no(written: str) -> bool:
    word = written.strip().lower()
    if word not in YES + NO:
        raise ValueError
    return word in YES
