"""The how-to pages keep their promises: each test visits what a page builds."""

from __future__ import annotations

import configparser
import json
import re
import subprocess
import sys
from code import InteractiveConsole
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from webob import Request

from tests.support import ROOT
from tests.support.client import Client
from tests.support.pages import run_page
from wsgi_session import SessionMiddleware, login, logout
from wsgi_session.config.keygen import new_secret
from wsgi_session.config.text import parse_options
from wsgi_session.stores import open_store
from wsgi_session.testing import FakeClock, plant, read

HOWTO = ROOT / "docs" / "howto"
#: What browsers send with a request of a page's own script.
SCRIPT = {"Sec-Fetch-Site": "same-origin", "Sec-Fetch-Mode": "cors"}


class Unread(BytesIO):
    """A body that must not be read."""

    def read(self, size: int | None = -1) -> bytes:
        raise AssertionError("the body was read")


def plain(environ: dict[str, Any], start_response: Any) -> list[bytes]:
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"plain"]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("SESSION_SECRET", "OLD_SECRET", "NEW_SECRET"):
        monkeypatch.setenv(name, new_secret())


def build(name: str) -> dict[str, Any]:
    """Run a page, and give what it builds a store of its own: the page's one is closed by then."""
    return run_page(HOWTO / f"{name}.md")


def serve(app: Any, **options: Any) -> SessionMiddleware:
    return SessionMiddleware(app, secret=new_secret(), store="memory://", **options)


def test_a_cart_survives_the_login_is_joined_and_ends_with_the_logout() -> None:
    with serve(build("cart")["shop"]) as app:
        phone, desk = Client(app), Client(app)
        phone.open("/add/tea")
        phone.open("/login/ann")
        assert phone.open("/").text == "{'tea': 1}"
        desk.open("/add/cup")
        for _ in range(2):
            desk.open("/login/ann")
            assert desk.open("/").text == "{'cup': 1, 'tea': 1}"
        # Both are logged in: neither saves its own cart over what the other has added.
        phone.open("/add/pot")
        desk.open("/add/jam")
        phone.open("/logout")
        phone.open("/login/ann")
        assert phone.open("/").text == "{'cup': 1, 'jam': 1, 'pot': 1, 'tea': 1}"
        desk.open("/login/bob")
        assert desk.open("/").text == "{}"
        phone.open("/logout")
        assert phone.open("/").text == "{}"


def test_a_login_is_bound_to_its_device() -> None:
    from tests.support.device import DeviceClient

    clock = FakeClock()
    with serve(build("device-bound")["site"], experimental_device_bound=True, clock=clock) as app:
        visitor = DeviceClient(app)
        visitor.clock = clock
        visitor.open("/login", base_url="https://localhost")
        clock.advance(240)
        assert visitor.open("/", base_url="https://localhost").text == "Ann"
        thief = Client(app)
        thief.jar = {"__Host-sid": visitor.jar["__Host-sid"]}
        assert thief.open("/", base_url="https://localhost").text == "Nobody is logged in."


def test_htmx_opens_the_login_page_and_needs_no_token() -> None:
    with serve(build("htmx")["members"]) as app:
        htmx = {**SCRIPT, "HX-Request": "true"}
        visitor = Client(app)
        refused = visitor.open("/likes", headers=htmx)
        assert (refused.code, refused.header("HX-Redirect")) == (401, "/login")
        cookie = {"Cookie": plant(app, {"user": {"id": 5}})}
        assert visitor.open("/like", method="POST", headers={**htmx, **cookie}).text == "1 likes"
        assert visitor.open("/likes", headers={**htmx, **cookie}).text == "1 likes"
        forged = {**htmx, **cookie, "Sec-Fetch-Site": "cross-site"}
        assert visitor.open("/like", method="POST", headers=forged).code == 403
        assert "hx-post" in visitor.open("/", headers=cookie).text


