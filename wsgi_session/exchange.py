"""One request over WSGI: the response is held back until the commit.

``start_response`` is only recorded until the application returns, yields, or calls ``write``. Then the session is
saved, and only after that the response is passed on to the server: no success is reported before the save, and no
cookie is set for a session that was not stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from wsgi_session.cookies.caching import Headers, add_vary, is_public, make_private
from wsgi_session.errors import StoreUnavailable
from wsgi_session.request.commit import drop, refresh, save
from wsgi_session.request.states import CLOSED, KEEP, OPEN, SENT, SET
from wsgi_session.request.times import refresh_due
from wsgi_session.request.work import Work
from wsgi_session.responses.body import Body, Sweep, SweepingList, close_body, close_in_outage, first_item
from wsgi_session.responses.outage import outage_answer, with_outage_headers

if TYPE_CHECKING:
    from wsgi_session.backends.binding import Binding

StartResponse = Callable[..., Callable[[bytes], object]]
Application = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]


class Exchange:
    """One request and response between the server and the application. It owns the phase of ``work``."""

    _headers: Headers
    _server_write: Callable[[bytes], object]
    # Whether the application raised while its body was sent.
    _failed = False
    # Whether the application called ``write``.
    _wrote = False

    def __init__(self, work: Work, environ: dict[str, Any], start_response: StartResponse) -> None:
        self._work = work
        self._environ = environ
        self._server_start_response = start_response
        # The status that the application gave.
        self._status: str | None = None
        # The values of Set-Cookie, or of the header that replaces it, that are sent with the response.
        self._cookies: Sequence[str] = ()

    def run(self, app: Application) -> Iterable[bytes]:
        """Call the application, commit, and return the body for the server."""
        work = self._work
        body: Iterable[bytes] = ()
        try:
            body = chunks = app(self._environ, self.start_response)
            status = self._status
            if not work.accessed and type(body) is list and status is not None and work.phase is OPEN:
                # The session was not used, so there is nothing to save, to add, or to do when the body is closed.
                work.close_unused(self._headers)
                server_start_response = self._server_start_response
                server_start_response(status, self._headers)
                return body
            if status is None:
                # A generator calls start_response only when its first item is requested.
                iterator = iter(body)
                chunks = chain(list(first_item(iterator)), iterator)
            if work.phase is OPEN:
                self.commit()
                if chunks is body and type(body) is list and not (self._cookies and work.backend.sweep_due):
                    # The shortcut for most requests; _body_for_server() would return the same.
                    work.phase = CLOSED
                    return body
        except StoreUnavailable as error:
            close_in_outage(body)
            return self._answer_unavailable(error)
        except BaseException:
            work.phase = CLOSED
            close_body(body)
            raise
        return self._body_for_server(body, chunks)

    def start_response(self, status: str, headers: Headers, exc_info: Any = None) -> Callable[[bytes], object]:
        """Record the response. Until the commit, a later call replaces an earlier one (PEP 3333)."""
        if self._work.phase is OPEN:
            self._status = status
            self._headers = headers
        elif exc_info is None:
            # PEP 3333 does not allow this; the server will raise the error.
            self._server_write = self._server_start_response(status, self._with_our_headers(headers))
        else:
            # Nothing is saved again. The server decides whether the headers can still be replaced.
            self._server_write = self._server_start_response(status, self._with_our_headers(headers), exc_info)
        return self._write

    def _write(self, data: bytes) -> None:
        """PEP 3333's ``write()``. The first call commits."""
        if self._work.phase is OPEN:
            self.commit()
            self._wrote = True
        self._server_write(data)

    def commit(self) -> None:
        """Save, decide on the cookie, and pass the recorded response on. Raises the error if the save fails."""
        status = self._status
        if status is None:
            # The application has not called start_response, which PEP 3333 requires; the server will raise the error.
            return
        work = self._work
        headers = self._headers
        if work.accessed:
            data = work.data
            if "5" <= status < "6":
                if work.outage_raised:
                    if status[:3] != "503":
                        raise work.unavailable()
                    # The application's own page for an outage.
                    headers = with_outage_headers(headers, work.unavailable())
            elif data is not None:
                # A request that only read immutable values has no changes to look for.
                due = data.maybe_dirty or work.next_credential is not None
                if not (due and save(work, data)) and refresh_due(work) and not is_public(headers):
                    # A refresh may set a cookie, which a shared cache must not store: the next request will refresh.
                    refresh(work, data)
            if work.cookie is not KEEP:
                self._decide_cookie()
            # Not kept in a local variable: if the server refuses the headers, error reporters would show the cookie.
            work.sent_headers = self._with_our_headers(headers)
        else:
            work.sent_headers = headers
        work.phase = SENT
        server_start_response = self._server_start_response
        self._server_write = server_start_response(status, work.sent_headers)

    def _decide_cookie(self) -> None:
        work = self._work
        if work.cookie is not SET:
            self._cookies = work.backend.remove_cookies(self._environ_of_load())
            return
        record, credential, settings = work.record, work.credential, work.backend.settings
        if record is not None and credential is not None:
            max_age = settings.lifetime.end_of(record) - settings.clock() if record.persistent else None
            self._cookies = work.backend.set_cookies(self._environ_of_load(), credential, max_age)

    def _environ_of_load(self) -> Mapping[str, Any]:
        """Return the environ with the scheme by which the cookie was read."""
        scheme = self._work.scheme
        if self._environ.get("wsgi.url_scheme") == scheme:
            return self._environ
        return {**self._environ, "wsgi.url_scheme": scheme}

    def _with_our_headers(self, given: Headers) -> Headers:
        """Return a new list of the application's headers and ours; its own list is not changed (CVE-2025-7339)."""
        work = self._work
        if not work.accessed:
            return given
        headers = [*given]
        if self._cookies or work.more_headers:
            backend = work.backend
            # A browser's cache does not repeat Set-Cookie, but it would return the token in another header again.
            if dropped := make_private(headers, no_store=work.logged_in or not backend.browser_sends):
                backend.settings.events("cache_overridden", dropped=dropped)
            if work.logged_in and backend.binding is not None:
                # Before the cookies are added, because an error reporter would show them with the event.
                headers += self._invitation(backend.binding)
            for value in self._cookies:
                headers.append((backend.answer_header, value))
            headers += work.more_headers
        add_vary(headers, work.backend.settings.vary)
        return headers

    def _invitation(self, binding: Binding) -> Headers:
        """Return the header that asks the browser, after a login, to bind the session to its device."""
        settings, handle = self._work.backend.settings, self._work.handle or ""
        invitation = binding.invitation(self._environ, settings.cookie_path, handle, settings.clock())
        return [] if invitation is None else [("Secure-Session-Registration", invitation)]

    def _answer_unavailable(self, error: StoreUnavailable) -> Iterable[bytes]:
        """Answer 503. An outage is not a logout, so the visitor keeps the cookie."""
        work = self._work
        sent, work.phase = work.phase is not OPEN, CLOSED
        if sent:
            raise error
        if work.cookie is not KEEP:
            # What `atomic` or `destroy` did before the outage stays done, so its cookie is sent.
            self._decide_cookie()
        status, self._headers, chunks = outage_answer(work.backend.settings.outage_page, self._environ, error)
        self._server_start_response(status, self._with_our_headers(self._headers))
        return chunks

    def _body_for_server(self, body: Iterable[bytes], chunks: Iterable[bytes]) -> Iterable[bytes]:
        """Return the body for the server: the application's own object, unless there is work to do at its end."""
        backend = self._work.backend
        sweeping = bool(self._cookies) and backend.sweep_due
        if sweeping and backend.sweep_missed:
            backend.sweep(backend.settings.clock())
            sweeping = False
        if chunks is body and (type(body) in (list, tuple) or self._is_file(body)):
            if self._wrote:
                self.finish()
            self._work.phase = CLOSED
            # Tuples and files are passed on unchanged: the sweep stays due for a later response.
            return SweepingList(body, Sweep(backend)) if sweeping and type(body) is list else body
        return Body(body, chunks, self, Sweep(backend) if sweeping else None)

    def _is_file(self, body: Iterable[bytes]) -> bool:
        wrapper = self._environ.get("wsgi.file_wrapper")
        if isinstance(wrapper, type):
            return isinstance(body, wrapper)
        # uWSGI's wrapper is a function that returns the application's file, which it sends with sendfile().
        return wrapper is not None and hasattr(body, "fileno")

    def save_late(self) -> None:
        """Save what changed after the commit. Changes that cannot be saved are reported in the event ``dropped``."""
        work = self._work
        data = work.data
        if work.phase is CLOSED or data is None or not data.maybe_dirty:
            return
        if self._failed or self._status is None or self._status[:1] == "5":
            return
        if work.record is None and not work.ended:
            return
        work.late = True
        try:
            save(work, data)
        except Exception:
            self._failed = True  # The server sees this error, and then calls close(), which must not raise it again.
            drop(work, data)
            raise

    def mark_failed(self) -> None:
        """Record that the application raised while its body was sent: nothing more is saved."""
        self._failed = True

    def close(self) -> None:
        """Refuse all further changes."""
        self._work.phase = CLOSED

    def finish(self) -> None:
        """Save the last changes at the end of the response, and refuse all further ones."""
        try:
            self.save_late()
        finally:
            self._work.phase = CLOSED
