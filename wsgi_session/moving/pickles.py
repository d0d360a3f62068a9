"""Reads pickled sessions without pickle: only its data opcodes, and classes of a closed list (``pickle_types.py``).

``pickle.loads`` runs whatever the data says. This reader imports nothing, and calls nothing but the functions of the
closed list. An object of any other class becomes an ``Opaque``, which has the name of its class and nothing else. The
opcodes are those of protocols 0 to 5 (see ``pickletools`` in the standard library); persistent ids, extension codes and
out-of-band buffers are refused.
"""

from __future__ import annotations

import struct
from codecs import raw_unicode_escape_decode
from collections.abc import Callable
from typing import Any

from wsgi_session.moving.opaque import Opaque
from wsgi_session.moving.pickle_types import MAX_DIGITS, Global, add_items, add_pairs, build, construct, construct_new
from wsgi_session.moving.reader import NotAdopted

#: Limits of a pickle: bytes, opcodes, entries of the memo, and open marks.
MAX_SIZE = 4 * 1_048_576
MAX_OPCODES = 250_000
MAX_MEMO = 100_000
MAX_MARKS = 1_000


def load_pickle(data: bytes) -> Any:
    """Return the value of a pickle, with an ``Opaque`` for each object that cannot be kept.

    Raises ``NotAdopted`` if it is damaged, larger than the limits, or uses an opcode that is not supported.
    """
    if len(data) > MAX_SIZE:
        raise NotAdopted("too_large", f"a pickle of {len(data):,} bytes")
    try:
        return _Machine(data).run()
    except (IndexError, KeyError, ValueError, TypeError, AttributeError, struct.error) as error:
        # "from None", because the text of the error may contain a part of the session.
        raise NotAdopted("corrupt", f"not a pickle: {type(error).__name__}") from None


class _Machine:
    """Pickle's stack machine. ``stack`` is the part above the last mark."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.place = 0
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        for _ in range(MAX_OPCODES):
            code = self.take(1)
            if code == b".":
                return self.stack.pop()
            operation = _OPERATIONS.get(code)
            if operation is None:
                raise NotAdopted("unsupported", f"the pickle opcode {code!r}")
            operation(self)
        raise NotAdopted("too_large", f"a pickle of more than {MAX_OPCODES:,} opcodes")

    # Reading the data.

    def take(self, length: int) -> bytes:
        start, self.place = self.place, self.place + length
        taken = self.data[start : self.place]
        if len(taken) != length:
            raise ValueError("truncated")
        return taken

    def take_sized(self, size: int) -> bytes:
        """Return bytes whose length stands before them in ``size`` bytes."""
        return self.take(int.from_bytes(self.take(size), "little"))

    def take_line(self) -> bytes:
        end = self.data.index(b"\n", self.place)
        line = self.data[self.place : end]
        self.place = end + 1
        return line

    # Steps that several opcodes share.

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def mark(self) -> None:
        if len(self.marks) >= MAX_MARKS:
            raise NotAdopted("too_large", f"a pickle nested more than {MAX_MARKS:,} levels deep")
        self.marks.append(self.stack)
        self.stack = []

    def pop_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.marks.pop()
        return items

    def pop(self) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self.pop_mark()

    def put(self, place: int) -> None:
        if len(self.memo) >= MAX_MEMO:
            raise NotAdopted("too_large", f"a pickle with more than {MAX_MEMO:,} entries in its memo")
        self.memo[place] = self.stack[-1]

    def pack(self, kind: Callable[[list[Any]], Any], count: int) -> None:
        """Replace the last ``count`` values by one container of them."""
        start = len(self.stack) - count
        if start < 0:
            raise IndexError("too few values")
        self.stack[start:] = [kind(self.stack[start:])]

    def extend(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is list:
            target.extend(items)
        elif not isinstance(target, Opaque):
            raise TypeError("not a list")

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is dict:
            _add_pairs(target, items)
        elif not isinstance(target, Opaque):
            raise TypeError("not a dict")

    def add_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is set:
            add_items(target, items)
        elif not isinstance(target, Opaque):
            raise TypeError("not a set")

    def make_frozenset(self) -> None:
        made: set[Any] = set()
        add_items(made, self.pop_mark())
        self.push(frozenset(made))

    def call(self, make: Callable[[Any, Any], Any]) -> None:
        arguments = self.stack.pop()
        self.stack[-1] = make(self.stack[-1], arguments)

    def call_with_names(self) -> None:
        self.stack.pop()  # No class of the closed list is written with named arguments.
        self.stack.pop()
        kind = self.stack[-1]
        self.stack[-1] = Opaque(kind.name if isinstance(kind, Opaque) else "object")

    def make_object(self, kind: Any, arguments: list[Any]) -> None:
        self.push(construct(kind, tuple(arguments)))

    def make_global(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if type(name) is not str or type(module) is not str:
            raise TypeError("not a name")
        self.push(Global(module, name))

    def build(self) -> None:
        state = self.stack.pop()
        if not isinstance(self.stack[-1], (Opaque, str, int, float, bytes, dict, list, tuple, set)):
            raise TypeError("not an object")
        build(self.stack[-1], state)


def _add_pairs(target: dict[Any, Any], items: list[Any]) -> dict[Any, Any]:
    add_pairs(target, items[::2], items[1::2])
    return target


def _integer(machine: _Machine) -> None:
    line = machine.take_line()
    machine.push({b"00": False, b"01": True}[line] if line in (b"00", b"01") else _digits(line))


def _digits(line: bytes) -> int:
    if len(line) > MAX_DIGITS:
        raise NotAdopted("too_large", f"a number of more than {MAX_DIGITS:,} digits")
    return int(line)


def _quoted(line: bytes) -> str:
    """Return the text of protocol 0's STRING, which is in quotes and, from Python 3, always ASCII."""
    if len(line) < 2 or line[:1] != line[-1:] or line[:1] not in (b"'", b'"'):
        raise ValueError("not quoted")
    return line[1:-1].decode("ascii").encode("ascii").decode("unicode_escape")


