"""The weaker promises of ``cookie://``; see ``model.py``."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from tests.fuzz.model import Request, Stored, World


class SealedWorld(World):
    """Each cookie is its own session, which no other request changes or ends."""

    def log_out(self, request: Request) -> Any:
        kept = dict(self.sessions)
        super().log_out(request)
        self.sessions = kept

    def _clears(self, request: Request) -> bool:
        # A session that looked empty is empty.
        return False

    def _note_activity(self, request: Request, loaded: Stored) -> None:
        # Activity is noted in a new cookie; the old one stays unchanged.
        if request.touching and loaded.due(self.now) and not loaded.over(self.now):
            record = deepcopy(loaded)
            record.touched = self.now
            self._seal(request, record)

    def _save(self, request: Request, change: Any = lambda data: None, at_commit: bool = True) -> bool:
        if request.record is not None and request.record.over(self.now):
            # The changes of other requests are in their own cookies.
            request.begin_anew()
        if request.dead:
            return False
        record = request.record or Stored({}, self.now, self.now)
        if request.touching and record.due(self.now):
            record.touched = self.now
        record.data = deepcopy(request.view)
        if request.login is not None:
            login = request.login
            record.user, record.handle, record.idle = login.user, login.handle, login.idle
            record.created, record.touched = login.created, self.now
        self._seal(request, record)
        return True

    def _seal(self, request: Request, record: Stored) -> None:
        self._tokens += 1
        request.token, request.cookie = f"new {self._tokens}", "new"
        self.sessions[request.token] = record
