"""Beaker's folders: a file for each session, or a dbm file for each."""

from __future__ import annotations

import dbm
import os
from collections.abc import Iterator

from wsgi_session.moving.file_place import FilePlace
from wsgi_session.moving.places import Found, outage

_DBM_EXTENSIONS = ("", ".pag", ".dir", ".db", ".dat", ".bak")


class BeakerFiles(FilePlace):
    """``type = file``: a pickled dict in ``container_file/a/ab/abc….cache``."""

    container, extension = "container_file", ".cache"

    def names(self, key: str) -> list[str]:
        return [os.path.join(self.container, key[:1], key[:2], key + self.extension)]

    def parse(self, content: bytes, now: float, changed: float) -> Found | None:
        return Found(content)

    def keys(self, prefix: str) -> Iterator[str]:
        self.require_folder()
        found = set()
        for _, _, files in os.walk(os.path.join(self.folder, self.container)):
            found |= {name.partition(self.extension)[0] for name in files if self.extension in name}
        yield from sorted(found)


class BeakerDBM(BeakerFiles):
    """``type = dbm``: a dbm file of any kind that Python can open, with one entry."""

    container, extension = "container_dbm", ".dbm"

    def get(self, key: str, now: float) -> Found | None:
        (name,) = self.names(key)
        path = os.path.join(self.folder, name)
        try:
            if dbm.whichdb(path) is None:  # There is no such file.
                self.require_folder()
                return None
            with dbm.open(path, "r") as entries:
                return Found(entries[b"session"]) if b"session" in entries else None
        except (OSError, *dbm.error) as error:
            raise outage(self.folder, error) from None

    def delete(self, key: str) -> None:
        (name,) = self.names(key)
        for extension in _DBM_EXTENSIONS:
            try:
                os.remove(os.path.join(self.folder, name + extension))
            except FileNotFoundError:
                pass
            except OSError as error:
                raise outage(self.folder, error) from None
