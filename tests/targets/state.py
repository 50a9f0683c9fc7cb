"""Targets whose arithmetic is right for a first launch of contiguous operands, and that go wrong by what they keep or take for granted."""

from typing import Any

import numpy as np

import refsim
from refsim.ops.base import Plan


class Stateful:
    """Every op of I-BERT; `answer` is the mistake."""

    DIALECTS = ("ibert",)

    def __init__(self) -> None:
        from refsim import registry

        for op in registry.names():
            setattr(self, op, self._op)
        self.calls = 0
        self.kept: dict[Any, Any] = {}

    def _op(self, *arguments: Any) -> Any:
        *operands, plan = arguments
        self.calls += 1
        return self.answer(plan, operands)

    def answer(self, plan: Plan, operands: list[Any]) -> Any:
        return refsim.run(plan, *operands)

    @staticmethod
    def shapes(operands: list[Any]) -> Any:
        return tuple(None if x is None else np.shape(x) for x in operands)


def legal(plan: Plan, operands: list[Any], otherwise: Plan) -> Any:
    """The operands under a plan, or under another one where they are none of its domain."""
    try:
        return refsim.run(plan, *operands)
    except refsim.RefsimError:
        return refsim.run(otherwise, *operands)


class StalePlan(Stateful):
    """Uploads the constants once for each shape."""

    def answer(self, plan: Plan, operands: list[Any]) -> Any:
        stale = self.kept.setdefault((plan.op, self.shapes(operands)), plan)
        return legal(stale, operands, plan)


class StaleResult(Stateful):
    """Keeps a result by the shapes of the operands."""

    def answer(self, plan: Plan, operands: list[Any]) -> Any:
        key = (plan, self.shapes(operands))
        return self.kept.setdefault(key, refsim.run(plan, *operands))


class StaleByOperands(Stateful):
    """Keeps a result by the operands, whatever the plan."""

    def answer(self, plan: Plan, operands: list[Any]) -> Any:
        key = (plan.op, tuple(None if x is None else (x.shape, x.tobytes()) for x in operands))
        return self.kept.setdefault(key, refsim.run(plan, *operands))


class StaleConstant(Stateful):
    """Notices a new plan by the first of its integers only."""

    def answer(self, plan: Plan, operands: list[Any]) -> Any:
        numbers = [(k, v) for k, v in plan.numbers().items() if not isinstance(v, (float, str, bool)) and "range" not in k]
        key = (plan.op, plan.input_range, numbers[0] if numbers else None, self.shapes(operands))
        return legal(self.kept.setdefault(key, plan), operands, plan)


class StaleChannel(Stateful):
    """Notices a new plan by the constants of its first channel."""

    def answer(self, plan: Plan, operands: list[Any]) -> Any:
        if plan.channels is None:
            return refsim.run(plan, *operands)
        key = (plan.op, plan.input_range, plan.channels, *(v[0] if isinstance(v, tuple) else v for _, v in plan.parameters))
        return legal(self.kept.setdefault(key, plan), operands, plan)


class Buffers(Stateful):
    """Keeps an output as large as the first one."""

    def answer(self, plan: Plan, operands: list[Any]) -> Any:
        out = np.array(refsim.run(plan, *operands))
        size = self.kept.setdefault((plan, "size"), out.size)
        out.reshape(-1)[size:] = 0
        return out


class StaleMask(Stateful):
    """Keeps an optional operand where the next launch has none."""

    def answer(self, plan: Plan, operands: list[Any]) -> Any:
        for i, x in enumerate(operands):
            key = (plan, i, self.shapes(operands[:1]))
            if x is not None:
                self.kept[key] = np.array(x)
            operands[i] = self.kept.get(key, x)
        return refsim.run(plan, *operands)


class Zeros(Stateful):
    """Takes every operand but the first for contiguous where it has a stride of 0."""

    first = 1

    def answer(self, plan: Plan, operands: list[Any]) -> Any:
        return refsim.run(plan, *(x if i < self.first else contiguous(x) for i, x in enumerate(operands)))


class ZerosOfFirst(Zeros):
    """Takes the first operand, too, for contiguous."""

    first = 0


def contiguous(x: Any) -> Any:
    """What lies behind the address of an operand with a stride of 0."""
    if x is None or not any(step == 0 and n > 1 for step, n in zip(x.strides, x.shape, strict=True)):
        return x
    strides = np.empty(x.shape, dtype=np.int8).strides
    wrong = np.lib.stride_tricks.as_strided(x, strides=tuple(s * x.itemsize for s in strides)).copy()
    return wrong


class Negative(Stateful):
    """Takes strides without their sign."""

    def answer(self, plan: Plan, operands: list[Any]) -> Any:
        return refsim.run(plan, *(x if x is None else x[tuple(slice(None, None, -1 if s < 0 else 1) for s in x.strides)] for x in operands))


class SharedStrides(Stateful):
    """Reads every operand in the order of the first one's memory."""

    def answer(self, plan: Plan, operands: list[Any]) -> Any:
        order = np.argsort([-abs(s) for s in operands[0].strides], kind="stable")
        made = [operands[0]]
        for x in operands[1:]:
            alike = x is not None and x.shape == operands[0].shape
            own = None if not alike else np.argsort([-abs(s) for s in x.strides], kind="stable")
            made.append(x.transpose(order).reshape(x.shape) if alike and list(own) != list(order) else x)
        return refsim.run(plan, *made)


class Misaligned(Stateful):
    """Loads whole words: an address is rounded down to a multiple of 4."""

    def answer(self, plan: Plan, operands: list[Any]) -> Any:
        return refsim.run(plan, *(x if x is None or x.ctypes.data % 4 == 0 else np.roll(x, 1) for x in operands))


class InPlace(Stateful):
    """Clears its first operand for a moment, and restores it."""

    def answer(self, plan: Plan, operands: list[Any]) -> Any:
        out = refsim.run(plan, *operands)
        kept = operands[0].copy()
        operands[0][...] = 0
        operands[0][...] = kept
        return out


class Sometimes(Stateful):
    """Wrong in one of `period` launches."""

    period = 7

    def answer(self, plan: Plan, operands: list[Any]) -> Any:
        out = np.array(refsim.run(plan, *operands))
        if self.calls % self.period == 0 and out.size:
            out.reshape(-1)[0] += 1
        return out


class Rarely(Sometimes):
    """Wrong once in a hundred launches."""

    period = 100


class Once(Sometimes):
    """Wrong in its fortieth launch, and never again."""

    def answer(self, plan: Plan, operands: list[Any]) -> Any:
        out = np.array(refsim.run(plan, *operands))
        if self.calls == 40 and out.size:
            out.reshape(-1)[0] += 1
        return out


stale_plan, stale_result, stale_by_operands, stale_constant = StalePlan(), StaleResult(), StaleByOperands(), StaleConstant()
stale_channel, buffers, stale_mask, zeros, zeros_of_first = StaleChannel(), Buffers(), StaleMask(), Zeros(), ZerosOfFirst()
negative, shared_strides, misaligned, in_place = Negative(), SharedStrides(), Misaligned(), InPlace()
sometimes, rarely, once = Sometimes(), Rarely(), Once()