def test_a_front_end_on_another_origin_logs_in_and_other_origins_do_not() -> None:
    names = build("other-origin")
    with serve(names["guarded"]) as inner:
        visitor = Client(names["allow_front_end"](inner))
        theirs = {"Origin": "https://app.example.com", "Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"}
        preflight = visitor.open("/cart", method="OPTIONS", headers=theirs)
        assert (preflight.code, preflight.header("Access-Control-Allow-Credentials")) == (204, "true")

        def post(path: str, body: bytes, **headers: str) -> Any:
            given = {**theirs, "Content-Type": "application/json", **headers}
            return visitor.open(path, method="POST", body=body, headers=given)

        refused = visitor.open("/cart", headers=theirs)
        assert (refused.code, refused.header("Access-Control-Allow-Origin")) == (401, "https://app.example.com")
        assert post("/login", b'{"name": "ann"}').code == 200
        assert post("/cart", b'["tea"]').text == '["tea"]'
        assert '"id": "ann"' in visitor.open("/session", headers=theirs).text
        assert post("/cart", b"[]", Origin="https://evil.example.com").code == 403
        assert visitor.open("/cart", headers=theirs).text == '["tea"]'
        # A cache must not give the front end what another page got, without the headers for it.
        for origin in ({}, {"Origin": "https://evil.example.com"}):
            assert "Origin" in ", ".join(visitor.open("/cart", headers=origin).all("Vary"))


