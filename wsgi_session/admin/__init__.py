"""The administrator's view, ``middleware.sessions``."""

from wsgi_session.admin.info import SessionInfo as SessionInfo
from wsgi_session.admin.sessions import Sessions as Sessions
from wsgi_session.admin.tenants import TenantSessions as TenantSessions
