"""One request and its response: the commit moment.

``start_response`` is only recorded until the application returns (or its body yields, or it calls ``write``). Then the
session is saved, and only when that is done the answer goes on to the server: never a success that was not kept, never
a cookie for what was not stored.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from wsgi_session.cookies.caching import Headers, add_vary_cookie, is_public, make_private
from wsgi_session.errors import SessionTooLarge, StoreUnavailable, UnsupportedValue
from wsgi_session.request import commit as saving
from wsgi_session.responses.body import Body, Sweep, SweepingList, close_body, close_in_outage, first
from wsgi_session.responses.outage import outage_answer, with_outage_headers
from wsgi_session.session import CLOSED, SENT, Session

if TYPE_CHECKING:
    from wsgi_session.backends.base import Backend
    from wsgi_session.request.work import Draft

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
                chunks = chain(list(first(iterator)), iterator)
            if not self._committed:
                self._commit()
            if chunks is body and type(body) is list and not self._cookies and not self._late:
                # As _outgoing() has it: what most requests come to.
                self.session._phase = CLOSED
                return body
        except StoreUnavailable as error:
            close_in_outage(body)
            return self._answer_unavailable(error)
        except BaseException:
            self.session._phase = CLOSED
            close_body(body)
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
                    if status[:3] != "503":
                        raise session._unavailable()
                    # The application's own page for an outage.
                    headers = with_outage_headers(headers, session._unavailable())
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
            max_age = None
            if persistent:
                ends = settings.expires(touched, created, idle)
                max_age = (ends if ends < expires else expires) - settings.clock()  # noqa: FURB136 - min() is a call
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
        if draft is not None and draft.cookie_due is not None:
            # What `atomic` or `destroy` did before the outage stays done, and its cookie goes with it.
            self._decide_cookie(draft)
        self._committed = True
        self.session._phase = CLOSED
        status, self._headers, chunks = outage_answer(self._backend.settings.outage_page, self._environ, error)
        self._server_start_response(status, self._ours(self._headers))
        return chunks

    def _outgoing(self, body: Iterable[bytes], chunks: Iterable[bytes]) -> Iterable[bytes]:
        """Return what the server gets: the application's own object wherever nothing has to be done at its end."""
        sweeping = bool(self._cookies) and self._backend.sweep_due
        if sweeping and self._backend.sweep_missed:
            self._backend.sweep(self._backend.settings.clock())
            sweeping = False
        if chunks is body and (type(body) in (list, tuple) or self._is_file(body)):
            if self._late:
                self.finish()
            self.session._phase = CLOSED
            # What is no list goes as it is: the sweep stays due, and the next answer may be a list.
            return SweepingList(body, Sweep(self._backend)) if sweeping and type(body) is list else body
        return Body(body, chunks, self, Sweep(self._backend) if sweeping else None)

    def _is_file(self, body: Iterable[bytes]) -> bool:
        wrapper = self._environ.get("wsgi.file_wrapper")
        if isinstance(wrapper, type):
            return isinstance(body, wrapper)
        # uWSGI's is a function that returns the application's own file: the system sends it, if it comes as it is.
        return wrapper is not None and hasattr(body, "fileno")

    def save_late(self) -> None:
        """Save what changed after the commit. A change that cannot be saved is told by the event ``dropped``."""
        draft = self.session._draft
        if self.session._phase == CLOSED or draft is None or not draft.values.unsettled:
            return
        failed = self._broke_off or self._status is None or self._status[:1] == "5"
        if failed or not (draft.record is not None or draft.dead):
            return
        draft.late = True
        try:
            self._save(draft, late=True)
        except Exception:
            self._broke_off = True  # Once is enough: the server has been told, and close() comes next.
            saving.drop(draft)
            raise

    def break_off(self) -> None:
        """Take note that the application raised while its body was sent: nothing more is saved."""
        self._broke_off = True

    def end(self) -> None:
        """Let nothing change any more."""
        self.session._phase = CLOSED

    def finish(self) -> None:
        """Save late changes once more. The response is over: nothing can change any more."""
        try:
            self.save_late()
        finally:
            self.session._phase = CLOSED
