"""The rules of time: when a session ends, whether activity has to be recorded, and what its times become then."""

from __future__ import annotations

from dataclasses import dataclass

from wsgi_session.stores.contract import SWEEP_GRACE, OwnedSession, Record


@dataclass(frozen=True, slots=True)
class Lifetime:
    """The time-outs of one middleware, in seconds. Moments are seconds since the epoch."""

    idle: float
    #: Counted from the login, whatever the activity. ``None``: no such limit.
    absolute: float | None
    #: Activity is recorded at most this often.
    touch_interval: float

    def end(self, touched: float, created: float, idle: float | None) -> float:
        """Return when a session ends by these time-outs; ``idle`` is its own one, which can only shorten it."""
        # Comparisons in place of min(): every request comes here, and a call takes longer.
        moment = touched + (self.idle if idle is None or idle > self.idle else idle)
        if self.absolute is None or moment <= created + self.absolute:
            return moment
        return created + self.absolute

    def end_of(self, record: Record | OwnedSession) -> float:
        """Return when the session of ``record`` ends: by its stored end, or earlier by today's time-outs."""
        end = self.end(record.touched, record.created, record.idle)
        return end if end < record.expires else record.expires  # noqa: FURB136  (min() is a call)

    def interval(self, idle: float | None) -> float:
        """Return how often activity is recorded at most; ``idle`` is the session's own time-out."""
        if idle is None or idle >= self.idle:
            return self.touch_interval
        # However long the interval is: a login's own time-out must not run out between two touches.
        return min(self.touch_interval, idle / 30)

    def touch_due(self, record: Record, now: float) -> bool:
        """Return whether activity at ``now`` has to be recorded."""
        age = now - record.touched
        return age >= self.touch_interval or (record.idle is not None and age >= self.interval(record.idle))

    def times_after(self, record: Record, now: float, *, touching: bool) -> tuple[float, float]:
        """Return ``touched`` and ``expires`` as a request at ``now`` leaves them; unchanged unless it is activity."""
        if not touching or not self.touch_due(record, now):
            return record.touched, record.expires
        # Never earlier than before: the record may have been written under a longer idle time-out.
        return now, max(record.expires, self.end(now, record.created, record.idle))

    def judged_at(self, record: Record, now: float, loaded_at: float) -> float | None:
        """Return the time by which the store judges whether the session is alive; ``None`` if it has ended.

        A session that was live when the request loaded it is live for that request, until an hour after its end by the
        idle time-out: that long, a store that sweeps keeps the record. (Redis keeps it for five minutes.) The absolute
        limit has no such grace.
        """
        end = self.end(record.touched, record.created, record.idle)
        if record.expires < end:
            end = record.expires
        if now < end:
            return now
        if now >= end + SWEEP_GRACE or (self.absolute is not None and now >= record.created + self.absolute):
            return None
        return loaded_at
