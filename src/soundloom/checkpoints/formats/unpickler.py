"""Interpret pickles that describe data only: numbers, strings, lists, dictionaries and tensors.

A pickle is a program for a stack machine that may name any class or function. This interpreter supports the opcodes
that `torch.save` writes and never imports anything. A name resolves to one of the caller's allowed functions, or to
an `UnknownObject` without behavior. Opcodes fill only lists and dictionaries that the interpreter created, and none
sets the state of an object, so results of functions never change. Source: comments of Python's `pickletools`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from soundloom.errors import shown

MAX_OPCODES = 1 << 20  # real files have at most about 200,000
_NEWEST_PROTOCOL = 5
_MAX_MARKS = 1 << 10  # marks that are open at once; real files have about ten
_MAX_NAME = 512  # bytes of a module or class name
_MAX_INT_BYTES = 16  # bytes
_MAX_KEY = 1 << 63  # of a dictionary; larger ones can be chosen to collide


@dataclass(frozen=True)
class UnknownObject:
    """Placeholder for an object that is not allowed; `name` is that of its class or function."""

    name: str = "a set"


UNKNOWN = UnknownObject()


@dataclass(frozen=True)
class AllowedFunction:
    """A function that a pickle may call with a tuple of arguments. Raises ValueError for bad ones."""

    call: Callable[[tuple[Any, ...]], Any]


class Unpickler:
    """Interpret one pickle. `storage` resolves its persistent ids, which refer to data outside of it.

    `check` is called with each name of a class or function that the pickle uses, and may raise ValueError.
    """

    def __init__(
        self,
        data: bytes,
        names: Mapping[tuple[str, str], Any],
        storage: Callable[[Any], Any],
        check: Callable[[str], None] | None = None,
    ) -> None:
        self._data, self._place = data, 0
        self._names, self._storage, self._check = names, storage, check
        self._stack: list[Any] = []
        self._outer: list[list[Any]] = []  # the stacks below each mark
        self._memo: dict[int, Any] = {}
        self._argument_items = 0

    def load(self) -> Any:
        """Return the object that the pickle describes. Raises ValueError."""
        for _ in range(MAX_OPCODES):
            code = self._take(1)
            if code == b".":
                return self._pop()
            action = _ACTIONS.get(code)
            if action is None:
                raise ValueError(f"it has the unsupported opcode {code[0]:#04x}")
            action(self)
        raise ValueError(f"it has more than {MAX_OPCODES} opcodes")

    # Reading

    def _take(self, count: int) -> bytes:
        part = self._data[self._place : self._place + count]
        if len(part) != count:
            raise ValueError("it is truncated")
        self._place += count
        return part

    def _number(self, count: int, signed: bool = False) -> int:
        return int.from_bytes(self._take(count), "little", signed=signed)

    def _text(self, count: int) -> str:
        return self._take(count).decode("utf-8", "surrogatepass")

    def _line(self) -> str:
        end = self._data.find(b"\n", self._place, self._place + _MAX_NAME)
        if end < 0:
            raise ValueError("a name in it is not terminated")
        line = self._text(end - self._place)
        self._place += 1
        return line

    # The stack

    def _push(self, value: Any) -> None:
        self._stack.append(value)

    def _pop(self) -> Any:
        if not self._stack:
            raise ValueError("it pops from an empty stack")
        return self._stack.pop()

    def _top(self) -> Any:
        if not self._stack:
            raise ValueError("it reads from an empty stack")
        return self._stack[-1]

    def _mark(self) -> None:
        if len(self._outer) >= _MAX_MARKS:
            raise ValueError(f"it nests objects more than {_MAX_MARKS} deep")
        self._outer.append(self._stack)
        self._stack = []

    def _pop_mark(self) -> list[Any]:
        """Return the values since the last mark."""
        if not self._outer:
            raise ValueError("it uses a mark that was not set")
        values, self._stack = self._stack, self._outer.pop()
        return values

    def _duplicate(self) -> None:
        self._push(self._top())

    def _get(self, key: int) -> None:
        if key not in self._memo:
            raise ValueError("it reads a memo entry that was not stored")
        self._push(self._memo[key])

    def _put(self, key: int) -> None:
        self._memo[key] = self._top()

    # Values

    def _long(self, count: int) -> None:
        if count > _MAX_INT_BYTES:
            raise ValueError(f"it holds an integer of {count} bytes")
        self._push(self._number(count, signed=True))

    def _tuple(self, count: int) -> None:
        self._push(tuple(reversed([self._pop() for _ in range(count)])))

    def _frozen_set(self) -> None:
        self._pop_mark()
        self._push(UNKNOWN)

    def _append(self, values: list[Any]) -> None:
        target = self._top()
        if type(target) is list:
            target.extend(values)

    def _set_items(self, values: list[Any]) -> None:
        target = self._top()
        if type(target) is dict:
            target.update(pairs_of(values))

    def _global(self, module: str, name: str) -> None:
        full = f"{module}.{name}"
        if self._check is not None:
            self._check(full)
        self._push(self._names.get((module, name)) or UnknownObject(full))

    def _stack_global(self) -> None:
        name, module = self._pop(), self._pop()
        if type(name) is not str or type(module) is not str or len(name) + len(module) > _MAX_NAME:
            raise ValueError(f"it names a class with a value that is not a string of up to {_MAX_NAME} characters")
        self._global(module, name)

    def _call(self) -> None:
        arguments, function = self._pop(), self._pop()
        if type(arguments) is not tuple:
            raise ValueError("it calls a function without a tuple of arguments")
        # A function may copy its arguments, and a pickle may pass the same ones many times.
        self._argument_items += sum(len(each) for each in arguments if type(each) in (list, tuple))
        if self._argument_items > MAX_OPCODES:
            raise ValueError(f"it passes more than {MAX_OPCODES} items to functions")
        result = function.call(arguments) if type(function) is AllowedFunction else function
        self._push(result if type(function) in (AllowedFunction, UnknownObject) else UNKNOWN)

    def _call_with_keywords(self) -> None:
        self._pop()
        self._call()

    def _build(self) -> None:
        """Discard the state of an object."""
        self._pop()
        self._top()

    def _protocol(self) -> None:
        version = self._number(1)
        if version > _NEWEST_PROTOCOL:
            raise ValueError(f"it uses protocol {version}; the newest supported is {_NEWEST_PROTOCOL}")


def pairs_of(values: list[Any]) -> dict[Any, Any]:
    """Build a dictionary from alternating keys and values; drop keys that are neither strings nor small integers."""
    if len(values) % 2:
        raise ValueError("a dictionary in it has a key without a value")
    items = zip(values[::2], values[1::2], strict=True)
    return {key: value for key, value in items if type(key) is str or (type(key) is int and abs(key) < _MAX_KEY)}


_Action = Callable[[Unpickler], Any]
_ACTIONS: dict[bytes, _Action] = {
    b"\x80": Unpickler._protocol,
    b"\x95": lambda u: u._take(8),  # the frame length, which is not needed
    b"(": Unpickler._mark,
    b"0": Unpickler._pop,
    b"1": Unpickler._pop_mark,
    b"2": Unpickler._duplicate,
    # The memo
    b"h": lambda u: u._get(u._number(1)),
    b"j": lambda u: u._get(u._number(4)),
    b"q": lambda u: u._put(u._number(1)),
    b"r": lambda u: u._put(u._number(4)),
    b"\x94": lambda u: u._put(len(u._memo)),
    # Numbers
    b"N": lambda u: u._push(None),
    b"\x88": lambda u: u._push(True),
    b"\x89": lambda u: u._push(False),
    b"K": lambda u: u._push(u._number(1)),
    b"M": lambda u: u._push(u._number(2)),
    b"J": lambda u: u._push(u._number(4, signed=True)),
    b"\x8a": lambda u: u._long(u._number(1)),
    b"\x8b": lambda u: u._long(u._number(4)),
    b"G": lambda u: u._push(struct.unpack(">d", u._take(8))[0]),
    # Strings and bytes; old strings are Latin-1
    b"X": lambda u: u._push(u._text(u._number(4))),
    b"\x8c": lambda u: u._push(u._text(u._number(1))),
    b"\x8d": lambda u: u._push(u._text(u._number(8))),
    b"T": lambda u: u._push(u._take(u._number(4)).decode("latin-1")),
    b"U": lambda u: u._push(u._take(u._number(1)).decode("latin-1")),
    b"B": lambda u: u._push(u._take(u._number(4))),
    b"C": lambda u: u._push(u._take(u._number(1))),
    b"\x8e": lambda u: u._push(u._take(u._number(8))),
    b"\x96": lambda u: u._push(u._take(u._number(8))),
    # Tuples, lists, dictionaries; sets become UNKNOWN
    b")": lambda u: u._push(()),
    b"\x85": lambda u: u._tuple(1),
    b"\x86": lambda u: u._tuple(2),
    b"\x87": lambda u: u._tuple(3),
    b"t": lambda u: u._push(tuple(u._pop_mark())),
    b"]": lambda u: u._push([]),
    b"l": lambda u: u._push(u._pop_mark()),
    b"a": lambda u: u._append([u._pop()]),
    b"e": lambda u: u._append(u._pop_mark()),
    b"}": lambda u: u._push({}),
    b"d": lambda u: u._push(pairs_of(u._pop_mark())),
    b"s": lambda u: u._set_items([u._pop(), u._pop()][::-1]),
    b"u": lambda u: u._set_items(u._pop_mark()),
    b"\x8f": lambda u: u._push(UNKNOWN),
    b"\x90": Unpickler._pop_mark,
    b"\x91": Unpickler._frozen_set,
    # Names, calls, persistent ids
    b"c": lambda u: u._global(u._line(), u._line()),
    b"\x93": Unpickler._stack_global,
    b"R": Unpickler._call,
    b"\x81": Unpickler._call,
    b"\x92": Unpickler._call_with_keywords,
    b"b": Unpickler._build,
    b"Q": lambda u: u._push(u._storage(u._pop())),
}


def describe(value: Any) -> str:
    """Quote a value in a message: strings and numbers only, since other objects may be huge or recursive."""
    return shown(value) if type(value) in (str, int, float) else f"a {type(value).__name__}"
