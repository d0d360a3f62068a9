"""Every file of examples/ is the same small shop: it is run as its first line says, and visited over HTTP."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from importlib.util import find_spec
from pathlib import Path
from threading import Barrier
from typing import NamedTuple
from urllib.parse import urlencode, urljoin, urlsplit

import pytest

from tests.support import ROOT
from tests.support.missing import why_missing
from tests.support.servers.process import Server, wait_until
from wsgi_session.config.keygen import new_secret

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
FRAMEWORKS = ["plain", "webob", "werkzeug", "flask", "django", "pyramid", "bottle", "falcon", "cherrypy", "webpy"]
#: The module whose absence says that a framework is not installed.
MODULES = {"plain": "waitress", "webpy": "web"}
#: What pip calls it, where that is another name.
DISTRIBUTIONS = {"plain": "waitress", "webpy": "web.py"}
#: Those whose framework completes a path from the Host header, and has no short way not to: docs/deploy.md names them.
COMPLETING = {"pyramid_app"}
#: With the name of the example's own cookie for NAME.
HOSTILE_COOKIES = [
    b"NAME=",
    b"NAME=x; NAME=y; NAME=z; NAME=1",
    b'NAME="; $Version=1; NAME="quoted',
    b"NAME=\xff\xfe\x80; \xc3\xa9=1",
    b";;; = ;=;,",
    b"NAME=" + b"A" * 43 + b"." + b"A" * 43,
    b"NAME=%00%0d%0aSet-Cookie:%20a=b",
    b"NAME=" + b"A" * 6000,
    b"; ".join(b"NAME=%d" % number for number in range(500)),
]


class Answer(NamedTuple):
    status: int
    location: str | None
    text: str
    #: The Location header as it is.
    sent_to: str | None


class Visitor:
    """A browser: keeps cookies, follows nothing by itself, and has the form's token with what it posts."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.host = f"127.0.0.1:{port}"
        self.cookies: dict[str, str] = {}
        # The hidden field, which Django calls otherwise.
        self.field = "csrf_token"
        self.token = ""

    def visit(
        self,
        path: str,
        form: dict[str, str] | None = None,
        cookie: bytes | None = None,
        more: dict[str, str] | None = None,
    ) -> Answer:
        """GET, or POST ``form``, with this visitor's cookies, or with a Cookie header as given; ``more``: headers."""
        headers: dict[str, str | bytes] = {"Host": self.host, **(more or {})}
        if given := cookie or "; ".join(f"{name}={value}" for name, value in self.cookies.items()):
            headers["Cookie"] = given
        body = None
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            body = urlencode(form)
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("POST" if body is not None else "GET", path, body, headers)
            response = connection.getresponse()
            text = response.read().decode()
        finally:
            connection.close()
        for line in response.headers.get_all("Set-Cookie", []):
            self._keep(line)
        if found := re.search(r'name="?(csrf_token|csrfmiddlewaretoken)"? value="?([\w-]+)', text):
            self.field, self.token = found.groups()
        return Answer(response.status, self._path(location := response.getheader("Location")), text, location)

    def _keep(self, line: str) -> None:
        name, _, value = line.partition(";")[0].partition("=")
        self.cookies[name] = value
        if "max-age=0" in line.lower():
            del self.cookies[name]

    def _path(self, location: str | None) -> str | None:
        """Return what is asked for next. Some frameworks complete a path with the host."""
        if location is None:
            return None
        here = f"http://{self.host}"
        there = urlsplit(urljoin(f"{here}/", location))
        assert f"{there.scheme}://{there.netloc}" == here, f"{location} leads off the site"
        return there._replace(scheme="", netloc="").geturl()

    def post(self, path: str, **form: str) -> Answer:
        """Post a form as its page has it, with the token."""
        if not self.token:
            self.visit("/login")
        return self.visit(path, {self.field: self.token, **form})

    def log_in(self, path: str = "/login", password: str = "ann") -> Answer:
        self.visit(path)
        return self.post(path, name="ann", password=password)

    def home(self, cookie: bytes | None = None) -> str:
        """What a reader sees of the home page."""
        answer = self.visit("/", cookie=cookie)
        assert answer.status == 200, answer
        return " ".join(re.sub(r"<[^>]*>", " ", answer.text).split())

    @property
    def cookie(self) -> bytes:
        assert self.cookies, "no cookie was set"
        return "; ".join(f"{name}={value}" for name, value in self.cookies.items()).encode()


