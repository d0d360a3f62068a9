"""The stores, and the contract for writing another one: :mod:`wsgi_session.stores.contract`."""

from wsgi_session.stores.contract import (
    CLOCK_SKEW as CLOCK_SKEW,
)
from wsgi_session.stores.contract import (
    DELETE_BATCH as DELETE_BATCH,
)
from wsgi_session.stores.contract import (
    LAST_TIME as LAST_TIME,
)
from wsgi_session.stores.contract import (
    OWNED_PAGE as OWNED_PAGE,
)
from wsgi_session.stores.contract import (
    SWEEP_EVERY as SWEEP_EVERY,
)
from wsgi_session.stores.contract import (
    SWEEP_GRACE as SWEEP_GRACE,
)
from wsgi_session.stores.contract import (
    SWEEP_LIMIT as SWEEP_LIMIT,
)
from wsgi_session.stores.contract import (
    TOMBSTONE_LIFE as TOMBSTONE_LIFE,
)
from wsgi_session.stores.contract import (
    Counts as Counts,
)
from wsgi_session.stores.contract import (
    ListsOwners as ListsOwners,
)
from wsgi_session.stores.contract import (
    Outcome as Outcome,
)
from wsgi_session.stores.contract import (
    OwnedSession as OwnedSession,
)
from wsgi_session.stores.contract import (
    Record as Record,
)
from wsgi_session.stores.contract import (
    Scans as Scans,
)
from wsgi_session.stores.contract import (
    Store as Store,
)
from wsgi_session.stores.contract import (
    Sweeps as Sweeps,
)
from wsgi_session.stores.contract import (
    fill_batch as fill_batch,
)
from wsgi_session.stores.contract import (
    has_sound_times as has_sound_times,
)
from wsgi_session.stores.contract import (
    make_record as make_record,
)
from wsgi_session.stores.contract import (
    owned_session as owned_session,
)
from wsgi_session.stores.contract import (
    tombstone_of as tombstone_of,
)
from wsgi_session.stores.memory import MemoryStore as MemoryStore
from wsgi_session.stores.migrating import MigratingStore as MigratingStore
from wsgi_session.stores.sqlite import SQLiteStore as SQLiteStore
from wsgi_session.stores.urls import open_store as open_store
