"""Conformance of i-GELU whose result is requantised."""

import numpy as np

from refsim.conformance.laws import law, premise, remade, require

OP = "gelu_requantize"


@law
def test_zero(evaluate, plan, operands):
    """f(0) = zero point, where the rule adds nothing else."""
    premise(plan.requantize.addend == 0)
    f = evaluate(np.zeros_like(operands[0]))
    require(f == plan.requantize.zero_point, f=f)


@law
def test_channels_alone(evaluate, plan, operands):
    """A channel gives what a plan of its scale alone gives."""
    scale = dict(plan.parameters)["scale"]
    premise(isinstance(scale, tuple))
    channel = len(scale) // 2
    whole = evaluate(*operands)[..., channel]
    lone = evaluate(operands[0][..., channel], plan=remade(plan, scale=scale[channel]))
    require(whole == lone, whole=whole, lone=lone)


@law
def test_within(evaluate, plan, operands):
    """out lies in the output's range, of which both ends may occur."""
    f, half = evaluate(*operands), 1 << (plan.requantize.output_bits - 1)
    least = -half if plan.requantize.output_signed else 0
    require((least <= f) & (f < least + 2 * half), f=f)
