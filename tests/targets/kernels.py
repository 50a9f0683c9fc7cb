"""Targets whose arithmetic is right and whose indexing is not: what only the shape or the memory of a launch can show."""

import numpy as np

import refsim


class order:
    """Reads its operand in the order of its memory, as a kernel does that is handed a pointer and no strides."""

    DIALECTS = ("ibert",)

    @staticmethod
    def i_exp(q, plan):
        return refsim.run(plan, np.ravel(q, order="K").reshape(q.shape))


class tail:
    """Leaves out what comes after the last whole tile of 32 rows."""

    DIALECTS = ("ibert",)

    @staticmethod
    def i_softmax(q, mask, plan):
        out = refsim.run(plan, q, mask).reshape(-1, q.shape[-1]).copy()
        if len(out) > 32:
            out[len(out) // 32 * 32 :] = 0
        return out.reshape(q.shape)


class channel:
    """Wrong in the third channel only, where it takes the constants of the second."""

    DIALECTS = ("ibert",)

    @staticmethod
    def i_gelu(q, plan):
        if not plan.channels or plan.channels < 3 or q.size == 0:
            return refsim.run(plan, q)
        given = {k: v[:2] + v[1:2] + v[3:] if isinstance(v, tuple) else v for k, v in plan.parameters}
        return refsim.run(refsim.plan(plan.op, dialect=plan.dialect, **given), q)


class tiny:
    """Wrong where the shift of a channel passes 90: a product that overflows before it is shifted out."""

    DIALECTS = ("ibert",)

    @staticmethod
    def requantize(q, plan):
        return refsim.run(plan, q) - ((np.asarray(plan.shift) > 90) & (q == -1))