def test_a_front_end_on_another_site_keeps_its_token_and_says_that_the_visitor_stays() -> None:
    names, clock = build("json-api"), FakeClock()
    with serve(names["api"], transport="header", clock=clock, idle_timeout=3600) as inner:
        front_end = Client(names["allow_front_end"](inner))
        theirs = {"Origin": names["FRONT_END"], "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "cors"}
        preflight = front_end.open("/cart", method="OPTIONS", headers=theirs)
        assert (preflight.code, preflight.header("Access-Control-Allow-Headers")) == (
            204,
            "Authorization, Content-Type",
        )
        token = "new"

        def call(path: str, method: str = "GET", body: bytes = b"") -> Any:
            nonlocal token
            headers = {**theirs, "Authorization": f"Bearer {token}"}
            answer = front_end.open(path, method=method, body=body, headers=headers)
            assert "Session-Token" in str(answer.header("Access-Control-Expose-Headers"))
            token = answer.header("Session-Token") or token
            return answer

        assert call("/cart").code == 401
        assert "Origin" in ", ".join(front_end.open("/cart").all("Vary"))
        assert call("/login", "POST", b'{"name": "ann"}').code == 200
        assert call("/cart", "POST", b'["tea"]').text == '["tea"]'
        clock.advance(3500)
        before = json.loads(call("/session").text)["expires"]
        assert json.loads(call("/session", "POST").text)["expires"] > before
        clock.advance(3500)
        assert call("/cart").text == '["tea"]'
        call("/logout", "POST")
        assert call("/session").text == "{}"
        assert front_end.jar == {}


def test_an_app_and_a_website_have_the_same_users() -> None:
    names = build("mobile-app")
    options = {"transport": "both", "describe": names["describe_device"]}
    with serve(names["protect_from_csrf"](names["shop"]), **options) as app:
        client = Client(app)
        posted: dict[str, Any] = {"method": "POST", "body": b'{"name": "Ann"}'}
        first = client.open("/login", headers={"Authorization": "Bearer new"}, **posted)
        assert (first.header("Cache-Control"), first.header("Vary")) == ("private, no-store", "Cookie, Authorization")
        theirs = {"Authorization": f"Bearer {first.header('Session-Token')}"}
        assert client.open("/orders", headers=theirs).text == "[]"
        assert client.open("/orders", headers={"Authorization": "Bearer new"}).code == 401
        assert client.jar == {}
        assert client.open("/login", **posted).code == 403
        assert client.open("/login", headers=SCRIPT, **posted).header("Session-Token") is None
        assert client.open("/orders").text == "[]"
        assert len(app.sessions.of("id:5")) == 2
        client.open("/logout", headers=theirs, method="POST")
        assert len(app.sessions.of("id:5")) == 1
        assert client.open("/orders", headers=theirs).code == 401


def test_a_stream_shows_news_of_others_and_ends_with_the_logout() -> None:
    names = build("realtime")
    names["INTERVAL"] = 0

    def site(environ: dict[str, Any], start_response: Any) -> Any:
        if environ["PATH_INFO"] == "/news":
            return names["news"](environ, start_response)
        {"/login": lambda: login(environ, {"id": 5}), "/logout": lambda: logout(environ)}[environ["PATH_INFO"]]()
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [b"done"]

    with serve(site) as app:
        visitor = Client(app)
        assert visitor.open("/news").code == 401
        visitor.open("/login")
        body = iter(app(Request.blank("/news", headers={"Cookie": visitor.header}).environ, lambda *_: lambda _: None))
        assert next(body) == b"data: waiting\n\n"
        (device,) = app.sessions.of({"id": 5})
        app.sessions.update({"id": 5}, device.handle, lambda data: data.update(report="ready"))
        assert next(body) == b"data: ready\n\n"
        visitor.open("/logout")
        assert list(body) == []
        body.close()  # type: ignore[attr-defined]


def test_a_job_tells_the_visitor_its_result_and_does_not_mind_a_logout() -> None:
    names = build("jobs")
    with serve(names["order_report"]) as app:
        names["app"] = app
        cookie = plant(app, {"user": {"id": 5}})
        (device,) = app.sessions.of({"id": 5})
        names["write_report"]("id:5", device.handle)
        (device,) = app.sessions.of({"id": 5})
        assert device.data["report"] == "12 pages"
        assert Client(app).open("/", headers={"Cookie": cookie}).code == 202
        names["jobs"].shutdown()
        app.sessions.revoke_all({"id": 5})
        names["write_report"]("id:5", device.handle)


def test_a_job_that_is_faster_than_the_response_keeps_its_result() -> None:
    class AtOnce:
        def submit(self, job: Any, *arguments: Any) -> None:
            job(*arguments)

    names = build("jobs")
    names["jobs"] = AtOnce()
    with serve(names["order_report"]) as names["app"]:
        cookie = plant(names["app"], {"user": {"id": 5}})
        assert Client(names["app"]).open("/", headers={"Cookie": cookie}).code == 202
        assert names["app"].sessions.of({"id": 5})[0].data["report"] == "12 pages"


def test_tenants_share_a_store_and_no_session() -> None:
    names = build("several-sites")
    with serve(names["count"], namespace=names["tenant_of"], validate=names["is_allowed"]) as app:

        def visits(host: str, cookie: str = "") -> Any:
            return Request.blank("/", headers={"Host": host, "Cookie": cookie}).get_response(app)

        cookie = visits("ann.example.com").headers["Set-Cookie"].partition(";")[0]
        assert visits("ann.example.com:8000", cookie).text == "2"
        assert visits("bob.example.com", cookie).text == "1"
        assert visits("eve.example.com", cookie).text == "1"
        # Only Ann's first visit, and what the cookie did not open for Bob and Eve.
        counts = [app.sessions.tenant(name).count() for name in ("ann", "bob", "unknown")]
        assert counts == [1, 1, 1]


def test_a_login_at_another_site_takes_the_cart_along_and_its_answer_works_once() -> None:
    names = build("transactions")

    def site(environ: dict[str, Any], start_response: Any) -> Any:
        page = names["finish_login" if environ["REQUEST_METHOD"] == "POST" else "start_login"]
        if environ["REQUEST_METHOD"] == "GET":
            environ["session"]["cart"] = ["tea"]
        return page(environ, start_response)

    with serve(site) as app:
        visitor = Client(app)
        state = str(visitor.open("/login", lint=False).header("Location")).partition("RelayState=")[2]
        del visitor.jar["sid"]
        answer: dict[str, Any] = {"POST": {"RelayState": state}, "headers": {"Sec-Fetch-Site": "cross-site"}}
        assert visitor.open("/answer", lint=False, **answer).header("Location") == "/cart"
        assert app.sessions.of("id:5")[0].data["cart"] == ["tea"]
        assert visitor.open("/answer", lint=False, **answer).header("Location") == "/login"


def test_robots_leave_nothing_and_a_guest_leaves_something_for_two_hours() -> None:
    clock = FakeClock()
    names = build("robots")
    with serve(names["protect_from_csrf"](names["pages"]), clock=clock, anonymous_timeout=7200) as app:
        for _ in range(3):
            assert Client(app).open("/").header("Set-Cookie") is None
        assert app.sessions.count() == 0
        guest = Client(app)
        assert guest.open("/", POST={"other": "tea"}, headers=SCRIPT).code == 200
        assert app.sessions.count() == 0
        guest.open("/", POST={"item": "tea"}, headers=SCRIPT)
        assert "1 in the cart" in guest.open("/").text
        clock.advance(7201)
        assert "0 in the cart" in guest.open("/").text


def test_the_shell_shows_repairs_and_ends_a_session(capsys: pytest.CaptureFixture[str]) -> None:
    names = build("shell")
    assert "half done" in capsys.readouterr().out
    assert "report" not in names["repaired"]
    assert names["left"] == []


def test_the_lines_for_the_shell_can_be_pasted(capsys: pytest.CaptureFixture[str]) -> None:
    page = (HOWTO / "shell.md").read_text("utf-8")
    with serve(plain) as middleware:
        console = InteractiveConsole({"middleware": middleware})
        for block in re.findall(r"^```python\n(.*?)^```$", page, re.M | re.S):
            for line in [*block.splitlines(), ""]:
                console.push(line)
    shown = capsys.readouterr()
    assert "half done" in shown.out
    assert shown.err == ""


def test_a_user_logs_single_devices_out_and_all_the_others() -> None:
    names = build("devices")

    def site(environ: dict[str, Any], start_response: Any) -> Any:
        if environ["PATH_INFO"] == "/login":
            login(environ, {"id": environ["QUERY_STRING"]})
            return plain(environ, start_response)
        return names["account"](environ, start_response)

    clock = FakeClock()
    with serve(site, describe=names["describe_device"], clock=clock) as names["middleware"]:
        desk, phone, tablet, eve = (Client(names["middleware"]) for _ in range(4))
        for device in (desk, phone, tablet):
            device.open("/login?ann", headers={"User-Agent": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Firefox/140.0"})
        eve.open("/login?eve")
        page = desk.open("/devices").text
        assert page.count("Firefox on Linux") == 3
        assert page.count("This device") == 1
        handles = re.findall("name=handle value=([^>]+)>", page)
        assert len(handles) == 2
        eve.open("/devices", POST={"handle": handles[0]}, headers=SCRIPT)
        assert desk.open("/devices", POST={"handle": handles[0]}, headers=SCRIPT).text.count("Firefox") == 2
        assert desk.open("/devices", POST={}, method="POST", headers=SCRIPT).text.count("Firefox") == 1
        assert [device.open("/devices").code for device in (desk, phone, tablet, eve)] == [200, 302, 302, 200]
        # With a stolen session, nobody is logged out without the password.
        phone.open("/login?ann")
        clock.advance(15 * 60 + 1)
        refused = desk.open("/devices", POST={}, method="POST", headers={"Sec-Fetch-Site": "same-origin"})
        assert (refused.code, refused.header("Location")) == (303, "/confirm")
        assert len(names["middleware"].sessions.of("id:ann")) == 2


def test_an_administrators_login_lasts_half_an_hour() -> None:
    names = build("lifetime")
    clock = FakeClock()

    def site(environ: dict[str, Any], start_response: Any) -> Any:
        if role := environ["QUERY_STRING"]:
            names["log_in"](environ, {"id": role, "role": role}, True)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [str(environ["session"].owner).encode()]

    with serve(site, clock=clock) as app:
        ann, root = Client(app), Client(app)
        ann.open("/?member")
        root.open("/?admin")
        assert "Max-Age" not in root.answer.all("Set-Cookie")[0]
        assert "Max-Age" in ann.answer.all("Set-Cookie")[0]
        clock.advance(31 * 60)
        assert (ann.open("/").text, root.open("/").text) == ("id:member", "None")


def test_roles_are_asked_at_each_request() -> None:
    names = build("protect")

    def asked(page: str, user: dict[str, Any] | None) -> int:
        with serve(names[page]) as app:
            cookie = {} if user is None else {"Cookie": plant(app, {"user": user})}
            return Client(app).open("/", headers=cookie).code

    # The page's `site` belongs to a request that is over.
    names["site"] = names["editors_only"] = names["require_role"](plain, "editor")
    assert asked("editors_only", None) == 302
    assert asked("editors_only", {"id": 5}) == 200
    assert asked("editors_only", {"id": 6}) == 403
    assert asked("admins_only", {"id": 5}) == 403


@pytest.mark.parametrize(("page", "made"), [("protect", "admins_only"), ("devices", "account"), ("htmx", "members")])
def test_a_preflight_without_a_cookie_is_no_error_of_a_protected_page(page: str, made: str) -> None:
    names = build(page)
    with serve(names[made]) as names["middleware"]:
        preflight = {"Origin": "https://front.example.net", "Access-Control-Request-Method": "POST"}
        assert Client(names["middleware"]).open("/", method="OPTIONS", headers=preflight).code < 500


def test_an_upload_of_another_site_is_refused_before_it_is_read() -> None:
    with serve(build("forms")["uploads"]) as app:
        photo = {"photo": ("cat.png", b"1234")}
        assert Client(app).open("/", POST=photo, headers=SCRIPT).code == 303
        for odd in ({}, {"photo": "a text"}):
            assert Client(app).open("/", POST=odd, method="POST", headers=SCRIPT).code == 400
        refused = Request.blank("/", POST=photo, headers={"Sec-Fetch-Site": "cross-site"})
        refused.environ["wsgi.input"] = Unread()
        assert refused.get_response(app).status_int == 403


def test_a_new_password_ends_the_other_sessions() -> None:
    names = build("devices")
    clock = FakeClock()

    def site(environ: dict[str, Any], start_response: Any) -> Any:
        if environ["PATH_INFO"] == "/password":
            return names["change_password"](environ, start_response)
        login(environ, {"id": 7})
        return plain(environ, start_response)

    with serve(site, clock=clock) as app:
        names["middleware"] = app
        devices = [Client(app) for _ in range(3)]
        for device in devices:
            device.open("/login")
            clock.advance(60)
        assert app.sessions.count() == 3
        devices[2].open("/password")
        (left,) = app.sessions.of({"id": 7})
        devices[2].open("/password")
        assert [device.handle for device in app.sessions.of({"id": 7})] == [left.handle]


def test_each_step_of_changing_the_secret_keeps_the_visitors_of_the_step_before() -> None:
    names = build("secret")
    old, new = names["OLD"], names["NEW"]
    secrets: list[Any] = [old, [old, new], [new, old], new]
    with open_store("memory://") as store:
        apps = [SessionMiddleware(plain, secret=secret, store=store) for secret in secrets]
        for before, after in pairwise(apps):
            for one, other in ((before, after), (after, before)):
                known = read(other, plant(one, {"user": {"id": 5}}))
                # A cookie of step 3 is not known to the old secret alone, and one of step 2 not to the new one alone.
                assert known == {"user": {"id": 5}} or (one, other) == (apps[2], apps[3])


@pytest.mark.full
def test_the_files_of_tests_pass(tmp_path: Path) -> None:
    for module in ("webtest", "flask", "django", "pyramid", "freezegun", "time_machine"):
        pytest.importorskip(module, reason="pip install -e '.[all,test]'")
    page = (HOWTO / "testing-tools.md").read_text("utf-8")
    files = re.findall(r"^```python\n# (test_\w+\.py)\n(.*?)^```$", page, re.M | re.S)
    assert len(files) == 5
    for name, code in files:
        (tmp_path / name).write_text(code, "utf-8")
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(tmp_path),
        str(tmp_path),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "9 passed" in done.stdout


def file_of(name: str) -> str:
    """Return a file of the page on platforms, without the comment that names it."""
    page = (HOWTO / "platforms.md").read_text("utf-8")
    (text,) = re.findall(rf"^```\w+\n# {re.escape(name)}.*?\n(.*?)^```$", page, re.M | re.S)
    return str(text)


def check_environment(environment: dict[str, str]) -> None:
    """The middleware accepts these settings."""
    given = {**environment, "WSGI_SESSION_SECRET": new_secret()}
    options = parse_options({key.lower(): value for key, value in given.items()}, "wsgi_session_")
    assert options["cookie_secure"] is True
    assert options["store"].startswith(("sqlite:////", "redis://"))


def test_the_unit_of_systemd_serves_the_application_and_may_write_its_store() -> None:
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # type: ignore[method-assign,assignment]
    unit.read_string(file_of("/etc/systemd/system/shop.service"))
    assert unit["Service"]["ExecStart"].split()[-1] == "shop:app"
    environment = dict(line.split("=", 1) for line in file_of("/etc/shop.env").splitlines())
    check_environment(environment)
    assert environment["WSGI_SESSION_STORE"].startswith(f"sqlite:////var/lib/{unit['Service']['StateDirectory']}/")


def test_the_dockerfile_has_a_volume_for_its_store_and_no_secret() -> None:
    lines = [line.split(" ", 1) for line in file_of("Dockerfile").splitlines()]
    given = {line[0]: line[1] for line in lines}
    assert json.loads(given["CMD"])[-1] == "shop:app"
    assert "SECRET" not in file_of("Dockerfile")
    environment = dict(pair.split("=", 1) for pair in given["ENV"].split())
    check_environment(environment)
    assert environment["WSGI_SESSION_STORE"].startswith(f"sqlite:///{given['VOLUME']}/")


def test_the_procfile_serves_the_application() -> None:
    assert re.fullmatch(r"web: gunicorn .* --bind 0\.0\.0\.0:\$PORT shop:app\n", file_of("Procfile"))


def test_the_file_of_fly_mounts_the_folder_of_the_store() -> None:
    tomllib = pytest.importorskip("tomllib", reason="elsewhere: Python 3.11 or newer")
    fly = tomllib.loads(file_of("fly.toml"))
    check_environment(fly["env"])
    assert fly["env"]["WSGI_SESSION_STORE"].startswith(f"sqlite:///{fly['mounts']['destination']}/")
    assert fly["http_service"]["checks"][0]["path"] == "/health"


def test_the_deployment_of_kubernetes_gives_each_pod_the_same_store_and_secret() -> None:
    yaml = pytest.importorskip("yaml", reason="pip install PyYAML")
    pods = yaml.safe_load(file_of("shop.yaml"))["spec"]["template"]["spec"]
    (container,) = pods["containers"]
    variables = {variable["name"]: variable for variable in container["env"]}
    assert "secretKeyRef" in variables.pop("WSGI_SESSION_SECRET")["valueFrom"]
    check_environment({name: variable["value"] for name, variable in variables.items()})


def test_the_password_is_asked_for_again_after_a_quarter_of_an_hour() -> None:
    clock = FakeClock()
    with serve(build("confirm")["account"], clock=clock) as app:
        ann = Client(app)
        ann.header = plant(app, {"user": {"id": 5}})
        clock.advance(16 * 60)
        asked = ann.open("/password")
        assert (asked.code, asked.header("Location")) == (302, "/confirm?next=/password")
        assert ann.open("/confirm?next=/password", POST={"password": "wrong"}).code == 200
        assert ann.open("/password").code == 302
        confirmed = ann.open("/confirm?next=/password", POST={"password": "wonderland"})
        assert (confirmed.code, confirmed.header("Location")) == (303, "/password")
        assert ann.open("/password").text == "Choose a new password."


def test_a_password_is_checked_only_for_a_visitor_who_is_logged_in() -> None:
    names = build("confirm")
    names["password_is_right"] = lambda user, password: user["id"] == 5 and password == "wonderland"
    with serve(names["account"]) as app:
        anonymous, ann = Client(app), Client(app)
        sent = anonymous.open("/confirm", POST={"password": "wonderland"}, headers={"Sec-Fetch-Mode": "navigate"})
        assert (sent.code, sent.header("Location")) == (303, "/login")
        ann.header = plant(app, {"user": {"id": 5}})
        assert ann.open("/confirm", POST={"other": "field"}).code == 200


def test_a_site_below_a_path_has_its_sessions_there() -> None:
    names = build("cookies")
    with serve(names["visits"], cookie_path="/shop") as names["shop"]:
        first = Request.blank("/shop/").get_response(names["host"])
        assert "Path=/shop" in first.headers["Set-Cookie"]
        cookie = first.headers["Set-Cookie"].partition(";")[0]
        assert Request.blank("/shop/", headers={"Cookie": cookie}).get_response(names["host"]).text == "2"
        assert Request.blank("/shopping", headers={"Cookie": cookie}).get_response(names["host"]).status_int == 404
