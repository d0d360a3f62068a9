"""The processes of a site: all of one kind, or of two kinds while the site changes stores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.fuzz.held import TroubledStore, Troubles
from wsgi_session.stores import MemoryStore, MigratingStore, Store
from wsgi_session.stores.cookie import CookieStore
from wsgi_session.stores.migrating.moving import move_all


@dataclass
class Processes:
    """The store of each kind of process, and the kinds that run at the same time."""

    troubles: Troubles
    stores: Sequence[Store]
    #: The deployments in order: the numbers of the kinds that run, and of the kind through which the test looks.
    deployments: Sequence[tuple[tuple[int, ...], int]] = (((0,), 0),)
    #: Called before the last kind is deployed.
    move_the_rest: Callable[[float], object] = lambda now: None


def over(store: Store) -> Processes:
    """Return the processes of a site with one store."""
    troubles = Troubles()
    return Processes(troubles, [store if isinstance(store, CookieStore) else TroubledStore(store, troubles)])


def changing_stores() -> Processes:
    """Return the processes of a site that moves from one store to another, with trouble between any two calls."""
    troubles = Troubles()
    old, new = TroubledStore(MemoryStore(), troubles), TroubledStore(MemoryStore(), troubles)
    stores = [old, MigratingStore(new, old, "prepare"), MigratingStore(new, old), new]
    # The test looks through a process that finds every session, and, if possible, moves none.
    deployments = [((0,), 0), ((0, 1), 0), ((1,), 1), ((1, 2), 1), ((2,), 1), ((2, 3), 1), ((3,), 3)]
    return Processes(troubles, stores, deployments, lambda now: list(move_all(old, new, lambda: now)))
