"""The largest error of an approximating function on real numbers, proven: an enclosure, by ball arithmetic (python-flint's Arb).

Every number is a ball, a midpoint with a radius that holds all that rounding may have done. The error of an operation at an infinitely
fine scale consists of smooth pieces. Each is halved, box by box: the Taylor series of the error at the middle of a box, with the second
derivative over all of the box, bounds what the error reaches there, and its value in the middle is what it does reach. A box that
cannot hold the largest error is dropped; where the error provably rises or falls throughout, its ends decide. What is left shrinks until
the two bounds agree to `DIGITS` digits.

Unlike `reference.supremum`, which samples, nothing is taken on trust: not where the peaks are, nor how the library rounds.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from importlib import import_module
from itertools import count
from typing import Any, TypeAlias

from ..errors import DomainError, MissingExtraError, PlanError
from ..ops.erf import i_erf_ibert, i_erf_paper, pair
from ..ops.exp import CONST, X0, code_reals, i_exp_ibert, i_exp_paper, paper_reals
from ..ops.gelu import ROOT2, i_gelu_ibert, i_gelu_paper
from ..registry import definition, parameters

DIGITS = 12
"""Decimal digits to which the bounds agree."""
PRECISION = 160
"""Bits of a ball's midpoint."""

Ball: TypeAlias = Any
"""A real or complex ball, or a power series of balls: what an error is evaluated on."""


