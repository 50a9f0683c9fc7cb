"""Kernels of somebody's own for the operations that silu.py and softmax_direct.py define, written without refsim."""

import numpy as np

DIALECTS = ("paper", "direct")
DOMAIN = {"i_silu": {"dialects": ("paper",)}, "i_softmax": {"dialects": ("direct",)}}


def i_silu(q, plan):
    x = q.astype(np.int64)

    def e(x):  # x <= 0
        z = -x // plan.q_ln2
        poly = (x + z * plan.q_ln2 + plan.q_b) ** 2 + plan.q_c
        return np.where(z < 63, poly >> np.minimum(z, 62), 0)

    up, down = e(np.minimum(x, 0)), e(np.minimum(-x, 0))
    sigmoid = (up << plan.k) // (up + down)
    return {"up": up, "down": down, "total": up + down, "up_shifted": up << plan.k, "sigmoid": sigmoid, "out": x * sigmoid}


def i_softmax(q, mask, plan):
    kept = np.ones(q.shape, dtype=bool) if mask is None else np.broadcast_to(mask, q.shape)
    x = q.astype(np.int64)
    x = np.minimum(x - np.where(kept, x, plan.input_range[0]).max(axis=-1, keepdims=True), 0)
    z = x // plan.x0
    r = x - z * plan.x0
    e = np.where(kept & (z < 63), (r * (r + plan.q_b) + plan.q_c) >> np.minimum(z, 62), 0)
    return (e << plan.output_bits) // np.maximum(e.sum(axis=-1, keepdims=True), plan.q_c)


class RoundsUp:
    """The i-SiLU with a sigmoid rounded to nearest where the floor is due."""

    DIALECTS = ("paper",)

    @staticmethod
    def i_silu(q, plan):
        steps = i_silu(q, plan)
        steps["sigmoid"] = (2 * steps["up_shifted"] + steps["total"]) // (2 * steps["total"])
        return {**steps, "out": q * steps["sigmoid"]}