def _unicode(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogatepass")


def _number(code: str, size: int) -> Callable[[_Machine], None]:
    return lambda m: m.push(struct.unpack(code, m.take(size))[0])


def _signed(raw: bytes) -> int:
    return int.from_bytes(raw, "little", signed=True)


def _inst(machine: _Machine) -> None:
    module, name = machine.take_line().decode("ascii"), machine.take_line().decode("ascii")
    machine.make_object(Global(module, name), machine.pop_mark())


def _obj(machine: _Machine) -> None:
    kind, *arguments = machine.pop_mark()
    machine.make_object(kind, arguments)


def _bytearray(machine: _Machine) -> None:
    machine.take_sized(8)
    machine.push(Opaque("bytearray"))


def _duplicate(machine: _Machine) -> None:
    machine.push(machine.stack[-1])


_OPERATIONS: dict[bytes, Callable[[_Machine], Any]] = {
    # Protocol, frames and memo.
    b"\x80": lambda m: m.take(1),
    b"\x95": lambda m: m.take(8),
    b"p": lambda m: m.put(_digits(m.take_line())),
    b"q": lambda m: m.put(m.take(1)[0]),
    b"r": lambda m: m.put(int.from_bytes(m.take(4), "little")),
    b"\x94": lambda m: m.put(len(m.memo)),
    b"g": lambda m: m.push(m.memo[_digits(m.take_line())]),
    b"h": lambda m: m.push(m.memo[m.take(1)[0]]),
    b"j": lambda m: m.push(m.memo[int.from_bytes(m.take(4), "little")]),
    # The stack.
    b"(": _Machine.mark,
    b"0": _Machine.pop,
    b"1": _Machine.pop_mark,
    b"2": _duplicate,
    # Scalars.
    b"N": lambda m: m.push(None),
    b"\x88": lambda m: m.push(True),
    b"\x89": lambda m: m.push(False),
    b"I": _integer,
    b"J": _number("<i", 4),
    b"K": _number("<B", 1),
    b"M": _number("<H", 2),
    b"L": lambda m: m.push(_digits(m.take_line().removesuffix(b"L"))),
    b"\x8a": lambda m: m.push(_signed(m.take_sized(1))),
    b"\x8b": lambda m: m.push(_signed(m.take_sized(4))),
    b"F": lambda m: m.push(float(m.take_line())),
    b"G": _number(">d", 8),
    # Text and bytes.
    b"S": lambda m: m.push(_quoted(m.take_line())),
    b"T": lambda m: m.push(m.take_sized(4).decode("ascii")),
    b"U": lambda m: m.push(m.take_sized(1).decode("ascii")),
    b"V": lambda m: m.push(raw_unicode_escape_decode(m.take_line())[0]),
    b"X": lambda m: m.push(_unicode(m.take_sized(4))),
    b"\x8c": lambda m: m.push(_unicode(m.take_sized(1))),
    b"\x8d": lambda m: m.push(_unicode(m.take_sized(8))),
    b"B": lambda m: m.push(m.take_sized(4)),
    b"C": lambda m: m.push(m.take_sized(1)),
    b"\x8e": lambda m: m.push(m.take_sized(8)),
    b"\x96": _bytearray,
    # Containers.
    b"]": lambda m: m.push([]),
    b"l": lambda m: m.push(m.pop_mark()),
    b"a": lambda m: m.extend([m.stack.pop()]),
    b"e": lambda m: m.extend(m.pop_mark()),
    b")": lambda m: m.push(()),
    b"t": lambda m: m.push(tuple(m.pop_mark())),
    b"\x85": lambda m: m.pack(tuple, 1),
    b"\x86": lambda m: m.pack(tuple, 2),
    b"\x87": lambda m: m.pack(tuple, 3),
    b"}": lambda m: m.push({}),
    b"d": lambda m: m.push(_add_pairs({}, m.pop_mark())),
    b"s": lambda m: m.set_items([m.stack.pop(-2), m.stack.pop()]),
    b"u": lambda m: m.set_items(m.pop_mark()),
    b"\x8f": lambda m: m.push(set()),
    b"\x90": lambda m: m.add_items(m.pop_mark()),
    b"\x91": _Machine.make_frozenset,
    # Objects.
    b"c": lambda m: m.push(Global(m.take_line().decode("utf-8"), m.take_line().decode("utf-8"))),
    b"\x93": _Machine.make_global,
    b"R": lambda m: m.call(construct),
    b"\x81": lambda m: m.call(construct_new),
    b"\x92": _Machine.call_with_names,
    b"b": _Machine.build,
    b"i": _inst,
    b"o": _obj,
}
