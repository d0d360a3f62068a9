from __future__ import annotations

import inspect

from demo import users


def test_the_right_password_gives_the_user_and_a_wrong_one_nobody() -> None:
    assert users.check("ann@example.com", "shortbread") == {"id": 1, "name": "Ann Archer", "email": "ann@example.com"}
    assert users.check("ann@example.com", "Shortbread") is None
    assert users.check("nobody@example.com", "shortbread") is None
    assert users.check("", "") is None


def test_what_a_site_does_to_its_user_does_not_change_the_table() -> None:
    given = users.check("ann@example.com", "shortbread")
    assert given is not None
    given["name"] = "Mallory"
    again = users.check("ann@example.com", "shortbread")
    assert again is not None
    assert again["name"] == "Ann Archer"


def test_no_password_stands_in_the_source() -> None:
    source = inspect.getsource(users)
    for password in ("shortbread", "gingersnap", "jam-ring"):
        assert password not in source
