"""One request and its response: the commit moment.

``start_response`` is only recorded until the application returns (or its body yields, or it calls ``write``). Then the
session is saved, and only when that is done the answer goes on to the server: never a success that was not kept, never
a cookie for what was not stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from wsgi_session import saving
from wsgi_session.errors import SessionTooLarge, StoreUnavailable, UnsupportedValue
from wsgi_session.events import logger
from wsgi_session.headers import Headers, add_vary_cookie, is_public, make_private
from wsgi_session.session import CLOSED, SENT, Session

if TYPE_CHECKING:
    from wsgi_session.backend import Backend
    from wsgi_session.draft import Draft

StartResponse = Callable[..., Callable[[bytes], object]]
Application = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]


class Exchange:
    """What passes between the server and the application in one request."""

    _headers: Headers
    _server_write: Callable[[bytes], object]
    # The application raised while its body was sent.
    _broke_off = False

    def __init__(self, backend: Backend, environ: dict[str, Any], start_response: StartResponse) -> None:
        self._backend = backend
        self._environ = environ
        self._server_start_response = start_response
        self._status: str | None = None
        self._committed = self._late = False
        self._cookies: Sequence[str] = ()
        self.session = Session(backend, environ)

    def run(self, app: Application) -> Iterable[bytes]:
        """Call the application, commit, and return the body for the server."""
        body: Iterable[bytes] = ()
        try:
            body = chunks = app(self._environ, self._start_response)
            status = self._status
            if not self.session._looked and type(body) is list and status is not None and not self._committed:
                # Nothing to save, nothing to add, nothing to do at its end.
                self._committed = True
                self.session._leave(self._headers)
                self._server_start_response(status, self._headers)
                return body
            if status is None:
                # A generator: it calls start_response on the way to its first item.
                iterator = iter(body)
                chunks = chain(list(_first(iterator)), iterator)
            if not self._committed:
                self._commit()
            if chunks is body and type(body) is list and not self._cookies and not self._late:
                # As _outgoing() has it: what most requests come to.
                self.session._phase = CLOSED
                return body
        except StoreUnavailable as error:
            _close_in_outage(body)
            return self._answer_unavailable(error)
        except BaseException:
            self.session._phase = CLOSED
            _close(body)
            raise
        return self._outgoing(body, chunks)

    def _start_response(self, status: str, headers: Headers, exc_info: Any = None) -> Callable[[bytes], object]:
        """What the application calls: recorded until the commit, where a later call replaces an earlier one."""
        if not self._committed:
            self._status = status
            self._headers = headers
        elif exc_info is None:
            # Not allowed by PEP 3333: the server says so.
            self._server_write = self._server_start_response(status, self._ours(headers))
        else:
            # Nothing is saved again; whether headers can still be replaced is the server's to say.
            self._server_write = self._server_start_response(status, self._ours(headers), exc_info)
        return self._write

    def _write(self, data: bytes) -> None:
        """PEP 3333's ``write``: the first call is the commit moment."""
        if not self._committed:
            self._commit()
            self._late = True
        self._server_write(data)

    def _commit(self) -> None:
        """Save, decide on the cookie, and pass the recorded answer on; raises what keeps it from being saved."""
        status = self._status
        if status is None:
            # The application broke PEP 3333; the server will say so.
            return
        session = self.session
        draft = session._draft
        session._sent_headers = headers = self._headers
        if session._looked:
            if status[:1] == "5":
                if session._outage_raised:
                    raise session._unavailable()
            elif draft is not None:
                # Who only reads has nothing to save, and nothing to be looked through for changes.
                due = draft.values.unsettled or draft.next_bearer is not None
                if not (due and self._save(draft)) and draft.refresh_due and not is_public(headers):
                    # In a response that shared caches may keep, a refresh is put off to the next request.
                    saving.refresh(draft)
            if draft is not None and draft.cookie_due is not None:
                self._decide_cookie(draft)
            # In no local variable: if the server refuses them, error reporters would show the cookie.
            session._sent_headers = self._ours(headers)
        self._committed = True
        session._phase = SENT
        self._server_write = self._server_start_response(status, session._sent_headers)

    def _save(self, draft: Draft, late: bool = False) -> bool:
        try:
            if late and self._backend.stateless:
                return saving.drop_changes(draft)
            return saving.save(draft)
        except StoreUnavailable as error:
            self._backend.settings.events("unavailable", error=str(error))
            raise
        except (SessionTooLarge, UnsupportedValue) as error:
            self._backend.settings.events("unsaved", handle=draft.handle, error=str(error))
            raise

    def _decide_cookie(self, draft: Draft) -> None:
        record, bearer = draft.record, draft.bearer
        if draft.cookie_due and record is not None and bearer is not None:
            settings = self._backend.settings
            _, _, _, created, touched, expires, _, persistent, idle, _ = record
            max_age = min(expires, settings.expires(touched, created, idle)) - settings.clock() if persistent else None
            self._cookies = self._backend.set_cookies(self._looked_at(), bearer, max_age)
        elif not draft.cookie_due:
            self._cookies = self._backend.remove_cookies(self._looked_at())

    def _looked_at(self) -> Mapping[str, Any]:
        """Return the environ with the scheme of the first look, by which the cookie was read."""
        scheme = self.session._scheme
        if self._environ.get("wsgi.url_scheme") == scheme:
            return self._environ
        return {**self._environ, "wsgi.url_scheme": scheme}

    def _ours(self, given: Headers) -> Headers:
        """Return the application's headers with ours; its own list is its own (CVE-2025-7339)."""
        if not self.session._looked:
            return given
        headers = list(given)
        if self._cookies:
            if dropped := make_private(headers):
                self._backend.settings.events("cache_overridden", dropped=dropped)
            for cookie in self._cookies:
                headers.append(("Set-Cookie", cookie))  # noqa: PERF401  (a list of one, mostly)
        add_vary_cookie(headers)
        return headers

    def _answer_unavailable(self, error: StoreUnavailable) -> Iterable[bytes]:
        """Answer 503: an outage is no logout, and costs nobody the cookie."""
        if self._committed:
            self.session._phase = CLOSED
            raise error
        draft = self.session._draft
        text = b"The service is unavailable for the moment. Please try again.\n"
        self._headers = [
            ("Content-Type", "text/plain; charset=utf-8"),
            ("Content-Length", str(len(text))),
            ("Cache-Control", "no-store"),
            ("Retry-After", str(error.retry_after)),
        ]
        if draft is not None and draft.cookie_due is not None:
            # What `atomic` or `destroy` did before the outage stays done, and its cookie goes with it.
            self._decide_cookie(draft)
        self._committed = True
        self.session._phase = CLOSED
        self._server_start_response("503 Service Unavailable", self._ours(self._headers))
        return [] if self._environ.get("REQUEST_METHOD") == "HEAD" else [text]

    def _outgoing(self, body: Iterable[bytes], chunks: Iterable[bytes]) -> Iterable[bytes]:
        """Return what the server gets: the application's own object wherever nothing has to be done at its end."""
        sweeping = self._backend.sweep_due if self._cookies else False
        if chunks is body and (type(body) in (list, tuple) or self._is_file(body)):
            if self._late:
                self.finish()
            self.session._phase = CLOSED
            # What is no list goes as it is all the same: the sweep stays due, and the next answer may be one.
            return _SweepingList(body, self) if sweeping and type(body) is list else body
        return _Body(body, chunks, self, sweeping)

    def _is_file(self, body: Iterable[bytes]) -> bool:
        wrapper = self._environ.get("wsgi.file_wrapper")
        if isinstance(wrapper, type):
            return isinstance(body, wrapper)
        # uWSGI's is a function that returns the application's own file: the system sends it, if it comes as it is.
        return wrapper is not None and hasattr(body, "fileno")

    def finish(self) -> None:
        """Save what changed after the commit. The response is over: nothing can change any more."""
        session = self.session
        draft = session._draft
        if session._phase == CLOSED:
            return
        session._phase = CLOSED
        failed = self._broke_off or self._status is None or self._status[:1] == "5"
        if draft is not None and not failed and (draft.record is not None or draft.dead):
            draft.late = True
            self._save(draft, late=True)

    def sweep(self) -> None:
        """Let the store remove a little of what is long dead, now that the visitor has the answer."""
        self._backend.sweep(self._backend.settings.clock())


