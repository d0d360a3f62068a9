"""The entries of a list of sessions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any


@dataclass(frozen=True)
class SessionInfo:
    """One session in a list. It contains no credential, so it is safe to show to an administrator (CVE-2020-5224)."""

    #: The public name of the session, for :meth:`Sessions.revoke`.
    handle: str
    #: When the user logged in (aware, UTC).
    created: datetime
    #: The last recorded activity (aware, UTC). The last request may be up to ``touch_interval`` later.
    last_seen: datetime
    #: When the session expires if no further request arrives (aware, UTC).
    expires: datetime
    #: The user who is logged in, as ``session.owner`` returns it; ``None`` for an anonymous visitor.
    owner: str | None
    #: Whether it is the session that was given as ``current`` to ``sessions.of()``.
    current: bool
    _load: Callable[[], tuple[dict[str, Any], str | None]] = field(repr=False, compare=False)

    @property
    def data(self) -> dict[str, Any]:
        """A decoded copy of the session's data, loaded at the first access to this attribute.

        Empty if the session has ended since it was listed, or if its data is corrupt (then with the event ``corrupt``).
        Raises ``StoreUnavailable`` if the store is down.
        """
        return self._loaded[0]

    @property
    def about(self) -> str | None:
        """What ``describe`` said of the device at the login; ``None`` if nothing. Loaded together with :attr:`data`."""
        return self._loaded[1]

    @cached_property
    def _loaded(self) -> tuple[dict[str, Any], str | None]:
        return self._load()
