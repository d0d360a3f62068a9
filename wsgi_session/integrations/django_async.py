"""Django's asynchronous methods that may load, save or change a session."""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.sessions.backends.base import SessionBase


class AsynchronousSession(SessionBase):
    """Runs the synchronous methods in a thread. Django's own asynchronous methods would not call them."""

    async def _aget_session(self, no_load: bool = False) -> Any:
        if "_session_cache" not in self.__dict__:
            # Only loading needs the thread.
            await sync_to_async(self._get_session)()  # type: ignore[attr-defined]
        return self._get_session()  # type: ignore[attr-defined]

    async def aflush(self) -> None:
        await sync_to_async(self.flush)()

    async def acycle_key(self) -> None:
        await sync_to_async(self.cycle_key)()

    async def asetdefault(self, key: str, value: Any) -> Any:
        return await sync_to_async(self.setdefault)(key, value)
