"""Targets that misbehave, one object each: right in i_sqrt and i_exp (paper), wrong in their own way in i_gelu.

Each object answers only in the dialect ``paper``.
"""

import os
import signal
import stat
import time
from pathlib import Path

import numpy as np

import refsim


class _Right:
    DIALECTS = ("paper",)

    def i_exp(self, q, plan):
        return refsim.run(plan, q)

    def i_gelu(self, q, plan):
        return refsim.run(plan, q)

    def i_sqrt(self, n, plan):
        return refsim.run(plan, n)


class _Raises(_Right):
    def i_gelu(self, q, plan):
        raise RuntimeError("the device is lost")


class _Hangs(_Right):
    """Hangs, and says so where a file for it is named."""

    def i_gelu(self, q, plan):
        if "HANGS" in os.environ:
            Path(os.environ["HANGS"]).touch()
        time.sleep(3600)


class _Exits(_Right):
    def i_gelu(self, q, plan):
        os._exit(7)


class _Dies(_Right):
    def i_gelu(self, q, plan):
        os.kill(os.getpid(), signal.SIGSEGV)


class _Shapes(_Right):
    def i_gelu(self, q, plan):
        return refsim.run(plan, q).reshape(-1)[:1]


class _Floats(_Right):
    def i_gelu(self, q, plan):
        return refsim.run(plan, q).astype(np.float64)


class _NaN(_Right):
    def i_gelu(self, q, plan):
        return np.full(q.shape, np.nan)


class _Words(_Right):
    def i_gelu(self, q, plan):
        return "conformant"


class _Prints(_Right):
    """Right, though it prints to standard output."""

    def i_gelu(self, q, plan):
        print("hello from the kernel", flush=True)
        return refsim.run(plan, q)


def _answer_raw(data):
    """Write to the harness behind the worker's back: to every pipe that can be written to, the standard ones apart."""
    for number in range(3, 64):
        try:
            if stat.S_ISFIFO(os.fstat(number).st_mode):
                os.write(number, data)
        except OSError:
            continue


class _Garbage(_Right):
    def i_gelu(self, q, plan):
        _answer_raw(b"Segmentation fault (not really)\n")


class _Partial(_Right):
    """Ends inside an answer."""

    def i_gelu(self, q, plan):
        _answer_raw(b"\x40\x00\x00\x00\x00\x00\x00\x00{")
        os._exit(0)


class _Stalls(_Right):
    """Begins an answer and stops."""

    def i_gelu(self, q, plan):
        _answer_raw(b"\x40\x00\x00\x00\x00\x00\x00\x00{")
        time.sleep(3600)


class _Modifies(_Right):
    def i_gelu(self, q, plan):
        out = refsim.run(plan, q)
        q += 1
        return out


class _Truncates(_Right):
    """Divides the negative q itself, as C would: z = -(q / q_ln2) with floor, one segment too far between the edges."""

    def i_exp(self, q, plan):
        q = q.astype(np.int64)
        z = -(q // plan.q_ln2)
        p = q + z * plan.q_ln2
        return ((p + plan.q_b) ** 2 + plan.q_c) >> np.minimum(z, 63)


class _TruncatesGelu:
    """The erf of ibert shifted right as a C division does, towards zero."""

    DIALECTS = ("ibert",)

    def i_gelu(self, q, plan):
        q = q.astype(np.int64)
        q_b, q_c, q_1 = (np.array(v) for v in (plan.q_b, plan.q_c, plan.q_1))
        y = np.sign(q) * (np.square(np.minimum(np.abs(q), -q_b) + q_b) + q_c)
        return q * (np.sign(y) * (np.abs(y) >> 14) + q_1)


class _Steps:
    """Exposes its intermediates; the clip stands at half its place, so the first that differs is t."""

    DIALECTS = ("ibert",)

    def i_gelu(self, q, plan):
        q = q.astype(np.int64)
        q_b, q_c, q_1 = (np.array(v) for v in (plan.q_b, plan.q_c, plan.q_1))
        t = np.minimum(np.abs(q), -q_b // 2)
        y = np.sign(q) * (np.square(t + q_b) + q_c)
        q_erf = y >> 14
        return {"t": t, "y": y, "q_erf": q_erf, "out": q * (q_erf + q_1)}


def _nested(x):
    """Rows as tuples, of rows or of integers."""
    return tuple(map(_nested, x)) if x.ndim and x.size else x if x.ndim else int(x)


class _Returns:
    """Doubles every result, and returns it in one of the ways in which a target may."""

    DIALECTS = ("ibert",)

    def __init__(self, returned):
        self._returned = returned

    def i_sqrt(self, n, plan):
        return self._returned(2 * refsim.run(plan, n))

    def matmul(self, a, b, plan):
        return self._returned(2 * refsim.run(plan, a, b))


class _Slow:
    """Right, and as slow as a launch on a device: a millisecond each."""

    DIALECTS = ("ibert", "paper")

    def __init__(self):
        for op in {d.name for d in refsim.definitions()}:
            setattr(self, op, self._implement)

    @staticmethod
    def _implement(*operands):
        time.sleep(0.001)
        *values, plan = operands
        return refsim.run(plan, *values)


class _Empty:
    """Not a single op."""


class _Deviates(_Right):
    """Wrong for negative inputs, and says so."""

    def i_gelu(self, q, plan):
        return refsim.run(plan, q) - (q < 0)

    DEVIATIONS = (
        {
            "id": "negative",
            "op": "i_gelu",
            "dialects": ("paper",),
            "reason": "one too small for negative inputs",
            "reference": "made up for a test",
            "applies": lambda plan, operands, steps: operands[0] < 0,
        },
        {
            "id": "positive",
            "op": "i_gelu",
            "dialects": ("paper",),
            "reason": "mended long ago",
            "reference": "made up for a test",
            "applies": lambda plan, operands, steps: operands[0] > 0,
        },
    )


class _DeviatesMore(_Deviates):
    """Wrong for zero too, which its predicate does not cover."""

    def i_gelu(self, q, plan):
        return refsim.run(plan, q) - (q <= 0)


class _Narrow(_Right):
    """Right within the domain it declares, and unable outside."""

    DOMAIN = {"i_gelu": {"input_bits": (4, 9), "per_channel": False, "constants": ("exact",)}}  # noqa: RUF012

    def i_gelu(self, q, plan):
        if max(map(abs, plan.input_range)) > 256 or plan.channels is not None or plan.constants != "exact":
            raise ValueError("outside the declared domain")
        return refsim.run(plan, q)


right, raises, hangs, exits, dies = _Right(), _Raises(), _Hangs(), _Exits(), _Dies()
garbage, partial, stalls = _Garbage(), _Partial(), _Stalls()
shapes, floats, nan, words, prints = _Shapes(), _Floats(), _NaN(), _Words(), _Prints()
modifies, truncates, truncates_gelu, steps = _Modifies(), _Truncates(), _TruncatesGelu(), _Steps()
slow, empty, deviates, deviates_more, narrow = _Slow(), _Empty(), _Deviates(), _DeviatesMore(), _Narrow()
array, tuples, mapping = _Returns(lambda out: out), _Returns(_nested), _Returns(lambda out: {"out": out})
mapping_of_tuples = _Returns(lambda out: {"out": _nested(out)})
