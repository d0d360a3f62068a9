"""The command line itself, to which each module of this folder adds its commands."""

from __future__ import annotations

import click


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="wsgi-session", message="wsgi-session %(version)s")
def cli() -> None:
    """Generate a secret, and maintain a session store.

    URL is the store's URL, as given to SessionMiddleware, such as sqlite:///sessions.db. If you leave it out, it is
    read from the environment variable WSGI_SESSION_STORE.
    """
