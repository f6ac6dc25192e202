"""What a pickle would do, read without doing it: every name it looks up, every call it makes, with inert arguments."""

from __future__ import annotations

import pickletools
import re
from dataclasses import dataclass, field
from typing import Any

from agents.archives import shown

PICKLE_MAX_BYTES = 1 << 22
OPCODES_MAX = 200_000
NAME_MAX = 300
CODE = "cloudpickle.cloudpickle._builtin_type"
CONTAINERS = {"EMPTY_LIST": "list", "EMPTY_DICT": "dict", "EMPTY_SET": "set"}
MARKED = {"LIST": "list", "DICT": "dict", "FROZENSET": "frozenset"}
CONSTANTS: dict[str, Any] = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
LITERALS = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8", "UNICODE", "SHORT_BINUNICODE",
    "BINUNICODE", "BINUNICODE8",
}  # fmt: skip


@dataclass(frozen=True, eq=False, slots=True)
class Name:
    """A global that the pickle looks up."""

    path: str
    """Module and name, with a dot between."""


@dataclass(frozen=True, eq=False, slots=True)
class Stored:
    """What the pickle leaves to its reader to find, by its persistent id."""

    key: Any


@dataclass(frozen=True, eq=False, slots=True)
class Made:
    """An object that the pickle makes: a container, or what a call returns."""

    function: str
    """What is called; "list", "dict", "set" or "frozenset" for a container."""
    arguments: Any = ()
    content: list[Any] = field(default_factory=list)
    """What is appended or added later; of entries that are set, keys and values in turn."""
    states: list[Any] = field(default_factory=list)
    """What its `__setstate__` or `__dict__` is given."""


@dataclass(eq=False, slots=True)
class Inert:
    """A pickle as it was read."""

    value: Any = None
    names: list[str] = field(default_factory=list)
    made: list[Made] = field(default_factory=list)


def read_inert(content: bytes) -> Inert:
    """Read a pickle of any protocol without importing, calling or building anything.

    Raises:
        ValueError: a pickle that is damaged, has too many opcodes, or hides what it would call.
    """
    machine = _Machine()
    try:
        for count, (opcode, argument, _) in enumerate(pickletools.genops(content)):
            if count >= OPCODES_MAX:
                raise ValueError(f"it has more than {OPCODES_MAX} opcodes")
            machine.take(opcode.name, argument)
    except (IndexError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"is no pickle that can be read ({type(error).__name__})") from error
    except ValueError as error:
        raise ValueError(f"is no pickle that can be read ({shown(str(error))[1:-1]})") from error
    return machine.read


def check_names(read: Inert, allowed: re.Pattern[str], told: str) -> None:
    """Whether everything that a pickle looks up or calls is allowed.

    Raises:
        ValueError: the first name that is not; the message begins with `told`.
    """
    for name in (*read.names, *(made.function for made in read.made)):
        if not allowed.fullmatch(name):
            raise ValueError(f"{told} would call {shown(name)[1:-1]}")


class _Machine:
    """The pickle machine's stack and memo, with inert values."""

    def __init__(self) -> None:
        self.read = Inert()
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []
        self.memo: dict[int, Any] = {}

    def take(self, name: str, argument: Any) -> None:
        """Do what an opcode does to the stack."""
        push = self.stack.append
        match name:
            case "PROTO" | "FRAME":
                pass
            case "STOP":
                self.read.value = self.stack.pop()
            case "MARK":
                self.below.append(self.stack)
                self.stack = []
            case "POP":
                # As pickle has it: right after a mark, the mark goes.
                if self.stack:
                    self.stack.pop()
                else:
                    self._marked()
            case "POP_MARK":
                self._marked()
            case "DUP":
                push(self.stack[-1])
            case "PUT" | "BINPUT" | "LONG_BINPUT":
                self.memo[argument] = self.stack[-1]
            case "MEMOIZE":
                self.memo[len(self.memo)] = self.stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                push(self.memo[argument])
            case "PERSID":
                push(Stored(argument))
            case "BINPERSID":
                push(Stored(self.stack.pop()))
            case _ if name in LITERALS:
                push(argument)
            case _ if name in CONSTANTS:
                push(CONSTANTS[name])
            case _ if not (self._collect(name) or self._call(name, argument)):
                raise ValueError(f"its opcode {name} hides what it would call")

    def _marked(self) -> list[Any]:
        items = self.stack
        self.stack = self.below.pop()
        return items

    def _collect(self, name: str) -> bool:
        """Whether it was an opcode of containers."""
        match name:
            case "TUPLE":
                items = self._marked()
                self.stack.append(tuple(items))
            case _ if name in TUPLES:
                items = [self.stack.pop() for _ in range(TUPLES[name])]
                self.stack.append(tuple(reversed(items)))
            case _ if name in CONTAINERS:
                self._make(CONTAINERS[name])
            case _ if name in MARKED:
                items = self._marked()
                self._make(MARKED[name])
                self.stack[-1].content.extend(items)
            case "APPEND":
                item = self.stack.pop()
                self.stack[-1].content.append(item)
            case "SETITEM":
                value, key = self.stack.pop(), self.stack.pop()
                self.stack[-1].content.extend((key, value))
            case "APPENDS" | "SETITEMS" | "ADDITEMS":
                items = self._marked()
                self.stack[-1].content.extend(items)
            case _:
                return False
        return True

    def _call(self, name: str, argument: Any) -> bool:
        """Whether it was an opcode that looks something up, calls it, or hands over a state."""
        match name:
            case "GLOBAL":
                self._look_up(*argument.split(" ", 1))
            case "STACK_GLOBAL":
                last, module = self.stack.pop(), self.stack.pop()
                self._look_up(module, last)
            case "INST":
                items = self._marked()
                self._look_up(*argument.split(" ", 1))
                self._make(self._callee(self.stack.pop()), tuple(items))
            case "OBJ":
                function, *items = self._marked()
                self._make(self._callee(function), tuple(items))
            case "REDUCE" | "NEWOBJ":
                arguments, function = self.stack.pop(), self.stack.pop()
                self._make(self._callee(function), arguments)
            case "NEWOBJ_EX":
                keywords, arguments, function = self.stack.pop(), self.stack.pop(), self.stack.pop()
                self._make(self._callee(function), (arguments, keywords))
            case "BUILD":
                state = self.stack.pop()
                # Classes and functions take states too: that would change them for everybody.
                self.stack[-1].states.append(state)
            case _:
                return False
        return True

    def _look_up(self, module: Any, name: Any) -> None:
        if not (isinstance(module, str) and isinstance(name, str)):
            raise ValueError("it hides what it would call")
        if len(module) + len(name) > NAME_MAX:
            raise ValueError(f"it looks up a name of more than {NAME_MAX} characters")
        self.read.names.append(f"{module}.{name}")
        self.stack.append(Name(self.read.names[-1]))

    def _make(self, function: str, arguments: Any = ()) -> None:
        made = Made(function, arguments)
        self.read.made.append(made)
        self.stack.append(made)

    def _callee(self, function: Any) -> str:
        if isinstance(function, Name):
            return function.path
        # The one thing that cloudpickle calls and does not look up: the type of code objects, for functions by value.
        if isinstance(function, Made) and function.function == CODE and function.arguments == ("CodeType",):
            return "types.CodeType"
        raise ValueError("it would call something that it makes itself")
