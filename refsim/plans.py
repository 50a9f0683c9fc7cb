"""From real scales to a plan whose widths are proven, and what mends one whose widths are not."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Generic, TypeVar

import numpy as np

from .certificates import certificate, proven_out, require_fit
from .errors import PlanError, UsageError, WidthError
from .ops.base import Definition, Plan
from .ops.parameters import CONSTANTS, REGISTER_BITS, Parameter, Scales
from .registry import definition, of, parameters

Kept = TypeVar("Kept")

_HEAD = ("constants", "register_bits", "input_bits", "input_range")


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
    try:
        made = unproven(op, dialect, given)
        require_fit(made)
    except WidthError as error:
        name = error.intermediate
        error.mended_by(lambda: _remedy(definition(op, dialect), given, name))
        raise
    return made


class ByPlan(Generic[Kept]):
    """A function of a plan and other hashable things whose results are kept, up to `size` of them.

    The same object is found by its identity: the scales of all channels take longer to hash than a small launch to compute.
    """

    def __init__(self, function: Callable[..., Kept], size: int) -> None:
        self._by_value, self._size = lru_cache(maxsize=size)(function), size
        self._found: dict[tuple[Any, ...], tuple[Plan, Kept]] = {}

    def __call__(self, plan: Plan, *more: Any) -> Kept:
        key = (id(plan), *more)
        known = self._found.get(key)
        if known is None:
            if len(self._found) >= self._size:
                self._found.clear()
            known = self._found[key] = plan, self._by_value(plan, *more)  # as long as the plan is kept, no other has its identity
        return known[1]

    def cache_clear(self) -> None:
        """Forget all results."""
        self._found.clear()
        self._by_value.cache_clear()


def by_plan(size: int) -> Callable[[Callable[..., Kept]], ByPlan[Kept]]:
    """Keep the results of the decorated function."""
    return lambda function: ByPlan(function, size)


reach = by_plan(1024)(proven_out)
"""What is proven of a plan's result: the least and the greatest integer that it may be."""


def as_typed(op: str, dialect: str, given: dict[str, Any]) -> Plan:
    """As `plan`, for a command line.

    Raises
    ------
    UsageError
        A parameter that the op does not have; one that it needs, with an example of what to type.
    PlanError
        An illegal value.
    """
    d = definition(op, dialect)
    legal = parameters(d)
    for name in given:
        if name not in legal:
            raise UsageError(f"{op} has no parameter {name!r}; it has {', '.join(legal)}")
    own = d.given.names if d.given is not None else ()
    left = own if d.given is None or not set(own) & set(given) else d.given.replaces
    lacking = [p for name, p in legal.items() if p.required and name not in given and name not in left]
    if lacking:
        words = " and ".join(f"--{p.name.replace('_', '-')} ({p.text}, e.g. {p.example})" for p in lacking)
        raise UsageError(f"{op} needs {words}")
    return plan(op, dialect=dialect, **given)


def unproven(op: str, dialect: str, given: dict[str, Any]) -> Plan:
    """A plan whose widths nobody has proven yet."""
    d = definition(op, dialect)
    legal = parameters(d)
    for name in given:
        if name not in legal:
            raise PlanError(f"{op} parameter", name, "one of " + ", ".join(legal))
    given = {name: freeze(value) for name, value in given.items()}
    head = {
        "op": op,
        "dialect": dialect,
        "parameters": tuple(sorted((k, v) for k, v in given.items() if v is not None)),
        "constants": CONSTANTS.checked(given),
        "register_bits": REGISTER_BITS.checked(given),
        "input_range": _input_range(d, given),
    }
    make, own = _maker(d, given)
    return make(head, **{p.name: p.checked(given) for p in own if p.name not in _HEAD})


def _maker(d: Definition, given: dict[str, Any]) -> tuple[Callable[..., Plan], list[Parameter]]:
    """What makes the plan, and the parameters that it takes: the real ones, or the given integers and the rest."""
    integers = [] if d.given is None else [name for name in d.given.names if name in given]
    if d.given is None or not integers:
        return d.make, list(d.parameters)
    for name in d.given.replaces:
        if given.get(name) is not None:
            raise PlanError(name, given[name], f"not given beside {', '.join(integers)}, which stand for it")
    return d.given.make, [*(p for p in d.parameters if p.name not in d.given.replaces), *d.given.parameters]


def freeze(value: Any) -> Any:
    """A parameter as plans keep it: plain Python numbers, tuples for sequences."""
    if isinstance(value, (np.ndarray, np.generic)):
        value = value.tolist()
    return tuple(freeze(v) for v in value) if isinstance(value, (list, tuple)) else value


def _input_range(d: Definition, given: dict[str, Any]) -> tuple[int, int]:
    if d.input is None:
        return 0, 0
    pair = d.input.range.checked(given)
    if pair is None:
        return d.input.bounds(d.input.legal(d.input.default if given.get(d.input.name) is None else given[d.input.name]))
    if given.get(d.input.name) is not None:
        raise PlanError("input_range", pair, f"given without {d.input.name}")
    lo, hi = pair
    return lo, hi


def call(plan: Plan) -> str:
    """The plan as the call that makes it, without parameters at their defaults."""
    legal = parameters(of(plan))
    given = "".join(f", {name}={value!r}" for name, value in plan.parameters if value != legal[name].default)
    return f'refsim.plan("{plan.op}", dialect="{plan.dialect}"{given})'


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
        bits = range(*d.input.widths)
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
        if not advice[:-1] and not (d.given and any(n in given for n in d.given.names)):
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
