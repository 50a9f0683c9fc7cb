"""Every op in every dialect, and the four verbs: plan, run, trace, certificate. Everything else iterates over this."""

from __future__ import annotations

import inspect
import math
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, get_type_hints

import numpy as np

from . import ops  # noqa: F401  (importing the package defines every op)
from .arithmetic.widths import Condition, Real, Width, bits_needed, fits
from .carriers import tiles
from .carriers.intervals import Interval
from .errors import DomainError, PlanError, WidthError
from .ops.base import DEFINITIONS, Definition, Input, Operand, Plan, Scales, arrays, legal_choice, legal_integer
from .ops.constants import WAYS

_HEAD = ("constants", "register_bits", "input_bits", "input_range")


def definitions() -> Iterator[Definition]:
    """All of them, op by op."""
    yield from sorted(DEFINITIONS.values(), key=lambda d: d.key)


def names() -> tuple[str, ...]:
    """Names of the ops."""
    return tuple(dict.fromkeys(d.name for d in definitions()))


def dialects() -> tuple[str, ...]:
    """Names of the dialects."""
    return tuple(sorted({d.dialect for d in DEFINITIONS.values()}))


def definition(op: str, dialect: str) -> Definition:
    """The definition of `op` in `dialect`; a PlanError names what there is."""
    if op not in names():
        raise PlanError("op", op, "one of " + ", ".join(names()))
    spoken = tuple(d.dialect for d in definitions() if d.name == op)
    if dialect not in spoken:
        raise PlanError("dialect", dialect, "one of " + ", ".join(spoken))
    return DEFINITIONS[op, dialect]


def of(plan: Plan) -> Definition:
    """The definition that `plan` is a plan of."""
    return DEFINITIONS[plan.op, plan.dialect]


def parameters(d: Definition) -> dict[str, inspect.Parameter]:
    """The parameters a plan of `d` takes, by name, in the order of ``refsim explain``."""
    return dict(_parameters(d.make, d.input, d.constants, d.registers))


@cache  # reading signatures and annotations takes longer than a small launch
def _parameters(make: Any, given: Input | None, constants: bool, registers: bool) -> dict[str, inspect.Parameter]:
    own = dict(list(inspect.signature(make).parameters.items())[1:])
    common = {
        "input_bits": given is not None,
        "input_range": given is not None,
        "constants": constants,
        "register_bits": registers,
    }
    defaults = {"input_bits": given.default if given else None, "input_range": None, "constants": "exact", "register_bits": 64}
    for name, present in common.items():
        if present:
            own[name] = inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=defaults[name])
    return own


# ------------------------------------------------------------------------------------------------------------------- plan


def plan(op: str, *, dialect: str = "ibert", **given: Any) -> Plan:
    """Make the integers of an op from real scales, once, and prove that its intermediates fit.

    Parameters
    ----------
    op : str
        Name of the op, see ``refsim ops``.
    dialect : {"ibert", "paper"}
    **given
        The op's parameters (``scale``, ``length`` …) and those that every op has: ``input_bits`` or ``input_range=(lo, hi)``,
        ``constants="exact" | "float32" | "float64"``, ``register_bits=64 | 32``.

    Returns
    -------
    Plan
        Frozen and hashable; its integers are named by the symbols of the paper.

    Raises
    ------
    PlanError
        An unknown op, dialect or parameter, or an illegal value, with the legal range.
    WidthError
        An intermediate that provably may leave its declared width, with its interval and what mends it.
    """
    made = unproven(op, dialect, given)
    proof = certificate(made)
    misfit = proof.misfit
    if misfit is not None:
        raise WidthError(
            f"{op} ({dialect})",
            misfit.name,
            (misfit.lo, misfit.hi),
            misfit.needed,
            str(misfit.declared),
            lambda: _remedy(definition(op, dialect), given, misfit.name),
        )
    return made


def unproven(op: str, dialect: str, given: dict[str, Any]) -> Plan:
    """A plan whose widths nobody has proven yet."""
    d = definition(op, dialect)
    legal = parameters(d)
    for name in given:
        if name not in legal:
            raise PlanError(f"{op} parameter", name, "one of " + ", ".join(legal))
    given = {name: freeze(value) for name, value in given.items()}
    for name, parameter in legal.items():
        if parameter.default is inspect.Parameter.empty and name not in given:
            raise PlanError(name, None, f"required by {op}")
    own = {k: v for k, v in given.items() if k not in _HEAD}
    head = {
        "op": op,
        "dialect": dialect,
        "parameters": tuple(sorted((k, v) for k, v in given.items() if v is not None)),
        "constants": legal_choice("constants", given.get("constants", "exact"), WAYS),
        "register_bits": legal_choice("register_bits", given.get("register_bits", 64), (64, 32)),
        "input_range": _input_range(d, given),
    }
    return d.make(head, **own)


