"""The processes of a site: of one kind, or, while it changes stores, of two kinds beside each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.fuzz.held import TroubledStore, Troubles
from wsgi_session.stores import MemoryStore, MigratingStore, Store
from wsgi_session.stores.cookie import CookieStore
from wsgi_session.stores.migrating.moving import move_all


@dataclass
class Processes:
    """What each kind of process has for a store, and which kinds run at the same time."""

    troubles: Troubles
    stores: Sequence[Store]
    #: One deployment after the other: the kinds that run, by their number, and the one that is looked through.
    deployments: Sequence[tuple[tuple[int, ...], int]] = (((0,), 0),)
    #: What has to be done before the last kind is deployed.
    move_the_rest: Callable[[float], object] = lambda now: None


def over(store: Store) -> Processes:
    """Return the processes of a site with one store."""
    troubles = Troubles()
    return Processes(troubles, [store if isinstance(store, CookieStore) else TroubledStore(store, troubles)])


def changing_stores() -> Processes:
    """Return those of a site that goes from one store to another: trouble comes between any two calls of a move."""
    troubles = Troubles()
    old, new = TroubledStore(MemoryStore(), troubles), TroubledStore(MemoryStore(), troubles)
    stores = [old, MigratingStore(new, old, "prepare"), MigratingStore(new, old), new]
    # Looked through is a process that finds all there is, and moves nothing where that can be.
    deployments = [((0,), 0), ((0, 1), 0), ((1,), 1), ((1, 2), 1), ((2,), 1), ((2, 3), 1), ((3,), 3)]
    return Processes(troubles, stores, deployments, lambda now: list(move_all(old, new, lambda: now)))
