from __future__ import annotations

import pytest

from demo import browsers

MOZILLA = "Mozilla/5.0 "


@pytest.mark.parametrize(
    ("user_agent", "name", "mobile"),
    [
        (MOZILLA + "(X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox on Linux", False),
        (MOZILLA + "(Windows NT 10.0; Win64; x64) Chrome/141.0.0.0 Safari/537.36 Edg/141.0", "Edge on Windows", False),
        (MOZILLA + "(Macintosh; Intel Mac OS X 10_15_7) Version/18.5 Safari/605.1.15", "Safari on Mac", False),
        (MOZILLA + "(iPhone; CPU iPhone OS 18_5 like Mac OS X) Mobile/15E148 Safari/604.1", "Safari on iPhone", True),
        (MOZILLA + "(Linux; Android 15) Chrome/141.0.0.0 Mobile Safari/537.36", "Chrome on Android", True),
        (MOZILLA + "(X11; CrOS x86_64) Chrome/141.0.0.0 Safari/537.36", "Chrome on ChromeOS", False),
        ("curl/7.88.1", "curl", False),
        ("<script>", "A browser", False),
        ("", "A browser", False),
    ],
)
def test_a_browser_is_named_as_people_know_it(user_agent: str, name: str, mobile: bool) -> None:
    assert browsers.short_name(user_agent) == name
    assert browsers.is_mobile(user_agent) is mobile
