"""Golden vectors: operands with every intermediate and the result, as the simulator has them.

Importing this package is cheap: each name is loaded with its first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .case import Case as Case
    from .corpus import Corpus as Corpus
    from .corpus import load as load
    from .generator import generate as generate
    from .generator import golden as golden
    from .verifier import Verified as Verified
    from .verifier import verify as verify

_HOME = {
    "Case": "case",
    **dict.fromkeys(("Corpus", "load"), "corpus"),
    **dict.fromkeys(("generate", "golden"), "generator"),
    **dict.fromkeys(("Verified", "verify"), "verifier"),
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
