"""Settings as operators write them: what is meant holds, what cannot be meant is refused with a sentence."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

from config.environment import BadSetting, Environment, database_of, hosts_of, mail_of, origins_of, site_of

EXAMPLE = Path(settings.BASE_DIR) / ".env.example"
TELL = """
import json
from config import settings
print(json.dumps({name: getattr(settings, name) for name in dir(settings) if name.isupper()}, default=lambda value: ""))
"""


def settings_with(env_file: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", TELL],
        cwd=settings.BASE_DIR,
        env={"PATH": os.environ["PATH"], "KEYFARE_ENV_FILE": str(env_file), **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


# Where the installation is ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("https://keyfare.example.com/", "https://keyfare.example.com"),
        ("HTTPS://Keyfare.Example.COM", "https://keyfare.example.com"),
        ("https://keyfare.example.com:443/", "https://keyfare.example.com"),
        ("http://keyfare.example.com:80", "http://keyfare.example.com"),
        ("https://keyfare.example.com.", "https://keyfare.example.com"),
        ("https://keyfare.example.com:8443/", "https://keyfare.example.com:8443"),
        ("https://10.1.2.3", "https://10.1.2.3"),
        ("https://[::1]:8443", "https://[::1]:8443"),
        ("https://xn--bcher-kva.example", "https://xn--bcher-kva.example"),
    ],
)
def test_the_address_of_the_site_has_one_form_however_it_is_written(written, meant):
    assert site_of(written) == meant


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("keyfare.example.com", "no address"),
        ("keyfare.example.com:8443", "no address"),
        ("ftp://keyfare.example.com", "http:// or https://"),
        ("https://keyfare.example.com/app", "served from the root"),
        ("https://keyfare.example.com/?x=1", "served from the root"),
        ("https://keyfare.example.com/#x", "served from the root"),
        ("https://me:secret@keyfare.example.com", "user name or password"),
        ("https://keyfare.example.com:port", "no address"),
        ("https://key_fare.example.com", "no host as browsers name it"),
        ("https://bücher.example", "xn--"),
        ("https://", "no host"),
        ("https://keyfare example.com", "no address"),
        ("https://[::1", "no address"),
    ],
)
def test_an_address_that_the_site_cannot_have_is_refused_with_the_reason(written, why):
    with pytest.raises(BadSetting, match=why) as refused:
        site_of(written)

    assert "https://keyfare.example.com" in str(refused.value)
    assert "secret" not in str(refused.value)


def test_the_host_and_the_origin_of_the_site_are_allowed_without_a_word_of_it(tmp_path):
    told = settings_with(tmp_path / "none", SITE_URL="https://Keyfare.Example.com:8443/", ALLOWED_HOSTS="a.example, b")

    found = json.loads(told.stdout)
    assert found["SITE_URL"] == "https://keyfare.example.com:8443"
    assert found["ALLOWED_HOSTS"] == ["a.example", "b", "keyfare.example.com"]
    assert found["CSRF_TRUSTED_ORIGINS"] == ["https://keyfare.example.com:8443"]
    assert found["SESSION_COOKIE_SECURE"] is True


@pytest.mark.parametrize("written", ["https://keyfare.example.com", "keyfare.example.com:8000", "a.example/x"])
def test_allowed_hosts_are_names_alone(written):
    with pytest.raises(BadSetting, match="host names alone"):
        hosts_of(f"localhost, {written}")


def test_lists_may_have_spaces_and_origins_have_one_form():
    assert hosts_of("A.example, .b.example ,*, [::1],") == ["a.example", ".b.example", "*", "[::1]"]
    assert origins_of("https://*.Example.com/, https://a.example:443") == ["https://*.example.com", "https://a.example"]


def test_no_link_of_ours_is_made_of_the_name_that_a_request_came_by():
    """In mails and answers it is SITE_URL; allauth's are turned to it in config/accounts.py."""
    for app in ("billing", "candidates", "config", "gateway", "organizations", "providers", "routing", "usage"):
        for path in (Path(settings.BASE_DIR) / app).rglob("*.py"):
            assert not re.search(r"build_absolute_uri|get_current_site", path.read_text()), path


# Passwords in addresses ---------------------------------------------------------------------------------


@pytest.mark.parametrize("password", ["p$a:s@s", "$HOME", "100%", "q'u\"o`te", "plus+plus", "ünïcode", "a=b&c;d!"])
def test_a_password_works_as_it_is_where_it_can(tmp_path, password):
    assert database_of(f"postgresql://keyfare:{password}@localhost/keyfare")["PASSWORD"] == password
    found = mail_of(f"smtp+tls://me@acme.example:{password}@smtp.example.com:587")
    assert (found["EMAIL_HOST_USER"], found["EMAIL_HOST_PASSWORD"]) == ("me@acme.example", password)


@pytest.mark.parametrize("password", ["s1/x", "s1?x", "s1#x", "12/34", "s1[x", "s1]x", "/", "a@b/c?d#e", "s1 x", "#"])
@pytest.mark.parametrize("setting", ["DATABASE_URL", "EMAIL_URL"])
def test_a_password_that_would_be_read_as_something_else_is_refused_with_the_way_to_write_it(setting, password):
    read, rest = (database_of, "db.example/keyfare") if setting == "DATABASE_URL" else (mail_of, "smtp.example:587")
    scheme = "postgresql" if setting == "DATABASE_URL" else "smtp+tls"

    with pytest.raises(BadSetting, match="percent-encoded") as refused:
        read(f"{scheme}://keyfare:{password}@{rest}")

    assert "s1" not in str(refused.value)
    encoded = read(f"{scheme}://keyfare:{as_told(str(refused.value), password)}@{rest}")
    assert encoded["PASSWORD" if setting == "DATABASE_URL" else "EMAIL_HOST_PASSWORD"] == password


