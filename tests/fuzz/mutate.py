"""Many inputs from a seed: valid ones, damaged in a few places. (Hypothesis shrinks failures, but is slower.)"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

#: The number of changes to one input: mostly few, so that inputs get past the first check.
_CHANGES = (1, 1, 1, 1, 2, 2, 3, 5, 9)
#: One in this many inputs is long, up to this many bytes, which is more than is read of a header.
_LONG_ONE_IN, _LONGEST = 2_000, 70_000


def inputs(seed: int, valid: Sequence[bytes], words: Sequence[bytes]) -> Iterator[bytes]:
    """Yield inputs without end, the same for the same ``seed``. ``words``: the parts of the format."""
    chance = Random(seed)
    while True:
        drawn = chance.random()
        if drawn < 1 / _LONG_ONE_IN:
            yield _long(chance, valid, words)
        elif drawn < 0.15:
            yield b"".join(chance.choices(words, k=chance.randrange(1, 24)))
        elif drawn < 0.16:
            yield chance.randbytes(chance.randrange(200))
        else:
            yield mutated(chance, chance.choice(valid), valid, words)


def mutated(chance: Random, data: bytes, others: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    """Return ``data`` with a few changes, among them pieces of ``others`` and ``words``."""
    for _ in range(chance.choice(_CHANGES)):
        start = chance.randrange(len(data) + 1)
        end = min(len(data), start + chance.choice((0, 0, 1, 1, 2, 4, 16, 64)))
        data = data[:start] + _instead(chance, data[start:end], data, others, words) + data[end:]
    return data


def _instead(chance: Random, piece: bytes, whole: bytes, others: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    """Return a replacement for ``piece``."""
    kind = chance.randrange(7)
    if kind == 0:
        return b""
    if kind == 1:
        return bytes([chance.randrange(256)])
    if kind == 2 and piece:
        return bytes([piece[0] ^ (1 << chance.randrange(8))]) + piece[1:]
    if kind == 3:
        return piece * chance.choice((2, 3, 17))
    if kind == 4:
        other = chance.choice((whole, *others)) if chance.random() < 0.1 else whole
        start = chance.randrange(len(other) + 1)
        return other[start : start + chance.choice((1, 4, 16, 64, 4_096))]
    if kind == 5:
        return chance.randbytes(chance.randrange(9))
    return chance.choice(words)


def _long(chance: Random, valid: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    """Return a few words again and again, with a valid input somewhere in it."""
    word = b"".join(chance.choices(words, k=chance.randrange(1, 4)))
    size = chance.randrange(1_000, _LONGEST)
    repeated = word * (size // max(len(word), 1))
    place = chance.randrange(len(repeated) + 1)
    return (repeated[:place] + b"; " + chance.choice(valid) + b"; " + repeated[place:])[:size]
