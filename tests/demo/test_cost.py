"""The figures in the foot bar are true."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from demo import cost
from tests.support.bare import Bare
from tests.support.curl import Curl
from wsgi_session import SessionMiddleware
from wsgi_session.stores import Counts, ListsOwners, Record, Store, Sweeps
from wsgi_session.stores.memory import MemoryStore

PAGE = f"<footer>{cost.PLACEHOLDER}</footer>".encode()


class Seconds:
    """A clock that moves only when the test says how long a step took."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def seconds(monkeypatch: pytest.MonkeyPatch) -> Seconds:
    clock = Seconds()
    monkeypatch.setattr(cost, "perf_counter", clock)
    return clock


class BareStore(Bare):
    multiprocess = False
    sweep_due = True


class SlowStore(BareStore):
    """Each load takes 30 µs of the clock."""

    def __init__(self, seconds: Seconds) -> None:
        self.seconds = seconds

    def load(self, key: bytes, now: float) -> Record | None:
        self.seconds.now += 30e-6
        return None


def answer(app: Any, path: str = "/") -> bytes:
    return b"".join(app({"PATH_INFO": path, "REQUEST_METHOD": "GET"}, lambda status, headers, exc_info=None: None))


def text(page: bytes) -> str:
    return re.sub(r"<[^>]*>", "", page.decode()).strip()


def site(seconds: Seconds, store: Store, untouched: tuple[str, ...] = ()) -> Any:
    """A session layer of 1 + 2 µs around an application of one second that asks the store itself once."""

    class FirstLook:
        @property
        def state(self) -> str:
            seconds.now += 4e-6
            store.load(b"first look", 0)
            return "live"

    def app(environ: Any, start_response: Callable[..., Any]) -> Iterable[bytes]:
        seconds.now += 0.5
        store.load(b"lazy", 0)
        seconds.now += 0.5
        start_response("200 OK", [])
        return [PAGE]

    clocked = cost.clock(app, untouched=untouched)

    def layer(environ: Any, start_response: Callable[..., Any]) -> Iterable[bytes]:
        seconds.now += 1e-6
        body = clocked({**environ, "session": FirstLook()}, lambda *args: print)
        seconds.now += 2e-6
        start_response("200 OK", [("Content-Type", "text/html")])
        return body

    return layer


def test_the_time_is_the_layers_own_and_the_stores_and_not_the_applications(seconds: Seconds) -> None:
    store = cost.TimedStore(SlowStore(seconds))
    page = answer(cost.bar(site(seconds, store)))
    # 1 + 2 of the layer, 4 + 30 of the first look, 30 of the application's own load.
    assert text(page) == "this page: 2 store calls · 67 µs in the session layer"


def test_the_servers_start_response_is_not_the_session_layers_time(seconds: Seconds) -> None:
    store = cost.TimedStore(SlowStore(seconds))

    def slow_server(status: str, headers: Any, exc_info: Any = None) -> Any:
        seconds.now += 7.0

    page = b"".join(cost.bar(site(seconds, store))({"PATH_INFO": "/"}, slow_server))
    assert text(page) == "this page: 2 store calls · 67 µs in the session layer"


def test_an_untouched_page_is_not_looked_at_for_it(seconds: Seconds) -> None:
    store = cost.TimedStore(SlowStore(seconds))
    page = answer(cost.bar(site(seconds, store, untouched=("/how",))), "/how")
    assert text(page) == "this page: 1 store call · 33 µs in the session layer"


def test_a_failing_store_call_is_a_call_too(seconds: Seconds) -> None:
    class Failing(BareStore):
        def load(self, key: bytes, now: float) -> Record | None:
            seconds.now += 5e-6
            raise OSError

    store = cost.TimedStore(Failing())

    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        with pytest.raises(OSError):
            store.load(b"", 0)
        return [PAGE]

    assert text(answer(cost.bar(app))) == "this page: 1 store call · 5 µs in the session layer"


def test_the_figures_take_no_more_and_no_fewer_bytes_than_the_placeholder(seconds: Seconds) -> None:
    for took in (0.0, 1e-6, 1.5, 100_000.0):

        def app(environ: Any, start_response: Any, took: float = took) -> Iterable[bytes]:
            seconds.now += took
            return [PAGE]

        page = answer(cost.bar(app))
        assert len(page) == len(PAGE)
        assert cost.PLACEHOLDER.encode() not in page