def freeze(value: Any) -> Any:
    """A parameter as plans keep it: plain Python numbers, tuples for sequences."""
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    return tuple(freeze(v) for v in value) if isinstance(value, (list, tuple)) else value


def _input_range(d: Definition, given: dict[str, Any]) -> tuple[int, int]:
    if d.input is None:
        return 0, 0
    widest = d.input.bounds(d.input.legal[1])
    pair = given.get("input_range")
    if pair is not None:
        if given.get("input_bits") is not None:
            raise PlanError("input_range", pair, "given without input_bits")
        if not isinstance(pair, (tuple, list)) or len(pair) != 2:
            raise PlanError("input_range", pair, "a pair (lo, hi) of integers")
        lo = legal_integer("input_range[0]", pair[0], *widest)
        return lo, legal_integer("input_range[1]", pair[1], lo, widest[1])
    bits = given.get("input_bits")
    return d.input.bounds(legal_integer("input_bits", d.input.default if bits is None else bits, *d.input.legal))


# ------------------------------------------------------------------------------------------------------------ certificate


@dataclass(frozen=True, slots=True)
class Bound:
    """What is proven of one intermediate: every value lies in [lo, hi]."""

    name: str
    lo: int
    hi: int
    declared: Width
    condition: bool

    @property
    def signed(self) -> bool:
        return self.lo < 0 or str(self.declared).startswith("int")

    @property
    def bits(self) -> int:
        """Bits of the narrowest integers that hold the interval."""
        return bits_needed(self.lo, self.hi, self.signed)

    @property
    def needed(self) -> str:
        """The narrowest type that holds the interval, such as ``int41``."""
        return ("int" if self.signed else "uint") + str(self.bits)

    @property
    def fits(self) -> bool:
        return self.condition or fits(self.declared, self.lo, self.hi)


@dataclass(frozen=True, slots=True)
class Certificate:
    """Per intermediate: proven interval, bits needed, bits declared.

    Attributes
    ----------
    bounds : tuple of Bound
        In the order of the run.
    peak : tuple of int
        Hull of every value of the evaluation, named or not: it must fit int64.
    """

    plan: Plan
    bounds: tuple[Bound, ...]
    peak: tuple[int, int]

    @property
    def misfit(self) -> Bound | None:
        """The first intermediate that may leave its declared width; None where all fit."""
        return next((b for b in self.bounds if not b.fits), None)


def marks(d: Definition) -> dict[str, Any]:
    """Per intermediate, how its width is declared."""
    return dict(_marks(d.steps))


@cache
def _marks(steps: Any) -> dict[str, Any]:
    return {name: hint.__metadata__[0] for name, hint in get_type_hints(steps, include_extras=True).items()}


def widths(d: Definition, plan: Plan) -> dict[str, tuple[Any, bool]]:
    """Per intermediate its declared width (None for a real number) and whether it is a row condition."""
    declared = {}
    for name, mark in marks(d).items():
        if isinstance(mark, Real):
            declared[name] = (None, False)
        else:
            declared[name] = (mark.resolve(plan) if hasattr(mark, "resolve") else mark, isinstance(mark, Condition))
    return declared


def certificate(plan: Plan) -> Certificate:
    """Interval analysis of a plan's run over its declared input range.

    Returns
    -------
    Certificate
        Each intermediate with its proven interval. A row condition (i-LayerNorm's V) is what the data of a run is checked for.
    """
    d = of(plan)
    declared = widths(d, plan)
    if any(width is None for width, _ in declared.values()):
        return Certificate(plan, (), (0, 0))
    peak = [0, 0]
    rows = d.rows(plan)
    boxes: list[Any] = []
    for operand in d.operands:
        if operand.kind == "float64":
            boxes += [Interval(-(1 << 53) + 1, (1 << 53) - 1, rows, peak), Interval(-1074, 971, rows, peak)]
        elif operand.kind == "float32":
            boxes += [Interval(-(1 << 24) + 1, (1 << 24) - 1, rows, peak), Interval(-149, 104, rows, peak)]
        elif operand.kind == "bool":
            boxes.append(np.array(True))  # stands for any mask: a plain condition counts as either
        else:
            boxes.append(Interval(*operand.range(plan), rows, peak))
    steps = d.run(arrays(plan), *boxes)
    bounds = tuple(
        Bound(name, int(min(box.lo)), int(max(box.hi)), *declared[name]) for name, box in zip(d.steps._fields, steps, strict=True)
    )
    low, high = int(peak[0]), int(peak[1])
    if all(b.fits for b in bounds) and not -(1 << 63) <= low <= high < 1 << 63:
        raise WidthError(f"{plan.op} ({plan.dialect})", "a temporary", (low, high), f"int{bits_needed(low, high, True)}", "int64")
    return Certificate(plan, bounds, (low, high))


