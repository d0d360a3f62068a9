"""Beaker: the same ``SessionMiddleware``, over the stores of this package. Change one import::

    from wsgi_session.integrations.beaker import SessionMiddleware  # was: from beaker.middleware import …

    app = SessionMiddleware(app, {"session.type": "file", "session.data_dir": "/var/lib/app"})

The configuration is Beaker's: see :mod:`wsgi_session.integrations.beaker_options`. ``environ["beaker.session"]`` has
Beaker's methods and keeps its rule that only ``save()`` saves, unless ``auto`` is on. Overlapping requests keep each
other's keys, which Beaker's lose. For the helpers, name the key: ``user_or_none(environ, key="beaker.session")``.

How this differs from Beaker: a secret has at least 32 bytes, a request that fails (5xx) saves nothing, ``delete()``
and ``invalidate()`` delete the record, and values are of the types that a session keeps, without pickle. Beaker's
``CacheMiddleware`` has no counterpart: keep Beaker's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from wsgi_session import middleware
from wsgi_session.cookies.caching import Headers
from wsgi_session.exchange import Application, StartResponse
from wsgi_session.integrations.beaker_cookie import Place, name_pattern, with_place
from wsgi_session.integrations.beaker_given import Given
from wsgi_session.integrations.beaker_options import translate
from wsgi_session.integrations.beaker_session import BeakerSession, DetachedSession
from wsgi_session.integrations.beaker_work import BeakerSettings, BeakerWork, DetachedWork
from wsgi_session.middleware import internals_of
from wsgi_session.session import work_of

# Where WebTest wants to find objects of the request.
_TEST_VARIABLES = "paste.testing_variables"


class SessionMiddleware(middleware.SessionMiddleware):
    """A :class:`wsgi_session.SessionMiddleware` with Beaker's configuration and interface.

    ``config`` is a mapping whose keys start with ``session.`` or ``beaker.session.``; other keys are ignored. Keyword
    arguments are options too, with or without a prefix, and take precedence. Raises ``ConfigError`` for an option that
    is unknown, invalid, or has no meaning here.
    """

    _session_type = BeakerSession

    def __init__(
        self,
        wrap_app: Application,
        config: Mapping[str, Any] | None = None,
        environ_key: str = "beaker.session",
        **kwargs: Any,
    ) -> None:
        given = Given(config or {}, kwargs)
        # Delete the variables, because a traceback may show them, and the secret in them.
        del config, kwargs
        options, autosave, test_variable, owns_store = translate(given)
        place = Place(options["cookie_domain"], options["cookie_path"])
        self._beaker = settings = BeakerSettings(autosave, place, options["cookie_secure"])

        class ConfiguredWork(BeakerWork):
            beaker = settings

        self._work_type = ConfiguredWork
        environ_key = options.setdefault("environ_key", environ_key)
        super().__init__(wrap_app, **options)
        self._owns_store = owns_store
        self._cookie_names = name_pattern(options["cookie_name"])
        #: The application, under Beaker's name.
        self.wrap_app = wrap_app
        if test_variable is not None:
            self.app = _with_test_variable(wrap_app, environ_key, test_variable)

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        environ["beaker.get_session"] = self._get_session

        def start(status: str, headers: Headers, *exc_info: Any) -> Callable[[bytes], object]:
            session = environ.get(self._environ_key)
            work = work_of(session) if isinstance(session, BeakerSession) else None
            if isinstance(work, BeakerWork) and work.data is not None and work.place != self._beaker.place:
                headers = with_place(headers, self._cookie_names, work.place)
            return start_response(status, headers, *exc_info)

        return super().__call__(environ, start)

    def _get_session(self) -> BeakerSession:
        """Return a new session without a cookie. After its ``save()``, ``get_by_id`` finds it."""
        return DetachedSession(DetachedWork(internals_of(self).backend, self._beaker, None))


def session_filter_factory(global_conf: Mapping[str, str], **kwargs: str) -> Callable[[Application], SessionMiddleware]:
    """Return a function that wraps an application, for PasteDeploy's ``filter_factory``."""
    return lambda app: SessionMiddleware(app, global_conf, **kwargs)


def session_filter_app_factory(app: Application, global_conf: Mapping[str, str], **kwargs: str) -> SessionMiddleware:
    """Make a middleware for PasteDeploy: ``use = egg:wsgi-session#beaker_session``."""
    return SessionMiddleware(app, global_conf, **kwargs)


def _with_test_variable(app: Application, environ_key: str, name: str) -> Application:
    def application(environ: dict[str, Any], start_response: StartResponse) -> Iterable[bytes]:
        if _TEST_VARIABLES in environ:
            environ[_TEST_VARIABLES][name] = environ[environ_key]
        return app(environ, start_response)

    return application
