"""Each WSGI server as a class: how it is started, how it is told to start its workers anew, and what it can do."""

from __future__ import annotations

import os
import signal
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from http.client import HTTPException
from pathlib import Path
from typing import Any, ClassVar

from tests.support import ROOT
from tests.support.servers.process import NOBODY, Server, as_nobody, hand_over
from tests.support.site import SECRET
from tests.system.servers.client import Client


class Group(Server):
    """A server with worker processes, which end when it is killed."""

    def kill(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        super().kill()


class Launcher(Group):
    """A server of this Python on a port of its own, with the sessions in a file in its folder.

    ``application`` is ``module:name``. ``settings`` are environment variables for it; ``options`` go to the server.
    """

    #: What has to be installed, as it is imported.
    package: ClassVar[str]
    #: The same, as it is called on PyPI.
    distribution: ClassVar[str]
    #: What the manual calls it.
    documented: ClassVar[str]
    #: Whether several requests may come over one connection.
    keeps_alive = True
    #: How many processes serve, all told: with one, a restart is a stop and a start.
    processes = 1
    #: Whether the application is loaded before the server forks.
    preloads = False
    #: Whether files that the application wraps are sent by the system, without reading them in Python.
    sends_files = False
    #: Whether there is a ``write`` of PEP 3333.
    writes = True
    #: Whether the server answers 500 if the application raises, and does not just close the connection.
    answers_failures = True
    #: Whether a HEAD that is answered without a length ends with its headers, and not with the last chunk of no body.
    ends_heads = True
    #: Whether a restart lets the running requests finish.
    restarts_gracefully = False

    def __init__(
        self,
        application: str = "tests.system.servers.site:application",
        *,
        store: str | None = None,
        options: Sequence[str] = (),
        **settings: str,
    ) -> None:
        super().__init__()
        self.application = application
        self.store = store or f"sqlite:///{self.folder / 'sessions.db'}"
        self.options = options
        self.settings = settings

    def arguments(self) -> Sequence[str]:
        """Return the command that serves ``self.application`` on ``self.port``, with ``self.options``."""
        raise NotImplementedError

    def command(self) -> Sequence[str]:
        folder = str(self.folder)
        # gunicorn leaves a socket in HOME.
        settings = {"STORE": self.store, "SECRET": SECRET, "FOLDER": folder, "HOME": folder, "PYTHONPATH": str(ROOT)}
        given = [f"{name}={value}" for name, value in {**settings, **self.settings}.items()]
        return ["env", f"--chdir={folder}", *given, *self.arguments()]

    def answers(self) -> bool:
        visitor = Client(self.port)
        try:
            return visitor.get("/untouched").status > 0
        except (OSError, HTTPException):
            return False
        finally:
            visitor.close()

    @contextmanager
    def running(self) -> Iterator[Launcher]:
        """Serve for as long as the block lasts, and leave nothing behind."""
        try:
            self.start()
            yield self
            self.stop()
        finally:
            self.remove(os.getpid())

    def restart(self) -> None:
        """Let workers that start now take over, as an administrator does after an update."""
        self.stop()
        self.start()

    def hang_up(self) -> None:
        """Send SIGHUP, which means "start anew" to most."""
        self._signal(signal.SIGHUP)


class Waitress(Launcher):
    name = "waitress"
    package = "waitress"
    distribution = "waitress"
    documented = "waitress"
    ends_heads = False

    def arguments(self) -> Sequence[str]:
        return [sys.executable, "-m", "waitress", f"--listen=127.0.0.1:{self.port}", *self.options, self.application]


class Gunicorn(Launcher):
    """Two processes, which are forked when the application has been loaded."""

    name = "gunicorn-sync"
    package = "gunicorn"
    distribution = "gunicorn"
    documented = "gunicorn"
    python: Sequence[str] = (sys.executable, "-m")
    worker: Sequence[str] = ("sync",)
    keeps_alive = False
    processes = 2
    restarts_gracefully = True
    preloads = True
    sends_files = True

    def arguments(self) -> Sequence[str]:
        return [
            *self.python,
            "gunicorn",
            "--workers",
            "2",
            "--preload",
            "--worker-class",
            *self.worker,
            "--bind",
            f"127.0.0.1:{self.port}",
            "--worker-tmp-dir",
            str(self.folder),
            *self.options,
            self.application,
        ]

    def restart(self) -> None:
        self.hang_up()


class GunicornThreads(Gunicorn):
    name = "gunicorn-gthread"
    worker = ("gthread", "--threads", "4")
    keeps_alive = True


class GunicornGevent(Gunicorn):
    """Greenlets: gevent replaces what blocks in the standard library, and reads files in Python.

    It does so before anything else is imported: Django's connections do not get over what comes later.
    """

    name = "gunicorn-gevent"
    package = "gevent"
    python = (sys.executable, "-m", "gevent.monkey", "--module")
    worker = ("gevent",)
    keeps_alive = True
    sends_files = False


class UWSGI(Launcher):
    """Two processes of two threads, forked in C when the application has been loaded."""

    name = "uwsgi"
    package = "uwsgidecorators"
    distribution = "uWSGI"
    documented = "uWSGI"
    processes = 2
    # A touched file starts workers anew, but waits for one that may never end: under load, four times in six.
    restarts_gracefully = False
    preloads = True
    sends_files = True
    answers_failures = False
    ends_heads = False

    def arguments(self) -> Sequence[str]:
        return [
            script("uwsgi"),
            "--master",
            "--die-on-term",
            "--processes",
            "2",
            "--threads",
            "2",
            "--need-app",
            "--http",
            f"127.0.0.1:{self.port}",
            "--http-keepalive",
            "--http-auto-chunked",
            "--virtualenv",
            sys.prefix,
            "--py-call-osafterfork",
            # A worker with threads that is told to end now and then never does: by itself uWSGI waits 60 s.
            "--worker-reload-mercy",
            "10",
            *self.options,
            "--module",
            self.application,
        ]


class ModWSGI(Launcher):
    """Apache, with two daemon processes of two threads, each of which loads the application itself."""

    name = "mod_wsgi"
    package = "mod_wsgi"
    distribution = "mod_wsgi"
    documented = "Apache httpd, mod_wsgi"
    processes = 2
    restarts_gracefully = True
    sends_files = True

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        hand_over(self.folder)

    def arguments(self) -> Sequence[str]:
        module, _, name = self.application.partition(":")
        return [
            *as_nobody_who_reads_all(),
            script("mod_wsgi-express"),
            "start-server",
            "--server-root",
            str(self.folder / "apache"),
            "--host",
            "127.0.0.1",
            "--port",
            str(self.port),
            "--processes",
            "2",
            "--threads",
            "2",
            "--enable-sendfile",
            "--working-directory",
            str(self.folder),
            *self.options,
            "--application-type",
            "module",
            "--callable-object",
            name,
            module,
        ]

    def restart(self) -> None:
        os.utime(self.folder / "apache" / "handler.wsgi")

    def log(self) -> str:
        errors = self.folder / "apache" / "error_log"
        return super().log() + (errors.read_text(errors="replace")[-3000:] if errors.exists() else "")


class Cheroot(Launcher):
    name = "cheroot"
    package = "cheroot"
    distribution = "cheroot"
    documented = "cheroot"

    def arguments(self) -> Sequence[str]:
        return [sys.executable, "-m", "cheroot", "--bind", f"127.0.0.1:{self.port}", *self.options, self.application]


class Granian(Launcher):
    """Two processes, each of which is a new Python that loads the application itself."""

    name = "granian"
    package = "granian"
    distribution = "granian"
    documented = "granian"
    processes = 2
    writes = False

    def arguments(self) -> Sequence[str]:
        return [
            sys.executable,
            "-m",
            "granian",
            "--interface",
            "wsgi",
            "--workers",
            "2",
            "--blocking-threads",
            "2",
            # Between one new process and the next: the first has to answer before the second old one goes.
            "--respawn-interval",
            "0.5",
            "--workers-kill-timeout",
            "5",
            "--host",
            "127.0.0.1",
            "--port",
            str(self.port),
            *self.options,
            self.application,
        ]

    def answers(self) -> bool:
        return super().answers() and all_started(self.log())

    def restart(self) -> None:
        self.hang_up()


class Wsgiref(Launcher):
    """The standard library's: one request after the other, for development."""

    name = "wsgiref"
    package = "wsgiref"
    distribution = ""
    documented = "wsgiref"
    keeps_alive = False

    def arguments(self) -> Sequence[str]:
        module, _, name = self.application.partition(":")
        code = (
            f"from wsgiref.simple_server import make_server; from {module} import {name} as application; "
            f"make_server('127.0.0.1', {self.port}, application).serve_forever()"
        )
        return [sys.executable, "-c", code]


LAUNCHERS: Sequence[type[Launcher]] = [
    Waitress,
    Gunicorn,
    GunicornThreads,
    GunicornGevent,
    UWSGI,
    ModWSGI,
    Cheroot,
    Granian,
    Wsgiref,
]


def script(name: str) -> str:
    """Return the path of a program that a package of this Python has installed."""
    return str(Path(sysconfig.get_path("scripts")) / name)


def all_started(log: str) -> bool:
    """Whether both of granian's workers run: told to stop while one begins, it waits for that one for ever."""
    return log.count("Started worker-") >= 2


def as_nobody_who_reads_all() -> Sequence[str]:
    """Return what goes in front of Apache's command: root's it must not be, and only root may see its Python."""
    if as_nobody() is None:
        return []
    return [
        "setpriv",
        f"--reuid={NOBODY}",
        "--regid=nogroup",
        "--clear-groups",
        "--inh-caps=+dac_override",
        # (Or access() would say no, of what open() opens.)
        "--ambient-caps=+dac_override",
        "--securebits=+no_setuid_fixup",
        "--pdeathsig=KILL",
    ]
