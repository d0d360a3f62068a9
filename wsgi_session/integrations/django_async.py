"""Django's asynchronous names for what may load, save or change a session of ours."""

from __future__ import annotations

from typing import Any

from asgiref.sync import sync_to_async
from django.contrib.sessions.backends.base import SessionBase


class AsynchronousSession(SessionBase):
    """Each method here does what the synchronous one does, in a thread, where Django's own would not do."""

    async def aflush(self) -> None:
        await sync_to_async(self.flush)()

    async def acycle_key(self) -> None:
        await sync_to_async(self.cycle_key)()

    async def asetdefault(self, key: str, value: Any) -> Any:
        return await sync_to_async(self.setdefault)(key, value)
