"""An ini file is enough: PasteDeploy builds the middleware from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from paste.deploy import loadfilter

from wsgi_session import ConfigError, SessionMiddleware
from wsgi_session.config.keygen import new_secret
from wsgi_session.testing import plant, read


def site(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [])
    return []


def load(folder: Path, *options: str) -> SessionMiddleware:
    lines = ["[filter:session]", "use = egg:wsgi-session", f"secret = {new_secret()}", *options]
    ini = folder / "shop.ini"
    ini.write_text("\n".join(lines))
    built = loadfilter(f"config:{ini}", name="session")(site)
    assert isinstance(built, SessionMiddleware)
    return built


def test_paste_builds_the_middleware_from_a_filter_section(tmp_path: Path) -> None:
    with load(tmp_path, f"store = sqlite:///{tmp_path}/sessions.db", "cookie_name = shop", "idle_timeout = 15m") as app:
        cookie = plant(app, {"cart": ["tea"]})
        assert cookie.startswith("shop=")
        assert read(app, cookie) == {"cart": ["tea"]}
        assert app.app is site


def test_a_mistyped_option_in_the_section_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="idle_timeuot"):
        load(tmp_path, "store = memory://", "idle_timeuot = 15m")