def as_told(sentence: str, password: str) -> str:
    """What the command in the sentence prints for the password."""
    program = re.search(r"`python3 -c '(.+?)'`", sentence)
    assert program
    typed = f"import getpass; getpass.getpass = lambda: {password!r}; {program[1]}"
    return subprocess.run([sys.executable, "-c", typed], capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize(
    ("setting", "written", "why"),
    [
        ("DATABASE_URL", "mysql://keyfare:hidden@localhost/keyfare", "no postgresql://"),
        ("DATABASE_URL", "postgresql://keyfare:hidden@localhost", "names no database"),
        ("DATABASE_URL", "postgresql://keyfare:hid/den@localhost/keyfare", "percent-encoded"),
        ("EMAIL_URL", "mail.example.com", "no smtp+tls://"),
        ("EMAIL_URL", "smtp+tls://me:hid#den@mail.example.com", "percent-encoded"),
        ("SITE_URL", "https://me:hidden@keyfare.example.com", "user name or password"),
        ("KEYFARE_WORKERS", "eight", "a whole number"),
        ("EMAIL_TIMEOUT", "10 s", "a whole number"),
        ("KEYFARE_STOP_GRACE_SECONDS", "1m", "a number"),
        ("BEHIND_TLS_PROXY", "1     trust the proxy", "1 or 0"),
        ("KEYFARE_SIGNUP_OPEN", "maybe", "1 or 0"),
        ("KEYFARE_CUSTOM_SERVER_PORTS", "443,https", "list of numbers"),
        ("KEYFARE_PROVIDER_ORIGINS", "openai", "a list of name=value"),
    ],
)
@pytest.mark.parametrize("command", [["manage.py", "init"], ["-m", "uvicorn", "config.asgi:application"]])
def test_whatever_starts_ends_with_a_sentence_that_names_the_setting(tmp_path, setting, written, why, command):
    process = subprocess.run(
        [sys.executable, *command],
        cwd=settings.BASE_DIR,
        env={"PATH": os.environ["PATH"], "KEYFARE_ENV_FILE": str(tmp_path / "var" / "keyfare.env"), setting: written},
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert process.returncode == 1
    assert process.stderr.startswith(f"Keyfare does not start. {setting} "), process.stderr
    assert why in process.stderr
    assert "hid" not in process.stderr.replace("hidden /", "")
    assert len(process.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


# The file -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line", ["DATABASE_URL = postgresql://keyfare:hidden@localhost/keyfare", " SITE_URL=x", "hidden"]
)
def test_a_line_that_would_be_passed_over_is_refused_by_its_number(tmp_path, line):
    env_file = tmp_path / "keyfare.env"
    env_file.write_text(f"# a comment\n\nexport ADMINS=a@b.example\n{line}\n")

    process = settings_with(env_file)

    assert process.returncode == 1
    assert f"Line 4 of {env_file} is no setting." in process.stderr
    assert "hidden" not in process.stderr


def test_values_of_the_file_may_hold_dollars_quotes_and_an_editors_mark(tmp_path):
    env_file = tmp_path / "keyfare.env"
    drawn = f"$HOME{secrets.token_urlsafe(40)}"
    env_file.write_text(
        f"\ufeffSECRET_KEY={drawn}\nKEYFARE_DIGEST_KEY='{drawn}'\n"
        """DATABASE_URL="postgresql://keyfare:a'b$c@localhost/keyfare"\nEMAIL_TIMEOUT=\n"""
    )

    found = json.loads(settings_with(env_file).stdout)

    assert (found["SECRET_KEY"], found["KEYFARE_DIGEST_KEY"]) == (drawn, drawn)
    assert found["DATABASES"]["default"]["PASSWORD"] == "a'b$c"
    assert found["EMAIL_TIMEOUT"] == 10


def test_every_line_of_the_example_is_a_setting_once_its_mark_is_taken_away(tmp_path):
    lines = [line.removeprefix("# ") for line in EXAMPLE.read_text().splitlines() if re.match(r"# [A-Z_]+=", line)]
    env_file = tmp_path / "keyfare.env"
    env_file.write_text("".join(f"{line}\n" for line in lines))

    process = settings_with(env_file)

    found = json.loads(process.stdout or "{}")
    assert found, process.stderr
    assert len(lines) > 20
    assert (found["SITE_URL"], found["SECURE_PROXY_SSL_HEADER"][1]) == ("https://keyfare.example.com", "https")
    for line in lines:
        name, value = line.split("=", 1)
        assert "  " not in value, line
        if name in found and value:
            assert str(found[name]) in (value, str(value == "1"), str(float_of(value)), str(value.split(","))) or (
                isinstance(found[name], list) and value.split(",")[0] in str(found[name])
            ), line


def float_of(value: str) -> float | None:
    try:
        return float(value)
    except ValueError:
        return None


def test_a_settings_file_that_is_no_text_is_refused_with_a_sentence(tmp_path):
    env_file = tmp_path / "keyfare.env"
    env_file.write_bytes("EMAIL_URL=smtp://u:s3cret@h\n".encode("utf-16"))
    with pytest.raises(SystemExit, match="is not UTF-8 text") as refused:
        Environment().read_file(env_file)
    assert "s3cret" not in str(refused.value)
