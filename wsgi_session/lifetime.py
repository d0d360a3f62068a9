"""The rules of time: when a session ends, whether activity has to be recorded, and what its times become then."""

from __future__ import annotations

from dataclasses import dataclass

from wsgi_session.stores.contract import SWEEP_GRACE, OwnedSession, Record


@dataclass(frozen=True, slots=True)
class Lifetime:
    """The timeouts of one middleware, in seconds. Times are in seconds since the epoch."""

    idle: float
    #: Counted from the login, however active the visitor is. ``None``: no such limit.
    absolute: float | None
    #: Activity is recorded at most this often.
    touch_interval: float
    #: The idle timeout of sessions without an owner, at most ``idle``. ``None``: the same as ``idle``.
    anonymous: float | None = None

    def end(self, touched: float, created: float, idle: float | None) -> float:
        """Return when a session expires by these timeouts; ``idle`` is the session's own, which can only shorten it."""
        # Comparisons in place of min(), because every request runs this, and a call takes longer.
        moment = touched + (self.idle if idle is None or idle > self.idle else idle)
        if self.absolute is None or moment <= created + self.absolute:
            return moment
        return created + self.absolute

    def end_of(self, record: Record | OwnedSession) -> float:
        """Return when the session of ``record`` expires: at its stored time, or earlier by the current timeouts."""
        end = self.end(record.touched, record.created, record.idle)
        return end if end < record.expires else record.expires  # noqa: FURB136  (min() is a call)

    def interval(self, idle: float | None) -> float:
        """Return the minimum seconds between two touches; ``idle`` is the session's own timeout."""
        if idle is None or idle >= self.idle:
            return self.touch_interval
        # A login's own timeout may be shorter than the interval, and must not pass between two touches.
        return min(self.touch_interval, idle / 30)

    def touch_due(self, record: Record, now: float) -> bool:
        """Return whether activity at ``now`` has to be recorded."""
        age = now - record.touched
        return age >= self.touch_interval or (record.idle is not None and age >= self.interval(record.idle))

    def times_after(self, record: Record, now: float, *, touching: bool) -> tuple[float, float]:
        """Return the new ``touched`` and ``expires`` for a request at ``now``; unchanged unless a touch is due."""
        if not touching or not self.touch_due(record, now):
            return record.touched, record.expires
        # Never earlier than before: the record may have been written under a longer idle timeout.
        return now, max(record.expires, self.end(now, record.created, record.idle))

    def judged_at(self, record: Record, now: float, loaded_at: float) -> float | None:
        """Return the ``now`` to pass to the store when this request saves; ``None`` if the session has expired.

        A session that was live when the request loaded it stays live for that request, up to an hour after the idle
        timeout: a store that sweeps keeps the record that long. (Redis keeps it for five minutes.) The absolute timeout
        allows no such grace.
        """
        end = self.end_of(record)
        if now < end:
            return now
        if now >= end + SWEEP_GRACE or (self.absolute is not None and now >= record.created + self.absolute):
            return None
        return loaded_at
