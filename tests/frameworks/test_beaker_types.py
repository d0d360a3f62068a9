"""The promises that Beaker does not keep, for each of its types that keeps sessions on a server."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.frameworks.beaker_site import BeakerSite
from tests.support.servers import shared

engine = pytest.mark.engine


def _nodes() -> str:
    """Return the nodes of a cluster as Beaker's ``urls``."""
    hosts = shared.valkey_cluster().removeprefix("redis+cluster://").partition("?")[0]
    return ",".join(f"redis://{host}" for host in hosts.split(","))


TYPES: dict[str, Callable[[Path], dict[str, Any]]] = {
    "memory": lambda folder: {"type": "memory"},
    "file": lambda folder: {"type": "file", "data_dir": str(folder)},
    "database": lambda folder: {"type": "ext:database", "url": f"sqlite:///{folder}/app.db"},
    "postgres": lambda folder: {"type": "ext:database", "sa.url": shared.postgres(), "table_name": "beaker"},
    "redis": lambda folder: {"type": "ext:redis", "url": shared.valkey()},
    "rediscluster": lambda folder: {"type": "ext:rediscluster", "urls": _nodes()},
}
ENGINES = ("postgres", "redis", "rediscluster")


@pytest.fixture(params=[pytest.param(name, marks=[engine] * (name in ENGINES)) for name in TYPES])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BeakerSite]:
    if request.param in ("database", "postgres"):
        pytest.importorskip("sqlalchemy", reason="pip install 'wsgi-session[sql]'")
    if request.param in ("redis", "rediscluster"):
        pytest.importorskip("redis", reason="pip install redis")
    site = BeakerSite(**TYPES[request.param](tmp_path))
    with site.middleware:
        yield site


def save(**values: Any) -> Callable[[Any], str]:
    def page(session: Any) -> str:
        session.update(values)
        session.save()
        return str(session.id)

    return page


def test_overlapping_requests_keep_each_others_keys(site: BeakerSite) -> None:
    visitor = site.visitor()
    visitor.do(save(cart=["tea"]))
    meeting = threading.Barrier(4, timeout=20)

    def page(key: str) -> Callable[[Any], None]:
        def run(session: Any) -> None:
            assert session["cart"] == ["tea"]
            meeting.wait()
            session[key] = "kept"
            session.save()

        return run

    threads = []
    for number in range(4):
        other = site.visitor()
        other.jar = dict(visitor.jar)
        threads.append(threading.Thread(target=other.do, args=(page(f"key{number}"),)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert visitor.do(dict) == {"cart": ["tea"], **{f"key{number}": "kept" for number in range(4)}}


def test_a_slow_save_does_not_bring_back_a_session_that_was_deleted(site: BeakerSite) -> None:
    visitor, slow = site.visitor(), site.visitor()
    found = visitor.do(save(user="ann"))
    slow.jar = dict(visitor.jar)

    def page(session: Any) -> None:
        session["seen"] = True
        session.save()
        visitor.do(lambda other: other.delete())

    slow.do(page)
    assert slow.do(dict) == {}
    assert visitor.do(lambda session: session.get_by_id(found)) is None


def test_a_session_is_found_by_its_id_until_the_id_changes(site: BeakerSite) -> None:
    visitor = site.visitor()
    old = visitor.do(save(user="ann"))
    assert site.visitor().do(lambda session: dict(session.get_by_id(old))) == {"user": "ann"}
    new = visitor.do(lambda session: (session.regenerate_id(), session.id)[1])
    assert site.visitor().do(lambda session: session.get_by_id(old)) is None
    assert site.visitor().do(lambda session: dict(session.get_by_id(new))) == {"user": "ann"}
