"""``python -m demo``: serve the shop on http://127.0.0.1:8080, without any set-up."""

from __future__ import annotations

import errno
import logging
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

try:
    import click
    from waitress.server import create_server

    from demo.app import Site
except ModuleNotFoundError as error:
    sys.exit(f"The demo needs {error.name}. In a checkout of the project, run:  pip install -e '.[demo]'")

from demo.secret import NoSecret, kept_secret
from wsgi_session import ConfigError, StoreUnavailable
from wsgi_session.stores.urls.opening import open_store

SECRET_FILE = Path("demo.secret")


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on; 0.0.0.0 for all.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="Port; 0 for a free one.")
@click.option(
    "--store",
    "url",
    default="sqlite:///demo.db",
    show_default=True,
    metavar="URL",
    help="The session store: memory://, sqlite:///FILE, or the URL of any other installed store.",
)
@click.option(
    "--secret",
    metavar="TEXT",
    help=f"The secret that signs the cookies, at least 32 bytes.  [default: created in {SECRET_FILE} at first start]",
)
@click.option(
    "--threads", default=4, show_default=True, type=click.IntRange(1, 256), help="Requests served at the same time."
)
def main(host: str, port: int, url: str, secret: str | None, threads: int) -> None:
    """Open The Cookie Jar: a small shop that shows what wsgi-session does.

    Logins and carts survive a restart: sessions are in demo.db, and the secret that signs the cookies is in
    demo.secret, both in the current folder. Delete the two files to start afresh.
    """
    logging.basicConfig(format="%(levelname)s %(name)s: %(message)s")
    # Hide the warning that a browser requests more files at once than there are threads: each waits a millisecond.
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)
    signal.signal(signal.SIGTERM, _end)
    try:
        with open_store(url) as store:
            store.ping()
            server = _listen(Site(secret=secret or kept_secret(SECRET_FILE), store=store), host, port, threads)
            try:
                with suppress(KeyboardInterrupt, SystemExit):
                    click.echo(f"The Cookie Jar is open:  {_address(server)}\nClose it with Ctrl-C.")
                    server.run()  # Until Ctrl-C or SIGTERM; running requests are finished first.
            finally:
                server.close()  # waitress itself does this only if the host name has several addresses.
    except ConfigError as error:
        raise click.UsageError(str(error)) from error
    except (StoreUnavailable, NoSecret, OSError) as error:
        raise click.ClickException(str(error)) from error
    click.echo("\nClosed.")


def _end(number: int, frame: object) -> None:
    raise SystemExit


def _listen(site: Site, host: str, port: int, threads: int) -> Any:
    try:
        return create_server(site, host=host, port=port, threads=threads)
    except (OSError, ValueError) as error:  # waitress raises ValueError for a host name without an address.
        if getattr(error, "errno", None) != errno.EADDRINUSE:
            raise click.ClickException(f"Cannot listen on {host}, port {port}: {error}") from error
        another = port + 1 if port < 65535 else port - 1
        raise click.ClickException(
            f"Port {port} on {host} is in use, perhaps by another demo. Choose another port with --port {another}, "
            "or any free port with --port 0."
        ) from error


def _address(server: Any) -> str:
    """Return the URL to open in a browser. If the host name has several addresses, use the first."""
    several = getattr(server, "effective_listen", None)
    host, port = several[0] if several else (server.effective_host, server.effective_port)
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  (shown, not bound to)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


if __name__ == "__main__":
    main()
