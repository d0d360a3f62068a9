"""The page on Lambda: its function answers recorded events, run by AWS's own runtime, frozen between two requests."""

from __future__ import annotations

import base64
import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.support import ROOT
from tests.support.servers.process import has_stopped, wait_until
from tests.support.servers.valkey import Valkey
from wsgi_session.config.keygen import new_secret
from wsgi_session.config.text import parse_options

MISSING = "elsewhere: pip install apig-wsgi awslambdaric, or tox -e servers"
pytest.importorskip("apig_wsgi", reason=MISSING)
pytest.importorskip("awslambdaric", reason=MISSING)
yaml = pytest.importorskip("yaml", reason="pip install PyYAML")

PAGE = (ROOT / "docs" / "howto" / "lambda.md").read_text("utf-8")
#: Seconds that a request may take on a busy machine.
PATIENCE = 60


def file_of(name: str) -> str:
    """Return a file of the page, without the comment that names it."""
    (text,) = re.findall(rf"^```\w+\n# {re.escape(name)}\n(.*?)^```$", PAGE, re.M | re.S)
    return str(text)


def event_of(method: str, path: str, cookies: list[str], fields: dict[str, str] | None) -> dict[str, Any]:
    """An event of a function URL or an HTTP API, version 2.0 of the format, as AWS documents it."""
    host = "abcdefg.lambda-url.eu-central-1.on.aws"
    event = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": {
            "host": host,
            "x-forwarded-proto": "https",
            "x-forwarded-port": "443",
            "x-forwarded-for": "203.0.113.7",
            "accept": "text/html,*/*;q=0.8",
            "sec-fetch-site": "same-origin",
            "sec-fetch-mode": "navigate",
        },
        "requestContext": {
            "accountId": "anonymous",
            "apiId": "abcdefg",
            "domainName": host,
            "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "203.0.113.7"},
            "requestId": "a6d1b9e5-7c2e-4c53-a111-1f4d0a1b0c1d",
            "routeKey": "$default",
            "stage": "$default",
            "timeEpoch": 1796000000000,
        },
        "isBase64Encoded": False,
    }
    if cookies:
        event["cookies"] = cookies
    if fields is not None:
        event["headers"]["content-type"] = "application/x-www-form-urlencoded"  # type: ignore[index]
        event |= {"body": base64.b64encode(urlencode(fields).encode()).decode(), "isBase64Encoded": True}
    return event


class Lambda(ThreadingHTTPServer):
    """The runtime API, as https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html describes it."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), RuntimeAPI)
        self.events: queue.Queue[dict[str, Any]] = queue.Queue()
        self.responses: queue.Queue[tuple[str, dict[str, Any]]] = queue.Queue()


class RuntimeAPI(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Lambda

    def do_GET(self) -> None:
        body = json.dumps(self.server.events.get()).encode()
        self.send_response(200)
        self.send_header("Lambda-Runtime-Aws-Request-Id", "1")
        self.send_header("Lambda-Runtime-Deadline-Ms", "4000000000000")
        self.send_header("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:eu-central-1:1:function:shop")
        self.send_header("Lambda-Runtime-Trace-Id", "Root=1-5759e988-bd862e3fe1be46a994272793;Sampled=0")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()
        self.server.responses.put((self.path.rpartition("/")[2], json.loads(body)))

    def log_message(self, format: str, *args: object) -> None:
        """Write nothing."""


class Instance:
    """An instance of the function, frozen whenever no request runs."""

    def __init__(self, folder: Path, store: str) -> None:
        (folder / "shop.py").write_text(file_of("shop.py"), "utf-8")
        self.api = Lambda()
        self.thread = threading.Thread(target=self.api.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()
        settings = template()["Environment"]["Variables"] | {
            "WSGI_SESSION_SECRET": new_secret(),
            "WSGI_SESSION_STORE": store,
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self.api.server_port}",
        }
        command = [sys.executable, "-m", "awslambdaric", template()["Handler"]]
        self.process = subprocess.Popen(command, cwd=folder, env={**os.environ, **settings})

    def invoke(self, method: str, path: str, cookies: list[str], fields: dict[str, str] | None) -> dict[str, Any]:
        self.process.send_signal(signal.SIGCONT)
        self.api.events.put(event_of(method, path, cookies, fields))
        kind, answer = self.api.responses.get(timeout=PATIENCE)
        self.process.send_signal(signal.SIGSTOP)
        wait_until(lambda: has_stopped(self.process.pid), "the instance is frozen")
        assert kind == "response", answer
        return answer

    def threads(self) -> int:
        return len(list(Path(f"/proc/{self.process.pid}/task").iterdir()))

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self.api.shutdown()
        self.api.server_close()
        self.thread.join()


class Visitor:
    """A browser that keeps the cookies of a function, and sends another application's with them."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.jar = {"theme": "dark"}

    def open(self, path: str, fields: dict[str, str] | None = None) -> dict[str, Any]:
        cookies = [f"{name}={value}" for name, value in self.jar.items()]
        answer = self.instance.invoke("GET" if fields is None else "POST", path, cookies, fields)
        for cookie in answer["cookies"]:
            assert "; Secure" in cookie, cookie
            name, _, value = cookie.partition(";")[0].partition("=")
            self.jar[name] = value
        return answer


