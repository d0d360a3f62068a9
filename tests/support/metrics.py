"""A site in which most events happen, for the tests of metrics."""

from __future__ import annotations

from typing import Any

from tests.support.site import ANN, Site, log_in, log_out, put, read
from tests.support.stores import counting
from wsgi_session import check_csrf
from wsgi_session.events import OnEvent
from wsgi_session.stores import MemoryStore


def eventful_site(on_event: OnEvent) -> list[str]:
    """Visit a site that reports to ``on_event``; return the texts that no metric may contain."""
    site = Site(store=counting(MemoryStore()), on_event=on_event, report_store_calls=True)
    browser = site.browser()
    browser.do(log_in({**ANN, "name": "a value"}))
    texts = ["a value", "ann@example.com", "id:1"]
    texts += [browser.header.partition("=")[2], browser.do(lambda session: session.handle).result]
    other = browser.copy()

    def overlap(session: Any) -> None:
        session["mine"] = 1
        other.do(put(theirs=2))

    browser.do(overlap)
    browser.call(check_csrf, {"REQUEST_METHOD": "POST", "HTTP_X_CSRF_TOKEN": "made-up token"})
    site.calls.fail("replace", lost=True, times=1)
    browser.do(put(a=1))
    site.calls.fail("load", times=1)
    assert browser.do(read).code == 503
    browser.do(log_out)
    for _ in range(2):
        site.browser().do(log_in(ANN))
    assert site.middleware.sessions.revoke_all(ANN) == 2
    stranger = site.browser()
    stranger.call(lambda environ: dict(environ["session"]), {"HTTP_COOKIE": "sid=forged-cookie"})
    return [*texts, "made-up token", "forged-cookie"]
