"""ONNX graphs written as expressions: integer tensors with Python's operators, and the exact arithmetic that ONNX has no operator for.

Every tensor is int64 (uint64 behind a shift, bool behind a comparison, binary64 at the float border).
What the standard's operators leave to be watched:

* ``Div`` truncates towards zero, ``Mod`` takes the sign of the divisor: together they floor.
* ``BitShift`` exists for unsigned integers only, and shifts by 64 or more are nobody's business: shifts are at most 63 here.
* ONNX Runtime sums int64 by ``ReduceSum`` in binary64, inexact from 2**53 on (measured with 1.32): sums here are products with ones.
* There is no product of more than 64 bits: `rescaled` forms it in two words.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Number: TypeAlias = Any
"""A tensor of the graph, or a constant: an integer, or an array of them that broadcasts along the last axis."""


class Tensor:
    """A tensor of a graph under construction. Arithmetic is ONNX's: ``/`` truncates, ``%`` has the sign of the divisor."""

    __array_ufunc__ = None  # an array on the left leaves the operation to the tensor

    def __init__(self, graph: Graph, name: str) -> None:
        self.graph: Graph = graph
        self.name: str = name

    def __add__(self, other: Number) -> Tensor:
        return self.graph.node("Add", self, other)

    __radd__ = __add__

    def __sub__(self, other: Number) -> Tensor:
        return self.graph.node("Sub", self, other)

    def __rsub__(self, other: Number) -> Tensor:
        return self.graph.node("Sub", other, self)

    def __mul__(self, other: Number) -> Tensor:
        return self.graph.node("Mul", self, other)

    __rmul__ = __mul__

    def __truediv__(self, other: Number) -> Tensor:
        return self.graph.node("Div", self, other)

    def __rtruediv__(self, other: Number) -> Tensor:
        return self.graph.node("Div", other, self)

    def __mod__(self, other: Number) -> Tensor:
        return self.graph.node("Mod", self, other)

    def __neg__(self) -> Tensor:
        return self.graph.node("Neg", self)

    def __lt__(self, other: Number) -> Tensor:
        return self.graph.node("Less", self, other)

    def __le__(self, other: Number) -> Tensor:
        return self.graph.node("LessOrEqual", self, other)

    def __gt__(self, other: Number) -> Tensor:
        return self.graph.node("Greater", self, other)

    def __ge__(self, other: Number) -> Tensor:
        return self.graph.node("GreaterOrEqual", self, other)

    def equals(self, other: Number) -> Tensor:
        return self.graph.node("Equal", self, other)

    def bits_and(self, other: Number) -> Tensor:
        return self.graph.node("BitwiseAnd", self, other)

    def bits_or(self, other: Number) -> Tensor:
        return self.graph.node("BitwiseOr", self, other)

    def bits_xor(self, other: Number) -> Tensor:
        return self.graph.node("BitwiseXor", self, other)

    def both(self, other: Tensor) -> Tensor:
        return self.graph.node("And", self, other)

    def either(self, other: Tensor) -> Tensor:
        return self.graph.node("Or", self, other)

    def no(self) -> Tensor:
        return self.graph.node("Not", self)

    def cast(self, dtype: str) -> Tensor:
        return self.graph.node("Cast", self, to=helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    @property
    def integer(self) -> Tensor:
        """0 or 1 of a bool; int64 of anything narrower."""
        return self.cast("int64")


class Graph:
    """Nodes and constants, each constant once."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: dict[tuple[str, tuple[int, ...], bytes], Any] = {}

    def tensor(self, value: Number, dtype: str = "int64") -> Tensor:
        """`value` itself, or the initializer that holds it."""
        if isinstance(value, Tensor):
            return value
        array = np.asarray(value, dtype=dtype)
        key = (dtype, array.shape, array.tobytes())
        if key not in self.constants:
            self.constants[key] = numpy_helper.from_array(array, f"c{len(self.constants)}")
        return Tensor(self, self.constants[key].name)

    def node(self, operator: str, *inputs: Number, name: str = "", **attributes: Any) -> Tensor:
        """One operator's (first) output."""
        name = name or f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, [self.tensor(x).name for x in inputs], [name], **attributes))
        return Tensor(self, name)

    def where(self, condition: Tensor | NDArray[Any], yes: Number, no: Number) -> Tensor:
        """`yes` where the condition holds; a constant condition that holds everywhere or nowhere leaves no node."""
        if isinstance(condition, Tensor):
            return self.node("Where", condition, yes, no)
        if condition.all() or not condition.any():
            return self.tensor(yes if condition.all() else no)
        return self.node("Where", self.tensor(condition, "bool"), yes, no)

    def row_sum(self, x: Tensor, length: int | None) -> Tensor:
        """The sum of each row as a product with a column of ones; `length` None where only the run knows it."""
        if length is not None:
            return self.node("MatMul", x, np.ones((length, 1), np.int64))
        column = self.node("Concat", self.node("Shape", x, start=-1), [1], axis=0)
        one = numpy_helper.from_array(np.array([1]), "one")
        return self.node("MatMul", x, self.node("ConstantOfShape", column, value=one))


