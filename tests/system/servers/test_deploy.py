"""What docs/deploy.md shows is what works: its program, its commands, its configurations."""

from __future__ import annotations

import os
import re
import shlex
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.client import HTTPException, RemoteDisconnected
from pathlib import Path
from typing import Any

import pytest

from tests.support import ROOT
from tests.support.servers.process import free_port, hand_over
from tests.support.site import SECRET
from tests.system.servers.client import Client
from tests.system.servers.launchers import Group, all_started, as_nobody_who_reads_all, script
from tests.system.servers.limits import limits
from wsgi_session.stores.urls.opening import open_store

PAGE = (ROOT / "docs" / "deploy.md").read_text("utf-8")
#: What the page calls the server of a command.
SERVERS = {
    "waitress-serve": "waitress",
    "gunicorn": "gunicorn",
    "uwsgi": "uWSGI",
    "granian": "granian",
    "python": "cheroot",
}
#: The program of the other tests of this folder.
SITE = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from tests.system.servers.site import application as app"

#: Answers with the address that a framework would complete a path with.
NAMED = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"{environ['wsgi.url_scheme']}://{environ['HTTP_HOST']}".encode()]
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.M | re.S)


COMMANDS = [block.strip() for block in blocks("sh") if "8000" in block]
(GUNICORN,) = [command for command in COMMANDS if command.startswith("gunicorn")]
#: The table: what each server makes of X-Forwarded-Proto, and of memory://.
TABLE = {
    name: (scheme, memory) for name, scheme, memory in re.findall(r"^\| (\w+) \| ([^|]+) \| ([^|]+) \|", PAGE, re.M)
}


def server_of(command: str) -> str:
    return SERVERS[command.split()[0]]


class Deployed(Group):
    """A server that the page starts, in a folder with the page's program, or another, as ``shop.py``."""

    def __init__(self, program: str = "", **settings: str) -> None:
        super().__init__()
        (self.folder / "shop.py").write_text(program or blocks("python")[0])
        (self.folder / "restart").touch()
        of_the_page = re.findall(r"^(WSGI_SESSION_\w+)=(\S+)", PAGE, re.M)
        self.settings = {
            **{name: value.replace("/srv/shop", str(self.folder)) for name, value in of_the_page},
            "WSGI_SESSION_SECRET": SECRET,
            "SECRET": SECRET,
            "FOLDER": str(self.folder),
            "HOME": str(self.folder),
            **settings,
        }

    def environment(self) -> Sequence[str]:
        return ["env", f"--chdir={self.folder}", *(f"{name}={value}" for name, value in self.settings.items())]

    def answers(self) -> bool:
        visitor = self.visitor()
        try:
            return visitor.get("/health").status > 0
        except RemoteDisconnected:
            return True  # uWSGI, where the application raises.
        except (OSError, HTTPException):
            return False
        finally:
            visitor.close()

    def visitor(self) -> Client:
        return Client(self.port)


class Command(Deployed):
    """One of the page's commands."""

    def __init__(self, command: str, *arguments: str, **settings: str) -> None:
        self.name = command.split()[0]
        super().__init__(*arguments, **settings)
        self._command = command

    def command(self) -> Sequence[str]:
        line = self._command.replace("8000", str(self.port)).replace("/srv/shop", str(self.folder))
        program, *arguments = shlex.split(line)
        return [*self.environment(), sys.executable if program == "python" else script(program), *arguments]

    def answers(self) -> bool:
        # Two that hang if they are stopped while a worker is still loading the application. (All of the log: each
        # question is a line in uWSGI's.)
        log = (self.folder / "log").read_text(errors="replace")
        if self.name == "granian" and not all_started(log):
            return False
        if self.name == "uwsgi" and log.count("WSGI app 0 (mountpoint='') ready") < 2:
            return False
        return super().answers()


class WithTLS(Deployed):
    """A server that ends TLS, with a certificate that it has signed itself."""

    def __init__(self, *arguments: str, **settings: str) -> None:
        super().__init__(*arguments, **settings)
        self.certificate, self.key = self.folder / "shop.pem", self.folder / "shop.key"
        subprocess.run(
            [
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
                "-days",
                "2",
                "-subj",
                "/CN=shop.example",
                "-addext",
                "subjectAltName=DNS:shop.example,IP:127.0.0.1",
                "-out",
                self.certificate,
                "-keyout",
                self.key,
            ],
            check=True,
            capture_output=True,
        )

    def visitor(self) -> Client:
        return Client(self.port, tls=ssl.create_default_context(cafile=self.certificate))

    def here(self, configuration: str) -> str:
        """The page's configuration, with the paths and ports of this test."""
        for there, here in (
            ("/etc/ssl/certs/shop.pem", self.certificate),
            ("/etc/ssl/private/shop.key", self.key),
            ("/srv/shop/venv", sys.prefix),
            ("/srv/shop", self.folder),
        ):
            configuration = configuration.replace(there, str(here))
        return configuration


