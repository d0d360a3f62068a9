"""Secrets with a hidden ``repr``."""

from __future__ import annotations

from typing import Any

import pytest

from wsgi_session.config.secrets import hide

SECRET = "9c1e77d0b7a64a53a1f0d2b8e6c4f3a1"


@pytest.mark.parametrize("secret", [SECRET, SECRET.encode()], ids=["text", "bytes"])
def test_a_hidden_secret_shows_in_no_repr_and_is_what_it_was(secret: Any) -> None:
    given = hide(secret)
    assert repr(given) == repr([given])[1:-1] == f"{given!r}" == "<hidden>"
    assert (given, hash(given), len(given)) == (secret, hash(secret), 32)  # type: ignore[arg-type]
    assert isinstance(given, type(secret))


def test_text_is_written_as_it_is_and_bytes_are_never_spelled_out() -> None:
    assert str(hide(SECRET)) == f"{hide(SECRET)}" == SECRET
    assert str(hide(SECRET.encode())) == "<hidden>"


def test_each_of_several_secrets_is_hidden_and_what_is_none_is_left_to_be_refused() -> None:
    assert repr(hide((SECRET, SECRET.encode(), [SECRET], None))) == "[<hidden>, <hidden>, [<hidden>], None]"
    assert (hide(None), hide(5)) == (None, 5)
