"""The weaker promises of ``cookie://``; see ``model.py``."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from tests.fuzz.model import Request, Stored, World


class SealedWorld(World):
    """Each cookie is a session of its own, which no other changes or ends."""

    def log_out(self, request: Request) -> Any:
        kept = dict(self.sessions)
        super().log_out(request)
        self.sessions = kept

    def commit(self, number: int, saved: bool) -> Request:
        request = self.requests[number]
        record = deepcopy(request.record)
        before = self.sessions.get(request.token or "")
        touched = before.touched if before else 0.0
        super().commit(number, saved)
        if record is not None and before is not None and before.touched != touched and request.cookie is None:
            # The activity is noted in a cookie of its own; the one that came stays what it is.
            self._seal(request, deepcopy(before))
            before.touched = touched
        return request

    def _save(self, request: Request, change: Any = lambda data: None) -> bool:
        if request.record is not None and self.now >= request.record.ends():
            # It ended while the request was under way. What others made of it is in cookies of their own.
            request.view = request.on_top_of({})
            request.record, request.state, request.dead = None, "unknown", request.login is None
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
