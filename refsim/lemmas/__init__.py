"""The lemmas: facts about intermediates that intervals cannot see, one proof a file; `known` cites them."""

from .exp_maximum import EXP_MAXIMUM
from .layernorm_product import LAYERNORM_PRODUCT
from .mean_within import MEAN_WITHIN
from .some_kept import SOME_KEPT
from .square_sum import SQUARE_SUM

LEMMAS = (EXP_MAXIMUM, LAYERNORM_PRODUCT, MEAN_WITHIN, SOME_KEPT, SQUARE_SUM)
"""All of them."""

__all__ = ["EXP_MAXIMUM", "LAYERNORM_PRODUCT", "LEMMAS", "MEAN_WITHIN", "SOME_KEPT", "SQUARE_SUM"]
