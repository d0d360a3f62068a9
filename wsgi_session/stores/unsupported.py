"""The error for an operation that a store does not support, with the reason and an alternative."""

from __future__ import annotations

from wsgi_session.errors import Unsupported
from wsgi_session.stores.contract import Scans, Store
from wsgi_session.stores.cookie import CookieStore
from wsgi_session.stores.forwarding import ForwardingStore


def unsupported(store: Store, operation: str) -> Unsupported:
    """Return the error for an ``operation`` that ``store`` does not support."""
    while isinstance(store, ForwardingStore):
        store = store.inner
    if isinstance(store, CookieStore):
        reason = (
            "cookie:// keeps sessions in the browsers, so they cannot be listed, counted or revoked. Use a server-side "
            "store, such as sqlite:///sessions.db; or end sessions with validate when they are used"
        )
    elif operation == "sweep":
        reason = f"{type(store).__name__} has nothing to sweep: its engine removes expired sessions"
    elif operation == "count" and isinstance(store, Scans):
        reason = (
            f"{type(store).__name__} cannot count without reading every session. Run python -m wsgi_session stats URL, "
            "which does that"
        )
    else:
        reason = f"{type(store).__name__} does not support {operation}(). Use a store that does: memory, SQLite or SQL"
    return Unsupported(f"{reason}.", operation=operation)
