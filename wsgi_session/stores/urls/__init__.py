"""Store URLs: their schemes, parts and options."""

from wsgi_session.stores.urls.opening import open_store as open_store
