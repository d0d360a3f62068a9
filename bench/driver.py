"""How the requests are made and timed: the visitors, a block of requests, and the check that the answers are right."""

from __future__ import annotations

import gc
import io
import sys
from collections.abc import Callable, Iterable
from itertools import cycle, islice
from time import perf_counter
from typing import Any, NamedTuple

from bench.payload import EMAIL, NOBODY, SMALL, VISITS, App
from bench.peers import Contender

#: ``perf_counter``, or ``thread_time`` for the processor time of this thread only.
Clock = Callable[[], float]


class Scenario(NamedTuple):
    name: str
    title: str
    #: One of ``payload.WORKS``.
    work: str
    #: ``none``, ``small``, ``large`` or ``forged``: the visitor's cookie.
    cookie: str
    #: What the body must be.
    body: str


SCENARIOS = (
    Scenario("S1", "no cookie, untouched", "untouched", "none", NOBODY),
    Scenario("S2", "valid cookie, untouched", "untouched", "small", NOBODY),
    Scenario("S3", "one key read, 500 B", "read", "small", EMAIL),
    Scenario("S4", "one key read and written, 500 B", "write", "small", VISITS % (SMALL["visits"] + 1)),
    Scenario("S5", "new session, 500 B", "new_small", "none", NOBODY),
    Scenario("S6", "one key read, 20 KB", "read", "large", EMAIL),
    Scenario("S7", "forged cookie, one key read", "read", "forged", NOBODY),
    Scenario("S8", "one key read and written, 20 KB", "write", "large", VISITS % (SMALL["visits"] + 1)),
    Scenario("S3n", "as S3, but a mapping is read", "read_nested", "small", EMAIL),
)

#: So many visitors that a cache of recent cookies cannot serve them all.
VISITORS = 256
#: The other cookies that a browser sends in the same header.
OTHER_COOKIES = "_ga=GA1.1.1684273905.1764000000; consent=analytics; "


class Runner:
    """One contender in one scenario: its visitors, and how many requests make a block."""

    def __init__(
        self, contender: Contender, scenario: Scenario, cookies: list[str], seconds: float, clock: Clock = perf_counter
    ) -> None:
        self._clock = clock
        self.name = contender.name
        self.application = contender.applications[scenario.work]
        self.bare = contender.bare
        templates = [environ(scenario.work, cookie) for cookie in cookies]
        self.visitors = cycle(templates)
        self._check(scenario, templates[-1])
        warm = max(block(self.application, islice(self.visitors, 5)) / 5, 1e-7)
        self.calls = max(10, min(20_000, int(seconds / warm)))
        #: µs a request, round by round.
        self.bare_costs: list[float] = []
        self.total_costs: list[float] = []

    def _check(self, scenario: Scenario, template: dict[str, Any]) -> None:
        status, _, body = respond(self.application, template)
        if status != "200 OK" or body != scenario.body.encode():
            raise SystemExit(f"{self.name} in {scenario.name}: expected {scenario.body!r}, got {status} {body!r}")

    def round(self) -> None:
        """Answer a block without and a block with the session, and note the cost of a request in each."""
        gc.collect()
        bare = block(self.bare, islice(self.visitors, self.calls), self._clock)
        gc.collect()
        total = block(self.application, islice(self.visitors, self.calls), self._clock)
        self.bare_costs.append(bare / self.calls * 1e6)
        self.total_costs.append(total / self.calls * 1e6)


def environ(work: str, cookie: str) -> dict[str, Any]:
    """Return the environ of a GET, as a server behind a proxy makes it."""
    result: dict[str, Any] = {
        "REQUEST_METHOD": "GET",
        "SCRIPT_NAME": "",
        "PATH_INFO": f"/{work}",
        "QUERY_STRING": "",
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "8080",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "localhost:8080",
        "HTTP_USER_AGENT": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        "HTTP_ACCEPT": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "HTTP_ACCEPT_LANGUAGE": "en-GB,en;q=0.5",
        "HTTP_ACCEPT_ENCODING": "gzip, deflate",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    if cookie:
        result["HTTP_COOKIE"] = cookie
    return result


def _write(_data: bytes) -> None:
    raise AssertionError("An application called write().")


def _start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
    return _write


def block(application: App, templates: Iterable[dict[str, Any]], clock: Clock = perf_counter) -> float:
    """Answer one request for each template, each with a fresh environ, and return the seconds it took."""
    begin = clock()
    for template in templates:
        body = application(template.copy(), _start_response)
        for _ in body:
            pass
        close = getattr(body, "close", None)
        if close is not None:
            close()
    return clock() - begin


def respond(application: App, template: dict[str, Any]) -> tuple[str, list[tuple[str, str]], bytes]:
    """Answer one request and return status, headers and body."""
    sent: list[Any] = []

    def start_response(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        sent[:] = [status, headers]
        return _write

    body = application(template.copy(), start_response)
    content = b"".join(body)
    if close := getattr(body, "close", None):
        close()
    return sent[0], sent[1], content


def plant(contender: Contender, work: str) -> str:
    """Make one new session and return the Cookie header that a browser would send back."""
    _, headers, _ = respond(contender.applications[work], environ(work, ""))
    pairs = [value.split(";")[0] for name, value in headers if name.lower() == "set-cookie"]
    if not pairs:
        raise SystemExit(f"{contender.name}: a new session sent no Set-Cookie, but {headers}")
    return OTHER_COOKIES + "; ".join(pairs)


def forge(cookie: str) -> str:
    """Return the cookie with one character near its end changed: of the right shape, but invalid."""
    return cookie[:-4] + ("x" if cookie[-4] != "x" else "y") + cookie[-3:]


def visitors(contender: Contender, count: int) -> dict[str, list[str]]:
    """Make the sessions that the scenarios need and return the Cookie headers of their visitors, by kind."""
    small = [plant(contender, "new_small") for _ in range(count)]
    large = [plant(contender, "new_large") for _ in range(count)] if contender.keeps_large else []
    return {"none": [""], "small": small, "large": large, "forged": [forge(cookie) for cookie in small]}