def _remedy(d: Definition, given: dict[str, Any], name: str) -> str:
    """What would mend a plan that does not fit: the smallest scale, the widest input, wider registers; searched, not guessed."""
    advice = []

    def works(**changes: Any) -> bool:
        try:
            proof = certificate(unproven(d.name, d.dialect, {**given, **changes}))
        except PlanError:
            return False
        return proof.misfit is None

    scale = given.get("scale")
    if isinstance(d.space.get("scale"), Scales) and scale is not None:
        size = min(scale) if isinstance(scale, (list, tuple, np.ndarray)) else float(scale)
        found = _smallest_scale(size, lambda s: works(scale=s))
        if found is not None:
            advice.append(f"the smallest scale that fits is about {found:.4g}")
    if d.input is not None:
        bits = range(*d.input.legal)
        fitting = bisect_right(bits, False, key=lambda b: not works(input_bits=b, input_range=None))  # what fits, fits a narrower input
        if fitting:
            advice.append(f"input_bits up to {bits[fitting - 1]} fit")
    if "length" in given and isinstance(given["length"], int):
        half = given["length"]
        while half > 1 and not works(length=half):
            half //= 2
        if half < given["length"] and works(length=half):
            advice.append(f"length = {half} fits")
    if given.get("register_bits") == 32:
        if works(register_bits=64):
            advice.append("register_bits=64 fits")
        if not advice[:-1]:
            advice.append(
                f"no scale makes {d.name} of dialect {d.dialect} fit 32-bit registers with this input: {name} needs more by construction"
            )
    return "What mends it: " + "; ".join(advice) if advice else "Nothing among scale, input range and length mends it"


def _smallest_scale(size: float, works: Any) -> float | None:
    """The least scale of four digits above `size` for which `works`; None where none is found up to 2**40 times larger."""
    low = high = size
    for step in (1.05,) * 48 + (2.0,) * 40:  # finely at first: a window of scales may be narrow
        low, high = high, high * step
        if works(high):
            break
    else:
        return None
    while high / low > 1.0001:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if works(middle) else (middle, high)
    digits = 10.0 ** (math.floor(math.log10(high)) - 3)
    rounded = math.ceil(high / digits) * digits
    return rounded if works(rounded) else high


# -------------------------------------------------------------------------------------------------------------- run, trace


def run(plan: Plan, *operands: Any) -> Any:
    """Evaluate an op exactly.

    Parameters
    ----------
    plan : Plan
    *operands : array_like of int
        As listed by ``refsim ops``; any integer dtype. Arrays of Python ints (dtype object) select the carrier that cannot
        overflow. Optional operands (a softmax's mask, a linear layer's bias) may be left out or None.

    Returns
    -------
    numpy.ndarray of int64, or of object for object operands

    Raises
    ------
    DomainError
        An operand of the wrong dtype, shape or range, or a row over its condition; names the operand, the value and what is legal.
    """
    return _evaluate(plan, operands, ("out",))["out"]


def trace(plan: Plan, *operands: Any) -> Any:
    """Evaluate an op exactly and return all its named intermediates, in order, as a NamedTuple; the last is ``out``.

    Parameters, returns and errors as for `run`.
    """
    d = of(plan)
    return d.steps(**_evaluate(plan, operands, tiles.steps_of(d)))


def _evaluate(plan: Plan, operands: tuple[Any, ...], keep: tuple[str, ...]) -> dict[str, Any]:
    d = of(plan)
    checked = check_operands(plan, operands)
    conditions = {name: width for name, (width, condition) in widths(d, plan).items() if condition}

    def check(steps: Any, start: int) -> None:
        for name, width in conditions.items():
            value = getattr(steps, name)
            if value.size and value.max() > width.hi:
                row = start + int(value.reshape(-1).argmax())
                largest = int(value.max())
                where = tiles.row_index(checked[0].shape, row)
                raise tiles.violated(f"{name} of {d.operands[0].name}", largest, f"at most {width.hi} ({width}) in every row", where)

    return tiles.evaluate(d, plan, checked, keep, check)