class _Body:
    """A body whose end matters to us. The chunks are the application's own, unwrapped."""

    def __init__(self, body: Iterable[bytes], chunks: Iterable[bytes], exchange: Exchange, sweeping: bool) -> None:
        self._body = body
        self._chunks = chunks
        self._exchange = exchange
        self._sweeping = sweeping

    def __iter__(self) -> Iterator[bytes]:
        try:
            # Not `yield from`: that would close the application's iterator when the client hangs up, and close() again.
            for chunk in self._chunks:  # noqa: UP028
                yield chunk
        except GeneratorExit:
            # The client did not wait for the rest, which is no failure.
            raise
        except BaseException:
            self._exchange._broke_off = True
            raise

    def close(self) -> None:
        try:
            _close(self._body)
        except BaseException:
            self._exchange.session._phase = CLOSED
            raise
        self._exchange.finish()
        if self._sweeping:
            self._exchange.sweep()


class _SweepingList(list[bytes]):
    """A returned list once more, with an end: servers that look at its length still find it."""

    def __init__(self, body: Iterable[bytes], exchange: Exchange) -> None:
        super().__init__(body)
        self._exchange = exchange

    def close(self) -> None:
        self._exchange.sweep()


def _first(iterator: Iterator[bytes]) -> Iterator[bytes]:
    for item in iterator:
        yield item
        return


def _close_in_outage(body: Iterable[bytes]) -> None:
    try:
        _close(body)
    except Exception:
        # Most likely over the same outage. The client is told of that one.
        logger.exception("the response's close() failed in an outage")


def _close(body: Iterable[bytes]) -> None:
    close = getattr(body, "close", None)
    if close is not None:
        close()