# ------------------------------------------------------------------------------------------------------------- exact arithmetic


def minimum(a: Tensor, b: Number) -> Tensor:
    return a.graph.node("Min", a, b)


def maximum(a: Tensor, b: Number) -> Tensor:
    return a.graph.node("Max", a, b)


def clip(x: Tensor, lo: int, hi: int) -> Tensor:
    return x.graph.node("Clip", x, lo, hi)


def absolute(x: Tensor) -> Tensor:
    return x.graph.node("Abs", x)


def sign(x: Tensor) -> Tensor:
    return x.graph.node("Sign", x)


def wrapped32(x: Tensor) -> Tensor:
    """The low 32 bits as int32: what the standard says of a cast to fewer bits."""
    return x.cast("int32").integer


def floor_quotient(n: Tensor, d: Number) -> Tensor:
    """n // d for d > 0, with n at least d above the least int64."""
    return n.graph.node("Div", n - n % d, d)


def _shifted(x: Tensor, s: Number, direction: str) -> Tensor:
    amount = s.cast("uint64") if isinstance(s, Tensor) else x.graph.tensor(s, "uint64")
    return x.graph.node("BitShift", x.cast("uint64"), amount, direction=direction).integer


def shift_left(x: Tensor, s: Number) -> Tensor:
    """x * 2**s modulo 2**64, 0 <= s <= 63."""
    return _shifted(x, s, "LEFT")


def shift_right(x: Tensor, s: Number, nonnegative: bool = False) -> Tensor:
    """x // 2**s, 0 <= s <= 63: the complement of a negative x is shifted."""
    if nonnegative:
        return _shifted(x, s, "RIGHT")
    mask = -(x < 0).integer
    return _shifted(x.bits_xor(mask), s, "RIGHT").bits_xor(mask)


def raised(rule: str, q: Tensor, inexact: Tensor, beyond: Tensor, tie: Tensor) -> Tensor:
    """q, the floor of a quotient, or q + 1, by `rule`; `beyond` and `tie` compare the remainder with the middle."""
    if rule == "floor":
        return q
    up = {
        "trunc": lambda: inexact.both(q < 0),
        "half_up": lambda: beyond.either(tie),
        "half_even": lambda: beyond.either(tie.both(q.bits_and(1).equals(1))),
        "half_away": lambda: beyond.either(tie.both(q >= 0)),
    }[rule]()
    return q + up.integer


def rounded_quotient(n: Tensor, d: int | Tensor, rule: str) -> Tensor:
    """n / d for d > 0."""
    r = n % d
    rest = d - r  # compared instead of the doubled remainder
    return raised(rule, (n - r) / d, r > 0, r > rest, r.equals(rest))


