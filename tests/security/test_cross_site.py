"""Attacks by another site, which makes a visitor's browser send forms, images and cookies; and malformed bodies."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from tests.security.shop import Visitor, open_shop
from tests.security.wire import Reply, Wire
from wsgi_session.helpers.forms import MAX_BODY


@pytest.fixture
def ann() -> Visitor:
    """A visitor of the demo who is logged in."""
    visitor = Visitor(open_shop())
    visitor.log_in()
    return visitor


def test_no_image_and_no_form_of_another_site_logs_a_visitor_out(ann: Visitor) -> None:
    """Not even if the browser sends the cookie (other hosts of the domain are the same site)."""
    ann.get("/logout")
    assert ann.status == 405
    for form in ({}, {"csrf_token": ""}, {"csrf_token": "A" * 86}):
        ann.post("/logout", **form)
        assert ann.status == 403, form
    assert ann.is_logged_in()
    ann.send("/profile", "/logout")
    assert not ann.is_logged_in()


def test_no_other_site_logs_a_visitor_in_as_somebody_else(ann: Visitor) -> None:
    """Login CSRF: a visitor who uses the attacker's account reveals their actions to the attacker."""
    for visitor in (ann, Visitor(ann.shop)):
        before = visitor.is_logged_in()
        visitor.post("/login", email="bob@example.com", password="cinnamon")
        assert visitor.status == 403
        assert visitor.is_logged_in() == before
    assert "Ann" in ann.get("/profile")


def test_the_attackers_own_token_is_of_no_use_in_the_visitors_browser(ann: Visitor) -> None:
    attacker = Visitor(ann.shop)
    attacker.send("/cart", "/cart/add", sku="oat")
    tokens = [attacker.token()]
    attacker.log_in()
    for token in [*tokens, attacker.token(), attacker.token()]:
        ann.post("/logout", csrf_token=token)
        assert ann.status == 403, token
    assert ann.is_logged_in()


def test_a_login_or_a_logout_ends_every_form_token_there_was(ann: Visitor) -> None:
    visitor = Visitor(ann.shop)
    visitor.send("/cart", "/cart/add", sku="oat")
    before = visitor.token()
    visitor.log_in()
    during = visitor.token()
    visitor.post("/cart/empty", csrf_token=before)
    assert visitor.status == 403
    visitor.post("/logout", csrf_token=during)
    assert visitor.status == 303
    for token in (before, during):
        visitor.post("/login", csrf_token=token, email="ann@example.com", password="shortbread")
        assert visitor.status == 403


def test_a_session_that_an_attacker_planted_is_not_the_one_that_is_logged_in(ann: Visitor) -> None:
    """Login fixation with everything of the attacker's: the cookie, the form token and the cart."""
    attacker, victim = Visitor(ann.shop), Visitor(ann.shop)
    attacker.send("/cart", "/cart/add", sku="oat")
    planted, token = attacker.client.header, attacker.token()
    victim.client.header = planted
    victim.log_in()
    assert victim.client.header != planted
    assert not attacker.is_logged_in()
    victim.post("/logout", csrf_token=token)
    assert (victim.status, victim.is_logged_in()) == (403, True)


# Bodies, through two real servers.

URLENCODED = b"application/x-www-form-urlencoded"
MULTIPART = b"multipart/form-data; boundary="
PART = b'Content-Disposition: form-data; name="csrf_token"\r\n\r\n'