@dataclass(frozen=True, slots=True)
class Enclosure:
    """A real number, proven to lie in [low, high].

    Attributes
    ----------
    low, high : float
    at : float
        Where the largest error stands, to about the root of the accuracy of its size (of an RMS: nowhere, nan). Of an even or odd
        error, which has two such places, the positive one.
    """

    low: float
    high: float
    at: float = math.nan

    @property
    def value(self) -> float:
        """The middle."""
        return (self.low + self.high) / 2

    def text(self, digits: int = 9) -> str:
        """Rounded to so many decimals, all of which are proven.

        Raises
        ------
        ArithmeticError
            The two ends round to different numbers.
        """
        low, high = f"{self.low:.{digits}f}", f"{self.high:.{digits}f}"
        if low != high:
            raise ArithmeticError(f"{digits} decimals are not proven: between {low} and {high}")
        return low


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch on which the error is smooth.

    Attributes
    ----------
    lo, hi : ball
    error : callable
        Approximation less function, of a ball or of a power series of balls.
    """

    lo: Ball
    hi: Ball
    error: Callable[[Ball], Ball]


@dataclass(frozen=True, slots=True)
class Curve:
    """The error of an operation on all real numbers of its domain.

    Attributes
    ----------
    pieces : tuple of Piece
        In order away from zero. What lies beyond the last is nowhere larger than at its end: the maker of the curve proves it.
    mirrored : bool
        Whether the error has the same size at -x, which the pieces leave out.
    tail : int
        The first piece beyond the clip, where the approximation is as simple as it gets; how many there are, where there is no clip.
    """

    pieces: tuple[Piece, ...]
    mirrored: bool
    tail: int


def flint() -> Any:
    """The library of ball arithmetic; a MissingExtraError where it is not installed."""
    try:
        return import_module("flint")
    except ModuleNotFoundError as error:
        raise MissingExtraError("python-flint", "analysis") from error


# ------------------------------------------------------------------------------------------------------------------ the engine


def supremum(pieces: Sequence[Piece], digits: int = DIGITS) -> Enclosure:
    """The largest |error| of some pieces.

    Parameters
    ----------
    pieces : sequence of Piece
    digits : int
        To which the bounds agree, relative to the error; at most 15, since they are floats.
    """
    library = flint()
    with library.ctx.workprec(PRECISION):
        low, at, ceiling = 0.0, math.nan, 0.0
        boxes: list[tuple[float, int, Piece, float, float]] = []
        number = count()

        def reached(piece: Piece, t: float) -> float:
            """Note what the error reaches at a place, which the largest is not below; an upper bound of it there."""
            nonlocal low, at
            x = piece.lo + (piece.hi - piece.lo) * t
            value = piece.error(x)
            least, most = _down(value.abs_lower()), _up(value.abs_upper())
            if least > low or math.isnan(at):
                low, at = least, float(x.mid())
            return most

        def add(piece: Piece, left: float, right: float) -> None:
            middle, half = (left + right) / 2, (right - left) / 2
            length = piece.hi - piece.lo
            around = piece.error(library.arb_series([piece.lo + length * library.arb(middle, half), length], prec=3))
            slope, bend = around[1], around[2]
            if not slope.contains(0):  # it rises, or falls, throughout: its ends are those of its neighbours, or of the piece
                return
            reached(piece, middle)
            there = piece.error(library.arb_series([piece.lo + length * middle, length], prec=2))
            most = _up(there[0].abs_upper() + there[1].abs_upper() * half + bend.abs_upper() * half * half)
            heapq.heappush(boxes, (-min(most, _up(around[0].abs_upper())), next(number), piece, left, right))

        for piece in pieces:  # where the largest error is inside of one, its slope is 0: that box is never dropped
            for t in (0.0, 1.0):
                ceiling = max(ceiling, reached(piece, t))
            for k in range(8):
                add(piece, k / 8, (k + 1) / 8)
        while boxes and -boxes[0][0] > low * (1 + 10.0**-digits):
            _, _, piece, left, right = heapq.heappop(boxes)
            middle = (left + right) / 2
            if not left < middle < right:
                raise ArithmeticError(f"the largest error is not found to {digits} digits with {PRECISION} bits")
            add(piece, left, middle)
            add(piece, middle, right)
        return Enclosure(low, max(ceiling, -boxes[0][0] if boxes else 0.0), at)


def root_mean_square(pieces: Sequence[Piece]) -> Enclosure:
    """The root of the mean square of the error over some pieces, by rigorous integration."""
    library = flint()
    with library.ctx.workprec(PRECISION):
        total = length = library.arb(0)
        for piece in pieces:
            total += library.acb.integral(lambda x, _, error=piece.error: error(x) ** 2, piece.lo, piece.hi, rel_tol=2.0**-60).real
            length += piece.hi - piece.lo
        root = (total / length).sqrt()
        return Enclosure(_down(root.lower()), _up(root.upper()))


def within(curve: Curve, lo: float, hi: float) -> list[Piece]:
    """The pieces of a curve between two real numbers; of a mirrored one, on the positive side.

    Raises
    ------
    DomainError
        The interval is empty, leaves the curve, or, of a mirrored curve, is not symmetric.
    """
    library = flint()
    with library.ctx.workprec(PRECISION):
        if not lo < hi or (curve.mirrored and lo != -hi) or (not curve.mirrored and hi > 0):
            raise DomainError("interval", (lo, hi), "one from -x to x" if curve.mirrored else "one of numbers up to 0, the lower one first")
        first, last = (library.arb(0 if curve.mirrored else lo), library.arb(hi))
        found = []
        for piece in curve.pieces:
            low = first if piece.lo < first else piece.lo
            endless = curve.mirrored and piece is curve.pieces[-1]
            high = last if endless or piece.hi > last else piece.hi
            if low < high:
                found.append(Piece(low, high, piece.error))
        return found


def _down(x: Ball) -> float:
    """A float at or below a ball."""
    return math.nextafter(float(x), -math.inf)


def _up(x: Ball) -> float:
    """A float at or above a ball."""
    return math.nextafter(float(x), math.inf)


# ------------------------------------------------------------------------------------------------------------------ the curves


def _ball(x: Fraction) -> Ball:
    library = flint()
    return library.arb(library.fmpq(x.numerator, x.denominator))


def _erf(coefficients: Any) -> Curve:
    """L(x) - erf(x), which is odd. Beyond the clip it is 1 - erf(x), which falls."""
    a, b = map(_ball, pair(coefficients))
    clip = -b
    return Curve(
        (
            Piece(flint().arb(0), clip, lambda x: a * (x + b) ** 2 + 1 - x.erf()),
            Piece(clip, clip + 1, lambda x: x.erfc()),
        ),
        mirrored=True,
        tail=1,
    )


def _gelu(root2: Callable[[], Ball]) -> Callable[[Any], Curve]:
    """x / 2 * (L(x / root2) - erf(x / root two)), which is even.

    Beyond the clip, |x| >= -b * root2, i-GELU is x for a positive x and 0 for a negative one. The error is then that of GELU's tail,
    |x| * Q(|x|) with Q(x) = erfc(x / root two) / 2. Its derivative Q(x) - x * phi(x), phi the density of the normal distribution, is
    negative for x >= 1, since Q(x) < phi(x) / x there. So the tail is largest at the clip, and falls to 0, if that stands at 1 or beyond;
    a piece of length 1 leads there if it does not.
    """

    def curve(coefficients: Any) -> Curve:
        a, b = map(_ball, pair(coefficients))
        two, root = flint().arb(2).sqrt(), root2()
        clip = -b * root
        return Curve(
            (
                Piece(flint().arb(0), clip, lambda x: x / 2 * (a * (x / root + b) ** 2 + 1 - (x / two).erf())),
                Piece(clip, clip + 1, lambda x: x / 2 * (x / two).erfc()),
            ),
            mirrored=True,
            tail=1,
        )

    return curve


def _exp_paper(coefficients: Any) -> Curve:
    """2**-z times the error in the first segment, since the segments are exactly ln 2 long: it is largest there."""
    b, c, a = map(_ball, paper_reals(coefficients).exact)
    ln2 = flint().arb(2).log()
    return Curve((Piece(-ln2, flint().arb(0), lambda x: a * ((x + b) ** 2 + c) - x.exp()),), mirrored=False, tail=1)


def _exp_code(coefficients: Any) -> Curve:
    """Segments of 0.6931, which drift from ln 2: all 30 are looked at.

    Further down the approximation is constant, and exp falls from its value there to 0: the last piece, of no length in x, has both ends.
    """
    b, c, a = map(_ball, code_reals(coefficients).exact)
    length = _ball(-X0)

    def segment(z: int) -> Piece:
        return Piece(-length * (z + 1), -length * z, lambda x: a * ((x + length * z) * (x + length * z + b) + c) / (1 << z) - x.exp())

    pieces = [segment(z) for z in range(CONST)]
    last = a * c / (1 << CONST)
    exp = (-length * CONST).exp()
    pieces.append(Piece(-length * CONST - 1, -length * CONST, lambda x: last - exp * (x + length * CONST + 1)))
    return Curve(tuple(pieces), mirrored=False, tail=len(pieces))


_CURVES: dict[Any, Callable[[Any], Curve]] = {
    i_erf_paper: _erf,
    i_erf_ibert: _erf,
    i_gelu_paper: _gelu(lambda: flint().arb(2).sqrt()),
    i_gelu_ibert: _gelu(lambda: _ball(ROOT2)),
    i_exp_paper: _exp_paper,
    i_exp_ibert: _exp_code,
}
"""A definition's run to the error of its approximating function, from coefficients."""


