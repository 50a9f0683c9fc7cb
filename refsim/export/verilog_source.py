"""The reference in SystemVerilog: an elementwise operation's recorded graph as a module, each wire as wide as its proof.

It is combinational, or a pipeline: its steps in stages with registers between them, a new input and a result at every clock.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .. import __version__
from ..carriers.recorded import Constant, Graph, Node
from ..certificates import graph as recorded
from ..emitted.names import called, fresh
from ..errors import UsageError
from ..ops.base import Plan
from ..registry import of

_INFIX = {"add": "+", "subtract": "-", "multiply": "*"}
_COMPARED = {"greater_equal": ">=", "greater": ">", "less_equal": "<=", "less": "<"}
_RAISED = {
    "floor": "1'b0",
    "ceil": "{r} != 0",
    "trunc": "{r} != 0 && {q} < 0",
    "half_up": "{r} >= {half}",
    "half_down": "{r} > {half}",
    "half_even": "{r} > {half} || ({r} == {half} && {q}[0])",
    "half_away": "{r} > {half} || ({r} == {half} && {q} >= 0)",
    "half_zero": "{r} > {half} || ({r} == {half} && {q} < 0)",
}
"""By rounding rule, when a floor q with the remainder r of 2^e is raised by one."""


def module(plan: Plan, name: str = "", stages: int | None = 0) -> str:
    """Write `plan`'s operation as a SystemVerilog module.

    Parameters
    ----------
    name : str
        Of the module; op and dialect by default.
    stages : int or None
        Of a pipeline: as many clocks as the result comes after its operands. None for as many as possible; 0 for no clock.

    Raises
    ------
    UsageError
        `name` is no name, the op is not elementwise, the plan has channels, the op has a step that no Verilog is known for, or not so
        many steps after one another.
    """
    name = called(plan, name, "Verilog")
    d = of(plan)
    if d.layout != "element" or d.gives_real or any(o.kind != "int" for o in d.operands):
        raise UsageError(f"{plan.op} is not written in Verilog: legal are operations on one integer at a time")
    if plan.channels is not None:
        raise UsageError(f"a plan with {plan.channels} channels is not written in Verilog: legal are plans of one tensor")
    return _Writer(plan, name, stages).text()


def bits(lo: int, hi: int) -> int:
    """Bits of the narrowest signed word that holds lo to hi."""
    return 1 + max((~lo if lo < 0 else lo).bit_length(), (~hi if hi < 0 else hi).bit_length())


@dataclass
class _Writer:
    """One module under construction."""

    plan: Plan
    name: str
    stages: int | None

    def text(self) -> str:
        graph: Graph = recorded(self.plan)
        self.wires: dict[int, str] = {}
        self.taken = {"out", "clk"}
        self.nodes = graph.nodes
        last = graph.outputs[-1][1]
        clocks = self._divide(last)
        self.registers: dict[tuple[int, int], str] = {}
        lines: list[str] = []
        for node in self.nodes:
            label = node.rest[0] if node.operation == "input" else node.names[0] if node.names else f"t{node.index}"
            self.wires[node.index] = fresh("result" if label == "out" else str(label), self.taken)
            self.now = self.stage[node.index]
            if node.operation != "input":
                lines += self._statement(node)
        self.now = clocks + 1
        result = self._word(last)
        ports = ["    input  logic clk"] * bool(clocks)
        ports += [f"    input  logic signed [{self._width(n) - 1}:0] {self.wires[n.index]}" for n in graph.inputs]
        ports.append(f"    output logic signed [{self._width(self.nodes[last]) - 1}:0] out")
        given = ", ".join(f"{key}={value!r}" for key, value in self.plan.parameters)
        head = f"// Written by refsim {__version__}. {self.plan.op}, dialect {self.plan.dialect}: {given:.2000}.\n"
        if clocks:
            head += f"// Latency: {clocks} clock{'s' * (clocks > 1)}. It takes operands at every rising edge of clk; "
            head += "out has their result that many edges later.\n"
        body = "".join(f"    {line}\n" for line in [*self._declared(), *lines, *self._clocked()])
        joined = ",\n".join(ports)
        return f"{head}module {self.name} (\n{joined}\n);\n{body}    assign out = {result};\nendmodule\n"

    # ---------------------------------------------------------------------------------------------------------------- pipelines

    def _divide(self, last: int) -> int:
        """Give every node its stage, 0 for the operands; how many stages there are."""
        depth: dict[int, int] = {}
        for node in self.nodes:
            before = max((depth[o] for o in node.operands if isinstance(o, int)), default=0)
            depth[node.index] = before + (node.operation not in ("input", "known"))
        deepest = max(depth.values())
        stages = max(deepest, 1) if self.stages is None else self.stages
        if stages and not 1 <= stages <= max(deepest, 1):
            raise UsageError(
                f"{stages} stages are not legal for {self.plan.op} ({self.plan.dialect}): it has {deepest} steps after one another"
            )
        self.stage = {index: -(-d * stages // max(deepest, 1)) for index, d in depth.items()}
        return stages

    def _held(self, index: int, clock: int) -> str:
        """A node's value so many clocks after the operands were there: its wire, or the register that keeps it."""
        if clock < self.stage[index] or clock == 0:
            return self.wires[index]
        if (index, clock) not in self.registers:
            if clock > max(self.stage[index], 1):
                self._held(index, clock - 1)
            self.registers[index, clock] = fresh(f"{self.wires[index]}_{clock}", self.taken)
        return self.registers[index, clock]

    def _declared(self) -> Iterator[str]:
        for (index, _), name in self.registers.items():
            yield f"logic signed [{self._width(self.nodes[index]) - 1}:0] {name};"

    def _clocked(self) -> Iterator[str]:
        if self.registers:
            yield "always_ff @(posedge clk) begin"
            for (index, clock), name in self.registers.items():
                yield f"    {name} <= {self._held(index, clock - 1)};"
            yield "end"

    # -------------------------------------------------------------------------------------------------------------- statements

    def _interval(self, operand: int | Constant) -> tuple[int, int]:
        if isinstance(operand, Constant):
            return int(np.min(operand.value)), int(np.max(operand.value))
        interval = self.nodes[operand].interval
        return (0, 1) if interval is None else interval  # a comparison

    def _width(self, node: Node) -> int:
        return bits(*self._interval(node.index))

    def _word(self, operand: int | Constant) -> str:
        if isinstance(operand, Constant):
            value = int(operand.value)
            return f"{'-' if value < 0 else ''}{bits(-abs(value), abs(value))}'sd{abs(value)}"
        return self._held(operand, self.now - 1) if self.now else self.wires[operand]

    def _wire(self, name: str, width: int, text: str) -> str:
        return f"wire signed [{width - 1}:0] {name} = {text};"

    def _statement(self, node: Node) -> Iterator[str]:
        name, width, op = self.wires[node.index], self._width(node), node.operation
        words = [self._word(o) for o in node.operands]
        a, b = (*words, "", "")[:2]
        if op == "multiply_shift_round" or (op == "shift_right" and node.rest != ("floor",)):
            yield from self._rounded(node, words)
            return
        if op in _INFIX:
            text = f"{a} {_INFIX[op]} {b}"
        elif op in _COMPARED:
            text = f"({a} {_COMPARED[op]} {b}) ? 2'sd1 : 2'sd0"
        elif op == "known":
            text = a
        elif op == "where":
            text = f"({a} != 0) ? {words[1]} : {words[2]}"
        elif op in ("minimum", "maximum"):
            text = f"({a} {'<' if op == 'minimum' else '>'} {b}) ? {a} : {b}"
        elif op == "clip":
            text = f"({a} < {b}) ? {b} : ({a} > {words[2]}) ? {words[2]} : {a}"
        elif op == "negative":
            text = f"-{a}"
        elif op == "absolute":
            text = f"({a} < 0) ? -{a} : {a}"
        elif op == "square":
            text = f"{a} * {a}"
        elif op == "sign":
            text = f"({a} < 0) ? -2'sd1 : ({a} > 0) ? 2'sd1 : 2'sd0"
        elif op == "left_shift":
            text = f"{a} <<< {self._amount(node.operands[1])}"
        elif op in ("right_shift", "shift_right"):
            text = f"{a} >>> {self._amount(node.operands[1])}"
        elif op in ("floor_divide", "remainder"):
            wide = max(bits(*self._interval(o)) for o in node.operands) + 1
            yield self._wire(f"{name}_q", wide, f"{a} / {b}")  # towards zero
            yield self._wire(f"{name}_r", wide, f"{a} % {b}")
            off = f"({name}_r != 0 && ({a} < 0) != ({b} < 0))"
            text = f"{off} ? {name}_q - 2'sd1 : {name}_q" if op == "floor_divide" else f"{off} ? {name}_r + {b} : {name}_r"
        elif op == "divide" and node.rest == ("trunc",):
            text = f"{a} / {b}"
        elif op == "i_sqrt":
            yield from self._root(name, a, node)
            return
        else:
            raise UsageError(f"{self.plan.op} ({self.plan.dialect}) has a step that no Verilog is known for: {op}")
        yield self._wire(name, width, text)

    def _amount(self, operand: int | Constant) -> str:
        return str(int(operand.value)) if isinstance(operand, Constant) else f"$unsigned({self._word(operand)})"

    def _rounded(self, node: Node, words: Sequence[str]) -> Iterator[str]:
        """A product, or an integer, by a power of two that the plan fixes."""
        name, rule, by = self.wires[node.index], str(node.rest[0]), node.operands[-1]
        if not isinstance(by, Constant):
            raise UsageError(f"{self.plan.op} ({self.plan.dialect}) rounds a shift that the data decides: no Verilog is known for it")
        e, given = int(by.value), [self._interval(o) for o in node.operands[:-1]]
        wide = max(sum(bits(*x) for x in given), self._width(node)) + 1
        yield self._wire(f"{name}_p", wide + max(-e, 0), " * ".join(words[:-1]))
        if e <= 0:
            yield self._wire(name, self._width(node), f"{name}_p <<< {-e}")
            return
        e = min(e, wide + 1)  # beyond that it is less than a quarter, and rounds alike
        yield self._wire(f"{name}_q", wide, f"{name}_p >>> {e}")
        yield f"wire [{e}:0] {name}_r = {{1'b0, {self._low(name, e, wide)}}};"
        half = f"{e + 1}'d{1 << (e - 1)}"
        text = _RAISED[rule].format(r=f"{name}_r", q=f"{name}_q", half=half)
        yield self._wire(name, self._width(node), f"({text}) ? {name}_q + 2'sd1 : {name}_q")

    def _low(self, name: str, e: int, wide: int) -> str:
        """The lowest e bits of the product, its sign above its width."""
        if e <= wide:
            return f"{name}_p[{e - 1}:0]"
        return f"{{{e - wide}{{{name}_p[{wide - 1}]}}}}, {name}_p"

    def _root(self, name: str, n: str, node: Node) -> Iterator[str]:
        """The integer square root bit by bit: not Newton's steps, the same integer."""
        size = (bits(*self._interval(node.operands[0])) + 1) // 2 * 2
        yield f"logic signed [{size}:0] {name}_v, {name}_b, {name}_s;"
        yield "always_comb begin"
        yield f"    {name}_v = {n}; {name}_s = 0;"
        yield f"    for (int i = {size // 2 - 1}; i >= 0; i--) begin"
        yield f"        {name}_b = {size + 1}'sd1 <<< (2 * i);"
        yield f"        if ({name}_v >= {name}_s + {name}_b) begin"
        yield f"            {name}_v = {name}_v - {name}_s - {name}_b;"
        yield f"            {name}_s = ({name}_s >>> 1) + {name}_b;"
        yield f"        end else {name}_s = {name}_s >>> 1;"
        yield "    end"
        yield "end"
        yield self._wire(name, self._width(node), f"{name}_s")
