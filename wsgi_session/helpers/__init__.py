"""Helpers for any WSGI framework: the logged-in user, login and logout, redirects, CSRF tokens."""

from wsgi_session.helpers.apps import require_login as require_login
from wsgi_session.helpers.apps import session_info as session_info
from wsgi_session.helpers.csrf import check_csrf as check_csrf
from wsgi_session.helpers.csrf import protect_from_csrf as protect_from_csrf
from wsgi_session.helpers.fresh import confirm as confirm
from wsgi_session.helpers.fresh import redirect_unless_fresh as redirect_unless_fresh
from wsgi_session.helpers.redirects import next_url as next_url
from wsgi_session.helpers.redirects import redirect_if_anonymous as redirect_if_anonymous
from wsgi_session.helpers.transaction import begin_transaction as begin_transaction
from wsgi_session.helpers.transaction import end_transaction as end_transaction
from wsgi_session.helpers.typed import typed as typed
from wsgi_session.helpers.users import get_session as get_session
from wsgi_session.helpers.users import login as login
from wsgi_session.helpers.users import logout as logout
from wsgi_session.helpers.users import user_email_or_none as user_email_or_none
from wsgi_session.helpers.users import user_or_none as user_or_none
