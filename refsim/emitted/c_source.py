"""The reference in C99: an operation's recorded graph written as a function, with the constants of its plan inside.

A function walks over rows: the leading axes of the result. Within a row its nodes are computed in as many loops as there are reductions
to wait for. What a later loop needs and is costly to compute again stays in a buffer that the caller provides.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..carriers.recorded import OF_ROWS, Constant, Graph, Node
from ..certificates import graph as recorded
from ..certificates import widths
from ..errors import UsageError
from ..ops.axes import inner, length, parse
from ..ops.base import Definition, Operand, Plan
from ..registry import of
from ..vectors.form import operand_dtype, step_dtypes
from .names import called, fresh, leave_out

TYPES = {
    **{f"{u}int{b}": f"{u}int{b}_t" for u in ("", "u") for b in (8, 16, 32, 64)},
    "bool": "uint8_t",
    "float32": "float",
    "float64": "double",
}
"""By the dtype of an operand or a result, its type in C."""
_RANK = {"int": 0, "int32_t": 1, "uint32_t": 2, "int64_t": 3, "double": 4}
_INFIX = {"add": "+", "subtract": "-", "multiply": "*", "greater_equal": ">=", "greater": ">", "less_equal": "<=", "less": "<"}
_HELPERS = {"remainder": "remainder_of"}
"""Helpers that are not called as their operation: C has a function of that name."""
_MOVED = ("transpose", "swapaxes")
_REDUCING = OF_ROWS
_INDEX = "j"
_RESERVED = frozenset(
    {
        _INDEX,
        "i",
        "row",
        "rows",
        "batch",
        "batches",
        "out",
        "buffer",
        "thread",
        "threads",
        "element",
        "group",
        "groups",
        "lane",
        "block",
        "end",
    }
)
LANGUAGES = {
    "c": "C99, no dependencies",
    "cuda": "CUDA kernels, any grid",
}
_HEAD = {"c": "", "cuda": 'extern "C" __global__ '}
_INLINE = {"c": "static inline", "cuda": "static __device__ inline"}
_POINTER = {"c": "*", "cuda": "*__restrict__ "}
_THREADS = "const size_t thread = blockIdx.x * (size_t)blockDim.x + threadIdx.x, threads = gridDim.x * (size_t)blockDim.x;"
_ACCESS = 16
"""Bytes that a thread of a GPU reads or writes at once, where it can."""
_SEVERAL = """/* Neighbours in an array, which are read and written at once. */
template <class T, int count> struct alignas(count * sizeof(T)) several {
    T at[count];
};
"""
_TIES = ("HALF_EVEN", "HALF_UP", "HALF_DOWN", "HALF_AWAY", "HALF_ZERO")
"""Rules that differ from each other in ties alone."""
_ROWS = 4
"""Rows that share the constants of a channel."""
_BLOCK = 4096
"""Elements that are examined, and then computed while they are in the cache."""
CHEAP = 3
"""Steps that are sooner computed again than kept."""


@dataclass(frozen=True, slots=True)
class Argument:
    """An argument of a function that was written.

    Attributes
    ----------
    name : str
    kind : {"size", "operand", "out", "buffer"}
    dtype : str
        Of an operand, a result or a buffer.
    shape : str
        Of an operand or a result: its axes, as in the definition.
    length : tuple of str
        Of a buffer: the axes whose lengths it has to have, one after another.
    """

    name: str
    kind: str
    dtype: str = ""
    shape: str = ""
    length: tuple[str, ...] = ()

    def __str__(self) -> str:
        return self.declared("*")

    def declared(self, pointer: str) -> str:
        """As it is declared; `pointer` stands before the name of an array."""
        if self.kind == "size":
            return f"size_t {self.name}"
        return f"{'const ' if self.kind == 'operand' else ''}{TYPES[self.dtype]} {pointer}{self.name}"


@dataclass(frozen=True, slots=True)
class Function:
    """A function in C, and what it is called with.

    Attributes
    ----------
    name : str
    arguments : tuple of Argument
    text : str
        Its definition.
    language : str
    examined : frozenset of str
        Operands whose range the function examines itself.
    """

    name: str
    arguments: tuple[Argument, ...]
    text: str
    language: str
    examined: frozenset[str] = frozenset()


def function(plan: Plan, name: str = "", without: Sequence[str] = (), language: str = "c", inside: str = "") -> Function:
    """Write `plan`'s operation as a function in C99, or as a CUDA kernel.

    Parameters
    ----------
    name : str
        Of the function; op and dialect by default.
    without : sequence of str
        Optional operands that the function shall not take (``mask``, ``bias``).
    language : str
        One of `LANGUAGES`.
    inside : str
        As the simulator itself calls it: the dtype of the result. The function examines the range of integers that come in with every
        row, and returns 1 more than the first row with one out of it, or that violates a condition of the operation; 0 where none does.

    Raises
    ------
    UsageError
        There is no such language, `name` is no name in C, `without` names no optional operand, or the operation has a step that no C is
        known for.
    """
    if language not in LANGUAGES:
        raise UsageError(f"there is no language {language!r:.80}; there are {', '.join(LANGUAGES)}")
    leave_out(plan, without)
    for operand in of(plan).operands:
        if operand.name in _RESERVED:
            raise UsageError(f"{plan.op} cannot be written in C: its operand {operand.name} has a name that the function itself needs")
    return _Writer(plan, called(plan, name, "C"), without, language, inside).function()


def source(functions: Sequence[Function]) -> str:
    """A self-contained file with these functions, which are of one language, and the helpers that they use."""
    (language,) = {f.language for f in functions}
    texts = "\n".join(f.text for f in functions)
    included = "".join(f"#include <{name}.h>\n" for name in ("stddef", "stdint", "string"))
    head = f"/* Written by refsim {__version__}. {LANGUAGES[language]}. */\n{included}\n"
    several = _SEVERAL + "\n" if "several<" in texts else ""
    return head + helpers(texts).replace("static inline", _INLINE[language]) + "\n" + several + texts


_NAMES = re.compile(
    r"""/\*.*?\*/ | //[^\n]* | \#[^\n]* | "[^"\n]*"  # what is no code
    | (?:thread|block|grid)(?:Idx|Dim)\.\w | (?<!\d\.)\b[A-Za-z]\b""",
    re.DOTALL | re.VERBOSE,
)


def guarded(text: str, keep: Collection[str] = ()) -> str:
    """A source text with value_ before each name of one letter, which may be a macro of whoever includes it, as refsim.h has it.

    Parameters
    ----------
    keep : collection of str
        Names that stay as they are: those of the functions, which their user chose.
    """

    def renamed(match: re.Match[str]) -> str:
        found = match[0]
        if found.startswith("/*"):  # its lines about the arguments name these
            return re.sub(r"^   ([A-Za-z])(?=: )", r"   value_\1", found, flags=re.MULTILINE)
        return f"value_{found}" if len(found) == 1 and found not in keep else found

    return _NAMES.sub(renamed, text)


def helpers(text: str) -> str:
    """Of the helpers those that `text` calls, with those that these call."""
    start, parts = _parts()
    wanted: set[str] = set()

    def want(name: str) -> None:
        if name not in wanted:
            wanted.add(name)
            for used in parts[name][0]:
                want(used)

    called = set(re.findall(r"\b(\w+)\(", text))
    for name in parts:
        if name in called:
            want(name)
    return start + "\n".join(body for name, (_, body) in parts.items() if name in wanted)


@cache
def _parts() -> tuple[str, dict[str, tuple[tuple[str, ...], str]]]:
    """What every file begins with, and each helper with the names of those that it calls."""
    text = (Path(__file__).parent / "c_helpers.h").read_text(encoding="utf-8")
    found = re.findall(r"/\* begin (\w+)(?:: ([\w ]+))? \*/\n(.*?)/\* end \*/\n", text, re.DOTALL)
    start = text[text.index("enum rounding") : text.index("/* begin ")]
    return start, {name: (tuple(used.split()), body) for name, used, body in found}


@dataclass
class _Writer:
    """One function under construction."""

    plan: Plan
    name: str
    without: Sequence[str]
    language: str
    inside: str

    def function(self) -> Function:
        self.d: Definition = of(self.plan)
        self.graph: Graph = recorded(self.plan, self.without)
        self.operands: dict[str, Operand] = {o.name: o for o in self.d.operands if o.name not in self.without}
        self.constants: dict[tuple[Any, ...], tuple[str, str]] = {}
        self.axis: dict[int, str | None] = {}
        self.matrix: set[int] = set()
        self.rows = inner(self.plan, self.d.out)[:-1]
        self.taken = {*_RESERVED, *self.operands}
        for node in self.graph.nodes:
            self._place(node)
        self.uses = {node.index: {o for o in node.operands if isinstance(o, int)} for node in self.graph.nodes}
        self.last = self.graph.outputs[-1][1]
        self.limits = self._conditions() if self.inside else {}
        self.conditional = frozenset(self.limits)  # before it is looked at, it may be greater
        self.out = self.inside or step_dtypes(self.d, self.plan)["out"]
        self.examined = dict(self._examined()) if self.inside else {}
        self.ready: set[int] = set()
        self.loops = self._loops()
        self.stored = self._stored()
        plain = self.loops == [self.last] and self.graph.nodes[self.last].operation not in _REDUCING and not self.stored
        independent = self.language == "cuda" and plain and not self.inside
        elements = all(parse(o.shape).batched and not inner(self.plan, o.shape) for o in self.operands.values())
        self.single = independent and elements and self.axis[self.last] is None  # from an element of each operand one of the result
        self.flat = independent and self.axis[self.last] is not None  # no loop waits for another: a thread takes an element
        along = all(parse(o.shape).batched and len(inner(self.plan, o.shape)) == 1 for o in self.operands.values())
        alone = bool(self.inside) and plain and not self.limits
        self.together = alone and along  # rows that share the constants of their channels
        body = "\n".join(self._element_body() if self.single or self.together else self._body())
        counts = dict.fromkeys(["batches" if self.rows else "rows", *map(self._size, self._axes())])
        sizes = [Argument(name, "size") for name in counts if name[0].isalpha()]
        operands = [Argument(o.name, "operand", operand_dtype(self.plan, o), o.shape) for o in self.operands.values()]
        out = Argument("out", "out", self.out, self.d.out)
        lengths = tuple(str(self.axis[n]) for n in self.stored)
        buffer = [Argument("buffer", "buffer", "int64", length=lengths)] if self.stored else []
        arguments = (*sizes, *operands, out, *buffer)
        given = ", ".join(f"{name}={value!r}" for name, value in self.plan.parameters)
        text = f"/* {self.plan.op}, dialect {self.plan.dialect}: {given:.2000}.\n"
        text += "".join(f"   {a.name}: ({a.shape})\n" for a in arguments if a.shape)
        text += f"   buffer: {' + '.join(lengths)} elements{' for each thread' if self.language == 'cuda' else ''}\n" * bool(buffer)
        text += "*/\n"
        pointer = "*restrict " if self.inside else _POINTER[self.language]
        listed = ", ".join(a.declared(pointer) for a in arguments)
        head = f"{_HEAD[self.language]}{'size_t' if self.inside else 'void'} {self.name}({listed}) {{\n"
        constants = "".join(f"    static const {c};\n" for name, c in self.constants.values() if re.search(rf"\b{name}\b", body))
        if self.single or self.together:
            one = fresh(f"{self.name}_of", self.taken)
            taken = ", ".join([f"size_t {_INDEX}"] * self.together + [f"{TYPES[o.dtype]} {o.name}" for o in operands])
            text += f"{_INLINE[self.language]} {TYPES[self.out]} {one}({taken}) {{\n{constants}{body}\n}}\n\n"
            constants, body = "", "\n".join(self._grouped(one, operands) if self.single else self._rows_together(one, operands))
        return Function(self.name, arguments, f"{text}{head}{constants}{body}\n}}\n", self.language, frozenset(self.examined))

    def _examined(self) -> Iterator[tuple[str, tuple[int, int]]]:
        """The operands of integers with elements of their own in every row, whose type holds more than their range; and that."""
        for operand in self.operands.values():
            whole = operand.kind != "bool" and not operand.kind.startswith("float")
            if whole and parse(operand.shape).batched and len(self._row(operand.name)) < 2:
                range_, holds = operand.range(self.plan), np.iinfo(operand_dtype(self.plan, operand))
                if range_ != (holds.min, holds.max):
                    yield operand.name, range_

    def _conditions(self) -> dict[int, int]:
        """By node of a condition what it may not exceed in any row."""
        nodes, found = dict(self.graph.outputs), widths(self.d, self.plan)
        limits = {nodes[name]: width.hi for name, (width, condition) in found.items() if condition and width is not None}
        if any(self.axis[index] is not None for index in limits):
            raise UsageError(f"{self.plan.op} has a condition on every element: no function looks at these")
        return limits

    # ---------------------------------------------------------------------------------------------------------- names and sizes

    def _axes(self) -> list[str]:
        return [a for o in self.operands.values() for a in inner(self.plan, o.shape)] + list(inner(self.plan, self.d.out))

    def _size(self, axis: str) -> str:
        """How long an axis is: a number where the plan fixes it, else the argument."""
        fixed = length(self.d, self.plan, axis)
        return f"length_{axis}".replace(".", "_") if fixed is None else str(fixed)

    def _own(self, node: Node) -> tuple[str, ...]:
        """The axes of an input behind the leading ones."""
        return inner(self.plan, self.operands[node.rest[0].split(".")[0]].shape)

    def _place(self, node: Node) -> None:
        """Which axis a node runs along within a row of the result; None for one value a row."""
        of_nodes = [o for o in node.operands if isinstance(o, int)]
        if node.operation == "input":
            own = self._own(node)
            batched = parse(self.operands[node.rest[0].split(".")[0]].shape).batched
            if own[:-1] != (self.rows if batched else ()):
                self.matrix.add(node.index)
            self.axis[node.index] = own[-1] if own else None
        elif node.operation in _MOVED:
            (used,) = of_nodes
            self.matrix.add(node.index)
            self.axis[node.index] = self._own(self.graph.nodes[used])[-2]
        elif node.operation in _REDUCING:
            self.axis[node.index] = None
        elif node.operation == "matmul":
            self.axis[node.index] = self.axis[of_nodes[1]]
        elif node.operation == "take":
            self.axis[node.index] = self.axis[of_nodes[0]]
        else:
            channels = any(isinstance(o, Constant) and np.ndim(o.value) for o in node.operands)
            along = [a for a in (self.axis[o] for o in of_nodes) if a is not None]
            self.axis[node.index] = along[0] if along else "C" if channels else None

    # -------------------------------------------------------------------------------------------------------------------- loops

    def _loops(self) -> list[int]:
        """What each loop over the elements of a row is for: a node that reduces, one that a product reads, at last the result."""
        nodes = self.graph.nodes
        left = {next(o for o in n.operands if isinstance(o, int)) for n in nodes if n.operation == "matmul"}
        self.read = {index for index in left if nodes[index].operation != "input"}
        found = [n.index for n in nodes if n.operation in _REDUCING or n.index in self.read]
        return [*found, *([] if self.last in found else [self.last])]

    def _needed(self, end: int, there: set[int]) -> list[int]:
        """The nodes along the elements that a loop computes for `end`, in order; not those that are there."""
        found: set[int] = set()
        waiting = list(self.uses[end]) if self.graph.nodes[end].operation in _REDUCING else [end]
        while waiting:
            index = waiting.pop()
            if index not in found | there | self.matrix and self.axis[index] is not None:
                found.add(index)
                waiting += [o for o in self.uses[index] if self.graph.nodes[index].operation != "matmul" or o in self.read]
        return sorted(found)

    def _stored(self) -> list[int]:
        """Nodes kept in the buffer: what a product reads, and products and what is summed where a later loop needs them again."""
        nodes, kept = self.graph.nodes, set(self.read)
        for end in self.loops[:-1]:
            summed = self.uses[end] if nodes[end].operation == "row_sum" else set()
            later = {i for after in self.loops if after > end for i in self._needed(after, kept - {after})}
            for index in self._needed(end, kept):
                if index in later and (nodes[index].operation == "matmul" or (index in summed and len(self._needed(index, kept)) > CHEAP)):
                    kept.add(index)
        return sorted(kept)

    # --------------------------------------------------------------------------------------------------------------------- text

    def _named(self) -> None:
        """Give every node its variable."""
        self.variable: dict[int, str] = {}
        for node in self.graph.nodes:
            label = node.names[0] if node.names else f"t{node.index}"
            if node.operation == "input":
                label = f"{node.rest[0]}_{_INDEX}"
            self.variable[node.index] = fresh("result" if label == "out" else label, self.taken)

    def _element_body(self) -> Iterator[str]:
        """A function from an element of each operand to one of the result."""
        self._named()
        needed = self._needed(self.last, set()) if self.together else []
        yield from self._scalars(needed, self.last, set(), "    ")
        for index in needed:
            yield from self._statement(self.graph.nodes[index], "    ")
        yield f"    return {self._cast(self.graph.nodes[self.last])};"

    def _rows_together(self, one: str, operands: Sequence[Argument]) -> Iterator[str]:
        """Calls of the function of an element: some rows at a time, so that the constants of a channel are read once for them."""
        size, pad = self._size(str(self.axis[self.last])), "    "
        yield f"{pad}size_t row = 0;"
        for count, head in ((_ROWS, f"for (; row + {_ROWS} <= rows; row += {_ROWS}) {{"), (1, "for (; row < rows; ++row) {")):
            yield f"{pad}{head}"
            for name in self.examined:
                yield from self._examine(name, f"size_t i = 0; i < {count} * {size}; ++i", f"row * {size} + i", "row + 1", f"{pad}    ")
            given = ", ".join([_INDEX, *(f"{o.name}[i * {size} + {_INDEX}]" for o in operands)])
            yield f"{pad}    for (size_t {_INDEX} = 0; {_INDEX} < {size}; ++{_INDEX})"
            yield f"{pad}        for (size_t i = row; i < row + {count}; ++i) out[i * {size} + {_INDEX}] = {one}({given});"
            yield f"{pad}}}"
        yield f"{pad}return 0;"

    def _grouped(self, one: str, operands: Sequence[Argument]) -> Iterator[str]:
        """A kernel that calls the function of an element, where arrays allow it for several neighbours at once."""
        out, pad = TYPES[self.out], "    "
        sizes = {o.name: np.dtype(o.dtype).itemsize for o in operands} | {"out": np.dtype(self.out).itemsize}
        count = _ACCESS // max(sizes.values())
        yield f"{pad}{_THREADS}"
        apart = " | ".join(f"((size_t){name} & {size * count - 1})" for name, size in sizes.items())
        yield f"{pad}const size_t groups = ({apart}) == 0 ? rows / {count} : 0; /* {count} neighbours at once, in aligned arrays */"
        yield f"{pad}for (size_t group = thread; group < groups; group += threads) {{"
        names = {o.name: fresh(f"{o.name}_{count}", self.taken) for o in operands}
        for o in operands:
            several = f"several<{TYPES[o.dtype]}, {count}>"
            yield f"{pad}    const {several} {names[o.name]} = ((const {several} *){o.name})[group];"
        several, together = f"several<{out}, {count}>", fresh(f"out_{count}", self.taken)
        yield f"{pad}    {several} {together};"
        given = ", ".join(f"{name}.at[lane]" for name in names.values())
        yield f"{pad}    for (int lane = 0; lane < {count}; ++lane) {together}.at[lane] = {one}({given});"
        yield f"{pad}    (({several} *)out)[group] = {together};"
        yield f"{pad}}}"
        given = ", ".join(f"{o.name}[row]" for o in operands)
        yield f"{pad}for (size_t row = groups * {count} + thread; row < rows; row += threads) out[row] = {one}({given});"

    def _body(self) -> Iterator[str]:
        self._named()
        pad, blocks = "    ", False
        rows = f"batches * {self._size(self.rows[0])}" if self.rows else "rows"
        if self.language == "cuda":
            yield f"{pad}{_THREADS}"
            if self.stored:
                yield f"{pad}buffer += thread * ({' + '.join(self._size(str(self.axis[i])) for i in self.stored)});"
        if self.flat:
            size = self._size(str(self.axis[self.last]))
            yield f"{pad}for (size_t element = thread; element < {rows} * {size}; element += threads) {{"
            yield f"{pad}    const size_t row = element / {size}, {_INDEX} = element % {size};"
        elif self.language == "cuda":
            yield f"{pad}for (size_t row = thread; row < {rows}; row += threads) {{"
        elif blocks := bool(self.examined) and not any(map(self._row, self.examined)):
            yield f"{pad}for (size_t block = 0; block < {rows}; block += {_BLOCK}) {{"
            yield f"{pad}    const size_t end = {rows} - block < {_BLOCK} ? {rows} : block + {_BLOCK};"
            for name in self.examined:
                yield from self._examine(name, "size_t row = block; row < end; ++row", "row", "block + 1", pad + "    ")
            yield f"{pad}    for (size_t row = block; row < end; ++row) {{"
            pad += "    "
        else:
            yield f"{pad}for (size_t row = 0; row < {rows}; ++row) {{"
            for name in self.examined:
                size = " * ".join(map(self._size, self._row(name))) or "1"
                yield from self._examine(name, f"size_t i = 0; i < {size}; ++i", f"row * {size} + i", "row + 1", pad + "    ")
        if any(parse(o.shape).batched and len(inner(self.plan, o.shape)) > 1 for o in self._matrices()):
            yield f"{pad}    const size_t batch = row / {self._size(self.rows[0])};"
        done: set[int] = set()
        for end in self.loops:
            needed = self._needed(end, self.ready)
            yield from self._scalars(needed, end, done, pad + "    ")
            yield from self._checks(done, pad + "    ")
            yield from self._loop(self.graph.nodes[end], needed, pad + "    ")
            self.ready |= set(self.stored) & set(needed)
            done.add(end)
            yield from self._checks(done, pad + "    ")
        yield f"{pad}}}"
        if blocks:
            pad = pad.removesuffix("    ")
            yield f"{pad}}}"
        if self.inside:
            yield f"{pad}return 0;"

    def _row(self, name: str) -> tuple[str, ...]:
        """The axes of an operand within a row."""
        own = inner(self.plan, self.operands[name].shape)
        return own[len(self.rows) :] if own[: len(self.rows)] == self.rows else own

    def _examine(self, name: str, loop: str, index: str, told: str, pad: str) -> Iterator[str]:
        """Return where an operand leaves its range."""
        kind = TYPES[operand_dtype(self.plan, self.operands[name])]
        least, most = fresh(f"{name}_least", self.taken), fresh(f"{name}_most", self.taken)
        lo, hi = map(_literal, self.examined[name])
        yield f"{pad}{kind} {least} = {lo}, {most} = {hi};"
        yield f"{pad}for ({loop}) {{"
        for which, sign in ((least, "<"), (most, ">")):
            yield f"{pad}    {which} = {name}[{index}] {sign} {which} ? {name}[{index}] : {which};"
        yield f"{pad}}}"
        yield f"{pad}if ({least} != {lo} || {most} != {hi}) return {told};"

    def _checks(self, done: set[int], pad: str) -> Iterator[str]:
        for index in sorted(done & self.limits.keys()):
            yield f"{pad}if ({self.variable[index]} > {_literal(self.limits.pop(index))}) return row + 1;"

    def _scalars(self, needed: Sequence[int], end: int, done: set[int], pad: str) -> Iterator[str]:
        """The nodes with one value a row for which a loop waits."""
        alone = self.axis[end] is None and end == self.last and self.graph.nodes[end].operation not in _REDUCING
        waiting, found = [*needed, end], {end} if alone else set()
        while waiting:
            for used in self.uses[waiting.pop()] - found - done - self.matrix:
                if self.axis[used] is None:
                    found.add(used)
                    waiting.append(used)
        for index in sorted(found):
            yield from self._statement(self.graph.nodes[index], pad)
        done |= found

    def _loop(self, node: Node, needed: Sequence[int], pad: str) -> Iterator[str]:
        reduces = node.operation in _REDUCING
        along = self.graph.nodes[next(iter(self.uses[node.index]))] if reduces else node
        axis = self.axis[along.index]
        if axis is None:  # the result of an op without rows
            yield f"{pad}out[row] = {self._cast(node)};"
            return
        size, name = self._size(axis), self.variable[node.index]
        if reduces:
            least = along.interval[0] if node.operation == "row_max" and along.interval is not None else 0
            yield f"{pad}{self._type(node)} {name} = {_literal(least)};"
            greatest = fresh(f"{name}_of", self.taken) if node.operation == "row_argmax" else ""
            if greatest:
                yield f"{pad}{self._type(along)} {greatest} = {_literal(self._reach(along.index)[0])};"
        if self.flat:
            pad = pad.removesuffix("    ")
        else:
            yield f"{pad}for (size_t {_INDEX} = 0; {_INDEX} < {size}; ++{_INDEX}) {{"
        for index in needed:
            yield from self._statement(self.graph.nodes[index], pad + "    ")
            if index in self.stored:
                yield f"{pad}    {self._buffered(index)} = {self.variable[index]};"
        taken, _ = self._used(along.index)
        if node.operation == "row_max":
            yield f"{pad}    if ({taken} > {name}) {name} = {taken};"
        elif node.operation == "row_sum":
            yield f"{pad}    {name} += {taken};"
        elif node.operation == "row_argmax":
            yield f"{pad}    if ({taken} > {greatest}) {greatest} = {taken}, {name} = ({self._type(node)}){_INDEX};"
        elif node.index == self.last:
            yield f"{pad}    out[{'element' if self.flat else f'row * {size} + {_INDEX}'}] = {self._cast(node)};"
        if not self.flat:
            yield f"{pad}}}"
        if reduces and node.index == self.last:
            yield f"{pad}out[row] = {self._cast(node)};"

    def _cast(self, node: Node) -> str:
        return f"({TYPES[self.out]})({self.variable[node.index]})"

    def _matrices(self) -> list[Operand]:
        return [self.operands[n.rest[0]] for n in self.graph.inputs if n.index in self.matrix]

    def _buffered(self, index: int, at: str = _INDEX) -> str:
        before = [self._size(str(self.axis[i])) for i in self.stored[: self.stored.index(index)]]
        return f"buffer[{' + '.join([*before, at])}]"

    def _type(self, node: Node) -> str:
        if node.operation in ("greater_equal", "greater", "less_equal", "less") or self._is_mask(node):
            return "int"
        if self.d.gives_real and node.names and node.names[-1] == "out" and node.operation == "multiply":
            return "double"
        lo, hi = node.interval if node.interval is not None and node.index not in self.conditional else (-(1 << 63), (1 << 63) - 1)
        if node.operation == "absolute" and hi == 1 << 31 and self._is_only_bounded(node):
            return "uint32_t"
        return "int32_t" if lo >= -(1 << 31) and hi < 1 << 31 else "int64_t"

    def _is_only_bounded(self, node: Node) -> bool:
        """Whether a node is but compared with constants of 32 bits and replaced by these where it is greater."""
        users = [n for n in self.graph.nodes if node.index in n.operands]
        bounds = [n.operands[1] for n in users if n.operation == "minimum" and n.operands[0] == node.index]
        whole = [b for b in bounds if isinstance(b, Constant) and np.min(b.value) >= 0 and np.max(b.value) < 1 << 31]
        return len(whole) == len(users) and not node.names

    def _is_mask(self, node: Node) -> bool:
        return node.operation == "input" and self.operands[node.rest[0].split(".")[0]].kind == "bool"

    def _constant(self, constant: Constant) -> tuple[str, str]:
        """The text of a constant, and its type."""
        value = constant.value
        if np.ndim(value):
            kind = "double" if np.asarray(value).dtype.kind == "f" else _narrowest([int(v) for v in value])
            key = (constant.field, tuple(np.asarray(value).tolist()))
            if key not in self.constants:
                name = fresh(constant.field or "per_channel", self.taken)
                listed = ", ".join(float(v).hex() if kind == "double" else _literal(int(v)) for v in np.asarray(value).tolist())
                self.constants[key] = (name, f"{kind} {name}[{len(value)}] = {{{listed}}}")
            return f"{self.constants[key][0]}[{_INDEX}]", kind
        if isinstance(value, float):
            return value.hex(), "double"
        value = int(value)
        kind = _narrowest([value])
        if not constant.field:
            return _literal(value), kind
        if (constant.field, value) not in self.constants:
            name = fresh(constant.field, self.taken)
            self.constants[constant.field, value] = (name, f"{kind} {name} = {_literal(value)}")
        return self.constants[constant.field, value][0], kind

    def _statement(self, node: Node, pad: str) -> Iterator[str]:
        name, kind = self.variable[node.index], self._type(node)
        if node.operation == "input":
            if "." in node.rest[0]:  # a float operand arrives as mantissa and exponent
                if node.rest[0].endswith(".m"):
                    stem = node.rest[0].removesuffix(".m")
                    parts = {n.rest[0]: self.variable[n.index] for n in self.graph.inputs}
                    split = "float_parts" if self.operands[stem].kind == "float32" else "double_parts"
                    yield f"{pad}int64_t {parts[stem + '.m']}, {parts[stem + '.e']};"
                    yield f"{pad}{split}({self._element(node, stem)}, &{parts[stem + '.m']}, &{parts[stem + '.e']});"
                return
            yield f"{pad}const {kind} {name} = {self._element(node, node.rest[0])};"
            return
        if node.operation == "matmul":
            yield from self._product(node, pad)
            return
        text = self._expression(node, kind)
        if not node.names and any((text, kind) == self._used(o) for o in self.uses[node.index]):  # a bound that never acts
            self.variable[node.index] = text
            return
        why = f" /* lemma {node.lemma.name} */" if node.operation == "known" else ""
        yield f"{pad}const {kind} {name} = {text};{why}"

    def _element(self, node: Node, operand: str) -> str:
        own, batched = self._own(node), parse(self.operands[operand].shape).batched
        if self.single or self.together:
            return operand
        if not own:
            return f"{operand}[row]"
        return f"{operand}[row * {self._size(own[-1])} + {_INDEX}]" if batched else f"{operand}[{_INDEX}]"

    def _product(self, node: Node, pad: str) -> Iterator[str]:
        a, b = (self.graph.nodes[o] for o in node.operands if isinstance(o, int))
        moved = b.operation in _MOVED
        matrix = self.graph.nodes[next(iter(self.uses[b.index]))] if moved else b
        operand = self.operands[matrix.rest[0]]
        own = inner(self.plan, operand.shape)
        depth, columns = (self._size(own[-1]), self._size(own[-2])) if moved else (self._size(own[-2]), self._size(own[-1]))
        left = self._buffered(a.index, "i") if a.operation != "input" else f"{a.rest[0]}[row * {depth} + i]"
        start = f"batch * {depth} * {columns} + " if parse(operand.shape).batched else ""
        right = f"{operand.name}[{start}{_INDEX} * {depth} + i]" if moved else f"{operand.name}[{start}i * {columns} + {_INDEX}]"
        name, kind = self.variable[node.index], self._type(node)
        wide = "int64_t" if kind == "int64_t" or a.operation != "input" else "int32_t"
        yield f"{pad}{kind} {name} = 0;"
        yield f"{pad}for (size_t i = 0; i < {depth}; ++i) {name} += ({kind})(({wide}){left} * ({wide}){right});"

    def _expression(self, node: Node, kind: str) -> str:
        given = [self._constant(o) if isinstance(o, Constant) else self._used(o) for o in node.operands]
        words = [text for text, _ in given]
        wide = max((kind, *(k for _, k in given)), key=lambda k: _RANK[k])
        op = node.operation
        if op == "known":
            return words[0]
        if op == "take":
            table = self.graph.nodes[int(node.operands[0])]  # type: ignore[arg-type]
            return f"{table.rest[0]}[(size_t){words[1]} * {self._size(str(self.axis[table.index]))} + {_INDEX}]"
        cast = [f"({wide}){w}" if k != wide else w for w, k in given]
        if op in _INFIX:
            text = f"{cast[0]} {_INFIX[op]} {cast[1]}"
            return text if kind in (wide, "int") else f"({kind})({text})"
        if op == "where":
            return f"{words[0]} ? {words[1]} : {words[2]}"
        if op in ("minimum", "maximum"):
            if self._idle(node, 1, op == "minimum"):
                return words[0]
            if given[0][1] == "uint32_t":
                return f"{words[0]} < (uint32_t){words[1]} ? ({kind}){words[0]} : {words[1]}"
            return f"{cast[0]} {'<' if op == 'minimum' else '>'} {cast[1]} ? {words[0]} : {words[1]}"
        if op == "clip":
            x, lo, hi = words
            below = "" if self._idle(node, 1, False) else f"{x} < {lo} ? {lo} : "
            return below + (x if self._idle(node, 2, True) else f"{x} > {hi} ? {hi} : {x}")
        if op == "negative":
            return f"-({kind}){words[0]}"
        if op == "absolute" and kind == "uint32_t":
            return f"{words[0]} < 0 ? -(uint32_t){words[0]} : (uint32_t){words[0]}"
        if op == "absolute":
            return f"{words[0]} < 0 ? -({kind}){words[0]} : {words[0]}"
        if op == "square":
            return f"({kind}){words[0]} * ({kind}){words[0]}"
        if op == "sign" and self.language == "cuda" and wide == "int32_t":  # a GPU has instructions for the lesser and the greater
            return f"{words[0]} < -1 ? -1 : {words[0]} > 1 ? 1 : {words[0]}"
        if op == "sign":
            return f"({words[0]} > 0) - ({words[0]} < 0)"
        if op == "multiply_shift_round":
            return self._rescaled(node, kind, words)
        helper = self._shift(node.operands[1]) if op == "shift_right" else _HELPERS.get(op, op)
        if self.inside and op == "i_sqrt" and self._reach(node.operands[0])[0] >= 0 and self._reach(node.operands[0])[1] < 1 << 32:
            return f"({kind})root_of_32((uint32_t){words[0]})"
        if f"{helper}_32" in _parts()[1] and all(k == "int32_t" for k in (kind, *(k for _, k in given))) and self._divides(node):
            helper += "_32"
        if helper in _parts()[1]:
            rules = [str(r).upper() for r in node.rest if isinstance(r, str)]
            return f"({kind}){helper}({', '.join([*words, *rules])})"
        raise UsageError(f"{self.plan.op} ({self.plan.dialect}) has a step that no C is known for: {op}")

    def _rescaled(self, node: Node, kind: str, words: Sequence[str]) -> str:
        """A product shifted to the right and rounded, by the least that what is proven of its parts allows."""
        (z, m, e), rule = words, str(node.rest[0]).upper()
        nearest = rule in _TIES and self._never_ties(node)
        (z_least, _), (m_least, m_most), (least, most) = map(self._reach, node.operands)
        if self._fits_a_word(node):
            product = f"(int64_t){z} * {m}"
            if (nearest or rule == "HALF_UP") and least > 0 and most < 63:
                return f"({kind})shift_right_nearest({product}, {e})"
            return f"({kind}){self._shift(node.operands[2])}({product}, {e}, {rule})"
        two_words = m_least > -(1 << 31) and m_most < 1 << 31 and z_least > -(1 << 63) and least > 32 and most < 95
        if two_words and nearest:
            return f"({kind})multiply_shift_nearest_96({z}, {m}, {e})"
        if two_words:
            return f"({kind})multiply_shift_round_96({z}, {m}, {e}, {rule})"
        if self.inside and least > 0 and most < 63:
            return f"({kind})multiply_shift_round_62({z}, {m}, {e}, {rule})"
        return f"({kind})multiply_shift_round({z}, {m}, {e}, {rule})"

    def _idle(self, node: Node, bound: int, above: bool) -> bool:
        """Whether a bound never acts: the first operand is proven to lie on its side."""
        first, limit = node.operands[0], node.operands[bound]
        if not isinstance(first, int) or not isinstance(limit, Constant) or np.ndim(limit.value):
            return False
        interval = self.graph.nodes[first].interval
        return interval is not None and (interval[1] <= limit.value if above else limit.value <= interval[0])

    def _shift(self, count: int | Constant) -> str:
        """The helper that shifts to the right by `count`."""
        lo, hi = self._reach(count)
        return "shift_right_62" if lo > 0 and hi < 63 else "shift_right"

    def _divides(self, node: Node) -> bool:
        """Whether no quotient of 32 bits leaves them: only that of the least integer by -1 does."""
        return self._reach(node.operands[0])[0] > -(1 << 31) or self._reach(node.operands[1])[0] > -1

    def _never_ties(self, node: Node) -> bool:
        """Whether no product lies in the middle between two results: to be an odd multiple of 2^(e-1) it has to be at least so great."""
        z, m, e = node.operands
        if not isinstance(m, Constant) or not isinstance(e, Constant):
            return False
        most = max(map(abs, self._reach(z)))
        pairs = np.broadcast(np.asarray(m.value, object), np.asarray(e.value, object))
        return all(not m or e < 1 or most * (m & -m) < 1 << (e - 1) for m, e in ((int(m), int(e)) for m, e in pairs))

    def _fits_a_word(self, node: Node) -> bool:
        """Whether a dyadic rescaling needs one word: its product is proven to fit, and it shifts to the right."""
        (z_lo, z_hi), (m_lo, m_hi), (e_lo, _) = map(self._reach, node.operands)
        return max(-z_lo, z_hi) * max(-m_lo, m_hi) < 1 << 62 and e_lo >= 0

    def _reach(self, operand: int | Constant) -> tuple[int, int]:
        """The least and the greatest value of an operand."""
        if isinstance(operand, Constant):
            return int(np.min(operand.value)), int(np.max(operand.value))
        return self.graph.nodes[operand].interval or (-(1 << 63), (1 << 63) - 1)

    def _used(self, index: int) -> tuple[str, str]:
        node = self.graph.nodes[index]
        if index in self.ready:
            kind = self._type(node)
            return (f"(int32_t){self._buffered(index)}" if kind == "int32_t" else self._buffered(index)), kind
        return self.variable[index], self._type(node)


def _narrowest(values: Sequence[int]) -> str:
    return "int32_t" if all(-(1 << 31) < v < 1 << 31 for v in values) else "int64_t"


def _literal(value: int) -> str:
    if -(1 << 31) < value < 1 << 31:
        return str(value)
    return "INT64_MIN" if value == -(1 << 63) else f"INT64_C({value})"
