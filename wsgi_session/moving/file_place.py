"""Records of another library in a folder: one file for each, whose name is derived from the key."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterable, Iterator

from wsgi_session.errors import Unsupported
from wsgi_session.moving.pickles import MAX_SIZE
from wsgi_session.moving.places import Found, Place, outage
from wsgi_session.moving.reader import NotAdopted


class FilePlace(Place):
    """A folder of files. A subclass knows the names of the files and their form."""

    def __init__(self, folder: str) -> None:
        self.folder = os.path.abspath(folder)

    @abstractmethod
    def names(self, key: str) -> Iterable[str]:
        """Return the names that the file of ``key`` may have, relative to the folder."""

    @abstractmethod
    def parse(self, content: bytes, now: float, changed: float) -> Found | None:
        """Return the record in a file that was last changed at ``changed``; ``None`` if it has expired."""

    def get(self, key: str, now: float) -> Found | None:
        for name in self.names(key):
            try:
                with open(os.path.join(self.folder, name), "rb") as file:
                    content = file.read(MAX_SIZE + 1)
                    changed = os.fstat(file.fileno()).st_mtime
            except FileNotFoundError:
                continue
            except OSError as error:
                raise outage(self.folder, error) from None
            if len(content) > MAX_SIZE:
                raise NotAdopted("too_large", f"a file of more than {MAX_SIZE:,} bytes")
            return self.parse(content, now, changed)
        self.require_folder()
        return None

    def require_folder(self) -> None:
        """Raise ``StoreUnavailable`` if the folder is missing: "no such session" would log every visitor out."""
        if not os.path.isdir(self.folder):
            raise outage(self.folder, FileNotFoundError())

    def delete(self, key: str) -> None:
        for name in self.names(key):
            try:
                os.remove(os.path.join(self.folder, name))
            except FileNotFoundError:
                pass
            except OSError as error:
                raise outage(self.folder, error) from None

    def keys(self, prefix: str) -> Iterator[str]:
        """Raise ``Unsupported``: the names of the files are hashes of the keys."""
        raise Unsupported(
            "This library's files do not contain the ids of their sessions, so they can only be adopted at a visit.",
            operation="session_ids",
        )
