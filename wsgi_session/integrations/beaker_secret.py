"""The secret for Beaker's ``secret``, ``validate_key`` and ``encrypt_key``: the longest of those that are given.

Beaker needs none, and most applications have none, or a short one. If only one machine has to know the secret, it is
made here: for ``memory`` a new one in each process, which loses its sessions at its end anyway; for ``file`` and
``dbm`` one in the file ``session_secret`` in ``data_dir``, which only its owner can read.
"""

from __future__ import annotations

import os
import tempfile
from typing import Any

from wsgi_session.config.keygen import new_secret
from wsgi_session.config.options import MIN_SECRET
from wsgi_session.config.secrets import HiddenText
from wsgi_session.errors import ConfigError
from wsgi_session.integrations.beaker_given import SECRETS, Given
from wsgi_session.integrations.beaker_stores import kind_of, make_folder

#: The file in ``data_dir``.
FILE = "session_secret"


def secret_option(given: Given) -> dict[str, Any]:
    """Take the secrets out of ``given``; return the option ``secret``, or nothing if there is none.

    A sequence under ``secret`` is newest first, and all verify, as in this package.
    """
    values = [given.take(option) for option in SECRETS]
    if isinstance(values[0], (list, tuple)):
        return {"secret": values[0]}
    longest = max((value for value in values if isinstance(value, (str, bytes))), key=len, default=None)
    if (longest is None or len(longest) < MIN_SECRET) and "store" not in given:
        kind = kind_of(given.get("type"), given.get("data_dir"))
        if kind == "memory":
            longest = HiddenText(new_secret())
        elif kind in ("file", "dbm"):
            longest = _stored_secret(make_folder(given.get("data_dir")))
    # In a list, because text alone could be several secrets, separated by spaces.
    return {} if longest is None else {"secret": [longest]}


def _stored_secret(folder: str) -> HiddenText:
    """Return the secret of the file in ``folder``. The first use creates it; of several processes, one wins."""
    path = os.path.join(folder, FILE)
    try:
        if not os.path.exists(path):
            _create(path, folder)
        with open(path, encoding="ascii") as file:
            return HiddenText(file.read()).strip()
    except OSError as error:
        raise ConfigError(
            f"The file {path} for the secret cannot be created or read ({error.strerror}). Write session.secret."
        ) from error


def _create(path: str, folder: str) -> None:
    number, temporary = tempfile.mkstemp(prefix=FILE, dir=folder)
    try:
        with open(number, "w", encoding="ascii") as file:
            file.write(new_secret())
        # Unlike a rename, this fails if another process was first: then that one's secret counts.
        os.link(temporary, path)
    except FileExistsError:
        pass
    finally:
        os.unlink(temporary)