class Apache(WithTLS):
    """Apache with the page's configuration, and no more than it needs to start."""

    name = "apache"

    def __init__(self, *arguments: str, **settings: str) -> None:
        super().__init__(*arguments, **settings)
        hand_over(self.folder)
        location = [script("mod_wsgi-express"), "module-location"]
        module = subprocess.run(location, check=True, capture_output=True, text=True).stdout.strip()
        modules = {name: f"/usr/lib/apache2/modules/mod_{name}.so" for name in ("mpm_event", "authz_core", "ssl")}
        lines = [f"LoadModule {name}_module {path}" for name, path in {**modules, "wsgi": module}.items()]
        lines += ["ServerName shop.example", f"Listen 127.0.0.1:{self.port}", f"PidFile {self.folder}/pid"]
        lines += [f"ErrorLog {self.folder}/log", f"WSGISocketPrefix {self.folder}/wsgi"]
        lines += [f"DefaultRuntimeDir {self.folder}"]
        (configuration,) = blocks("apache")
        lines.append(self.here(configuration).replace("*:443", f"127.0.0.1:{self.port}"))
        (self.folder / "apache.conf").write_text("\n".join(lines))

    def command(self) -> Sequence[str]:
        configuration = ["-f", str(self.folder / "apache.conf"), "-D", "FOREGROUND"]
        return [*as_nobody_who_reads_all(), *self.environment(), "/usr/sbin/apache2", *configuration]


class Nginx(WithTLS):
    """nginx with the page's configuration, before the server on ``upstream``."""

    name = "nginx"

    def __init__(self, upstream: int, edit: Callable[[str], str] = str) -> None:
        super().__init__()
        self.plain_port = free_port()
        (configuration,) = blocks("nginx")
        configuration = edit(self.here(configuration).replace("127.0.0.1:8000", f"127.0.0.1:{upstream}"))
        configuration = configuration.replace("listen 443", f"listen 127.0.0.1:{self.port}")
        configuration = configuration.replace("listen 80", f"listen 127.0.0.1:{self.plain_port}")
        user = "user root;" if os.geteuid() == 0 else ""
        paths = [f"{kind}_temp_path {self.folder};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")]
        (self.folder / "nginx.conf").write_text(
            f"{user} daemon off; pid {self.folder}/pid; error_log stderr; events {{}}\n"
            f"http {{ access_log off; {' '.join(paths)}\n{configuration} }}"
        )

    def command(self) -> Sequence[str]:
        return ["/usr/sbin/nginx", "-p", str(self.folder), "-c", str(self.folder / "nginx.conf"), "-e", "stderr"]


@contextmanager
def running(*servers: Deployed) -> Iterator[Client]:
    """Start the servers, and visit the last."""
    visitor = servers[-1].visitor()
    try:
        for server in servers:
            server.start()
        yield visitor
        visitor.close()  # Some servers wait until all clients have disconnected.
        for server in reversed(servers):
            try:
                server.stop()
            except subprocess.TimeoutExpired:
                # granian hangs at its end now and then, and is killed below: how it serves was seen.
                if server.name != "granian":
                    raise
    finally:
        visitor.close()
        for server in servers:
            server.remove(os.getpid())


def serves_the_shop(visitor: Client, scheme: str) -> None:
    answer = visitor.get("/health")
    assert (answer.status, answer.body, answer.cookies) == (200, b"ok\n", [])
    first = visitor.get("/")
    assert first.body == f"Visit 1, over {scheme}.\n".encode()
    assert [(cookie.name, cookie.attributes["secure"]) for cookie in first.cookies] == [("__Host-sid", True)]
    assert visitor.get("/").body == f"Visit 2, over {scheme}.\n".encode()


