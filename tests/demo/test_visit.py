"""A visit, from the first look to the logout."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest

from tests.support.curl import COOKIE, Curl

Visitor = Callable[..., Curl]


@pytest.mark.parametrize(
    "path", ["/", "/how", "/live", "/profile", "/devices", "/session.json", "/static/site.css", "/nowhere"]
)
def test_a_visitor_who_only_reads_gets_no_cookie(visitor: Visitor, path: str) -> None:
    ann = visitor()
    assert ann.get(path).header("Set-Cookie") is None
    assert ann.cookie is None


def test_home_says_that_one_must_be_logged_in_and_then_greets_by_name(visitor: Visitor) -> None:
    ann = visitor()
    assert "You must be logged in" in ann.get("/").words
    ann.log_in()
    home = ann.get("/").words
    assert "Welcome back, Ann Archer!" in home
    assert "You must be logged in" not in home


def test_a_stranger_is_not_met_by_a_title_that_refuses(visitor: Visitor) -> None:
    assert "<title>Welcome · The Cookie Jar</title>" in visitor().get("/").html


#: A path, whether one must be logged in to see it, and what a stranger gets there.
WANTED = [
    ("/profile?tab=1", True, 302),
    ("/devices", True, 302),
    ("/cart", False, 200),
    ("/live", False, 200),
    ("/nowhere", False, 404),
    ("/", False, 200),
]


@pytest.mark.parametrize(("wanted", "must", "status"), WANTED, ids=[f"{path}-{must}" for path, must, _ in WANTED])
def test_the_login_page_says_that_one_must_be_logged_in_only_where_it_is_true(
    visitor: Visitor, wanted: str, must: bool, status: int
) -> None:
    assert ("You must be logged in to see that page." in visitor().get(f"/login?next={wanted}").words) is must
    assert visitor().get(wanted).status == status


def test_the_cart_filled_before_the_login_is_there_after_it(visitor: Visitor) -> None:
    ann = visitor()
    for sku in ("ginger", "jam", "jam"):
        ann.submit("/cart", "/cart/add", sku=sku)
    before = ann.get("/cart").words
    assert "Ginger snap − 1 + €1.80 Jam ring − 2 + €4.60 Total €6.40" in before
    ann.log_in()
    after = ann.get("/cart").words
    assert "Ginger snap − 1 + €1.80 Jam ring − 2 + €4.60 Total €6.40" in after
    assert "Cart 3 items" in after


def test_what_is_taken_out_of_the_cart_stays_out(visitor: Visitor) -> None:
    ann = visitor()
    for sku in ("chip", "chip", "oat"):
        ann.submit("/cart", "/cart/add", sku=sku)
    ann.submit("/cart", "/cart/take", sku="chip")
    ann.submit("/cart", "/cart/take", sku="oat")
    assert "Chocolate chip − 1 + €2.40 Total €2.40" in ann.get("/cart").words
    ann.submit("/cart", "/cart/empty")
    assert "Nothing yet." in ann.get("/cart").words


def test_the_profile_sends_to_the_login_and_the_login_comes_back(visitor: Visitor) -> None:
    ann = visitor()
    sent = ann.get("/profile?tab=1&x=%C3%A5")
    assert sent.status == 302
    login_page = sent.header("Location")
    assert login_page is not None
    assert login_page.startswith("/login?next=")
    page = ann.get(login_page)
    assert "You must be logged in to see that page." in page.words
    wanted = re.search(r'name="next" value="([^"]+)"', page.html)
    assert wanted
    there = ann.post("/login", next="/profile?tab=1&x=%C3%A5", email="ann@example.com", password="shortbread")
    assert (there.status, there.header("Location")) == (303, "/profile?tab=1&x=%C3%A5")
    assert wanted[1].replace("&amp;", "&") == "/profile?tab=1&x=%C3%A5"


def test_the_profile_welcomes_by_name_and_tells_the_email(visitor: Visitor) -> None:
    bjorn = visitor()
    bjorn.log_in("bjorn@example.com", "gingersnap")
    profile = bjorn.get("/profile")
    assert profile.status == 200
    assert "Welcome, Björn Åkesson!" in profile.words
    assert "Your email is bjorn@example.com" in profile.words


def test_the_profile_says_when_the_session_ends(visitor: Visitor) -> None:
    remembered, not_remembered = visitor(), visitor()
    remembered.log_in(remember="on")
    not_remembered.log_in()
    date = r"\d\d \w+ \d{4}, \d\d:\d\d UTC"
    assert re.search(rf"Ends, unless you return {date} Ends in any case {date}", remembered.get("/profile").words)
    assert re.search(
        rf"Ends, unless you return {date} "
        rf"Ends in any case When you close the browser \(you did not tick “Remember me”\), or on {date}",
        not_remembered.get("/profile").words,
    )


def test_every_login_that_the_login_page_shows_works(visitor: Visitor) -> None:
    shown = re.findall(r"<span>([^<]+@[^<]+)</span> <code>([^<]+)</code>", visitor().get("/login").html)
    assert len(shown) == 3
    for email, password in shown:
        somebody = visitor()
        somebody.log_in(email.upper(), password)
        assert f"Your email is {email}" in somebody.get("/profile").words


@pytest.mark.parametrize(
    ("email", "password"), [("ann@example.com", "gingersnap"), ("nobody@example.com", "shortbread"), ("", "")]
)
def test_a_wrong_password_gets_a_message_and_logs_nobody_in(visitor: Visitor, email: str, password: str) -> None:
    ann = visitor()
    answer = ann.post("/login", email=email, password=password)
    assert answer.status == 422
    assert "or the password is wrong" in answer.words
    assert ann.get("/profile").status == 302


def test_after_a_wrong_password_the_right_one_still_comes_back_to_where_the_visitor_wanted(visitor: Visitor) -> None:
    ann = visitor()
    ann.get("/login?next=/devices")
    again = ann.post("/login", next="/devices", email="ann@example.com", password="wrong")
    assert 'name="next" value="/devices"' in again.html
    assert 'value="ann@example.com"' in again.html


def test_after_a_wrong_password_remember_me_is_still_ticked(visitor: Visitor) -> None:
    ann = visitor()
    for ticked in ({}, {"remember": "on"}):
        again = ann.post("/login", email="ann@example.com", password="wrong", **ticked)
        assert ('name="remember" checked' in again.html) is bool(ticked)


def test_the_login_changes_the_token_and_the_old_one_opens_nothing(visitor: Visitor) -> None:
    ann, thief = visitor(), visitor()
    ann.submit("/cart", "/cart/add", sku="chip")
    before = ann.cookie
    ann.log_in()
    assert before
    assert ann.cookie != before
    assert thief.get("/profile", "-H", f"Cookie: {COOKIE}={before}").status == 302


def test_remember_me_makes_the_cookie_outlive_the_browser_and_nothing_else_does(visitor: Visitor) -> None:
    for fields, persistent in (({}, False), ({"remember": "on"}, True)):
        cookie = visitor().log_in(**fields).header("Set-Cookie")
        assert cookie is not None
        assert ("Max-Age" in cookie) is persistent, cookie
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie


def test_the_logout_also_ends_the_session_for_a_copied_cookie(visitor: Visitor) -> None:
    ann, thief = visitor(), visitor()
    ann.log_in()
    copied = f"Cookie: {COOKIE}={ann.cookie}"
    assert thief.get("/profile", "-H", copied).status == 200
    answer = ann.submit("/profile", "/logout")
    assert answer.header("Location") == "/"
    assert ann.cookie not in (None, copied.removeprefix(f"Cookie: {COOKIE}="))
    assert thief.get("/profile", "-H", copied).status == 302
    assert "You are logged out. Hello, stranger. You must be logged in" in ann.get("/").words


def test_the_logout_cannot_be_a_link(visitor: Visitor) -> None:
    ann = visitor()
    ann.log_in()
    assert ann.get("/logout").status == 405
    assert ann.get("/profile").status == 200


def test_a_message_shows_once(visitor: Visitor) -> None:
    ann = visitor()
    ann.log_in()
    assert "Hello Ann Archer, you are logged in." in ann.get("/profile").words
    assert "Hello Ann Archer, you are logged in." not in ann.get("/profile").words


def test_a_logged_in_visitor_is_not_asked_again(visitor: Visitor) -> None:
    ann = visitor()
    ann.log_in()
    again = ann.get("/login?next=/cart")
    assert (again.status, again.header("Location")) == (303, "/cart")


def test_another_user_on_the_same_browser_does_not_see_the_cart_of_the_first(visitor: Visitor) -> None:
    ann = visitor()
    ann.log_in()
    ann.submit("/cart", "/cart/add", sku="lemon")
    assert ann.post("/login", email="chloe@example.com", password="jam-ring").status == 303
    assert "Nothing yet." in ann.get("/cart").words


def test_session_json_tells_a_front_end_who_is_there(visitor: Visitor) -> None:
    ann = visitor()
    assert json.loads(ann.get("/session.json").body) == {}
    ann.log_in()
    answer = ann.get("/session.json")
    assert json.loads(answer.body)["user"] == {"id": 1, "name": "Ann Archer", "email": "ann@example.com"}
    assert answer.header("Cache-Control") == "private, no-store"


def test_reading_the_pages_with_forms_leaves_no_session(visitor: Visitor) -> None:
    robot = visitor()
    for path in ("/login", "/cart", "/"):
        assert robot.get(path).header("Set-Cookie") is None
    assert robot.cookie is None


def test_the_password_can_be_asked_for_again(visitor: Visitor) -> None:
    ann = visitor()
    sent = ann.get("/confirm")
    assert (sent.status, sent.header("Location")) == (302, "/login?next=/confirm")
    assert ann.post("/confirm", password="shortbread").header("Location") == "/login"
    ann.log_in()
    assert 'name="next" value="/profile"' in ann.get("/confirm?next=/profile").html
    before = ann.cookie
    wrong = ann.post("/confirm", password="jam-ring", next="/profile")
    assert (wrong.status, ann.cookie) == (422, before)
    assert "The password is wrong." in wrong.words
    right = ann.post("/confirm", password="shortbread", next="/profile")
    assert (right.status, right.header("Location")) == (303, "/profile")
    assert ann.cookie != before
    assert "Thank you. Now go on." in ann.get("/profile").words


def test_a_script_is_told_where_the_login_is_and_a_page_is_sent_there(visitor: Visitor) -> None:
    answer = visitor().get("/profile", "-H", "Sec-Fetch-Mode: cors")
    assert (answer.status, answer.body) == (401, b'{"error": "login_required", "login_url": "/login"}\n')
    assert visitor().get("/profile", "-H", "Sec-Fetch-Mode: navigate").status == 302
