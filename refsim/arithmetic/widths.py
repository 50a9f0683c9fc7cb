"""Integer widths, what they hold, and the two ways hardware forces a value into one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

Ints: TypeAlias = Any
"""Integers on any carrier: int64 array, object array of Python ints, or an interval."""


@dataclass(frozen=True, slots=True)
class Signed:
    """Two's complement integers of `bits` bits."""

    bits: int

    @property
    def lo(self) -> int:
        return -(1 << (self.bits - 1))

    @property
    def hi(self) -> int:
        return (1 << (self.bits - 1)) - 1

    def __str__(self) -> str:
        return f"int{self.bits}"

    def resolve(self, plan: Any) -> Width:
        """Itself, under any plan."""
        return self


@dataclass(frozen=True, slots=True)
class Unsigned:
    """Unsigned integers of `bits` bits."""

    bits: int

    @property
    def lo(self) -> int:
        return 0

    @property
    def hi(self) -> int:
        return (1 << self.bits) - 1

    def __str__(self) -> str:
        return f"uint{self.bits}"

    def resolve(self, plan: Any) -> Width:
        """Itself, under any plan."""
        return self


Width: TypeAlias = Signed | Unsigned


@dataclass(frozen=True, slots=True)
class Register:
    """As wide as the plan's registers (``register_bits``), signed."""

    def __str__(self) -> str:
        return "int of register_bits"

    def resolve(self, plan: Any) -> Width:
        return Signed(plan.register_bits)


@dataclass(frozen=True, slots=True)
class Output:
    """As wide as the plan's output (``output_bits`` + `extra`); signed as the plan says (``output_signed``) where `signed` is None."""

    signed: bool | None = True
    extra: int = 0

    def __str__(self) -> str:
        kind = {True: "int", False: "uint", None: "int or uint"}[self.signed]
        return f"{kind} of output_bits" + (f" + {self.extra}" if self.extra else "")

    def resolve(self, plan: Any) -> Width:
        bits = plan.output_bits + self.extra
        return Signed(bits) if (plan.output_signed if self.signed is None else self.signed) else Unsigned(bits)


@dataclass(frozen=True, slots=True)
class Accumulator:
    """As wide as the plan's accumulators (``accumulator_bits``), signed."""

    def __str__(self) -> str:
        return "int of accumulator_bits"

    def resolve(self, plan: Any) -> Width:
        return Signed(plan.accumulator_bits)


@dataclass(frozen=True, slots=True)
class Condition:
    """A width that intervals cannot prove: a condition on the row, checked on the data of each run."""

    width: Width

    def __str__(self) -> str:
        return f"{self.width}, a condition on the row"

    def resolve(self, plan: Any) -> Width:
        return self.width


@dataclass(frozen=True, slots=True)
class Real:
    """Not an integer: the result of crossing the float boundary."""

    def __str__(self) -> str:
        return "binary64"


def fits(width: Width, lo: int, hi: int) -> bool:
    """Whether every integer of [lo, hi] is one of `width`."""
    return width.lo <= lo and hi <= width.hi


def bits_needed(lo: int, hi: int, signed: bool) -> int:
    """Bits of the narrowest integer type, signed or not, that holds [lo, hi]; unsigned needs lo >= 0."""
    if signed:
        return 1 + max((lo if lo >= 0 else ~lo).bit_length(), (hi if hi >= 0 else ~hi).bit_length())
    return max(1, hi.bit_length())


def saturate(x: Ints, width: Width) -> Ints:
    """The nearest integer of `width`."""
    return np.clip(x, width.lo, width.hi)


def wrap(x: Ints, width: Width) -> Ints:
    """The integer of `width` that equals x modulo 2**bits: what a register keeps of a longer result."""
    return np.remainder(x - width.lo, 1 << width.bits) + width.lo
