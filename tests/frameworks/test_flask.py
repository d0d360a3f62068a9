"""What Flask promises of sessions, held by ours: the mapping, permanence, flashing, contexts, streaming, errors."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from flask import (
    Flask,
    abort,
    after_this_request,
    flash,
    get_flashed_messages,
    render_template_string,
    request,
    session,
    stream_with_context,
)
from flask.sessions import SessionMixin
from markupsafe import Markup
from werkzeug.datastructures import ImmutableMultiDict, MultiDict

from tests.frameworks.flask_site import ANN, SECRET, MakeApp, Visitor, app, clock, make_app, store, visitor
from tests.support.stores import CountingStore
from tests.support.work import calls_of
from wsgi_session import (
    HeadersAlreadySent,
    Session,
    StoreUnavailable,
    UnsupportedValue,
    check_csrf,
    get_session,
    login,
    logout,
    next_url,
    protect_from_csrf,
    redirect_if_anonymous,
    user_email_or_none,
    user_or_none,
)
from wsgi_session.codec.packing import join, split
from wsgi_session.codec.sealed import looks_sealed
from wsgi_session.integrations.flask import FlaskSessions
from wsgi_session.stores import Record
from wsgi_session.testing import FakeClock, plant, read

__all__ = ["app", "clock", "make_app", "store", "visitor"]


def put(**values: Any) -> Callable[[], None]:
    return lambda: session.update(values)


def everything() -> dict[str, Any]:
    return dict(session)


def ours() -> Session:
    current: Session = session._get_current_object()  # type: ignore[attr-defined]
    return current


# The mapping.


def test_flask_session_is_the_session_that_the_helpers_see(visitor: Visitor) -> None:
    def same() -> tuple[bool, bool]:
        return ours() is get_session(request), isinstance(session._get_current_object(), SessionMixin)  # type: ignore[attr-defined]

    assert visitor.do(same) == (True, True)


def test_what_a_view_puts_there_the_next_request_finds(visitor: Visitor) -> None:
    kept = {
        "tuple": (1, 2, 3),
        "bytes": b"\xff",
        "id": UUID(int=7),
        "moment": datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc),
        "list": [{"a": (None, True)}],
        "numbers": {1: "int keys stay int"},
    }
    visitor.do(put(**kept))
    assert visitor.do(everything) == kept
    assert visitor.do(lambda: session.pop("tuple")) == (1, 2, 3)
    assert visitor.do(lambda: "tuple" in session) is False
    assert Visitor(visitor.app).do(everything) == {}


def test_a_change_inside_a_nested_value_is_saved_without_a_flag(visitor: Visitor) -> None:
    visitor.do(put(cart={"items": []}))
    visitor.do(lambda: session["cart"]["items"].append("apple"))
    assert visitor.do(everything) == {"cart": {"items": ["apple"]}}


def test_two_overlapping_requests_keep_each_others_keys(visitor: Visitor) -> None:
    visitor.do(put(start=1))
    other = visitor.copy()

    def slow() -> None:
        session["mine"] = 1
        other.do(put(theirs=2))

    visitor.do(slow)
    assert visitor.do(everything) == {"start": 1, "mine": 1, "theirs": 2}


def test_a_value_that_cannot_be_kept_is_refused_with_its_path(visitor: Visitor) -> None:
    def put_object() -> str:
        with pytest.raises(UnsupportedValue, match=r"cart\['note'\]|cart\.note") as refused:
            session["cart"] = {"note": object()}
        return refused.value.path

    assert "note" in visitor.do(put_object)


def test_a_request_that_only_names_the_session_costs_nothing(visitor: Visitor, store: CountingStore) -> None:
    visitor.do(put(a=1))
    store.forget()
    visitor.do(lambda: None)
    visitor.do(lambda: (session._get_current_object(), repr(ours())))  # type: ignore[attr-defined]
    assert store.log == []
    assert "Vary" not in visitor.answer.headers


@pytest.mark.parametrize(
    "look",
    [
        lambda: session.get("a"),
        lambda: "a" in session,
        lambda: len(session),
        lambda: list(session),
        lambda: session.new,
        lambda: session.permanent,
        lambda: get_flashed_messages(),
        lambda: render_template_string("{{ session.a }}"),
    ],
)
def test_every_look_makes_the_answer_vary_by_cookie(visitor: Visitor, look: Callable[[], Any]) -> None:
    visitor.do(look)
    assert visitor.answer.headers.get_all("Vary") == ["Cookie"]
    assert visitor.cookies == []


def test_reading_writes_nothing(visitor: Visitor, store: CountingStore) -> None:
    visitor.do(put(cart=[1]))
    store.forget()
    visitor.do(lambda: list(session["cart"]))
    assert store.counts() == {"load": 1}
    assert visitor.cookies == []


def test_an_empty_session_makes_no_cookie(visitor: Visitor, store: CountingStore) -> None:
    def nothing_in_the_end() -> None:
        session["a"] = 1
        session.permanent = True
        del session["a"]

    visitor.do(nothing_in_the_end)
    assert visitor.cookies == []
    assert store.counts() == {}


# What Flask wants to know of a session.


def test_new_modified_and_accessed_say_what_has_happened_so_far(visitor: Visitor) -> None:
    def first() -> list[object]:
        current: Any = ours()
        seen = [current.accessed, current.modified, current.new]
        seen += [current.accessed, current.modified]
        current["cart"] = []
        return [*seen, current.modified, current.new]

    assert visitor.do(first) == [False, False, True, True, False, True, True]

    def second() -> list[object]:
        seen = [session.new, session["cart"] == [], session.modified]
        session["cart"].append("apple")
        return [*seen, session.modified]

    assert visitor.do(second) == [False, True, False, True]
    assert visitor.do(lambda: (ours().rotate(), session.modified)[1]) is True
    assert visitor.do(lambda: (session.clear(), session.modified)[1]) is True  # type: ignore[func-returns-value]


def test_setting_modified_and_accessed_is_allowed_and_needless(visitor: Visitor, store: CountingStore) -> None:
    visitor.do(put(a=1))
    store.forget()

    def say_so() -> bool:
        session.modified = session.accessed = True
        return session.modified

    assert visitor.do(say_so) is False
    assert store.counts() == {}

    def change_and_deny() -> None:
        session["a"] = 2
        session.modified = False

    visitor.do(change_and_deny)
    assert visitor.do(everything) == {"a": 2}


# Permanence.


def test_the_cookie_ends_with_the_browser_by_default(visitor: Visitor) -> None:
    visitor.do(put(a=1))
    cookie = visitor.cookie
    assert (cookie.name, cookie.attributes) == ("session", {"path": "/", "httponly": True, "samesite": "Lax"})
    assert visitor.do(lambda: session.permanent) is False


def make_permanent() -> None:
    session.permanent = True


def test_a_permanent_session_has_a_cookie_of_permanent_session_lifetime(make_app: MakeApp) -> None:
    visitor = Visitor(make_app(PERMANENT_SESSION_LIFETIME=timedelta(days=5)))
    visitor.do(lambda: (make_permanent(), put(a=1)()))
    assert visitor.cookie.attributes["max-age"] == str(5 * 86_400)
    assert visitor.do(lambda: session.permanent) is True
    assert visitor.do(everything) == {"a": 1}


def test_a_session_that_becomes_permanent_later_gets_another_token(visitor: Visitor) -> None:
    visitor.do(put(a=1))
    old, first = visitor.copy(), visitor.cookie
    visitor.do(lambda: (session.get("a"), make_permanent()))
    assert visitor.cookie.attributes["max-age"] == str(31 * 86_400)
    assert visitor.cookie.value != first.value
    assert visitor.do(lambda: (session.permanent, everything())) == (True, {"a": 1})
    assert old.do(everything) == {}


def test_a_permanent_session_can_end_with_the_browser_again(visitor: Visitor) -> None:
    def no_longer() -> bool:
        session.permanent = False
        return session.permanent

    visitor.do(lambda: (make_permanent(), put(a=1)()))
    assert visitor.do(no_longer) is False
    assert "max-age" not in visitor.cookie.attributes
    assert visitor.do(lambda: session.permanent) is False


def test_permanence_set_before_every_request_costs_nothing_more(
    visitor: Visitor, store: CountingStore, clock: FakeClock
) -> None:
    visitor.app.before_request(make_permanent)
    visitor.do(put(a=1))
    assert visitor.cookie.attributes["max-age"] == str(31 * 86_400)
    store.forget()
    visitor.do(lambda: None)
    assert store.log == []
    visitor.do(everything)
    assert (store.counts(), visitor.cookies) == ({"load": 1}, [])
    # Also in the request that begins the session anew, and with what login() makes of it.
    visitor.do(lambda: (session.clear(), login(request, ANN)))
    assert visitor.cookie.attributes["max-age"] == str(31 * 86_400)
    clock.advance(timedelta(days=2))
    visitor.do(everything)
    assert visitor.cookie.attributes["max-age"] == str(31 * 86_400), "a permanent cookie is renewed with activity"


def test_what_a_login_says_of_the_cookie_counts_and_what_is_said_after_it(visitor: Visitor) -> None:
    def log_in(remember: bool, after: bool | None) -> bool:
        session.permanent = not remember
        login(request, ANN, remember=remember)
        if after is not None:
            session.permanent = after
        return session.permanent

    cases = [(True, None, True), (False, None, False), (False, True, True), (True, False, False)]
    for remember, after, wanted in cases:
        assert visitor.do(lambda r=remember, a=after: log_in(r, a)) is wanted, (remember, after)  # type: ignore[misc]
        assert ("max-age" in visitor.cookie.attributes) is wanted, (remember, after)
        assert visitor.do(lambda: session.permanent) is wanted, (remember, after)


def test_permanence_is_not_part_of_the_data(visitor: Visitor) -> None:
    visitor.do(lambda: (make_permanent(), put(a=1)()))
    assert visitor.do(everything) == {"a": 1}


@pytest.mark.parametrize("permanent", [True, False])
def test_either_sort_ends_on_the_server_when_its_lifetime_is_over(
    make_app: MakeApp, clock: FakeClock, permanent: bool
) -> None:
    visitor = Visitor(make_app(PERMANENT_SESSION_LIFETIME=600))

    def begin() -> None:
        session["a"] = 1
        session.permanent = permanent

    visitor.do(begin)
    old = visitor.copy()
    clock.advance(599)
    assert visitor.do(everything) == {"a": 1}
    clock.advance(599)
    assert visitor.do(everything) == {"a": 1}, "activity keeps it"
    clock.advance(600)
    assert old.do(everything) == {}


def test_a_change_of_permanence_that_comes_too_late_says_so(visitor: Visitor) -> None:
    visitor.do(put(a=1))

    def stream() -> Iterator[str]:
        session.get("a")
        yield "first"
        session.permanent = False
        with pytest.raises(HeadersAlreadySent):
            session.permanent = True
        yield " last"

    assert visitor.visit(lambda: stream_with_context(stream())).text == "first last"


# Logging in and out as Flask's documentation shows it.


def test_clear_ends_the_session_and_what_follows_is_a_fresh_one(visitor: Visitor) -> None:
    def tutorial_login() -> None:
        session.clear()
        session["user_id"] = 5

    visitor.do(put(cart=[1]))
    planted = visitor.copy()
    visitor.do(tutorial_login)
    assert planted.do(everything) == {}, "a token from before the login opens nothing"
    assert visitor.do(everything) == {"user_id": 5}

    stolen = visitor.copy()
    visitor.do(lambda: session.clear())
    assert visitor.cookie.removes
    assert visitor.do(lambda: (session.new, everything())) == (True, {})
    assert stolen.do(everything) == {}


def test_a_slow_request_does_not_bring_back_a_session_that_was_cleared(visitor: Visitor) -> None:
    visitor.do(put(user_id=5))
    other = visitor.copy()

    def slow() -> None:
        session["seen"] = True
        other.do(lambda: session.clear())

    visitor.do(slow)
    assert visitor.cookies == []
    assert visitor.do(everything) == {}


def test_a_popped_user_is_logged_out_also_for_requests_under_way(visitor: Visitor) -> None:
    visitor.do(put(username="ann", cart=[1]))
    other = visitor.copy()

    def slow() -> None:
        session["seen"] = session["username"]
        other.do(lambda: session.pop("username", None))

    visitor.do(slow)
    assert visitor.do(everything) == {"cart": [1], "seen": "ann"}


# Flashing.


def test_a_flashed_message_is_shown_once(visitor: Visitor) -> None:
    visitor.do(lambda: flash("Saved."))
    page = "{% for message in get_flashed_messages() %}<p>{{ message }}{% endfor %}"
    assert visitor.visit(lambda: render_template_string(page)).text == "<p>Saved."
    assert visitor.visit(lambda: render_template_string(page)).text == ""


def test_messages_come_in_order_with_their_categories_and_by_category(visitor: Visitor) -> None:
    def several() -> None:
        flash("Hello World")
        flash("Hello World", "error")
        flash(Markup("<em>Testing</em>"), "warning")

    visitor.do(several)
    pairs = [("message", "Hello World"), ("error", "Hello World"), ("warning", Markup("<em>Testing</em>"))]
    other = visitor.copy()
    assert visitor.do(lambda: (get_flashed_messages(with_categories=True), get_flashed_messages())) == (
        pairs,
        ["Hello World", "Hello World", "<em>Testing</em>"],
    )
    assert other.do(lambda: get_flashed_messages()) == []
    visitor.do(several)
    filtered = visitor.do(lambda: get_flashed_messages(category_filter=["error", "warning"], with_categories=True))
    assert filtered == pairs[1:]


def test_a_message_can_be_shown_in_the_request_that_flashed_it(visitor: Visitor) -> None:
    assert visitor.do(lambda: (flash("now"), get_flashed_messages())[1]) == ["now"]
    assert visitor.cookies == []


def test_flashed_markup_stays_markup_and_text_is_escaped(visitor: Visitor) -> None:
    visitor.do(lambda: (flash(Markup("<b>bold</b>")), flash("<i>")))
    page = "{% for message in get_flashed_messages() %}{{ message }} {% endfor %}"
    assert visitor.visit(lambda: render_template_string(page)).text == "<b>bold</b> &lt;i&gt; "


def test_a_flashed_dict_of_another_type_comes_back_as_a_dict_whatever_its_keys(visitor: Visitor) -> None:
    """A client chooses the keys of a form, and must not get its text shown as markup."""
    form = MultiDict([("a", "1"), (" m", "<script>")])
    visitor.do(lambda: (flash(form), flash(OrderedDict(a=1))))  # type: ignore[arg-type]
    messages = visitor.do(lambda: get_flashed_messages())
    assert messages == [{"a": "1", " m": "<script>"}, {"a": 1}]
    assert [type(message) for message in messages] == [dict, dict]


def test_a_form_is_kept_as_flask_keeps_it(visitor: Visitor) -> None:
    form = ImmutableMultiDict([("a", "1"), ("a", "2")])

    def store() -> None:
        session["form"] = form
        assert session["form"] is form

    visitor.do(store)
    assert visitor.do(everything) == {"form": {"a": "1"}}


def test_any_value_can_be_flashed(visitor: Visitor) -> None:
    given: list[Any] = [{"title": "T", "lines": [1]}, ("a", 2), 7, None]
    visitor.do(lambda: [flash(message) for message in given])
    assert visitor.do(lambda: get_flashed_messages()) == given


def test_no_message_that_a_client_has_a_hand_in_is_taken_for_markup(visitor: Visitor) -> None:
    forged = [{" m": "<script>"}, {" d": {" m": "<script>"}}, "{' m': '<script>'}"]

    def flash_all() -> None:
        for message in request.get_json():
            flash(message)

    visitor.do(flash_all, json=forged, method="POST")
    assert visitor.do(lambda: get_flashed_messages()) == forged
    visitor.do(flash_all, json=forged, method="POST")
    page = "{% for message in get_flashed_messages() %}{{ message }}{% endfor %}"
    shown = visitor.visit(lambda: render_template_string(page)).text
    assert shown.count("script") == 3, shown
    assert "<" not in shown


def test_messages_of_overlapping_requests_are_all_shown_once(visitor: Visitor) -> None:
    visitor.do(lambda: flash("first"))
    other, third = visitor.copy(), visitor.copy()

    def slow() -> list[Any]:
        shown = get_flashed_messages()
        other.do(lambda: flash("meanwhile"))
        third.do(lambda: flash("and then"))
        return shown

    assert visitor.do(slow) == ["first"]
    assert visitor.do(lambda: get_flashed_messages()) == ["meanwhile", "and then"]
    assert visitor.do(lambda: get_flashed_messages()) == []


def test_our_own_flash_and_flasks_are_one(visitor: Visitor) -> None:
    visitor.do(lambda: (ours().flash("ours", "info"), flash("Flask's")))
    assert visitor.do(lambda: get_flashed_messages(with_categories=True)) == [("info", "ours"), ("message", "Flask's")]
    visitor.do(lambda: flash("text", "info"))
    assert visitor.do(lambda: [(m, m.category) for m in ours().flashes()]) == [("text", "info")]


def test_the_list_that_flask_keeps_messages_in_can_be_read_and_written(visitor: Visitor) -> None:
    def one() -> list[Any]:
        with pytest.raises(KeyError):
            session["_flashes"]
        with pytest.raises(KeyError):
            del session["_flashes"]
        session["_flashes"] = [("error", "a"), ("message", "b")]
        session.update({"_flashes": [*session["_flashes"], ("message", "c")], "x": 1})
        return ["_flashes" in session, session["_flashes"], list(session)]

    assert visitor.do(one) == [True, [("error", "a"), ("message", "b"), ("message", "c")], ["x"]]

    def two() -> list[Any]:
        session["_flashes"] = session["_flashes"][1:]
        return get_flashed_messages()

    assert visitor.do(two) == ["b", "c"]
    assert visitor.do(lambda: session.setdefault("_flashes", [])) == []


@pytest.mark.parametrize(
    "rearrange",
    [
        lambda messages: messages.clear(),
        lambda messages: messages.pop(0),
        lambda messages: messages.remove(("message", "b")),
        lambda messages: messages.reverse(),
        lambda messages: messages.sort(key=lambda pair: pair[1], reverse=True),
        lambda messages: messages.insert(0, ("message", "z")),
        lambda messages: messages.__setitem__(1, ("error", "b")),
        lambda messages: messages.__delitem__(slice(1)),
        lambda messages: messages.__imul__(2),
        lambda messages: messages.extend([("message", "d"), ("message", "e")]),
        lambda messages: ours().flash("meanwhile"),
        lambda messages: ours().flashes(),
        lambda messages: session.rotate(),  # type: ignore[attr-defined]
        lambda messages: session.destroy(),  # type: ignore[attr-defined]
    ],
)
def test_a_list_of_messages_that_was_changed_is_kept_as_it_is_when_it_is_assigned(
    visitor: Visitor, rearrange: Callable[[Any], object]
) -> None:
    def assigned() -> list[tuple[str, str]]:
        for text in "abc":
            flash(text)
        messages = session["_flashes"]
        rearrange(messages)
        messages.append(("error", "last"))
        session["_flashes"] = messages
        return list(messages)

    expected = visitor.do(assigned)
    assert visitor.do(lambda: get_flashed_messages(with_categories=True)) == expected


def test_a_list_of_messages_that_was_changed_and_not_assigned_is_not_kept(visitor: Visitor) -> None:
    def unassigned() -> None:
        flash("a")
        session["_flashes"].append(("message", "b"))

    visitor.do(unassigned)
    visitor.do(lambda: flash("c"))
    assert visitor.do(get_flashed_messages) == ["a", "c"]


def test_a_message_that_cannot_be_kept_leaves_those_before_it(visitor: Visitor) -> None:
    def refused() -> None:
        flash("a")
        with pytest.raises(UnsupportedValue):
            flash(object())  # type: ignore[arg-type]
        flash("b")

    visitor.do(refused)
    assert visitor.do(get_flashed_messages) == ["a", "b"]


def test_each_of_many_messages_costs_the_same(visitor: Visitor) -> None:
    def flashes(count: int) -> int:
        visitor.do(get_flashed_messages)
        return calls_of(lambda: visitor.do(lambda: [flash("x") for _ in range(count)]))

    flashes(1)
    few, many, most = flashes(250), flashes(500), flashes(1_000)
    assert most - many <= 2.2 * (many - few) + 100, (few, many, most)


def test_a_message_that_cannot_be_read_makes_the_session_unknown(visitor: Visitor, store: CountingStore) -> None:
    visitor.do(lambda: (flash("a"), put(x=1)()))
    key = next(arguments for arguments in store.seen if type(arguments) is bytes and len(arguments) == 32)
    assert isinstance(key, bytes)
    record = store.inner.load(key, FakeClock.START)
    assert record is not None
    packed = {name: b"\x01" if type(name) is bytes else value for name, value in split(record.data).items()}
    store.inner.replace(key, record._replace(data=join(packed), version=b"d" * 16), record.version, FakeClock.START)
    assert visitor.do(lambda: (get_flashed_messages(), ours().state, everything())) == ([], "unknown", {})


# The test client and contexts.


def test_a_session_transaction_reads_changes_and_removes(app: Flask) -> None:
    visitor = Visitor(app)
    client = visitor.client
    with client.session_transaction() as transaction:
        assert transaction.new
        transaction["cart"] = {"items": []}
        transaction.permanent = True
    with client.session_transaction() as transaction:
        assert (transaction.new, transaction.permanent) == (False, True)
        transaction["cart"]["items"].append("apple")
    assert visitor.do(everything) == {"cart": {"items": ["apple"]}}
    visitor.do(lambda: flash("Saved."))
    with client.session_transaction() as transaction:
        assert transaction["_flashes"] == [("message", "Saved.")]
        transaction.clear()
    assert client.get_cookie("session") is None
    assert visitor.do(lambda: (session.new, everything())) == (True, {})


def test_a_session_transaction_that_changes_nothing_sets_no_cookie(app: Flask, store: CountingStore) -> None:
    client = app.test_client()
    with client.session_transaction() as transaction:
        pass
    assert store.log == []
    with client.session_transaction() as transaction:
        assert "a" not in transaction
    assert client.get_cookie("session") is None


def test_a_session_transaction_works_over_https(app: Flask) -> None:
    visitor = Visitor(app)
    with visitor.client.session_transaction(base_url="https://localhost") as transaction:
        transaction["a"] = 1
    assert visitor.do(everything, base_url="https://localhost") == {"a": 1}
    assert visitor.client.get_cookie("__Host-session") is not None
    assert visitor.do(everything) == {}, "the https cookie is not looked at over http"


def test_a_session_transaction_in_an_outage_raises(app: Flask, store: CountingStore) -> None:
    store.fail("create")
    with (
        pytest.raises(StoreUnavailable, match="does not answer"),
        app.test_client().session_transaction() as transaction,
    ):
        transaction["a"] = 1


def test_what_is_planted_a_request_finds_and_what_it_puts_there_can_be_read(visitor: Visitor) -> None:
    middleware = visitor.app.extensions["wsgi_session"]
    name, _, value = plant(middleware, {"user": ANN, "cart": [1]}).partition("=")
    visitor.client.set_cookie(name, value)
    assert visitor.do(lambda: (user_email_or_none(request), session["cart"])) == ("ann@example.com", [1])
    visitor.do(lambda: session["cart"].append(2))
    assert read(middleware, f"{name}={value}") == {"user": ANN, "cart": [1, 2]}


def test_the_session_can_be_read_after_the_request_and_not_changed(visitor: Visitor) -> None:
    with visitor.client:
        visitor.do(put(a=1))
        assert session["a"] == 1
        assert session.modified, "it was, in this request"
        with pytest.raises(HeadersAlreadySent):
            session["b"] = 2
        visitor.do(lambda: None)
        assert dict(session) == {"a": 1}, "also if that request did not look"


def test_a_request_context_has_a_session_for_views_and_helpers(app: Flask) -> None:
    with app.test_request_context("/") as context:
        login(request, ANN)
        session["cart"] = [1]
        assert (user_email_or_none(request), session["cart"]) == ("ann@example.com", [1])
        answer = app.process_response(app.make_response("done"))
    assert "Cookie" in answer.vary
    cookie = answer.headers["Set-Cookie"].partition(";")[0]
    assert context.request.environ["session"]["cart"] == [1]
    with app.test_request_context("/", headers={"Cookie": cookie}):
        assert session["cart"] == [1]
    assert [info.data["cart"] for info in app.extensions["wsgi_session"].sessions.of(ANN)] == [[1]]


def test_a_request_context_that_fails_saves_nothing(app: Flask, store: CountingStore) -> None:
    with app.test_request_context("/"):
        session["a"] = 1
        app.process_response(app.make_response(("no", 500)))
    assert store.counts() == {}


# When it is saved.


def test_what_comes_after_the_view_is_saved_too(visitor: Visitor) -> None:
    @visitor.app.after_request
    def after(response: Any) -> Any:
        session["after"] = 1
        return response

    @visitor.app.teardown_request
    def teardown(error: BaseException | None) -> None:
        session["teardown"] = 2

    def view() -> None:
        @after_this_request
        def this(response: Any) -> Any:
            session["this"] = 3
            return response

    visitor.do(view)
    # Looked at through the middleware: one more request would put them there again.
    found = read(visitor.app.extensions["wsgi_session"], f"session={visitor.cookie.value}")
    assert found == {"after": 1, "teardown": 2, "this": 3}


def test_a_failed_request_saves_nothing_and_a_handled_one_does(visitor: Visitor) -> None:
    @visitor.app.errorhandler(ZeroDivisionError)
    def handled(error: ZeroDivisionError) -> tuple[str, int]:
        session["handled"] = True
        return "sorry", 400

    def fail(error: type[Exception]) -> None:
        session["half"] = error.__name__
        raise error

    assert visitor.visit(lambda: fail(KeyError)).status_code == 500
    assert visitor.do(everything) == {}
    assert visitor.visit(lambda: fail(ZeroDivisionError)).status_code == 400
    assert visitor.do(everything) == {"half": "ZeroDivisionError", "handled": True}


def test_an_error_page_sees_the_session(visitor: Visitor) -> None:
    @visitor.app.errorhandler(404)
    def lost(error: Exception) -> tuple[str, int]:
        return f"Sorry, {session['name']}", 404

    visitor.do(put(name="Ann"))
    answer = visitor.visit(lambda: abort(404))
    assert (answer.status_code, answer.text, answer.headers["Vary"]) == (404, "Sorry, Ann", "Cookie")


def test_a_streamed_answer_reads_the_session_and_saves_what_changes_late(visitor: Visitor) -> None:
    visitor.do(put(name="Ann"))

    def stream() -> Iterator[str]:
        yield f"Hello, {session['name']}"
        session["streamed"] = True
        yield "."

    answer = visitor.visit(lambda: (session.get("name"), stream_with_context(stream()))[1])
    assert (answer.text, answer.headers["Vary"]) == ("Hello, Ann.", "Cookie")
    assert visitor.do(everything) == {"name": "Ann", "streamed": True}


def test_a_stream_that_would_need_a_cookie_is_told_so(visitor: Visitor) -> None:
    def stream() -> Iterator[str]:
        yield "first"
        with pytest.raises(HeadersAlreadySent):
            session["a"] = 1

    assert visitor.visit(lambda: stream_with_context(stream())).text == "first"


# Outages.


def look() -> str:
    return str(session.get("a"))


@pytest.mark.parametrize("settings", [{}, {"TESTING": True}, {"PROPAGATE_EXCEPTIONS": True}, {"DEBUG": True}], ids=str)
def test_an_outage_in_a_view_is_a_503_that_costs_nobody_the_cookie(
    make_app: MakeApp, store: CountingStore, settings: dict[str, Any]
) -> None:
    visitor = Visitor(make_app(**settings))
    visitor.do(put(a=1))
    store.fail("load")
    answer = visitor.visit(look)
    assert (answer.status_code, answer.headers["Retry-After"], visitor.cookies) == (503, "7", [])
    store.recover()
    assert visitor.visit(look).text == "1"


def test_an_outage_at_the_save_is_a_503(visitor: Visitor, store: CountingStore) -> None:
    store.fail("create")
    answer = visitor.visit(lambda: (put(a=1)(), "saved")[1])
    assert (answer.status_code, visitor.cookies) == (503, [])


def test_an_outage_is_a_503_also_where_the_application_has_an_error_page(
    visitor: Visitor, store: CountingStore
) -> None:
    @visitor.app.errorhandler(500)
    def broken(error: Exception) -> tuple[str, int]:
        return f"Something broke, {session.get('name')}", 500

    visitor.do(put(name="Ann"))
    assert visitor.visit(lambda: abort(500)).text == "Something broke, Ann"
    store.fail("load")
    answer = visitor.visit(look)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "7")


def test_an_outage_that_the_application_answers_itself_is_its_own(visitor: Visitor, store: CountingStore) -> None:
    @visitor.app.errorhandler(StoreUnavailable)
    def later(error: StoreUnavailable) -> tuple[str, int]:
        return "Please come back", 200

    visitor.do(put(a=1))
    store.fail("load")
    assert visitor.visit(look).text == "Please come back"


def test_reads_see_an_empty_session_in_an_outage_if_that_is_wanted(make_app: MakeApp, store: CountingStore) -> None:
    visitor = Visitor(make_app(on_store_error="anonymous"))
    visitor.app.before_request(make_permanent)
    visitor.do(put(a=1))
    store.fail("load")
    assert visitor.do(lambda: (session.get("a"), ours().state, get_flashed_messages())) == (None, "unavailable", [])
    assert visitor.visit(lambda: (put(b=1)(), "saved")[1]).status_code == 503


# The helpers.


def test_a_view_returns_the_redirect_as_it_is(visitor: Visitor) -> None:
    def profile() -> Any:
        return redirect_if_anonymous(request) or f"Your email is {user_email_or_none(request)}"

    answer = visitor.visit(profile, "/profile?tab=2")
    assert answer.status_code == 302
    assert answer.headers["Location"] == "/login?next=/profile%3Ftab%3D2"
    assert (answer.headers["Cache-Control"], answer.headers.get_all("Vary")) == ("no-store", ["Cookie"])
    assert "/login" in answer.text
    assert visitor.visit(profile, "/profile", method="POST").status_code == 303
    assert visitor.visit(profile, "/profile", method="HEAD").get_data() == b""
    mounted = visitor.visit(profile, "/profile", environ_overrides={"SCRIPT_NAME": "/shop"})
    assert mounted.headers["Location"] == "/shop/login?next=/shop/profile"
    visitor.do(lambda: login(request, ANN), "/login", method="POST")
    assert visitor.visit(profile).text == "Your email is ann@example.com"
    visitor.do(lambda: logout(request))
    assert visitor.visit(profile).status_code == 302


def test_before_request_can_return_the_redirect_too(visitor: Visitor) -> None:
    visitor.app.before_request(lambda: redirect_if_anonymous(request))
    assert visitor.visit(lambda: "secret", "/profile").location == "/login?next=/profile"


def test_forms_need_no_token_in_flask_and_the_wrapper_goes_inside_of_the_middleware() -> None:
    app = Flask(__name__)
    app.config["SECRET_KEY"] = SECRET
    app.wsgi_app = protect_from_csrf(app.wsgi_app)  # type: ignore[method-assign,assignment]
    FlaskSessions(app, store="memory://")
    app.add_url_rule("/", view_func=lambda: str(check_csrf(request)) + request.form["a"], methods=["POST"])
    client = app.test_client()
    answer = client.post("/", data={"a": "1"}, headers={"Sec-Fetch-Site": "same-origin"})
    assert (answer.text, answer.headers.getlist("Set-Cookie")) == ("True1", [])
    assert client.post("/", data={"a": "1"}, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert client.post("/", data={"a": "1"}).status_code == 403


def test_login_changes_the_token_and_keeps_the_cart_and_logout_kills_it(visitor: Visitor) -> None:
    visitor.do(put(cart=["apple"]))
    planted = visitor.copy()
    visitor.do(lambda: login(request, ANN))
    assert planted.do(lambda: user_or_none(request)) is None
    assert visitor.do(lambda: (session["user"], session["cart"])) == (ANN, ["apple"])
    stolen = visitor.copy()
    visitor.do(lambda: logout(request))
    assert visitor.cookie.removes
    assert stolen.do(everything) == {}


def test_the_csrf_token_works_in_templates_forms_and_headers(visitor: Visitor) -> None:
    def check() -> tuple[bool, dict[str, str], str]:
        return check_csrf(request), request.form.to_dict(), next_url(request)

    form = visitor.visit(lambda: render_template_string("{{ session.csrf_token }}"))
    token = form.text
    assert re.fullmatch(r"[\w-]+", token), token
    sent = {"csrf_token": token, "item": "apple", "next": "/cart"}
    assert visitor.do(check, method="POST", data=sent) == (True, sent, "/cart")
    assert visitor.do(check, method="POST", data=sent, content_type="multipart/form-data") == (True, sent, "/cart")
    assert visitor.do(check, method="POST", json={}, headers={"X-CSRF-Token": token}) == (True, {}, "/")
    assert visitor.do(check, method="POST", data={"csrf_token": token[::-1]})[0] is False
    assert Visitor(visitor.app).do(check, method="POST", data=sent)[0] is False


def test_all_that_a_session_can_do_is_at_hand(visitor: Visitor) -> None:
    def count() -> int:
        def one_more(data: dict[str, Any]) -> int:
            data["count"] = data.get("count", 0) + 1
            return int(data["count"])

        return ours().atomic(one_more)

    assert [visitor.do(count) for _ in range(3)] == [1, 2, 3]
    old = visitor.copy()
    visitor.do(lambda: session.rotate())  # type: ignore[attr-defined]
    assert (old.do(lambda: ours().state), visitor.do(everything)) == ("rotated", {"count": 3})
    visitor.do(lambda: session.destroy())  # type: ignore[attr-defined]
    assert visitor.do(everything) == {}


def test_the_option_encrypt_keeps_the_data_from_who_reads_the_store(make_app: MakeApp, store: CountingStore) -> None:
    visitor = Visitor(make_app(encrypt=True))
    visitor.do(lambda: session.update(note="a private value", cart=[1]))
    visitor.do(lambda: session["cart"].append(2))
    records = [record for record in store.seen if isinstance(record, Record)]
    assert records
    assert all(looks_sealed(record.data) for record in records)
    assert visitor.do(lambda: dict(session)) == {"note": "a private value", "cart": [1, 2]}
    before = Visitor(make_app(encrypt=False))
    before.do(lambda: session.update(note="from before"))
    accepting = Visitor(make_app(WSGI_SESSION_ENCRYPT="accept-plain"))
    accepting.client._cookies = before.client._cookies
    assert accepting.do(lambda: session["note"]) == "from before"