def rounded_shift(n: Tensor, s: Number, rule: str) -> Tensor:
    """n / 2**s rounded; a constant s >= 0 of any size, or a tensor of [0, 63] where n >= 0."""
    if isinstance(s, Tensor):
        return _round_at(n, s, shift_left(n.graph.tensor(1), maximum(s - 1, 0)), rule, nonnegative=True)
    s = np.asarray(s)
    if (s > 62).any():  # bits so far down count only as "there is more": one sticky bit stands for them
        extra = np.clip(s - 62, 0, 63)
        kept = shift_right(n, extra)
        more = shift_left(kept, extra).equals(n).no().integer
        n, s = n.graph.where(s > 62, kept.bits_or(more), n), np.minimum(s, 62)
    return n if not s.any() else _round_at(n, s, np.left_shift(1, np.maximum(s - 1, 0)), rule)


def _round_at(n: Tensor, s: Number, half: Number, rule: str, nonnegative: bool = False) -> Tensor:
    """`half` is 2**(s - 1); where s = 0 it is 1, which the remainder 0 does not reach."""
    q = shift_right(n, s, nonnegative)
    r = n - shift_left(q, s)
    return raised(rule, q, r > 0, r > half, r.equals(half))


def rescaled(z: Tensor, largest: int, m: Number, e: Number, rule: str) -> Tensor:
    """z * m / 2**e rounded, exactly: constants |m| <= 2**31 and e, one or one per channel; |z| <= `largest` <= 2**63.

    The result fits int64. A product beyond 62 bits is kept as high * 2**32 + low with 0 <= low < 2**32.
    """
    graph, m, e = z.graph, np.asarray(m), np.asarray(e)
    product = z * m
    exact = shift_left(product, np.clip(-e, 0, 63)) if (e <= 0).any() else product  # modulo 2**64, which the result fits
    if (e <= 0).all():
        return exact
    if largest * int(np.abs(m).max()) < 1 << 62:
        return graph.where(e <= 0, exact, rounded_shift(product, np.maximum(e, 0), rule))
    partial = z.bits_and(0xFFFFFFFF) * m
    high, low = shift_right(z, 32) * m + shift_right(partial, 32), partial.bits_and(0xFFFFFFFF)
    out = exact
    if (e >= 34).any():  # at least two bits of `high` go: all of `low` is one sticky bit
        far = rounded_shift(high.bits_or((low > 0).integer), np.maximum(e - 32, 2), rule)
        out = graph.where(e >= 34, far, out)
    near = (e > 0) & (e < 34)
    if near.any():
        s = np.clip(e, 1, 33)
        from_low, last = np.minimum(s, 32), (s == 33).astype(np.int64)  # e = 33: the last bit to go is the lowest of `high`
        q = shift_left(high, 32 - from_low) + shift_right(low, from_low, nonnegative=True)
        r = low.bits_and(np.left_shift(1, from_low) - 1) + q.bits_and(last) * (1 << 32)
        half = np.left_shift(1, s - 1)
        out = graph.where(near, raised(rule, shift_right(q, last), r > 0, r > half, r.equals(half)), out)
    return out


