"""A WSGI application behind a real server, over http or https, for the duration of a block."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import trustme
from cheroot.ssl.builtin import BuiltinSSLAdapter
from cheroot.wsgi import Server


@contextmanager
def serving_http(app: Any) -> Iterator[str]:
    """Serve ``app``; yield its address."""
    with _running(Server(("127.0.0.1", 0), app)) as port:
        yield f"http://127.0.0.1:{port}"


@contextmanager
def serving_https(app: Any, folder: Path) -> Iterator[tuple[str, Path]]:
    """Serve ``app`` with a new certificate; yield its address, and the file with the certificate's authority.

    ``wsgi.url_scheme`` is then ``https``, which makes the cookies Secure and their names begin with ``__Host-``.
    """
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    trusted, chain, key = folder / "authority.pem", folder / "certificate.pem", folder / "key.pem"
    authority.cert_pem.write_to_path(trusted)
    certificate.cert_chain_pems[0].write_to_path(chain)
    certificate.private_key_pem.write_to_path(key)

    server = Server(("127.0.0.1", 0), app)
    server.ssl_adapter = BuiltinSSLAdapter(str(chain), str(key))
    with _running(server) as port:
        yield f"https://127.0.0.1:{port}", trusted


@contextmanager
def _running(server: Server) -> Iterator[int]:
    server.prepare()
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        yield server.bind_addr[1]
    finally:
        server.stop()
        thread.join()
