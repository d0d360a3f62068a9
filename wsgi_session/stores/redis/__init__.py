"""Sessions in Redis or Valkey: one server, Sentinel, or a cluster."""

from wsgi_session.stores.redis.store import RedisStore as RedisStore
