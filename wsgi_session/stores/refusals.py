"""What a store says that does not offer what was asked for: why, and what to do instead."""

from __future__ import annotations

from wsgi_session.errors import Unsupported
from wsgi_session.stores.contract import Scans, Store
from wsgi_session.stores.cookie import CookieStore


def unsupported(store: Store, operation: str) -> Unsupported:
    """Return the error for ``store`` not offering ``operation``."""
    if isinstance(store, CookieStore):
        reason = (
            "cookie:// keeps sessions in the browsers, where none can be listed, counted or revoked. Use a store that "
            "keeps them, such as sqlite:///sessions.db; or end sessions as they come, with validate"
        )
    elif operation == "sweep":
        reason = f"{type(store).__name__} has nothing to sweep: expired sessions go by themselves"
    elif operation == "count" and isinstance(store, Scans):
        reason = (
            f"{type(store).__name__} cannot count without looking at every session: run python -m wsgi_session stats "
            "URL, which does that"
        )
    else:
        reason = f"{type(store).__name__} does not offer {operation}(). Use a store that does: memory, SQLite or SQL"
    return Unsupported(f"{reason}.", operation=operation)