def check_operands(plan: Plan, operands: tuple[Any, ...]) -> list[Any]:
    """The operands as arrays, proven to lie in the domain of `plan`; None where an optional one is absent."""
    d = of(plan)
    required = sum(not o.optional for o in d.operands)
    if not required <= len(operands) <= len(d.operands):
        raise DomainError("operands", len(operands), f"{plan.op} takes " + ", ".join(o.name for o in d.operands))
    padded = [*operands, *([None] * (len(d.operands) - len(operands)))]
    checked = [_check_values(plan, o, x) for o, x in zip(d.operands, padded, strict=True)]
    _check_shapes(plan, d, checked)
    return checked


def _check_values(plan: Plan, operand: Operand, x: Any) -> Any:
    name = operand.name
    if x is None:
        if operand.optional:
            return None
        raise DomainError(name, None, f"required by {plan.op}")
    try:
        array = np.asarray(x)
    except ValueError:
        raise DomainError(name, "rows of different lengths", "an array") from None
    if array.size == 0 and not isinstance(x, np.ndarray):
        array = array.astype({"bool": np.bool_, "float32": np.float32, "float64": np.float64}.get(operand.kind, np.int64))
    if operand.kind == "bool":
        if array.dtype != np.bool_:
            raise DomainError(name, f"dtype {array.dtype}", "an array of bool (True = keep)")
        return array
    if operand.kind.startswith("float"):
        if array.dtype.kind != "f" or array.dtype.itemsize > np.dtype(operand.kind).itemsize:
            raise DomainError(name, f"dtype {array.dtype}", f"an array of {operand.kind} or a shorter float")
        if not np.isfinite(array).all():
            raise DomainError(name, float(array[~np.isfinite(array)].flat[0]), "finite numbers")
        return array.astype(operand.kind)
    lo, hi = operand.range(plan)
    if array.dtype == object:
        for value in array.flat:
            if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
                raise DomainError(name, value, f"integers from {lo} to {hi}")
        array = np.asarray(np.frompyfunc(int, 1, 1)(array), dtype=object)  # NumPy's own integers would overflow
    elif array.dtype.kind not in "iu":
        raise DomainError(name, f"dtype {array.dtype}", f"an array of integers from {lo} to {hi}")
    if array.size:
        least, greatest = int(array.min()), int(array.max())
        if least < lo or greatest > hi:
            raise DomainError(name, least if least < lo else greatest, f"integers from {lo} to {hi} (the plan's range)")
    return array


def _check_shapes(plan: Plan, d: Definition, arrays_: list[Any]) -> None:
    known: dict[str, int] = {}
    lead: tuple[int, ...] | None = None
    for operand, array in zip(d.operands, arrays_, strict=True):
        if array is None:
            continue
        axes = operand.shape.split()
        batched = axes[0] == "..."
        named = axes[1:] if batched else axes
        shape = array.shape
        if named == ["C"] and plan.channels is None:
            named = []
        if len(shape) < len(named) or (not batched and len(shape) != len(named)):
            raise DomainError(operand.name, f"shape {shape}", f"axes ({operand.shape})")
        for axis, size in zip(named, shape[len(shape) - len(named) :], strict=True):
            expected = _axis_length(plan, axis, known)
            if axis == "L":
                if not 1 <= size <= plan.length:  # type: ignore[attr-defined]
                    raise DomainError(operand.name, f"shape {shape}", f"a last axis of 1 to {plan.length} (the plan's length)")  # type: ignore[attr-defined]
            elif expected is not None and size != expected:
                raise DomainError(operand.name, f"shape {shape}", f"axes ({operand.shape}) with {axis} = {expected}")
            known.setdefault(axis, size)
        if not batched:
            continue
        own = shape[: len(shape) - len(named)]
        if operand.kind == "bool" and lead is not None:
            try:
                if np.broadcast_shapes(shape, arrays_[0].shape) != arrays_[0].shape:
                    raise ValueError
            except ValueError:
                raise DomainError(operand.name, f"shape {shape}", f"a shape that broadcasts to {arrays_[0].shape}") from None
        elif lead is not None and own != lead:
            raise DomainError(operand.name, f"shape {shape}", f"leading axes {lead}, as those of {d.operands[0].name}")
        lead = own if lead is None else lead


def _axis_length(plan: Plan, axis: str, known: dict[str, int]) -> int | None:
    """Length that an axis must have: the plan's field of that name, its channels, or what an earlier operand had."""
    if axis == "C":
        return plan.channels if plan.channels is not None else known.get("C")
    length = getattr(plan, axis, None)
    return length if length is not None else known.get(axis)
