"""The secret that signs the cookies: made on the first start, and kept, so that logins survive a restart."""

from __future__ import annotations

import os
import secrets
import tempfile
from pathlib import Path


def kept_secret(path: Path) -> str:
    """Return the secret in this file, which only its owner may read; on the first start, make it."""
    try:
        return path.read_text("ascii").strip()
    except FileNotFoundError:
        pass
    # Written whole under another name first: a second demo that starts at this very moment sees all of it or nothing.
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name)  # mode 0600
    with os.fdopen(handle, "w", encoding="ascii") as file:
        file.write(secrets.token_urlsafe(32) + "\n")
    try:
        os.link(name, path)
    except FileExistsError:
        pass  # The other one was first: its secret is the one.
    finally:
        os.unlink(name)
    return path.read_text("ascii").strip()
