"""What Flask-WTF promises, over our sessions: its CSRF tokens stand in the session."""

from __future__ import annotations

import re
from io import BytesIO
from typing import Any

import pytest
from flask import Flask, g, render_template_string, request, session
from flask_wtf import CSRFProtect, FlaskForm
from wtforms import StringField

from tests.frameworks.flask_site import ANN, MakeApp, Visitor, clock, make_app, store
from tests.support.stores import CountingStore
from wsgi_session import login

__all__ = ["clock", "make_app", "store"]

FORM = "<form method=post><input name=csrf_token value='{{ csrf_token() }}'></form>"


class ItemForm(FlaskForm):  # type: ignore[misc]
    item = StringField()


@pytest.fixture
def app(make_app: MakeApp) -> Flask:
    app = make_app()
    CSRFProtect(app)
    return app


@pytest.fixture
def visitor(app: Flask) -> Visitor:
    return Visitor(app)


def token(visitor: Visitor) -> str:
    found = re.search("value='([^']+)'", visitor.visit(lambda: render_template_string(FORM)).text)
    assert found
    return found[1]


def buy() -> str:
    session.setdefault("cart", []).append(request.form["item"])
    return "bought"


def post(visitor: Visitor, **form: str) -> int:
    return visitor.visit(buy, method="POST", data={"item": "apple", **form}).status_code


def test_a_form_with_the_visitors_token_gets_through_and_no_other(visitor: Visitor) -> None:
    given = token(visitor)
    assert post(visitor, csrf_token=given) == 200
    assert post(visitor, csrf_token=given) == 200, "it may be sent again"
    assert [post(visitor), post(visitor, csrf_token=given[::-1])] == [400, 400]
    stranger = Visitor(visitor.app)
    assert post(stranger, csrf_token=given) == 400
    assert post(stranger, csrf_token=token(stranger)) == 200
    assert visitor.do(lambda: session["cart"]) == ["apple", "apple"]


def test_a_token_that_is_sent_as_a_file_is_a_wrong_token(visitor: Visitor) -> None:
    given = token(visitor)
    data = {"item": "apple", "csrf_token": (BytesIO(given.encode()), "token.txt")}
    assert visitor.visit(buy, method="POST", data=data).status_code == 400


def test_a_script_sends_the_token_as_a_header(visitor: Visitor) -> None:
    headers = {"X-CSRFToken": token(visitor)}
    assert visitor.visit(lambda: "ok", method="POST", json={}, headers=headers).text == "ok"
    assert visitor.visit(lambda: "ok", method="POST", json={}).status_code == 400


def test_a_flask_form_checks_and_reads_as_ever(make_app: MakeApp) -> None:
    visitor = Visitor(make_app())
    page = "{{ form.hidden_tag() }}"
    hidden = visitor.visit(lambda: render_template_string(page, form=ItemForm())).text
    found = re.search('value="([^"]+)"', hidden)
    assert found, hidden

    def submit() -> tuple[bool, Any, Any]:
        form = ItemForm()
        return form.validate_on_submit(), form.item.data, form.errors

    sent = {"item": "apple", "csrf_token": found[1]}
    assert visitor.do(submit, method="POST", data=sent) == (True, "apple", {})
    valid, _, errors = visitor.do(submit, method="POST", data={"item": "apple"})
    assert (valid, list(errors)) == (False, ["csrf_token"])


def test_the_token_is_one_key_of_the_session_beside_ours(visitor: Visitor) -> None:
    def both() -> tuple[str, str]:
        return session["csrf_token"], session.csrf_token  # type: ignore[attr-defined]

    token(visitor)
    raw, ours = visitor.do(both)
    assert re.fullmatch("[0-9a-f]{40}", raw)
    assert ours != raw
    with visitor.client.session_transaction() as transaction:
        assert transaction["csrf_token"] == raw
    with visitor.client:
        token(visitor)
        assert session["csrf_token"] == raw
        assert g.csrf_token


def test_a_form_from_before_the_login_still_works_after_it(visitor: Visitor) -> None:
    before = token(visitor)
    visitor.do(lambda: login(request, ANN))
    assert post(visitor, csrf_token=before) == 200
    visitor.do(lambda: session.clear())
    assert post(visitor, csrf_token=before) == 400, "the session that it belonged to has ended"


def test_a_page_with_a_form_costs_one_record_once(visitor: Visitor, store: CountingStore) -> None:
    token(visitor)
    assert store.counts() == {"create": 1}
    store.forget()
    token(visitor)
    assert store.counts() == {"load": 1}
