"""Golden vectors: where inputs come from, how a corpus is written, read, verified."""

from .corpus import Case as Case
from .corpus import Corpus as Corpus
from .corpus import Verified as Verified
from .corpus import generate as generate
from .corpus import load as load
from .corpus import verify as verify

__all__ = ["Case", "Corpus", "Verified", "generate", "load", "verify"]