def template() -> dict[str, Any]:
    return dict(yaml.safe_load(file_of("template.yaml"))["Resources"]["Shop"]["Properties"])


def connections_of(valkey: Valkey) -> int:
    """The number of connections that were ever made, with that of the question."""
    found = re.search(r"total_connections_received:(\d+)", valkey.execute("INFO", "stats"))
    assert found
    return int(found[1])


@pytest.fixture
def valkey() -> Iterator[Valkey]:
    server = Valkey()
    server.start()
    yield server
    server.kill()


@pytest.fixture
def instance(valkey: Valkey, tmp_path: Path) -> Iterator[Instance]:
    instance = Instance(tmp_path, valkey.url + "?pool=1")
    yield instance
    instance.end()


def test_the_settings_of_the_template_are_accepted() -> None:
    settings = template()["Environment"]["Variables"] | {"WSGI_SESSION_SECRET": new_secret()}
    options = parse_options({key.lower(): value for key, value in settings.items()}, "wsgi_session_")
    assert (options["cookie_secure"], "pool=1" in options["store"]) == (True, True)


def test_a_cart_and_a_login_go_through_a_function_that_is_frozen_between_requests(
    instance: Instance, valkey: Valkey
) -> None:
    ann = Visitor(instance)
    assert ann.open("/cart")["body"] == "The cart is empty"
    threads = instance.threads()
    assert ann.open("/cart", {"other": "tea"})["statusCode"] == 303
    added = ann.open("/cart", {"item": "tea"})
    assert (added["statusCode"], len(added["cookies"])) == (303, 1)
    anonymous = ann.jar["__Host-sid"]
    connections = connections_of(valkey)
    assert ann.open("/profile")["statusCode"] == 302
    ann.open("/login", {"password": "wonderland"})
    assert ann.jar["__Host-sid"] != anonymous
    assert ann.open("/profile")["body"] == "Your email is ann@example.com"
    assert ann.open("/cart")["body"] == "tea"
    # The connection of the first request served these too; the new one is that of the question.
    assert connections_of(valkey) - connections == 1
    ann.open("/logout", {})
    assert ann.open("/profile")["statusCode"] == 302
    assert instance.threads() == threads


def test_a_function_that_is_thawed_after_the_server_has_closed_its_connection_answers(
    instance: Instance, valkey: Valkey
) -> None:
    ann = Visitor(instance)
    ann.open("/login", {"password": "wonderland"})
    valkey.execute("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    assert ann.open("/profile")["body"] == "Your email is ann@example.com"
    valkey.execute("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    assert ann.open("/cart", {"item": "tea"})["statusCode"] == 303
