"""The commands of ``python -m wsgi_session`` and ``wsgi-session``. All but ``keygen`` open a store by its URL.

Results go to stdout, progress and errors to stderr. The exit codes: 0, success; 1, the store or its URL failed, or
there is no such session (stderr says why in one line); 2, wrong usage; 130, interrupted with Ctrl-C.
"""

from wsgi_session.cli import sessions as _sessions  # noqa: F401  (adds its commands)
from wsgi_session.cli import stores as _stores  # noqa: F401
from wsgi_session.cli.group import cli as cli
