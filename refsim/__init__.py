"""refsim: what each integer operation of I-BERT means, bit for bit, and whether anything else computes the same bits.

The four verbs::

    plan = refsim.plan("i_gelu", dialect="ibert", scale=2**-12, input_bits=17)
    out = refsim.run(plan, q)
    steps = refsim.trace(plan, q)
    proof = refsim.certificate(plan)

An operation of your own is a run decorated with `refsim.define`; `refsim.extend` has what such a definition is written with.

Importing this package is cheap; NumPy is loaded with the first verb.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import vectors as vectors
    from .carriers.recorded import Graph as Graph
    from .certificates import Certificate as Certificate
    from .certificates import certificate as certificate
    from .certificates import graph as graph
    from .conformance.loading import target as target
    from .errors import ContentError as ContentError
    from .errors import DefinitionError as DefinitionError
    from .errors import DomainError as DomainError
    from .errors import PlanError as PlanError
    from .errors import RefsimError as RefsimError
    from .errors import TargetError as TargetError
    from .errors import UsageError as UsageError
    from .errors import WidthError as WidthError
    from .extend import Facts as Facts
    from .extend import Lemma as Lemma
    from .extend import Operand as Operand
    from .extend import Plan as Plan
    from .extend import define as define
    from .extend import known as known
    from .extend import questions as questions
    from .plans import plan as plan
    from .products import run as run
    from .registry import definition as definition
    from .registry import definitions as definitions
    from .verbs import trace as trace

__version__ = "0.1.0"

_HOME = {
    "target": "conformance.loading",
    **dict.fromkeys(("ContentError", "DefinitionError", "DomainError", "PlanError"), "errors"),
    **dict.fromkeys(("RefsimError", "TargetError", "UsageError", "WidthError"), "errors"),
    **dict.fromkeys(("Facts", "Lemma", "Operand", "Plan", "define", "known", "questions"), "extend"),
    **dict.fromkeys(("Certificate", "certificate", "graph"), "certificates"),
    "Graph": "carriers.recorded",
    **dict.fromkeys(("definition", "definitions"), "registry"),
    "plan": "plans",
    "run": "products",
    "trace": "verbs",
}

__all__ = ["__version__", *sorted(_HOME), "vectors"]


def __getattr__(name: str) -> Any:
    if name == "vectors":
        return import_module(".vectors", __name__)
    if name in _HOME:
        return getattr(import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
