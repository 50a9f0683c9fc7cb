"""One golden case: a launch with everything that the simulator makes of it; how it is written down and read back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .. import plans, registry, verbs
from ..errors import ContentError, PlanError, WidthError
from ..ops.base import Plan, intermediate
from . import form
from .form import Malformed

Remake: TypeAlias = Callable[[str, str, dict[str, Any]], Plan]
"""Makes a plan from an op, a dialect and parameters."""


@dataclass(frozen=True, slots=True)
class Case:
    """One launch.

    Attributes
    ----------
    id : str
        ``op/dialect/family/name``.
    tags : tuple of str
    plan : Plan
    operands : list of numpy.ndarray or None
        In the order of the op, in the smallest type that holds the declared range.
    steps : dict of str to numpy.ndarray
        Every named intermediate in order; the last is ``out``.
    """

    id: str
    tags: tuple[str, ...]
    plan: Plan
    operands: list[NDArray[Any] | None]
    steps: dict[str, NDArray[Any]]

    @property
    def out(self) -> NDArray[Any]:
        return self.steps["out"]


def plan_record(plan: Plan) -> dict[str, Any]:
    """A plan as JSON."""
    return {
        "op": plan.op,
        "dialect": plan.dialect,
        "parameters": {name: form.scalar(value) for name, value in plan.parameters},
        "constants": plan.constants,
        "register_bits": plan.register_bits,
        "input_range": form.scalar(plan.input_range),
        "integers": {name: plan_record(v) if isinstance(v, Plan) else form.scalar(v) for name, v in plan.integers().items()},
    }


def case_of(id: str, tags: tuple[str, ...], plan: Plan, operands: list[Any]) -> Case:
    """A case with what the simulator makes of it."""
    d = registry.of(plan)
    kept = [
        None if x is None else np.ascontiguousarray(x).reshape(np.shape(x)).astype(form.operand_dtype(plan, o))
        for o, x in zip(d.operands, [*operands, *([None] * (len(d.operands) - len(operands)))], strict=True)
    ]
    steps = verbs.trace(plan, *operands)  # the operands as they were made, so that a narrowing that loses something is seen
    for operand, narrow, wide in zip(d.operands, kept, operands, strict=False):
        if narrow is not None and not np.array_equal(narrow, wide):
            raise ContentError(f"{id}: {operand.name} does not fit {narrow.dtype}")
    dtypes = form.step_dtypes(d, plan)
    return Case(id, tags, plan, kept, {name: intermediate(steps, name).astype(dtype) for name, dtype in dtypes.items()})


def encode(case: Case) -> tuple[bytes, tuple[str, bytes] | None]:
    """A case as its line, and the name and the bytes of its ``.npz`` file if it needs one."""
    op, _, family, name = case.id.split("/")
    file = f"{op}.{family}.{name}.npz"
    large: dict[str, NDArray[Any]] = {}
    operands = {
        o.name: None if x is None else form.written(x, f"operands.{o.name}", file, large)
        for o, x in zip(registry.of(case.plan).operands, case.operands, strict=True)
    }
    steps = {n: form.written(x, f"steps.{n}", file, large) for n, x in case.steps.items() if n != "out"}
    record = {
        "id": case.id,
        "tags": list(case.tags),
        "plan": plan_record(case.plan),
        "operands": operands,
        "steps": steps,
        "out": form.written(case.out, "out", file, large),
    }
    return form.line(record), (file, form.archive(large)) if large else None


def decode(record: dict[str, Any], large: Mapping[str, NDArray[Any]], remake: Remake | None = None) -> Case:
    """The inverse of `encode`, from a record that conforms to the schema; `large` holds the tensors of the ``.npz`` file.

    The plan is made again by `remake`, by default without a proof of its widths, and has to be the one that is written down.
    """
    plan = remade(record["plan"], remake or plans.unproven)
    d = registry.of(plan)
    operands = []
    if list(record["operands"]) != [o.name for o in d.operands]:
        raise Malformed(f"operands {', '.join(record['operands'])}, not {', '.join(o.name for o in d.operands)}")
    for operand in d.operands:
        value = record["operands"][operand.name]
        if value is not None and value["dtype"] != form.operand_dtype(plan, operand):
            raise Malformed(f"operand {operand.name} of type {value['dtype']}, not {form.operand_dtype(plan, operand)}")
        operands.append(None if value is None else _tensor(f"operands.{operand.name}", value, large))
    kept = form.step_dtypes(d, plan)
    written = {**record["steps"], "out": record["out"]}
    if list(written) != list(kept):
        raise Malformed(f"intermediates {', '.join(written)}, not {', '.join(kept)}")
    steps = {}
    for name, dtype in kept.items():
        if written[name]["dtype"] != dtype:
            raise Malformed(f"{name} of type {written[name]['dtype']}, not {dtype}")
        steps[name] = _tensor("out" if name == "out" else f"steps.{name}", written[name], large)
    return Case(record["id"], tuple(record["tags"]), plan, operands, steps)


def _tensor(name: str, record: Mapping[str, Any], large: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    if record.get("member", name) != name:
        raise Malformed(f"{name} names the member {record['member']}")
    try:
        return form.read(record, large)
    except Malformed as error:
        raise Malformed(f"{name}: {error}") from None


def remade(record: dict[str, Any], remake: Remake = plans.unproven) -> Plan:
    """The plan of a `plan_record`, made again and proven to be the one that is written down."""
    given = {name: form.unscalar(value) for name, value in record["parameters"].items()}
    try:
        plan = remake(record["op"], record["dialect"], given)
    except WidthError as error:  # said without its remedy, which takes a search
        raise Malformed(f"no plan: {error.intermediate} does not fit {error.declared}") from None
    except PlanError as error:
        raise Malformed(f"no plan: {error!s:.300}") from None
    if plan_record(plan) != record:
        expected = plan_record(plan)
        wrong = [k for k in expected if expected[k] != record[k]]
        if wrong == ["integers"]:
            ours, theirs = expected["integers"], record["integers"]
            wrong = [k for k in {**ours, **theirs} if ours.get(k) != theirs.get(k)]
        raise Malformed(f"the plan's {', '.join(wrong)} is not what its parameters make")
    return plan