def test_a_body_that_is_no_page_passes_through_as_it_is() -> None:
    file = iter([b"bytes"])
    assert cost.bar(lambda environ, start_response: file)({}, lambda *args: print) is file  # type: ignore[arg-type, return-value]


def test_requests_at_the_same_time_do_not_count_for_each_other() -> None:
    store = cost.TimedStore(BareStore())
    all_inside = threading.Barrier(4)
    pages: dict[int, str] = {}

    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        all_inside.wait(20)
        for _ in range(environ["loads"]):
            store.load(b"", 0)
        all_inside.wait(20)
        return [PAGE]

    def visit(loads: int) -> None:
        pages[loads] = text(b"".join(cost.bar(app)({"loads": loads}, lambda *args: print)))  # type: ignore[arg-type]

    threads = [threading.Thread(target=visit, args=(loads,)) for loads in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    counted = {loads: int(re.findall(r"page: (\d+) store", page)[0]) for loads, page in pages.items()}
    assert counted == {1: 1, 2: 2, 3: 3, 4: 4}


def test_the_timed_store_offers_what_the_store_inside_offers_and_no_more() -> None:
    with MemoryStore() as rich:
        for protocol in (Sweeps, ListsOwners, Counts):
            assert isinstance(cost.TimedStore(rich), protocol)
            assert not isinstance(cost.TimedStore(BareStore()), protocol)
        assert cost.TimedStore(rich).multiprocess is rich.multiprocess
    assert cost.TimedStore(BareStore()).multiprocess is False
    assert cost.TimedStore(BareStore()).sweep_due is True


def test_a_store_is_swept_after_the_answer_when_that_is_due() -> None:
    """Every visitor who is shown a form is a session: the store would grow for ever."""

    class Swept(MemoryStore):
        sweeps = 0

        def sweep(self, limit: int, now: float) -> int:
            self.sweeps += 1
            return super().sweep(limit, now)

    def visit(environ: Any, start_response: Callable[..., Any]) -> list[bytes]:
        environ["session"]["a"] = 1
        start_response("200 OK", [("Content-Type", "text/html")])
        return [PAGE]

    with Swept() as store:
        secret = "d1c8f0c7a5b94e6f8f27c0a3b5d6e7f8"
        app = cost.bar(SessionMiddleware(cost.clock(visit), secret=secret, store=cost.TimedStore(store)))
        store.sweep_due = True
        environ = {"PATH_INFO": "/", "REQUEST_METHOD": "GET"}
        body: Any = app(environ, lambda status, headers, exc_info=None: lambda data: None)
        assert "store call" in text(b"".join(body))
        assert store.sweeps == 0
        body.close()
        assert (store.sweeps, store.sweep_due) == (1, False)


@pytest.mark.parametrize(("path", "calls"), [("/how", 0), ("/", 1), ("/cart", 1), ("/profile", 1), ("/nowhere", 1)])
def test_a_page_costs_as_many_store_calls_as_the_contract_says(
    visitor: Callable[..., Curl], path: str, calls: int
) -> None:
    ann = visitor()
    ann.log_in()
    ann.get("/")  # Takes the flash message away, which is a write.
    page = ann.get(path)
    assert f"this page: {calls} store call{'' if calls == 1 else 's'} ·" in page.words
    assert page.header("Content-Length") == str(len(page.body))


def test_the_page_of_devices_reads_the_data_of_each_once(visitor: Callable[..., Curl]) -> None:
    ann = visitor()
    ann.log_in()
    ann.get("/")
    page = ann.get("/devices")
    devices = page.body.count(b"<dt>Last seen</dt>")
    assert devices
    # The page's own session, the list, and the data of each.
    assert f"this page: {2 + devices} store calls ·" in page.words


def test_a_page_that_changes_the_session_costs_one_call_more(visitor: Callable[..., Curl]) -> None:
    ann = visitor()
    ann.log_in()
    assert "this page: 2 store calls ·" in ann.get("/").words


def test_a_stranger_who_only_looks_costs_no_store_call(visitor: Callable[..., Curl]) -> None:
    assert "this page: 0 store calls ·" in visitor().get("/").words
