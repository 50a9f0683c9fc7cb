"""Composites from their parts one after the other, one part with a known mistake; with every intermediate by its dotted name."""

import numpy as np

import refsim
from refsim.catalogue.mutants import mutant


class _Parts:
    """What is returned has the last intermediate first: which one differs first the definition says."""

    DIALECTS = ("ibert",)

    def __init__(self, part, wrong):
        self._part, self._wrong = part, wrong

    def _steps(self, name, plan, *operands):
        if name == self._part:
            return dict(mutant(self._wrong).trace(plan, *operands))
        return refsim.trace(plan, *operands)._asdict()

    @staticmethod
    def _dotted(out, **parts):
        named = {f"{part}.{name}": value for part, steps in parts.items() for name, value in steps.items()}
        return dict(reversed({**named, "out": out}.items()))

    def gelu_requantize(self, q, plan):
        gelu = self._steps("gelu", plan.gelu, q.astype(np.int64))
        requantize = self._steps("requantize", plan.requantize, gelu["out"])
        return self._dotted(requantize["out"], gelu=gelu, requantize=requantize)

    def attention(self, q, k, v, mask, plan):
        scores = self._steps("scores", plan.scores, q, np.moveaxis(k, -1, -2))
        softmax = self._steps("softmax", plan.softmax, scores["out"], mask)
        context = {"out": softmax["out"] @ v.astype(np.int64)}
        requantize = self._steps("requantize", plan.requantize, context["out"])
        return self._dotted(requantize["out"], scores=scores, softmax=softmax, context=context, requantize=requantize)


right = _Parts("", "")
erf_truncates = _Parts("gelu", "i_gelu/ibert/shift-trunc")
requantize_floors = _Parts("requantize", "requantize/ibert/rounds-floor")
e16_ceil = _Parts("softmax", "i_softmax/ibert/e16-ceil")
reciprocal_nearest = _Parts("softmax", "i_softmax/ibert/reciprocal-nearest")