class Example(Server):
    """One of the examples, as a process in a folder of its own."""

    def __init__(self, path: Path) -> None:
        self.name = path.stem
        super().__init__()
        (self.folder / "examples").symlink_to(path.parent)

    def command(self) -> Sequence[str]:
        program, *arguments = shlex.split(command_of(ROOT / "examples" / f"{self.name}.py"))
        assert program == "python"
        return [sys.executable, *arguments]

    def launch(self, command: Sequence[str]) -> subprocess.Popen[bytes]:
        environment = {**os.environ, "PORT": str(self.port), "SECRET": new_secret(), "PYTHONUNBUFFERED": "1"}
        environment.pop("STORE", None)
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(
                command, cwd=self.folder, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )

    def begin(self) -> None:
        self._process = self.launch(self.command())

    def answers(self) -> bool:
        try:
            return Visitor(self.port).visit("/").status > 0
        except ConnectionError:
            return False

    def wait(self) -> None:
        wait_until(self._answers_or_died, f"{self.name} answers on port {self.port}\n{self.log()}")


def command_of(path: Path) -> str:
    """The command in an example's first line."""
    first = path.read_text("utf-8").partition("\n")[0]
    found = re.fullmatch(r"# .+\. Run it: (python \S.*)", first)
    assert found, f"{path.name} does not begin with how to run it: {first}"
    return found[1]


def framework_of(path: Path) -> str:
    return path.stem.removesuffix("_app")


@pytest.fixture(scope="module")
def running() -> Iterator[dict[str, Example]]:
    """All of them, started at once: that takes as long as the slowest."""
    examples = {path.stem: Example(path) for path in EXAMPLES if is_installed(path)}
    for example in examples.values():
        example.begin()
    yield examples
    for example in examples.values():
        example.remove(os.getpid())


def is_installed(path: Path) -> bool:
    framework = framework_of(path)
    return find_spec(MODULES.get(framework, framework)) is not None


@pytest.fixture(params=EXAMPLES, ids=framework_of)
def example(request: pytest.FixtureRequest, running: dict[str, Example]) -> Example:
    if request.param.stem not in running:
        framework = framework_of(request.param)
        pytest.skip(why_missing(DISTRIBUTIONS.get(framework, framework)))
    found = running[request.param.stem]
    found.wait()
    return found


@pytest.fixture
def visitor(example: Example) -> Visitor:
    return Visitor(example.port)


def test_there_is_an_example_for_each_framework() -> None:
    assert sorted(map(framework_of, EXAMPLES)) == sorted(FRAMEWORKS)


@pytest.mark.parametrize("path", EXAMPLES, ids=framework_of)
def test_an_example_is_short_and_begins_with_how_to_run_it(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) < 60
    assert command_of(path) == f"python examples/{path.name}"


def test_the_whole_visit(visitor: Visitor) -> None:
    assert visitor.home() == "Hello, stranger Cart: empty"
    assert visitor.cookies == {}
    for item in ("apple", "pear", "apple"):
        answer = visitor.post("/cart", item=item)
        assert (answer.status, answer.location) in ((302, "/"), (303, "/")), answer
    assert visitor.home() == "Hello, stranger Cart: apple x 2, pear x 1"

    answer = visitor.visit("/profile")
    assert (answer.status, answer.location) == (302, "/login?next=/profile"), answer
    anonymous = visitor.cookie
    visitor.log_in(answer.location, password="wrong")  # type: ignore[arg-type]
    assert visitor.home() == "Hello, stranger Cart: apple x 2, pear x 1"
    answer = visitor.log_in("/login?next=/profile")
    assert (answer.status, answer.location) in ((302, "/profile"), (303, "/profile")), answer
    assert "Your email is ann@example.com" in visitor.visit("/profile").text
    assert visitor.home() == "Hello, Ann Cart: apple x 2, pear x 1"
    assert visitor.home(cookie=anonymous) == "Hello, stranger Cart: empty"

    logged_in = visitor.cookie
    visitor.token = ""
    answer = visitor.post("/logout")
    assert (answer.status, answer.location) in ((302, "/"), (303, "/")), answer
    assert visitor.cookies == {}
    assert visitor.home() == "Hello, stranger Cart: empty"
    assert visitor.home(cookie=logged_in) == "Hello, stranger Cart: empty"
    assert visitor.visit("/profile", cookie=logged_in).location == "/login?next=/profile"


def test_a_script_is_refused_with_the_address_of_the_login(visitor: Visitor) -> None:
    answer = visitor.visit("/profile", more={"Sec-Fetch-Mode": "cors"})
    assert (answer.status, json.loads(answer.text)) == (401, {"error": "login_required", "login_url": "/login"})


def test_a_form_of_another_site_is_refused_even_with_the_token(example: Example, visitor: Visitor) -> None:
    visitor.visit("/login")
    # Django and Pyramid have checks of their own, by the token alone over http.
    foreign = "wrong" if example.name in ("django_app", "pyramid_app") else visitor.token
    for site, token, statuses in (("cross-site", foreign, (400, 403)), ("same-origin", visitor.token, (302, 303))):
        answer = visitor.visit("/cart", {visitor.field: token, "item": "pear"}, more={"Sec-Fetch-Site": site})
        assert answer.status in statuses


