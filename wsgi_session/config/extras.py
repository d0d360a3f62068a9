"""The error where an option needs a package that is not installed."""

from __future__ import annotations

from wsgi_session.errors import ConfigError


def missing_cryptography(needed_by: str, error: ImportError) -> ConfigError:
    """Return the error that says how to install the package ``cryptography``, which ``needed_by`` needs."""
    return ConfigError(f"{needed_by} needs the package cryptography ({error}). Run pip install 'wsgi-session[crypto]'.")
