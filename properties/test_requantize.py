"""Conformance of requantisation."""

from fractions import Fraction

import numpy as np

from refsim.conformance import laws
from refsim.conformance.laws import law, premise, remade, require
from refsim.ops.rescalings import RESCALINGS

OP = "requantize"


class Exact:
    """The real q*s + zero_point of a plan's own integers as num / den, before any rounding.

    Attributes
    ----------
    num, den, size : numpy.ndarray of Python ints
        size = |q*s| * den.
    lo, hi : int
        Ends of the output's range.
    plain : numpy.ndarray of bool
        Where no intermediate of the rule wraps, nor its output. Beyond, none of the laws holds of it. For example, at s = 1 and 32 bits of
        output gemmlowp_double takes 2**30 - 1 to itself and 2**30 to -2**30, pulp_floor 2**23 to -2**23.
    """

    def __init__(self, plan, q):
        q, m, shift = (np.asarray(x).astype(object) for x in (q, plan.multiplier, plan.shift))
        one = np.frompyfunc(lambda e: 1 << max(int(e), 0), 1, 1)
        rule = RESCALINGS[plan.rule]
        if rule.arithmetic.divides:
            num, self.den = q * one(shift), m * one(-shift)
        else:
            num, self.den = (q * m + plan.addend) * one(-shift), one(shift)
        self.size, self.num = abs(num), num + plan.zero_point * self.den
        self.lo, self.hi = (
            (-(1 << (plan.output_bits - 1)), (1 << (plan.output_bits - 1)) - 1) if plan.output_signed else (0, (1 << plan.output_bits) - 1)
        )
        self.plain = np.ones(self.num.shape, dtype=bool)
        if rule.arithmetic.wrapping is not None:
            inner = rule.arithmetic.wrapping(q, m, shift, plan.addend)
            self.plain &= ((inner >= -(1 << 31)) & (inner < 1 << 31)).astype(bool)
        if rule.wraps:
            self.plain &= ((self.lo * self.den <= self.num) & (self.num < (self.hi + 1) * self.den)).astype(bool)

    def slack(self, plan):
        """(1 + 2**-24)**2 - 1 of the real where it passes binary32 twice, in units of 1 / (den * 2**48)."""
        return self.size * ((1 << 25) + 1) if in_binary32(plan) else 0 * self.size


def in_binary32(plan):
    """Whether the rule rounds to binary32 on its way."""
    return RESCALINGS[plan.rule].arithmetic.product == "binary32"


@law
def test_monotone(evaluate, plan, operands):
    """q <= r implies out(q) <= out(r), or >= where s < 0; for every rule as long as nothing wraps in it."""
    q = np.sort(laws.flattened(plan, operands)[0], axis=0)
    out, plain = evaluate(q), Exact(plan, q).plain
    rising = (out[1:] - out[:-1]) * np.sign(np.asarray(plan.multiplier)) >= 0
    require(~plain[1:] | ~plain[:-1] | rising, q=q[:-1], r=q[1:], out=out[:-1], out_above=out[1:])


@law
def test_bound(evaluate, plan, operands):
    """|out - x| <= bound with x = q*s + zero_point (s = multiplier / 2**shift) clipped to the output's range:

    1/2                          the rules that round once, to nearest
    1/2 + 2**(30 - shift)        those that round twice, where shift > 31
    1/2 + |q*s|*(2**-23 + 2**-48)  those that pass binary32 (two roundings to it before the last)
    < 1 and out <= x             those that floor
    < 1 and |out| <= |x|         those that truncate (zero point apart)

    as long as nothing wraps."""
    q = operands[0]
    out, exact = evaluate(q), Exact(plan, q)
    den = exact.den
    real = np.clip(exact.num, exact.lo * den, exact.hi * den)
    error = out.astype(object) * den - real
    rounding = RESCALINGS[plan.rule].rounding
    if rounding.last == "floor":
        holds = (-den < error) & (error <= 0)
    elif rounding.last == "trunc":
        toward = np.sign(real - plan.zero_point * den)
        holds = (abs(error) < den) & (error * toward <= 0)
    elif rounding.twice:
        shift = np.maximum(np.asarray(plan.shift), 31).astype(object)
        more = np.where(shift > 31, 1, 0).astype(object)
        holds = 2 * abs(error) << (shift - 31) <= den * ((1 << (shift - 31)) + more)
    else:
        holds = (2 * abs(error) - den) << 48 <= 2 * exact.slack(plan)
    require(~exact.plain | holds.astype(bool), q=q, out=out, numerator=real, denominator=den)


