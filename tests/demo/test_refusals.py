"""What the site does not do: for strangers, for other sites, for broken requests."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.support.curl import COOKIE, Curl

Visitor = Callable[..., Curl]

SAME_ORIGIN = ("-H", "Sec-Fetch-Site: same-origin")

POSTS = {
    "/cart/add": {"sku": "chip"},
    "/cart/take": {"sku": "chip"},
    "/cart/empty": {},
    "/login": {"email": "ann@example.com", "password": "shortbread"},
    "/logout": {},
    "/devices/sign-out": {"handle": "x"},
    "/devices/sign-out-others": {},
}


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize("site", ["cross-site", "same-site", ""], ids=["another site", "another host", "no browser"])
def test_a_form_of_another_site_is_refused_and_changes_nothing(visitor: Visitor, path: str, site: str) -> None:
    ann = visitor()
    ann.submit("/cart", "/cart/add", sku="chip")
    if path != "/login":
        ann.log_in()
    answer = ann.post(path, site=site, **POSTS[path])
    assert answer.status == 403
    assert "This form was not accepted" in answer.words
    assert "Chocolate chip − 1 +" in ann.get("/cart").words
    assert ann.get("/profile").status == (302 if path == "/login" else 200)


def test_a_form_from_before_the_login_still_works_after_it(visitor: Visitor) -> None:
    ann = visitor()
    ann.get("/cart")
    ann.log_in()
    assert ann.post("/cart/add", sku="chip").status == 303


def test_a_login_that_another_site_sends_does_not_take_the_cookie_away(visitor: Visitor) -> None:
    """It comes without the cookie: a session made for it would take the place of the visitor's own."""
    answer = visitor().post(
        "/login", site="cross-site", email="eve@example.com", password="x", next="https://evil.example/"
    )
    assert (answer.status, answer.header("Set-Cookie")) == (403, None)
    assert "evil.example" not in answer.html


@pytest.mark.parametrize(
    ("path", "page"), [("/cart/add", "/cart"), ("/devices/sign-out-others", "/devices"), ("/logout", "/")]
)
def test_any_other_form_that_is_refused_leads_back_to_its_page(visitor: Visitor, path: str, page: str) -> None:
    ann = visitor()
    ann.log_in()
    assert f'<a class="button" href="{page}">' in ann.post(path, site="cross-site").html


def test_a_logout_where_nobody_is_logged_in_any_more_is_no_error(visitor: Visitor) -> None:
    ann, phone = visitor(), visitor()
    for somebody in (ann, phone):
        somebody.log_in()
    ann.submit("/devices", "/devices/sign-out-others")
    answer = phone.post("/logout")
    assert (answer.status, answer.header("Location")) == (303, "/")


@pytest.mark.parametrize("path", ["/devices/sign-out", "/devices/sign-out-others"])
def test_a_stranger_signs_nobody_out(visitor: Visitor, path: str) -> None:
    stranger = visitor()
    answer = stranger.post(path, handle="x")
    assert (answer.status, answer.header("Location")) == (303, "/login")


@pytest.mark.parametrize(
    "target", ["https://evil.example/", "//evil.example", "/\\evil.example", "/\t/evil.example", "javascript:alert(1)"]
)
def test_the_login_never_leads_to_another_site(visitor: Visitor, target: str) -> None:
    assert visitor().log_in(next=target).header("Location") == "/"


@pytest.mark.parametrize("path", ["/nowhere", "/cart/", "/static/", "/static/../app.py", "/%ff", "/%00"])
def test_an_unknown_address_gets_404_in_the_sites_own_design(visitor: Visitor, path: str) -> None:
    answer = visitor().get(path)
    assert answer.status == 404
    assert "That cookie is not in the jar" in answer.words
    assert 'href="/static/site.css"' in answer.html


def test_an_unknown_cookie_cannot_be_bought(visitor: Visitor) -> None:
    ann = visitor()
    assert ann.post("/cart/add", sku="caviar").status == 404
    assert "Nothing yet." in ann.get("/cart").words


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/logout", "POST"),
        ("DELETE", "/", "GET"),
        ("PUT", "/login", "GET, POST"),
        ("POST", "/static/site.css", "GET"),
    ],
)
def test_a_wrong_method_gets_405_and_hears_which_are_right(
    visitor: Visitor, method: str, path: str, allowed: str
) -> None:
    answer = visitor().get(path, "-X", method)
    assert (answer.status, answer.header("Allow")) == (405, allowed)
    assert "Method not allowed" in answer.words


@pytest.mark.parametrize("options", [["/login?as=%ff"], ["/login?%ff=1"]])
def test_an_address_that_is_no_utf_8_gets_400(visitor: Visitor, options: list[str]) -> None:
    answer = visitor().get(*options)
    assert answer.status == 400
    assert "We cannot read that" in answer.words


def test_a_form_that_is_no_utf_8_is_refused_without_an_error_of_ours(visitor: Visitor) -> None:
    ann = visitor()
    answer = ann.get("/login", *SAME_ORIGIN, "--data", "email=%ff%fe", "--data", "password=%ff")
    assert 400 <= answer.status < 500


@pytest.mark.parametrize(
    "kind",
    ["multipart/form-data; boundary=", "multipart/form-data", "application/x-www-form-urlencoded; charset=nonsense"],
)
def test_a_form_that_cannot_be_read_gets_400(visitor: Visitor, kind: str) -> None:
    ann = visitor()
    headers = ("-H", f"Content-Type: {kind}", *SAME_ORIGIN)
    assert ann.get("/login", *headers, "--data", "--x").status == 400


def test_a_file_where_text_was_wanted_is_a_wrong_password(visitor: Visitor) -> None:
    ann = visitor()
    answer = ann.get("/login", *SAME_ORIGIN, "-F", "email=ann@example.com", "-F", "password=shortbread;filename=a.txt")
    assert answer.status == 422


def test_what_a_visitor_types_is_shown_as_text(visitor: Visitor) -> None:
    ann = visitor()
    typed = '"><script>alert(1)</script>'
    answer = ann.post("/login", email=typed, password="x")
    assert "<script" not in answer.html
    assert "&lt;script&gt;" in answer.html


@pytest.mark.parametrize(
    "path",
    ["/", "/cart", "/login", "/profile", "/how", "/live", "/session.json", "/static/live.js", "/nowhere", "/logout"],
)
def test_every_answer_keeps_scripts_frames_and_guesses_out(visitor: Visitor, path: str) -> None:
    answer = visitor().get(path)
    policy = answer.header("Content-Security-Policy")
    assert policy is not None
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert answer.header("X-Content-Type-Options") == "nosniff"
    assert answer.header("Referrer-Policy") == "same-origin"


@pytest.mark.parametrize(
    "cookie",
    [f"{COOKIE}=", f"{COOKIE}=x.y.z", f"{COOKIE}=%00", f"a;{COOKIE}=\xe5", f"{COOKIE}=" + "A" * 5000, ";" * 5000],
)
def test_a_broken_cookie_makes_a_stranger_and_no_error(visitor: Visitor, cookie: str) -> None:
    ann = visitor()
    assert ann.get("/", "-H", f"Cookie: {cookie}").status == 200
    assert ann.get("/profile", "-H", f"Cookie: {cookie}").status == 302
