"""A real browser signs in with a real provider: whatever SameSite says, the callback finds what it needs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.support.providers import openid_by_transaction, program_of, serving_shop
from tests.support.providers.openid import OpenIDProvider
from tests.system.browser.chromium import Page, expect

pytest.importorskip("authlib", reason="elsewhere: pip install Authlib requests, or tox -e browser")

DIRECT, BY_TRANSACTION = program_of("openid"), openid_by_transaction()
DIRECT_BY_FORM = DIRECT.replace("_external=True)", '_external=True), response_mode="form_post"', 1).replace(
    '@app.get("/callback")', '@app.post("/callback")'
)


def strict(program: str) -> str:
    return program.replace("FlaskSessions(", 'app.config["SESSION_COOKIE_SAMESITE"] = "Strict"\nFlaskSessions(')


@pytest.fixture
def sign_in(
    request: pytest.FixtureRequest,
    device: Callable[..., Page],
    complaints: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[[str], Any]]:
    """Serve a program over https, sign in with the provider, and return what the page then shows."""
    complaints.expected += ["status of 400", "Input elements should have autocomplete attributes"]
    provider = OpenIDProvider(request.config.cache)

    def with_program(program: str) -> Any:
        running.enter_context(serving_shop(program, provider, tmp_path, monkeypatch, scheme="https"))
        page = device(provider.shop)
        # The provider's pages ask for a font on the network.
        page.route("**://fonts.googleapis.com/**", lambda route: route.fulfill(body="", content_type="text/css"))
        page.goto("/login?next=/profile")
        page.locator("input[name=login]").fill("ann")
        page.locator("input[name=password]").fill("any")
        page.locator("button[type=submit]").click()
        return page.locator("body")

    with ExitStack() as running:
        yield with_program
    provider.kill()


@pytest.mark.parametrize(
    "program",
    [DIRECT, BY_TRANSACTION, strict(BY_TRANSACTION), strict(BY_TRANSACTION.replace('"form_post"', '"query"'))],
    ids=["direct", "form, transaction", "strict, form, transaction", "strict, transaction"],
)
def test_a_browser_signs_in(sign_in: Callable[[str], Any], program: str) -> None:
    expect(sign_in(program)).to_have_text("Your email is ann@example.com")


@pytest.mark.parametrize("program", [DIRECT_BY_FORM, strict(DIRECT)], ids=["form", "strict"])
def test_without_a_transaction_the_callback_finds_no_session(sign_in: Callable[[str], Any], program: str) -> None:
    expect(sign_in(program)).to_contain_text("This did not work.")