@pytest.mark.parametrize("command", COMMANDS, ids=server_of)
def test_the_command_serves_the_program_and_believes_whom_the_table_says(command: str) -> None:
    scheme, _ = TABLE[server_of(command)]
    with running(Command(command)) as visitor:
        serves_the_shop(visitor, "http")
        told = visitor.request("GET", "/", headers={"X-Forwarded-Proto": "https"})
        assert told.body == f"Visit 3, over {'http' if scheme.startswith('never') else 'https'}.\n".encode()


@pytest.mark.parametrize("command", COMMANDS, ids=server_of)
def test_sessions_in_memory_are_refused_where_the_table_says(command: str) -> None:
    _, memory = TABLE[server_of(command)]
    with running(Command(command, WSGI_SESSION_STORE="memory://")) as visitor:
        try:
            status = visitor.request("GET", "/", headers={"Connection": "close"}).status
        except HTTPException:
            status = 500
        assert (status == 500) == (memory == "refused")


def test_apache_serves_the_program_over_tls() -> None:
    with running(Apache(WSGI_SESSION_COOKIE_SECURE="auto")) as visitor:
        serves_the_shop(visitor, "https")
    assert TABLE["mod_wsgi"] == ("with TLS in Apache itself", "refused")
    with running(Apache(WSGI_SESSION_STORE="memory://")) as visitor:
        assert visitor.get("/").status == 500


def test_nginx_serves_the_program_over_tls() -> None:
    server = Command(GUNICORN)
    nginx = Nginx(server.port)
    with running(server, nginx) as visitor:
        serves_the_shop(visitor, "https")
        forged = visitor.request("GET", "/", headers={"X-Forwarded-Proto": "http"})
        assert forged.body == b"Visit 3, over https.\n"
        plain = Client(nginx.plain_port, headers={"Host": "shop.example"})
        answer = plain.get("/profile")
        assert (answer.status, answer.all("Location")) == (301, ["https://shop.example/profile"])
        plain.close()


def test_nginx_tells_the_program_its_own_name_whatever_the_client_calls_it() -> None:
    server = Command(GUNICORN, NAMED)
    nginx = Nginx(server.port)
    with running(server, nginx) as visitor:
        assert visitor.request("GET", "/", headers={"Host": "evil.example"}).body == b"https://shop.example"
        plain = Client(nginx.plain_port, headers={"Host": "evil.example"})
        assert plain.get("/profile").all("Location") == ["https://shop.example/profile"]
        plain.close()


@pytest.fixture
def gunicorn() -> Deployed:
    """The page's gunicorn, with room for a session in cookies."""
    return Command(f"{GUNICORN} {limits()['gunicorn'].setting}", SITE, STORE="cookie://")


def test_a_session_in_cookies_comes_through_nginx(gunicorn: Deployed) -> None:
    with running(gunicorn, Nginx(gunicorn.port)) as visitor:
        holds_much(visitor)


def test_nginx_takes_by_default_what_the_table_of_limits_says(gunicorn: Deployed) -> None:
    limit = limits()["nginx"]
    without: Any = lambda configuration: configuration.replace(limit.setting, "")  # noqa: E731
    with running(gunicorn, Nginx(gunicorn.port, edit=without)) as visitor:
        for length, status in ((limit.bytes - 16, 200), (limit.bytes + 16, 400)):
            cookie = "x" * (length - len("Cookie: "))
            assert visitor.request("GET", "/get", headers={"Cookie": cookie, "Connection": "close"}).status == status


def test_a_session_in_cookies_comes_through_apache() -> None:
    with running(Apache(SITE, STORE="cookie://")) as visitor:
        holds_much(visitor)


def holds_much(visitor: Client) -> None:
    visitor.get("/fill", size="14000")
    assert len(visitor.jar) == 5
    assert len(visitor.get("/get").seen["data"]["filling"]) == 14_000


def test_the_timer_names_a_python_that_cron_finds_and_the_page_the_extra_that_it_needs() -> None:
    (program,) = re.findall(r"^ +17 \* \* \* \*  (\S+) -m wsgi_session sweep sqlite:////", PAGE, re.M)
    assert program == "/srv/shop/venv/bin/python"
    assert "pip install 'wsgi-session[cli]'" in PAGE


@pytest.mark.parametrize("verb", ["ping", "sweep"])
def test_the_store_is_looked_after_as_the_page_says(verb: str, tmp_path: Path) -> None:
    assert f"python -m wsgi_session {verb}" in PAGE
    url = f"sqlite:///{tmp_path / 'sessions.db'}"
    with open_store(url) as store:
        store.ping()
    done = subprocess.run([sys.executable, "-m", "wsgi_session", verb, url], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
