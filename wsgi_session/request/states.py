"""The phases of a response, and what it does to the cookie."""

from __future__ import annotations

import enum


class Phase(enum.Enum):
    """The phase of a response."""

    #: Nothing was passed to the server yet: everything can be changed.
    OPEN = "open"
    #: The headers were passed to the server: no cookie can be set any more.
    SENT = "sent"
    #: Nothing can be saved any more.
    CLOSED = "closed"


class Cookie(enum.Enum):
    """What the response does to the cookie."""

    KEEP = "keep"
    SET = "set"
    REMOVE = "remove"


# Names of the module, because each use takes one look-up in place of two.
OPEN, SENT, CLOSED = Phase.OPEN, Phase.SENT, Phase.CLOSED
KEEP, SET, REMOVE = Cookie.KEEP, Cookie.SET, Cookie.REMOVE
