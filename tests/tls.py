"""A WSGI application over https, with a certificate that is made for the run: what makes ``__Host-`` cookies real."""

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
def serving_https(app: Any, folder: Path) -> Iterator[tuple[str, Path]]:
    """Serve ``app`` at the address given, and give also the file of the authority that the certificate is from."""
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    trusted, chain, key = folder / "authority.pem", folder / "certificate.pem", folder / "key.pem"
    authority.cert_pem.write_to_path(trusted)
    certificate.cert_chain_pems[0].write_to_path(chain)
    certificate.private_key_pem.write_to_path(key)

    server = Server(("127.0.0.1", 0), app)
    server.ssl_adapter = BuiltinSSLAdapter(str(chain), str(key))
    server.prepare()
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.bind_addr[1]}", trusted
    finally:
        server.stop()
        thread.join()
