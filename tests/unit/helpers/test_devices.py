"""``describe_device``: browser, system and address family of a request."""

from __future__ import annotations

import pytest

from wsgi_session import describe_device

MOZILLA = "Mozilla/5.0 "


@pytest.mark.parametrize(
    ("user_agent", "name"),
    [
        (MOZILLA + "(X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Linux"),
        (MOZILLA + "(Windows NT 10.0; Win64; x64) Chrome/141.0.0.0 Safari/537.36 Edg/141.0", "Edge on Windows"),
        (MOZILLA + "(Macintosh; Intel Mac OS X 10_15_7) Version/18.5 Safari/605.1.15", "Safari on Mac"),
        (MOZILLA + "(iPhone; CPU iPhone OS 18_5 like Mac OS X) Mobile/15E148 Safari/604.1", "Safari on iPhone"),
        (MOZILLA + "(Linux; Android 15) Chrome/141.0.0.0 Mobile Safari/537.36", "Chrome on Android"),
        (MOZILLA + "(X11; CrOS x86_64) Chrome/141.0.0.0 Safari/537.36", "Chrome on ChromeOS"),
        ("curl/7.88.1", "curl"),
        ("<script>", "A browser"),
        ("", "A browser"),
    ],
)
def test_a_browser_is_named_as_people_know_it_and_by_no_text_of_the_client(user_agent: str, name: str) -> None:
    assert describe_device({"HTTP_USER_AGENT": user_agent}) == name


@pytest.mark.parametrize(
    ("address", "family"),
    [
        ("192.0.2.1", ", IPv4"),
        ("2001:db8::1", ", IPv6"),
        ("::ffff:192.0.2.1", ", IPv4"),
        ("", ""),
        ("unix", ""),
    ],
)
def test_of_the_address_only_its_family_is_told(address: str, family: str) -> None:
    assert describe_device({"REMOTE_ADDR": address}) == "A browser" + family
