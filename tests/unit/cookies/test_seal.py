from __future__ import annotations

import os
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from wsgi_session.cookies import seal
from wsgi_session.cookies.seal import OVERHEAD, RANDOM_PART, Sealer

OLD, NEW = b"an older secret of 32 bytes, now.", b"a newer secret of 32 bytes, here."
SEALS = Sealer([NEW], b"for tests")
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


def raw(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def spelled(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


@given(st.binary(max_size=200))
@example(b"")
def test_a_seal_opens_to_what_was_sealed(plain: bytes) -> None:
    text = SEALS.seal(plain)
    assert SEALS.open(text) == (plain, True)
    assert re.fullmatch("[A-Za-z0-9_-]+", text)
    assert len(raw(text)) == len(plain) + OVERHEAD


@pytest.mark.parametrize("size", [0, 1, 2, 40])
def test_a_seal_with_any_changed_character_is_invalid(size: int) -> None:
    """CVE-2012-3458 and others. This includes characters outside the alphabet, and unused bits of the last one."""
    text = SEALS.seal(os.urandom(size))
    opened = [
        changed
        for place, right in enumerate(text)
        for other in (*ALPHABET, "", "+", "/", "=", "!", " ", "\n", "\xe9", "☃", ".", right + "=", right + "!")
        if other != right
        if SEALS.open(changed := text[:place] + other + text[place + 1 :]) is not None
    ]
    assert opened == []


@given(st.binary(max_size=60), st.data())
def test_a_seal_with_any_flipped_bit_is_invalid(plain: bytes, data: st.DataObject) -> None:
    right = raw(SEALS.seal(plain))
    place = data.draw(st.integers(0, len(right) - 1))
    bits = data.draw(st.integers(1, 255))
    changed = right[:place] + bytes([right[place] ^ bits]) + right[place + 1 :]
    assert SEALS.open(spelled(changed)) is None


def test_no_part_of_a_seal_opens() -> None:
    text = SEALS.seal(b"contents")
    assert [end for end in range(len(text)) if SEALS.open(text[:end]) is not None] == []
    assert [start for start in range(1, len(text)) if SEALS.open(text[start:]) is not None] == []
    assert SEALS.open(text + text) is None


@given(st.text() | st.binary(max_size=80).map(spelled) | st.text(ALPHABET))
@example("")
def test_whatever_a_client_sends_opens_nothing_and_raises_nothing(sent: str) -> None:
    genuine = SEALS.seal(b"")
    for text in (sent, genuine[:7] + sent, genuine[:44] + sent):
        assert SEALS.open(text) is None, text


def test_the_same_bytes_sealed_twice_have_nothing_in_common() -> None:
    one, two = (raw(SEALS.seal(bytes(64))) for _ in range(2))
    assert one[:5] == two[:5]  # format and key id
    assert one[5:21] != two[5:21]
    assert one[21:33] != two[21:33]
    alike = sum(left == right for left, right in zip(one[33:], two[33:], strict=True))
    assert alike < 10, f"{alike} of 80 bytes of ciphertext are the same"


def test_repeated_contents_show_no_repetition() -> None:
    """CVE-2012-3458: Beaker used AES in ECB mode, whose ciphertext shows repeated blocks."""
    sealed = raw(SEALS.seal(bytes(range(64)) * 50))[33:]
    windows = [sealed[start : start + 8] for start in range(len(sealed) - 8)]
    assert len(set(windows)) == len(windows)


def test_the_first_key_seals_and_all_open() -> None:
    """CVE-2025-47278: Flask signed with the oldest key."""
    both = Sealer([NEW, OLD], b"for tests")
    text = both.seal(b"fresh")
    assert SEALS.open(text) == (b"fresh", True)
    assert Sealer([OLD], b"for tests").open(text) is None
    before = Sealer([OLD], b"for tests").seal(b"of yesterday")
    assert both.open(before) == (b"of yesterday", False)
    assert SEALS.open(before) is None


def test_the_same_key_twice_is_one_key() -> None:
    assert Sealer([NEW, NEW], b"for tests").open(SEALS.seal(b"x")) == (b"x", True)


@pytest.mark.parametrize("purpose", [b"", b"for", b"for tests ", b"for tests\x01", b"other"])
def test_a_seal_for_another_purpose_opens_nothing(purpose: bytes) -> None:
    """CVE-2021-41263, CVE-2023-48309: a value that was sealed for another purpose was accepted as a session."""
    assert SEALS.open(Sealer([NEW], purpose).seal(b"x")) is None


def test_a_seal_of_another_format_opens_nothing_whatever_its_first_byte_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seal, "_FORMAT", b"\x02")
    text = Sealer([NEW], b"for tests").seal(b"x")
    assert raw(text)[:1] == b"\x02"
    assert SEALS.open(text) is None
    assert SEALS.open(spelled(b"\x01" + raw(text)[1:])) is None


def test_the_random_characters_are_random() -> None:
    marks = [SEALS.seal(b"")[RANDOM_PART] for _ in range(2000)]
    assert len(set(marks)) == len(marks)
    for place in range(len(marks[0])):
        seen = {mark[place] for mark in marks}
        assert seen == set(ALPHABET), f"place {place}: {sorted(set(ALPHABET) - seen)} never came"
