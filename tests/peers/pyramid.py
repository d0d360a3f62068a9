"""Pyramid's own tests. With ours, its cookie session factories and the session of its test requests are replaced."""

from __future__ import annotations

from tests.peers.peer import Command, Peer, Suite, pytest_command

REASONS = {
    "*::test_*flash*": "looks at the key `_f_` of Pyramid's own sessions; here, messages are outside of the mapping",
    "*::test_*csrf_token*": "looks at the key `_csrft_` of Pyramid's own sessions; here, the token is derived",
    "tests/test_session.py::*": "tests the format and the options of Pyramid's own cookie",
}


def _command(ours: bool) -> Command:
    return pytest_command("-W", "ignore", "tests", plugins=["pyramid_ours"] if ours else [])


PEER = Peer(
    name="pyramid",
    distribution="pyramid",
    suites=[Suite("Pyramid", _command, REASONS)],
    requirements=["pytest", "webtest", "zope.component", "pyramid_retry"],
)