def test_clicks_at_the_same_moment_all_count(example: Example, visitor: Visitor) -> None:
    visitor.post("/cart", item="apple")
    together = Barrier(4, timeout=60)

    def click(number: int) -> None:
        tab = Visitor(example.port)
        tab.cookies, tab.field, tab.token = visitor.cookies, visitor.field, visitor.token
        together.wait()
        for _ in range(5):
            assert tab.post("/cart", item="apple").status in (302, 303)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(click, range(4)))
    assert visitor.home() == "Hello, stranger Cart: apple x 21"


def test_examples_on_one_host_do_not_log_each_other_out(running: dict[str, Example]) -> None:
    """Browsers do not separate cookies by port."""
    shared: dict[str, str] = {}
    visitors = []
    for found in running.values():
        found.wait()
        visitors.append(Visitor(found.port))
        visitors[-1].cookies = shared
        visitors[-1].log_in()
    assert [visitor.home() for visitor in visitors] == ["Hello, Ann Cart: empty"] * len(visitors)
    assert sorted(shared) == sorted(f"{framework_of(Path(name))}_shop" for name in running)


def test_an_example_says_its_address_at_the_start(example: Example) -> None:
    assert f"http://127.0.0.1:{example.port}/" in (example.folder / "log").read_text("utf-8")


def test_after_the_login_nobody_is_sent_off_the_site(visitor: Visitor) -> None:
    for evil in ("//evil.example", "https://evil.example/", "/%5Cevil.example"):
        assert visitor.log_in(f"/login?next={evil}").location == "/"


def test_a_redirect_is_a_path_whatever_host_the_client_names(example: Example, visitor: Visitor) -> None:
    visitor.host = "127.0.0.1:9"  # Another port is another site, too, and one that Django's example lets through.
    answers = [
        visitor.visit("/profile"),
        visitor.post("/cart", item="apple"),
        visitor.log_in("/login?next=/profile"),
    ]
    visitor.token = ""
    answers.append(visitor.post("/logout"))
    site = f"http://{visitor.host}" if example.name in COMPLETING else ""
    assert [answer.sent_to for answer in answers] == ["/login?next=/profile", f"{site}/", f"{site}/profile", f"{site}/"]


def test_a_post_without_the_token_is_refused_and_changes_nothing(example: Example, visitor: Visitor) -> None:
    other = Visitor(example.port)
    other.log_in()
    visitor.log_in()
    for token in ({}, *({visitor.field: wrong} for wrong in ("", "x" * 86, other.token))):
        for path, form in (("/cart", {"item": "apple"}), ("/logout", {}), ("/login", {"name": "x", "password": "x"})):
            assert visitor.visit(path, form | token).status == 403, (path, token)
    assert visitor.home() == "Hello, Ann Cart: empty"


def test_a_form_without_its_field_is_no_error(visitor: Visitor) -> None:
    assert visitor.post("/cart", other="apple").status < 500
    assert visitor.home().startswith("Hello, stranger Cart:")


def test_a_stranger_without_a_session_is_refused_too_and_gets_none(visitor: Visitor) -> None:
    assert visitor.visit("/login", {"name": "ann", "password": "ann", visitor.field: "x"}).status == 403
    assert visitor.cookies == {}


def test_a_link_changes_nothing(visitor: Visitor) -> None:
    visitor.log_in()
    for path in ("/cart?item=apple", "/logout"):
        assert visitor.visit(path).status < 500
    assert visitor.home() == "Hello, Ann Cart: empty"


@pytest.mark.parametrize("cookie", HOSTILE_COOKIES, ids=range(len(HOSTILE_COOKIES)))
def test_a_hostile_cookie_header_gives_a_clean_anonymous_page(
    example: Example, visitor: Visitor, cookie: bytes
) -> None:
    cookie = cookie.replace(b"NAME", f"{framework_of(Path(example.name))}_shop".encode())
    assert visitor.home(cookie=cookie) == "Hello, stranger Cart: empty"
    assert visitor.visit("/profile", cookie=cookie).location == "/login?next=/profile"


def test_two_visitors_have_separate_sessions(example: Example) -> None:
    ann, stranger = Visitor(example.port), Visitor(example.port)
    ann.log_in()
    ann.token = ""
    ann.post("/cart", item="apple")
    stranger.post("/cart", item="pear")
    assert ann.home() == "Hello, Ann Cart: apple x 1"
    assert stranger.home() == "Hello, stranger Cart: pear x 1"


def test_what_a_visitor_sends_is_escaped(visitor: Visitor) -> None:
    visitor.post("/cart", item="<script>alert('é')</script>")
    page = visitor.visit("/").text
    assert "<script>" not in page
    assert "&lt;script&gt;alert(" in page
    assert "é" in page
