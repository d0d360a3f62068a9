"""The optional operations of a store whose engine needs tables."""

from __future__ import annotations

from typing import Protocol, runtime_checkable


@runtime_checkable
class HasTables(Protocol):
    """A store whose engine needs tables before the first session."""

    def init(self) -> None:
        """Create the tables, unless they exist."""

    def ddl(self) -> str:
        """Return the SQL that creates the tables."""

    def make_no_tables(self) -> None:
        """Let only :meth:`init` create the tables, and not the first use of the store."""
