"""Which arithmetic an implementation uses, told from few probes.

Every known way to compute an op is a *hypothesis*: it answers like the simulator does, but for its own rounding, constants or
saturation. Of many candidate inputs those are kept on which hypotheses answer differently, until every two that differ at all have been
told apart. The implementation answers these probes, and the hypotheses that it contradicts are struck off: what remains is its name.
Nothing is estimated: one contradiction is enough.
"""

from .asking import asking, further, in_words, knowing
from .forms import MOST, NONE, SIMULATOR, Evidence, Finding, Fingerprint, Hypothesis, Launch
from .identify import identify
from .probes import probes
from .rules import names_a_rule

__all__ = [
    "MOST",
    "NONE",
    "SIMULATOR",
    "Evidence",
    "Finding",
    "Fingerprint",
    "Hypothesis",
    "Launch",
    "asking",
    "further",
    "identify",
    "in_words",
    "knowing",
    "names_a_rule",
    "probes",
]