def root(n: Tensor, bits: int) -> Tensor:
    """The integer square root of 0 <= n < 2**bits, bits <= 62, a bit of the root at a time.

    Before step k: r is a multiple of 2**(k + 1) with r**2 <= n < (r + 2**(k + 1))**2. The step keeps this with k - 1 for k, so that after
    k = 0 it says r**2 <= n < (r + 1)**2. At the start r = 0 and 2**(k + 1) = 2**ceil(bits / 2), whose square is at least 2**bits: so
    ceil(bits / 2) steps suffice, and no (r + 2**k)**2 exceeds 62 bits.
    """
    r: Number = 0
    for k in reversed(range((bits + 1) // 2)):
        t = n.graph.tensor(r + (1 << k))
        r = n.graph.node("Where", t * t <= n, t, r)
    return n.graph.tensor(r)


# ------------------------------------------------------------------------------------------------------------ the float border


def parts(s: Any) -> tuple[Any, Any]:
    """s = mantissa * power of two, 2 <= |mantissa| < 4, so that no mantissa is near 1.

    ONNX Runtime's optimizer takes a product or quotient by a binary64 constant within 2**-24 of 1 for one by 1 and drops it (1.32).
    """
    fraction, exponent = np.frexp(np.asarray(s, dtype=np.float64))
    return fraction * 4, np.ldexp(1.0, exponent - 2)


def scaled(x: Tensor, s: Any) -> Tensor:
    """fl(x * s) for a binary64 constant s; the product by the power of two is exact."""
    return _times(_times(x, parts(s)[0]), parts(s)[1])


def _times(x: Tensor, s: Any) -> Tensor:
    return x * x.graph.tensor(s, "float64")


def _upper(s: Any) -> Any:
    """The upper 26 bits of a binary64 (Veltkamp's splitting), a constant or a tensor; the rest fits 26 bits too."""
    c = _times(s, 2.0**27 + 1) if isinstance(s, Tensor) else s * (2.0**27 + 1)
    return c - (c - s)


def remainder(x: Tensor, y: Tensor, s: Any) -> Tensor:
    """x - y * s, exactly, where y = fl(x / s) is at least 1/2 and nothing over- or underflows; s is a constant.

    Dekker's product: y * s = p + tail without an error. x and p lie within a factor of two, so x - p is exact as well, and so is the last
    difference, since the remainder of a division rounded to nearest is a binary64.
    """
    high, high_s = _upper(y), _upper(s)
    low, low_s = y - high, s - high_s
    p = _times(y, s)
    tail = _times(low, low_s) - (p - _times(high, high_s) - _times(low, high_s) - _times(high, low_s))
    return (x - p) - tail


def integer_quotient(x: Tensor, s: Any, largest: float) -> Tensor:
    """HE(x / s) of a finite binary64 x by a constant s > 0, saturated at +-`largest`, an integer of at most 2**40.

    The division rounds before Round does. Halves being binary64s, it cannot pass one, but it can meet one: a quotient n + 1/2 is a tie only
    where nothing remains, and goes the way of the remainder elsewhere. x saturates first and loses the scale's power of two: nothing
    overflows, and what underflows is far below the first half.
    """
    graph, s = x.graph, np.asarray(s, dtype=np.float64)
    mantissa, power = parts(s)
    x = maximum(minimum(x, graph.tensor(s * largest, "float64")), graph.tensor(s * -largest, "float64"))
    x = _times(x, 1 / power)
    y = x / graph.tensor(mantissa, "float64")
    half = (y - graph.node("Floor", y)).equals(graph.tensor(0.5, "float64"))
    aside = y + _times(sign(remainder(x, y, mantissa)), 0.25)
    return graph.node("Round", graph.where(half, aside, y)).integer


# ----------------------------------------------------------------------------------------------------------- binary32 in integers


def bit_length(n: Tensor) -> Tensor:
    """Bits of 0 <= n < 2**63: how many powers of two it reaches."""
    reached = n.graph.node("Unsqueeze", n, [-1]) >= np.left_shift(1, np.arange(63))
    return n.graph.node("ReduceSum", reached.integer, [-1], keepdims=0)


def significant(n: Tensor) -> tuple[Tensor, Tensor]:
    """n >= 0 as mantissa * 2**exponent with 24 bits, half to even."""
    drop = maximum(bit_length(n) - 24, 0)
    return rounded_shift(n, drop, "half_even"), drop


def float32_integer(x: Tensor) -> Tensor:
    """fl32(x), |x| < 2**62."""
    mantissa, exponent = significant(absolute(x))
    return sign(x) * shift_left(mantissa, exponent)


def rounded_float32(n: Tensor, e: Number, rule: str) -> Tensor:
    """fl32(n * 2**e) rounded, for n >= 0, up to 2**38; what is greater is at least 2**38, beyond any output's width.

    The caller gives the result its sign, so `rule` is one that treats both signs alike.
    """
    if rule not in ("half_even", "half_away", "half_zero", "trunc"):
        raise ValueError(f"{rule} rounds a negative number otherwise than its magnitude")
    mantissa, exponent = significant(n)
    exponent = exponent + e
    return rounded_shift(shift_left(mantissa, clip(exponent, 0, 38)), clip(-exponent, 0, 62), rule)
