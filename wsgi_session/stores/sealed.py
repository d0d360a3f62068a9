"""A store that encrypts the sessions of another store: the option ``encrypt``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from wsgi_session.codec.packing import Packed, join
from wsgi_session.config.extras import missing_cryptography
from wsgi_session.errors import ConfigError
from wsgi_session.stores.contract import Outcome, Record, Scans, Store, make_record
from wsgi_session.stores.cookie import CookieStore
from wsgi_session.stores.forwarding import ForwardingStore

if TYPE_CHECKING:
    from wsgi_session.codec.sealing import Sealing


class SealedStore(ForwardingStore):
    """Seal the data of each session that is written to ``inner``. It offers the operations that ``inner`` offers.

    Other records (tombstones, markers, the entries of providers' sessions) contain only hashes, times and random bytes.
    They are not sealed.
    """

    def __init__(self, inner: Store, sealing: Sealing) -> None:
        super().__init__(inner)
        self._sealing = sealing
        self._stored = sealing.stored
        if isinstance(inner, Scans):
            self.scan = self._scan

    def load(self, key: bytes, now: float) -> Record | None:
        record = self.inner.load(key, now)
        if record is None:
            return None
        # Unpacked here, without a helper function, because every request that uses its session runs this.
        data, version, handle, created, touched, expires, owner, persistent, idle, namespace = record
        if not handle:
            return record
        data = self._stored(data, key, handle, owner, namespace)
        return make_record((data, version, handle, created, touched, expires, owner, persistent, idle, namespace))

    def create(self, key: bytes, record: Record, now: float) -> None:
        self.inner.create(key, self._bound(key, record), now)

    def replace(self, key: bytes, record: Record, version: bytes, now: float) -> Outcome:
        return self.inner.replace(key, self._bound(key, record), version, now)

    def rotate(self, old: bytes, new: bytes, record: Record, version: bytes, now: float) -> Outcome:
        return self.inner.rotate(old, new, self._bound(new, record), version, now)

    def _scan(self, now: float) -> Iterator[tuple[bytes, Record]]:
        assert isinstance(self.inner, Scans)
        for key, record in self.inner.scan(now):
            place = key, record.handle, record.owner, record.namespace
            yield key, record._replace(data=self._stored(record.data, *place))

    def _bound(self, key: bytes, record: Record) -> Record:
        data, version, handle, created, touched, expires, owner, persistent, idle, namespace = record
        # No cookie's name contains a slash, so a record with one in its namespace is not a session. bytes(), because
        # this store may have loaded the data.
        is_session = handle and "/" not in namespace
        data = self._sealing.bind(data, key, handle, owner, namespace) if is_session else bytes(data)
        return make_record((data, version, handle, created, touched, expires, owner, persistent, idle, namespace))


def make_sealing(encrypt: object, secrets_newest_first: Sequence[bytes]) -> Sealing | None:
    """Return the ``Sealing`` for the option ``encrypt``; ``None`` for False. Raises ``ConfigError``."""
    if not isinstance(encrypt, bool) and encrypt != "accept-plain":
        raise ConfigError(
            f"encrypt={encrypt!r}: give True, False, or 'accept-plain', which also reads sessions that were stored "
            "without encryption."
        )
    if not encrypt:
        return None
    try:
        # Imported here, because it needs the extra ``crypto``.
        from wsgi_session.codec.sealing import Sealing
    except ImportError as error:
        raise missing_cryptography("encrypt", error) from error
    return Sealing(secrets_newest_first, accept_plain=encrypt == "accept-plain")


def sealed(store: Store, sealing: Sealing | None) -> Store:
    """Return ``store`` with encryption, if there is a sealing; ``cookie://`` encrypts already."""
    return store if sealing is None or isinstance(store, CookieStore) else SealedStore(store, sealing)


def join_of(sealing: Sealing | None) -> Callable[[Packed], bytes]:
    """Return the function that makes a record's data of packed values."""
    return join if sealing is None else sealing.join
