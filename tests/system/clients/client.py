"""The interface of every client here."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import NamedTuple


class Page(NamedTuple):
    status: int
    text: str


class Client(ABC):
    """A program that follows redirects and keeps cookies, those with a date also in a file."""

    def __init__(self, address: str, folder: Path, authority: Path | None) -> None:
        self.address = address
        self.file = folder / "cookies"
        #: The certificate authority to trust over https.
        self.authority = authority
        self.start()

    @abstractmethod
    def start(self) -> None:
        """Begin with the cookies that are in the file, if there is one."""

    @abstractmethod
    def end(self) -> None:
        """End as the program does: the file then has what outlives it."""

    @abstractmethod
    def ask(self, url: str, fields: dict[str, str] | None) -> Page:
        """GET ``url``, or POST these fields to it; return the page that this leads to."""

    def get(self, path: str) -> Page:
        return self.ask(self.address + path, None)

    def post(self, path: str, **fields: str) -> Page:
        return self.ask(self.address + path, fields)