#: Content-Type, the body with ``TOKEN`` in it, and whether that token is accepted.
BODIES: dict[str, tuple[bytes, bytes, bool]] = {
    "form": (URLENCODED, b"a=1&csrf_token=TOKEN&b=2", True),
    "form, name encoded": (URLENCODED, b"%63srf%5Ftoken=TOKEN", True),
    "form, the first counts": (URLENCODED, b"csrf_token=x&csrf_token=TOKEN", False),
    "form, another name": (URLENCODED, b"csrf_token_=TOKEN&CSRF_TOKEN=TOKEN", False),
    "form, under the limit": (URLENCODED, b"csrf_token=TOKEN&a=" + b"x" * (MAX_BODY - 200), True),
    "form, the token in front of more than the limit": (URLENCODED, b"csrf_token=TOKEN&a=" + b"x" * MAX_BODY, True),
    "form, the token behind the limit": (URLENCODED, b"a=" + b"x" * MAX_BODY + b"&csrf_token=TOKEN", False),
    "json": (b"application/json", b'{"csrf_token": "TOKEN"}', False),
    "text that looks like a form": (b"text/plain", b"csrf_token=TOKEN", False),
    "no type": (b"", b"csrf_token=TOKEN", False),
    "multipart": (MULTIPART + b"XyZ", b"--XyZ\r\n" + PART + b"TOKEN\r\n--XyZ--\r\n", True),
    "multipart, odd boundary": (MULTIPART + b'"(.*)+[$"', b"--(.*)+[$\r\n" + PART + b"TOKEN\r\n--(.*)+[$--\r\n", True),
    "multipart, boundary of dashes": (MULTIPART + b"----", b"------\r\n" + PART + b"TOKEN\r\n--------\r\n", True),
    "multipart, never closed": (MULTIPART + b"b" * 70, b"--" + b"b" * 70 + b"\r\n" + PART + b"TOKEN\r\n", False),
    "multipart, no boundary": (b"multipart/form-data", b"--XyZ\r\n" + PART + b"TOKEN\r\n--XyZ--\r\n", False),
    "multipart, empty boundary": (MULTIPART, b"--\r\n" + PART + b"TOKEN\r\n----\r\n", False),
    "multipart, another boundary": (MULTIPART + b"abc", b"--XyZ\r\n" + PART + b"TOKEN\r\n--XyZ--\r\n", False),
    "multipart, a file": (
        MULTIPART + b"XyZ",
        b"--XyZ\r\n" + PART.replace(b"\r\n", b"; filename=x\r\n", 1) + b"TOKEN\r\n--XyZ--\r\n",
        False,
    ),
    "multipart, in the preamble": (MULTIPART + b"XyZ", PART + b"TOKEN\r\n--XyZ--\r\n", False),
    "multipart, inside another field": (
        MULTIPART + b"XyZ",
        b'--XyZ\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + PART + b"TOKEN\r\n--XyZ--\r\n",
        False,
    ),
}


def visitor_of(wire: Wire) -> tuple[bytes, str]:
    """Return the Cookie header of a new session, and a token for its forms."""
    header = f"Cookie: {wire.name}={wire.session(k='1')}".encode()
    return header, asked(wire.get("/form", header))["token"]


def asked(reply: Reply) -> dict[str, Any]:
    assert reply.status == 200, reply
    seen: dict[str, Any] = json.loads(reply.body)
    return seen


@pytest.mark.parametrize("body", BODIES)
def test_a_body_is_checked_as_the_form_that_it_says_it_is_and_stays_whole(wire: Wire, body: str) -> None:
    """Afterwards the application reads every byte that was sent, whether the body had a token or not."""
    kind, template, counts = BODIES[body]
    cookie, token = visitor_of(wire)
    content = template.replace(b"TOKEN", token.encode())
    headers = [cookie, b"Content-Type: " + kind, b"Content-Length: %d" % len(content)]
    for more, checked in ((b"X-Nothing: 1", counts), (b"X-CSRF-Token: " + token.encode(), True)):
        seen = asked(wire.post(b"/form", content, *headers, more))
        assert seen["checked"] is checked, body
        assert (seen["length"], seen["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())


def test_a_body_in_chunks_is_left_to_the_application(wire: Wire) -> None:
    """A body without a length is not read, so its token must be in a header. (waitress collects such a body
    first, and adds the length.)
    """
    cookie, token = visitor_of(wire)
    content = f"csrf_token={token}".encode()
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(content), content)
    headers = [cookie, b"Content-Type: " + URLENCODED, b"Transfer-Encoding: chunked"]
    seen = asked(wire.post(b"/form", chunked, *headers))
    assert (seen["length"], seen["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    seen = asked(wire.post(b"/form", chunked, *headers, b"X-CSRF-Token: " + token.encode()))
    assert (seen["checked"], seen["length"]) == (True, len(content))


@pytest.mark.parametrize("length", [b"12", b"0", b"", b"-1", b"0x20", b"1e2", b"97, 98"])
def test_a_content_length_that_lies_checks_nothing_and_ends_in_no_500(wire: Wire, length: bytes) -> None:
    cookie, token = visitor_of(wire)
    content = f"csrf_token={token}".encode()
    reply = wire.post(b"/form", content, cookie, b"Content-Type: " + URLENCODED, b"Content-Length: " + length)
    assert reply.status in (200, 400), reply
    assert reply.status == 400 or asked(reply)["checked"] is False
