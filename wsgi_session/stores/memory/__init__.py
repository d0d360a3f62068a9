"""Sessions in the memory of one process."""

from wsgi_session.stores.memory.store import MemoryStore as MemoryStore
