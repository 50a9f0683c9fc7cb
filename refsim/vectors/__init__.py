"""Golden vectors: where inputs come from, how a corpus is written, read, verified."""

from .case import Case as Case
from .corpus import Corpus as Corpus
from .corpus import load as load
from .generator import generate as generate
from .generator import golden as golden
from .verifier import Verified as Verified
from .verifier import verify as verify

__all__ = ["Case", "Corpus", "Verified", "generate", "golden", "load", "verify"]
