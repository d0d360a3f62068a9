"""``python -m wsgi_session``, or ``wsgi-session``: generate a secret, and maintain a session store.

The commands are in ``wsgi_session.cli`` and need the ``cli`` extra. ``keygen`` works without it, because it is the
first command that a new user runs.
"""

from __future__ import annotations

import os
import sys

from wsgi_session.config.keygen import new_secret


def main() -> None:
    """Run the command that the arguments name."""
    if sys.argv[1:] == ["keygen"]:
        print(new_secret())  # noqa: T201 - the secret on stdout is the command's result
        return
    try:
        from wsgi_session.cli import cli
    except ModuleNotFoundError as error:
        if error.name != "click":
            raise
        sys.exit("The command line needs click: pip install 'wsgi-session[cli]'. (Only keygen works without it.)")
    script = os.path.basename(sys.argv[0])
    cli(prog_name=script if script.startswith("wsgi-session") else "python -m wsgi_session")


if __name__ == "__main__":
    main()