@law
def test_saturates(evaluate, plan, operands):
    """lo <= out <= hi; q*s + zero_point >= hi implies out = hi, q*s + zero_point <= lo implies out = lo (for the rules that pass binary32:
    by their slack beyond). At the least q that reach an end, one less, and the ends of the input's range."""
    premise(not RESCALINGS[plan.rule].wraps)
    (q,) = operands
    least, greatest = plan.input_range
    exact, edges = Exact(plan, np.zeros(plan.channels or 1, dtype=np.int64)), []
    for column in range(plan.channels or 1):
        m, shift = (int(np.broadcast_to(x, plan.channels or 1)[column]) for x in (plan.multiplier, plan.shift))
        ratio = Fraction(m) / Fraction(2) ** shift if m else Fraction(1)
        ratio = 1 / ratio if RESCALINGS[plan.rule].arithmetic.divides else ratio
        reached = [(end - plan.zero_point) / ratio for end in (exact.lo, exact.hi)]
        edges.append([min(max(int(x) + step, least), greatest) for x in reached for step in (-1, 0, 1)] + [least, greatest])
    edge = np.array(edges).T.reshape((-1, plan.channels) if plan.channels else -1)
    q = np.concatenate([edge, laws.flattened(plan, operands)[0]])
    out, exact = evaluate(q), Exact(plan, q)
    require((exact.lo <= out) & (out <= exact.hi), q=q, out=out)
    num, den, slack = exact.num << 48, exact.den << 48, exact.slack(plan)
    above, below = num - slack >= exact.hi * den, num + slack <= exact.lo * den
    require(~(exact.plain & above.astype(bool)) | (out == exact.hi), q=q, out=out)
    require(~(exact.plain & below.astype(bool)) | (out == exact.lo), q=q, out=out)


@law
def test_identity(evaluate, plan, operands):
    """scale_in = scale_out implies out = clip(q + zero_point), without addend and as long as nothing wraps; for the rules that pass
    binary32, where |q| <= 2**24."""
    (q,) = operands
    scale = float(np.float32(plan.scale_out))
    q = laws.flattened(plan, operands)[0].reshape(-1)
    one = remade(plan, scale_in=scale, scale_out=scale, addend=0)
    out, exact = evaluate(q, plan=one), Exact(one, q)
    plain = exact.plain & (np.abs(q) <= 1 << 24) if in_binary32(plan) else exact.plain
    require(~plain | (out == np.clip(q + plan.zero_point, exact.lo, exact.hi)), q=q, out=out)


@law
def test_odd(evaluate, plan, operands):
    """out(-q) = -out(q) without zero point and addend, but for the one integer that the output has more below 0; for the rules that
    treat both signs alike. (gemmlowp_double and tosa_double_round look as if they did, and do not at a tie of their first rounding.)"""
    premise(RESCALINGS[plan.rule].odd)
    even_handed = remade(plan, zero_point=0, addend=0, output_signed=True)
    hi = (1 << (plan.output_bits - 1)) - 1
    q = np.maximum(operands[0], -plan.input_range[1])
    out, mirrored = evaluate(np.stack([q, -q]), plan=even_handed)
    require(np.maximum(mirrored, -hi) == np.minimum(-out, hi), q=q, out=out, mirrored=mirrored)
