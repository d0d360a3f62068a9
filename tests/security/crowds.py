"""Crowds of visitors at full size: ``python -m tests.security.crowds`` prints their cost. The tests run smaller ones.

python -m tests.security.crowds --visitors 100000 --tokens 1000000
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.support.site import SECRET, Site
from tests.support.stores import counting
from wsgi_session.cookies.tokens import TokenSigner, new_token
from wsgi_session.stores import MemoryStore, SQLiteStore, Store
from wsgi_session.testing import plant, read
from wsgi_session.testing.clock import FakeClock


def strangers_write(site: Site, number: int) -> None:
    """Let ``number`` visitors without a cookie each get a session."""
    for count in range(number):
        plant(site.middleware, {"cart": [count, "a teapot"]})


def strangers_send_forged_tokens(site: Site, number: int) -> None:
    """Let ``number`` visitors send tokens with the right format and a wrong signature."""
    forger = TokenSigner([b"somebody else's secret, long enough"], "sid")
    for _ in range(number):
        assert read(site.middleware, f"sid={forger.sign(new_token())}") == {}


def strangers_send_signed_tokens(site: Site, number: int) -> None:
    """Let ``number`` visitors send old tokens, with valid signatures, whose records no longer exist."""
    keyring = TokenSigner([SECRET.encode()], "sid")
    for _ in range(number):
        assert read(site.middleware, f"sid={keyring.sign(new_token())}") == {}


def size_of(folder: Path) -> int:
    """Return the bytes of all files in ``folder``."""
    return sum(path.stat().st_size for path in folder.iterdir())


def _report(visitors: int, tokens: int) -> None:
    import resource  # Windows does not have it, and the tests do not need it.

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stores: dict[str, Store] = {
            "memory://": MemoryStore(),
            "sqlite://": SQLiteStore(folder / "sessions.db"),
        }
        crowds: list[tuple[str, Callable[[Site, int], None], int]] = [
            ("visitors who write", strangers_write, visitors),
            ("tokens with a wrong signature", strangers_send_forged_tokens, tokens),
            ("tokens well signed and unknown", strangers_send_signed_tokens, tokens),
        ]
        for kind, store in stores.items():
            site = Site(counting(store), FakeClock())
            for what, crowd, number in crowds:
                site.calls.forget()
                started = time.perf_counter()
                # In parts, because the log of calls would grow with the crowd.
                counts: dict[str, int] = {}
                for _ in range(100):
                    crowd(site, number // 100)
                    for call, times in site.calls.counts().items():
                        counts[call] = counts.get(call, 0) + times
                    site.calls.forget()
                    site.calls.seen.clear()
                    site.events.clear()
                print(
                    f"{kind} {number:,} {what}: store calls {counts or 'none'}; {site.middleware.sessions.count():,} "
                    f"sessions kept; files {size_of(folder):,} bytes; the process at most "
                    f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss:,} kB; {time.perf_counter() - started:.0f} s",
                    flush=True,
                )
            store.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--visitors", type=int, default=100_000)
    parser.add_argument("--tokens", type=int, default=1_000_000)
    arguments = parser.parse_args()
    _report(arguments.visitors, arguments.tokens)