def curve(op: str, dialect: str, coefficients: Sequence[float] | None = None) -> Curve:
    """The error of an operation at an infinitely fine scale.

    Parameters
    ----------
    op : {"i_gelu", "i_exp", "i_erf"}
    dialect : str
    coefficients : sequence of float, optional
        As a plan takes them; by default the dialect's own.

    Raises
    ------
    PlanError
        An operation without such an approximation, or coefficients of which no plan can be made.
    """
    d = definition(op, dialect)
    if d.run not in _CURVES:
        raise PlanError("op", op, "one with an approximating polynomial: " + ", ".join(certifiable()))
    legal = None if coefficients is None else parameters(d)["coefficients"].legal(coefficients)
    with flint().ctx.workprec(PRECISION):
        return _CURVES[d.run](legal)


def certifiable() -> Iterator[str]:
    """Names of the operations that have a curve."""
    from ..registry import definitions

    return iter(dict.fromkeys(d.name for d in definitions() if d.run in _CURVES))


@lru_cache(maxsize=256)
def largest_error(op: str, dialect: str, coefficients: tuple[float, ...] | None = None, tail: bool = False) -> Enclosure:
    """The largest error of an operation on all real numbers of its domain, at an infinitely fine scale.

    Parameters
    ----------
    tail : bool
        Only beyond the clip: for i-GELU where |x| >= -b times the root of two, and the approximation is x or 0.
    """
    made = curve(op, dialect, coefficients)
    pieces = made.pieces[made.tail :] if tail else made.pieces
    if not pieces:
        raise DomainError("tail", tail, "False for an operation without a clip")
    return supremum(pieces)


# ------------------------------------------------------------------------------------------------------------------ the rivals


def sigmoid_gelu(reach: float = 4) -> list[Piece]:
    """The error of x * sigmoid(1.702 x) against GELU, from -reach to reach."""
    library = flint()
    with library.ctx.workprec(PRECISION):
        slope, end = _ball(Fraction("1.702")), library.arb(reach)
        return [Piece(-end, end, lambda x: x / (1 + (-slope * x).exp()) - _exact_gelu(x))]


def h_gelu(reach: float = 4) -> list[Piece]:
    """The error of x * relu6(1.702 x + 3) / 6 against GELU, from -reach to reach: 0, a parabola, x."""
    library = flint()
    with library.ctx.workprec(PRECISION):
        slope, end = _ball(Fraction("1.702")), library.arb(reach)
        clip = 3 / slope
        return [
            Piece(-end, -clip, lambda x: -_exact_gelu(x)),
            Piece(-clip, clip, lambda x: x * (slope * x + 3) / 6 - _exact_gelu(x)),
            Piece(clip, end, lambda x: x - _exact_gelu(x)),
        ]


def _exact_gelu(x: Ball) -> Ball:
    return x / 2 * (1 + (x / flint().arb(2).sqrt()).erf())
