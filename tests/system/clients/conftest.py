from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.npm import modules
from tests.support.serving import serving_http, serving_https
from tests.system.clients.client import Client
from tests.system.clients.curl import CurlJar
from tests.system.clients.node import PACKAGE, Node
from tests.system.clients.python import Httpx, Requests, Urllib
from tests.system.clients.site import mounted


class Place(NamedTuple):
    """The site's scheme and mount point, and the path and the name of its cookie there."""

    scheme: str
    mount: str
    cookie_path: str
    cookie_name: str


PLACES = {
    "http": Place("http", "", "/", "sid"),
    "http below a path": Place("http", "/shop", "/", "sid"),
    "http, cookie for the path": Place("http", "/shop", "/shop", "sid"),
    "https": Place("https", "", "/", "__Host-sid"),
    "https, cookie for the path": Place("https", "/shop", "/shop", "__Secure-sid"),
}


class Served(NamedTuple):
    place: Place
    address: str
    authority: Path | None


@pytest.fixture(scope="package", params=PLACES)
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    place = PLACES[request.param]
    app = mounted(place.mount, place.cookie_path)
    if place.scheme == "https":
        with serving_https(app, tmp_path_factory.mktemp("tls")) as (address, authority):
            yield Served(place, address, authority)
    else:
        with serving_http(app) as address:
            yield Served(place, address, None)


@pytest.fixture(params=[CurlJar, Urllib, Requests, Httpx, Node], ids=lambda client: client.__name__)
def client(request: pytest.FixtureRequest, served: Served, tmp_path: Path) -> Iterator[Client]:
    needs = [modules(request.config.cache, PACKAGE)] if request.param is Node else []
    made = request.param(served.address + served.place.mount, tmp_path, served.authority, *needs)
    yield made
    made.end()
