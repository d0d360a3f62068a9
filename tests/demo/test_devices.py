"""The list of a user's sessions, and signing them out."""

from __future__ import annotations

import re
from collections.abc import Callable

from tests.support.curl import IPHONE, Curl

Visitor = Callable[..., Curl]


def elsewhere(visitor: Curl) -> list[tuple[str, str]]:
    """Name and handle of each device on the page but this one."""
    html = visitor.get("/devices").html
    return re.findall(r'<h2>([^<]+?)</h2>.*?action="/devices/sign-out">.*?name="handle" value="([^"]+)"', html, re.S)


def test_the_list_names_browser_and_times_and_says_which_is_this_one(visitor: Visitor) -> None:
    laptop, phone = visitor(), visitor(IPHONE)
    laptop.log_in()
    phone.log_in()
    laptop.submit("/devices", "/devices/sign-out-others")
    phone.log_in()
    seen_from_the_laptop = laptop.get("/devices").words
    line = "Logged in just now Last seen just now"
    assert f"Firefox on Linux, IPv4 this device {line} Log out" in seen_from_the_laptop
    assert f"Safari on iPhone, IPv4 {line} Sign out" in seen_from_the_laptop
    assert f"Safari on iPhone, IPv4 this device {line} Log out" in phone.get("/devices").words


def test_signing_one_out_ends_that_one_only(visitor: Visitor) -> None:
    laptop, phone, tablet = visitor(), visitor(IPHONE), visitor()
    for device in (phone, tablet, laptop):
        device.log_in("bjorn@example.com", "gingersnap")
    (handle,) = (handle for name, handle in elsewhere(laptop) if name == "Safari on iPhone, IPv4")
    laptop.submit("/devices", "/devices/sign-out", handle=handle)
    assert "That device is signed out." in laptop.get("/devices").words
    assert [device.get("/profile").status for device in (laptop, phone, tablet)] == [200, 302, 200]


def test_signing_out_everywhere_else_leaves_this_one(visitor: Visitor) -> None:
    laptop, others = visitor(), [visitor(), visitor(IPHONE)]
    for device in (laptop, *others):
        device.log_in("chloe@example.com", "jam-ring")
    laptop.submit("/devices", "/devices/sign-out-others")
    assert "Signed out everywhere else (2 devices)." in laptop.get("/devices").words
    assert [device.get("/profile").status for device in others] == [302, 302]
    assert elsewhere(laptop) == []


def test_the_handle_of_another_user_signs_nobody_out(visitor: Visitor) -> None:
    ann, chloe = visitor(), visitor()
    ann.log_in()
    chloe.log_in("chloe@example.com", "jam-ring")
    hers = re.search(r"Handle \(public name\)</dt><dd><code>([^<]+)<", chloe.get("/profile").html)
    assert hers
    ann.submit("/devices", "/devices/sign-out", handle=hers[1])
    assert "That device was signed out already." in ann.get("/devices").words
    assert chloe.get("/profile").status == 200
